//! The bus port, over a controller in loopback.

use can_bus::frame::{EXTENDED_FLAG, Frame, dlc_to_len, id_from_raw};
use can_bus::port::{BusCommand, BusEvent, TRANSMIT_QUEUE};
use can_bus::timing::BitTiming;
use heapless::Vec;

use super::Results;

/// A bus port whose controller acknowledges itself and receives what it sends, nobody else on the wire.
pub trait Loopback {
    /// Takes a command.
    fn command(&mut self, command: BusCommand);

    /// The next event; `None` if none came for 100 ms.
    fn event(&mut self) -> Option<BusEvent>;
}

/// Enough for twice as many frames as a node may have waiting.
const MAX_FRAMES: usize = 2 * TRANSMIT_QUEUE;

/// What came of some commands.
#[derive(Default)]
struct Heard {
    frames: Vec<(Frame, u64), MAX_FRAMES>,
    transmitted: Vec<u32, MAX_FRAMES>,
    dropped: Vec<u32, MAX_FRAMES>,
    /// A frame was confirmed before it was received, or more came than could.
    muddled: bool,
}

impl Heard {
    /// Everything until the bus is silent.
    fn from(bus: &mut impl Loopback) -> Self {
        let mut heard = Self::default();
        while let Some(event) = bus.event() {
            let full = match event {
                BusEvent::Received { frame, at_us, .. } => heard.frames.push((frame, at_us)).is_err(),
                BusEvent::Transmitted { token } => heard.transmitted.push(token).is_err(),
                BusEvent::Dropped { token } => heard.dropped.push(token).is_err(),
                BusEvent::Overrun { .. } => true,
                BusEvent::State(_) => false,
            };
            if full {
                heard.muddled = true;
                break;
            }
        }
        heard
    }

    /// Whether these, and no others, were sent and received in this order.
    fn is_exactly(&self, sent: &[(u32, Frame)]) -> bool {
        let frames = self.frames.iter().map(|(frame, _)| frame).eq(sent.iter().map(|(_, frame)| frame));
        let tokens = self.transmitted.iter().eq(sent.iter().map(|(token, _)| token));
        !self.muddled && frames && tokens && self.dropped.is_empty()
    }

    fn answers(&self, token: u32) -> usize {
        self.transmitted.iter().chain(&self.dropped).filter(|answered| **answered == token).count()
    }
}

fn frame(raw: u32, token: u32, length: usize) -> Option<Frame> {
    let mut data = [0; 64];
    data.chunks_exact_mut(4).for_each(|chunk| chunk.copy_from_slice(&token.to_le_bytes()));
    Frame::fd(id_from_raw(raw)?, data.get(..length)?).ok()
}

/// Sends frames with these identifiers, numbered from `first` on, and gives them back.
fn send(
    bus: &mut impl Loopback,
    first: u32,
    length: usize,
    identifiers: impl Iterator<Item = u32>,
) -> Vec<(u32, Frame), MAX_FRAMES> {
    let mut sent = Vec::new();
    for (token, raw) in (first..).zip(identifiers) {
        if let Some(frame) = frame(raw, token, length) {
            bus.command(BusCommand::Transmit { token, frame });
            let _ = sent.push((token, frame)); // callers send no more than fit
        }
    }
    sent
}

/// A bus port in loopback at these bit rates.
pub fn bus(bus: &mut impl Loopback, timing: BitTiming, results: &mut Results) {
    drop(Heard::from(bus));

    let mut token = 0;
    for (raw, name) in [
        (0x123, "bus: frames of every length arrive as they were sent, 11-bit identifier"),
        (EXTENDED_FLAG | 0x18DA_F110, "bus: frames of every length arrive as they were sent, 29-bit identifier"),
    ] {
        let each = (0..16).filter_map(dlc_to_len).all(|length| {
            token += 1;
            let sent = send(bus, token, length, core::iter::once(raw));
            Heard::from(bus).is_exactly(&sent)
        });
        results.add(name, each);
    }

    let sent = send(bus, 100, 64, core::iter::repeat_n(0x100, 8));
    let heard = Heard::from(bus);
    results
        .add("bus: frames of one identifier keep their order, and so do their confirmations", heard.is_exactly(&sent));
    // the times of two frames in a row, each as long as its bits take: a clock in another unit is far off
    let span = |times: &[(Frame, u64)]| times.last()?.1.checked_sub(times.first()?.1);
    let shortest: u64 = heard.frames.iter().skip(1).map(|(frame, _)| timing.unstuffed_ns(frame) / 1_000).sum();
    let right = span(&heard.frames).is_some_and(|span| span * 10 >= shortest * 8 && span <= shortest * 2);
    results.add("bus: frames carry the time at which they came, in microseconds", right);

    let urgent_last = (1..=8).rev().map(|step| step * 0x80);
    let sent = send(bus, 200, 64, urgent_last);
    let heard = Heard::from(bus);
    // two may have been on their way before the others were there
    let order: Vec<u32, MAX_FRAMES> = heard.frames.iter().map(|(frame, _)| frame.arbitration()).collect();
    let sorted = order.len() == sent.len() && order[2..].is_sorted();
    results.add("bus: the most urgent frame goes first", sorted && heard.dropped.is_empty());

    let sent = send(bus, 300, 64, core::iter::repeat_n(0x100, 6));
    bus.command(BusCommand::Abort { token: 305 });
    bus.command(BusCommand::Abort { token: 999 });
    let heard = Heard::from(bus);
    let aborted = heard.dropped == [305] && heard.transmitted == [300, 301, 302, 303, 304];
    results.add("bus: a frame that waits can be aborted", aborted && sent.len() == 6);
    results.add("bus: an aborted frame is not sent", heard.frames.len() == 5);
    send(bus, 400, 64, core::iter::once(0x100));
    bus.command(BusCommand::Abort { token: 400 });
    bus.command(BusCommand::Abort { token: 400 });
    let heard = Heard::from(bus);
    let once = heard.answers(400) == 1 && heard.frames.len() == heard.transmitted.len();
    results.add("bus: a frame at the controller is sent or aborted, and answered once", once);

    let many = send(bus, 500, 8, (0..MAX_FRAMES as u32).map(|at| 0x100 + at % 8));
    let heard = Heard::from(bus);
    let answered = many.iter().all(|(token, _)| heard.answers(*token) == 1);
    results.add("bus: of too many frames each is answered once", answered && !heard.muddled);
    let arrived = heard.frames.len() == heard.transmitted.len() && heard.transmitted.len() >= TRANSMIT_QUEUE;
    results.add("bus: as many as a node may have waiting are sent", arrived);
}
