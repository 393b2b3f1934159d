//! The pump: frames in, frames out, around the validator.

use can_bus::frame::{Frame, id_from_raw};
use can_bus::port::{BusCommand, BusEvent, ErrorState};
use can_bus::segment::{Assembly, KIND_SEGMENT, Prefix, Reassembler, SegmentError};
use device_chain::block::Seal;
use device_chain::grant::SignedGrant;
use device_chain::keys::{Device, KeyStore};
use device_chain::limits::{MAX_MESSAGE, MAX_RECORD_DATA, MAX_SHORT_MESSAGE, MAX_TAG, MAX_TX, MAX_VALIDATORS};
use device_chain::order::Endorsement;
use device_chain::pairing::{Agreed, Agreement, Ephemeral};
use device_chain::record::RecordKind;
use device_chain::registry::Devices;
use device_chain::tx::Transaction;
use device_chain::types::{Hash, Micros, PublicKey, Signature, ValidatorIndex};
use device_chain::validator::{self, Decision, Proof, Report, Source, Validator};
use device_chain::wire::{Class, HEADER, Kind};
use journal::{Counter, Flash, OpenError};

use crate::store::{self, Opened};
use crate::transmit::Transmit;

/// Longest proposal.
pub(crate) const PROPOSAL: usize = HEADER + MAX_TX + MAX_TAG * (MAX_VALIDATORS - 1);
/// Time without a segment after which a long message on its way in gives its memory up, microseconds.
const LONG_PATIENCE_US: u64 = 100_000;
/// Longest record of an endpoint.
const RECORD_MESSAGE: usize = HEADER + MAX_RECORD_DATA + MAX_TAG * MAX_VALIDATORS;
/// Messages of several frames, but long ones, that may be under way at one time, whoever sends them. A sender's own frames follow
/// each other closely, so that of all who send at once only a few have begun and not ended. And whoever wants to end the message of
/// another has to bring as many frames in between two of it ([`Reassembler`]).
const UNDER_WAY: usize = 10;
const _: () = assert!(PROPOSAL <= MAX_SHORT_MESSAGE && RECORD_MESSAGE <= MAX_SHORT_MESSAGE);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// On a mesh segment.
    Bus(BusEvent),
    /// All [`Effect::Persist`] up to this token are durable.
    Persisted(u64),
    /// Answer to [`Effect::Sign`].
    Signed(Hash, Signature),
    /// Answer to [`Effect::CheckGrant`].
    GrantChecked(Hash, bool),
    /// Answer to [`Effect::Agree`].
    Agreed(Agreed),
    /// Answer to [`Effect::Draw`]; or somebody wants the pairwise keys of this ECU refreshed now.
    Refresh(Ephemeral),
    /// The last [`Effect::Keep`] is durable.
    Kept,
    /// Answer to [`Effect::CheckEndorsement`].
    EndorsementChecked(Signature, bool),
    /// A signature under an order, from outside.
    Endorsement(Endorsement),
    /// Digest of the firmware that runs here, as the secure boot has measured it.
    Measured(Hash),
    /// A grant from outside the car.
    Grant(SignedGrant),
    /// A transaction that this ECU wants decided.
    Submit(Transaction),
    /// What this ECU's clock says, milliseconds of Unix time.
    Clock(u64),
}

