//! Meshes of instances, liars among them, a bus that loses and reorders: nobody ever decides differently, and once the
//! bus behaves everybody decides.

use super::mesh::{Mesh, Packet};
use super::*;

/// xorshift64*: the same run for the same seed, everywhere.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn value(&mut self) -> Hash {
        [P, Q, Hash([0x52; 32])][self.below(3)]
    }
}

/// A mesh in bad weather.
struct Storm {
    mesh: Mesh,
    liars: usize,
    dice: Dice,
}

impl Storm {
    /// The last `liars` of `n` lie.
    fn new(n: usize, liars: usize, seed: u64) -> Self {
        let mut storm = Self { mesh: Mesh::new(n - liars, Quorum::full(n), 1), liars, dice: Dice::new(seed) };
        for at in 0..2 {
            let hash = storm.dice.value();
            storm.mesh.propose(at, 0, hash);
        }
        storm
    }

    /// A liar sends any vote or proposal to any subset: what tags that only some can check amount to.
    fn lie(&mut self) {
        let correct = self.mesh.nodes.len();
        let from = (correct + self.dice.below(self.liars)) as ValidatorIndex;
        let round = self.dice.below(usize::from(self.mesh.highest_round()) + 2) as Round;
        let hash = if self.dice.one_in(4) { None } else { Some(self.dice.value()) };
        let kind = [VoteKind::Prevote, VoteKind::Ready, VoteKind::Precommit][self.dice.below(3)];
        let packet = match (self.dice.one_in(5), hash) {
            (true, Some(hash)) => Packet::Propose(round, hash),
            _ => Packet::Vote(kind, round, hash),
        };
        for to in 0..correct {
            if self.dice.one_in(2) {
                self.mesh.wire.push_back((from, to, packet));
            }
        }
    }

    /// One vote per slot, for ever: also across power cuts.
    fn check_votes(&self) {
        for (at, journal) in self.mesh.journals.iter().enumerate() {
            let mut slots = std::collections::BTreeSet::new();
            for did in journal {
                let Did::Vote(kind, round, _) = *did else { continue };
                assert!(slots.insert((kind, round)), "node {at} votes twice: {did:?}");
            }
        }
    }

    /// Everybody has decided, of itself: nobody needs to believe others (C5).
    fn is_done(&self) -> bool {
        self.mesh.decisions().count() == self.mesh.nodes.len()
    }

    /// A bus that loses, reorders and repeats; liars; power cuts.
    fn rage(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.dice.below(20) {
                0..=11 if !self.mesh.wire.is_empty() => {
                    let at = self.dice.below(self.mesh.wire.len());
                    if let Some(packet) = self.mesh.wire.remove(at)
                        && !self.dice.one_in(6)
                    {
                        self.mesh.deliver(packet);
                    }
                }
                12..=16 if self.liars > 0 => self.lie(),
                17 => self.mesh.pass(self.dice.below(3_000) as u64),
                18 if self.dice.one_in(4) => self.mesh.power_cut(self.dice.below(self.mesh.nodes.len())),
                _ if self.dice.one_in(10) => self.mesh.retransmit(),
                _ => {}
            }
            assert!(!self.mesh.is_split(), "two decisions");
        }
    }

    /// The bus behaves, the liars go on: how many rounds it takes.
    fn end(&mut self) -> Round {
        let before = self.mesh.highest_round();
        let mut turns = 0;
        while !self.is_done() {
            if self.liars > 0 && self.dice.one_in(2) {
                self.lie();
            }
            self.mesh.calm();
            assert!(!self.mesh.is_split(), "two decisions");
            turns += 1;
            assert!(turns < 1_000, "nobody moves");
        }
        self.check_votes();
        self.mesh.highest_round() - before
    }
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of storms: hours")]
fn nobody_decides_differently_and_everybody_decides_when_the_bus_is_calm() {
    for (n, liars) in [(4, 0), (4, 1), (5, 1), (6, 1), (7, 2), (8, 2)] {
        for seed in 0..150 {
            let mut storm = Storm::new(n, liars, seed + 1_000 * n as u64);
            storm.rage(400);
            let rounds = storm.end();
            assert!(usize::from(rounds) <= n + 2, "n = {n}, seed {seed}: {rounds} calm rounds");
        }
    }
}

#[test]
fn they_decide_also_after_the_whole_car_has_lost_power() {
    let (seeds, steps) = if cfg!(miri) { (1, 60) } else { (40, 150) };
    for seed in 0..seeds {
        let mut storm = Storm::new(4, 1, seed);
        storm.rage(steps);
        storm.mesh.wire.clear();
        (0..3).for_each(|at| storm.mesh.power_cut(at));
        storm.liars = 0;
        storm.end();
    }
}
