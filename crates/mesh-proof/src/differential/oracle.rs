//! One validator of an engine that is not ours: Malachite's Tendermint, driven input by input.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arc_malachitebft_core_driver::{Driver, Input, Output};
use arc_malachitebft_core_types::{
    NilOrVal, PolkaCertificate, Round as OracleRound, SignedMessage, Threshold, ThresholdParams, Timeout, TimeoutKind,
    ValidatorSet, Validity, VoteType,
};
use device_chain::types::{Height, Round, ValidatorIndex};

use super::context::{Index, Members, Mesh, OneHeight, Proposed, Voted};
use crate::node::Name;

/// A vote for a value, or for nil.
pub type Vote = Option<Name>;

/// The first or the second vote of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Prevote.
    Prevote,
    /// Precommit.
    Precommit,
}

impl From<Kind> for VoteType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Prevote => Self::Prevote,
            Kind::Precommit => Self::Precommit,
        }
    }
}

/// A wait that the oracle has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// For a proposal.
    Propose,
    /// For prevotes.
    Prevote,
    /// For precommits.
    Precommit,
}

impl From<Wait> for TimeoutKind {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Propose => Self::Propose,
            Wait::Prevote => Self::Prevote,
            Wait::Precommit => Self::Precommit,
        }
    }
}

/// The engine in a validator's place.
pub struct Oracle {
    driver: Driver<Mesh>,
    height: Height,
    me: ValidatorIndex,
    votes: BTreeMap<(Round, Kind), Vote>,
    proposals: BTreeMap<Round, Vote>,
    waits: BTreeSet<(Round, Wait)>,
    decided: Option<Name>,
    /// The round that it is told to enter, where it wants to enter an earlier one.
    target: Round,
}

impl Oracle {
    /// One of so many, in round 0 of a height.
    pub fn new(validators: usize, height: Height, me: ValidatorIndex) -> Self {
        let members = Members::new(validators);
        let driver = Driver::new(Mesh, OneHeight, members, Index(me), ThresholdParams::default());
        let (votes, proposals, waits) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut oracle = Self { driver, height, me, votes, proposals, waits, decided: None, target: 0 };
        oracle.feed(oracle.begin(0));
        oracle
    }

    /// Whose turn it is. In round 0, where everybody may propose, the engine takes all proposals for this one's.
    pub fn proposer(&self, round: Round) -> ValidatorIndex {
        let validators = self.validators() as Height;
        let turn = if round == 0 { Height::from(self.me) + 1 } else { self.height + Height::from(round) };
        (turn % validators) as ValidatorIndex
    }

    /// The round it is in.
    pub fn round(&self) -> Round {
        self.driver.round().as_u32().unwrap_or_default() as Round
    }

    /// A vote of its own.
    pub fn vote_in(&self, round: Round, kind: Kind) -> Option<Vote> {
        self.votes.get(&(round, kind)).copied()
    }

    /// All votes of its own.
    pub fn votes(&self) -> impl Iterator<Item = (Round, Kind)> {
        self.votes.keys().copied()
    }

    /// What it wanted to propose in a round; nil is whatever it is given.
    pub fn proposal_in(&self, round: Round) -> Option<Vote> {
        self.proposals.get(&round).copied()
    }

    /// What it has decided.
    pub fn decided(&self) -> Option<Name> {
        self.decided
    }

    /// Whether it has begun to wait so in a round.
    pub fn has_begun(&self, round: Round, wait: Wait) -> bool {
        self.waits.contains(&(round, wait))
    }

    /// Whether it counts a quorum of votes for a value.
    pub fn has_quorum(&self, round: Round, kind: Kind, of: Name) -> bool {
        self.driver.votes().is_threshold_met(&at(round), kind.into(), Threshold::Value(of))
    }

    /// Whether it has a proof that the value got a polka in the round.
    pub fn has_polka(&self, round: Round, of: Name) -> bool {
        self.has_quorum(round, Kind::Prevote, of) || self.driver.polka_certificate(at(round), &of).is_some()
    }

    /// Whether it has heard the value proposed in the round.
    pub fn has_proposal(&self, round: Round, of: Name) -> bool {
        self.driver.valid_proposal_for_round_and_value(at(round), of).is_some()
    }

    /// It hears a proposal that claims a polka of an earlier round, or none.
    pub fn hear_proposal(&mut self, round: Round, of: Name, claims: Option<Round>) {
        let by = Index(self.proposer(round));
        let proposal = Proposed { round: at(round), of, claims: claims.map_or(OracleRound::Nil, at), by };
        self.feed(Input::Proposal(SignedMessage::new(proposal, ()), Validity::Valid));
    }

    /// It hears a vote.
    pub fn hear_vote(&mut self, kind: Kind, round: Round, by: ValidatorIndex, vote: Vote) {
        let vote =
            Voted { kind: kind.into(), round: at(round), of: vote.map_or(NilOrVal::Nil, NilOrVal::Val), by: Index(by) };
        self.feed(Input::Vote(SignedMessage::new(vote, ())));
    }

    /// It is shown a proof of a polka.
    pub fn hear_certificate(&mut self, round: Round, of: Name) {
        let (height, round, polka_signatures) = (OneHeight, at(round), Vec::new());
        self.feed(Input::PolkaCertificate(PolkaCertificate { height, round, value_id: of, polka_signatures }));
    }

    /// Time runs out for it.
    pub fn wait(&mut self, wait: Wait) {
        self.feed(Input::TimeoutElapsed(Timeout::new(self.driver.round(), wait.into())));
    }

    /// It goes on to a later round, whatever it waits for.
    pub fn go_on(&mut self, round: Round) {
        self.target = round;
        self.wait(Wait::Precommit);
    }

    fn validators(&self) -> usize {
        self.driver.validator_set().count()
    }

    fn begin(&self, round: Round) -> Input<Mesh> {
        Input::NewRound(OneHeight, at(round), Index(self.proposer(round)))
    }

    /// An input, and what the engine wants to be told because of it.
    fn feed(&mut self, input: Input<Mesh>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let outputs = self.driver.process(input).expect("it is told of this height and these validators only");
            for output in outputs {
                match output {
                    Output::NewRound(_, round) => inputs.push_back(self.begin(self.target.max(number(round)))),
                    Output::Vote(vote) => {
                        let kind = if vote.kind == VoteType::Prevote { Kind::Prevote } else { Kind::Precommit };
                        let of = if let NilOrVal::Val(of) = vote.of { Some(of) } else { None };
                        self.votes.insert((number(vote.round), kind), of);
                        inputs.push_back(Input::Vote(SignedMessage::new(vote, ())));
                    }
                    Output::Propose(proposal) => {
                        self.proposals.insert(number(proposal.round), Some(proposal.of));
                    }
                    Output::GetValue(_, round, _) => {
                        self.proposals.insert(number(round), None);
                    }
                    Output::Decide(_, proposal) => self.decided = Some(proposal.of),
                    Output::ScheduleTimeout(timeout) => {
                        let wait = match timeout.kind {
                            TimeoutKind::Propose => Wait::Propose,
                            TimeoutKind::Prevote => Wait::Prevote,
                            _ => Wait::Precommit,
                        };
                        self.waits.insert((number(timeout.round), wait));
                    }
                }
            }
        }
    }
}

fn at(round: Round) -> OracleRound {
    OracleRound::new(round.into())
}

fn number(round: OracleRound) -> Round {
    round.as_u32().unwrap_or_default() as Round
}
