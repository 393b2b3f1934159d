//! Messages longer than one frame.
//!
//! Every mesh frame starts with a [`Prefix`]. A segment frame has kind [`KIND_SEGMENT`] and goes on with
//!
//! | byte | field |
//! |---|---|
//! | 4 | transfer: a number of the sender's that changes with every message |
//! | 5 | index of this segment, from 0 |
//! | 6, 7 | length of the whole message in bytes, little endian |
//! | 8.. | [`CHUNK`] bytes of the message; fewer in the last segment, zeros up to the next DLC length |
//!
//! Nothing here is authenticated: whoever can send a sender's identifier can spoil its transfers. The message that
//! comes out carries its own tag or signature, and the node above asks again for what it misses.

use core::{cmp::Ordering, fmt};

use crate::frame::{MAX_FD, padded_len};

/// Longest message that is carried, in bytes.
pub const MAX_MESSAGE: usize = 4096;
/// Bytes of the message in every segment but the last.
pub const CHUNK: usize = MAX_FD - HEADER;
/// The kind nibble of a segment.
pub const KIND_SEGMENT: u8 = 15;

const HEADER: usize = Prefix::LEN + 4;
const _: () = assert!(MAX_MESSAGE <= u16::MAX as usize && MAX_MESSAGE.div_ceil(CHUNK) <= u8::MAX as usize + 1);

/// The data of one mesh frame.
pub type Payload = heapless::Vec<u8, MAX_FD>;

/// The first bytes of every mesh frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Tells this car's frames from another's on the same wire.
    pub mesh: u16,
    /// Wire version, 0 to 15.
    pub version: u8,
    /// MAC suite, 0 to 15.
    pub suite: u8,
    /// Kind of frame, 0 to 15.
    pub kind: u8,
    /// Index of the sender, 0 to 15.
    pub sender: u8,
}

impl Prefix {
    /// Bytes on the wire.
    pub const LEN: usize = 4;

    /// The bytes on the wire. Of the nibble fields only the low four bits are used.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [low, high] = self.mesh.to_le_bytes();
        [low, high, self.version << 4 | self.suite & 15, self.kind << 4 | self.sender & 15]
    }

    /// Reads the prefix of a frame's data; `None` if that is too short to have one.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let &[low, high, wire, who] = data.first_chunk()?;
        Some(Self {
            mesh: u16::from_le_bytes([low, high]),
            version: wire >> 4,
            suite: wire & 15,
            kind: who >> 4,
            sender: who & 15,
        })
    }
}

/// Why a message cannot be cut into segments, or a segment cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentError {
    /// The frame is no segment.
    Kind,
    /// The message is empty or longer than what the receiver holds.
    MessageLength(usize),
    /// The segment is not as long as its place in the message says, or lies beyond its end.
    SegmentLength,
    /// The bytes after the end of the message are not zero.
    Padding,
    /// Another segment was due: one was lost, or the transfer is not one that was seen to start.
    Gap,
    /// The segment contradicts those before it in its transfer.
    Contradiction,
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => write!(f, "not a segment"),
            Self::MessageLength(0) => write!(f, "the message is empty"),
            Self::MessageLength(len) => write!(f, "a message of {len} bytes is too long"),
            Self::SegmentLength => write!(f, "the length of the segment does not fit its place in the message"),
            Self::Padding => write!(f, "bytes that are not zero after the end of the message"),
            Self::Gap => write!(f, "a segment before this one is missing"),
            Self::Contradiction => write!(f, "contradicts the segments before it"),
        }
    }
}

impl core::error::Error for SegmentError {}

/// Cuts a message into the data of the frames that carry it. The kind in `prefix` is replaced by [`KIND_SEGMENT`];
/// `transfer` is one that the sender did not use for its last message.
///
/// # Errors
/// [`SegmentError::MessageLength`] if the message is empty or longer than [`MAX_MESSAGE`].
pub fn segments(
    prefix: Prefix,
    transfer: u8,
    message: &[u8],
) -> Result<impl ExactSizeIterator<Item = Payload>, SegmentError> {
    if message.is_empty() || message.len() > MAX_MESSAGE {
        return Err(SegmentError::MessageLength(message.len()));
    }
    let count = message.len().div_ceil(CHUNK);
    Ok((0..count).map(move |index| segment(prefix, transfer, message, index).unwrap_or_default()))
}

