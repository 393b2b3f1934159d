//! Frames in the message RAM of Bosch's M_CAN, which many chips have as their CAN FD controller (FDCAN in an STM32).
//!
//! Elements are those of the M_CAN user's manual 3.2.2, chapter 2.4, with 64 bytes of data; 32-bit words as the CPU reads them.

use embedded_can::{ExtendedId, Id, StandardId};

use crate::frame::{Frame, Kind, MAX_CLASSIC, MAX_FD, dlc_to_len, len_to_dlc};

/// Words of an element with 64 bytes of data.
pub const ELEMENT: usize = 2 + MAX_FD / 4;
/// Words of a transmit event.
pub const EVENT: usize = 2;

const ESI: u32 = 1 << 31;
const XTD: u32 = 1 << 30;
const RTR: u32 = 1 << 29;
const STANDARD_SHIFT: u32 = 18;
/// Store a transmit event.
const EFC: u32 = 1 << 23;
const FDF: u32 = 1 << 21;
const BRS: u32 = 1 << 20;
const DLC_SHIFT: u32 = 16;
const MARKER_SHIFT: u32 = 24;

/// The transmit buffer element of a frame, its words in order; the event that tells of its transmission carries `marker`.
pub fn transmit_element(frame: &Frame, marker: u8) -> impl Iterator<Item = u32> + '_ {
    let (brs, esi) = match frame.kind() {
        Kind::Fd { brs, esi } => (brs, esi),
        Kind::Classic | Kind::Remote => (false, false),
    };
    let id = match frame.id() {
        Id::Standard(id) => u32::from(id.as_raw()) << STANDARD_SHIFT,
        Id::Extended(id) => id.as_raw() | XTD,
    };
    let dlc = len_to_dlc(frame.len()).map_or(0, u32::from); // a frame has no other lengths
    let when = |set: bool, bit: u32| if set { bit } else { 0 };
    let first = id | when(frame.kind() == Kind::Remote, RTR) | when(esi, ESI);
    let second = u32::from(marker) << MARKER_SHIFT | EFC | when(frame.is_fd(), FDF) | when(brs, BRS) | dlc << DLC_SHIFT;
    let data = frame.data().chunks(4).map(|chunk| {
        let mut bytes = [0; 4];
        bytes[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(bytes)
    });
    [first, second].into_iter().chain(data)
}

/// What a receive FIFO holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The frame.
    pub frame: Frame,
    /// The controller's time of its start, in ticks that wrap around.
    pub timestamp: u16,
}

/// Reads a receive FIFO element, word by word.
pub fn received(word: impl Fn(usize) -> u32) -> Option<Received> {
    let (first, second) = (word(0), word(1));
    let id = if first & XTD == 0 {
        Id::Standard(StandardId::new((first >> STANDARD_SHIFT & 0x7FF) as u16)?)
    } else {
        Id::Extended(ExtendedId::new(first & 0x1FFF_FFFF)?)
    };
    let fd = second & FDF != 0;
    let length = dlc_to_len((second >> DLC_SHIFT & 0xF) as u8)?;
    let length = if fd { length } else { length.min(MAX_CLASSIC) }; // a classic DLC may be above 8
    let mut data = [0; MAX_FD];
    for (at, chunk) in (2..).zip(data[..length.next_multiple_of(4)].chunks_exact_mut(4)) {
        chunk.copy_from_slice(&word(at).to_le_bytes());
    }
    let data = &data[..length];
    let frame = if fd {
        Frame::fd_with_flags(id, data, second & BRS != 0, first & ESI != 0)
    } else if first & RTR != 0 {
        Frame::remote(id, length)
    } else {
        Frame::classic(id, data)
    };
    Some(Received { frame: frame.ok()?, timestamp: second as u16 })
}

/// The marker of a frame that was sent, and the time of its start as in [`Received`]: the second word of a transmit event.
#[must_use]
pub const fn sent(second: u32) -> (u8, u16) {
    ((second >> MARKER_SHIFT) as u8, second as u16)
}

/// Whether `a` was not later than `b`. Less than half a turn of the timer lies between what FIFOs hold at one time.
#[must_use]
pub const fn is_before(a: u16, b: u16) -> bool {
    b.wrapping_sub(a) < 1 << 15
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::frame::{EXTENDED_FLAG, id_from_raw};

    fn words(frame: &Frame) -> Vec<u32> {
        transmit_element(frame, 2).collect()
    }

    /// As the manual draws them.
    #[test]
    fn elements_as_the_controller_has_them() {
        let id = |raw| id_from_raw(raw).unwrap();
        for (frame, expected) in [
            (Frame::classic(id(0x123), &[1, 2, 3, 4, 5]), &[0x048C_0000, 0x0285_0000, 0x0403_0201, 0x0000_0005][..]),
            (Frame::remote(id(0x7FF), 8), &[0x3FFC_0000, 0x0288_0000]),
            (Frame::fd(id(0x090), &[0xAA; 12]), &[0x0240_0000, 0x02B9_0000, 0xAAAA_AAAA, 0xAAAA_AAAA, 0xAAAA_AAAA]),
            (
                Frame::fd_with_flags(id(EXTENDED_FLAG | 0x18DA_F110), &[7], false, true),
                &[0xD8DA_F110, 0x02A1_0000, 0x0000_0007],
            ),
        ] {
            assert_eq!(words(&frame.unwrap()), expected);
        }
    }

    #[test]
    fn what_is_sent_is_received() {
        for raw in [0, 0x7FF, EXTENDED_FLAG, EXTENDED_FLAG | 0x1FFF_FFFF] {
            let id = id_from_raw(raw).unwrap();
            let data: Vec<u8> = (1..=64).collect();
            let fd = (0..16).filter_map(dlc_to_len).map(|length| Frame::fd(id, &data[..length]));
            let classic = (0..=8).flat_map(|length| [Frame::classic(id, &data[..length]), Frame::remote(id, length)]);
            for frame in fd.chain(classic).map(Result::unwrap) {
                let mut words = words(&frame);
                assert!(words.len() <= ELEMENT);
                words[1] = words[1] & 0x00FF_0000 | 0x1234; // the time is where the marker is not
                words.resize(ELEMENT, 0xEEEE_EEEE); // of the frame before
                assert_eq!(received(|at| words[at]), Some(Received { frame, timestamp: 0x1234 }));
            }
        }
    }

    #[test]
    fn any_words_are_a_frame_or_nothing() {
        let classic_9 = [0x123 << 18, 9 << 16, 1, 2];
        assert_eq!(received(|at| classic_9[at]).unwrap().frame.len(), 8);
        let all_ones = received(|_| u32::MAX).unwrap();
        assert_eq!((all_ones.frame.len(), all_ones.timestamp), (64, u16::MAX));
    }

    #[test]
    fn events_and_their_order() {
        assert_eq!(sent(0x0240_FFFE), (2, 0xFFFE));
        assert!(is_before(7, 7) && is_before(0xFFFE, 3) && !is_before(3, 0xFFFE) && is_before(0, 0x7FFF));
    }
}
