//! The partial-tag voter: says what an honest node says, with tags that only some can check (T1, T2).

use can_bus::Frame;

use super::{Liar, Seat, with_wrong_tag};

/// Its tags for the same receivers are always wrong.
pub struct PartialTags {
    /// Bit per validator: whose tag is wrong.
    pub victims: u8,
}

impl Liar for PartialTags {
    fn edit(&mut self, seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        if seat.own_vote(&frame).is_none() {
            return vec![frame];
        }
        let tag_len = seat.genesis.tag_len();
        let victims =
            (0..seat.genesis.validators.len() as u8).filter(|at| *at != seat.me && self.victims >> at & 1 == 1);
        vec![victims.fold(frame, |frame, victim| with_wrong_tag(&frame, tag_len, victim).unwrap_or(frame))]
    }
}
