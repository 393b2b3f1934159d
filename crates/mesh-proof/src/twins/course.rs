//! Runs a schedule, and looks whether all correct nodes decide, and the same.

use std::hash::{DefaultHasher, Hash, Hasher};

use device_chain::types::{Round, ValidatorIndex};

use super::schedule::{Hop, ROUNDS, Schedule, Setup};
use crate::node::{Event, Name, Node, Packet, Seat};

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Two correct nodes have decided differently.
    Split(Name, Name),
    /// Somebody correct has not decided so many rounds after the bus began to behave.
    Stalled(Round),
    /// A correct node voted twice in one slot.
    VotedTwice(ValidatorIndex, Packet),
}

/// How a schedule went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Of all that every copy heard and did, in its order: schedules that amount to the same have the same.
    pub hash: u64,
    /// The highest round of a correct node when the bus began to behave.
    pub round: Round,
    /// How many correct nodes had decided by then.
    pub decided: usize,
    /// Rounds it took from there until all had.
    pub calm_rounds: Round,
}

/// Runs a schedule, then the bus behaves until all correct nodes have decided. `watch` sees every event.
///
/// # Errors
/// The first thing that must never happen.
pub fn run(setup: Setup, schedule: &Schedule, watch: &mut dyn FnMut(&Event)) -> Result<Course, Failure> {
    let mut hasher = DefaultHasher::new();
    let mut mesh = Mesh::new(setup, schedule, |event| {
        event.hash(&mut hasher);
        watch(event);
    });
    for hop in &schedule.hops {
        mesh.hop(hop);
        mesh.check()?;
        if mesh.round() >= ROUNDS || mesh.is_done() {
            break;
        }
    }
    let (round, decided) = (mesh.round(), mesh.correct().filter(|node| node.decided().is_some()).count());
    let patience = round + setup.validators as Round + 2;
    mesh.is_silent = schedule.silent;
    while !mesh.is_done() {
        let goes_on = mesh.calm();
        mesh.check()?;
        if !goes_on && mesh.correct().all(|node| node.said().is_empty()) {
            break; // only the twins have ever had anything to agree on, and nobody heard them
        }
        if !goes_on || mesh.round() > patience {
            return Err(Failure::Stalled(mesh.round() - round));
        }
    }
    mesh.check_votes()?;
    let calm_rounds = mesh.round() - round;
    Ok(Course { hash: hasher.finish(), round, decided, calm_rounds })
}

struct Copy {
    node: Node,
    is_twin: bool,
    /// For each thing it has said the copies that have heard it, a bit each.
    heard_by: Vec<u16>,
    /// What it has said from here on has not been on the wire yet.
    fresh: usize,
    /// It heard something new in this hop.
    has_news: bool,
}

impl Copy {
    const fn bit(at: usize) -> u16 {
        1 << at
    }
}

struct Mesh<W> {
    copies: Vec<Copy>,
    /// Twins say nothing.
    is_silent: bool,
    /// What a correct node has decided first. A power cut does not take it back.
    decision: Option<Name>,
    split: Option<Failure>,
    watch: W,
}

impl<W: FnMut(&Event)> Mesh<W> {
    fn new(setup: Setup, schedule: &Schedule, watch: W) -> Self {
        let Setup { validators, quorum, .. } = setup;
        let indices = (0..validators as ValidatorIndex).chain(schedule.twins.iter().copied());
        let copies = indices.zip(schedule.free).map(|(me, free)| {
            let is_twin = schedule.twins.contains(&me);
            let free = if is_twin { free } else { Name::Skip };
            let node = Node::new(Seat { height: schedule.height, me, quorum, free });
            Copy { node, is_twin, heard_by: Vec::new(), fresh: 0, has_news: false }
        });
        let mut mesh = Self { copies: copies.collect(), is_silent: false, decision: None, split: None, watch };
        for (at, of) in schedule.openers {
            mesh.lets(at.into(), |node| node.propose(0, of));
        }
        mesh
    }

    /// A copy does something, and what it says because of that is noted.
    fn lets(&mut self, at: usize, act: impl FnOnce(&mut Node)) {
        let copy = &mut self.copies[at];
        copy.node.watched(at, act, |event| (self.watch)(&event));
        copy.heard_by.resize(copy.node.said().len(), 0);
        if let Some((_, of)) = copy.node.decided().filter(|_| !copy.is_twin) {
            let first = *self.decision.get_or_insert(of);
            self.split = self.split.or((first != of).then_some(Failure::Split(first, of)));
        }
    }