/// Something to do, in order.
#[derive(Debug)]
pub enum Effect<'b> {
    /// Tell the bus.
    Bus(BusCommand),
    /// Append to the journal ([`crate::store::Store::append`]), in one step with others that are at hand; answer the last with
    /// [`Input::Persisted`].
    Persist {
        /// Rises by one.
        token: u64,
        /// How the journal marks it.
        kind: RecordKind,
        /// The record.
        bytes: &'b [u8],
    },
    /// A quorum decided, and it is durable here: act on it.
    Decided(Decision),
    /// Sign a block header's hash, at leisure; answer with [`Input::Signed`].
    Sign(Hash),
    /// Check a grant's signature, at leisure; answer with [`Input::GrantChecked`].
    CheckGrant(SignedGrant),
    /// Work out a secret of a refresh, at leisure; answer with [`Input::Agreed`].
    Agree(Agreement),
    /// Draw a key pair for a refresh, at leisure; answer with [`Input::Refresh`].
    Draw,
    /// Make durable what the key store has now, in place of what it had; answer with [`Input::Kept`].
    Keep,
    /// Check that the key has signed an order for this car, at leisure; answer with [`Input::EndorsementChecked`].
    CheckEndorsement(Endorsement, PublicKey),
    /// At the gateway: a seal of a block, not checked yet.
    Sealed(u32, Seal),
    /// Worth a line in a log.
    Report(Report),
}

/// Frames counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounters {
    /// Received on identifiers of the mesh.
    pub received: u32,
    /// Received on other identifiers: the car's own traffic, diagnostics. Left alone.
    pub other: u32,
    /// Of another mesh.
    pub foreign: u32,
    /// On an identifier of the mesh, but no mesh frame: classic, remote, too short, or of another version.
    pub malformed: u32,
    /// Segments that do not make a message.
    pub segments: u32,
    /// Sent: votes.
    pub sent_votes: u32,
    /// Sent: frames of proposals.
    pub sent_proposals: u32,
    /// Sent: everything else.
    pub sent_other: u32,
    /// Taken back before they were sent.
    pub cancelled: u32,
    /// Frames that the bus refused.
    pub dropped: u32,
    /// Received and lost by the operating system or the controller.
    pub overrun: u32,
}

impl FrameCounters {
    const ZERO: Self = Self {
        received: 0,
        other: 0,
        foreign: 0,
        malformed: 0,
        segments: 0,
        sent_votes: 0,
        sent_proposals: 0,
        sent_other: 0,
        cancelled: 0,
        dropped: 0,
        overrun: 0,
    };
}

/// Memory for one long message, in or out: a state, which only one peer is asked for. What was asked for goes before what is served,
/// and to make the own state durable before both.
struct Long {
    bytes: [u8; MAX_MESSAGE],
    assembly: Assembly,
    /// Who sends it, and when its last segment came.
    incoming: Option<(ValidatorIndex, Micros)>,
    /// Length of one that has come and stays until its state is proven ([`Validator::proof`]).
    kept: Option<usize>,
}

impl Long {
    /// Takes a segment; the length of the message when this completes it.
    fn push(&mut self, now: Micros, sender: ValidatorIndex, data: &[u8]) -> Result<Option<usize>, SegmentError> {
        if self.incoming.is_none_or(|(other, _)| other != sender) {
            self.assembly = Assembly::new();
        }
        let whole = self.assembly.push(&mut self.bytes, data)?;
        self.incoming = whole.is_none().then_some((sender, now));
        Ok(whole)
    }

    /// Whether it is in use by a message that comes in, or has come and is kept.
    fn is_taken(&self, now: Micros) -> bool {
        self.kept.is_some() || self.incoming.is_some_and(|(_, last)| now.since(last) < LONG_PATIENCE_US)
    }

    /// Keeps a message that came together elsewhere: a state may be short.
    fn keep(&mut self, message: &[u8]) {
        self.give_up();
        if let Some(place) = self.bytes.get_mut(..message.len()) {
            place.copy_from_slice(message);
            self.kept = Some(message.len());
        }
    }

    /// The message that is kept.
    fn kept(&self) -> Option<&[u8]> {
        self.bytes.get(..self.kept?)
    }

    fn give_up(&mut self) {
        (self.assembly, self.incoming, self.kept) = (Assembly::new(), None, None);
    }
}

