//! Messages byte by byte. `docs/protocol.md` chapter 2; `dbc/ringfort.dbc` describes the same to CAN tools.
//!
//! A message is a 16-byte header, a body, and tags: one for each other validator, or one for the addressee. All
//! integers are little-endian. What fits one CAN FD frame travels as it is (padded with zeros to a DLC), the rest is
//! segmented; the protocol never sees a CAN frame.

use crate::agreement::VoteKind;
use crate::flaw::Flaw;
use crate::genesis::WIRE_VERSION;
use crate::mac::{TAG_INPUT, TagInput};
use crate::types::{Hash, Height, Round};

/// Bytes of the header.
pub const HEADER: usize = 16;
/// Bytes of a frame: every message but proposals and those on the bulk identifier fits one.
pub const MAX_FRAME: usize = 64;
/// Bytes of a PRESENT's word of the endpoint's firmware.
pub const FIRMWARE: usize = 6;
/// Bytes of a CALL's body: nonce, and which endpoints of 64 are called.
pub const CALL_BODY: usize = 8 + 8;
/// Value of `hint_proposer` in a vote for nil.
pub const NIL_PROPOSER: u8 = 0xff;
/// Value of `hint_proposer` in a VALUE that says: this was decided.
pub const DECIDED_VALUE: u8 = 0xfe;
/// Value of `hint_proposer` in a SYNC that asks for the whole state; 1 and more ask for a page of the registry, 0 for whatever
/// brings the asker on.
pub const WHOLE_STATE: u8 = 0xff;
/// Byte 8 of a GRANT whose body is a signed grant.
pub const GRANT_FORM: u8 = 0;
/// Byte 8 of a GRANT whose body is an order with one signature ([`crate::order::Endorsement`]).
pub const ORDER_FORM: u8 = 1;
/// Byte 8 of a GRANT that is CLOCK: what the sender's clock says, 8 bytes, milliseconds of Unix time.
pub const CLOCK_FORM: u8 = 2;
/// Byte 8 of a GRANT whose body is the digest of the sender's firmware.
pub const FIRMWARE_FORM: u8 = 3;
/// Value of `hint_proposer` in a RECORD or an ACK that is about presence: PRESENT, CALL (DC-70).
pub const PRESENCE: u8 = 1;
/// Value of `sender` where the sender is no validator.
pub const ENDPOINT_SENDER: u8 = 0xf;

/// Message kinds, the high nibble of byte 3. 15 is a segment of a longer message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Proposal of a value; body: transaction.
    Propose = 0,
    /// Vote.
    Prevote = 1,
    /// Vote.
    Ready = 2,
    /// Vote.
    Precommit = 3,
    /// Decision of the sender's head, also its heartbeat.
    Decided = 4,
    /// Boot and nonce of a session.
    Hello = 5,
    /// Proof that the session is shared.
    Confirm = 6,
    /// Asks one voter for the value it voted for.
    Fetch = 7,
    /// Asks for the head; one peer is asked for the state, too.
    Sync = 8,
    /// A signed grant, or what else is said aside; body by the form in byte 8.
    Grant = 9,
    /// An endpoint's record; body: data.
    Record = 10,
    /// To an endpoint: decided; body: sequence.
    Ack = 11,
    /// A block's seal; body: number, signature.
    Seal = 12,
    /// The state at the head; body: state.
    State = 13,
    /// A value on request, voted for or ([`DECIDED_VALUE`]) decided; body: transaction.
    Value = 14,
}