    /// Time passes at a copy, microseconds.
    fn waits(&mut self, at: usize, wait: u64) {
        (self.watch)(&Event::Waits(at));
        self.lets(at, |node| node.pass(wait));
    }

    fn hop(&mut self, hop: &Hop) {
        self.exchange(hop);
        for at in 0..self.copies.len() {
            let copy = &self.copies[at];
            let runs_out = !copy.has_news || hop.hasty & Copy::bit(at) != 0;
            if let Some(wait) = copy.node.wait_left().filter(|_| runs_out) {
                self.waits(at, wait);
            }
        }
        if let Some(at) = hop.power_cut {
            self.power_cut(at.into());
        }
    }

    /// A bus that loses nothing: time runs out when everybody has heard everything. False if nobody waits for anything then.
    fn calm(&mut self) -> bool {
        self.exchange(&Hop::CALM);
        if self.copies.iter().any(|copy| copy.has_news) {
            return true;
        }
        let waits = self.copies.iter().filter(|copy| !copy.is_twin || !self.is_silent);
        let Some(wait) = waits.filter_map(|copy| copy.node.wait_left()).min() else { return false };
        for at in 0..self.copies.len() {
            self.waits(at, wait);
        }
        true
    }

    /// Each says what is new and what it repeats (M4), and those in its cell hear it. What they say then is for the next hop.
    fn exchange(&mut self, hop: &Hop) {
        (self.watch)(&Event::Hop);
        for at in 0..self.copies.len() {
            self.copies[at].has_news = false;
            self.lets(at, Node::help);
        }
        let said: Vec<_> = self.copies.iter().map(|copy| copy.heard_by.len()).collect();
        let first = usize::from(hop.first);
        for from in (first..said.len()).chain(0..first) {
            for which in 0..said[from] {
                self.say(hop, from, which);
            }
            self.copies[from].fresh = said[from];
        }
    }

    fn say(&mut self, hop: &Hop, from: usize, which: usize) {
        let copy = &self.copies[from];
        let (me, packet) = (copy.node.me(), copy.node.said()[which]);
        let is_fresh = which >= copy.fresh;
        // a liar may say again whatever it has said
        let is_again = hop.repeats && (copy.is_twin || copy.node.repeats(packet));
        if copy.is_twin && self.is_silent || !is_fresh && !is_again {
            return;
        }
        for to in 0..self.copies.len() {
            let bit = Copy::bit(to);
            let hears = hop.cells[to] == hop.cells[from] && self.copies[from].heard_by[which] & bit == 0;
            // a node takes nothing on its own identifier
            if hears && self.copies[to].node.me() != me {
                self.copies[from].heard_by[which] |= bit;
                self.copies[to].has_news = true;
                (self.watch)(&Event::Hears(to, me, packet));
                self.lets(to, |node| node.hear(me, packet));
            }
        }
    }

    fn power_cut(&mut self, at: usize) {
        (self.watch)(&Event::PowerCut(at));
        for copy in &mut self.copies {
            copy.heard_by.iter_mut().for_each(|heard| *heard &= !Copy::bit(at));
        }
        let copy = &mut self.copies[at];
        copy.node.power_cut();
        copy.heard_by.clear();
        copy.heard_by.resize(copy.node.said().len(), 0);
        copy.fresh = copy.heard_by.len();
    }

    fn correct(&self) -> impl Iterator<Item = &Node> {
        self.copies.iter().filter(|copy| !copy.is_twin).map(|copy| &copy.node)
    }

    fn round(&self) -> Round {
        self.correct().map(Node::round).max().unwrap_or_default()
    }

    fn is_done(&self) -> bool {
        self.correct().all(|node| node.decided().is_some())
    }

    fn check(&self) -> Result<(), Failure> {
        self.split.map_or(Ok(()), Err)
    }

    /// One vote for each slot, also across power cuts.
    fn check_votes(&self) -> Result<(), Failure> {
        for node in self.correct() {
            let mut slots = Vec::new();
            for packet in node.said() {
                let Packet::Vote(kind, round, _) = *packet else { continue };
                if slots.contains(&(kind, round)) {
                    return Err(Failure::VotedTwice(node.me(), *packet));
                }
                slots.push((kind, round));
            }
        }
        Ok(())
    }
}
