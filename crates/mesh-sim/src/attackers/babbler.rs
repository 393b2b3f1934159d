//! The babbling idiot: a controller that sends, as fast as the wire takes it, what wins against everything of the mesh.

use can_bus::Frame;

use super::Rogue;
use crate::dice::Dice;

/// Holds the wire until its time is over.
pub struct Babbler {
    frame: Frame,
    interval_ns: u64,
    due_ns: u64,
    until_ns: u64,
}

impl Babbler {
    /// Sends `frame`, which holds the wire for `frame_ns`, between two times, ns.
    #[must_use]
    pub const fn new(frame: Frame, frame_ns: u64, from_ns: u64, until_ns: u64) -> Self {
        Self { frame, interval_ns: frame_ns, due_ns: from_ns, until_ns }
    }
}

impl Rogue for Babbler {
    fn hear(&mut self, _now_ns: u64, _frame: &Frame, _dice: &mut Dice) -> Vec<Frame> {
        Vec::new()
    }

    fn due_ns(&self) -> Option<u64> {
        (self.due_ns < self.until_ns).then_some(self.due_ns)
    }

    fn act(&mut self, now_ns: u64, _dice: &mut Dice) -> Vec<Frame> {
        self.due_ns = now_ns + self.interval_ns;
        vec![self.frame]
    }
}
