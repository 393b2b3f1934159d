//! The rules, tried in order until none applies. Each is one function and one number of the specification.

use super::{Action, Actions, Instance, ValueId, VoteKind};
use crate::flaw::Flaw;
use crate::limits::MAX_ROUNDS;
use crate::types::{Micros, Round, ValidatorIndex};

/// Round whose wait, 64 Δ, a lonely voter has to bear (L7).
const LONELY_ROUND: Round = 5;

impl Instance {
    /// Does everything that the verified votes and the time now allow. Where nothing is new and no time is over, that is
    /// nothing.
    pub fn progress(&mut self, now: Micros, out: &mut Actions) {
        if !self.news && self.deadline().is_none_or(|due| due > now) {
            return;
        }
        // a height from the journal began at another time
        if self.begun.is_none() && !self.restored && (!self.values().is_empty() || self.voters_from(0).next().is_some())
        {
            self.begun = Some(now);
        }
        if Flaw::DecidedLeave.is_at_work() && self.decided.is_some() {
            return;
        }
        while !out.is_full()
            && (self.decide(out)
                || self.jump(now)
                || self.stir(now)
                || self.propose(out)
                || self.amplify(out)
                || self.precommit(out)
                || self.prevote(now, out)
                || self.give_up(now, out)
                || self.next_round(now))
        {}
        self.news = out.is_full(); // there may be more to do
    }

    fn cast(&mut self, kind: VoteKind, round: Round, value: Option<ValueId>, out: &mut Actions) -> bool {
        if !self.may_vote {
            return false;
        }
        self.record(kind, round, self.me, value);
        let _ = out.push(Action::Vote(kind, round, value));
        true
    }

    fn has_cast(&self, kind: VoteKind, round: Round) -> bool {
        self.ballots[usize::from(round)].of(kind, self.me).is_some()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        0..self.values().len() as ValueId
    }

    /// C2, polka: a quorum of prevotes for one value in one round.
    fn polka(&self, round: Round, id: ValueId) -> bool {
        self.ballots[usize::from(round)].prevotes(Some(id)) >= self.quorum.votes()
    }

    /// L1, certificate: a polka of round 0, or q_R READYs of a later round.
    pub(super) fn certificate(&self, round: Round, id: ValueId) -> bool {
        if round == 0 || Flaw::PolkaCertifies.is_at_work() {
            self.polka(round, id)
        } else {
            self.ballots[usize::from(round)].readies(id) >= self.quorum.ready()
        }
    }

    /// C2: a quorum of precommits of one round decides, whatever round this node is in.
    fn decide(&mut self, out: &mut Actions) -> bool {
        if self.decided.is_some() {
            return false;
        }
        let found = (0..=self.top).find_map(|round| {
            let ballot = &self.ballots[usize::from(round)];
            let id = self.ids().find(|id| ballot.precommits(Some(*id)) >= self.quorum.votes())?;
            Some((round, id))
        });
        let Some((round, id)) = found else { return false };
        self.decided = Some((round, id));
        let _ = out.push(Action::Decided(round, id));
        true
    }

    /// L5: f + 1 voters in a higher round, one of them correct, take this node along.
    fn jump(&mut self, now: Micros) -> bool {
        let enough = if Flaw::OneTakesAlong.is_at_work() { 1 } else { self.quorum.one_correct() };
        let higher = (self.round + 1..=self.top).rev().find(|round| self.voters_from(*round).count() >= enough);
        self.workings.taken_along |= higher.is_some();
        higher.is_some_and(|round| self.enter(round, now))
    }

    /// L7: a vote for what only up to f nodes have evidence of would bind its voter to this height until others have
    /// something to agree on. So the height begins without them, but so seldom that a liar gains nothing.
    fn stir(&mut self, now: Micros) -> bool {
        let alone = !self.is_active() && self.voters_from(0).next().is_some();
        let Some(doublings) = self.reluctance.filter(|_| alone) else {
            self.lonely_until = None;
            return false;
        };
        let until = *self.lonely_until.get_or_insert(now.plus(self.timeouts.of(LONELY_ROUND) << doublings));
        self.stirred = until <= now;
        self.workings.left_alone = true;
        self.stirred
    }

