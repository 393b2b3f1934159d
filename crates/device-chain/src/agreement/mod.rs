//! Agreement on one height: which vote to cast, when to lock, when to decide. `docs/protocol.md` chapter 3.
//!
//! Pure bookkeeping over *verified* votes: keys, bytes, flash and peers are the business of [`crate::validator`].
//! The rules M, C and L are those of the specification. Safety in three lines: at most one vote per (voter, round,
//! kind) counts (C1); two quorums share a correct member (DC-10), so one round has one polka; a lock yields only to a
//! newer certificate (L1, L3), so a decided value is the only one that a later round can certify.

mod proposals;
mod rules;
#[cfg(test)]
pub(crate) mod tests;
mod values;
mod votes;

use core::cell::OnceCell;

use heapless::Vec;
use serde::{Deserialize, Serialize};

pub use proposals::{Standing, Standings};
pub use values::Value;
use values::Values;
pub use votes::Ballot;

use crate::flaw::Flaw;
use crate::limits::{MAX_ROUNDS, MAX_VALIDATORS, MAX_VALUES};
use crate::members::Members;
use crate::quorum::Quorum;
use crate::tx::nil_subject;
use crate::types::{Hash, Height, Micros, Round, ValidatorIndex};

/// Kinds of votes (M1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VoteKind {
    /// First vote of a round.
    Prevote,
    /// Amplification in rounds from 1 on (C3).
    Ready,
    /// Second vote: this value is locked here.
    Precommit,
}

/// A place in [`Instance::values`].
pub type ValueId = u8;

/// What an instance wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the vote durable (P1), then send it. `None` is nil.
    Vote(VoteKind, Round, Option<ValueId>),
    /// This node is the designated proposer of the round: propose; the instance names the value that the rules
    /// demand (L4), `None` is for a value that everybody accepts.
    Propose(Round, Option<ValueId>),
    /// A quorum precommitted the value in the round (C2).
    Decided(Round, ValueId),
    /// First-hand proof that the voter voted twice in one slot (C1).
    Equivocation(ValidatorIndex),
}

/// Most actions of one call of [`Instance::progress`]; a full list means that there may be more to do.
pub const MAX_ACTIONS: usize = 4;
/// Actions of one call.
pub type Actions = Vec<Action, MAX_ACTIONS>;

/// After this round each wait is four times as long as the one before.
const LAST_ROUNDS: Round = MAX_ROUNDS as Round - 16;

/// Times of an instance, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Bound Δ of one phase (W1).
    pub phase_us: u32,
}

impl Timeouts {
    /// Time for one kind of votes in `round`: 2 Δ, doubling up to 32-fold; in the last rounds it grows again, so that
    /// who destroys every proposal until no round is left needs decades (W2).
    #[must_use]
    pub fn of(self, round: Round) -> u64 {
        let round = round.min(MAX_ROUNDS as Round - 1);
        let doublings = round.min(5) + 2 * round.saturating_sub(LAST_ROUNDS);
        (2 * u64::from(self.phase_us)).saturating_mul(1 << doublings)
    }

    /// Time for a proposal in `round`: whom liars keep from a quorum of nil comes into it later than others, by the
    /// whole wait for precommits of the round before, and may be the one to propose (W2).
    #[must_use]
    pub fn of_proposal(self, round: Round) -> u64 {
        self.of(round).saturating_add(round.checked_sub(1).map_or(0, |before| self.of(before)))
    }
}

/// What was at work at one height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtHeight {
    /// L5.
    pub taken_along: bool,
    /// L7.
    pub left_alone: bool,
    /// V2.
    pub vouched: bool,
    /// F1, F2.
    pub set_aside: bool,
}

/// The agreement on one height.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub struct Instance {
    height: Height,
    parent: Hash,
    /// What tags of votes for nil cover, once there is one.
    nil: OnceCell<Hash>,
    me: ValidatorIndex,
    quorum: Quorum,
    /// Whose votes and proposals count (R1).
    members: Members,
    timeouts: Timeouts,
    /// An amnesiac listens and casts nothing (P5).
    may_vote: bool,
    values: Values,
    ballots: [Ballot; MAX_ROUNDS],
    /// Values proposed per round by its designated proposer; of round 0, where everybody may propose, unused.
    proposals: [Option<ValueId>; MAX_ROUNDS],
    /// Values proposed in round 0, first seen first.
    open: Vec<ValueId, MAX_VALUES>,
    /// What each validator has proposed in round 0.
    openers: [Option<ValueId>; MAX_VALIDATORS],
    /// Who has: one proposal counts (F3), also when its value had to go.
    have_opened: Members,
    standings: Standings,
    /// This node's own proposal of round 0.
    own_proposal: Option<ValueId>,
    /// This node prevoted a proposal that was set aside, because nobody better came in time.
    waited_in_vain: bool,
    round: Round,
    /// Highest round with a vote: nothing needs to be looked for above it.
    top: Round,
    lock: Option<(Round, ValueId)>,
    decided: Option<(Round, ValueId)>,
    proposed: bool,
    /// How often the time is doubled for which fewer than f + 1 voters are left alone; `None` is for ever (L7).
    reluctance: Option<u32>,
    /// Until when fewer than f + 1 voters are left alone, and whether that time is over.
    lonely_until: Option<Micros>,
    stirred: bool,
    /// When something was first heard of this height.
    begun: Option<Micros>,
    /// Own votes came from the journal.
    restored: bool,
    /// What the rules look at has changed since they were tried: set by whatever changes it.
    news: bool,
    /// When to give up waiting for a proposal, prevotes or precommits of this round.
    propose_until: Option<Micros>,
    prevote_until: Option<Micros>,
    precommit_until: Option<Micros>,
    workings: AtHeight,
}

