//! The wire and the controllers on it, bit by bit: any dominant level overrides, and each controller keeps its own bit time.
//!
//! There is no propagation delay, and a bit is sampled at its end. A controller that waits for a frame takes the edge of its
//! start as the beginning of a bit; so all are in step within a frame. They are not always behind an error in the data
//! phase, which some find at the data bit rate while others signal it at the nominal one.

use std::rc::Rc;

use can_bus::ErrorState;
use can_bus::timing::BitTiming;

use super::bits::Bit;
use super::controller::{Controller, Notice};
use super::disturbance::Disturbance;
use super::length::Length;
use super::{DOMINANT, RECESSIVE};

/// Recessive bits that tell a controller that the bus is idle.
const IDLE_BITS: u64 = 11;
/// How often a controller has to see them before it is no longer bus-off.
const RECOVERY: u64 = 128;

/// A controller that waits until it may take part.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// How often it has to see an idle bus.
    left: u64,
    since_ns: u64,
}

/// A controller and its bit time.
#[derive(Clone, Debug)]
struct Member {
    controller: Controller,
    begun_ns: u64,
    ends_ns: u64,
    waiting: Option<Waiting>,
    /// The error state that its node knows.
    told: ErrorState,
}

/// The wire.
#[derive(Clone, Debug)]
pub struct Line {
    nominal_ns: u64,
    data_ns: u64,
    members: Vec<Member>,
    now_ns: u64,
    level: bool,
    recessive_since_ns: u64,
    held_until_ns: u64,
    disturbance: Rc<Disturbance>,
}

impl Line {
    /// A wire without controllers at time 0. A bit takes whole ns, rounded up.
    #[must_use]
    pub fn new(timing: &BitTiming) -> Self {
        Self {
            nominal_ns: timing.ns(1, 0),
            data_ns: timing.ns(0, 1),
            members: Vec::new(),
            now_ns: 0,
            level: RECESSIVE,
            recessive_since_ns: 0,
            held_until_ns: 0,
            disturbance: Rc::default(),
        }
    }

    /// How long so many bits take here.
    #[must_use]
    pub fn ns(&self, length: Length) -> u64 {
        u64::from(length.nominal) * self.nominal_ns + u64::from(length.data) * self.data_ns
    }

    /// Adds a controller that takes part at once.
    pub fn attach(&mut self, fd_tolerant: bool) {
        let (controller, told) = (Controller::new(fd_tolerant), ErrorState::Active);
        self.members.push(Member { controller, begun_ns: 0, ends_ns: 0, waiting: None, told });
    }

    /// A controller.
    #[must_use]
    pub fn controller(&self, node: usize) -> &Controller {
        &self.members[node].controller
    }

    /// All controllers, by node.
    pub fn controllers(&self) -> impl Iterator<Item = &Controller> {
        self.members.iter().map(|member| &member.controller)
    }

    /// The last instant at which anybody sampled.
    #[must_use]
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// From `now_ns` on, bit by bit, from an idle wire.
    pub fn begin(&mut self, now_ns: u64) {
        self.settle();
        self.now_ns = now_ns;
        for member in &mut self.members {
            (member.begun_ns, member.ends_ns) = (now_ns, now_ns + self.nominal_ns);
        }
    }

    /// A controller begins to send.
    pub fn start(&mut self, node: usize, bits: Rc<[Bit]>) {
        let member = &mut self.members[node];
        member.controller.start(bits);
        (member.begun_ns, member.ends_ns) = (self.now_ns, self.now_ns + self.nominal_ns);
    }

    /// What happens to the bits of the frames that begin now.
    pub fn disturb(&mut self, disturbance: Disturbance) {
        self.disturbance = Rc::new(disturbance);
    }

    /// Somebody holds the wire dominant.
    pub fn hold(&mut self, until_ns: u64) {
        self.held_until_ns = until_ns;
    }

    /// A controller loses power.
    pub fn power_off(&mut self, node: usize) {
        let member = &mut self.members[node];
        member.controller.join();
        member.controller.leave();
        (member.waiting, member.told) = (None, ErrorState::Active);
    }

    /// Whether a controller has no power.
    #[must_use]
    pub fn is_off(&self, node: usize) -> bool {
        let member = &self.members[node];
        member.controller.is_out() && member.waiting.is_none()
    }

    /// A controller gets power, and takes part as soon as it has seen an idle bus.
    pub fn power_on(&mut self, node: usize, now_ns: u64) {
        self.power_off(node);
        self.members[node].waiting = Some(Waiting { left: 1, since_ns: now_ns });
    }

    /// Whether a controller has just become able to start a frame of its own accord.
    #[must_use]
    pub fn is_ready(&self, node: usize) -> bool {
        let member = &self.members[node];
        member.controller.is_idle() && member.begun_ns == self.now_ns && self.drive() == RECESSIVE
    }

