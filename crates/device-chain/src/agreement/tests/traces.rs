//! What happens without the rules: the traces of `docs/protocol.md`, chapter 3. Each runs twice, by the right rules and
//! by the wrong one, with the same lies, losses and power cuts.

use std::collections::VecDeque;

use super::mesh::{Mesh, Packet};
use super::*;
use crate::flaw::Flaw;
use crate::quorum::faults;
use Outcome::{Agreed, Split, Stalled};

const A: ValidatorIndex = 0;
const B: ValidatorIndex = 1;
const C: ValidatorIndex = 2;
/// Of six or seven; of four it is the liar.
const D: ValidatorIndex = 3;
const X: ValidatorIndex = 3;
/// Nothing else is decided within so many rounds on a bus that loses nothing.
const FOR_EVER: Round = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All correct nodes have decided this value.
    Agreed(Hash),
    /// Two have decided differently.
    Split,
    /// It goes on for ever.
    Stalled,
}

struct Trace(Mesh);

impl Trace {
    /// A, B, C and the liar X, with `first` as the designated proposer of round 1 and those behind it of the rounds
    /// after: A, B, C, X, A.
    fn of_four(first: ValidatorIndex) -> Self {
        Self(Mesh::new(3, Quorum::full(4), Height::from(first) + 3))
    }

    fn node(&self, at: ValidatorIndex) -> &Instance {
        &self.0.nodes[usize::from(at)].instance
    }

    /// The first proposal of round 0 that these nodes hear; the first of them makes it.
    fn opens<const N: usize>(&mut self, value: Hash, first_at: [ValidatorIndex; N]) {
        for to in first_at {
            self.0.deliver((first_at[0], to.into(), Packet::Propose(0, value)));
        }
    }

    /// What a liar sends, its tags right for these receivers only.
    fn lies<const N: usize>(&mut self, liar: ValidatorIndex, what: Did, right_for: [ValidatorIndex; N]) {
        let packet = match what {
            Did::Vote(kind, round, value) => Packet::Vote(kind, round, value),
            Did::Propose(round, Some(value)) => Packet::Propose(round, value),
            other => panic!("nobody sends {other:?}"),
        };
        for to in right_for {
            self.0.deliver((liar, to.into(), packet));
        }
    }

    /// All that `from` has said so far reaches `at`.
    fn hears(&mut self, at: ValidatorIndex, from: ValidatorIndex) {
        let (now, later) = self.0.wire.drain(..).partition(|(sender, to, _)| (*sender, *to) == (from, usize::from(at)));
        self.0.wire = later;
        let heard: VecDeque<_> = now;
        heard.into_iter().for_each(|packet| self.0.deliver(packet));
    }

    fn hear_each_other(&mut self, one: ValidatorIndex, other: ValidatorIndex) {
        self.hears(one, other);
        self.hears(other, one);
    }

    /// At this node time runs out, until its round is over.
    fn gives_up(&mut self, at: ValidatorIndex, round: Round) {
        while self.node(at).round() == round {
            self.waits(at);
        }
    }

    /// At this node time runs out.
    fn waits(&mut self, at: ValidatorIndex) {
        let did = self.0.nodes[usize::from(at)].wait();
        self.0.carry_out(at.into(), did);
    }

    /// Nothing is lost until somebody gets to this round.
    fn calm_until_round(&mut self, round: Round) {
        while self.0.highest_round() < round {
            self.0.calm();
        }
    }

    fn power_cut(&mut self, at: ValidatorIndex) {
        self.0.power_cut(at.into());
    }

    fn lock(&self, at: ValidatorIndex) -> Option<(Round, Hash)> {
        self.node(at).lock().map(|(round, value)| (round, value.hash))
    }

    fn decision(&self, at: ValidatorIndex) -> Option<Hash> {
        self.node(at).decided().map(|(_, value)| value.hash)
    }

