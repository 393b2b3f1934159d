//! The equivocator: votes for one value towards some, for another (or nil) towards the rest, each with a genuine tag.

use can_bus::Frame;

use super::{Liar, Seat};

/// Each vote is split anew, by chance.
pub struct Equivocator;

impl Liar for Equivocator {
    fn edit(&mut self, seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        let Some(vote) = seat.own_vote(&frame) else { return vec![frame] };
        let (said, receivers) = (seat.choices().into_iter(), seat.dice.roll(256) as u8);
        let same = said.into_iter().find(|choice| vote.hint(super::hint(choice)) == vote);
        let (Some(same), Some(other)) = (same, seat.another(&vote)) else { return vec![frame] };
        [(same, receivers), (other, !receivers)]
            .iter()
            .filter_map(|(choice, to)| seat.vote(&vote, choice, *to))
            .collect()
    }
}
