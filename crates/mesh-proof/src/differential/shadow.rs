//! One of our nodes and an oracle in the same place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use device_chain::agreement::VoteKind;
use device_chain::quorum::Quorum;
use device_chain::types::{Height, Round, ValidatorIndex};
use fastrand::Rng;

use super::heard::Heard;
use super::oracle::{Kind, Oracle, Vote, Wait};
use crate::node::{Event, Name, Packet};

/// The intended differences (`docs/protocol.md`, deviations from the literature), as far as one node can show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deviation {
    /// L1: a node that refuses a proposal says nil only when its time is over; Tendermint says it at once.
    NilWaits,
    /// L1, T1: a node asks for no proof that comes with a proposal, unlocked for none at all.
    NoProofAsked,
    /// L1: a locked node looks at the certificates that it holds itself, not at the one that a proposal claims.
    OwnCertificate,
    /// C3, T2: from round 1 on a polka locks, unlocks and is proposed only when READYs have certified it.
    Ready,
    /// C2: a PRECOMMIT counts as PREVOTE, also beside another one, and its sender says no PREVOTE any more.
    PrecommitCounts,
    /// L2, C2: votes lock and decide also where the proposal of that round was not heard.
    NoProposalAsked,
    /// L5, W2: votes of any later rounds, and READYs, take along and end a wait.
    LaterRounds,
    /// W2: a quorum of nil PRECOMMITs ends the round at once.
    NilEndsRound,
    /// L6: who has decided precommits that in the rounds of the others.
    DecidedHelps,
    /// L4: what is proposed where nothing binds is what `f + 1` have prevoted, and Skip after round *n*.
    OffersVouched,
}

impl Deviation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NilWaits,
        Self::NoProofAsked,
        Self::OwnCertificate,
        Self::Ready,
        Self::PrecommitCounts,
        Self::NoProposalAsked,
        Self::LaterRounds,
        Self::NilEndsRound,
        Self::DecidedHelps,
        Self::OffersVouched,
    ];
}

/// What all comparisons came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Inputs after which all was compared.
    pub inputs: u64,
    /// The same votes, by round, PREVOTEs and PRECOMMITs.
    pub votes: BTreeMap<(Round, Kind), u64>,
    /// The same proposals as designated proposer.
    pub proposals: u64,
    /// The same entries into a round.
    pub rounds: u64,
    /// The same decisions.
    pub decisions: u64,
    /// Nodes that were compared no further, for an explained difference left the two locked or counting differently.
    pub parted: u64,
    /// Differences, by what explains them.
    pub deviations: BTreeMap<Deviation, u64>,
}

impl Tally {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.proposals += other.proposals;
        self.rounds += other.rounds;
        self.decisions += other.decisions;
        self.parted += other.parted;
        other.votes.into_iter().for_each(|(slot, count)| *self.votes.entry(slot).or_default() += count);
        other.deviations.into_iter().for_each(|(what, count)| *self.deviations.entry(what).or_default() += count);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |is_in: fn(&Round) -> bool| -> u64 {
            self.votes.iter().filter(|((round, _), _)| is_in(round)).map(|(_, count)| count).sum()
        };
        let (first, later) = (count(|round| *round == 0), count(|round| *round > 0));
        let Self { proposals, rounds, decisions, parted, .. } = self;
        write!(
            f,
            "{first} votes of round 0, {later} of later ones, {proposals} proposals, {rounds} rounds, {decisions} decisions; {parted} parted"
        )
    }
}

/// The two, and what they were told.
pub struct Shadow {
    me: ValidatorIndex,
    validators: usize,
    heard: Heard,
    oracle: Oracle,
    dice: Rng,
    /// Of the proposal of each round.
    claims: BTreeMap<Round, Option<Round>>,
    /// What our node has said and where it is.
    ours: BTreeMap<(Round, Kind), Vote>,
    round: Round,
    decided: Option<(Round, Name)>,
    /// Time has passed since the last comparison.
    has_waited: bool,
    /// A vote stays different, or both have decided: there is nothing more to compare.
    is_over: bool,
    compared: BTreeSet<(Round, Kind)>,
    explained: BTreeSet<(Round, Kind, Deviation)>,
    tally: Tally,
    unexplained: Option<String>,
}

