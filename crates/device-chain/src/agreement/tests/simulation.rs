//! Meshes of instances, a joker among them, a bus that loses and reorders: nobody ever decides differently, and once
//! the bus behaves everybody decides.

use std::collections::VecDeque;

use super::*;

/// A vote or a proposal on its way to one receiver.
#[derive(Clone, Copy, Debug)]
enum Packet {
    Propose(Round, Hash),
    Vote(VoteKind, Round, Option<Hash>),
}

/// xorshift64*: the same run for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

struct Mesh {
    nodes: std::vec::Vec<Node>,
    /// Own votes of each node, as its journal has them.
    journals: std::vec::Vec<std::vec::Vec<Did>>,
    liars: usize,
    wire: VecDeque<(ValidatorIndex, usize, Packet)>,
    dice: Dice,
    now: Micros,
}

impl Mesh {
    /// The last `liars` of `n` lie.
    fn new(n: usize, liars: usize, seed: u64) -> Self {
        Self {
            nodes: (0..n - liars).map(|me| Node::new(n, me as ValidatorIndex)).collect(),
            journals: std::vec![std::vec::Vec::new(); n - liars],
            liars,
            wire: VecDeque::new(),
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: START,
        }
    }

    fn n(&self) -> usize {
        self.nodes.len() + self.liars
    }

    fn any_value(&mut self) -> Hash {
        [P, Q, Hash([0x52; 32])][self.dice.below(3)]
    }

    fn broadcast(&mut self, from: usize, packet: Packet) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            self.wire.push_back((from as ValidatorIndex, to, packet));
        }
    }

    /// Carries out what a node did.
    fn step(&mut self, at: usize) {
        self.nodes[at].now = self.now;
        for did in self.nodes[at].run() {
            match did {
                Did::Vote(kind, round, hash) => {
                    self.remember(at, did);
                    self.broadcast(at, Packet::Vote(kind, round, hash));
                }
                Did::Propose(round, choice) => {
                    let hash = choice.unwrap_or(Hash([at as u8; 32]));
                    self.nodes[at].proposed(round, at as ValidatorIndex, hash).into_iter().for_each(|did| {
                        if let Did::Vote(kind, round, hash) = did {
                            self.remember(at, did);
                            self.broadcast(at, Packet::Vote(kind, round, hash));
                        }
                    });
                    self.broadcast(at, Packet::Propose(round, hash));
                }
                Did::Decided(..) | Did::Equivocation(_) => {}
            }
        }
    }

    /// One vote per slot, for ever: also across power cuts.
    fn remember(&mut self, at: usize, did: Did) {
        let Did::Vote(kind, round, _) = did else { return };
        let slot = |other: &&Did| matches!(other, Did::Vote(k, r, _) if (*k, *r) == (kind, round));
        assert_eq!(self.journals[at].iter().find(slot), None, "node {at} votes twice: {did:?}");
        self.journals[at].push(did);
    }

    fn deliver(&mut self, (from, to, packet): (ValidatorIndex, usize, Packet)) {
        match packet {
            Packet::Propose(round, hash) => {
                if self.nodes[to].instance.takes_proposal(round, from)
                    && let Some(id) = self.nodes[to].instance.add_value(value(hash, from))
                {
                    self.nodes[to].instance.on_proposal(round, from, id);
                }
            }
            Packet::Vote(kind, round, hash) => {
                let id = hash.map(|hash| self.nodes[to].instance.add_value(value(hash, from)).expect("few values"));
                self.nodes[to].instance.on_vote(kind, round, from, id, &mut Actions::new());
            }
        }
        self.step(to);
        self.check();
    }

    /// A liar sends any vote or proposal to any subset: what tags that only some can check amount to.
    fn lie(&mut self) {
        let from = (self.nodes.len() + self.dice.below(self.liars)) as ValidatorIndex;
        let top = self.nodes.iter().map(|node| node.instance.round()).max().unwrap_or(0);
        let round = self.dice.below(usize::from(top) + 2) as Round;
        let hash = if self.dice.one_in(4) { None } else { Some(self.any_value()) };
        let kind = [VoteKind::Prevote, VoteKind::Ready, VoteKind::Precommit][self.dice.below(3)];
        let packet = match (self.dice.one_in(5), hash) {
            (true, Some(hash)) => Packet::Propose(round, hash),
            _ => Packet::Vote(kind, round, hash),
        };
        for to in 0..self.nodes.len() {
            if self.dice.one_in(2) {
                self.wire.push_back((from, to, packet));
            }
        }
    }

    /// M4: everybody who is undecided says its votes again, and the decided help (L6).
    fn retransmit(&mut self) {
        for at in 0..self.nodes.len() {
            let latest = |kind| {
                self.journals[at].iter().rev().find(move |did| matches!(did, Did::Vote(k, ..) if *k == kind)).copied()
            };
            let mut again: std::vec::Vec<Did> =
                [VoteKind::Prevote, VoteKind::Precommit].into_iter().filter_map(latest).collect();
            again.extend(self.journals[at].iter().filter(|did| matches!(did, Did::Vote(VoteKind::Ready, ..))));
            for did in again {
                if let Did::Vote(kind, round, hash) = did {
                    self.broadcast(at, Packet::Vote(kind, round, hash));
                }
            }
        }
    }

    fn check(&self) {
        let mut decided = self.nodes.iter().filter_map(|node| node.instance.decided()).map(|(_, value)| value.hash);
        if let Some(first) = decided.next() {
            assert!(decided.all(|other| other == first), "two decisions");
        }
    }

    fn power_cut(&mut self, at: usize) {
        self.nodes[at] = Node::reboot(self.n(), at as ValidatorIndex, &self.journals[at]);
        self.step(at);
    }

    /// Everybody has decided, or f + 1 have: then the rest believes them (C5).
    fn is_done(&self) -> bool {
        let decided = self.nodes.iter().filter(|node| node.instance.decided().is_some()).count();
        decided >= Quorum::full(self.n()).one_correct()
    }

    /// A bus that loses, reorders and repeats; liars; power cuts.
    fn storm(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.dice.below(20) {
                0..=11 if !self.wire.is_empty() => {
                    let at = self.dice.below(self.wire.len());
                    if let Some(packet) = self.wire.remove(at)
                        && !self.dice.one_in(6)
                    {
                        self.deliver(packet);
                    }
                }
                12..=16 if self.liars > 0 => self.lie(),
                17 => {
                    self.now = self.now.plus(self.dice.below(3_000) as u64);
                    (0..self.nodes.len()).for_each(|at| self.step(at));
                }
                18 if self.dice.one_in(4) => {
                    let at = self.dice.below(self.nodes.len());
                    self.power_cut(at);
                }
                _ if self.dice.one_in(10) => self.retransmit(),
                _ => {}
            }
            self.check();
        }
    }

    /// A bus that loses nothing: everything is delivered in order before any timer runs out. The liars go on.
    fn calm(&mut self) {
        self.retransmit();
        while let Some(packet) = self.wire.pop_front() {
            self.deliver(packet);
        }
        if self.liars > 0 && self.dice.one_in(2) {
            self.lie();
        }
        let next = self.nodes.iter().filter_map(|node| node.instance.deadline()).min();
        self.now = self.now.max(next.unwrap_or(self.now));
        (0..self.nodes.len()).for_each(|at| self.step(at));
    }

    fn highest_round(&self) -> Round {
        self.nodes.iter().map(|node| node.instance.round()).max().unwrap_or(0)
    }

    fn begin(&mut self) {
        for at in 0..2 {
            let hash = self.any_value();
            self.nodes[at].proposed(0, at as ValidatorIndex, hash).into_iter().for_each(|did| {
                self.remember(at, did);
                if let Did::Vote(kind, round, hash) = did {
                    self.broadcast(at, Packet::Vote(kind, round, hash));
                }
            });
            self.broadcast(at, Packet::Propose(0, hash));
        }
    }
}

