//! The gateway's routing between segments 0 and 1: what it hears on the one it stores, and sends on the other.
//!
//! Each port is one controller with one bounded transmit queue, in which the frame goes first that would win arbitration.

use std::collections::VecDeque;

use can_bus::Frame;

use crate::attackers::{Forwarded, Route};
use crate::dice::Dice;

/// From the end of a frame on one segment until it waits for the other, ns: an interrupt, a table, a copy.
pub const DELAY_NS: u64 = 100_000;
/// Of the rest of the car, identifiers divisible by this are wanted on both segments.
const WANTED_ON_BOTH: u32 = 4;

/// Whether a frame that is not the mesh's crosses.
#[must_use]
pub fn is_wanted_on_both(frame: &Frame) -> bool {
    frame.raw_id().is_multiple_of(WANTED_ON_BOTH)
}

/// A station on both segments. It never sends a frame back to where it comes from, so nobody hears an echo of itself.
pub struct Router {
    station: usize,
    /// In whose hands it is; an honest one repeats every frame.
    pub liar: Option<Box<dyn Route>>,
    /// By time: when, ns, where, what.
    stored: VecDeque<(u64, usize, Frame)>,
    at_ports: [Vec<(u32, Frame)>; 2],
    is_on: bool,
    token: u32,
    lost: u64,
}

impl Router {
    pub(crate) const fn new(station: usize) -> Self {
        let at_ports = [Vec::new(), Vec::new()];
        Self { station, liar: None, stored: VecDeque::new(), at_ports, is_on: true, token: 0, lost: 0 }
    }

    /// Its station.
    #[must_use]
    pub const fn station(&self) -> usize {
        self.station
    }

    /// Frames that found the transmit queue of a port full.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// The frames at a port: token and frame.
    pub(crate) fn at_port(&self, segment: usize) -> &[(u32, Frame)] {
        &self.at_ports[segment]
    }

    /// When it sends next, ns.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.stored.front().map(|(due_ns, ..)| *due_ns)
    }

    pub(crate) fn hear(&mut self, now_ns: u64, from: usize, frame: &Frame, dice: &mut Dice) {
        if !self.is_on {
            return; // its power went at this very moment
        }
        let Some(liar) = &mut self.liar else {
            return self.store(now_ns, Forwarded { to: 1 - from, later_ns: 0, frame: *frame });
        };
        let forwarded = liar.route(now_ns, from, frame, dice);
        forwarded.into_iter().for_each(|forwarded| self.store(now_ns, forwarded));
    }

    fn store(&mut self, now_ns: u64, Forwarded { to, later_ns, frame }: Forwarded) {
        let due_ns = now_ns + DELAY_NS + later_ns;
        let at = self.stored.partition_point(|(other_ns, ..)| *other_ns <= due_ns);
        self.stored.insert(at, (due_ns, to, frame));
    }

    /// A frame that is due at `now_ns`: where, its token there, and what.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<(usize, u32, Frame)> {
        let (_, to, frame) = self.stored.pop_front_if(|(due_ns, ..)| *due_ns <= now_ns)?;
        self.token = self.token.wrapping_add(1);
        self.at_ports[to].push((self.token, frame));
        Some((to, self.token, frame))
    }

    /// A port is done with a frame.
    pub(crate) fn sent(&mut self, segment: usize, token: u32) {
        self.at_ports[segment].retain(|(known, _)| *known != token);
    }

    /// A port has no place for a frame.
    pub(crate) fn lose(&mut self, segment: usize, token: u32) {
        self.sent(segment, token);
        self.lost += 1;
    }

    /// Its power is back, or gone with all that it has stored.
    pub(crate) fn switch(&mut self, on: bool) {
        self.is_on = on;
        self.stored.clear();
        self.at_ports.iter_mut().for_each(Vec::clear);
    }
}