impl Shadow {
    /// Of a node of so many that has heard nothing yet.
    #[must_use]
    pub fn new(validators: usize, height: Height, me: ValidatorIndex, seed: u64) -> Self {
        Self {
            me,
            validators,
            heard: Heard::new(Quorum::full(validators)),
            oracle: Oracle::new(validators, height, me),
            dice: Rng::with_seed(seed),
            claims: BTreeMap::new(),
            ours: BTreeMap::new(),
            round: 0,
            decided: None,
            has_waited: false,
            is_over: false,
            compared: BTreeSet::new(),
            explained: BTreeSet::new(),
            tally: Tally::default(),
            unexplained: None,
        }
    }

    /// Whether there is nothing more to compare.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over || self.unexplained.is_some()
    }

    /// What happens at the node. Before something new happens to it, all that it did is compared.
    pub fn watch(&mut self, event: &Event) {
        if self.is_over() {
            return;
        }
        match *event {
            Event::Hears(_, by, packet) => {
                self.compare();
                self.tell(by, packet);
            }
            Event::Waits(_) => {
                self.compare();
                self.has_waited = true;
            }
            Event::Says(_, packet) => self.says(packet),
            Event::Enters(_, round) => self.round = round,
            Event::Decides(_, round, of) => self.decided = Some((round, of)),
            Event::PowerCut(_) | Event::Hop => {}
        }
    }

    /// What the comparison came to.
    ///
    /// # Errors
    /// The first difference that nothing explains.
    pub fn end(mut self) -> Result<Tally, String> {
        self.compare();
        self.unexplained.map_or(Ok(self.tally), Err)
    }

    /// The oracle hears what the node hears.
    fn tell(&mut self, by: ValidatorIndex, packet: Packet) {
        if let Packet::Propose(round, _) = packet
            && round > 0
            && by != self.oracle.proposer(round)
        {
            return;
        }
        let had_prevoted = matches!(packet, Packet::Vote(_, round, _) if self.heard.has_prevote(round, by));
        if !self.heard.enter(by, packet) {
            return;
        }
        match packet {
            Packet::Propose(round, of) => {
                let claims = self.claim(round, of);
                self.claims.insert(round, claims);
                self.oracle.hear_proposal(round, of, claims);
            }
            Packet::Vote(VoteKind::Prevote, round, vote) => self.oracle.hear_vote(Kind::Prevote, round, by, vote),
            Packet::Vote(VoteKind::Precommit, round, vote) => {
                if vote.is_some() && !had_prevoted {
                    self.oracle.hear_vote(Kind::Prevote, round, by, vote);
                }
                self.oracle.hear_vote(Kind::Precommit, round, by, vote);
            }
            Packet::Vote(VoteKind::Ready, ..) => {}
        }
        self.certify(packet);
    }

    /// The oracle is shown what READYs have certified.
    fn certify(&mut self, packet: Packet) {
        if let Packet::Vote(_, round, Some(of)) = packet
            && round > 0
            && self.heard.has_certificate(round, of)
            && !self.oracle.has_polka(round, of)
        {
            self.oracle.hear_certificate(round, of);
        }
    }

    /// Which proof a proposal claims: mostly the newest that this node holds.
    fn claim(&mut self, round: Round, of: Name) -> Option<Round> {
        match self.dice.u8(..8) {
            _ if round == 0 => None,
            0 => None,
            1 => Some(self.dice.u8(..round)),
            _ => (0..round).rev().find(|before| self.heard.has_certificate(*before, of)),
        }
    }

    fn says(&mut self, packet: Packet) {
        match packet {
            Packet::Vote(VoteKind::Ready, ..) => {
                self.heard.enter(self.me, packet);
                self.certify(packet);
            }
            Packet::Vote(kind, round, vote) => {
                let kind = if kind == VoteKind::Prevote { Kind::Prevote } else { Kind::Precommit };
                let before = self.ours.insert((round, kind), vote);
                if before.is_some_and(|before| before != vote) {
                    self.fail(format!("two votes: {before:?} and {packet:?}"));
                }
                self.heard.enter(self.me, packet);
                self.certify(packet);
            }
            Packet::Propose(round, of) => {
                self.follow();
                self.proposes(round, of);
                self.tell(self.me, packet);
            }
        }
    }

    /// L4.
    fn proposes(&mut self, round: Round, of: Name) {
        if round == 0 || self.slots().any(|slot| self.has_parted(slot, round)) {
            return;
        }
        let theirs = self.oracle.proposal_in(round).flatten();
        let certified = (1..=round).any(|before| self.heard.has_certificate(before, of));
        let is_locked = self.lock_before(round).is_some_and(|(_, locked)| locked == of);
        match theirs {
            Some(theirs) if theirs == of => self.tally.proposals += 1,
            None if of == Name::Skip && !certified && !is_locked => self.tally.proposals += 1,
            None if !certified && !is_locked && self.heard.is_vouched(of) => self.note(Deviation::OffersVouched),
            _ if certified || is_locked => self.note(Deviation::Ready),
            Some(theirs)
                if (1..round)
                    .any(|at| self.oracle.has_polka(at, theirs) && !self.heard.has_certificate(at, theirs)) =>
            {
                self.note(Deviation::Ready);
            }
            // nothing binds the node: it offers what had a polka of round 0 only as something that is vouched for
            Some(theirs)
                if self.oracle.has_polka(0, theirs) && of == Name::Skip && usize::from(round) > self.validators =>
            {
                self.note(Deviation::OffersVouched);
            }
            Some(theirs) if self.oracle.has_polka(0, theirs) && self.heard.is_mixed(0) => {
                self.note(Deviation::PrecommitCounts);
            }
            _ => self.fail(format!("proposes {of} in round {round}, the oracle {theirs:?}")),
        }
    }

    /// Time, and what takes a node along: the oracle follows where it may.
    fn follow(&mut self) {
        loop {
            let round = self.oracle.round();
            self.give_up(round);
            if self.round <= round || self.unexplained.is_some() || self.oracle.decided().is_some() {
                break;
            }
            if self.heard.takes_along(self.round, self.me) {
                self.note(Deviation::LaterRounds);
                self.oracle.go_on(self.round);
            } else if self.heard.has_nil_quorum(VoteKind::Precommit, round) {
                self.note(Deviation::NilEndsRound);
                self.oracle.go_on(round + 1);
            } else if !self.has_waited {
                return self.fail(format!("leaves round {round} without a reason"));
            } else if self.oracle.has_begun(round, Wait::Precommit) {
                self.oracle.wait(Wait::Precommit);
                self.tally.rounds += 1;
            } else if self.heard.has_left(VoteKind::Precommit, round) {
                self.note(Deviation::LaterRounds);
                self.oracle.go_on(round + 1);
            } else {
                return self.fail(format!("leaves round {round} too soon"));
            }
        }
        if self.oracle.round() > self.round {
            self.fail(format!("stays in round {}, the oracle goes on to {}", self.round, self.oracle.round()));
        }
    }

    /// Nil votes of the node for which the oracle has to be told that time is over.
    fn give_up(&mut self, round: Round) {
        let [prevotes, precommits] = [Kind::Prevote, Kind::Precommit].map(|kind| self.votes_in((round, kind)));
        let is_late = prevotes.0 == Some(None) || precommits.0 == Some(None) && self.has_waited;
        if prevotes.1.is_none() && is_late {
            if !self.has_waited {
                return self.fail(format!("refuses in round {round} before time is over"));
            }
            self.oracle.wait(Wait::Propose);
        }
        let may_follow = self.oracle.vote_in(round, Kind::Prevote).is_some()
            && self.oracle.vote_in(round, Kind::Precommit).is_none();
        if precommits == (Some(None), None) && may_follow {
            let hopeless = self.heard.has_nil_quorum(VoteKind::Prevote, round);
            if !hopeless && !self.has_waited {
                return self.fail(format!("precommits nil in round {round} without a reason"));
            }
            if !self.oracle.has_begun(round, Wait::Prevote) {
                if !self.heard.has_left(VoteKind::Prevote, round) {
                    return self.fail(format!("precommits nil in round {round} too soon"));
                }
                self.note(Deviation::LaterRounds);
            }
            self.oracle.wait(Wait::Prevote);
        }
    }

    /// After an input and all that came of it.
    fn compare(&mut self) {
        if self.is_over() {
            return;
        }
        self.follow();
        self.has_waited = false;
        self.tally.inputs += 1;
        for (round, kind) in self.slots().collect::<BTreeSet<_>>() {
            let (ours, theirs) = self.votes_in((round, kind));
            if ours == theirs {
                let is_new = self.compared.insert((round, kind));
                *self.tally.votes.entry((round, kind)).or_default() += u64::from(is_new);
                continue;
            }
            // what is left behind was explained by what had been heard then
            if round >= self.round || !self.is_explained((round, kind)) {
                let Some(why) = self.explain(round, kind, ours, theirs) else {
                    return self.fail(format!("{kind:?} in round {round}: {ours:?}, the oracle {theirs:?}"));
                };
                if self.explained.insert((round, kind, why)) {
                    self.note(why);
                }
            }
            if self.has_parted((round, kind), self.round) {
                self.is_over = true;
                self.tally.parted += 1;
                return;
            }
        }
        self.compare_decisions();
    }

    fn slots(&self) -> impl Iterator<Item = (Round, Kind)> {
        self.ours.keys().copied().chain(self.oracle.votes())
    }

    fn votes_in(&self, slot: (Round, Kind)) -> (Option<Vote>, Option<Vote>) {
        (self.ours.get(&slot).copied(), self.oracle.vote_in(slot.0, slot.1))
    }

    /// Whether the two are locked differently, or count their own votes differently, from this vote on: both have cast it,
    /// or one has cast it for a value and the round is over.
    fn has_parted(&self, slot: (Round, Kind), round: Round) -> bool {
        let (ours, theirs) = self.votes_in(slot);
        let is_left = slot.0 < round && (ours.flatten().is_some() || theirs.flatten().is_some());
        ours != theirs && (is_left || ours.is_some() && theirs.is_some())
    }

    fn compare_decisions(&mut self) {
        let theirs = self.oracle.decided();
        match (self.decided, theirs) {
            (None, None) => return,
            (Some((_, ours)), Some(theirs)) if ours == theirs => self.tally.decisions += 1,
            // its own vote is not among theirs: that difference is explained already
            (Some((round, ours)), None)
                if self.oracle.vote_in(round, Kind::Precommit) != Some(Some(ours))
                    && self.is_explained((round, Kind::Precommit)) => {}
            (Some((round, ours)), None) if !self.oracle.has_proposal(round, ours) => {
                self.note(Deviation::NoProposalAsked)
            }
            (None, Some(theirs))
                if (0..=self.round).any(|round| {
                    self.oracle.vote_in(round, Kind::Precommit) == Some(Some(theirs))
                        && self.is_explained((round, Kind::Precommit))
                }) => {}
            (ours, theirs) => self.fail(format!("decided {ours:?}, the oracle {theirs:?}")),
        }
        self.is_over = true;
    }

    fn is_explained(&self, slot: (Round, Kind)) -> bool {
        self.explained.iter().any(|(round, kind, _)| (*round, *kind) == slot)
    }

    /// What it was locked on before this round.
    fn lock_before(&self, round: Round) -> Option<(Round, Name)> {
        let precommits = self.ours.range(..(round, Kind::Prevote)).rev();
        precommits.filter(|((_, kind), _)| *kind == Kind::Precommit).find_map(|((at, _), vote)| Some((*at, (*vote)?)))
    }

    /// The one deviation that explains why a vote is not the same; the first in this order.
    fn explain(&self, round: Round, kind: Kind, ours: Option<Vote>, theirs: Option<Vote>) -> Option<Deviation> {
        let found = match kind {
            Kind::Prevote => self.explain_prevote(round, ours, theirs),
            Kind::Precommit => self.explain_precommit(round, ours, theirs),
        };
        found.into_iter().find(|(_, holds)| *holds).map(|(why, _)| why)
    }

    fn explain_prevote(&self, round: Round, ours: Option<Vote>, theirs: Option<Vote>) -> Vec<(Deviation, bool)> {
        let lock = self.lock_before(round);
        let refuses = || lock.is_some_and(|(_, locked)| self.heard.proposals(round).any(|of| of != locked));
        let claimed = self.claims.get(&round).copied().flatten();
        let unproven = |of| claimed.is_some_and(|at| !self.oracle.has_polka(at, of));
        let holds = |of| lock.is_some_and(|(since, _)| (since..round).any(|at| self.heard.has_certificate(at, of)));
        let uncertified =
            |of| claimed.filter(|at| !self.heard.has_certificate(*at, of) && self.oracle.has_polka(*at, of));
        let is_uncertified = |of| uncertified(of).is_some_and(|at| at > 0);
        match (ours, theirs) {
            (None, Some(None)) => vec![(Deviation::NilWaits, refuses())],
            (None, Some(Some(of))) => {
                let beside = self.ours.contains_key(&(round, Kind::Precommit));
                vec![(Deviation::PrecommitCounts, beside), (Deviation::Ready, is_uncertified(of))]
            }
            (Some(Some(of)), None) => vec![(Deviation::NoProofAsked, unproven(of))],
            (Some(Some(of)), Some(None)) => {
                vec![(Deviation::OwnCertificate, holds(of)), (Deviation::NoProofAsked, unproven(of))]
            }
            (Some(None), Some(Some(of))) => {
                let mixed = uncertified(of) == Some(0) && self.heard.is_mixed(0);
                vec![(Deviation::PrecommitCounts, mixed), (Deviation::Ready, is_uncertified(of))]
            }
            _ => Vec::new(),
        }
    }

    fn explain_precommit(&self, round: Round, ours: Option<Vote>, theirs: Option<Vote>) -> Vec<(Deviation, bool)> {
        let prevoted = [self.ours.get(&(round, Kind::Prevote)).copied(), self.oracle.vote_in(round, Kind::Prevote)];
        let mixed = self.heard.is_mixed(round);
        match (ours, theirs) {
            (Some(Some(of)), _) => {
                let sound = self.heard.has_certificate(round, of);
                let helps = self.decided.is_some_and(|(at, decided)| at < round && decided == of);
                vec![
                    (Deviation::DecidedHelps, helps),
                    (Deviation::NoProposalAsked, sound && !self.oracle.has_proposal(round, of)),
                    (
                        Deviation::NoProofAsked,
                        sound && prevoted[1].is_none() && self.claims.get(&round).is_some_and(Option::is_some),
                    ),
                    (Deviation::NilWaits, sound && prevoted[0].is_none() && theirs == Some(None)),
                    (Deviation::PrecommitCounts, sound && mixed && !self.oracle.has_quorum(round, Kind::Prevote, of)),
                ]
            }
            (_, Some(Some(of))) => vec![
                (Deviation::Ready, round > 0 && !self.heard.has_certificate(round, of)),
                (Deviation::PrecommitCounts, round == 0 && mixed && !self.heard.has_certificate(round, of)),
            ],
            (None, Some(None)) => {
                let counts = mixed && !self.heard.has_nil_quorum(VoteKind::Prevote, round);
                vec![(Deviation::NilWaits, prevoted[0].is_none()), (Deviation::PrecommitCounts, counts)]
            }
            (Some(None), None) => vec![(Deviation::NoProofAsked, prevoted[1].is_none())],
            _ => Vec::new(),
        }
    }

    fn note(&mut self, why: Deviation) {
        *self.tally.deviations.entry(why).or_default() += 1;
    }

    fn fail(&mut self, what: String) {
        self.unexplained.get_or_insert(what);
    }
}
