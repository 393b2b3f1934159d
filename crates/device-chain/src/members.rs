//! Whose votes count at a height. `docs/protocol.md` R1 to R4.

use serde::{Deserialize, Serialize};

use crate::flaw::Flaw;
use crate::limits::MAX_VALIDATORS;
use crate::quorum::{Quorum, faults};
use crate::registry::Devices;
use crate::types::ValidatorIndex;

/// Validators by their places in the genesis: those that are not suspended. Places, keys, tags and identifiers of the
/// others stay what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members(u8);

const _: () = assert!(MAX_VALIDATORS <= u8::BITS as usize, "a bit for each");

impl Members {
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// The first `n`: all validators of a genesis that has so many.
    #[must_use]
    pub const fn all(n: usize) -> Self {
        Self(if n < MAX_VALIDATORS { (1 << n) - 1 } else { u8::MAX })
    }

    /// Whether the validator's votes count.
    #[must_use]
    pub const fn contains(self, validator: ValidatorIndex) -> bool {
        (validator as usize) < MAX_VALIDATORS && self.0 & 1 << validator != 0
    }

    /// In the order of their places.
    pub fn iter(self) -> impl Iterator<Item = ValidatorIndex> + Clone {
        (0..MAX_VALIDATORS as ValidatorIndex).filter(move |validator| self.contains(*validator))
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The thresholds of this set. `f` is that of the full set (R3).
    #[must_use]
    pub fn quorum(self, genesis: &impl Devices) -> Quorum {
        let all = if Flaw::FaultsRecounted.is_at_work() { self.count() } else { genesis.validators() };
        Quorum { n: self.count(), f: faults(all) }
    }

    /// Puts a validator in.
    pub(crate) const fn insert(&mut self, validator: ValidatorIndex) {
        *self = Self(self.0 | if (validator as usize) < MAX_VALIDATORS { 1 << validator } else { 0 });
    }

    /// Without a validator (R1).
    #[must_use]
    pub const fn without(self, validator: ValidatorIndex) -> Self {
        Self(if self.contains(validator) { self.0 & !(1 << validator) } else { self.0 })
    }

    /// With a validator of the genesis (R1).
    #[must_use]
    pub fn with(self, validator: ValidatorIndex, genesis: &impl Devices) -> Self {
        Self((self.0 | 1u8.checked_shl(validator.into()).unwrap_or(0)) & genesis.active().0)
    }

    /// R1: who votes among these members: they, and of the suspended, in the order of their places, as many as can vote
    /// without any more votes being needed. So who comes back can help to decide that it is resumed.
    #[must_use]
    pub fn voters(self, genesis: &impl Devices) -> Self {
        let all = genesis.active();
        if self == all {
            return self;
        }
        let needed = self.quorum(genesis).votes();
        let suspended = all.iter().filter(|validator| !self.contains(*validator));
        suspended.fold(self, |voters, validator| {
            let more = voters.with(validator, genesis);
            if more.quorum(genesis).votes() == needed { more } else { voters }
        })
    }

    /// R4: whether a member may be suspended. Enough are left, and fewer of them are needed then, or will be when more are
    /// suspended: else nobody gains anything, and who comes back is missed until it is resumed.
    #[must_use]
    pub fn may_lose(self, validator: ValidatorIndex, genesis: &impl Devices) -> bool {
        let Quorum { n, f } = self.quorum(genesis);
        let fewest = Self::all(genesis.validators()).count() / 2 + 1;
        let gains = |left: usize| {
            let less = Quorum { n: left, f };
            less.votes() <= left && less.votes() < Quorum { n, f }.votes()
        };
        self.contains(validator) && (fewest..n).any(gains)
    }

    /// R4: whether a validator may leave for good. A majority of the genesis stays.
    #[must_use]
    pub fn may_do_without(self, validator: ValidatorIndex, genesis: &impl Devices) -> bool {
        self.without(validator).is_sound(genesis)
    }

    /// Whether this can be the set of some height: a part of the full set, and not below a majority of it (R4).
    #[must_use]
    pub fn is_sound(self, genesis: &impl Devices) -> bool {
        let all = Self::all(genesis.validators());
        self.0 & !all.0 == 0 && self.count() > all.count() / 2
    }
}