/// Hands a message that came in segments to the validator; whether a state waits for its proof then.
fn hear<K: KeyStore>(
    validator: &mut Validator<K>,
    now: Micros,
    source: Source,
    segment: &[u8],
    bytes: &[u8],
) -> Result<bool, SegmentError> {
    // the prefix of the segments is the one of the message but for the kind, its highest four bits
    let but_kind = |bytes: &[u8]| bytes.first_chunk().map(|prefix| u32::from_le_bytes(*prefix) << 4);
    if but_kind(bytes) != but_kind(segment) {
        return Err(SegmentError::Contradiction);
    }
    validator.handle(now, validator::Input::Message { source, bytes });
    Ok(validator.proof().is_some())
}

/// An ECU of the mesh.
pub struct Ecu<K> {
    validator: Validator<K>,
    transmit: Transmit,
    under_way: Reassembler<MAX_SHORT_MESSAGE, UNDER_WAY>,
    long: Long,
    /// For whatever else leaves while that is in use.
    short: [u8; MAX_SHORT_MESSAGE],
    counters: FrameCounters,
    bus_state: ErrorState,
    now: Micros,
}

impl<K> Ecu<K> {
    /// An ECU that knows no car yet: [its validator](Self::validator_mut) has to be installed and started. As
    /// [`Validator::new`], it is all zeros but for its keys.
    #[must_use]
    pub const fn new(keys: K) -> Self {
        Self {
            validator: Validator::new(keys),
            transmit: Transmit::IDLE,
            under_way: Reassembler::new(),
            long: Long { bytes: [0; MAX_MESSAGE], assembly: Assembly::new(), incoming: None, kept: None },
            short: [0; MAX_SHORT_MESSAGE],
            counters: FrameCounters::ZERO,
            bus_state: ErrorState::Active,
            now: Micros(0),
        }
    }

    /// The validator inside, to be installed, given its memory ([`Self::recover`]) and started. Inputs then go through
    /// [`Self::handle`].
    pub const fn validator_mut(&mut self) -> &mut Validator<K> {
        &mut self.validator
    }
}

impl<K: KeyStore> Ecu<K> {
    /// Opens the journal and gives the installed validator what it holds, as [`store::open`].
    ///
    /// # Errors
    /// As there.
    pub fn recover<F: Flash, C: Counter<Error = F::Error>>(
        &mut self,
        reopen: &mut dyn FnMut() -> Result<(F, C), F::Error>,
    ) -> Result<Opened<F, C>, OpenError<F::Error>> {
        store::open(reopen, &mut self.validator, &mut self.long.bytes)
    }

    /// The validator inside.
    #[must_use]
    pub const fn validator(&self) -> &Validator<K> {
        &self.validator
    }

    /// Frames counted.
    #[must_use]
    pub const fn counters(&self) -> &FrameCounters {
        &self.counters
    }

    /// Error state of the controller.
    #[must_use]
    pub const fn bus_state(&self) -> ErrorState {
        self.bus_state
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        self.validator.deadline()
    }

    /// Whether this is a moment for the upkeep of the journal ([`crate::store::Store::upkeep`]): between two heights, at those
    /// whose turn is this ECU's.
    #[must_use]
    pub fn is_quiet(&self, now: Micros) -> bool {
        let (height, n) = (self.validator.state().height(), self.validator.registry().validators());
        self.validator.is_between_heights(now) && store::is_turn(height, self.validator.index(), n)
    }

    /// Takes an input. Never blocks, never fails on what the bus brings.
    pub fn handle(&mut self, now: Micros, input: Input) {
        self.now = self.now.max(now);
        match &input {
            Input::Bus(event) => self.on_bus(now, event),
            _ => self.tell(now, input),
        }
        self.settle_kept();
    }

