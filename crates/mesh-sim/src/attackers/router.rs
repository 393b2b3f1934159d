//! The Byzantine gateway: a router between two segments that drops, delays, alters, repeats and reorders what it should repeat,
//! echoes it, parts the segments for a while, and tells them different things in its own name.
//!
//! The gateway lies with two hands: [`TwoFaced`] sits in the validator's seat, [`LyingRouter`] in the routing. What the seat has
//! for the far segment goes from one to the other through [`Faces`]; it is never on the near wire.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use can_bus::Frame;
use can_bus::segment::Prefix;

use super::{Forwarded, Liar, Route, Seat, with_wrong_tag};
use crate::dice::Dice;
use crate::faults::with_wrong_bit;

const MS: u64 = 1_000_000;
/// Own votes whose other face is remembered.
const FACES: usize = 16;
/// A trick is played for at most this long, ns.
const LONGEST_NS: u64 = 1_500 * MS;
/// Frames kept to say them again.
const RECORDED: usize = 64;

/// What it does with frames, until it does something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Repeats all of them.
    Truth,
    /// None: the segments are apart.
    Isolate,
    /// Those of one segment only.
    OneWay(usize),
    /// Not those of some senders, bit per validator.
    Senders(u16),
    /// Not those of some kinds, bit per kind.
    Kinds(u16),
    /// With tags that are wrong for some receivers, bit per validator.
    Tags(u8),
    /// With a wrong bit.
    Bits,
    /// Each as late as chance has it, and so in another order.
    Late,
    /// Every other one behind its successor.
    Swap,
    /// Some twice, and old ones again.
    Repeat,
    /// Back to where they come from as well, so that senders hear themselves.
    Echo,
}

/// The faces of the gateway's own votes: what the near segment hears, what the far one.
pub type Faces = Rc<RefCell<VecDeque<(Frame, Frame)>>>;

/// In the gateway's seat: votes for one thing on its own segment, for another one on the far segment, each with tags that are
/// genuine there and wrong elsewhere.
pub struct TwoFaced {
    /// Bit per validator on its own segment.
    pub near: u8,
    /// To the router.
    pub faces: Faces,
}

impl Liar for TwoFaced {
    fn edit(&mut self, seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        let Some(vote) = seat.own_vote(&frame) else { return vec![frame] };
        let choices = seat.choices();
        let (Some(first), Some(last)) = (choices.first(), choices.last()) else { return vec![frame] };
        let (near, far) = (seat.vote(&vote, first, self.near), seat.vote(&vote, last, !self.near));
        let (Some(near), Some(far)) = (near, far) else { return vec![frame] };
        let mut faces = self.faces.borrow_mut();
        faces.push_front((near, far));
        faces.truncate(FACES);
        vec![near]
    }
}

/// In the gateway's routing.
pub struct LyingRouter {
    tag_len: usize,
    faces: Faces,
    /// The only trick, or one after the other.
    only: Option<Trick>,
    trick: Trick,
    until_ns: u64,
    recorded: VecDeque<(usize, Frame)>,
    frames: u64,
}

impl LyingRouter {
    /// Plays one trick after the other; tags have `tag_len` bytes.
    #[must_use]
    pub const fn new(tag_len: usize, faces: Faces) -> Self {
        let recorded = VecDeque::new();
        Self { tag_len, faces, only: None, trick: Trick::Truth, until_ns: 0, recorded, frames: 0 }
    }

    /// Plays this trick for ever.
    #[must_use]
    pub fn playing(trick: Trick, tag_len: usize, faces: Faces) -> Self {
        Self { only: Some(trick), trick, ..Self::new(tag_len, faces) }
    }

    fn choose(dice: &mut Dice) -> Trick {
        let mask = dice.roll(1 << 16) as u16;
        dice.weighted(&[
            (4, Trick::Truth),
            (2, Trick::Isolate),
            (2, Trick::OneWay(usize::from(mask & 1))),
            (2, Trick::Senders(mask)),
            (2, Trick::Kinds(mask)),
            (2, Trick::Tags(mask as u8)),
            (1, Trick::Bits),
            (2, Trick::Late),
            (2, Trick::Swap),
            (2, Trick::Repeat),
            (1, Trick::Echo),
        ])
    }

    /// What it says on the other segment where an honest one would say what it has heard.
    fn face(&self, heard: &Frame) -> Frame {
        let own = |(near, _): &&(Frame, Frame)| near.id() == heard.id() && near.data() == heard.data();
        self.faces.borrow().iter().find(own).map_or(*heard, |(_, far)| *far)
    }

    fn is_dropped(&self, from: usize, frame: &Frame) -> bool {
        let prefix = Prefix::parse(frame.data());
        match self.trick {
            Trick::Isolate => true,
            Trick::OneWay(only) => from != only,
            Trick::Senders(some) => prefix.is_some_and(|of| some >> of.sender & 1 == 1),
            Trick::Kinds(some) => prefix.is_some_and(|of| some >> of.kind & 1 == 1),
            _ => false,
        }
    }

    fn alter(&self, frame: Frame, dice: &mut Dice) -> Frame {
        match self.trick {
            Trick::Tags(some) => {
                let sender = Prefix::parse(frame.data()).map(|of| of.sender);
                let victims = (0..8).filter(|at| some >> at & 1 == 1 && sender != Some(*at));
                victims.fold(frame, |frame, at| with_wrong_tag(&frame, self.tag_len, at).unwrap_or(frame))
            }
            Trick::Bits => with_wrong_bit(&frame, dice).unwrap_or(frame),
            _ => frame,
        }
    }
}

impl Route for LyingRouter {
    fn route(&mut self, now_ns: u64, from: usize, heard: &Frame, dice: &mut Dice) -> Vec<Forwarded> {
        if self.until_ns <= now_ns && self.only.is_none() {
            (self.trick, self.until_ns) = (Self::choose(dice), now_ns + dice.roll(LONGEST_NS));
        }
        if self.is_dropped(from, heard) {
            return Vec::new();
        }
        self.frames += 1;
        let (to, frame) = (1 - from, self.alter(self.face(heard), dice));
        let later_ns = match self.trick {
            Trick::Late => dice.roll(20 * MS),
            Trick::Swap => 5 * MS * (self.frames % 2),
            _ => 0,
        };
        let mut sent = vec![Forwarded { to, later_ns, frame }];
        if self.trick == Trick::Echo {
            sent.push(Forwarded { to: from, later_ns, frame: *heard });
        }
        self.recorded.push_front((to, frame));
        self.recorded.truncate(RECORDED);
        if self.trick == Trick::Repeat && dice.percent(30) {
            let (to, frame) = self.recorded[dice.roll(self.recorded.len() as u64) as usize];
            sent.push(Forwarded { to, later_ns: dice.roll(5 * MS), frame });
        }
        sent
    }
}