#[test]
fn nobody_decides_differently_and_everybody_decides_when_the_bus_is_calm() {
    for (n, liars) in [(4, 0), (4, 1), (5, 1), (6, 1), (7, 2), (8, 2)] {
        for seed in 0..150 {
            let mut mesh = Mesh::new(n, liars, seed + 1_000 * n as u64);
            mesh.begin();
            mesh.storm(400);
            let before = mesh.highest_round();
            let mut calm = 0;
            while !mesh.is_done() {
                mesh.calm();
                calm += 1;
                assert!(calm < 1_000, "n = {n}, seed {seed}: nobody moves");
            }
            let rounds = mesh.highest_round() - before;
            assert!(usize::from(rounds) <= n + 2, "n = {n}, seed {seed}: {rounds} calm rounds");
        }
    }
}

#[test]
fn t2_a_liar_with_half_valid_tags_cannot_split_the_locks_for_ever() {
    // A = 1, B = 2, C = 3 (0 on the wire), X = 3; r0: B and C prevote P, X's prevote of P is valid only for B
    let mut mesh = Mesh::new(4, 1, 1);
    let [a, b, c] = [0, 1, 2];
    for at in [b, c] {
        mesh.deliver((c as ValidatorIndex, at, Packet::Propose(0, P)));
    }
    for (from, to) in [(c, b), (b, c), (b, a), (c, a)] {
        mesh.deliver((from as ValidatorIndex, to, Packet::Vote(VoteKind::Prevote, 0, Some(P))));
    }
    mesh.deliver((3, b, Packet::Vote(VoteKind::Prevote, 0, Some(P))));
    assert_eq!(mesh.nodes[b].instance.lock().map(|(round, value)| (round, value.hash)), Some((0, P)));
    assert!(mesh.nodes[a].instance.lock().is_none() && mesh.nodes[c].instance.lock().is_none());
    // r1: Q is proposed; A and C prevote it, X's prevote of Q is valid only for A. Then X falls silent
    mesh.wire.clear();
    for at in [a, c] {
        mesh.nodes[at].now = mesh.now;
        mesh.nodes[at].prevotes(1, NIL, [1, 3]);
        mesh.deliver((2, at, Packet::Propose(1, Q)));
    }
    mesh.deliver((3, a, Packet::Vote(VoteKind::Prevote, 1, Some(Q))));
    for _ in 0..200 {
        mesh.calm_without_lies();
        if mesh.is_done() {
            return;
        }
    }
    panic!("stalled as in T2");
}

#[test]
fn t7_locks_on_different_values_are_reconciled_after_the_whole_car_lost_power() {
    // READYs are in the journals: a genuine certificate of round 1 comes together again after the cut
    for seed in 0..40 {
        let mut mesh = Mesh::new(4, 1, seed);
        mesh.begin();
        mesh.storm(150);
        (0..3).for_each(|at| mesh.power_cut(at));
        mesh.wire.clear();
        for _ in 0..1_000 {
            mesh.calm_without_lies();
            if mesh.is_done() {
                break;
            }
        }
        assert!(mesh.is_done(), "seed {seed}");
    }
}

impl Mesh {
    /// The liars are silent.
    fn calm_without_lies(&mut self) {
        let liars = core::mem::take(&mut self.liars);
        self.calm();
        self.liars = liars;
    }
}
