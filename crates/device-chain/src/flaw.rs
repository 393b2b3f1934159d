//! Wrong rules, each of which shows in a test what the right one is for (`docs/protocol.md` chapter 3, traces).
//!
//! The product has none: every check is the constant `false` but in this crate's tests and under `--cfg flaws`. That is
//! no feature, so that nothing that is built together can turn it on, and the product's programs refuse it.

#[cfg(test)]
mod tests;

#[cfg(any(test, flaws))]
use core::cell::Cell;
#[cfg(any(test, flaws))]
use std::sync::OnceLock;

/// A rule that everybody breaks: a wrong design, not a fault of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// L1: also an unlocked node asks for a certificate of what was voted for in an earlier round (T1).
    ProofFromAll,
    /// C3: the own polka of a later round is a certificate, without READYs (T2).
    PolkaCertifies,
    /// M4: a vote counts although its tag is not for this receiver, as if others had checked it (T3).
    Hearsay,
    /// M2: the tag of a vote does not cover what it is for (T4).
    UnboundTag,
    /// P2: a PRECOMMIT in the journal restores no lock (T5).
    LockForgotten,
    /// L6: who has decided leaves the height (T6).
    DecidedLeave,
    /// P3: READYs are not durable (T7).
    ReadiesForgotten,
    /// P1: PREVOTEs are not durable (T8).
    PrevotesForgotten,
    /// P1, P4: what waits for the journal leaves before it is durable (T8).
    SentFirst,
    /// R3: `f` is computed again from the members that are left (T9).
    FaultsRecounted,
    /// L1: a lock yields to any certificate, also to one that is older (T12).
    OldProofUnlocks,
    /// DC-10: one vote fewer than a quorum is enough.
    SmallQuorum,
    /// DC-10: as many READYs as there may be liars are a certificate.
    FewReadies,
    /// C1: of two votes in one slot the last one counts.
    LastVoteCounts,
    /// C2: who prevotes and precommits a value counts as two PREVOTEs for it.
    CountedTwice,
    /// V2: what the chain allows is voted for, whoever has seen the evidence.
    NoEvidence,
    /// L5: a single vote of a later round takes a node along.
    OneTakesAlong,
    /// C5: a single statement that a height was decided so is enough.
    OneIsBelieved,
    /// DC-6: the name of a value is the same in every history.
    UnboundParent,
    /// P5: who has lost its memory votes.
    AmnesiacVotes,
    /// DC-34: the readmission of any boot gives the vote back.
    AnyReadmission,
    /// DC-22: every HELLO replaces a session, also a recorded one.
    HelloReplaces,
    /// A recorded message counts again in its session.
    ReplayCounts,
    /// DC-41: a grant may be used again.
    GrantAgain,
    /// DC-45: what is decided moves something, however late.
    AlwaysLive,
    /// DC-21: the nonce of every boot is the same.
    NonceStays,
    /// DC-23: pairwise keys stay what they are.
    KeysStay,
    /// DC-24: what goes into a key with a refresh is no secret.
    NothingShared,
    /// DC-60: a node believes its own clock alone.
    OneClock,
}

/// Names the rule that a process breaks.
#[cfg(any(test, flaws))]
const ORDER: &str = "RINGFORT_FLAW";

#[cfg(any(test, flaws))]
std::thread_local! {
    static AT_WORK: Cell<Option<Flaw>> = const { Cell::new(None) };
}

impl Flaw {
    /// All of them.
    #[cfg(any(test, flaws))]
    pub const ALL: [Self; 29] = [
        Self::ProofFromAll,
        Self::PolkaCertifies,
        Self::Hearsay,
        Self::UnboundTag,
        Self::LockForgotten,
        Self::DecidedLeave,
        Self::ReadiesForgotten,
        Self::PrevotesForgotten,
        Self::SentFirst,
        Self::FaultsRecounted,
        Self::OldProofUnlocks,
        Self::SmallQuorum,
        Self::FewReadies,
        Self::LastVoteCounts,
        Self::CountedTwice,
        Self::NoEvidence,
        Self::OneTakesAlong,
        Self::OneIsBelieved,
        Self::UnboundParent,
        Self::AmnesiacVotes,
        Self::AnyReadmission,
        Self::HelloReplaces,
        Self::ReplayCounts,
        Self::GrantAgain,
        Self::AlwaysLive,
        Self::NonceStays,
        Self::KeysStay,
        Self::NothingShared,
        Self::OneClock,
    ];

    /// Whether the validators of this thread break the rule.
    #[cfg(any(test, flaws))]
    #[must_use]
    pub fn is_at_work(self) -> bool {
        Self::at_work() == Some(self)
    }

    /// The rule that this whole process breaks, if it was started for that: `RINGFORT_FLAW` names it.
    ///
    /// # Panics
    /// If it names none.
    #[cfg(any(test, flaws))]
    #[must_use]
    pub fn ordered() -> Option<Self> {
        static ORDERED: OnceLock<Option<Flaw>> = OnceLock::new();
        *ORDERED.get_or_init(|| {
            let name = std::env::var(ORDER).ok()?;
            let named = Self::ALL.into_iter().find(|flaw| std::format!("{flaw:?}") == name);
            Some(named.unwrap_or_else(|| panic!("{ORDER}={name}: no such flaw: {:?}", Self::ALL)))
        })
    }

    /// The rule that the validators of this thread break.
    #[cfg(any(test, flaws))]
    #[must_use]
    pub fn at_work() -> Option<Self> {
        AT_WORK.get().or_else(Self::ordered)
    }

    /// Never, in the product.
    #[cfg(not(any(test, flaws)))]
    pub(crate) const fn is_at_work(self) -> bool {
        false
    }

    /// Runs `scenario` with validators that break the rule.
    #[cfg(any(test, flaws))]
    pub fn during<T>(self, scenario: impl FnOnce() -> T) -> T {
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                AT_WORK.set(None);
            }
        }
        let _also_if_it_panics = End;
        AT_WORK.set(Some(self));
        scenario()
    }
}
