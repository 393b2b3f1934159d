//! How many are enough. `docs/protocol.md` DC-10.

use crate::flaw::Flaw;

/// Byzantine validators that a full set of `n` tolerates: ⌊(n − 1) / 3⌋.
#[must_use]
pub const fn faults(n: usize) -> usize {
    n.saturating_sub(1) / 3
}

/// The thresholds of a set of `n` validators of which at most `f` lie. `f` is a fact of the registry and is not
/// recomputed when a silent member leaves (R3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Members of the set.
    pub n: usize,
    /// Liars assumed.
    pub f: usize,
}

impl Quorum {
    /// The thresholds of a full set.
    #[must_use]
    pub const fn full(n: usize) -> Self {
        Self { n, f: faults(n) }
    }

    /// Votes that lock and decide: ⌊(n + f) / 2⌋ + 1. Two such sets share a correct member.
    #[must_use]
    pub fn votes(self) -> usize {
        (self.n + self.f) / 2 + usize::from(!Flaw::SmallQuorum.is_at_work())
    }

    /// READYs that make a certificate: f + min(f, n − q) + 1, so that f + 1 of them are correct and reach everybody.
    #[must_use]
    pub fn ready(self) -> usize {
        if Flaw::FewReadies.is_at_work() { self.f } else { self.f + self.f.min(self.n - self.votes()) + 1 }
    }

    /// One correct member at least: f + 1.
    #[must_use]
    pub const fn one_correct(self) -> usize {
        self.f + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_of_full_sets() {
        // n, f, q, q_R: agreement.md section 3
        for (n, f, q, ready) in [(4, 1, 3, 3), (5, 1, 4, 3), (6, 1, 4, 3), (7, 2, 5, 5), (8, 2, 6, 5)] {
            let quorum = Quorum::full(n);
            assert_eq!((quorum.f, quorum.votes(), quorum.ready()), (f, q, ready), "n = {n}");
            assert_eq!(quorum.one_correct(), f + 1, "n = {n}");
        }
    }

    #[test]
    fn thresholds_when_f_is_held() {
        // left of four, and of seven
        for (n, f, q, ready) in [(3, 1, 3, 2), (6, 2, 5, 4), (5, 2, 4, 4), (4, 2, 4, 3)] {
            let quorum = Quorum { n, f };
            assert_eq!((quorum.votes(), quorum.ready()), (q, ready), "n = {n}");
        }
    }

    #[test]
    fn two_quorums_share_a_correct_member_also_when_f_is_held() {
        for n in 4..=8 {
            let f = faults(n);
            for left in n / 2 + 1..=n {
                let quorum = Quorum { n: left, f };
                assert!(2 * quorum.votes() > left + f, "{left} of {n}");
            }
        }
    }
}