/// The segment at `index` of those; `None` if the message ends before it.
pub fn segment(prefix: Prefix, transfer: u8, message: &[u8], index: usize) -> Option<Payload> {
    let rest = message.get(index.checked_mul(CHUNK)?..).filter(|rest| !rest.is_empty())?;
    let prefix = Prefix { kind: KIND_SEGMENT, ..prefix }.to_bytes();
    let [low, high] = (message.len() as u16).to_le_bytes();
    let mut payload = Payload::new();
    for part in [&prefix[..], &[transfer, index as u8, low, high], &rest[..rest.len().min(CHUNK)]] {
        payload.extend_from_slice(part).ok()?;
    }
    let len = padded_len(payload.len()).unwrap_or(MAX_FD);
    payload.resize(len, 0).ok()?;
    Some(payload)
}

/// One parsed segment.
struct Segment<'a> {
    transfer: u8,
    index: usize,
    total: usize,
    chunk: &'a [u8],
}

impl<'a> Segment<'a> {
    fn parse(data: &'a [u8]) -> Result<Self, SegmentError> {
        if Prefix::parse(data).is_none_or(|prefix| prefix.kind != KIND_SEGMENT) {
            return Err(SegmentError::Kind);
        }
        let Some((&[_, _, _, _, transfer, index, low, high], rest)) = data.split_first_chunk::<HEADER>() else {
            return Err(SegmentError::SegmentLength);
        };
        let (index, total) = (usize::from(index), usize::from(u16::from_le_bytes([low, high])));
        if total == 0 {
            return Err(SegmentError::MessageLength(total));
        }
        let len = total.saturating_sub(index * CHUNK).min(CHUNK);
        if len == 0 || padded_len(HEADER + len) != Some(data.len()) {
            return Err(SegmentError::SegmentLength);
        }
        let Some((chunk, padding)) = rest.split_at_checked(len) else { return Err(SegmentError::SegmentLength) };
        if padding.iter().any(|&byte| byte != 0) {
            return Err(SegmentError::Padding);
        }
        Ok(Self { transfer, index, total, chunk })
    }
}

/// Puts the segments of **one** sender together again, in messages of up to `N` bytes (at most [`MAX_MESSAGE`]), `T` of
/// them at a time: whoever else starts a transfer on the sender's identifier does not end the one under way.
///
/// Segments arrive in order, since a bus keeps the order of a sender's frames. The caller has checked mesh, version,
/// suite and sender.
pub struct Reassembler<const N: usize, const T: usize = 2> {
    slots: [Slot<N>; T],
    /// Segments taken, to know which transfer has rested longest.
    taken: u32,
}

/// Puts the segments of one transfer together in memory that the caller has: for messages so long that there is room for one
/// only. Otherwise as [`Reassembler`].
#[derive(Default)]
pub struct Assembly {
    current: Option<Transfer>,
}

impl Assembly {
    /// Waits for a first segment.
    pub const fn new() -> Self {
        Self { current: None }
    }

    /// Takes the data of a segment frame; returns the length of the message, at the start of `message`, when this completes
    /// it.
    ///
    /// # Errors
    /// As [`Reassembler::push`].
    pub fn push(&mut self, message: &mut [u8], data: &[u8]) -> Result<Option<usize>, SegmentError> {
        let segment = Segment::parse(data)?;
        if segment.total > message.len() {
            return Err(SegmentError::MessageLength(segment.total));
        }
        match self.is_of(&segment) {
            true if self.is_repetition(message, &segment) => Ok(None),
            false if segment.index > 0 => Err(SegmentError::Gap),
            _ => self.take(message, &segment, 0),
        }
    }

    /// Whether the segment belongs to this transfer.
    fn is_of(&self, segment: &Segment<'_>) -> bool {
        self.current.is_some_and(|transfer| transfer.number == segment.transfer)
    }

