//! The node that always times out: whatever the others propose, it votes for nothing.

use can_bus::Frame;

use super::{Liar, Seat};

/// All its votes are nil.
pub struct NilVoter;

impl Liar for NilVoter {
    fn edit(&mut self, seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        let Some(vote) = seat.own_vote(&frame) else { return vec![frame] };
        seat.vote(&vote, &None, u8::MAX).into_iter().collect()
    }
}
