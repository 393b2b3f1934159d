//! The replayer: records what it hears and says it again, soon and late, across reboots, and what it has from another
//! car.

use can_bus::Frame;

use super::Rogue;
use crate::dice::Dice;

/// Frames kept.
const RECORDED: usize = 512;

/// A recorder with a speaker.
#[derive(Default)]
pub struct Replayer {
    recorded: Vec<Frame>,
}

impl Replayer {
    /// A replayer that brings frames along which it has recorded elsewhere.
    #[must_use]
    pub const fn with(recorded: Vec<Frame>) -> Self {
        Self { recorded }
    }
}

impl Rogue for Replayer {
    fn hear(&mut self, _now_ns: u64, frame: &Frame, dice: &mut Dice) -> Vec<Frame> {
        if self.recorded.len() < RECORDED {
            self.recorded.push(*frame);
        } else {
            self.recorded[dice.roll(RECORDED as u64) as usize] = *frame;
        }
        let replays = dice.percent(10);
        if replays { vec![*dice.pick(&self.recorded)] } else { Vec::new() }
    }
}
