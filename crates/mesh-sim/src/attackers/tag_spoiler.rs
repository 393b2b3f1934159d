//! The tag spoiler: copies an honest vote and breaks one tag, so that one receiver sees a bad tag under an honest name.

use can_bus::Frame;
use device_chain::wire::Header;

use super::{Rogue, with_wrong_tag};
use crate::dice::Dice;

/// Aims at one victim.
pub struct TagSpoiler {
    /// Bytes of a tag.
    pub tag_len: usize,
    /// Whose tag is broken.
    pub victim: u8,
}

impl Rogue for TagSpoiler {
    fn hear(&mut self, _now_ns: u64, frame: &Frame, _dice: &mut Dice) -> Vec<Frame> {
        let vote = Header::parse(frame.data()).filter(|header| header.kind.vote().is_some());
        let spoiled = vote.filter(|vote| vote.sender != self.victim);
        spoiled.and_then(|_| with_wrong_tag(frame, self.tag_len, self.victim)).into_iter().collect()
    }
}