impl Kind {
    /// From the nibble; `None` for 15, a segment.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Propose,
            1 => Self::Prevote,
            2 => Self::Ready,
            3 => Self::Precommit,
            4 => Self::Decided,
            5 => Self::Hello,
            6 => Self::Confirm,
            7 => Self::Fetch,
            8 => Self::Sync,
            9 => Self::Grant,
            10 => Self::Record,
            11 => Self::Ack,
            12 => Self::Seal,
            13 => Self::State,
            14 => Self::Value,
            _ => return None,
        })
    }

    /// The vote that this kind is.
    #[must_use]
    pub const fn vote(self) -> Option<VoteKind> {
        match self {
            Self::Prevote => Some(VoteKind::Prevote),
            Self::Ready => Some(VoteKind::Ready),
            Self::Precommit => Some(VoteKind::Precommit),
            _ => None,
        }
    }

    /// Whether it carries one tag, for the addressee in byte 8, instead of one for each other validator.
    #[must_use]
    pub const fn is_addressed(self) -> bool {
        matches!(self, Self::Fetch | Self::Ack | Self::Seal | Self::State | Self::Value)
    }

    /// Bytes of the body, where that is fixed.
    #[must_use]
    pub const fn body_len(self) -> Option<usize> {
        match self {
            Self::Propose | Self::Value | Self::State | Self::Grant | Self::Record => None,
            Self::Ack => Some(8),
            Self::Seal => Some(4 + 64),
            _ => Some(0),
        }
    }

    /// How urgent it is on the bus: which of the sender's identifiers carries it.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Prevote | Self::Ready | Self::Precommit => Class::Vote,
            Self::Propose => Class::Propose,
            Self::Decided | Self::Hello | Self::Confirm | Self::Fetch | Self::Sync | Self::Ack => Class::Control,
            Self::Grant | Self::Seal | Self::State | Self::Value => Class::Bulk,
            Self::Record => Class::Record,
        }
    }
}

impl From<VoteKind> for Kind {
    fn from(vote: VoteKind) -> Self {
        match vote {
            VoteKind::Prevote => Self::Prevote,
            VoteKind::Ready => Self::Ready,
            VoteKind::Precommit => Self::Precommit,
        }
    }
}

/// The identifiers of a sender, by urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Votes.
    Vote,
    /// Proposals.
    Propose,
    /// Ignition, heartbeats, requests.
    Control,
    /// Grants, seals, state.
    Bulk,
    /// Records of endpoints.
    Record,
}

/// The 16 bytes before every body. What the fields behind `sender` mean depends on the kind (chapter 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`crate::types::MeshId::short`], bytes 0 and 1.
    pub mesh: u16,
    /// [`WIRE_VERSION`], high nibble of byte 2.
    pub version: u8,
    /// [`crate::mac::Suite::code`], low nibble of byte 2.
    pub suite: u8,
    /// High nibble of byte 3.
    pub kind: Kind,
    /// Validator, low nibble of byte 3; [`ENDPOINT_SENDER`] for a record.
    pub sender: u8,
    /// Bytes 4 to 7. HELLO: boot number.
    pub height: Height,
    /// Byte 8. Addressed kinds: the addressee. CONFIRM: flags. RECORD: endpoint. GRANT: what it is.
    pub round: Round,
    /// Byte 9: who proposed the value; [`NIL_PROPOSER`] for nil. RECORD, ACK: [`PRESENCE`] or 0.
    pub hint_proposer: u8,
    /// Bytes 10 and 11: the first two bytes of the value's hash (M3). CONFIRM: peers whose nonce the sender knows.
    pub hint: u16,
    /// Bytes 12 to 15: rises by one with each message of a session. RECORD: low half of the sequence.
    pub counter: u32,
}

impl Header {
    /// The header of an own message; mesh and counter are filled in when it is sealed.
    #[must_use]
    pub const fn new(kind: Kind, height: Height) -> Self {
        Self {
            mesh: 0,
            version: WIRE_VERSION,
            suite: 0,
            kind,
            sender: 0,
            height,
            round: 0,
            hint_proposer: 0,
            hint: 0,
            counter: 0,
        }
    }

    /// With a round, an addressee or flags.
    #[must_use]
    pub const fn round(mut self, round: u8) -> Self {
        self.round = round;
        self
    }

    /// With the hint of a value (M3); `None` is nil.
    #[must_use]
    pub fn hint(mut self, value: Option<(u8, &Hash)>) -> Self {
        (self.hint_proposer, self.hint) = value.map_or((NIL_PROPOSER, 0), |(proposer, hash)| (proposer, hash.hint()));
        self
    }

    /// Whether it is a PRESENT or a CALL, by its kind.
    #[must_use]
    pub const fn is_presence(&self) -> bool {
        self.hint_proposer == PRESENCE && matches!(self.kind, Kind::Record | Kind::Ack)
    }