    /// Two halves see two proposals, and liars vote for either where it is seen.
    fn halves<const N: usize, const M: usize>(
        quorum: Quorum,
        p: [ValidatorIndex; N],
        q: [ValidatorIndex; M],
        liars: &[ValidatorIndex],
    ) -> Outcome {
        let mut trace = Self(Mesh::new(N + M, quorum, 1));
        trace.opens(P, p);
        trace.opens(Q, q);
        for liar in liars {
            for vote in [prevote, precommit] {
                trace.lies(*liar, vote(0, Some(P)), p);
                trace.lies(*liar, vote(0, Some(Q)), q);
            }
        }
        trace.ends()
    }

    /// From here on nothing is lost, what was delayed arrives, and the liars are silent.
    fn ends(mut self) -> Outcome {
        let start = self.0.highest_round();
        for _ in 0..1_000 {
            self.0.calm();
            if self.0.is_split() {
                return Split;
            }
            if let (Some(hash), true) = (self.decision(A), self.0.decisions().count() == self.0.nodes.len()) {
                assert!(self.0.highest_round() <= start + 5, "too late, in round {}", self.0.highest_round());
                return Agreed(hash);
            }
            if self.0.highest_round() > start + FOR_EVER {
                break;
            }
        }
        Stalled
    }
}

#[test]
fn wrong_rules_work_as_long_as_nothing_goes_wrong() {
    let trace = || {
        let mut trace = Trace::of_four(X);
        trace.opens(P, [A, B, C]);
        trace.ends()
    };
    for flaw in [
        Flaw::ProofFromAll,
        Flaw::PolkaCertifies,
        Flaw::LockForgotten,
        Flaw::DecidedLeave,
        Flaw::ReadiesForgotten,
        Flaw::PrevotesForgotten,
        Flaw::OldProofUnlocks,
    ] {
        assert_eq!(flaw.during(trace), Agreed(P), "{flaw:?}");
    }
}

/// A alone gets a polka and is locked. B and C refuse its P, for they cannot see the proof; A refuses everything else.
#[test]
fn t1_an_unlocked_node_asks_for_no_certificate() {
    let trace = |x_lies: bool| {
        let mut trace = Trace::of_four(A);
        trace.opens(P, [A, B]);
        trace.opens(Q, [C]);
        if x_lies {
            trace.lies(X, prevote(0, Some(P)), [A]);
        }
        trace.ends()
    };
    assert_eq!(trace(true), Agreed(P));
    assert_eq!(Flaw::ProofFromAll.during(|| trace(true)), Stalled);
    assert_ne!(Flaw::ProofFromAll.during(|| trace(false)), Stalled, "without the lie the wrong rule does no harm");
}

/// B is locked on P since round 0, A on Q since round 1: each on the word of X, which nobody else could check.
#[test]
fn t2_a_later_round_locks_only_on_a_certificate() {
    let trace = || {
        let mut trace = Trace::of_four(X);
        trace.opens(P, [C, B]);
        trace.lies(X, prevote(0, Some(P)), [B]);
        trace.lies(X, Did::Propose(1, Some(Q)), [A, B, C]);
        trace.lies(X, prevote(1, Some(Q)), [A]);
        trace.ends()
    };
    assert_eq!(trace(), Agreed(P));
    assert_eq!(Flaw::PolkaCertifies.during(trace), Stalled);
}

/// A precommits P, forgets its lock with its power, and helps Q while B has decided P.
#[test]
fn t5_the_lock_is_durable() {
    let trace = || {
        let mut trace = Trace::of_four(X);
        trace.opens(P, [B, A]);
        trace.hears(A, B);
        trace.lies(X, prevote(0, Some(P)), [A]);
        assert_eq!(trace.lock(A), Some((0, P)));
        trace.power_cut(A);
        // B decides, and is cut off from here on
        trace.hears(B, A);
        trace.lies(X, precommit(0, Some(P)), [B]);
        assert_eq!(trace.decision(B), Some(P));
        // A and C give the round up with X
        trace.hears(C, A);
        trace.lies(X, precommit(0, NIL), [A, C]);
        trace.gives_up(C, 0);
        trace.hears(A, C);
        trace.gives_up(A, 0);
        trace.lies(X, Did::Propose(1, Some(Q)), [A, C]);
        trace.lies(X, prevote(1, Some(Q)), [A, C]);
        trace.hear_each_other(A, C);
        trace.lies(X, precommit(1, Some(Q)), [A, C]);
        trace.ends()
    };
    assert_eq!(trace(), Agreed(P));
    assert_eq!(Flaw::LockForgotten.during(trace), Split);
}