impl Instance {
    /// Of no height yet. All zeros, as memory is when the power comes.
    #[must_use]
    pub const fn idle() -> Self {
        Self {
            height: 0,
            parent: Hash::NIL,
            nil: OnceCell::new(),
            me: 0,
            quorum: Quorum { n: 0, f: 0 },
            members: Members::NONE,
            timeouts: Timeouts { phase_us: 0 },
            may_vote: false,
            values: Values::NONE,
            ballots: [Ballot::EMPTY; MAX_ROUNDS],
            proposals: [None; MAX_ROUNDS],
            open: Vec::new(),
            openers: [None; MAX_VALIDATORS],
            have_opened: Members::NONE,
            standings: [Standing { has_won: false, set_aside: false }; MAX_VALIDATORS],
            own_proposal: None,
            waited_in_vain: false,
            round: 0,
            top: 0,
            lock: None,
            decided: None,
            proposed: false,
            reluctance: None,
            lonely_until: None,
            stirred: false,
            begun: None,
            restored: false,
            news: false,
            propose_until: None,
            prevote_until: None,
            precommit_until: None,
            workings: AtHeight { taken_along: false, left_alone: false, vouched: false, set_aside: false },
        }
    }

    /// A height on which nothing was heard yet, of the first `quorum.n` validators.
    #[must_use]
    pub fn new(height: Height, parent: Hash, me: ValidatorIndex, quorum: Quorum, timeouts: Timeouts) -> Self {
        let mut instance = Self::idle();
        instance.begin(height, parent, me, quorum, timeouts);
        instance
    }

    /// Becomes such a one in its place, for it is too large to be moved about on a chip. Every field is named, so that none can
    /// be forgotten.
    pub fn begin(&mut self, at: Height, after: Hash, who: ValidatorIndex, full: Quorum, times: Timeouts) {
        let Self { height, parent, nil, me, quorum, members, timeouts, may_vote, reluctance, .. } = self;
        (*height, *parent, *nil, *me) = (at, after, OnceCell::new(), who);
        (*quorum, *members, *timeouts) = (full, Members::all(full.n), times);
        (*may_vote, *reluctance) = (true, Some(0));

        let Self {
            height: _,
            parent: _,
            nil: _,
            me: _,
            quorum: _,
            members: _,
            timeouts: _,
            may_vote: _,
            reluctance: _,
            values,
            ballots,
            proposals,
            open,
            openers,
            have_opened,
            standings,
            own_proposal,
            waited_in_vain,
            round,
            top,
            lock,
            decided,
            proposed,
            lonely_until,
            stirred,
            begun,
            restored,
            news,
            propose_until,
            prevote_until,
            precommit_until,
            workings,
        } = self;
        values.clear();
        open.clear();
        proposals.fill(None);
        openers.fill(None);
        ballots.iter_mut().take(usize::from(*top) + 1).for_each(|voted| *voted = Ballot::EMPTY);
        (*have_opened, *standings) = (Members::NONE, Standings::default());
        (*own_proposal, *waited_in_vain, *proposed, *stirred, *restored) = (None, false, false, false, false);
        (*round, *top, *lock, *decided, *news) = (0, 0, None, None, false);
        (*lonely_until, *begun) = (None, None);
        (*propose_until, *prevote_until, *precommit_until) = (None, None, None);
        *workings = AtHeight::default();
    }

    /// The height.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Hash of the decision before.
    #[must_use]
    pub const fn parent(&self) -> &Hash {
        &self.parent
    }

    /// What the tag of a vote for `value` covers; [`Hash::NIL`] is nil (M2).
    #[must_use]
    pub fn subject(&self, value: &Hash) -> Hash {
        if *value == Hash::NIL { *self.nil.get_or_init(|| nil_subject(&self.parent)) } else { *value }
    }

