//! Whether the exploration leaves anything out: three nodes that keep all they hear, with a clock, in a storm. Each of their
//! steps must be one that the exploration takes, too.

use std::collections::HashSet;

use super::local::{Local, Vote, Votes};
use super::moves::moves;
use super::simulation::Dice;
use super::*;

const X: ValidatorIndex = 3;

struct Storm {
    dice: Dice,
    rounds: Round,
    nodes: [Node; 3],
    said: [Votes; 3],
}

impl Storm {
    fn new(seed: u64, rounds: Round) -> Self {
        let nodes = [0, 1, 2].map(|me| Local::default().awake(FOUR, 1 + seed as Height % 4, me));
        Self { dice: Dice::new(seed), rounds, nodes, said: Default::default() }
    }

    fn any<T>(&mut self, of: impl Iterator<Item = T> + Clone) -> Option<T> {
        let count = of.clone().count();
        (count > 0).then(|| self.dice.below(count)).and_then(|at| of.into_iter().nth(at))
    }

    fn view(&self, at: usize) -> Local {
        Local::of(&self.nodes[at].instance, self.said[at])
    }

    fn hears(&mut self, at: usize, voter: ValidatorIndex, vote: Option<Vote>) {
        if let Some(vote) = vote {
            let node = &mut self.nodes[at].instance;
            node.on_vote(vote.kind(), vote.round(), voter, vote.value(), &mut Actions::new());
        }
    }

    fn is_proposed(&mut self, at: usize, round: Round) {
        let id = self.dice.below(2) as ValueId;
        let node = &mut self.nodes[at].instance;
        let proposer = if round == 0 { X } else { node.proposer(round) };
        node.on_proposal(round, proposer, id);
    }

    fn loses_power(&mut self, at: usize) {
        let before = &self.nodes[at];
        let (height, decided) = (before.instance.height, before.instance.decided);
        let mut node = Local::default().awake(FOUR, height, at as ValidatorIndex);
        for vote in self.said[at].iter() {
            node.instance.restore_vote(vote.kind(), vote.round(), vote.value());
        }
        decided.into_iter().for_each(|(_, id)| node.instance.adopt(id));
        node.now = before.now;
        self.nodes[at] = node;
    }

    /// Something happens to a node; which one. `None` if it went into a round that is not looked at.
    fn step(&mut self) -> Option<usize> {
        let (at, rounds) = (self.dice.below(3), self.rounds);
        match self.dice.below(12) {
            0..=6 => {
                let other = (at + 1 + self.dice.below(2)) % 3;
                let vote = self.any(self.said[other].iter());
                self.hears(at, other as ValidatorIndex, vote);
            }
            7 | 8 => {
                let vote = self.any(Vote::all(rounds));
                self.hears(at, X, vote);
            }
            9 => {
                let round = self.dice.below(rounds.into()) as Round;
                self.is_proposed(at, round);
            }
            10 => self.nodes[at].now = self.nodes[at].now.plus(self.dice.below(9_000) as u64),
            _ if self.dice.below(8) == 0 => self.loses_power(at),
            _ => {}
        }
        let helps = self.dice.below(2) == 0;
        let node = &mut self.nodes[at];
        let mut actions = StdVec::new();
        loop {
            let mut out = Actions::new();
            node.instance.progress(node.now, &mut out);
            if helps && !out.is_full() {
                node.instance.help(&mut out);
            }
            actions.extend(out.iter().copied());
            if !out.is_full() {
                break;
            }
        }
        for action in actions {
            match action {
                Action::Vote(_, round, _) if round >= rounds => return None,
                Action::Vote(kind, round, value) => self.said[at].insert(Vote::new(kind, round, value)),
                // heard by itself at once: no value of its own, for there are two
                Action::Propose(round, choice) if round < rounds => {
                    self.nodes[at].instance.on_proposal(round, at as ValidatorIndex, choice.unwrap_or(0));
                }
                _ => {}
            }
        }
        (self.nodes[at].instance.round() < rounds).then_some(at)
    }

    /// Whether the exploration goes from one view of a node to another, in a few steps, with what the others have said.
    fn is_explored(&self, at: usize, from: Local, to: Local) -> bool {
        let others = [self.view((at + 1) % 3), self.view((at + 2) % 3)];
        let (mut met, mut edge) = (HashSet::from([from]), std::vec![from]);
        while !met.contains(&to) {
            let steps = edge.iter().flat_map(|view| moves(view, FOUR, self.rounds));
            let possible = steps.filter(|step| step.is_possible([&others[0], &others[1]])).map(|step| step.to);
            edge = possible.filter(|view| met.insert(*view)).collect();
            if edge.is_empty() {
                return false;
            }
        }
        true
    }
}

#[test]
fn storms_reach_nothing_else() {
    let mut moved = 0;
    for seed in 0..200 {
        let mut storm = Storm::new(seed, 2);
        for _ in 0..150 {
            let before = [0, 1, 2].map(|at| storm.view(at));
            let Some(at) = storm.step() else { break };
            let (from, to) = (before[at], storm.view(at));
            moved += usize::from(from != to);
            assert!(storm.is_explored(at, from, to), "seed {seed}: from {from:?}\nto {to:?}");
        }
    }
    assert!(moved > 1_000, "{moved} steps");
    std::println!("{moved} steps of storms, all of them explored");
}
