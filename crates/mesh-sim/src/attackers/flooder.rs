//! The flooder: fills a share of the wire with what looks like messages of the mesh.

use can_bus::Frame;
use can_bus::frame::MAX_FD;
use device_chain::wire::{HEADER, Header};

use super::Rogue;
use crate::dice::Dice;

/// Sends at a steady rate until its time is over.
pub struct Flooder {
    interval_ns: u64,
    until_ns: u64,
    due_ns: u64,
    template: Option<(Frame, Header)>,
}

impl Flooder {
    /// Sends a frame every `interval_ns` between two times, ns.
    #[must_use]
    pub const fn new(interval_ns: u64, from_ns: u64, until_ns: u64) -> Self {
        Self { interval_ns, until_ns, due_ns: from_ns, template: None }
    }
}

impl Rogue for Flooder {
    fn hear(&mut self, _now_ns: u64, frame: &Frame, _dice: &mut Dice) -> Vec<Frame> {
        self.template = Header::parse(frame.data()).map(|header| (*frame, header)).or(self.template);
        Vec::new()
    }

    fn due_ns(&self) -> Option<u64> {
        (self.due_ns < self.until_ns).then_some(self.due_ns)
    }

    /// The identifier and the header of something heard, with random bytes behind: it passes every check but the tag's.
    fn act(&mut self, now_ns: u64, dice: &mut Dice) -> Vec<Frame> {
        self.due_ns = now_ns + self.interval_ns;
        let Some((frame, header)) = self.template else { return Vec::new() };
        let mut data = [0; MAX_FD];
        data.iter_mut().for_each(|byte| *byte = dice.roll(256) as u8);
        data[..HEADER].copy_from_slice(&header.to_bytes());
        Frame::fd(frame.id(), &data).into_iter().collect()
    }
}
