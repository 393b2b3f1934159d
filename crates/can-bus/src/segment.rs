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

use core::{cmp::Ordering, fmt, num::NonZeroU16};

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
    /// Bytes of the whole message.
    total: NonZeroU16,
    chunk: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Of a message of at most `longest` bytes.
    fn parse(data: &'a [u8], longest: usize) -> Result<Self, SegmentError> {
        if Prefix::parse(data).is_none_or(|prefix| prefix.kind != KIND_SEGMENT) {
            return Err(SegmentError::Kind);
        }
        let Some((&[_, _, _, _, transfer, index, low, high], rest)) = data.split_first_chunk::<HEADER>() else {
            return Err(SegmentError::SegmentLength);
        };
        let (index, total) = (usize::from(index), u16::from_le_bytes([low, high]));
        let announced = usize::from(total);
        let Some(total) = NonZeroU16::new(total).filter(|_| announced <= longest) else {
            return Err(SegmentError::MessageLength(announced));
        };
        let len = announced.saturating_sub(index * CHUNK).min(CHUNK);
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

/// The transfer under way, or the one completed last.
#[derive(Clone, Copy)]
struct Transfer {
    total: NonZeroU16,
    received: u16,
    number: u8,
}

/// Puts the segments of **one** sender together again, one transfer at a time, in memory that the caller has: for messages so
/// long that there is room for one only.
///
/// Segments arrive in order, since a bus keeps the order of a sender's frames. The caller has checked mesh, version,
/// suite and sender.
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
    /// A segment with index 0 starts a new message. A repetition of the last segment is ignored: a fault in the last bits of
    /// a frame makes a sender repeat what some receivers already have.
    ///
    /// # Errors
    /// See [`SegmentError`]. The message to which the segment claims to belong is given up.
    pub fn push(&mut self, message: &mut [u8], data: &[u8]) -> Result<Option<usize>, SegmentError> {
        let segment = Segment::parse(data, message.len())?;
        self.take(message, &segment)
    }

    fn take(&mut self, message: &mut [u8], segment: &Segment<'_>) -> Result<Option<usize>, SegmentError> {
        if self.is_repetition(message, segment) {
            return Ok(None);
        }
        if segment.index > 0 && !self.is_of(segment.transfer) {
            return Err(SegmentError::Gap);
        }
        let mut transfer = match self.current.take() {
            Some(transfer) if segment.index > 0 => transfer,
            _ => Transfer { number: segment.transfer, total: segment.total, received: 0 },
        };
        if segment.total != transfer.total {
            return Err(SegmentError::Contradiction);
        }
        let received = usize::from(transfer.received);
        match (segment.index * CHUNK).cmp(&received) {
            Ordering::Less => return Err(SegmentError::Contradiction),
            Ordering::Equal => {}
            Ordering::Greater => return Err(SegmentError::Gap),
        }
        let end = received + segment.chunk.len();
        let place = message.get_mut(received..end).ok_or(SegmentError::MessageLength(end))?;
        place.copy_from_slice(segment.chunk);
        transfer.received = end as u16;
        self.current = Some(transfer);
        Ok((!self.is_under_way()).then_some(end))
    }

    /// Whether this is the transfer in the memory.
    fn is_of(&self, transfer: u8) -> bool {
        self.current.is_some_and(|current| current.number == transfer)
    }

    /// Whether the rest of a message is missing.
    fn is_under_way(&self) -> bool {
        self.current.is_some_and(|current| current.received < current.total.get())
    }

    /// Whether the segment is, byte for byte, the last one taken.
    fn is_repetition(&self, message: &[u8], segment: &Segment<'_>) -> bool {
        let start = segment.index * CHUNK;
        self.current.is_some_and(|current| {
            let received = usize::from(current.received);
            (current.number, current.total) == (segment.transfer, segment.total)
                && start + segment.chunk.len() == received
                && message.get(start..received) == Some(segment.chunk)
        })
    }
}

/// Transfers of one identifier that have a place: whoever else starts one on it does not end the one under way.
const OF_ONE_IDENTIFIER: usize = 2;