    /// When something was first heard of this height here; `None` also if its votes come from the journal.
    #[must_use]
    pub const fn begun(&self) -> Option<Micros> {
        self.begun
    }

    /// The round this node is in.
    #[must_use]
    pub const fn round(&self) -> Round {
        self.round
    }

    /// Which rules that nobody outside can see were at work.
    #[must_use]
    pub const fn workings(&self) -> AtHeight {
        self.workings
    }

    /// What was decided, and in which round.
    #[must_use]
    pub fn decided(&self) -> Option<(Round, &Value)> {
        self.decided.and_then(|(round, id)| Some((round, self.value(id)?)))
    }

    /// What this node is locked on.
    #[must_use]
    pub fn lock(&self) -> Option<(Round, &Value)> {
        self.lock.and_then(|(round, id)| Some((round, self.value(id)?)))
    }

    /// Values known, in the order in which they were heard of.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        self.values.all()
    }

    /// A value by its place.
    #[must_use]
    pub fn value(&self, id: ValueId) -> Option<&Value> {
        self.values().get(usize::from(id))
    }

    /// Its canonical transaction.
    #[must_use]
    pub fn transaction(&self, id: ValueId) -> Option<&[u8]> {
        self.values.text(id)
    }

    /// Values that a hint may mean.
    pub fn hinted(&self, hint: u16) -> impl Iterator<Item = ValueId> {
        (0..)
            .zip(self.values())
            .filter(move |(_, value)| value.hash.hint() == hint && !value.is_gone())
            .map(|(id, _)| id)
    }

    /// The place of a value.
    #[must_use]
    pub fn find(&self, hash: &Hash) -> Option<ValueId> {
        self.values().iter().position(|value| value.hash == *hash).map(|at| at as ValueId)
    }

    /// Own votes of a kind, as `(round, value)`.
    pub fn own_votes(&self, kind: VoteKind) -> impl Iterator<Item = (Round, Option<ValueId>)> {
        let mine = self.me;
        (0..).zip(&self.ballots).flat_map(move |(round, ballot)| ballot.of(kind, mine).map(move |value| (round, value)))
    }

    /// Whose votes count (R1).
    #[must_use]
    pub const fn members(&self) -> Members {
        self.members
    }

    /// Who votes, if not all validators do (R1), and how many of them are enough.
    pub fn set_members(&mut self, members: Members, quorum: Quorum) {
        (self.members, self.quorum, self.news) = (members, quorum, true);
    }

    /// Forbids or allows casting votes (P5).
    pub fn set_may_vote(&mut self, may_vote: bool) {
        (self.may_vote, self.news) = (may_vote, true);
    }

    /// How often the time is doubled for which few voters are left alone; `None` is for ever (L7).
    pub fn set_reluctance(&mut self, doublings: Option<u32>) {
        (self.reluctance, self.news) = (doublings, true);
    }

    /// This node saw the evidence for a value.
    pub fn set_evident(&mut self, id: ValueId) {
        if let Some(value) = self.values.get_mut(id) {
            (value.evident, self.news) = (true, true);
        }
    }

    /// Remembers a value and its canonical transaction; a known one keeps its place and gains the evidence. `None` when
    /// the table is full of values that must be kept.
    pub fn add_value(&mut self, value: Value, transaction: &[u8]) -> Option<ValueId> {
        if let Some(id) = self.find(&value.hash) {
            if value.evident {
                self.set_evident(id);
            }
            return Some(id);
        }
        self.news = true;
        self.values.push(value, transaction).or_else(|| {
            self.ids().find(|id| {
                let may_go = !self.is_kept(*id);
                if may_go {
                    self.forget(*id);
                }
                may_go && self.values.replace(*id, value, transaction)
            })
        })
    }

    /// A value that this node voted for or proposed, may have to vote for, or that a correct voter vouches for. Others
    /// may go, and the votes for them: f liars could fill the table with values that only they vote for.
    fn is_kept(&self, id: ValueId) -> bool {
        self.lock.is_some_and(|(_, locked)| locked == id)
            || self.decided.is_some_and(|(_, decided)| decided == id)
            || self.proposals.iter().skip(usize::from(self.round)).take(2).any(|p| *p == Some(id))
            || self.own_proposal == Some(id)
            || self.seen(0).iter().any(|ballot| ballot.is_for(self.me, id))
            || self.voters_for(id) >= self.quorum.one_correct()
    }

    /// As if nothing had been heard of the value: a loss, which retransmission repairs.
    fn forget(&mut self, id: ValueId) {
        self.open.retain(|open| *open != id);
        for opener in &mut self.openers {
            opener.take_if(|proposed| *proposed == id);
        }
        for proposal in &mut self.proposals {
            proposal.take_if(|proposed| *proposed == id);
        }
        for ballot in &mut self.ballots {
            ballot.forget(id);
        }
    }

    /// A verified vote of another validator (C1). A second, different one is reported and does not count.
    pub fn on_vote(
        &mut self,
        kind: VoteKind,
        round: Round,
        voter: ValidatorIndex,
        value: Option<ValueId>,
        out: &mut Actions,
    ) {
        let counts = usize::from(round) < MAX_ROUNDS && self.members.contains(voter);
        if counts && !self.record(kind, round, voter, value) {
            let _ = out.push(Action::Equivocation(voter));
        }
    }

    fn record(&mut self, kind: VoteKind, round: Round, voter: ValidatorIndex, value: Option<ValueId>) -> bool {
        (self.top, self.news) = (self.top.max(round), true);
        self.ballots[usize::from(round)].record(kind, voter, value)
    }

    /// Puts back an own vote from the journal. Restores the lock that a precommit stands for (P1, P2).
    pub fn restore_vote(&mut self, kind: VoteKind, round: Round, value: Option<ValueId>) {
        let forgotten = match kind {
            VoteKind::Prevote => Flaw::PrevotesForgotten.is_at_work(),
            VoteKind::Ready => Flaw::ReadiesForgotten.is_at_work(),
            VoteKind::Precommit => false,
        };
        if usize::from(round) >= MAX_ROUNDS || forgotten {
            return;
        }
        self.restored = true;
        self.record(kind, round, self.me, value);
        self.round = self.round.max(round);
        if let (VoteKind::Precommit, Some(id)) = (kind, value)
            && self.lock.is_none_or(|(locked, _)| locked < round)
            && !Flaw::LockForgotten.is_at_work()
        {
            self.lock = Some((round, id));
        }
    }

    /// Whether own votes were put back.
    #[must_use]
    pub const fn has_restored(&self) -> bool {
        self.restored
    }

    /// C5: f + 1 validators say that this was decided, or the journal does.
    pub fn adopt(&mut self, id: ValueId) {
        self.decided.get_or_insert((self.round, id));
        self.news = true;
    }

    /// The designated proposer of a round from 1 on (L4).
    #[must_use]
    pub fn proposer(&self, round: Round) -> ValidatorIndex {
        let turn = (u64::from(self.height) + u64::from(round)).checked_rem(self.quorum.n as u64).unwrap_or_default();
        self.members.iter().nth(turn as usize).unwrap_or_default()
    }

    /// Whether there is anything to agree on: a value that may be voted for, or f + 1 voters, one of them correct, or
    /// fewer who have waited long enough.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.round > 0
            || self.stirred
            || self.ids().any(|id| self.is_valid(id))
            || self.voters_from(0).count() >= self.quorum.one_correct()
    }

    /// Whether a quorum of *others* precommitted what is decided: nobody needs this node's votes any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.decided.is_some_and(|(round, id)| {
            let ballot = &self.ballots[usize::from(round)];
            let mine = ballot.of(VoteKind::Precommit, self.me) == Some(Some(id));
            ballot.precommits(Some(id)) >= self.quorum.votes() + usize::from(mine)
        })
    }

    /// Whether an own vote of the round is only for those who have not decided (L6).
    #[must_use]
    pub fn is_help(&self, round: Round) -> bool {
        self.decided.is_some_and(|(decided, _)| decided < round)
    }

    /// V1, V2, V3: the chain allows it in this round, and this node or one correct voter has seen the evidence.
    #[must_use]
    pub fn is_valid(&self, id: ValueId) -> bool {
        let Some(value) = self.value(id) else { return false };
        value.allowed_from.is_some_and(|first| first <= self.round)
            && (value.evident || self.voters_for(id) >= self.quorum.one_correct() || Flaw::NoEvidence.is_at_work())
    }

    /// Validators other than this one with a vote of any kind for the value.
    fn voters_for(&self, id: ValueId) -> usize {
        self.members
            .iter()
            .filter(|voter| *voter != self.me && self.seen(0).iter().any(|ballot| ballot.is_for(*voter, id)))
            .count()
    }

    /// Other validators with a vote in `round` or a later one.
    fn voters_from(&self, round: Round) -> impl Iterator<Item = ValidatorIndex> {
        self.members
            .iter()
            .filter(move |voter| *voter != self.me && self.seen(round).iter().any(|ballot| ballot.has_vote(*voter)))
    }

    /// Rounds from `round` on in which somebody voted.
    fn seen(&self, round: Round) -> &[Ballot] {
        self.ballots.get(usize::from(round)..=usize::from(self.top)).unwrap_or(&[])
    }

    /// When [`Instance::progress`] must be called next, if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        if self.decided.is_some() {
            return None;
        }
        let votes = [self.lonely_until.filter(|_| !self.stirred), self.propose_until, self.prevote_until];
        let votes = if self.may_vote { votes } else { [None; 3] };
        votes.into_iter().chain([self.precommit_until]).flatten().min()
    }
}