    fn enter(&mut self, round: Round, now: Micros) -> bool {
        self.round = round;
        self.proposed = false;
        self.propose_until = Some(now.plus(self.timeouts.of_proposal(round)));
        self.prevote_until = None;
        self.precommit_until = None;
        true
    }

    /// L4: the designated proposer of a later round proposes its newest certificate, its lock, or what most voted for
    /// in round 0. Who has decided proposes that (L6).
    fn propose(&mut self, out: &mut Actions) -> bool {
        if self.round == 0 || self.proposed || !self.may_vote || self.proposer(self.round) != self.me {
            return false;
        }
        self.proposed = true;
        let decided = self.decided.map(|(_, id)| id);
        let choice =
            decided.or_else(|| self.newest_certificate()).or(self.lock.map(|(_, id)| id)).or_else(|| self.most_voted());
        let _ = out.push(Action::Propose(self.round, choice));
        true
    }

    fn newest_certificate(&self) -> Option<ValueId> {
        (1..=self.round).rev().find_map(|round| self.ids().find(|id| self.certificate(round, *id)))
    }

    /// Only what f + 1 voted for can be accepted by those without evidence; and only until everybody had a turn, for
    /// liars may have voted for another value at each proposer.
    fn most_voted(&self) -> Option<ValueId> {
        let votes = |id: &ValueId| self.ballots[0].prevotes(Some(*id));
        let vouched = |id: &ValueId| self.is_valid(*id) && votes(id) >= self.quorum.one_correct();
        self.ids().filter(vouched).max_by_key(votes).filter(|_| usize::from(self.round) <= self.quorum.n)
    }

    /// C3 and M5: READY on a polka or on f + 1 READYs, in every round from 1 on, also in past ones.
    fn amplify(&mut self, out: &mut Actions) -> bool {
        let due = (1..=self.round).find_map(|round| {
            let ballot = &self.ballots[usize::from(round)];
            let id = self.ids().find(|id| {
                let enough = self.polka(round, *id) || ballot.readies(*id) >= self.quorum.one_correct();
                enough && !ballot.is_ready(self.me, *id)
            })?;
            Some((round, id))
        });
        due.is_some_and(|(round, id)| self.cast(VoteKind::Ready, round, Some(id), out))
    }

    /// L2: lock and precommit on a polka in round 0, on a certificate in later rounds. Who has decided precommits that
    /// in every round that the others come to, the present one included (L6): nothing else can be decided any more, and
    /// those who could not check a liar's vote need this one. Where nobody votes, nobody needs it.
    fn precommit(&mut self, out: &mut Actions) -> bool {
        let round = self.round;
        if self.has_cast(VoteKind::Precommit, round) {
            return false;
        }
        let certified = || self.ids().find(|id| self.certificate(round, *id));
        let needed = |_: &(Round, ValueId)| self.voters_from(0).next().is_some();
        let Some(id) = self.decided.filter(needed).map(|(_, id)| id).or_else(certified) else { return false };
        if !self.cast(VoteKind::Precommit, round, Some(id), out) {
            return false;
        }
        self.lock = Some((round, id));
        true
    }

    /// L6: who has decided precommits that also in the rounds that others have come to without it. Up to f of them, who
    /// could not check a liar's vote, are too few to take it along (L5). One round at a time, the lowest first.
    pub fn help(&mut self, out: &mut Actions) {
        let Some((decided, id)) = self.decided.filter(|_| !Flaw::DecidedLeave.is_at_work()) else { return };
        let missed = (decided + 1..=self.top).find(|round| !self.has_cast(VoteKind::Precommit, *round));
        if let Some(round) = missed {
            self.cast(VoteKind::Precommit, round, Some(id), out);
        }
    }

