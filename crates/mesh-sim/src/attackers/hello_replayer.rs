//! The replayer of ignition: says again, at a steady rate, every HELLO that it has heard. It chooses among those of whoever spoke last
//! on that identifier, and so does not send it in the moment in which its owner does, which would destroy the frames of both.

use can_bus::Frame;
use device_chain::wire::{Header, Kind};

use super::Rogue;
use crate::dice::Dice;

/// HELLOs kept.
const RECORDED: usize = 64;

/// A recorder of HELLOs with a speaker.
pub struct HelloReplayer {
    interval_ns: u64,
    due_ns: u64,
    recorded: Vec<Frame>,
    next: usize,
    /// The identifier of a HELLO on which somebody spoke last.
    spoke: u32,
}

impl HelloReplayer {
    /// Replays one every `interval_ns` from `from_ns` on.
    #[must_use]
    pub const fn new(interval_ns: u64, from_ns: u64) -> Self {
        Self { interval_ns, due_ns: from_ns, recorded: Vec::new(), next: 0, spoke: 0 }
    }
}

impl Rogue for HelloReplayer {
    fn hear(&mut self, _now_ns: u64, frame: &Frame, _dice: &mut Dice) -> Vec<Frame> {
        let is_hello = Header::parse(frame.data()).is_some_and(|header| header.kind == Kind::Hello);
        if is_hello && self.recorded.len() < RECORDED {
            self.recorded.push(*frame);
        }
        if self.recorded.iter().any(|hello| hello.raw_id() == frame.raw_id()) {
            self.spoke = frame.raw_id();
        }
        Vec::new()
    }

    fn due_ns(&self) -> Option<u64> {
        Some(self.due_ns)
    }

    fn act(&mut self, now_ns: u64, _dice: &mut Dice) -> Vec<Frame> {
        self.due_ns = now_ns + self.interval_ns;
        self.next += 1;
        let theirs: Vec<_> = self.recorded.iter().filter(|hello| hello.raw_id() == self.spoke).collect();
        theirs.get(self.next % theirs.len().max(1)).map(|hello| **hello).into_iter().collect()
    }
}