    /// PRESENT's word of the endpoint's firmware, bytes 10 to 15.
    #[must_use]
    pub const fn firmware(&self) -> [u8; FIRMWARE] {
        let ([a, b], [c, d, e, f]) = (self.hint.to_le_bytes(), self.counter.to_le_bytes());
        [a, b, c, d, e, f]
    }

    /// Of a PRESENT, with its word of the firmware.
    #[must_use]
    pub const fn present(mut self, firmware: [u8; FIRMWARE]) -> Self {
        let [a, b, c, d, e, f] = firmware;
        self.hint_proposer = PRESENCE;
        self.hint = u16::from_le_bytes([a, b]);
        self.counter = u32::from_le_bytes([c, d, e, f]);
        self
    }

    /// HELLO's nonce, which takes the place of bytes 8 to 15.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        let mut nonce = [0; 8];
        nonce.copy_from_slice(&self.to_bytes()[8..]);
        u64::from_le_bytes(nonce)
    }

    /// With a nonce in bytes 8 to 15.
    #[must_use]
    pub const fn with_nonce(mut self, nonce: u64) -> Self {
        let n = nonce.to_le_bytes();
        self.round = n[0];
        self.hint_proposer = n[1];
        self.hint = u16::from_le_bytes([n[2], n[3]]);
        self.counter = u32::from_le_bytes([n[4], n[5], n[6], n[7]]);
        self
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..2].copy_from_slice(&self.mesh.to_le_bytes());
        bytes[2] = self.version << 4 | self.suite;
        bytes[3] = (self.kind as u8) << 4 | self.sender;
        bytes[4..8].copy_from_slice(&self.height.to_le_bytes());
        bytes[8] = self.round;
        bytes[9] = self.hint_proposer;
        bytes[10..12].copy_from_slice(&self.hint.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }

    /// From the first bytes of a message; `None` if it is too short or a segment.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let bytes = message.first_chunk::<HEADER>()?;
        let [mesh0, mesh1, version, kind, h0, h1, h2, h3, round, hint_proposer, hint0, hint1, c0, c1, c2, c3] = *bytes;
        Some(Self {
            mesh: u16::from_le_bytes([mesh0, mesh1]),
            version: version >> 4,
            suite: version & 15,
            kind: Kind::from_code(kind >> 4)?,
            sender: kind & 15,
            height: u32::from_le_bytes([h0, h1, h2, h3]),
            round,
            hint_proposer,
            hint: u16::from_le_bytes([hint0, hint1]),
            counter: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }
}

/// A message taken apart; nothing of it is verified yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'m> {
    /// The header.
    pub header: Header,
    /// The header's bytes: what tags cover.
    pub head: &'m [u8; HEADER],
    /// The body.
    pub body: &'m [u8],
    /// All tags.
    pub tags: &'m [u8],
}

impl<'m> Parts<'m> {
    /// Splits a message in a mesh of `n` validators with tags of `tag_len` bytes. A message of a kind with a fixed
    /// body may carry the zero padding of its frame; anything else left over is malformed.
    #[must_use]
    pub fn split(message: &'m [u8], n: usize, tag_len: usize) -> Option<Self> {
        let header = Header::parse(message)?;
        let (head, rest) = message.split_first_chunk::<HEADER>()?;
        let (fixed, tags_len) = match header.kind {
            Kind::Record if header.is_presence() => (Some(0), n * present_tag_len(n, tag_len)),
            Kind::Ack if header.is_presence() => (Some(CALL_BODY), 0),
            kind => (kind.body_len(), tags_len(kind, n, tag_len)),
        };
        let body_len = match fixed {
            Some(fixed) => fixed,
            None => rest.len().checked_sub(tags_len)?,
        };
        let (body, rest) = rest.split_at_checked(body_len)?;
        let (tags, padding) = rest.split_at_checked(tags_len)?;
        padding.iter().all(|byte| *byte == 0).then_some(Self { header, head, body, tags })
    }

    /// The tag in `slot`.
    #[must_use]
    pub fn tag(&self, slot: usize, tag_len: usize) -> Option<&'m [u8]> {
        self.tags.get(slot * tag_len..(slot + 1) * tag_len)
    }
}