/// Puts the segments of all senders together again, in messages of up to `N` bytes (at most [`MAX_MESSAGE`]), in `T` places.
/// Otherwise as [`Assembly`].
///
/// A new transfer takes a free place, or one whose message is complete, or that of the transfer which has rested longest. An
/// identifier has two places at most, and its third transfer takes one of them in the same way. So whoever sends on
/// identifiers of others ends a transfer only with two starts on its own identifier, or with `T` frames between two of its
/// segments.
pub struct Reassembler<const N: usize, const T: usize> {
    places: [Place<N>; T],
    /// Segments taken, to know which transfer has rested longest.
    taken: u32,
}

/// Room for one message.
struct Place<const N: usize> {
    message: [u8; N],
    assembly: Assembly,
    /// On which identifier it comes.
    identifier: u32,
    /// When it took its last segment.
    at: u32,
}

impl<const N: usize> Place<N> {
    const FREE: Self = Self { message: [0; N], assembly: Assembly::new(), identifier: 0, at: 0 };

    fn is_of(&self, identifier: u32) -> bool {
        self.assembly.current.is_some() && self.identifier == identifier
    }
}

impl<const N: usize, const T: usize> Default for Reassembler<N, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize, const T: usize> Reassembler<N, T> {
    /// Waits for a first segment.
    pub const fn new() -> Self {
        const { assert!(N <= MAX_MESSAGE && T >= OF_ONE_IDENTIFIER) }
        Self { places: [const { Place::FREE }; T], taken: 0 }
    }

    /// Takes the data of a segment frame that came on `identifier`, where messages have `longest` bytes at most; returns the
    /// message when this completes it.
    ///
    /// # Errors
    /// As [`Assembly::push`].
    pub fn push(&mut self, identifier: u32, longest: usize, data: &[u8]) -> Result<Option<&[u8]>, SegmentError> {
        let segment = Segment::parse(data, longest.min(N))?;
        let known =
            self.places.iter().position(|place| place.is_of(identifier) && place.assembly.is_of(segment.transfer));
        let at = match known {
            Some(at) => at,
            None if segment.index == 0 => self.idle(identifier),
            None => return Err(SegmentError::Gap),
        };
        self.taken = self.taken.wrapping_add(1);
        let Some(place) = self.places.get_mut(at) else { return Ok(None) };
        (place.identifier, place.at) = (identifier, self.taken);
        Ok(place.assembly.take(&mut place.message, &segment)?.and_then(|length| place.message.get(..length)))
    }

