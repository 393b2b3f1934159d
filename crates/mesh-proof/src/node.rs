//! One validator's view of a height: the production's rules, and what they make it say.

use std::{hash, mem};

use device_chain::agreement::{Action, Actions, Instance, Timeouts, Value, ValueId, VoteKind};
use device_chain::quorum::Quorum;
use device_chain::types::{Hash, Height, Micros, Round, ValidatorIndex};

const START: Micros = Micros(1_000);
const TIMEOUTS: Timeouts = Timeouts { phase_us: 1_000 };
/// Of any value: the rules do not read it.
const TRANSACTION: &[u8] = b"tx";

/// What may be decided. Everybody has the evidence for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Valid from round 1 on (V3).
    Skip,
    /// An order.
    P,
    /// Another one.
    Q,
}

impl Name {
    const ALL: [Self; 3] = [Self::Skip, Self::P, Self::Q];

    const fn hash(self) -> Hash {
        Hash([self as u8 + 1; 32])
    }

    fn value(self, proposer: ValidatorIndex) -> Value {
        let allowed_from = Some(Round::from(self == Self::Skip));
        Value { hash: self.hash(), proposer, allowed_from, evident: true }
    }
}

/// What validators say to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A proposal.
    Propose(Round, Name),
    /// A vote; `None` is nil.
    Vote(VoteKind, Round, Option<Name>),
}

impl hash::Hash for Packet {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        let (kind, round, of) = match *self {
            Self::Propose(round, of) => (3, round, Some(of)),
            Self::Vote(kind, round, of) => (kind as u8, round, of),
        };
        state.write_u32(u32::from_le_bytes([kind, round, of.map_or(0, |of| of as u8 + 1), 0]));
    }
}

/// What happens to nodes and what they do, in its order. Nodes are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A hop begins: what was said before can be heard.
    Hop,
    /// A node hears what a validator said.
    Hears(usize, ValidatorIndex, Packet),
    /// Time passes at a node.
    Waits(usize),
    /// A node loses power, and comes back with its journal.
    PowerCut(usize),
    /// A node says something.
    Says(usize, Packet),
    /// A node has come to a round.
    Enters(usize, Round),
    /// A node has decided, by the votes of a round.
    Decides(usize, Round, Name),
}

impl Event {
    /// The node it happens at.
    #[must_use]
    pub const fn node(&self) -> Option<usize> {
        match *self {
            Self::Hop => None,
            Self::Hears(at, ..)
            | Self::Waits(at)
            | Self::PowerCut(at)
            | Self::Says(at, _)
            | Self::Enters(at, _)
            | Self::Decides(at, ..) => Some(at),
        }
    }
}

/// A validator's place at a height.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// The height: it shifts the turns of the designated proposers.
    pub height: Height,
    /// Its index.
    pub me: ValidatorIndex,
    /// How many are enough, as it counts.
    pub quorum: Quorum,
    /// What it proposes when the rules leave it free; a correct one Skip.
    pub free: Name,
}

/// A validator.
pub struct Node {
    seat: Seat,
    instance: Instance,
    now: Micros,
    /// All it has said, oldest first. The votes among it are what its journal has.
    said: Vec<Packet>,
}

impl Node {
    /// One that has heard nothing yet.
    #[must_use]
    pub fn new(seat: Seat) -> Self {
        let Seat { height, me, quorum, .. } = seat;
        let instance = Instance::new(height, Hash::NIL, me, quorum, TIMEOUTS);
        Self { seat, instance, now: START, said: Vec::new() }
    }

    /// Its index.
    #[must_use]
    pub const fn me(&self) -> ValidatorIndex {
        self.seat.me
    }

    /// All it has said, oldest first; after a power cut, all votes it has cast.
    #[must_use]
    pub fn said(&self) -> &[Packet] {
        &self.said
    }

    /// The round it is in.
    #[must_use]
    pub const fn round(&self) -> Round {
        self.instance.round()
    }

    /// What it has decided, and the round of the votes for it.
    #[must_use]
    pub fn decided(&self) -> Option<(Round, Name)> {
        self.instance.decided().and_then(|(round, value)| Some((round, name(value)?)))
    }

