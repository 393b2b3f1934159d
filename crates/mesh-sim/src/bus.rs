//! A CAN bus in virtual time: arbitration by identifier, frame times, one order of frames for everybody.
//!
//! A frame holds the wire for its worst-case time ([`BitTiming::worst_case_ns`]). When the wire becomes idle, the frame that
//! wins arbitration among the first of all nodes goes out; what is submitted at that very nanosecond takes part. Two nodes
//! that send the same identifier at once would destroy each other's frames on a real wire; here the node with the lower
//! index wins. The bus makes no errors of its own: tests let receivers miss frames with [`SimBus::drop_when`].
//!
//! Foreign traffic is one more node.

use can_bus::{BusCommand, BusEvent, Frame, queue::TransmitQueue, timing::BitTiming};

/// One segment with its nodes.
pub struct SimBus {
    segment: u8,
    timing: BitTiming,
    nodes: Vec<TransmitQueue>,
    wire: Wire,
    missed: Missed,
    statistics: Statistics,
}

/// Whether a receiver misses a frame.
type Missed = Box<dyn FnMut(&Transmission, usize) -> bool>;

/// What happens on the wire.
enum Wire {
    /// Nothing, and nobody wants to send.
    Idle { since_ns: u64 },
    /// Arbitration, in which everything submitted until then takes part.
    Arbitration { at_ns: u64 },
    /// A frame is on it.
    Busy { sent: Transmission, token: u32, end_ns: u64 },
}

/// A frame on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmission {
    /// How many frames were on this wire before.
    pub index: u64,
    /// The node that sends it.
    pub sender: usize,
    /// The frame.
    pub frame: Frame,
}

/// What a bus has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that ended.
    pub frames: u64,
    /// Time for which they held the wire, in ns.
    pub busy_ns: u64,
}

impl SimBus {
    /// A bus without nodes at time 0; `segment` is its number in what nodes receive.
    pub fn new(segment: u8, timing: BitTiming) -> Self {
        Self {
            segment,
            timing,
            nodes: Vec::new(),
            wire: Wire::Idle { since_ns: 0 },
            missed: Box::new(|_, _| false),
            statistics: Statistics::default(),
        }
    }

    /// Adds a node; returns its index.
    pub fn attach(&mut self) -> usize {
        self.nodes.push(TransmitQueue::new());
        self.nodes.len() - 1
    }

    /// From now on, a receiver misses a frame when `missed(frame, receiver)` says so. The sender still believes that it
    /// was transmitted, as after a fault in the last bits of a frame.
    pub fn drop_when(&mut self, missed: impl FnMut(&Transmission, usize) -> bool + 'static) {
        self.missed = Box::new(missed);
    }

    /// Takes a command of a node; returns the answer if there is one at once. Times never go back, and the bus has been
    /// [advanced](Self::advance) to `now_ns`.
    ///
    /// # Panics
    /// `node` was not attached.
    pub fn command(&mut self, now_ns: u64, node: usize, command: BusCommand) -> Option<BusEvent> {
        self.arbitrate_before(now_ns);
        match command {
            BusCommand::Transmit { token, frame } => {
                if !self.nodes[node].push(token, frame) {
                    return Some(BusEvent::Dropped { token });
                }
                if let Wire::Idle { since_ns } = self.wire {
                    self.wire = Wire::Arbitration { at_ns: since_ns.max(now_ns) };
                }
                None
            }
            BusCommand::Abort { token } => self.nodes[node].abort(token).then_some(BusEvent::Dropped { token }),
        }
    }

    /// Drops everything that a node has waiting, as when it loses power.
    ///
    /// # Panics
    /// `node` was not attached.
    pub fn silence(&mut self, node: usize) {
        self.nodes[node] = TransmitQueue::new();
    }

    /// When the next frame ends if nothing else is submitted, in ns.
    pub fn next_at(&self) -> Option<u64> {
        match self.wire {
            Wire::Idle { .. } => None,
            Wire::Arbitration { at_ns } => {
                let (_, frame) = self.nodes[self.winner()?].peek()?;
                Some(at_ns + self.timing.worst_case_ns(frame))
            }
            Wire::Busy { end_ns, .. } => Some(end_ns),
        }
    }

