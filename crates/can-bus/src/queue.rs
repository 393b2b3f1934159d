//! The frames that a node wants to send, in the order in which they would win arbitration.

use crate::{frame::Frame, port::TRANSMIT_QUEUE};

/// A bounded transmit queue: the frame that wins arbitration first, and frames of one identifier in the order in which
/// they came.
#[derive(Default)]
pub struct TransmitQueue {
    /// The next one is last.
    waiting: heapless::Vec<(u32, Frame), TRANSMIT_QUEUE>,
}

impl TransmitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { waiting: heapless::Vec::new() }
    }

    /// Adds a frame; false if the queue is full.
    #[must_use]
    pub fn push(&mut self, token: u32, frame: Frame) -> bool {
        let at = self.waiting.partition_point(|(_, other)| other.arbitration() > frame.arbitration());
        self.waiting.insert(at, (token, frame)).is_ok()
    }

    /// Puts back a frame that was taken out and not sent: in front of those of its identifier. False if the queue is full.
    #[must_use]
    pub fn put_back(&mut self, token: u32, frame: Frame) -> bool {
        let at = self.waiting.partition_point(|(_, other)| other.arbitration() >= frame.arbitration());
        self.waiting.insert(at, (token, frame)).is_ok()
    }

    /// The token and frame to send next.
    pub fn peek(&self) -> Option<&(u32, Frame)> {
        self.waiting.last()
    }

    /// Takes out the token and frame to send next.
    pub fn pop(&mut self) -> Option<(u32, Frame)> {
        self.waiting.pop()
    }

    /// The first frame in that order that `may_go`.
    pub fn find(&self, may_go: impl Fn(&Frame) -> bool) -> Option<&Frame> {
        self.waiting.iter().rev().map(|(_, frame)| frame).find(|frame| may_go(frame))
    }

    /// Takes out the token and frame that [`Self::find`] finds.
    pub fn pop_if(&mut self, may_go: impl Fn(&Frame) -> bool) -> Option<(u32, Frame)> {
        let at = self.waiting.iter().rposition(|(_, frame)| may_go(frame))?;
        Some(self.waiting.remove(at))
    }

    /// How many frames wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes out the frame with this token; false if it is not here.
    #[must_use]
    pub fn abort(&mut self, token: u32) -> bool {
        let found = self.waiting.iter().position(|(t, _)| *t == token);
        found.map(|at| self.waiting.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::frame::{EXTENDED_FLAG, id_from_raw};

    fn frame(raw: u32) -> Frame {
        Frame::classic(id_from_raw(raw).unwrap(), &[]).unwrap()
    }

    fn drain(queue: &mut TransmitQueue) -> Vec<u32> {
        core::iter::from_fn(|| queue.pop()).map(|(token, _)| token).collect()
    }

    #[test]
    fn the_frame_that_wins_arbitration_comes_first() {
        let mut queue = TransmitQueue::new();
        for (token, raw) in [(1, 0x300), (2, 0x100), (3, EXTENDED_FLAG | 0x100 << 18), (4, 0x100), (5, 0x0FF)] {
            assert!(queue.push(token, frame(raw)));
        }
        assert_eq!(queue.peek(), Some(&(5, frame(0x0FF))));
        assert_eq!(drain(&mut queue), [5, 2, 4, 3, 1]);
    }

    #[test]
    fn a_frame_can_be_aborted_once() {
        let mut queue = TransmitQueue::new();
        assert!(queue.push(1, frame(1)) && queue.push(2, frame(2)) && queue.push(3, frame(3)));
        assert_eq!([queue.abort(2), queue.abort(2), queue.abort(9)], [true, false, false]);
        assert_eq!(drain(&mut queue), [1, 3]);
    }

    #[test]
    fn a_frame_that_is_put_back_goes_before_those_of_its_identifier() {
        let mut queue = TransmitQueue::new();
        for (token, raw) in [(1, 0x200), (2, 0x200), (3, 0x100)] {
            assert!(queue.push(token, frame(raw)));
        }
        assert_eq!(queue.pop_if(|other| *other != frame(0x100)), Some((1, frame(0x200))));
        assert!(queue.put_back(1, frame(0x200)));
        assert_eq!(drain(&mut queue), [3, 1, 2]);
    }

    #[test]
    fn a_full_queue_takes_nothing_not_even_the_most_urgent() {
        let mut queue = TransmitQueue::new();
        for token in 0..TRANSMIT_QUEUE as u32 {
            assert!(queue.push(token, frame(0x100)));
        }
        assert!(!queue.push(99, frame(0)));
        assert_eq!(drain(&mut queue).len(), TRANSMIT_QUEUE);
    }
}