    /// Hands an input to the validator that concerns it alone.
    #[inline(never)]
    fn tell(&mut self, now: Micros, input: Input) {
        let input = match input {
            Input::Bus(_) => return,
            Input::Tick => validator::Input::Tick,
            Input::Persisted(token) => validator::Input::Persisted(token),
            Input::Signed(digest, signature) => validator::Input::Signed(digest, signature),
            Input::GrantChecked(digest, genuine) => validator::Input::GrantChecked(digest, genuine),
            Input::Agreed(agreed) => validator::Input::Agreed(agreed),
            Input::Refresh(ephemeral) => validator::Input::Refresh(ephemeral),
            Input::Kept => validator::Input::Kept,
            Input::Grant(signed) => validator::Input::Grant(signed),
            Input::EndorsementChecked(signature, genuine) => validator::Input::EndorsementChecked(signature, genuine),
            Input::Endorsement(endorsement) => validator::Input::Endorsement(endorsement),
            Input::Measured(firmware) => validator::Input::Measured(firmware),
            Input::Submit(tx) => validator::Input::Submit(tx),
            Input::Clock(ms) => validator::Input::Clock(ms),
        };
        self.validator.handle(now, input);
    }

    /// Hands a state that is proven back to the validator, and lets go of one that nobody waits for any more.
    fn settle_kept(&mut self) {
        let Some(message) = self.long.kept() else { return };
        match self.validator.proof() {
            Some(Proof::Awaited) => return,
            Some(Proof::Complete) => self.validator.handle(self.now, validator::Input::Adopt(message)),
            None => {}
        }
        self.long.give_up();
    }

    fn on_bus(&mut self, now: Micros, event: &BusEvent) {
        match *event {
            BusEvent::Received { ref frame, .. } => self.on_frame(now, frame),
            BusEvent::Transmitted { token } => self.on_transmitted(now, token),
            BusEvent::Dropped { token } => match self.transmit.done(token) {
                Some(mark) if mark.kind.vote().is_some() => self.counters.cancelled += 1,
                _ => self.counters.dropped += 1,
            },
            BusEvent::Overrun { frames } => self.counters.overrun += frames,
            BusEvent::State(state) => self.bus_state = state,
        }
    }

    fn on_transmitted(&mut self, now: Micros, token: u32) {
        let Some(mark) = self.transmit.done(token) else { return };
        match mark.kind.class() {
            Class::Vote => self.counters.sent_votes += 1,
            Class::Propose => self.counters.sent_proposals += 1,
            _ => self.counters.sent_other += 1,
        }
        if mark.kind == Kind::Propose && mark.last {
            self.validator.handle(now, validator::Input::Proposed(mark.height, mark.round));
        }
    }

    fn on_frame(&mut self, now: Micros, frame: &Frame) {
        let Some(source) = self.validator.registry().plan().source(frame.raw_id()) else {
            self.counters.other += 1;
            return;
        };
        self.counters.received += 1;
        let mesh = self.validator.mesh().short();
        let prefix = match Prefix::parse(frame.data()) {
            Some(prefix) if frame.is_fd() && prefix.mesh != mesh => {
                self.counters.foreign += 1;
                return; // another car on this wire, with the same plan perhaps
            }
            Some(prefix) if frame.is_fd() => prefix,
            _ => {
                self.counters.malformed += 1;
                return;
            }
        };
        if source.device == Device::Validator(self.validator.index()) {
            self.validator.handle(now, validator::Input::Impostor(frame.raw_id()));
        } else if prefix.kind == KIND_SEGMENT {
            if self.on_segment(now, source, frame).is_err() {
                self.counters.segments += 1;
            }
        } else {
            self.validator.handle(now, validator::Input::Message { source, bytes: frame.data() });
        }
    }

