//! Frames on their way out: a lane for each identifier of this node, with one frame at the controller and one message
//! behind it.
//!
//! One frame at a time, so that a vote that has become needless can still be taken back, and so that a long message on
//! the bulk identifier does not fill the controller in front of a vote. One message, so that on a busy bus what is old
//! does not go before what is new (M6).

use can_bus::frame::Frame;
use can_bus::port::BusCommand;
use can_bus::segment::CHUNK;
use device_chain::limits::MAX_MESSAGE;
use device_chain::types::{Height, Round};
use device_chain::validator::Cancel;
use device_chain::wire::{Class, Header, Kind};
use heapless::Deque;

/// Frames of the longest message.
const MAX_QUEUED: usize = MAX_MESSAGE.div_ceil(CHUNK);
const CLASSES: [Class; 4] = [Class::Vote, Class::Propose, Class::Control, Class::Bulk];

/// What is on the wire when a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub kind: Kind,
    pub height: Height,
    pub round: Round,
    /// The frame ends its message.
    pub last: bool,
}

impl Mark {
    pub const fn new(header: &Header, last: bool) -> Self {
        Self { kind: header.kind, height: header.height, round: header.round, last }
    }

    fn is_cancelled(&self, cancel: Cancel) -> bool {
        match cancel {
            Cancel::Prevote(height, round) => (self.kind, self.height, self.round) == (Kind::Prevote, height, round),
            Cancel::Votes(height) => self.kind.vote().is_some() && self.height == height,
        }
    }
}

#[derive(Default)]
struct Lane {
    queue: Deque<(Mark, Frame), MAX_QUEUED>,
    /// At the controller: its token, and whether it was told to drop it.
    busy: Option<(u32, Mark)>,
    abort: bool,
}

/// All lanes.
#[derive(Default)]
pub struct Transmit {
    lanes: [Lane; CLASSES.len()],
    token: u32,
}

fn lane(class: Class) -> usize {
    CLASSES.iter().position(|known| *known == class).unwrap_or(CLASSES.len() - 1)
}

impl Transmit {
    /// Whether nothing of this class waits for its turn at the controller: then any message fits.
    pub fn is_free(&self, class: Class) -> bool {
        self.lanes[lane(class)].queue.is_empty()
    }

    pub fn push(&mut self, class: Class, mark: Mark, frame: Frame) {
        let _ = self.lanes[lane(class)].queue.push_back((mark, frame)); // the lane was free
    }

    /// Takes needless votes back: out of the queue, and from the controller if it has not won arbitration yet.
    pub fn cancel(&mut self, cancel: Cancel) {
        let votes = &mut self.lanes[lane(Class::Vote)];
        for _ in 0..votes.queue.len() {
            let Some(entry) = votes.queue.pop_front() else { break };
            if !entry.0.is_cancelled(cancel) {
                let _ = votes.queue.push_back(entry);
            }
        }
        votes.abort |= votes.busy.is_some_and(|(_, mark)| mark.is_cancelled(cancel));
    }

    /// The next thing to tell the controller.
    pub fn command(&mut self) -> Option<BusCommand> {
        for lane in &mut self.lanes {
            if let (true, Some((token, _))) = (core::mem::take(&mut lane.abort), lane.busy) {
                return Some(BusCommand::Abort { token });
            }
            if lane.busy.is_none()
                && let Some((mark, frame)) = lane.queue.pop_front()
            {
                self.token = self.token.wrapping_add(1);
                lane.busy = Some((self.token, mark));
                return Some(BusCommand::Transmit { token: self.token, frame });
            }
        }
        None
    }

    /// The controller is done with a frame; what it was, if it is one of ours.
    pub fn done(&mut self, token: u32) -> Option<Mark> {
        let lane = self.lanes.iter_mut().find(|lane| lane.busy.is_some_and(|(busy, _)| busy == token))?;
        lane.abort = false;
        lane.busy.take().map(|(_, mark)| mark)
    }
}