    /// Whether nobody sends or waits within a frame.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.held_until_ns <= self.now_ns && self.controllers().all(|it| it.is_idle() || it.is_out())
    }

    /// When somebody samples next.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        let on = self.members.iter().filter(|member| !member.controller.is_out()).map(|member| member.ends_ns);
        let held = Some(self.held_until_ns).filter(|until| *until > self.now_ns);
        on.chain(held).min().unwrap_or(self.now_ns)
    }

    /// Goes to the next instant at which somebody samples; what the nodes are told then.
    pub fn sample(&mut self) -> Vec<(usize, Notice)> {
        self.settle();
        let now_ns = self.next_ns();
        self.now_ns = now_ns;
        let mut notices = Vec::new();
        for (node, member) in self.members.iter_mut().enumerate() {
            if member.ends_ns != now_ns || member.controller.is_out() {
                continue;
            }
            let controller = &mut member.controller;
            let seen = self.level ^ self.disturbance.inverts(node, controller.bits());
            notices.extend(controller.sample(seen).map(|notice| (node, notice)));
            member.begun_ns = now_ns;
            member.ends_ns = now_ns + if controller.fast() { self.data_ns } else { self.nominal_ns };
            notices.extend(member.state_change().map(|state| (node, Notice::State(state))));
            if member.told == ErrorState::BusOff {
                member.controller.leave();
                member.waiting = Some(Waiting { left: RECOVERY, since_ns: now_ns });
            }
        }
        if self.level == RECESSIVE {
            notices.extend(self.wake(now_ns));
        }
        notices
    }

    /// What everybody together drives the wire with.
    fn drive(&self) -> bool {
        self.held_until_ns <= self.now_ns && self.controllers().all(|it| it.output() == RECESSIVE)
    }

    /// Takes the level that begins now.
    fn settle(&mut self) {
        let level = self.drive();
        let before = std::mem::replace(&mut self.level, level);
        if before == DOMINANT && self.level == RECESSIVE {
            self.recessive_since_ns = self.now_ns;
        }
        if before == RECESSIVE && self.level == DOMINANT {
            self.interrupt(self.now_ns);
            for member in self.members.iter_mut().filter(|member| member.controller.awaits_start()) {
                (member.begun_ns, member.ends_ns) = (self.now_ns, self.now_ns + self.nominal_ns);
            }
        }
    }

    /// A frame went by from `start_ns` to `end_ns`, the end of its intermission, of which only that is told.
    pub fn pass(&mut self, start_ns: u64, end_ns: u64) {
        self.interrupt(start_ns);
        // Acknowledge delimiter, end of frame and intermission.
        self.recessive_since_ns = end_ns - IDLE_BITS * self.nominal_ns;
    }

    /// The counters after a frame that only `sender` sent and everybody else received; whose error states changed.
    pub fn count_frame(&mut self, sender: usize) -> impl Iterator<Item = (usize, ErrorState)> {
        let on = self.members.iter_mut().enumerate().filter(|(_, member)| !member.controller.is_out());
        on.filter_map(move |(node, member)| {
            let counters = &mut member.controller.confinement;
            if node == sender {
                counters.transmitted()
            } else {
                counters.received()
            }
            member.state_change().map(|state| (node, state))
        })
    }

    /// Those who wait count how often they have seen an idle bus until `now_ns`, when that ends.
    fn interrupt(&mut self, now_ns: u64) {
        for waiting in self.members.iter_mut().filter_map(|member| member.waiting.as_mut()) {
            let idle_ns = now_ns - waiting.since_ns.max(self.recessive_since_ns).min(now_ns);
            waiting.left = waiting.left.saturating_sub(idle_ns / (IDLE_BITS * self.nominal_ns)).max(1);
            waiting.since_ns = now_ns;
        }
    }

    /// When the next of those who wait may take part if the wire stays recessive.
    #[must_use]
    pub fn wakes_ns(&self) -> Option<u64> {
        self.members.iter().filter_map(|member| self.due_ns(member)).min()
    }

    fn due_ns(&self, member: &Member) -> Option<u64> {
        let waiting = member.waiting?;
        Some(waiting.since_ns.max(self.recessive_since_ns) + waiting.left * IDLE_BITS * self.nominal_ns)
    }

    /// Lets those take part who have waited long enough on a recessive wire; what their nodes are told.
    pub fn wake(&mut self, now_ns: u64) -> Vec<(usize, Notice)> {
        let mut notices = Vec::new();
        for node in 0..self.members.len() {
            if self.due_ns(&self.members[node]).is_some_and(|due_ns| due_ns <= now_ns) {
                let member = &mut self.members[node];
                member.controller.join();
                member.waiting = None;
                (member.begun_ns, member.ends_ns) = (now_ns, now_ns + self.nominal_ns);
                notices.extend(member.state_change().map(|state| (node, Notice::State(state))));
            }
        }
        notices
    }
}

impl Member {
    /// Its error state if its node does not know it yet.
    fn state_change(&mut self) -> Option<ErrorState> {
        let state = self.controller.confinement.state();
        (std::mem::replace(&mut self.told, state) != state).then_some(state)
    }
}
