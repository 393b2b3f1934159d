//! Frames on their way out: a lane for each identifier of this node, with one frame at the controller and one message
//! behind it.
//!
//! One frame at a time, so that a vote that has become needless can still be taken back, and so that a long message on
//! the bulk identifier does not fill the controller in front of a vote. One message, so that on a busy bus what is old
//! does not go before what is new (M6). It is cut into frames as they leave: there is room for it once.

use can_bus::Id;
use can_bus::frame::{Frame, MAX_FD};
use can_bus::port::BusCommand;
use can_bus::segment::{self, Prefix};
use device_chain::limits::MAX_SHORT_MESSAGE;
use device_chain::slot::Slot;
use device_chain::types::{Height, Round};
use device_chain::validator::Cancel;
use device_chain::wire::{Class, Header, Kind};
use heapless::Vec;

use crate::pump::PROPOSAL;

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
    fn is_cancelled(&self, cancel: Cancel) -> bool {
        match cancel {
            Cancel::Prevote(height, round) => (self.kind, self.height, self.round) == (Kind::Prevote, height, round),
            Cancel::Votes(height) => self.kind.vote().is_some() && self.height == height,
        }
    }
}

/// A message that is cut into frames.
struct Waiting {
    id: Id,
    mark: Mark,
    /// Number of the transfer, where it takes more than a frame.
    transfer: Option<u8>,
    /// Frames that have left.
    sent: usize,
    /// Bytes of a message that lies in the memory for long ones.
    long: Option<usize>,
}

/// The lane of one identifier, for messages of up to `N` bytes.
struct Lane<const N: usize> {
    message: Vec<u8, N>,
    waiting: Slot<Waiting>,
    /// At the controller: its token, and whether it was told to drop it.
    busy: Slot<(u32, Mark)>,
    abort: bool,
}

impl<const N: usize> Lane<N> {
    const IDLE: Self = Self { message: Vec::new(), waiting: Slot::Empty, busy: Slot::Empty, abort: false };

    fn push(&mut self, waiting: Waiting, message: &[u8]) -> bool {
        self.message.clear();
        if waiting.long.is_some() {
            self.waiting = Slot::Full(waiting);
            return true;
        }
        let fits = self.message.extend_from_slice(message).is_ok();
        self.waiting = if fits { Slot::Full(waiting) } else { Slot::Empty };
        fits
    }

    /// The next frame, and whether it ends the message.
    fn cut(&mut self, long: &[u8]) -> Option<(Mark, Frame)> {
        let waiting = self.waiting.get_mut()?;
        let message = waiting.long.map_or(Some(&*self.message), |length| long.get(..length)).unwrap_or_default();
        let (frame, last) = match waiting.transfer {
            None => (Frame::fd_padded(waiting.id, message).ok(), true),
            Some(transfer) => {
                let payload =
                    Prefix::parse(message).and_then(|prefix| segment::segment(prefix, transfer, message, waiting.sent));
                waiting.sent += 1;
                let frame = payload.and_then(|payload| Frame::fd(waiting.id, &payload).ok());
                (frame, waiting.sent * segment::CHUNK >= message.len())
            }
        };
        let mark = Mark { last, ..waiting.mark };
        if last || frame.is_none() {
            self.waiting.clear();
        }
        Some((mark, frame?))
    }

    fn command(&mut self, token: &mut u32, long: &[u8]) -> Option<BusCommand> {
        if let (true, Some(&(token, _))) = (core::mem::take(&mut self.abort), self.busy.get()) {
            return Some(BusCommand::Abort { token });
        }
        if self.busy.get().is_some() {
            return None;
        }
        let (mark, frame) = self.cut(long)?;
        *token = token.wrapping_add(1);
        self.busy = Slot::Full((*token, mark));
        Some(BusCommand::Transmit { token: *token, frame })
    }

    fn done(&mut self, token: u32) -> Option<Mark> {
        let (_, mark) = self.busy.take_if(|(busy, _)| *busy == token)?;
        self.abort = false;
        Some(mark)
    }
}

/// All lanes.
pub struct Transmit {
    votes: Lane<MAX_FD>,
    proposals: Lane<PROPOSAL>,
    control: Lane<MAX_FD>,
    bulk: Lane<MAX_SHORT_MESSAGE>,
    token: u32,
    transfer: u8,
}

impl Transmit {
    pub const IDLE: Self =
        Self { votes: Lane::IDLE, proposals: Lane::IDLE, control: Lane::IDLE, bulk: Lane::IDLE, token: 0, transfer: 0 };

    /// Whether nothing of this class waits for its turn at the controller: then any message fits.
    pub const fn is_free(&self, class: Class) -> bool {
        match class {
            Class::Vote => self.votes.waiting.get().is_none(),
            Class::Propose => self.proposals.waiting.get().is_none(),
            Class::Control => self.control.waiting.get().is_none(),
            Class::Bulk | Class::Record => self.bulk.waiting.get().is_none(),
        }
    }

    /// Queues a message as one frame, or as segments. False if it is too long for its lane, which was free. One that is longer
    /// than [`MAX_SHORT_MESSAGE`] is not copied: its caller keeps it for [`Self::command`] while [`Self::carries_long`].
    pub fn push(&mut self, id: Id, header: &Header, message: &[u8]) -> bool {
        let fits_a_frame = header.kind.body_len().is_some() && message.len() <= MAX_FD;
        let transfer = (!fits_a_frame).then(|| {
            self.transfer = self.transfer.wrapping_add(1);
            self.transfer
        });
        let mark = Mark { kind: header.kind, height: header.height, round: header.round, last: false };
        let long = (message.len() > MAX_SHORT_MESSAGE).then_some(message.len());
        let waiting = Waiting { id, mark, transfer, sent: 0, long };
        match header.kind.class() {
            Class::Vote => self.votes.push(waiting, message),
            Class::Propose => self.proposals.push(waiting, message),
            Class::Control => self.control.push(waiting, message),
            Class::Bulk | Class::Record => self.bulk.push(waiting, message),
        }
    }

    /// Takes needless votes back: out of the lane, and from the controller if it has not won arbitration yet.
    pub fn cancel(&mut self, cancel: Cancel) {
        let votes = &mut self.votes;
        votes.waiting.take_if(|waiting| waiting.mark.is_cancelled(cancel));
        votes.abort |= votes.busy.get().is_some_and(|(_, mark)| mark.is_cancelled(cancel));
    }

    /// Whether frames of a long message have to leave yet.
    pub fn carries_long(&self) -> bool {
        self.bulk.waiting.get().is_some_and(|waiting| waiting.long.is_some())
    }

    /// Gives up a long message: its memory is needed.
    pub fn drop_long(&mut self) {
        self.bulk.waiting.take_if(|waiting| waiting.long.is_some());
    }

    /// The next thing to tell the controller; `long` holds the long message, if there is one.
    pub fn command(&mut self, long: &[u8]) -> Option<BusCommand> {
        let token = &mut self.token;
        let urgent = self.votes.command(token, &[]).or_else(|| self.proposals.command(token, &[]));
        urgent.or_else(|| self.control.command(token, &[])).or_else(|| self.bulk.command(token, long))
    }

    /// The controller is done with a frame; what it was, if it is one of ours.
    pub fn done(&mut self, token: u32) -> Option<Mark> {
        let urgent = self.votes.done(token).or_else(|| self.proposals.done(token));
        urgent.or_else(|| self.control.done(token)).or_else(|| self.bulk.done(token))
    }
}
