//! Who has had its turn, who waits for one, and who spoils rounds: F1 and F2. Local memory of one boot; it decides only
//! which proposal of round 0 this node prevotes first, so it cannot touch agreement.

use super::Validator;
use super::workings::count;
use crate::agreement::{Standing, Standings, Value, VoteKind};
use crate::keys::KeyStore;
use crate::limits::{FORGIVE_HEIGHTS, MAX_FAILURES, MAX_VALIDATORS};
use crate::quorum::faults;
use crate::tx::Transaction;
use crate::types::{Hash, Height, ValidatorIndex};

/// What this node remembers of proposers.
pub(super) struct Fairness {
    /// Whose proposals were decided last, the newest first; `None` where nobody's was, or nobody knows.
    winners: [Option<ValidatorIndex>; faults(MAX_VALIDATORS)],
    failures: [Failures; MAX_VALIDATORS],
}

impl Fairness {
    pub(super) const NONE: Self =
        Self { winners: [None; faults(MAX_VALIDATORS)], failures: [Failures { count: 0, last: 0 }; MAX_VALIDATORS] };
}

/// How often a validator has failed this node in round 0.
#[derive(Clone, Copy, Default)]
pub(super) struct Failures {
    count: u32,
    last: Height,
}

impl Failures {
    /// Failures that are not forgiven yet.
    const fn standing(self, height: Height) -> u32 {
        self.count.saturating_sub(height.saturating_sub(self.last) / FORGIVE_HEIGHTS)
    }

    pub(super) const fn add(&mut self, height: Height) {
        let count = self.standing(height) + 1;
        *self = Self { count: if count < MAX_FAILURES { count } else { MAX_FAILURES }, last: height };
    }

    /// F2: for 2^j heights after the j-th failure.
    pub(super) const fn is_ignored(self, height: Height) -> bool {
        self.count > 0 && height <= self.last.saturating_add(1 << self.count)
    }
}

impl<K: KeyStore> Validator<K> {
    /// A proposal of round 0 for the height that is decided: it came too late, but everybody could hear it, so its proposer
    /// waits for its turn (F1).
    pub(super) fn note_late(&mut self, proposer: ValidatorIndex, hash: Hash, tx: &[u8]) {
        let value = Value { hash, proposer, allowed_from: None, evident: false };
        if let Some(previous) = self.heights.previous_mut()
            && previous.takes_proposal(0, proposer) // or a liar's many proposals would make others give way there
            && let Some(id) = previous.add_value(value, tx)
        {
            previous.on_proposal(0, proposer, id);
            self.review_standings();
        }
    }

    /// F1, F2: how this height's proposers are treated. Who was set aside stays so, also when the rival has proposed.
    pub(super) fn review_standings(&mut self) {
        let height = self.heights.current().height();
        let rivals = self.voters().iter().any(|rival| self.is_waiting(rival));
        let mut standings = Standings::default();
        for (peer, standing) in (0..).zip(&mut standings) {
            let has_won = self.has_won(peer);
            let set_aside = self.heights.current().standing(peer).set_aside;
            *standing =
                Standing { has_won, set_aside: set_aside || rivals && has_won || self.is_ignored(peer, height) };
        }
        self.heights.current_mut().set_standings(standings);
    }

    fn has_won(&self, proposer: ValidatorIndex) -> bool {
        self.fairness.winners.iter().take(self.full.f).any(|winner| *winner == Some(proposer))
    }

    fn is_ignored(&self, proposer: ValidatorIndex, height: Height) -> bool {
        self.fairness.failures[usize::from(proposer)].is_ignored(height)
    }

    /// F1: whether everybody could hear that the validator proposed at the height before and lost, and still may.
    fn is_waiting(&self, rival: ValidatorIndex) -> bool {
        let Some(previous) = self.heights.previous() else { return false };
        let lost = || previous.opener(rival).and_then(|id| previous.transaction(id)).and_then(Transaction::decode);
        self.voters().contains(rival)
            && !self.has_won(rival)
            && !self.is_ignored(rival, previous.height() + 1)
            && lost().is_some_and(|tx| self.state.check(&tx, &self.registry).is_ok())
    }

    /// What the end of a height says about its proposers. Called before the state moves on.
    pub(super) fn judge_proposers(&mut self) {
        let (height, instance) = (self.heights.current().height(), self.heights.current());
        let decided = instance.decided().and_then(|(round, value)| Some((round, instance.find(&value.hash)?)));
        let winner = decided.and_then(|(_, id)| instance.proposers(id).next());
        let mut failed = [false; MAX_VALIDATORS];
        if let (Some((1.., id)), Some((0, Some(mine)))) = (decided, instance.own_votes(VoteKind::Prevote).next())
            && id != mine
        {
            // F2: what this node voted for in round 0 came to nothing
            instance.proposers(mine).for_each(|proposer| failed[usize::from(proposer)] = true);
        }
        if instance.waited_in_vain() {
            for rival in self.voters().iter() {
                failed[usize::from(rival)] |= self.is_waiting(rival) && !instance.has_proposed(rival);
            }
        }
        for (failures, _) in self.fairness.failures.iter_mut().zip(failed).filter(|(_, failed)| *failed) {
            failures.add(height);
            count(&mut self.workings.failed, 1);
        }
        self.fairness.winners.rotate_right(1);
        self.fairness.winners[0] = winner;
    }
}