/// Bytes of all tags of a message.
#[must_use]
pub const fn tags_len(kind: Kind, n: usize, tag_len: usize) -> usize {
    let tags = if kind.is_addressed() {
        1
    } else if matches!(kind, Kind::Record) {
        n
    } else {
        n - 1
    };
    tags * tag_len
}

/// Bytes of a tag of a PRESENT, which has one for each of `n` validators and is one frame (DC-70).
#[must_use]
pub const fn present_tag_len(n: usize, tag_len: usize) -> usize {
    let room = (MAX_FRAME - HEADER) / n;
    if room < tag_len { room } else { tag_len }
}

/// The place of the tag for `receiver` in a message of `sender` to all: the sender itself is left out.
#[must_use]
pub const fn tag_slot(sender: u8, receiver: u8) -> usize {
    (if receiver < sender { receiver } else { receiver - 1 }) as usize
}

/// What a tag covers: the header and a subject (the full hash voted for, or the body's hash), M2. Three blocks of AES, one
/// of BLAKE2s.
#[must_use]
pub fn tag_input(head: &[u8; HEADER], subject: &Hash) -> TagInput {
    const { assert!(HEADER + size_of::<Hash>() == TAG_INPUT) };
    let mut input = [0; TAG_INPUT];
    input[..HEADER].copy_from_slice(head);
    input[HEADER..].copy_from_slice(&subject.0);
    if Flaw::UnboundTag.is_at_work() {
        input[9..12].fill(0); // the hint
        input[HEADER..].fill(0);
    }
    input
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Golden: a precommit of validator 3 at height 0x01020304, round 5. Changed only on purpose.
    #[test]
    fn a_vote_header_on_the_wire() {
        let mut hash = Hash([0xee; 32]);
        hash.0[..2].copy_from_slice(&[0xcd, 0xab]);
        let mut header = Header::new(Kind::Precommit, 0x0102_0304).round(5).hint(Some((2, &hash)));
        (header.mesh, header.suite, header.sender, header.counter) = (0xbeef, 1, 3, 0x0a0b_0c0d);
        let bytes = [0xef, 0xbe, 0x11, 0x33, 4, 3, 2, 1, 5, 2, 0xcd, 0xab, 0x0d, 0x0c, 0x0b, 0x0a];
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(Header::parse(&bytes), Some(header));
    }

    /// `docs/protocol.md`, chapter 2: number, vote, whether it is addressed, bytes of the body, urgency.
    #[test]
    fn every_kind_of_message() {
        use Kind::*;
        let table = [
            (Propose, None, false, None, Class::Propose),
            (Prevote, Some(VoteKind::Prevote), false, Some(0), Class::Vote),
            (Ready, Some(VoteKind::Ready), false, Some(0), Class::Vote),
            (Precommit, Some(VoteKind::Precommit), false, Some(0), Class::Vote),
            (Decided, None, false, Some(0), Class::Control),
            (Hello, None, false, Some(0), Class::Control),
            (Confirm, None, false, Some(0), Class::Control),
            (Fetch, None, true, Some(0), Class::Control),
            (Sync, None, false, Some(0), Class::Control),
            (Grant, None, false, None, Class::Bulk),
            (Record, None, false, None, Class::Record),
            (Ack, None, true, Some(8), Class::Control),
            (Seal, None, true, Some(68), Class::Bulk),
            (State, None, true, None, Class::Bulk),
            (Value, None, true, None, Class::Bulk),
        ];
        for (code, (kind, vote, is_addressed, body_len, class)) in (0..).zip(table) {
            assert_eq!((Kind::from_code(code), kind as u8), (Some(kind), code));
            assert_eq!((kind.vote(), vote.map(Kind::from).unwrap_or(kind)), (vote, kind));
            assert_eq!(
                (kind.is_addressed(), kind.body_len(), kind.class()),
                (is_addressed, body_len, class),
                "{kind:?}"
            );
        }
        assert_eq!(Kind::from_code(15), None, "a segment");
    }

    #[test]
    fn one_tag_for_each_other_validator_in_the_order_of_their_places() {
        for (kind, tags) in [(Kind::Prevote, 6), (Kind::Record, 7), (Kind::Value, 1)] {
            assert_eq!(tags_len(kind, 7, 8), tags * 8, "{kind:?}");
        }
        let slots = |sender| {
            [0, 1, 2, 3].map(|receiver| if receiver == sender { None } else { Some(tag_slot(sender, receiver)) })
        };
        assert_eq!(slots(0), [None, Some(0), Some(1), Some(2)]);
        assert_eq!(slots(2), [Some(0), Some(1), None, Some(2)]);
        let message = Header::new(Kind::Prevote, 1).to_bytes().into_iter().chain(0..24).collect::<std::vec::Vec<_>>();
        let parts = Parts::split(&message, 4, 8).expect("whole");
        assert_eq!([0, 2, 3].map(|slot| parts.tag(slot, 8).map(|tag| tag[0])), [Some(0), Some(16), None]);
    }

    #[test]
    fn a_vote_fills_a_frame_for_seven_and_fits_for_eight() {
        assert_eq!(HEADER + tags_len(Kind::Prevote, 7, 8), 64);
        assert!(HEADER + tags_len(Kind::Prevote, 8, 6) <= 64);
    }

    /// Golden: endpoint 7 says in its boot 0x01020304 that it is there. Changed only on purpose.
    #[test]
    fn a_present_header_on_the_wire() {
        let mut header = Header::new(Kind::Record, 0x0102_0304).round(7).present([0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5]);
        (header.mesh, header.suite, header.sender) = (0xbeef, 2, ENDPOINT_SENDER);
        let bytes = [0xef, 0xbe, 0x12, 0xaf, 4, 3, 2, 1, 7, 1, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5];
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!((header.is_presence(), header.firmware()), (true, [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5]));
        assert!(!Header { hint_proposer: 0, ..header }.is_presence(), "a record");
        assert!(!Header { kind: Kind::Prevote, ..header }.is_presence(), "a vote for a value of validator 1");
    }

    /// Validators, bytes of a tag of theirs, bytes of a tag of PRESENT, bytes of PRESENT.
    #[test]
    fn a_present_is_one_frame_with_a_tag_for_each_validator() {
        for (n, tag_len, present, length) in [(4, 8, 8, 48), (6, 8, 8, 64), (7, 8, 6, 58), (8, 6, 6, 64)] {
            assert_eq!(present_tag_len(n, tag_len), present, "{n}");
            let head = Header::new(Kind::Record, 1).present([9; FIRMWARE]).to_bytes();
            let mut message = head.to_vec();
            message.resize(length, 0x33);
            message.resize(if length > 48 { 64 } else { 48 }, 0); // of its frame
            let parts = Parts::split(&message, n, tag_len).expect("whole");
            assert_eq!((parts.body.len(), parts.tags), (0, &[0x33; 64][..n * present]), "{n}");
        }
    }

    #[test]
    fn a_call_has_a_body_and_no_tag() {
        let mut message = Header { hint_proposer: PRESENCE, ..Header::new(Kind::Ack, 1) }.to_bytes().to_vec();
        message.extend(1..=CALL_BODY as u8);
        let parts = Parts::split(&message, 7, 8).expect("whole");
        assert_eq!((parts.body.len(), parts.tags.len()), (CALL_BODY, 0));
        message.push(1);
        assert!(Parts::split(&message, 7, 8).is_none(), "what is left over");
    }

    #[test]
    fn padding_must_be_zero() {
        let mut message = [0; 48];
        message[3] = 0x12; // PREVOTE in a mesh of four: 16 + 3 * 8 = 40 bytes, padded to 48
        assert!(Parts::split(&message, 4, 8).is_some());
        message[47] = 1;
        assert!(Parts::split(&message, 4, 8).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_or_refused(message in prop::collection::vec(any::<u8>(), 0..200), n in 4usize..=8) {
            if let Some(parts) = Parts::split(&message, n, 8) {
                prop_assert_eq!(&parts.header.to_bytes(), parts.head);
                prop_assert!(parts.body.len() + parts.tags.len() + HEADER <= message.len());
            }
        }

        #[test]
        fn a_nonce_survives_the_header(nonce: u64) {
            let header = Header::new(Kind::Hello, 7).with_nonce(nonce);
            prop_assert_eq!(header.nonce(), nonce);
            prop_assert_eq!(Header::parse(&header.to_bytes()), Some(header));
        }
    }
}
