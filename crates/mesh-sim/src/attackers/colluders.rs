//! Colluding pairs: two validators that tell the same half of the car one thing and the other half another, always the
//! same halves, and so try to make two quorums out of one car.

use can_bus::Frame;

use super::{Liar, Seat};

/// One of the pair.
pub struct Colluder {
    /// Bit per validator: who is told the truth. The same for both.
    pub half: u8,
}

impl Liar for Colluder {
    fn edit(&mut self, seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        let Some(vote) = seat.own_vote(&frame) else { return vec![frame] };
        // both know the same values, in the same order: without a word they choose the same two
        let choices = seat.choices();
        let (Some(first), Some(last)) = (choices.first(), choices.last()) else { return vec![frame] };
        [(first, self.half), (last, !self.half)]
            .iter()
            .filter_map(|(choice, to)| seat.vote(&vote, choice, *to))
            .collect()
    }
}
