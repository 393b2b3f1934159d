//! Two segments joined by a gateway that stores what it hears on the one and forwards it on the other.
//!
//! The gateway is a node on both. What it forwards is the caller's choice, and it may alter it: a gateway can lie.

use std::collections::VecDeque;

use can_bus::{BusCommand, BusEvent, Frame};

use crate::bus::SimBus;

/// What a gateway makes of a frame that it heard on segment 0 or 1: what goes out on the other, if anything.
type Route = Box<dyn FnMut(usize, &Frame) -> Option<Frame>>;

/// Two buses, 0 and 1, and the gateway between them.
pub struct Segments {
    buses: [SimBus; 2],
    /// Where the gateway is on each.
    ports: [usize; 2],
    route: Route,
    delay_ns: u64,
    /// What it will send: when, where, what.
    stored: VecDeque<(u64, usize, Frame)>,
    sent: u32,
    lost: u64,
}

impl Segments {
    /// Adds a gateway to both buses that takes `delay_ns` for a frame.
    pub fn new(
        mut buses: [SimBus; 2],
        delay_ns: u64,
        route: impl FnMut(usize, &Frame) -> Option<Frame> + 'static,
    ) -> Self {
        let ports = buses.each_mut().map(SimBus::attach);
        Self { buses, ports, route: Box::new(route), delay_ns, stored: VecDeque::new(), sent: 0, lost: 0 }
    }

    /// One of the buses, to look at or to disturb; frames are sent with [`Self::command`].
    ///
    /// # Panics
    /// `segment` is not 0 or 1.
    pub fn bus(&mut self, segment: usize) -> &mut SimBus {
        &mut self.buses[segment]
    }

    /// Frames that the gateway had no place for in the transmit queue of the other segment.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// [`SimBus::command`] on a segment.
    ///
    /// # Panics
    /// There is no such segment or node.
    pub fn command(&mut self, now_ns: u64, segment: usize, node: usize, command: BusCommand) -> Option<BusEvent> {
        self.buses[segment].command(now_ns, node, command)
    }

    /// When to [advance](Self::advance) next, as [`SimBus::next_at`].
    pub fn next_at(&self) -> Option<u64> {
        let stored = self.stored.front().map(|(due_ns, ..)| *due_ns);
        self.buses.iter().filter_map(SimBus::next_at).chain(stored).min()
    }

    /// What the nodes hear until `now_ns`: segment, node and event, each segment in the order of its wire. The gateway's
    /// own events are not among them.
    pub fn advance(&mut self, now_ns: u64) -> Vec<(usize, usize, BusEvent)> {
        let mut told = Vec::new();
        while let Some(at_ns) = self.next_at().filter(|at_ns| *at_ns < now_ns) {
            self.step(at_ns, &mut told);
        }
        self.step(now_ns, &mut told);
        told
    }

    fn step(&mut self, at_ns: u64, told: &mut Vec<(usize, usize, BusEvent)>) {
        for segment in 0..2 {
            for (node, event) in self.buses[segment].advance(at_ns) {
                if node != self.ports[segment] {
                    told.push((segment, node, event));
                } else if let BusEvent::Received { frame, .. } = event {
                    let forwarded = (self.route)(segment, &frame);
                    self.stored.extend(forwarded.map(|frame| (at_ns + self.delay_ns, 1 - segment, frame)));
                }
            }
        }
        while let Some((_, segment, frame)) = self.stored.pop_front_if(|(due_ns, ..)| *due_ns <= at_ns) {
            self.sent = self.sent.wrapping_add(1);
            let transmit = BusCommand::Transmit { token: self.sent, frame };
            let answer = self.buses[segment].command(at_ns, self.ports[segment], transmit);
            self.lost += u64::from(answer.is_some());
        }
    }
}
