//! The transmit side of the bus port over a controller that has a few transmit buffers, and sends the most urgent of what
//! they hold.
//!
//! One frame of an identifier is at the controller at a time: controllers do not say in which order they send two of them. If
//! all buffers are taken, the least urgent frame makes room for one that is more urgent, and waits again.

use crate::{
    frame::Frame,
    port::{BusCommand, BusEvent},
    queue::TransmitQueue,
};

/// What a driver does with the transmit buffers.
pub trait Controller {
    /// Writes a frame into a free buffer and requests its transmission.
    fn request(&mut self, buffer: usize, frame: &Frame);

    /// Requests that the frame in a buffer be taken back. [`Mailboxes::done`] tells what became of it, as of every frame.
    fn cancel(&mut self, buffer: usize);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// To be sent.
    Sent,
    /// To make room, and to be sent later.
    Displaced,
    /// To be dropped, for the node has aborted it.
    Aborted,
}

struct Mail {
    token: u32,
    frame: Frame,
    fate: Fate,
}

/// `N` transmit buffers, and the frames that wait for one.
pub struct Mailboxes<const N: usize> {
    waiting: TransmitQueue,
    buffers: [Option<Mail>; N],
}

impl<const N: usize> Default for Mailboxes<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Mailboxes<N> {
    /// Empty buffers.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: TransmitQueue::new(), buffers: [const { None }; N] }
    }

    /// Takes a command; the answer if there is one at once.
    pub fn command(&mut self, controller: &mut impl Controller, command: BusCommand) -> Option<BusEvent> {
        let (token, dropped) = match command {
            BusCommand::Transmit { token, frame } => (token, !self.waiting.push(token, frame)),
            BusCommand::Abort { token } => (token, self.waiting.abort(token)),
        };
        if let BusCommand::Abort { .. } = command {
            self.cancel(controller, |mail| mail.token == token, Fate::Aborted);
        }
        self.fill(controller);
        dropped.then_some(BusEvent::Dropped { token })
    }

    /// The controller is done with a buffer: its frame was sent, or taken back before it was. The answer if there is one.
    pub fn done(&mut self, controller: &mut impl Controller, buffer: usize, sent: bool) -> Option<BusEvent> {
        let mail = self.buffers.get_mut(buffer)?.take()?;
        let token = mail.token;
        let answer = if sent {
            Some(BusEvent::Transmitted { token })
        } else {
            let waits = mail.fate == Fate::Displaced && self.waiting.put_back(token, mail.frame);
            (!waits).then_some(BusEvent::Dropped { token })
        };
        self.fill(controller);
        answer
    }

    /// Whether a frame in this buffer was asked back and nothing was heard of it yet.
    #[must_use]
    pub fn is_cancelling(&self, buffer: usize) -> bool {
        self.buffers.get(buffer).and_then(Option::as_ref).is_some_and(|mail| mail.fate != Fate::Sent)
    }

    /// Frames without an answer yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.waiting.len() + self.buffers.iter().flatten().count()
    }

    /// Asks a frame back, whose fate it then is. One that was asked back already is not asked back again.
    fn cancel(&mut self, controller: &mut impl Controller, which: impl Fn(&Mail) -> bool, fate: Fate) {
        for (at, mail) in (0..).zip(&mut self.buffers) {
            if let Some(mail) = mail.as_mut().filter(|mail| which(mail)) {
                if mail.fate == Fate::Sent {
                    controller.cancel(at);
                }
                mail.fate = fate;
            }
        }
    }

    fn fill(&mut self, controller: &mut impl Controller) {
        let buffers = &mut self.buffers;
        while let Some(free) = buffers.iter().position(Option::is_none) {
            let Some((token, frame)) = self.waiting.pop_if(|frame| may_go(buffers, frame)) else { return };
            controller.request(free, &frame);
            buffers[free] = Some(Mail { token, frame, fate: Fate::Sent });
        }
        // one at a time: what is asked back already makes room
        if buffers.iter().flatten().all(|mail| mail.fate == Fate::Sent)
            && let Some(urgent) = self.waiting.find(|frame| may_go(buffers, frame)).map(Frame::arbitration)
            && let Some(least) = buffers.iter().flatten().map(|mail| mail.frame.arbitration()).max()
            && urgent < least
        {
            self.cancel(controller, |mail| mail.frame.arbitration() == least, Fate::Displaced);
        }
    }
}

