//! Votes of one round, one slot per (voter, kind).

use super::{ValueId, VoteKind};
use crate::flaw::Flaw;
use crate::limits::{MAX_VALIDATORS, MAX_VALUES};
use crate::types::ValidatorIndex;

/// A vote: nil, or a value.
type Vote = Option<ValueId>;

/// A slot of a vote in one byte, for there are many rounds: nothing, nil, or the value's place and two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(u8);

impl Slot {
    const NOTHING: Self = Self(0);

    const fn of(vote: Vote) -> Self {
        match vote {
            None => Self(1),
            Some(id) => Self(id.saturating_add(2)),
        }
    }

    fn vote(self) -> Option<Vote> {
        Some(self.0.checked_sub(1)?.checked_sub(1))
    }
}

/// The votes of one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ballot {
    prevotes: [Slot; MAX_VALIDATORS],
    precommits: [Slot; MAX_VALIDATORS],
    /// READY may be sent for more than one value; each correct node sends it for at most one a round by C3, but a
    /// liar's second READY must not erase its first.
    readies: [u16; MAX_VALIDATORS],
}

impl Ballot {
    /// No votes.
    pub const EMPTY: Self = Self {
        prevotes: [Slot::NOTHING; MAX_VALIDATORS],
        precommits: [Slot::NOTHING; MAX_VALIDATORS],
        readies: [0; MAX_VALIDATORS],
    };

    /// Enters a vote. False if the slot holds another vote: the first one counts (C1).
    pub fn record(&mut self, kind: VoteKind, voter: ValidatorIndex, value: Option<ValueId>) -> bool {
        let voter = usize::from(voter);
        let slots = match kind {
            VoteKind::Prevote => &mut self.prevotes,
            VoteKind::Precommit => &mut self.precommits,
            VoteKind::Ready => {
                if let (Some(mask), Some(id)) = (self.readies.get_mut(voter), value) {
                    *mask |= 1 << id;
                }
                return true;
            }
        };
        let Some(slot) = slots.get_mut(voter) else { return true };
        if *slot == Slot::NOTHING || Flaw::LastVoteCounts.is_at_work() {
            *slot = Slot::of(value);
        }
        *slot == Slot::of(value)
    }

    /// A voter's vote of a kind. Of several READYs the first value.
    #[must_use]
    pub fn of(&self, kind: VoteKind, voter: ValidatorIndex) -> Option<Vote> {
        let voter = usize::from(voter);
        match kind {
            VoteKind::Prevote => self.prevotes.get(voter)?.vote(),
            VoteKind::Precommit => self.precommits.get(voter)?.vote(),
            VoteKind::Ready => {
                let mask = self.readies.get(voter).copied().unwrap_or(0);
                (mask != 0).then(|| Some(mask.trailing_zeros() as ValueId))
            }
        }
    }

    /// Prevotes for `value`; a precommit for a value counts as its sender's prevote (C2).
    #[must_use]
    pub fn prevotes(&self, value: Option<ValueId>) -> usize {
        let votes = self.prevotes.iter().zip(&self.precommits).map(|(prevote, precommit)| match precommit.vote() {
            Some(Some(_)) => precommit,
            _ => prevote,
        });
        if Flaw::CountedTwice.is_at_work() {
            return self.prevotes.iter().filter(|vote| **vote == Slot::of(value)).count() + self.precommits(value);
        }
        votes.filter(|vote| **vote == Slot::of(value)).count()
    }

    /// Precommits for `value`.
    #[must_use]
    pub fn precommits(&self, value: Option<ValueId>) -> usize {
        self.precommits.iter().filter(|vote| **vote == Slot::of(value)).count()
    }

    /// READYs for `value`; a precommit in a round from 1 on implies READY (L2).
    #[must_use]
    pub fn readies(&self, value: ValueId) -> usize {
        let ready = |(mask, precommit): (&u16, &Slot)| mask & (1 << value) != 0 || *precommit == Slot::of(Some(value));
        self.readies.iter().zip(&self.precommits).filter(|pair| ready(*pair)).count()
    }

    /// Whether the voter said READY for the value.
    #[must_use]
    pub fn is_ready(&self, voter: ValidatorIndex, value: ValueId) -> bool {
        self.readies.get(usize::from(voter)).is_some_and(|mask| mask & (1 << value) != 0)
    }

    /// Whether the voter voted for the value in any way.
    #[must_use]
    pub fn is_for(&self, voter: ValidatorIndex, value: ValueId) -> bool {
        let at = usize::from(voter);
        let voted = |slots: &[Slot; MAX_VALIDATORS]| slots.get(at) == Some(&Slot::of(Some(value)));
        voted(&self.prevotes) || voted(&self.precommits) || self.is_ready(voter, value)
    }

    /// Whether the voter voted at all.
    #[must_use]
    pub fn has_vote(&self, voter: ValidatorIndex) -> bool {
        let at = usize::from(voter);
        let voted = |slots: &[Slot; MAX_VALIDATORS]| slots.get(at).is_some_and(|slot| *slot != Slot::NOTHING);
        voted(&self.prevotes) || voted(&self.precommits) || self.readies.get(at).is_some_and(|mask| *mask != 0)
    }

    /// Erases all votes for the value.
    pub fn forget(&mut self, value: ValueId) {
        for slot in self.prevotes.iter_mut().chain(&mut self.precommits) {
            if *slot == Slot::of(Some(value)) {
                *slot = Slot::NOTHING;
            }
        }
        for mask in &mut self.readies {
            *mask &= !(1 << value);
        }
    }
}

const _: () = assert!(MAX_VALUES <= u16::BITS as usize);
