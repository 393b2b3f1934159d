//! The bus port over an adapter that speaks serial-line CAN.

use crate::{
    frame::Frame,
    port::{BusCommand, BusEvent},
    queue::TransmitQueue,
    slcan::{Decoder, Line, Text},
};

/// What to write before anything else: end whatever line was cut off, 500 kbit/s and 2 Mbit/s, open.
pub const SETUP: &[u8] = b"\rC\rS6\rY2\rO\r";
/// A frame without answer for so long is given up: its line or the answer was damaged. No frame waits that long for a bus that
/// works.
const ANSWER_TIMEOUT_US: u64 = 2_000_000;

/// The side of whoever uses the adapter. One frame is at the adapter at a time, for its answers do not say which frame they mean;
/// what waits here goes in the order of arbitration and can be aborted.
#[derive(Default)]
pub struct Host {
    decoder: Decoder,
    waiting: TransmitQueue,
    /// Token of the frame at the adapter, and when it was written.
    in_flight: Option<(u32, u64)>,
    refused: u32,
}

impl Host {
    /// With nothing under way; [`SETUP`] goes to the adapter first.
    #[must_use]
    pub const fn new() -> Self {
        Self { decoder: Decoder::new(), waiting: TransmitQueue::new(), in_flight: None, refused: 0 }
    }

    /// Takes a command; the answer if there is one at once.
    pub fn command(&mut self, command: BusCommand) -> Option<BusEvent> {
        let (token, dropped) = match command {
            BusCommand::Transmit { token, frame } => (token, !self.waiting.push(token, frame)),
            BusCommand::Abort { token } => (token, self.waiting.abort(token)),
        };
        dropped.then_some(BusEvent::Dropped { token })
    }

    /// The next line for the adapter, to be written whole.
    pub fn transmit(&mut self, now_us: u64) -> Option<Text> {
        if self.in_flight.is_some() {
            return None;
        }
        let (token, frame) = self.waiting.pop()?;
        self.in_flight = Some((token, now_us));
        Some(Line::Frame(frame).text())
    }

    /// Takes the next byte of the adapter; a frame that ends with it came `now_us`, from segment 0.
    pub fn receive(&mut self, byte: u8, now_us: impl FnOnce() -> u64) -> Option<BusEvent> {
        match self.decoder.push(byte)? {
            Line::Frame(frame) => Some(received(frame, now_us())),
            Line::Sent { .. } => self.answered().map(|token| BusEvent::Transmitted { token }),
            Line::Refused => {
                self.refused = self.refused.saturating_add(1);
                self.answered().map(|token| BusEvent::Dropped { token })
            }
            _ => None, // an answer to the setup
        }
    }

    /// Gives up the frame whose answer got lost.
    pub fn expire(&mut self, now_us: u64) -> Option<BusEvent> {
        let overdue = self.in_flight.is_some_and(|(_, since)| now_us.saturating_sub(since) > ANSWER_TIMEOUT_US);
        if overdue { self.answered().map(|token| BusEvent::Dropped { token }) } else { None }
    }

    /// Lines of the adapter that said nothing, and what it refused.
    #[must_use]
    pub const fn faults(&self) -> (u32, u32) {
        (self.decoder.malformed(), self.refused)
    }

    fn answered(&mut self) -> Option<u32> {
        self.in_flight.take().map(|(token, _)| token)
    }
}

const fn received(frame: Frame, at_us: u64) -> BusEvent {
    BusEvent::Received { segment: 0, at_us, frame }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::frame::id_from_raw;

    fn frame(raw: u32) -> Frame {
        Frame::fd(id_from_raw(raw).unwrap(), &[]).unwrap()
    }

    fn transmit(token: u32, raw: u32) -> BusCommand {
        BusCommand::Transmit { token, frame: frame(raw) }
    }

    fn hear(host: &mut Host, text: &[u8]) -> Vec<BusEvent> {
        text.iter().filter_map(|byte| host.receive(*byte, || 5)).collect()
    }

    #[test]
    fn one_frame_at_a_time_and_the_most_urgent_first() {
        let mut host = Host::new();
        for (token, raw) in [(1, 0x300), (2, 0x100), (3, 0x200)] {
            assert_eq!(host.command(transmit(token, raw)), None);
        }
        assert_eq!(hear(&mut host, b"\r\r\r\r\r"), [], "answers to the setup");
        assert_eq!(host.transmit(0).as_deref(), Some(&b"b1000\r"[..]));
        assert_eq!(host.transmit(0), None, "one is at the adapter");
        assert_eq!(host.command(BusCommand::Abort { token: 2 }), None, "it is on its way");
        assert_eq!(host.command(BusCommand::Abort { token: 3 }), Some(BusEvent::Dropped { token: 3 }));
        assert_eq!(hear(&mut host, b"b0910\rz\r"), [received(frame(0x91), 5), BusEvent::Transmitted { token: 2 }]);
        assert_eq!(host.transmit(0).as_deref(), Some(&b"b3000\r"[..]));
        assert_eq!(hear(&mut host, b"\x07"), [BusEvent::Dropped { token: 1 }], "refused");
        assert_eq!((host.transmit(0), host.faults()), (None, (0, 1)));
    }

    #[test]
    fn an_answer_that_gets_lost_blocks_nothing_for_ever() {
        let mut host = Host::new();
        assert_eq!(host.command(transmit(1, 0x100)), None);
        assert!(host.transmit(10).is_some());
        assert_eq!(hear(&mut host, b"?\r"), [], "damaged");
        assert_eq!(host.expire(10 + ANSWER_TIMEOUT_US), None);
        assert_eq!(host.expire(11 + ANSWER_TIMEOUT_US), Some(BusEvent::Dropped { token: 1 }));
        assert_eq!(host.faults(), (1, 0));
        assert_eq!(hear(&mut host, b"z\r\x07"), [], "answers to nothing");
    }
}