    /// L1: prevote the first valid proposal of round 0 that is not set aside (F1, F2), or the designated proposer's of a later round, unless locked on
    /// another value without a newer certificate.
    fn prevote(&mut self, now: Micros, out: &mut Actions) -> bool {
        let round = self.round;
        if self.decided.is_some()
            || self.has_cast(VoteKind::Prevote, round)
            || self.has_cast(VoteKind::Precommit, round)
        {
            return false;
        }
        // round 0 has no beginning but the first thing heard; a later round was entered, or came from the journal
        if self.propose_until.is_none() && self.is_active() {
            self.propose_until = Some(now.plus(self.timeouts.of_proposal(round)));
        }
        let late = self.propose_until.is_some_and(|until| until <= now);
        let choice = match round {
            0 => self.open.iter().copied().find(|id| self.accepts(*id) && (late || !self.is_set_aside(*id))),
            _ => self.proposals[usize::from(round)].filter(|id| self.accepts(*id)),
        };
        // what is set aside first is looked at again when the time is over
        self.workings.set_aside |=
            round == 0 && self.open.iter().any(|id| self.is_valid(*id) && self.is_set_aside(*id));
        self.workings.vouched |= choice.and_then(|id| self.value(id)).is_some_and(|value| !value.evident);
        let in_vain = round == 0 && choice.is_some_and(|id| self.is_set_aside(id));
        let voted = choice.is_some() && self.cast(VoteKind::Prevote, round, choice, out);
        self.waited_in_vain |= in_vain && voted;
        voted
    }

    /// L1. An unlocked node never asks for a certificate: with MACs that would stall (T1).
    fn accepts(&self, id: ValueId) -> bool {
        let certified = |since: Round| (since..self.round).any(|round| self.certificate(round, id));
        let free = match self.lock {
            None => !Flaw::ProofFromAll.is_at_work() || self.is_new(id) || certified(0),
            Some((_, locked)) if locked == id => true,
            Some(_) if Flaw::OldProofUnlocks.is_at_work() => certified(0),
            Some((since, _)) => certified(since),
        };
        free && self.is_valid(id)
    }

    /// Whether nobody has voted for it in an earlier round: what [`Flaw::ProofFromAll`] takes without proof.
    fn is_new(&self, id: ValueId) -> bool {
        self.ballots[..usize::from(self.round)].iter().all(|ballot| ballot.prevotes(Some(id)) == 0)
    }

    /// Nil votes: no acceptable proposal in time, or a quorum of prevotes without a polka in time.
    fn give_up(&mut self, now: Micros, out: &mut Actions) -> bool {
        if self.decided.is_some() {
            return false;
        }
        let round = self.round;
        let over = |until: Option<Micros>| until.is_some_and(|until| until <= now);
        if !self.has_cast(VoteKind::Prevote, round) && !self.has_cast(VoteKind::Precommit, round) {
            return over(self.propose_until) && self.cast(VoteKind::Prevote, round, None, out);
        }
        self.propose_until = None;
        if self.has_cast(VoteKind::Precommit, round) {
            self.prevote_until = None;
            return false;
        }
        if self.has_heard_quorum(VoteKind::Prevote) && self.prevote_until.is_none() {
            // READYs take one more hop than prevotes
            let phases = if round == 0 { 1 } else { 2 };
            self.prevote_until = Some(now.plus(self.timeouts.of(round).saturating_mul(phases)));
        }
        let hopeless = self.ballots[usize::from(round)].prevotes(None) >= self.quorum.votes();
        (hopeless || over(self.prevote_until)) && self.cast(VoteKind::Precommit, round, None, out)
    }

    /// W2: whether the wait for votes of a kind may begin. Who votes in a later round has left this one, perhaps without a
    /// vote in it, and will say no more here: without counting it, those left behind would wait for ever.
    fn has_heard_quorum(&self, kind: VoteKind) -> bool {
        let voted = |voter: &ValidatorIndex| {
            // who precommits has prevoted: that prevote may be lost
            let here = &self.ballots[usize::from(self.round)];
            here.of(kind, *voter).is_some()
                || here.of(VoteKind::Precommit, *voter).is_some()
                || self.seen(self.round + 1).iter().any(|later| later.has_vote(*voter))
        };
        self.members.iter().filter(voted).count() >= self.quorum.votes()
    }

    /// A quorum of precommits without a decision in time: the next round.
    fn next_round(&mut self, now: Micros) -> bool {
        let is_last = usize::from(self.round) + 1 >= MAX_ROUNDS;
        if self.decided.is_some() || is_last || !self.has_heard_quorum(VoteKind::Precommit) {
            self.precommit_until = None;
            return false;
        }
        let until = *self.precommit_until.get_or_insert(now.plus(self.timeouts.of(self.round)));
        let hopeless = self.ballots[usize::from(self.round)].precommits(None) >= self.quorum.votes();
        (hopeless || until <= now) && self.enter(self.round + 1, now)
    }
}