/// Whether no frame of this identifier is at the controller.
fn may_go<const N: usize>(buffers: &[Option<Mail>; N], frame: &Frame) -> bool {
    buffers.iter().flatten().all(|mail| mail.frame.arbitration() != frame.arbitration())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::id_from_raw;

    /// Three buffers as hardware has them.
    #[derive(Default)]
    struct Buffers {
        frames: [Option<Frame>; 3],
        cancelled: [bool; 3],
    }

    impl Controller for Buffers {
        fn request(&mut self, buffer: usize, frame: &Frame) {
            assert!(self.frames[buffer].is_none(), "buffer {buffer} is not free");
            self.frames[buffer] = Some(*frame);
        }

        fn cancel(&mut self, buffer: usize) {
            assert!(self.frames[buffer].is_some() && !self.cancelled[buffer]);
            self.cancelled[buffer] = true;
        }
    }

    #[derive(Default)]
    struct Bus {
        mailboxes: Mailboxes<3>,
        hardware: Buffers,
        /// What was on the wire: identifier and number.
        wire: Vec<(u32, u8)>,
    }

    impl Bus {
        fn transmit(&mut self, token: u8, raw: u32) -> Option<BusEvent> {
            let frame = Frame::fd(id_from_raw(raw).unwrap(), &[token]).unwrap();
            self.mailboxes.command(&mut self.hardware, BusCommand::Transmit { token: token.into(), frame })
        }

        fn abort(&mut self, token: u32) -> Option<BusEvent> {
            self.mailboxes.command(&mut self.hardware, BusCommand::Abort { token })
        }

        /// The wire takes a frame.
        fn send(&mut self) -> Option<BusEvent> {
            let urgency = |at: &usize| self.hardware.frames[*at].map(|frame| frame.arbitration());
            let at = (0..3).filter(|at| urgency(at).is_some()).min_by_key(urgency)?;
            let frame = self.hardware.frames[at].take()?;
            self.hardware.cancelled[at] = false;
            self.wire.push((frame.raw_id(), frame.data()[0]));
            self.mailboxes.done(&mut self.hardware, at, true)
        }

        /// The controller takes back what it was told to.
        fn take_back(&mut self) -> Option<BusEvent> {
            let at = self.hardware.cancelled.iter().position(|cancelled| *cancelled)?;
            self.hardware.cancelled[at] = false;
            self.hardware.frames[at] = None;
            self.mailboxes.done(&mut self.hardware, at, false)
        }

        fn drain(&mut self) -> Vec<BusEvent> {
            core::iter::from_fn(|| self.send()).collect()
        }
    }

    const fn sent(token: u32) -> BusEvent {
        BusEvent::Transmitted { token }
    }

    const fn dropped(token: u32) -> BusEvent {
        BusEvent::Dropped { token }
    }

    #[test]
    fn one_frame_of_an_identifier_is_at_the_controller_and_the_next_follows_it() {
        let mut bus = Bus::default();
        for (token, raw) in [(1, 0x200), (2, 0x200), (3, 0x300), (4, 0x200)] {
            assert_eq!(bus.transmit(token, raw), None);
        }
        assert_eq!(bus.hardware.frames.iter().flatten().count(), 2);
        assert_eq!(bus.drain(), [sent(1), sent(2), sent(4), sent(3)]);
        assert_eq!(bus.mailboxes.outstanding(), 0);
    }

    #[test]
    fn an_urgent_frame_takes_the_buffer_of_the_least_urgent_one_which_waits_again_in_its_place() {
        let mut bus = Bus::default();
        for (token, raw) in [(1, 0x200), (2, 0x300), (3, 0x400), (4, 0x400), (5, 0x100)] {
            assert_eq!(bus.transmit(token, raw), None);
        }
        assert_eq!(bus.hardware.cancelled, [false, false, true]);
        assert_eq!(bus.transmit(6, 0x080), None, "one makes room at a time");
        assert_eq!(bus.hardware.cancelled, [false, false, true]);
        assert_eq!(bus.take_back(), None, "it is not dropped");
        assert_eq!(bus.take_back(), None, "nor is the next one");
        assert_eq!(bus.drain(), [6, 5, 1, 2, 3, 4].map(sent));
    }

    #[test]
    fn an_aborted_frame_is_dropped_unless_it_was_too_late() {
        let mut bus = Bus::default();
        for (token, raw) in [(1, 0x100), (2, 0x100), (3, 0x200), (4, 0x300)] {
            assert_eq!(bus.transmit(token, raw), None);
        }
        assert_eq!(bus.abort(2), Some(dropped(2)), "it waited");
        assert_eq!([bus.abort(1), bus.abort(1), bus.abort(9)], [None; 3], "at the controller");
        assert!(bus.mailboxes.is_cancelling(0) && !bus.mailboxes.is_cancelling(1));
        assert_eq!(bus.take_back(), Some(dropped(1)));
        assert_eq!(bus.abort(3), None);
        assert_eq!(bus.send(), Some(sent(3)), "on the wire already");
        assert_eq!(bus.drain(), [sent(4)]);
    }

    #[test]
    fn a_frame_that_makes_room_can_be_aborted() {
        let mut bus = Bus::default();
        for (token, raw) in [(1, 0x200), (2, 0x300), (3, 0x400), (5, 0x100)] {
            assert_eq!(bus.transmit(token, raw), None);
        }
        assert_eq!(bus.abort(3), None);
        assert_eq!(bus.take_back(), Some(dropped(3)));
        assert_eq!(bus.drain(), [5, 1, 2].map(sent));
    }

    proptest! {
        /// Whatever happens in whatever order.
        #[test]
        fn every_frame_is_answered_once_and_those_of_an_identifier_keep_their_order(
            steps in prop::collection::vec((0..4u8, 0..5u32, any::<prop::sample::Index>()), 0..120)
        ) {
            let mut bus = Bus::default();
            let mut answers = HashMap::<u32, Vec<BusEvent>>::new();
            let mut told = 0u8;
            for (step, id, which) in steps {
                let event = match step {
                    0 if told < u8::MAX => {
                        told += 1;
                        answers.insert(told.into(), Vec::new());
                        bus.transmit(told, 0x100 * (id + 1))
                    }
                    1 if told > 0 => bus.abort(which.index(told.into()) as u32 + 1),
                    2 => bus.take_back(),
                    _ => bus.send(),
                };
                record(&mut answers, event);
            }
            while bus.mailboxes.outstanding() > 0 {
                let event = bus.send();
                record(&mut answers, event);
            }
            for (token, answers) in &answers {
                prop_assert_eq!(answers.len(), 1, "{}: {:?}", token, answers);
                let on_the_wire = bus.wire.iter().filter(|(_, number)| u32::from(*number) == *token).count();
                prop_assert_eq!(on_the_wire == 1, answers[0] == sent(*token));
            }
            for id in 0..5 {
                let numbers = bus.wire.iter().filter(|(raw, _)| *raw == 0x100 * (id + 1)).map(|(_, number)| *number);
                prop_assert!(numbers.is_sorted());
            }
        }
    }

    fn record(answers: &mut HashMap<u32, Vec<BusEvent>>, event: Option<BusEvent>) {
        if let Some(event @ (BusEvent::Transmitted { token } | BusEvent::Dropped { token })) = event {
            answers.entry(token).or_default().push(event);
        }
    }
}
