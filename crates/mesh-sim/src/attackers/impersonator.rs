//! The impersonator: speaks on an ECU's identifiers, as a manipulated infotainment unit or a dongle would.

use can_bus::Frame;
use device_chain::wire::{HEADER, Header};

use super::Rogue;
use crate::dice::Dice;

/// Answers votes of others with a vote of the victim, for the same, with tags from nowhere.
pub struct Impersonator {
    /// Who is pretended to vote.
    pub victim: u8,
    /// The victim's vote identifier.
    pub identifier: can_bus::Id,
}

impl Rogue for Impersonator {
    fn hear(&mut self, _now_ns: u64, frame: &Frame, dice: &mut Dice) -> Vec<Frame> {
        let vote = Header::parse(frame.data()).filter(|header| header.kind.vote().is_some());
        let Some(mut vote) = vote.filter(|vote| vote.sender != self.victim && dice.percent(10)) else {
            return Vec::new();
        };
        vote.sender = self.victim;
        let mut data = frame.data().to_vec();
        data[..HEADER].copy_from_slice(&vote.to_bytes());
        data[HEADER..].iter_mut().for_each(|byte| *byte = dice.roll(256) as u8);
        Frame::fd(self.identifier, &data).into_iter().collect()
    }
}
