//! What a node has heard and said, counted anew: what explains a difference must not come from the code that is compared.

use std::collections::{BTreeMap, BTreeSet};

use device_chain::agreement::VoteKind;
use device_chain::quorum::Quorum;
use device_chain::types::{Round, ValidatorIndex};

use super::oracle::Vote;
use crate::node::{Name, Packet};

/// The first of each kind of a voter in a round.
#[derive(Default)]
struct Votes {
    prevote: Option<Vote>,
    precommit: Option<Vote>,
    ready: Vec<Name>,
}

impl Votes {
    /// C2.
    fn prevotes(&self) -> Option<Vote> {
        self.precommit.filter(Option::is_some).or(self.prevote)
    }

    /// C3.
    fn is_ready(&self, of: Name) -> bool {
        self.ready.contains(&of) || self.precommit == Some(Some(of))
    }

    /// PREVOTE and PRECOMMIT speak of different things.
    fn is_mixed(&self) -> bool {
        self.prevote.is_some() && self.prevote != self.prevotes()
    }
}

/// All that counts, the own votes among it.
pub struct Heard {
    quorum: Quorum,
    votes: BTreeMap<(Round, ValidatorIndex), Votes>,
    proposals: BTreeMap<Round, Vec<(ValidatorIndex, Name)>>,
    /// A liar's PRECOMMIT takes its PREVOTE back, but not what that has done.
    certificates: BTreeSet<(Round, Name)>,
}

impl Heard {
    pub const fn new(quorum: Quorum) -> Self {
        Self { quorum, votes: BTreeMap::new(), proposals: BTreeMap::new(), certificates: BTreeSet::new() }
    }

    /// Enters it. False if it does not count: only the first does (C1, F3).
    pub fn enter(&mut self, by: ValidatorIndex, packet: Packet) -> bool {
        let counts = self.enters(by, packet);
        if let Packet::Vote(_, round, Some(of)) = packet
            && self.certifies(round, of)
        {
            self.certificates.insert((round, of));
        }
        counts
    }

    fn enters(&mut self, by: ValidatorIndex, packet: Packet) -> bool {
        match packet {
            Packet::Propose(round, of) => {
                let proposals = self.proposals.entry(round).or_default();
                let is_first = proposals.iter().all(|(proposer, _)| round == 0 && *proposer != by);
                if is_first {
                    proposals.push((by, of));
                }
                is_first
            }
            Packet::Vote(kind, round, vote) => {
                let votes = self.votes.entry((round, by)).or_default();
                let slot = match (kind, vote) {
                    (VoteKind::Prevote, _) => &mut votes.prevote,
                    (VoteKind::Precommit, _) => &mut votes.precommit,
                    (VoteKind::Ready, Some(of)) => {
                        votes.ready.push(of);
                        return true;
                    }
                    (VoteKind::Ready, None) => return false,
                };
                let is_first = slot.is_none();
                slot.get_or_insert(vote);
                is_first
            }
        }
    }

    pub fn has_prevote(&self, round: Round, by: ValidatorIndex) -> bool {
        self.votes.get(&(round, by)).is_some_and(|votes| votes.prevote.is_some())
    }

    pub fn proposals(&self, round: Round) -> impl Iterator<Item = Name> {
        self.proposals.get(&round).into_iter().flatten().map(|(_, of)| *of)
    }

    /// L1: there was a polka of round 0, or `q_R` READYs of a later one.
    pub fn has_certificate(&self, round: Round, of: Name) -> bool {
        self.certificates.contains(&(round, of))
    }

    fn certifies(&self, round: Round, of: Name) -> bool {
        if round == 0 {
            self.count(round, |votes| votes.prevotes() == Some(Some(of))) >= self.quorum.votes()
        } else {
            self.count(round, |votes| votes.is_ready(of)) >= self.quorum.ready()
        }
    }

    /// A quorum of PREVOTEs or PRECOMMITs for nil.
    pub fn has_nil_quorum(&self, kind: VoteKind, round: Round) -> bool {
        let is_nil = |votes: &Votes| match kind {
            VoteKind::Precommit => votes.precommit == Some(None),
            _ => votes.prevotes() == Some(None),
        };
        self.count(round, is_nil) >= self.quorum.votes()
    }

    /// W2: a quorum has voted so in the round, or said more there or in a later one.
    pub fn has_left(&self, kind: VoteKind, round: Round) -> bool {
        let here = |votes: &Votes| votes.precommit.is_some() || (kind == VoteKind::Prevote && votes.prevote.is_some());
        let voted = |by: &ValidatorIndex| {
            self.votes.iter().any(|((at, voter), votes)| voter == by && (*at > round || *at == round && here(votes)))
        };
        self.validators().filter(voted).count() >= self.quorum.votes()
    }

    /// L5: `f + 1` others have voted in this round or a later one.
    pub fn takes_along(&self, round: Round, me: ValidatorIndex) -> bool {
        let voted = |by: &ValidatorIndex| self.votes.keys().any(|(at, voter)| voter == by && *at >= round);
        self.validators().filter(|by| *by != me && voted(by)).count() >= self.quorum.one_correct()
    }

    /// A voter whose PREVOTE and PRECOMMIT of the round speak of different things.
    pub fn is_mixed(&self, round: Round) -> bool {
        self.count(round, Votes::is_mixed) > 0
    }

    /// L4: `f + 1` PREVOTEs of round 0.
    pub fn is_vouched(&self, of: Name) -> bool {
        self.count(0, |votes| votes.prevotes() == Some(Some(of))) >= self.quorum.one_correct()
    }

    fn validators(&self) -> impl Iterator<Item = ValidatorIndex> + use<> {
        0..self.quorum.n as ValidatorIndex
    }

    fn count(&self, round: Round, is_so: impl Fn(&Votes) -> bool) -> usize {
        self.votes.iter().filter(|((at, _), votes)| *at == round && is_so(votes)).count()
    }
}