    fn take(&mut self, message: &mut [u8], segment: &Segment<'_>, at: u32) -> Result<Option<usize>, SegmentError> {
        let mut transfer = match self.current.take() {
            _ if segment.index == 0 => Transfer { number: segment.transfer, total: segment.total, received: 0, at },
            Some(transfer) => transfer,
            None => return Err(SegmentError::Gap),
        };
        if segment.total != transfer.total {
            return Err(SegmentError::Contradiction);
        }
        match (segment.index * CHUNK).cmp(&transfer.received) {
            Ordering::Less => return Err(SegmentError::Contradiction),
            Ordering::Equal => {}
            Ordering::Greater => return Err(SegmentError::Gap),
        }
        let end = transfer.received + segment.chunk.len();
        let place = message.get_mut(transfer.received..end).ok_or(SegmentError::MessageLength(segment.total))?;
        place.copy_from_slice(segment.chunk);
        (transfer.received, transfer.at) = (end, at);
        self.current = Some(transfer);
        Ok((end == transfer.total).then_some(end))
    }

    /// Whether the segment is, byte for byte, the last one taken.
    fn is_repetition(&self, message: &[u8], segment: &Segment<'_>) -> bool {
        let start = segment.index * CHUNK;
        self.current.is_some_and(|transfer| {
            segment.total == transfer.total
                && start + segment.chunk.len() == transfer.received
                && message.get(start..transfer.received) == Some(segment.chunk)
        })
    }
}

/// Room for one message.
struct Slot<const N: usize> {
    message: [u8; N],
    assembly: Assembly,
}

/// The transfer under way, or the one completed last.
#[derive(Clone, Copy)]
struct Transfer {
    number: u8,
    total: usize,
    received: usize,
    /// When it took its last segment.
    at: u32,
}

impl<const N: usize, const T: usize> Default for Reassembler<N, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize, const T: usize> Reassembler<N, T> {
    /// Waits for a first segment.
    pub const fn new() -> Self {
        const { assert!(N <= MAX_MESSAGE && T > 0) }
        Self { slots: [const { Slot { message: [0; N], assembly: Assembly::new() } }; T], taken: 0 }
    }

    /// Takes the data of a segment frame; returns the message when this completes it.
    ///
    /// A segment with index 0 starts a new message, in the place of a complete one or of the one that has rested longest.
    /// A repetition of a transfer's last segment is ignored: a fault in the last bits of a frame makes a sender repeat
    /// what some receivers already have.
    ///
    /// # Errors
    /// See [`SegmentError`]. The message to which the segment claims to belong is given up.
    pub fn push(&mut self, data: &[u8]) -> Result<Option<&[u8]>, SegmentError> {
        let segment = Segment::parse(data)?;
        if segment.total > N {
            return Err(SegmentError::MessageLength(segment.total));
        }
        self.taken = self.taken.wrapping_add(1);
        let known = self.slots.iter().position(|slot| slot.assembly.is_of(&segment));
        let at = match known {
            Some(at) if self.slots[at].assembly.is_repetition(&self.slots[at].message, &segment) => return Ok(None),
            Some(at) => at,
            None if segment.index == 0 => self.idle(),
            None => return Err(SegmentError::Gap),
        };
        let Slot { message, assembly } = &mut self.slots[at];
        Ok(assembly.take(message, &segment, self.taken)?.and_then(|length| message.get(..length)))
    }

