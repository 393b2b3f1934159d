//! Validators' views of one height, joined by a wire. Tags that only some can check are packets that only some get.

use std::collections::VecDeque;
use std::vec::Vec as StdVec;

use super::*;

/// A vote or a proposal on its way to one receiver.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packet {
    Propose(Round, Hash),
    Vote(VoteKind, Round, Option<Hash>),
}

pub(super) struct Mesh {
    /// The correct ones; the indices behind them belong to the liars.
    pub(super) nodes: StdVec<Node>,
    /// Own votes of each node, as its journal has them.
    pub(super) journals: StdVec<StdVec<Did>>,
    /// From, to, what.
    pub(super) wire: VecDeque<(ValidatorIndex, usize, Packet)>,
}

impl Mesh {
    /// `correct` nodes, of a mesh with these thresholds, at a height.
    pub(super) fn new(correct: usize, quorum: Quorum, height: Height) -> Self {
        Self::of((0..correct).map(|me| Node::at(height, quorum, me as ValidatorIndex)).collect())
    }

    pub(super) fn of(nodes: StdVec<Node>) -> Self {
        let journals = std::vec![StdVec::new(); nodes.len()];
        Self { nodes, journals, wire: VecDeque::new() }
    }

    fn broadcast(&mut self, from: usize, packet: Packet) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            self.wire.push_back((from as ValidatorIndex, to, packet));
        }
    }

    /// Lets a node do what it can, and carries it out.
    pub(super) fn step(&mut self, at: usize) {
        let did = self.nodes[at].run();
        self.carry_out(at, did);
    }

    pub(super) fn carry_out(&mut self, at: usize, did: StdVec<Did>) {
        for did in did {
            match did {
                Did::Vote(kind, round, hash) => {
                    self.journals[at].push(did);
                    self.broadcast(at, Packet::Vote(kind, round, hash));
                }
                Did::Propose(round, choice) => self.propose(at, round, choice.unwrap_or(Hash([at as u8; 32]))),
                Did::Decided(..) | Did::Equivocation(_) => {}
            }
        }
    }

    /// A node's own proposal.
    pub(super) fn propose(&mut self, at: usize, round: Round, hash: Hash) {
        self.broadcast(at, Packet::Propose(round, hash));
        let did = self.nodes[at].proposed(round, at as ValidatorIndex, hash);
        self.carry_out(at, did);
    }

    /// As a validator does it: who is not a member, as this node sees it, has no key here.
    pub(super) fn deliver(&mut self, (from, to, packet): (ValidatorIndex, usize, Packet)) {
        let node = &mut self.nodes[to].instance;
        if usize::from(from) >= node.quorum.n {
            return;
        }
        match packet {
            Packet::Propose(round, hash) => {
                if node.takes_proposal(round, from)
                    && let Some(id) = node.add_value(value(hash, from), TX)
                {
                    node.on_proposal(round, from, id);
                }
            }
            Packet::Vote(kind, round, hash) => {
                let id = hash.map(|hash| node.add_value(value(hash, from), TX).expect("few values"));
                node.on_vote(kind, round, from, id, &mut Actions::new());
            }
        }
        self.step(to);
    }

    /// M4: everybody who is undecided says its votes again, and the decided help (L6).
    pub(super) fn retransmit(&mut self) {
        for at in 0..self.nodes.len() {
            let did = self.nodes[at].help();
            self.carry_out(at, did);
            let node = &self.nodes[at].instance;
            let latest = [VoteKind::Prevote, VoteKind::Precommit]
                .into_iter()
                .filter_map(|kind| node.own_votes(kind).last().map(|(round, id)| (kind, round, id)));
            let readies = node.own_votes(VoteKind::Ready).map(|(round, id)| (VoteKind::Ready, round, id));
            let hash = |id: Option<ValueId>| id.and_then(|id| node.value(id)).map(|value| value.hash);
            let again = latest.chain(readies).map(|(kind, round, id)| Packet::Vote(kind, round, hash(id)));
            for packet in again.collect::<StdVec<_>>() {
                self.broadcast(at, packet);
            }
        }
    }

    /// A bus that loses nothing: everything is delivered in order before any timer runs out.
    pub(super) fn calm(&mut self) {
        self.retransmit();
        while let Some(packet) = self.wire.pop_front() {
            self.deliver(packet);
        }
        let left = |node: &Node| node.instance.deadline().map(|deadline| deadline.since(node.now));
        if let Some(wait) = self.nodes.iter().filter_map(left).min() {
            self.pass(wait);
        }
    }

    /// Time passes for everybody.
    pub(super) fn pass(&mut self, us: u64) {
        for at in 0..self.nodes.len() {
            self.nodes[at].now = self.nodes[at].now.plus(us);
            self.step(at);
        }
    }

    /// What its journal gives back.
    pub(super) fn power_cut(&mut self, at: usize) {
        self.nodes[at] = self.nodes[at].rebooted(&self.journals[at]);
        self.step(at);
    }

    /// What each node that has decided has decided.
    pub(super) fn decisions(&self) -> impl Iterator<Item = Hash> {
        self.nodes.iter().filter_map(|node| node.instance.decided()).map(|(_, value)| value.hash)
    }

    pub(super) fn is_split(&self) -> bool {
        self.decisions().any(|hash| self.decisions().next() != Some(hash))
    }

    pub(super) fn highest_round(&self) -> Round {
        self.nodes.iter().map(|node| node.instance.round()).max().unwrap_or(0)
    }
}