    /// Does something, as node `at`, and tells what came of it.
    pub fn watched(&mut self, at: usize, act: impl FnOnce(&mut Self), mut tell: impl FnMut(Event)) {
        let (said, decided, mut round) = (self.said.len(), self.decided(), self.round());
        act(self);
        for packet in &self.said[said..] {
            if let Packet::Propose(now, _) | Packet::Vote(VoteKind::Prevote, now, _) = *packet
                && now > round
            {
                round = now;
                tell(Event::Enters(at, round));
            }
            tell(Event::Says(at, *packet));
        }
        if self.round() != round {
            tell(Event::Enters(at, self.round()));
        }
        if let (None, Some((round, of))) = (decided, self.decided()) {
            tell(Event::Decides(at, round, of));
        }
    }

    /// Hears a packet whose tag is right for it.
    pub fn hear(&mut self, from: ValidatorIndex, packet: Packet) {
        match packet {
            Packet::Propose(round, of) => self.on_proposal(round, from, of),
            Packet::Vote(kind, round, of) => {
                let id = of.and_then(|of| self.learn(of, from));
                self.instance.on_vote(kind, round, from, id, &mut Actions::new());
            }
        }
        self.run();
    }

    /// Proposes.
    pub fn propose(&mut self, round: Round, of: Name) {
        self.said.push(Packet::Propose(round, of));
        self.on_proposal(round, self.seat.me, of);
        self.run();
    }

    /// Does for those who have not decided what it does from time to time (L6).
    pub fn help(&mut self) {
        let mut out = Actions::new();
        self.instance.help(&mut out);
        self.carry_out(&out);
    }

    /// How long it would wait if nothing else happened, microseconds.
    #[must_use]
    pub fn wait_left(&self) -> Option<u64> {
        self.instance.deadline().map(|due| due.since(self.now))
    }

    /// Time passes for it, microseconds.
    pub fn pass(&mut self, us: u64) {
        self.now = self.now.plus(us);
        self.run();
    }

    /// It loses power and comes back with its journal (P1, P2): its votes. What it had heard is lost.
    pub fn power_cut(&mut self) {
        let before = mem::replace(self, Self::new(self.seat));
        self.now = before.now;
        self.said = before.said.into_iter().filter(|packet| matches!(packet, Packet::Vote(..))).collect();
        for at in 0..self.said.len() {
            if let Packet::Vote(kind, round, of) = self.said[at] {
                let id = of.and_then(|of| self.learn(of, self.seat.me));
                self.instance.restore_vote(kind, round, id);
            }
        }
        self.run();
    }

    /// Whether it says again what it has said once (M4): its proposal of the present round, its latest votes, all its READYs.
    #[must_use]
    pub fn repeats(&self, packet: Packet) -> bool {
        match packet {
            Packet::Propose(round, _) => round == self.round() && self.instance.decided().is_none(),
            Packet::Vote(VoteKind::Ready, ..) => true,
            Packet::Vote(kind, round, _) => {
                self.instance.own_votes(kind).last().is_some_and(|(latest, _)| latest == round)
            }
        }
    }

    fn learn(&mut self, of: Name, proposer: ValidatorIndex) -> Option<ValueId> {
        self.instance.add_value(of.value(proposer), TRANSACTION)
    }

    fn on_proposal(&mut self, round: Round, from: ValidatorIndex, of: Name) {
        if self.instance.takes_proposal(round, from)
            && let Some(id) = self.learn(of, from)
        {
            self.instance.on_proposal(round, from, id);
        }
    }

    /// Everything that the rules allow now.
    fn run(&mut self) {
        loop {
            let mut out = Actions::new();
            self.instance.progress(self.now, &mut out);
            if out.is_empty() {
                return;
            }
            self.carry_out(&out);
        }
    }

    fn carry_out(&mut self, actions: &Actions) {
        for action in actions {
            match *action {
                Action::Vote(kind, round, id) => {
                    let of = id.and_then(|id| name(self.instance.value(id)?));
                    self.said.push(Packet::Vote(kind, round, of));
                }
                Action::Propose(round, id) => {
                    let of = id.and_then(|id| name(self.instance.value(id)?)).unwrap_or(self.seat.free);
                    self.said.push(Packet::Propose(round, of));
                    self.on_proposal(round, self.seat.me, of);
                }
                Action::Decided(..) | Action::Equivocation(_) => {}
            }
        }
    }
}

fn name(value: &Value) -> Option<Name> {
    Name::ALL.into_iter().find(|name| name.hash() == value.hash)
}
