//! The wires of a car: one segment, or two that the gateway's [`Router`] joins.
//!
//! A station has one number in the whole car, and is a node with that number on every segment; it has power only where it
//! sits. The router alone sits on both.

use std::ops::Range;

use can_bus::timing::BitTiming;
use can_bus::{BusCommand, BusEvent};

use crate::bus::{SimBus, Statistics};
use crate::dice::Dice;
use crate::router::Router;

/// One segment or two, with their stations.
pub struct Segments {
    buses: Vec<SimBus>,
    /// On which segments each station sits.
    seats: Vec<Range<usize>>,
    /// What joins two of them.
    pub router: Option<Router>,
}

impl Segments {
    /// Segments with these bit rates, without stations; nothing joins them.
    #[must_use]
    pub fn new(timings: &[BitTiming]) -> Self {
        let buses = timings.iter().zip(0..).map(|(timing, segment)| SimBus::new(segment, *timing));
        Self { buses: buses.collect(), seats: Vec::new(), router: None }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.buses.len()
    }

    /// One of them.
    ///
    /// # Panics
    /// There is no such segment.
    #[must_use]
    pub fn bus(&self, segment: usize) -> &SimBus {
        &self.buses[segment]
    }

    /// One of them, to disturb it.
    ///
    /// # Panics
    /// There is no such segment.
    pub fn bus_mut(&mut self, segment: usize) -> &mut SimBus {
        &mut self.buses[segment]
    }

    /// Adds a station, with power; returns its number.
    pub fn attach(&mut self, segment: usize) -> usize {
        self.attach_to(segment..segment + 1)
    }

    /// Adds a router between two segments, with power; returns its station.
    ///
    /// # Panics
    /// There are not two segments, or they are joined.
    pub fn join(&mut self) -> usize {
        assert!(self.count() == 2 && self.router.is_none(), "two segments that nothing joins");
        let station = self.attach_to(0..2);
        self.router = Some(Router::new(station));
        station
    }

    fn attach_to(&mut self, seats: Range<usize>) -> usize {
        for (segment, bus) in self.buses.iter_mut().enumerate() {
            let node = bus.attach();
            if !seats.contains(&segment) {
                bus.silence(node);
            }
        }
        self.seats.push(seats);
        self.seats.len() - 1
    }

    /// Whether a station sits on a segment.
    ///
    /// # Panics
    /// There is no such station.
    #[must_use]
    pub fn sits_on(&self, station: usize, segment: usize) -> bool {
        self.seats[station].contains(&segment)
    }

    /// [`SimBus::command`] of a station on its segment.
    ///
    /// # Panics
    /// There is no such station.
    pub fn command(&mut self, now_ns: u64, station: usize, command: BusCommand) -> Option<BusEvent> {
        self.buses[self.seats[station].start].command(now_ns, station, command)
    }

    /// [`SimBus::silence`] of a station; a router forgets what it has stored.
    ///
    /// # Panics
    /// There is no such station.
    pub fn silence(&mut self, station: usize) {
        self.buses[self.seats[station].clone()].iter_mut().for_each(|bus| bus.silence(station));
        if let Some(router) = self.router.as_mut().filter(|router| router.station() == station) {
            router.switch(false);
        }
    }

    /// [`SimBus::start`] of a station.
    ///
    /// # Panics
    /// There is no such station.
    pub fn start(&mut self, station: usize) {
        self.buses[self.seats[station].clone()].iter_mut().for_each(|bus| bus.start(station));
        if let Some(router) = self.router.as_mut().filter(|router| router.station() == station) {
            router.switch(true);
        }
    }

    /// When to [advance](Self::advance) and [forward](Self::forward) next, as [`SimBus::next_at`].
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        let stored = self.router.as_ref().and_then(Router::due_ns);
        self.buses.iter().filter_map(SimBus::next_at).chain(stored).min()
    }

    /// [`SimBus::advance`] of a segment: what its stations, the router among them, are told until `now_ns`.
    ///
    /// # Panics
    /// There is no such segment.
    pub fn advance(&mut self, segment: usize, now_ns: u64) -> Vec<(usize, BusEvent)> {
        self.buses[segment].advance(now_ns)
    }

    /// Tells the router, if there is one, what happened to it on a segment.
    pub fn tell_router(&mut self, now_ns: u64, segment: usize, event: &BusEvent, dice: &mut Dice) {
        let Some(router) = &mut self.router else { return };
        match event {
            BusEvent::Received { frame, .. } => router.hear(now_ns, segment, frame, dice),
            BusEvent::Transmitted { token } | BusEvent::Dropped { token } => router.sent(segment, *token),
            _ => {}
        }
    }

    /// The router sends what is due.
    pub fn forward(&mut self, now_ns: u64) {
        let Some(router) = &mut self.router else { return };
        while let Some((to, token, frame)) = router.due(now_ns) {
            let answer = self.buses[to].command(now_ns, router.station(), BusCommand::Transmit { token, frame });
            if answer.is_some() {
                router.lose(to, token);
            }
        }
    }

    /// What the wires have carried, all together.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.buses.iter().map(SimBus::statistics).fold(Statistics::default(), |sum, of| Statistics {
            frames: sum.frames + of.frames,
            errors: sum.errors + of.errors,
            busy_ns: sum.busy_ns + of.busy_ns,
        })
    }
}