    /// The place for a new transfer of an identifier: the one whose message matters least.
    fn idle(&self, identifier: u32) -> usize {
        let of_it = |place: &Place<N>| place.is_of(identifier);
        let has_all = self.places.iter().filter(|place| of_it(place)).count() >= OF_ONE_IDENTIFIER;
        let matters_not = |place: &Place<N>| {
            let assembly = &place.assembly;
            (assembly.current.is_none(), !assembly.is_under_way(), self.taken.wrapping_sub(place.at))
        };
        let places = (0..).zip(&self.places).filter(|(_, place)| !has_all || of_it(place));
        places.max_by_key(|(_, place)| matters_not(place)).map_or(0, |(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const IDENTIFIER: u32 = 0x4E8;
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
        let mut reassembler = Reassembler::<300, 2>::new();
        frames
            .iter()
            .map(|f| reassembler.push(IDENTIFIER, 256, f).map(|m| if m.is_some() { 'M' } else { '.' }))
            .collect()
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

    /// Three places that all share. `A0` is the first segment of A's first transfer, `b1` the second of B's second.
    #[test]
    fn what_senders_can_do_to_each_other() {
        let transfer = |name: char| if name.is_ascii_uppercase() { 1 } else { 2 };
        for (name, steps, expected) in [
            ("in turn", "A0 B0 A1 B1 A2 B2", ". . . . M M"),
            ("two of its own", "A0 a0 A1 a1 A2 a2", ". . . . M M"),
            ("another floods its identifier", "A0 B0 b0 B0 b0 B0 A1 A2", ". . . . . . . M"),
            ("full: who has rested longest gives way", "A0 B0 A1 C0 D0 A2 B1", ". . . . . M gap"),
            ("as many starts as places", "A0 B0 C0 D0 A1", ". . . . gap"),
            ("fewer, again and again", "A0 B0 C0 A1 D0 E0 A2", ". . . . . . M"),
            ("what is complete gives way first", "B0 A0 A1 A2 C0 D0 B1 B2", ". . . M . . . M"),
            ("what was given up, before that", "B0 A0 A1 A2 B2 C0 D0 A2", ". . . M gap . . ."),
        ] {
            let mut reassembler = Reassembler::<256, 3>::new();
            let step = |step: &str| {
                let (who, index) = (step.chars().next().unwrap(), step[1..].parse::<usize>().unwrap());
                let frame = &cut(transfer(who), 150)[index];
                match reassembler.push(u32::from(who.to_ascii_uppercase()), 256, frame) {
                    Ok(None) => ".",
                    Ok(Some(_)) => "M",
                    Err(SegmentError::Gap) => "gap",
                    Err(other) => panic!("{name}: {other}"),
                }
            };
            assert_eq!(steps.split(' ').map(step).collect::<Vec<_>>().join(" "), expected, "{name}");
        }
    }

    /// On an identifier of short messages a longer one takes no place, although there would be room.
    #[test]
    fn each_identifier_has_its_longest_message() {
        let mut reassembler = Reassembler::<256, 2>::new();
        let frames = cut(1, 150);
        assert_eq!(reassembler.push(1, 149, &frames[0]), Err(SegmentError::MessageLength(150)));
        assert_eq!(reassembler.push(1, 150, &frames[1]), Err(SegmentError::Gap), "nothing was begun");
        assert_eq!(reassembler.push(1, 150, &frames[0]), Ok(None));
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
            let mut reassembler = Reassembler::<MAX_MESSAGE, 2>::new();
            let mut frames = segments(PREFIX, transfer, &message).unwrap();
            let last = frames.len() - 1;
            for frame in frames.by_ref().take(last) {
                prop_assert_eq!(reassembler.push(IDENTIFIER, MAX_MESSAGE, &frame), Ok(None));
            }
            let whole = reassembler.push(IDENTIFIER, MAX_MESSAGE, &frames.next().unwrap());
            prop_assert_eq!(whole, Ok(Some(&message[..])));

            let (mut assembly, mut memory) = (Assembly::new(), [0; MAX_MESSAGE]);
            let whole = segments(PREFIX, transfer, &message).unwrap().filter_map(|f| assembly.push(&mut memory, &f).unwrap());
            prop_assert_eq!(whole.collect::<Vec<_>>(), [message.len()]);
            prop_assert_eq!(&memory[..message.len()], &message[..]);
        }

        #[test]
        fn arbitrary_frames_never_panic(
            frames in prop::collection::vec((0u32..4, prop::collection::vec(any::<u8>(), 0..=70)), 0..20)
        ) {
            let mut reassembler = Reassembler::<100, 3>::new();
            let (mut assembly, mut memory) = (Assembly::new(), [0; 100]);
            for (identifier, frame) in frames {
                if let Ok(Some(message)) = reassembler.push(identifier, 90, &frame) {
                    prop_assert!(message.len() <= 90);
                }
                if let Ok(Some(length)) = assembly.push(&mut memory, &frame) {
                    prop_assert!(length <= 100);
                }
            }
        }

        /// Frames close to valid ones reach further than random bytes; no message is ever made up of two.
        #[test]
        fn shuffled_segments_give_only_whole_messages(
            picks in prop::collection::vec((0u32..3, 0u8..3, 0usize..4), 0..60)
        ) {
            let mut reassembler = Reassembler::<256, 4>::new();
            for (identifier, transfer, index) in picks {
                let lengths = [200, 130, 20].map(|length| length + identifier as usize);
                let whole = message(lengths[usize::from(transfer)]);
                let frames: Vec<_> = segments(PREFIX, transfer, &whole).unwrap().collect();
                if let Ok(Some(result)) = reassembler.push(identifier, 256, &frames[index % frames.len()]) {
                    prop_assert_eq!(result, &whole[..]);
                }
            }
        }
    }
}