/// A decides with a PRECOMMIT of X that only A could check. B and C are two of three without A.
#[test]
fn t6_who_has_decided_goes_on_helping() {
    let trace = || {
        let mut trace = Trace::of_four(A);
        trace.opens(P, [A, B]);
        trace.opens(Q, [C]);
        trace.lies(X, prevote(0, Some(P)), [A, B]);
        trace.lies(X, precommit(0, Some(P)), [A]);
        trace.ends()
    };
    assert_eq!(trace(), Agreed(P));
    assert_eq!(Flaw::DecidedLeave.during(trace), Stalled);
}

/// Only A and B, of seven also C, could check the votes of the liars, and decide P. The f that saw Q first are alone.
#[test]
fn t6_up_to_f_that_are_left_alone_decide_too() {
    let four = || Trace::halves(Quorum::full(4), [A, B], [C], &[3]);
    let seven = || Trace::halves(Quorum::full(7), [A, B, C], [D, 4], &[5, 6]);
    assert_eq!([four(), seven()], [Agreed(P), Agreed(P)]);
    assert_eq!([Flaw::DecidedLeave.during(four), Flaw::DecidedLeave.during(seven)], [Stalled, Stalled]);
}

/// B is locked on P since round 0, A on Q by a certificate of round 1, when the whole car loses power.
#[test]
fn t7_readies_are_durable() {
    let trace = || {
        let mut trace = Trace::of_four(X);
        trace.opens(P, [C, B]);
        trace.lies(X, prevote(0, Some(P)), [B]);
        trace.lies(X, Did::Propose(1, Some(Q)), [A, B, C]);
        trace.lies(X, prevote(1, Some(Q)), [A, C]);
        trace.calm_until_round(1);
        // A and C take B along, which is locked
        trace.hears(B, A);
        trace.hears(B, C);
        trace.waits(B);
        trace.hear_each_other(A, C);
        trace.hears(A, C);
        trace.lies(X, ready(1, Q), [A]);
        assert_eq!([A, B, C].map(|at| trace.lock(at)), [Some((1, Q)), Some((0, P)), None]);
        trace.0.wire.clear();
        [A, B, C].into_iter().for_each(|at| trace.power_cut(at));
        trace.ends()
    };
    assert_eq!(trace(), Agreed(Q));
    assert_eq!(Flaw::ReadiesForgotten.during(trace), Stalled);
}

/// B prevotes Q in round 0 and P in round 1, forgets both with its power, and completes Q with C, then P with A.
#[test]
fn t8_prevotes_are_durable() {
    let trace = || {
        let mut trace = Trace::of_four(X);
        trace.opens(Q, [C, B]);
        trace.hears(C, B);
        trace.lies(X, prevote(0, Some(Q)), [C]);
        assert_eq!(trace.lock(C), Some((0, Q)));
        // A gives round 0 up with X, and in round 1 the two take B along
        trace.hears(A, C);
        trace.lies(X, prevote(0, NIL), [A]);
        trace.lies(X, precommit(0, NIL), [A]);
        trace.gives_up(A, 0);
        trace.lies(X, Did::Propose(1, Some(P)), [A, B]);
        trace.lies(X, ready(1, P), [B]);
        trace.hears(B, A);
        assert_eq!(trace.0.journals[usize::from(B)], [prevote(0, Some(Q)), prevote(1, Some(P))]);
        trace.hears(A, B);
        trace.lies(X, prevote(1, Some(P)), [A]);
        // B comes back, and hears of round 0 what it had missed
        trace.power_cut(B);
        trace.opens(Q, [C, B]);
        trace.lies(X, prevote(0, Some(Q)), [B]);
        trace.hears(B, C);
        trace.hears(C, B);
        trace.lies(X, precommit(0, Some(Q)), [C]);
        // then of round 1
        trace.lies(X, ready(1, P), [A, B]);
        trace.hears(B, A);
        trace.hears(A, B);
        trace.lies(X, precommit(1, Some(P)), [A]);
        assert_eq!(trace.decision(A), Some(P));
        trace.ends()
    };
    assert_eq!(trace(), Agreed(P));
    assert_eq!(Flaw::PrevotesForgotten.during(trace), Split);
}

