//! The replayer: records what it hears and says it again, soon and late, across reboots; or plays what it has from another car, half of it
//! under this car's name.

use std::cell::RefCell;
use std::rc::Rc;

use can_bus::Frame;

use super::Rogue;
use crate::dice::Dice;

/// Frames kept.
const RECORDED: usize = 512;
/// Frames said again at a time, at most.
const LONGEST: u64 = 8;
/// It plays something that often when nobody speaks.
const INTERVAL_NS: u64 = 20_000_000;

/// Frames recorded, in their order but for where old ones have given way.
#[derive(Clone, Default)]
pub struct Tape(Rc<RefCell<(Vec<Frame>, usize)>>);

impl Tape {
    /// A tape with frames on it.
    #[must_use]
    pub fn of(frames: impl Iterator<Item = Frame>) -> Self {
        Self(Rc::new(RefCell::new((frames.take(RECORDED).collect(), 0))))
    }

    fn record(&self, frame: &Frame, dice: &mut Dice) {
        let (frames, at) = &mut *self.0.borrow_mut();
        if frames.len() < RECORDED {
            frames.push(*frame);
        } else {
            // some of what is old stays; what is new is kept in its order, so that it makes whole messages
            *at = if dice.percent(3) { dice.roll(RECORDED as u64) as usize } else { (*at + 1) % RECORDED };
            frames[*at] = *frame;
        }
    }

    fn some(&self, dice: &mut Dice) -> Vec<Frame> {
        let (frames, _) = &*self.0.borrow();
        let (from, length) = (dice.roll(frames.len() as u64) as usize, 1 + dice.roll(LONGEST) as usize);
        frames.iter().skip(from).take(length).copied().collect()
    }
}

/// A recorder with a speaker.
#[derive(Default)]
pub struct Replayer {
    tape: Tape,
    /// The mesh in whose name it plays what is of another one.
    mesh: Option<u16>,
    due_ns: u64,
}

impl Replayer {
    /// Goes on recording on a tape.
    #[must_use]
    pub const fn with(tape: Tape) -> Self {
        Self { tape, mesh: None, due_ns: 0 }
    }

    /// Plays the tape of another car in one with this mesh.
    #[must_use]
    pub const fn foreign(tape: Tape, mesh: u16) -> Self {
        Self { tape, mesh: Some(mesh), due_ns: 0 }
    }
}

impl Replayer {
    fn play(&self, dice: &mut Dice) -> Vec<Frame> {
        let frames = self.tape.some(dice);
        match self.mesh.filter(|_| dice.percent(50)) {
            Some(mesh) => frames.iter().filter_map(|frame| in_the_name_of(mesh, frame)).collect(),
            None => frames,
        }
    }
}

impl Rogue for Replayer {
    fn hear(&mut self, _now_ns: u64, frame: &Frame, dice: &mut Dice) -> Vec<Frame> {
        if self.mesh.is_none() {
            self.tape.record(frame, dice);
        }
        if dice.percent(10) { self.play(dice) } else { Vec::new() }
    }

    fn due_ns(&self) -> Option<u64> {
        Some(self.due_ns)
    }

    fn act(&mut self, now_ns: u64, dice: &mut Dice) -> Vec<Frame> {
        self.due_ns = now_ns + INTERVAL_NS;
        self.play(dice)
    }
}

fn in_the_name_of(mesh: u16, frame: &Frame) -> Option<Frame> {
    let mut data = frame.data().to_vec();
    data.get_mut(..2)?.copy_from_slice(&mesh.to_le_bytes());
    Frame::fd(frame.id(), &data).ok()
}