    /// The slot whose message matters least.
    fn idle(&self) -> usize {
        let rest = |slot: &Slot<N>| match slot.assembly.current {
            Some(transfer) if transfer.received < transfer.total => self.taken.wrapping_sub(transfer.at),
            _ => u32::MAX,
        };
        (0..T).max_by_key(|at| rest(&self.slots[*at])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const PREFIX: Prefix = Prefix { mesh: 0x1234, version: 1, suite: 2, kind: 3, sender: 4 };

    fn message(len: usize) -> Vec<u8> {
        (1..=len).map(|i| i as u8).collect()
    }

    fn cut(transfer: u8, len: usize) -> Vec<Payload> {
        segments(PREFIX, transfer, &message(len)).unwrap().collect()
    }

    /// The same for one transfer at a time, in memory of the caller.
    fn run_one(frames: &[&Payload]) -> Vec<Result<char, SegmentError>> {
        let (mut assembly, mut message) = (Assembly::new(), [0; 256]);
        frames.iter().map(|f| assembly.push(&mut message, f).map(|m| if m.is_some() { 'M' } else { '.' })).collect()
    }

    /// Pushes frames and tells what came of each: `.` taken, `M` message complete, else the error.
    fn run(frames: &[&Payload]) -> Vec<Result<char, SegmentError>> {
        let mut reassembler = Reassembler::<256, 2>::new();
        frames.iter().map(|f| reassembler.push(f).map(|m| if m.is_some() { 'M' } else { '.' })).collect()
    }

    #[test]
    fn golden_frame() {
        let frames = cut(7, 57);
        assert_eq!(frames[1], [0x34, 0x12, 0x12, 0xF4, 7, 1, 57, 0, 57, 0, 0, 0]);
        assert_eq!(frames[0][..9], [0x34, 0x12, 0x12, 0xF4, 7, 0, 57, 0, 1]);
        assert_eq!(frames[0].len(), 64);
        assert_eq!(Prefix::parse(&frames[0]), Some(Prefix { kind: KIND_SEGMENT, ..PREFIX }));
    }

    #[test]
    fn only_messages_of_1_to_4096_bytes_are_cut() {
        for (len, frames) in [(0, None), (1, Some(1)), (56, Some(1)), (57, Some(2)), (4096, Some(74)), (4097, None)] {
            let result = segments(PREFIX, 0, &message(len)).map(|s| s.len());
            assert_eq!(result, frames.ok_or(SegmentError::MessageLength(len)), "{len} bytes");
        }
    }

    #[test]
    fn what_a_bus_can_do_to_a_transfer() {
        use SegmentError::*;
        let (a, b, single, long) = (cut(1, 150), cut(2, 112), cut(3, 9), cut(4, 300));
        let (same_transfer_other_length, third) = (cut(1, 151), cut(9, 112));
        type Case<'a> = (&'a str, &'a [&'a Payload], &'a [Result<char, SegmentError>]);
        let cases: &[Case<'_>] = &[
            ("in order", &[&a[0], &a[1], &a[2]], &[Ok('.'), Ok('.'), Ok('M')]),
            (
                "each one twice",
                &[&a[0], &a[0], &a[1], &a[1], &a[2], &a[2]],
                &[Ok('.'), Ok('.'), Ok('.'), Ok('.'), Ok('M'), Ok('.')],
            ),
            ("single, twice", &[&single[0], &single[0]], &[Ok('M'), Ok('.')]),
            ("two in turn", &[&a[0], &a[1], &a[2], &b[0], &b[1]], &[Ok('.'), Ok('.'), Ok('M'), Ok('.'), Ok('M')]),
            ("a new one begins in the middle", &[&a[0], &a[1], &b[0], &b[1]], &[Ok('.'), Ok('.'), Ok('.'), Ok('M')]),
            ("begun again", &[&a[0], &a[1], &a[0], &a[1], &a[2]], &[Ok('.'), Ok('.'), Ok('.'), Ok('.'), Ok('M')]),
            ("the second is lost", &[&a[0], &a[2]], &[Ok('.'), Err(Gap)]),
            ("the start is lost", &[&a[1], &a[2]], &[Err(Gap), Err(Gap)]),
            ("lost, then complete", &[&a[0], &a[2], &b[0], &b[1]], &[Ok('.'), Err(Gap), Ok('.'), Ok('M')]),
            ("another transfer's middle", &[&a[0], &b[1], &a[1], &a[2]], &[Ok('.'), Err(Gap), Ok('.'), Ok('M')]),
            ("another's start in between", &[&a[0], &b[0], &a[1], &a[2]], &[Ok('.'), Ok('.'), Ok('.'), Ok('M')]),
            ("two starts between", &[&a[0], &b[0], &third[0], &a[1]], &[Ok('.'), Ok('.'), Ok('.'), Err(Gap)]),
            ("back", &[&a[0], &a[1], &a[2], &a[1]], &[Ok('.'), Ok('.'), Ok('M'), Err(Contradiction)]),
            ("another total", &[&a[0], &same_transfer_other_length[1]], &[Ok('.'), Err(Contradiction)]),
            (
                "more than the receiver holds",
                &[&long[0], &long[1]],
                &[Err(MessageLength(300)), Err(MessageLength(300))],
            ),
        ];
        let mut alike = 0;
        for (name, frames, expected) in cases {
            assert_eq!(run(frames), *expected, "{name}");
            alike += usize::from(run_one(frames) == *expected);
        }
        assert_eq!(alike, cases.len() - 1, "with one at a time, the start of another ends what is under way");
        assert_eq!(run_one(&[&a[0], &b[0], &a[1], &b[1]]), [Ok('.'), Ok('.'), Err(Gap), Ok('M')]);
    }

    #[test]
    fn malformed_segments() {
        use SegmentError::*;
        let frame = &cut(1, 60)[1];
        let with = |at: usize, byte: u8| {
            let mut frame = frame.clone();
            frame[at] = byte;
            frame
        };
        let longer = frame.iter().copied().chain([0; 4]).collect();
        for (name, frame, error) in [
            ("kind", with(3, 0x34), Kind),
            ("no frame at all", Payload::new(), Kind),
            ("header cut", frame[..7].iter().copied().collect(), SegmentLength),
            ("index beyond the end", with(5, 2), SegmentLength),
            ("empty message", with(6, 0), MessageLength(0)),
            ("longer message than data", with(6, 112), SegmentLength),
            ("dirty padding", with(6, 57), Padding),
            ("longer than needed", longer, SegmentLength),
        ] {
            assert_eq!(run(&[&frame]), [Err(error)], "{name}");
        }
    }

    /// Miri takes a second for some hundred bytes.
    const LONGEST: usize = if cfg!(miri) { 256 } else { MAX_MESSAGE };

    proptest! {
        #[test]
        fn what_is_cut_comes_together(message in prop::collection::vec(any::<u8>(), 1..=LONGEST), transfer: u8) {
            let mut reassembler = Reassembler::<MAX_MESSAGE, 1>::new();
            let mut frames = segments(PREFIX, transfer, &message).unwrap();
            let last = frames.len() - 1;
            for frame in frames.by_ref().take(last) {
                prop_assert_eq!(reassembler.push(&frame), Ok(None));
            }
            prop_assert_eq!(reassembler.push(&frames.next().unwrap()), Ok(Some(&message[..])));

            let (mut assembly, mut memory) = (Assembly::new(), [0; MAX_MESSAGE]);
            let whole = segments(PREFIX, transfer, &message).unwrap().filter_map(|f| assembly.push(&mut memory, &f).unwrap());
            prop_assert_eq!(whole.collect::<Vec<_>>(), [message.len()]);
            prop_assert_eq!(&memory[..message.len()], &message[..]);
        }

        #[test]
        fn arbitrary_frames_never_panic(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=70), 0..20)) {
            let mut reassembler = Reassembler::<100, 2>::new();
            let (mut assembly, mut memory) = (Assembly::new(), [0; 100]);
            for frame in frames {
                if let Ok(Some(message)) = reassembler.push(&frame) {
                    prop_assert!(message.len() <= 100);
                }
                if let Ok(Some(length)) = assembly.push(&mut memory, &frame) {
                    prop_assert!(length <= 100);
                }
            }
        }

        /// Frames close to valid ones reach further than random bytes; no message is ever made up of two.
        #[test]
        fn shuffled_segments_give_only_whole_messages(picks in prop::collection::vec((0u8..3, 0usize..4), 0..40)) {
            let mut reassembler = Reassembler::<256, 2>::new();
            for (transfer, index) in picks {
                let whole = [message(200), message(130), message(20)][usize::from(transfer)].clone();
                let frames: Vec<_> = segments(PREFIX, transfer, &whole).unwrap().collect();
                if let Ok(Some(result)) = reassembler.push(&frames[index % frames.len()]) {
                    prop_assert_eq!(result, &whole[..]);
                }
            }
        }
    }
}
