//! The bus port over a serial line, at whose other end is an adapter that says whatever it likes.

use can_bus::frame::Frame;
use can_bus::port::{BusCommand, BusEvent, TRANSMIT_QUEUE};
use can_bus::slcan::{Decoder, Host, Line};

use crate::Dice;
use crate::formats;

/// Longer than the host waits for an answer.
const PATIENCE_US: u64 = 10_000_000;

#[derive(Default)]
struct Port {
    host: Host,
    /// Reads what the host reads.
    decoder: Decoder,
    now: u64,
    last: u32,
    /// Frames that wait, in the order in which they came.
    waiting: Vec<(u32, Frame)>,
    at_adapter: Option<u32>,
}

/// Frames and aborts in, noise and answers from the adapter: each frame is answered once, and nothing that the adapter heard is lost.
///
/// # Panics
/// If not.
pub fn run(bytes: &[u8]) {
    let (mut dice, mut port) = (Dice::of_bytes(bytes), Port::default());
    while !dice.is_empty() {
        port.step(&mut dice);
    }
    port.end();
}

impl Port {
    fn step(&mut self, dice: &mut Dice<'_>) {
        match dice.below(8) {
            0 | 1 => self.send(formats::frame(dice)),
            2 => self.send_many(dice),
            3 => self.abort(dice),
            4 => {
                self.now += u64::from(dice.int());
                let answer = self.host.expire(self.now);
                self.answered(answer);
            }
            5 => self.hear(&dice.up_to(20)),
            6 => {
                let line = dice.pick(&[&b"z\r"[..], b"Z\r", b"\x07", b"\r", b"\x07\r"]);
                self.hear(line);
            }
            _ => {
                let text = Line::Frame(formats::frame(dice)).text().to_vec();
                let text = if dice.flag() { dice.damage(text) } else { text };
                self.hear(&text);
            }
        }
        if dice.flag() {
            self.transmit();
        }
    }

    fn send(&mut self, frame: Frame) {
        self.last += 1;
        let token = self.last;
        let answer = self.host.command(BusCommand::Transmit { token, frame });
        if self.waiting.len() < TRANSMIT_QUEUE {
            assert_eq!(answer, None, "there is room");
            self.waiting.push((token, frame));
        } else {
            assert_eq!(answer, Some(BusEvent::Dropped { token }), "there is none");
        }
    }

    /// So that the queue is full now and then.
    fn send_many(&mut self, dice: &mut Dice<'_>) {
        let frame = formats::frame(dice);
        (0..dice.byte()).for_each(|_| self.send(frame));
    }

    /// Of any frame, also of one that is on its way or was never there.
    fn abort(&mut self, dice: &mut Dice<'_>) {
        let token = self.last.wrapping_sub(dice.byte().into());
        let waited = self.waiting.iter().position(|(other, _)| *other == token).map(|at| self.waiting.remove(at));
        let answer = self.host.command(BusCommand::Abort { token });
        assert_eq!(answer, waited.map(|_| BusEvent::Dropped { token }), "only what waits can be aborted");
    }

    /// The most urgent frame goes, of equal ones the first, and only if none is under way.
    fn transmit(&mut self) {
        let first = (0..self.waiting.len()).min_by_key(|at| self.waiting[*at].1.arbitration());
        let next = first.filter(|_| self.at_adapter.is_none()).map(|at| self.waiting.remove(at));
        let text = self.host.transmit(self.now);
        assert_eq!(text, next.map(|(_, frame)| Line::Frame(frame).text()));
        self.at_adapter = self.at_adapter.or(next.map(|(token, _)| token));
    }

    fn hear(&mut self, text: &[u8]) {
        for byte in text {
            let answer = self.host.receive(*byte, || self.now);
            match self.decoder.push(*byte) {
                Some(Line::Frame(frame)) => {
                    assert_eq!(answer, Some(BusEvent::Received { segment: 0, at_us: self.now, frame }));
                }
                Some(Line::Sent { .. }) => {
                    assert_eq!(answer, self.at_adapter.take().map(|token| BusEvent::Transmitted { token }));
                }
                Some(Line::Refused) => self.answered(answer),
                _ => assert_eq!(answer, None),
            }
        }
        assert_eq!(self.host.faults().0, self.decoder.malformed());
    }

    /// If anything was given up, then what was at the adapter.
    fn answered(&mut self, answer: Option<BusEvent>) {
        if let Some(event) = answer {
            assert_eq!(self.at_adapter.take().map(|token| BusEvent::Dropped { token }), Some(event));
        }
    }

    /// An adapter that falls silent holds up nothing for ever.
    fn end(mut self) {
        for _ in 0..=self.waiting.len() {
            self.transmit();
            self.now += PATIENCE_US;
            let answer = self.host.expire(self.now);
            self.answered(answer);
            assert_eq!(self.at_adapter, None);
        }
        assert!(self.waiting.is_empty());
    }
}
