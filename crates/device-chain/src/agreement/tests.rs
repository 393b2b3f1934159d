//! The rules of one height as scenarios. `n4` and `n7` are meshes of four and seven; node 0 is the one looked at.

pub(crate) mod explore;
mod mesh;
mod openings;
mod scenarios;
mod simulation;
mod tables;
mod traces;

use super::*;

const START: Micros = Micros(1_000);
const TIMEOUTS: Timeouts = Timeouts { phase_us: 1_000 };
const P: Hash = Hash([0x50; 32]);
const Q: Hash = Hash([0x51; 32]);
const NIL: Option<Hash> = None;
/// Of any value: the rules do not read it.
const TX: &[u8] = b"tx";

/// One validator's view of a height, driven by hand.
struct Node {
    instance: Instance,
    now: Micros,
}

/// What a node did, with values by their hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Vote(VoteKind, Round, Option<Hash>),
    Propose(Round, Option<Hash>),
    Decided(Round, Hash),
    Equivocation(ValidatorIndex),
}

fn prevote(round: Round, value: Option<Hash>) -> Did {
    Did::Vote(VoteKind::Prevote, round, value)
}

fn ready(round: Round, value: Hash) -> Did {
    Did::Vote(VoteKind::Ready, round, Some(value))
}

fn precommit(round: Round, value: Option<Hash>) -> Did {
    Did::Vote(VoteKind::Precommit, round, value)
}

fn value(hash: Hash, proposer: ValidatorIndex) -> Value {
    Value { hash, proposer, allowed_from: Some(0), evident: true }
}

impl Node {
    /// Node `me` of a mesh of `n` at height 1.
    fn new(n: usize, me: ValidatorIndex) -> Self {
        Self::at(1, Quorum::full(n), me)
    }

    fn at(height: Height, quorum: Quorum, me: ValidatorIndex) -> Self {
        Self { instance: Instance::new(height, Hash::NIL, me, quorum, TIMEOUTS), now: START }
    }

    /// Everything the rules allow now.
    fn run(&mut self) -> std::vec::Vec<Did> {
        let mut did = std::vec::Vec::new();
        loop {
            let mut out = Actions::new();
            self.instance.progress(self.now, &mut out);
            did.extend(out.iter().map(|action| self.did(action)));
            if !out.is_full() {
                self.has_nothing_left();
                return did;
            }
            assert!(did.len() < 1_000, "it comes to an end");
        }
    }

    /// Also if it is not told that nothing is new.
    fn has_nothing_left(&mut self) {
        let (before, mut out) = (self.instance.deadline(), Actions::new());
        self.instance.news = true;
        self.instance.progress(self.now, &mut out);
        assert_eq!((&out[..], self.instance.deadline()), (&[][..], before));
    }

    fn did(&self, action: &Action) -> Did {
        let hash = |id: ValueId| self.instance.value(id).unwrap().hash;
        match *action {
            Action::Vote(kind, round, id) => Did::Vote(kind, round, id.map(hash)),
            Action::Propose(round, id) => Did::Propose(round, id.map(hash)),
            Action::Decided(round, id) => Did::Decided(round, hash(id)),
            Action::Equivocation(voter) => Did::Equivocation(voter),
        }
    }

    /// What it does for those who have not decided (L6).
    fn help(&mut self) -> std::vec::Vec<Did> {
        let mut out = Actions::new();
        self.instance.help(&mut out);
        out.iter().map(|action| self.did(action)).collect()
    }

    /// Until the next deadline.
    fn wait(&mut self) -> std::vec::Vec<Did> {
        self.now = self.instance.deadline().expect("something to wait for");
        self.run()
    }

    fn proposed(&mut self, round: Round, by: ValidatorIndex, hash: Hash) -> std::vec::Vec<Did> {
        let id = self.instance.add_value(value(hash, by), TX).expect("room");
        self.instance.on_proposal(round, by, id);
        self.run()
    }

    /// Votes of others; a value that is new becomes known without evidence.
    fn votes(
        &mut self,
        kind: VoteKind,
        round: Round,
        hash: Option<Hash>,
        by: impl IntoIterator<Item = ValidatorIndex>,
    ) -> std::vec::Vec<Did> {
        let mut did = std::vec::Vec::new();
        for voter in by {
            let id = hash
                .map(|hash| self.instance.add_value(Value { evident: false, ..value(hash, voter) }, TX).expect("room"));
            let mut out = Actions::new();
            self.instance.on_vote(kind, round, voter, id, &mut out);
            did.extend(out.iter().map(|action| self.did(action)));
            did.extend(self.run());
        }
        did
    }

    fn prevotes(
        &mut self,
        round: Round,
        hash: Option<Hash>,
        by: impl IntoIterator<Item = ValidatorIndex>,
    ) -> std::vec::Vec<Did> {
        self.votes(VoteKind::Prevote, round, hash, by)
    }

    fn readies(
        &mut self,
        round: Round,
        hash: Hash,
        by: impl IntoIterator<Item = ValidatorIndex>,
    ) -> std::vec::Vec<Did> {
        self.votes(VoteKind::Ready, round, Some(hash), by)
    }

    fn precommits(
        &mut self,
        round: Round,
        hash: Option<Hash>,
        by: impl IntoIterator<Item = ValidatorIndex>,
    ) -> std::vec::Vec<Did> {
        self.votes(VoteKind::Precommit, round, hash, by)
    }

    /// The same after a power cut: what the journal gives back is `votes`.
    fn rebooted(&self, votes: &[Did]) -> Self {
        let Instance { height, quorum, me, .. } = self.instance;
        let mut node = Self::at(height, quorum, me);
        for did in votes {
            let Did::Vote(kind, round, hash) = *did else { continue };
            let id = hash.map(|hash| node.instance.add_value(value(hash, me), TX).expect("room"));
            node.instance.restore_vote(kind, round, id);
        }
        node
    }
}