    fn on_segment(&mut self, now: Micros, source: Source, frame: &Frame) -> Result<(), SegmentError> {
        let (data, validator) = (frame.data(), &mut self.validator);
        let total = data.get(6..8).map_or(0, |total| usize::from(u16::from_le_bytes([total[0], total[1]])));
        let longest = match (source.device, source.class) {
            (Device::Validator(sender), Class::Bulk) if total > MAX_SHORT_MESSAGE => {
                if validator.state_asked_of() != Some(sender) {
                    return Ok(()); // for another, or for none, or one is there already
                }
                self.transmit.drop_long(); // what was asked for goes first
                if let Some(length) = self.long.push(now, sender, data)?
                    && let Some(bytes) = self.long.bytes.get(..length)
                    && hear(validator, now, source, data, bytes)?
                {
                    self.long.kept = Some(length);
                }
                return Ok(());
            }
            (_, Class::Bulk) => MAX_SHORT_MESSAGE,
            (_, Class::Propose) => PROPOSAL,
            (_, Class::Record) => RECORD_MESSAGE,
            (_, Class::Vote | Class::Control) => 0, // these fit a frame
        };
        if let Some(bytes) = self.under_way.push(frame.raw_id(), longest, data)?
            && hear(validator, now, source, data, bytes)?
            && self.long.kept.is_none()
        {
            self.transmit.drop_long();
            self.long.keep(bytes);
        }
        Ok(())
    }

    /// What a rewritten journal must hold, in order: see [`Validator::live_records`].
    pub fn live_records(&mut self, keep: &mut dyn FnMut(RecordKind, &[u8])) {
        self.give_up_long();
        self.validator.live_records(&mut self.long.bytes, keep);
    }

    /// The memory for a long message is needed: whoever sends one or waits for one asks again.
    fn give_up_long(&mut self) {
        if self.long.kept.is_some() {
            self.validator.drop_offered_state();
        }
        self.transmit.drop_long();
        self.long.give_up();
    }

    /// The next effect; `None` when there is nothing to do before the next input.
    pub fn poll(&mut self) -> Option<Effect<'_>> {
        let (persist, in_long) = loop {
            if self.validator.owes_state() {
                self.give_up_long();
            }
            let is_long = !self.transmit.carries_long() && !self.long.is_taken(self.now);
            if is_long {
                self.long.give_up();
            }
            let buffer = if is_long { &mut self.long.bytes[..] } else { &mut self.short[..] };
            match self.validator.poll(|class| self.transmit.is_free(class), buffer) {
                None => return self.transmit.command(&self.long.bytes).map(Effect::Bus),
                Some(validator::Effect::Send { header, bytes }) => {
                    let own = self.validator.registry().identifiers(self.validator.index());
                    let id = own.and_then(|own| id_from_raw(own.of(header.kind.class())));
                    let Some(id) = id else { continue };
                    if !self.transmit.push(id, &header, bytes) {
                        self.counters.dropped += 1;
                    }
                }
                Some(validator::Effect::Cancel(cancel)) => self.transmit.cancel(cancel),
                Some(validator::Effect::Persist { token, kind, bytes }) => break ((token, kind, bytes.len()), is_long),
                Some(validator::Effect::Decided(decision)) => return Some(Effect::Decided(decision)),
                Some(validator::Effect::Sign(digest)) => return Some(Effect::Sign(digest)),
                Some(validator::Effect::CheckGrant(signed)) => return Some(Effect::CheckGrant(signed)),
                Some(validator::Effect::Agree(agreement)) => return Some(Effect::Agree(agreement)),
                Some(validator::Effect::Draw) => return Some(Effect::Draw),
                Some(validator::Effect::Keep) => return Some(Effect::Keep),
                Some(validator::Effect::CheckEndorsement(endorsement, key)) => {
                    return Some(Effect::CheckEndorsement(endorsement, key));
                }
                Some(validator::Effect::Sealed(number, seal)) => return Some(Effect::Sealed(number, seal)),
                Some(validator::Effect::Report(report)) => return Some(Effect::Report(report)),
            }
        };
        let (token, kind, length) = persist;
        let buffer = if in_long { &self.long.bytes[..] } else { &self.short[..] };
        Some(Effect::Persist { token, kind, bytes: buffer.get(..length)? })
    }
}
