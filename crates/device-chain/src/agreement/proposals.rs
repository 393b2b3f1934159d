//! Who may propose, and whose proposal of round 0 has to wait: L4, F1 to F3.

use super::{Instance, ValueId};
use crate::limits::MAX_VALIDATORS;
use crate::types::{Micros, Round, ValidatorIndex};

/// How a validator's proposals of round 0 are treated at a height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It won one of the last f heights: its proposal keeps nobody from proposing, too (F1).
    pub has_won: bool,
    /// Its proposal is prevoted only if nobody else's came within one propose timeout (F1, F2).
    pub set_aside: bool,
}

/// The standing of each validator.
pub type Standings = [Standing; MAX_VALIDATORS];

impl Instance {
    /// Whether a proposal would count: of round 0 the proposer's first (F3), of later rounds the designated
    /// proposer's first.
    #[must_use]
    pub fn takes_proposal(&self, round: Round, proposer: ValidatorIndex) -> bool {
        match round {
            _ if !self.members.contains(proposer) => false,
            0 => !self.have_opened.contains(proposer),
            _ => proposer == self.proposer(round) && self.proposals.get(usize::from(round)) == Some(&None),
        }
    }

    /// A verified proposal, if it counts ([`Self::takes_proposal`]).
    pub fn on_proposal(&mut self, round: Round, proposer: ValidatorIndex, id: ValueId) {
        if !self.takes_proposal(round, proposer) {
            return;
        }
        if round == 0 {
            self.openers[usize::from(proposer)] = Some(id);
            self.have_opened.insert(proposer);
            self.on_served(id);
        } else {
            self.proposals[usize::from(round)] = Some(id);
        }
        self.news = true;
    }

    /// A value that a voter served on request: in round 0 as good as heard from its proposer.
    pub fn on_served(&mut self, id: ValueId) {
        if !self.open.contains(&id) {
            let _ = self.open.push(id);
            self.news = true;
        }
    }

    /// How proposals of round 0 are treated here (F1, F2).
    pub fn set_standings(&mut self, standings: Standings) {
        self.news |= self.standings != standings;
        self.standings = standings;
    }

    /// The standing of a validator at this height.
    #[must_use]
    pub fn standing(&self, proposer: ValidatorIndex) -> Standing {
        self.standings.get(usize::from(proposer)).copied().unwrap_or_default()
    }

    /// This node proposes `id` in round 0.
    pub fn set_own_proposal(&mut self, id: ValueId) {
        self.own_proposal.get_or_insert(id);
    }

    /// What this node proposes in round 0.
    #[must_use]
    pub const fn own_proposal(&self) -> Option<ValueId> {
        self.own_proposal
    }

    /// What this node has proposed in a round.
    #[must_use]
    pub fn own_proposal_of(&self, round: Round) -> Option<ValueId> {
        match round {
            0 => self.own_proposal(),
            _ if self.proposer(round) == self.me => self.proposals.get(usize::from(round)).copied().flatten(),
            _ => None,
        }
    }

    /// From when on an own proposal of round 0 makes sense; `None` while it does not. At once where no other keeps it
    /// back, and after one propose timeout where another does that f + 1 have not joined: it may be for few to hear.
    #[must_use]
    pub fn opens_at(&self) -> Option<Micros> {
        let joined = self.voters_from(0).count() >= self.quorum.one_correct();
        if self.round > 0 || self.own_proposal.is_some() || self.stirred || joined {
            return None;
        }
        // F1: whoever won lately keeps nobody back
        let keeps_back = |id: &ValueId| {
            self.is_valid(*id) && !self.all_proposers(*id, |standing| standing.has_won || standing.set_aside)
        };
        match self.ids().find(keeps_back) {
            None => Some(Micros(0)),
            Some(_) => self.begun.map(|begun| begun.plus(self.timeouts.of(0))),
        }
    }

    /// What the validator proposed in round 0, as far as this node heard, and still knows.
    #[must_use]
    pub fn opener(&self, proposer: ValidatorIndex) -> Option<ValueId> {
        self.openers.get(usize::from(proposer)).copied().flatten()
    }

    /// Who proposed the value in round 0, as far as this node heard.
    pub fn proposers(&self, id: ValueId) -> impl Iterator<Item = ValidatorIndex> {
        (0..).zip(&self.openers).filter(move |(_, opener)| **opener == Some(id)).map(|(at, _)| at)
    }

    /// Whether the validator proposed anything in round 0.
    #[must_use]
    pub fn has_proposed(&self, proposer: ValidatorIndex) -> bool {
        self.have_opened.contains(proposer)
    }

    /// Whether this node waited one propose timeout for somebody better than whom it then prevoted (F1).
    #[must_use]
    pub const fn waited_in_vain(&self) -> bool {
        self.waited_in_vain
    }

    /// Whether the value was proposed, and only by validators of such a standing.
    fn all_proposers(&self, id: ValueId, standing: impl Fn(Standing) -> bool) -> bool {
        let mut proposers = self.proposers(id).peekable();
        proposers.peek().is_some() && proposers.all(|proposer| standing(self.standing(proposer)))
    }

    /// F1, F2: whether the value has to wait for a better proposer's. Not if a correct voter did not wait.
    pub(super) fn is_set_aside(&self, id: ValueId) -> bool {
        self.all_proposers(id, |standing| standing.set_aside) && self.voters_for(id) < self.quorum.one_correct()
    }
}