    /// What the nodes hear until `now_ns`, in the order of the wire: node and event.
    pub fn advance(&mut self, now_ns: u64) -> Vec<(usize, BusEvent)> {
        let mut events = Vec::new();
        loop {
            self.arbitrate_before(now_ns);
            let Wire::Busy { sent, token, end_ns } = self.wire else { break };
            if end_ns > now_ns {
                break;
            }
            self.deliver(&sent, token, end_ns, &mut events);
            self.wire = match self.winner() {
                Some(_) => Wire::Arbitration { at_ns: end_ns },
                None => Wire::Idle { since_ns: end_ns },
            };
        }
        events
    }

    /// What the bus has carried so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// The node whose first frame wins arbitration.
    fn winner(&self) -> Option<usize> {
        let first = |(node, queue): (usize, &TransmitQueue)| queue.peek().map(|(_, frame)| (frame.arbitration(), node));
        self.nodes.iter().enumerate().filter_map(first).min().map(|(_, node)| node)
    }

    /// Holds the arbitration that is due before `now_ns`.
    fn arbitrate_before(&mut self, now_ns: u64) {
        let Wire::Arbitration { at_ns } = self.wire else { return };
        if at_ns >= now_ns {
            return;
        }
        let won = self.winner().and_then(|sender| Some((sender, self.nodes[sender].pop()?)));
        self.wire = match won {
            Some((sender, (token, frame))) => {
                let time_ns = self.timing.worst_case_ns(&frame);
                let sent = Transmission { index: self.statistics.frames, sender, frame };
                self.statistics.busy_ns += time_ns;
                Wire::Busy { sent, token, end_ns: at_ns + time_ns }
            }
            // All was aborted.
            None => Wire::Idle { since_ns: at_ns },
        };
    }