/// T9, R3: seven without the one that fell silent are six, and the two liars are still there.
#[test]
fn t9_f_is_held_when_a_silent_member_leaves() {
    let trace = |f| Trace::halves(Quorum { n: 6, f }, [A, B], [C, D], &[4, 5]);
    assert_eq!(trace(2), Stalled, "five of six: nothing is decided while both liars are silent");
    assert_eq!(trace(faults(6)), Split, "four of six, twice");
}

#[test]
fn t9b_more_than_f_liars_break_agreement() {
    assert_eq!(Trace::halves(Quorum::full(7), [A, B], [C, D], &[4, 5, 6]), Split);
}

/// C decides P in round 1, with B locked there; then an old proof turns up that round 0 had a polka for Q.
#[test]
fn t12_a_lock_yields_to_no_older_certificate() {
    let trace = || {
        let mut trace = Trace::of_four(X);
        trace.opens(Q, [A, B]);
        trace.lies(X, Did::Propose(1, Some(P)), [B, C]);
        trace.calm_until_round(1);
        trace.lies(X, prevote(1, Some(P)), [B, C]);
        trace.hear_each_other(B, C);
        trace.lies(X, ready(1, P), [B, C]);
        trace.hear_each_other(B, C);
        trace.lies(X, precommit(1, Some(P)), [C]);
        assert_eq!((trace.lock(B), trace.decision(C)), (Some((1, P)), Some(P)));
        trace.hears(B, C);
        // C is cut off, A and B go to round 2 with X
        trace.lies(X, precommit(1, NIL), [A, B]);
        trace.hears(A, B);
        trace.gives_up(A, 1);
        trace.gives_up(B, 1);
        trace.lies(X, prevote(0, Some(Q)), [B]);
        trace.hear_each_other(B, A);
        trace.lies(X, prevote(2, Some(Q)), [A, B]);
        trace.hear_each_other(B, A);
        trace.lies(X, ready(2, Q), [A, B]);
        trace.hears(A, B);
        trace.lies(X, precommit(2, Some(Q)), [A]);
        trace.ends()
    };
    assert_eq!(trace(), Agreed(P));
    assert_eq!(Flaw::OldProofUnlocks.during(trace), Split);
}

#[test]
fn t12_two_liars_of_four_break_agreement() {
    assert_eq!(Trace::halves(Quorum::full(4), [A], [B], &[2, 3]), Split);
}

#[test]
fn t12_a_majority_of_three_breaks_with_one_liar() {
    let majority = Quorum { n: 3, f: 0 };
    assert_eq!(majority.votes(), 2);
    assert_eq!(Trace::halves(majority, [A], [B], &[2]), Split);
}

/// T13, R2: six have become A, B, C and X. C has slept since then; the keys of the two that left are in wrong hands.
#[test]
fn t13_a_height_is_judged_with_its_own_set() {
    let trace = |as_c_sees_it: Quorum| {
        let mut trace = Trace(Mesh::new(3, Quorum { n: 4, f: faults(6) }, 1));
        trace.0.nodes[usize::from(C)] = Node::at(1, as_c_sees_it, C);
        trace.opens(P, [A, B]);
        trace.opens(Q, [C]);
        for vote in [prevote, precommit] {
            trace.lies(X, vote(0, Some(P)), [A, B]);
            for liar in [X, 4, 5] {
                trace.lies(liar, vote(0, Some(Q)), [C]);
            }
        }
        trace.ends()
    };
    assert_eq!(trace(Quorum { n: 4, f: faults(6) }), Agreed(P));
    assert_eq!(trace(Quorum::full(6)), Split);
}