    fn deliver(&mut self, sent: &Transmission, token: u32, end_ns: u64, events: &mut Vec<(usize, BusEvent)>) {
        self.statistics.frames += 1;
        for node in 0..self.nodes.len() {
            if node == sent.sender {
                events.push((node, BusEvent::Transmitted { token }));
            } else if !(self.missed)(sent, node) {
                let (segment, at_us) = (self.segment, end_ns / 1000);
                events.push((node, BusEvent::Received { segment, at_us, frame: sent.frame }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use can_bus::{frame::id_from_raw, port::TRANSMIT_QUEUE};

    use super::*;

    /// A 64-byte frame with an 11-bit identifier at 500k/2M: 33 nominal and 679 data bits.
    const FRAME_NS: u64 = 405_500;

    fn frame(raw: u32) -> Frame {
        Frame::fd(id_from_raw(raw).unwrap(), &[raw as u8; 64]).unwrap()
    }

    fn bus(nodes: usize) -> SimBus {
        let mut bus = SimBus::new(2, BitTiming::FD_500K_2M);
        for _ in 0..nodes {
            bus.attach();
        }
        bus
    }

    fn send(bus: &mut SimBus, now_ns: u64, node: usize, token: u32, raw: u32) {
        assert_eq!(bus.command(now_ns, node, BusCommand::Transmit { token, frame: frame(raw) }), None);
    }

    fn abort(bus: &mut SimBus, now_ns: u64, node: usize, token: u32) -> Option<BusEvent> {
        bus.command(now_ns, node, BusCommand::Abort { token })
    }

    /// The tokens of the frames that went out, in order, when nothing else happens.
    fn order(bus: &mut SimBus) -> Vec<u32> {
        let events = bus.advance(1_000_000_000);
        events
            .iter()
            .filter_map(|(_, e)| if let BusEvent::Transmitted { token } = e { Some(*token) } else { None })
            .collect()
    }

    #[test]
    fn everybody_hears_a_frame_at_its_end() {
        let mut bus = bus(3);
        assert_eq!(bus.next_at(), None);
        send(&mut bus, 10_000, 1, 7, 0x100);
        let end_ns = 10_000 + FRAME_NS;
        assert_eq!(bus.next_at(), Some(end_ns));
        assert_eq!(bus.advance(end_ns - 1), []);
        let received = BusEvent::Received { segment: 2, at_us: end_ns / 1000, frame: frame(0x100) };
        let expected = [(0, received), (1, BusEvent::Transmitted { token: 7 }), (2, received)];
        assert_eq!(bus.advance(end_ns), expected);
        assert_eq!((bus.next_at(), bus.statistics()), (None, Statistics { frames: 1, busy_ns: FRAME_NS }));
    }

    #[test]
    fn the_lowest_identifier_of_those_waiting_goes_first() {
        let mut bus = bus(3);
        send(&mut bus, 0, 0, 1, 0x300);
        send(&mut bus, 0, 1, 2, 0x200); // same instant: takes part in the first arbitration
        send(&mut bus, 1, 2, 3, 0x001); // later: waits, then goes before 0x300
        send(&mut bus, 2, 1, 4, 0x400);
        assert_eq!(order(&mut bus), [2, 3, 1, 4]);
        assert_eq!(bus.statistics(), Statistics { frames: 4, busy_ns: 4 * FRAME_NS });
    }

    #[test]
    fn a_reaction_at_the_end_of_a_frame_takes_part_in_the_next_arbitration() {
        let mut bus = bus(2);
        send(&mut bus, 0, 0, 1, 0x200);
        send(&mut bus, 1, 0, 2, 0x300);
        assert_eq!(bus.advance(FRAME_NS).len(), 2);
        send(&mut bus, FRAME_NS, 1, 3, 0x100);
        assert_eq!(bus.next_at(), Some(2 * FRAME_NS));
        assert_eq!(order(&mut bus), [3, 2]);
    }

    #[test]
    fn a_standard_identifier_beats_an_extended_one_with_the_same_base() {
        let mut bus = bus(2);
        send(&mut bus, 0, 0, 1, can_bus::frame::EXTENDED_FLAG | 0x100 << 18);
        send(&mut bus, 0, 1, 2, 0x100);
        assert_eq!(order(&mut bus), [2, 1]);
    }

    #[test]
    fn two_nodes_with_one_identifier_go_by_index() {
        let mut bus = bus(2);
        send(&mut bus, 0, 1, 1, 0x100);
        send(&mut bus, 0, 0, 2, 0x100);
        assert_eq!(order(&mut bus), [2, 1]);
    }

    #[test]
    fn only_what_is_not_yet_on_the_wire_can_be_aborted() {
        let mut bus = bus(2);
        send(&mut bus, 0, 0, 1, 0x100);
        send(&mut bus, 0, 0, 2, 0x200);
        assert_eq!(abort(&mut bus, 1, 0, 1), None, "on the wire");
        assert_eq!(abort(&mut bus, 1, 1, 2), None, "another node's");
        assert_eq!(abort(&mut bus, 1, 0, 2), Some(BusEvent::Dropped { token: 2 }));
        assert_eq!(order(&mut bus), [1]);
    }

    #[test]
    fn when_all_is_aborted_the_wire_stays_idle() {
        let mut bus = bus(2);
        send(&mut bus, 5, 0, 1, 0x100);
        assert_eq!(abort(&mut bus, 5, 0, 1), Some(BusEvent::Dropped { token: 1 }));
        assert_eq!(bus.next_at(), None);
        send(&mut bus, 9, 0, 2, 0x100);
        assert_eq!(bus.next_at(), Some(9 + FRAME_NS));
    }

    #[test]
    fn a_full_queue_answers_at_once() {
        let mut bus = bus(1);
        for token in 0..TRANSMIT_QUEUE as u32 {
            send(&mut bus, 0, 0, token, 0x100);
        }
        let transmit = BusCommand::Transmit { token: 99, frame: frame(0x100) };
        assert_eq!(bus.command(0, 0, transmit), Some(BusEvent::Dropped { token: 99 }));
    }

    #[test]
    fn some_receivers_miss_a_frame() {
        let mut bus = bus(3);
        bus.drop_when(|sent, receiver| sent.index == 0 && receiver == 2);
        send(&mut bus, 0, 0, 1, 0x100);
        send(&mut bus, 0, 0, 2, 0x100);
        let heard: Vec<_> = bus.advance(2 * FRAME_NS).iter().map(|(node, _)| *node).collect();
        assert_eq!(heard, [0, 1, 0, 1, 2]);
    }
}
