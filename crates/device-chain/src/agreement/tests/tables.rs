//! What the parts of an instance promise, each as a table: its limits are where the rules end.

use super::*;
use crate::limits::{MAX_ORDER, MAX_TX};
use crate::tx::nil_subject;

/// Δ of all tables here.
const PHASE_US: u64 = TIMEOUTS.phase_us as u64;

/// W2, in Δ: doubled with each round up to the sixth, and four times as long with each after the seventeenth.
#[test]
fn the_wait_of_each_round() {
    let table = [(0, 2), (1, 4), (2, 8), (4, 32), (5, 64), (6, 64), (16, 64), (17, 256), (18, 1024), (31, 1 << 36)];
    for (round, phases) in table {
        assert_eq!(TIMEOUTS.of(round), phases * PHASE_US, "round {round}");
    }
    assert_eq!(TIMEOUTS.of(Round::MAX), TIMEOUTS.of(31), "there is no later round");
    for (round, phases) in [(0, 2), (1, 6), (2, 12), (6, 128), (17, 320)] {
        assert_eq!(
            TIMEOUTS.of_proposal(round),
            phases * PHASE_US,
            "for a proposal of round {round}: the wait before, too"
        );
    }
}

/// W2: READYs take one more hop than prevotes, and there are none in round 0.
#[test]
fn the_wait_for_prevotes_of_each_round() {
    let mut node = Node::new(4, 0);
    node.proposed(0, 1, P);
    node.prevotes(0, NIL, [2, 3]);
    assert_eq!(node.instance.deadline(), Some(START.plus(TIMEOUTS.of(0))));

    let mut node = Node::new(4, 0);
    node.prevotes(1, NIL, [1, 2]);
    assert_eq!(node.proposed(1, 2, P), [prevote(1, Some(P))]);
    assert_eq!(node.instance.deadline(), Some(START.plus(2 * TIMEOUTS.of(1))));
}

/// Chapter 10: whoever spoils them all stops the height.
#[test]
fn after_the_last_round_there_is_none() {
    let last = MAX_ROUNDS as Round - 1;
    let mut node = Node::new(4, 0).rebooted(&[prevote(last - 1, NIL), precommit(last - 1, NIL)]);
    node.precommits(last - 1, NIL, 1..4);
    assert_eq!(node.instance.round(), last);
    node.prevotes(last, NIL, 1..4);
    node.wait();
    node.precommits(last, NIL, 1..4);
    assert_eq!((node.instance.round(), node.instance.deadline()), (last, None));
}

/// M2: a vote for a value is for that value, a vote for nil is for nil in this history.
#[test]
fn what_a_tag_of_a_vote_covers() {
    for parent in [P, Q] {
        let instance = Instance::new(1, parent, 0, Quorum::full(4), TIMEOUTS);
        assert_eq!((instance.parent(), instance.subject(&P)), (&parent, P));
        assert_eq!(instance.subject(&Hash::NIL), nil_subject(&parent));
    }
}

#[test]
fn a_height_begins_with_the_first_thing_heard_of_it_unless_it_comes_from_the_journal() {
    let mut node = Node::new(4, 0);
    node.run();
    assert_eq!(node.instance.begun(), None, "nothing was heard");
    node.prevotes(0, NIL, [1]);
    assert_eq!(node.instance.begun(), Some(START), "a vote for nil");
    node.now = node.now.plus(1);
    node.proposed(0, 1, P);
    assert_eq!(node.instance.begun(), Some(START), "it begins once");

    let mut node = Node::new(4, 0);
    node.instance.add_value(value(P, 1), TX);
    node.run();
    assert_eq!(node.instance.begun(), Some(START), "a value");

    let mut node = Node::new(4, 0).rebooted(&[prevote(0, Some(P))]);
    assert!(node.instance.has_restored());
    node.run();
    assert_eq!(node.instance.begun(), None, "when that was, the journal does not say");
}

/// L4: of the members, the one whose turn it is by height and round.
#[test]
fn the_proposer_of_each_round() {
    let mut node = Node::at(5, Quorum::full(4), 0);
    assert_eq!([1, 2, 3, 4].map(|round| node.instance.proposer(round)), [2, 3, 0, 1]);
    node.instance.set_members(Members::all(4).without(1), Quorum { n: 3, f: 1 });
    assert_eq!([1, 2, 3, 4].map(|round| node.instance.proposer(round)), [0, 2, 3, 0], "1 is suspended");
}

/// What this node voted for or proposed, may have to vote for, or what a correct voter vouches for, keeps its place
/// though a liar fills the table; all else may go.
#[test]
fn what_keeps_its_place() {
    type Reason = fn(&mut Node);
    let table: [(&str, bool, Reason); 12] = [
        ("it is known", false, |_| {}),
        ("this node locked it", true, |node| node.instance.restore_vote(VoteKind::Precommit, 0, Some(0))),
        ("this node prevoted it", true, |node| node.instance.restore_vote(VoteKind::Prevote, 0, Some(0))),
        ("this node was ready for it", true, |node| node.instance.restore_vote(VoteKind::Ready, 1, Some(0))),
        ("it was decided", true, |node| node.instance.adopt(0)),
        ("this node proposes it", true, |node| node.instance.set_own_proposal(0)),
        ("it is proposed in the round", true, |node| {
            node.instance.round = 1;
            node.instance.on_proposal(1, 2, 0);
        }),
        ("it is proposed in the next round", true, |node| node.instance.on_proposal(1, 2, 0)),
        ("it is proposed in the round after", false, |node| node.instance.on_proposal(2, 3, 0)),
        ("it was proposed in the round before", false, |node| {
            node.instance.on_proposal(1, 2, 0);
            node.instance.round = 2;
        }),
        ("f voted for it", false, |node| node.instance.on_vote(VoteKind::Prevote, 0, 1, Some(0), &mut Actions::new())),
        ("f + 1 voted for it", true, |node| {
            for voter in 1..3 {
                node.instance.on_vote(VoteKind::Prevote, 0, voter, Some(0), &mut Actions::new());
            }
        }),
    ];
    for (reason, expected, make) in table {
        let mut node = Node::new(4, 0);
        assert_eq!(node.instance.add_value(value(P, 1), TX), Some(0));
        make(&mut node);
        for at in 0..2 * MAX_VALUES as u8 {
            assert!(node.instance.add_value(value(Hash([at + 1; 32]), 3), TX).is_some(), "{reason}");
        }
        assert_eq!(node.instance.find(&P), expected.then_some(0), "{reason}");
    }
}

/// What had to go is as if nothing had been heard of it: its place, once given to another, says nothing of it.
#[test]
fn nothing_of_what_had_to_go_is_left() {
    let mut node = Node::new(7, 0);
    let mut out = Actions::new();
    let ids: std::vec::Vec<_> =
        (1..=2).filter_map(|at| node.instance.add_value(value(Hash([at; 32]), at), TX)).collect();
    for id in ids.iter().copied() {
        node.instance.on_proposal(0, id + 1, id);
        node.instance.on_proposal(id + 3, node.instance.proposer(id + 3), id);
        for (round, kind) in [(1, VoteKind::Prevote), (1, VoteKind::Ready), (2, VoteKind::Precommit)] {
            node.instance.on_vote(kind, round, id + 1, Some(id), &mut out);
        }
    }
    node.instance.forget(1);
    assert_eq!(node.instance.open, [0]);
    assert_eq!([1, 2].map(|proposer| node.instance.opener(proposer)), [Some(0), None]);
    assert_eq!([3, 4].map(|round| node.instance.proposals[round]), [Some(0), None]);
    assert_eq!([1, 2].map(|voter| node.instance.voters_from(0).any(|other| other == voter)), [true, false]);
    assert_eq!([0, 1].map(|id| node.instance.voters_for(id)), [1, 0]);
    assert_eq!([1, 2].map(|voter| node.instance.ballots[1].of(VoteKind::Ready, voter)), [Some(Some(0)), None]);
    assert_eq!(out, []);
}

/// A height holds two blocks and otherwise orders, and not a byte more: that would be memory of a chip for nothing.
#[test]
fn as_many_values_as_there_may_be_as_long_as_they_may_be() {
    let mut node = Node::new(4, 0);
    let lengths = [MAX_TX; 2].into_iter().chain([MAX_ORDER; MAX_VALUES - 2]);
    for (at, length) in (0..).zip(lengths) {
        let id = node.instance.values.push(value(Hash([at + 1; 32]), 1), &[at; MAX_TX][..length]);
        assert_eq!(id, Some(at));
        assert_eq!(node.instance.transaction(at), Some(&[at; MAX_TX][..length]));
    }
    assert_eq!(node.instance.values.push(value(P, 1), TX), None, "another");
    for (length, fits) in [(MAX_ORDER, true), (MAX_ORDER + 1, false)] {
        assert_eq!(node.instance.values.replace(12, value(P, 1), &[0; MAX_TX][..length]), fits);
    }
}

/// M3: all that begin so, but nothing that had to go.
#[test]
fn what_a_hint_may_mean() {
    let mut node = Node::new(4, 0);
    let alike = |last| {
        let mut hash = P;
        hash.0[31] = last;
        hash
    };
    for hash in [alike(1), Q, alike(2)] {
        node.instance.add_value(value(hash, 1), TX);
    }
    let hinted = |node: &Node, hash: Hash| node.instance.hinted(hash.hint()).collect::<std::vec::Vec<_>>();
    assert_eq!((hinted(&node, P), hinted(&node, Q)), (std::vec![0, 2], std::vec![1]));
    assert!(!node.instance.values.replace(0, value(P, 1), &[0; MAX_TX + 1]), "too long: its place holds nothing now");
    assert_eq!((hinted(&node, P), hinted(&node, Hash::NIL)), (std::vec![2], std::vec![]));
}

/// C1, R1: votes of the suspended and of rounds that do not exist are not even remembered.
#[test]
fn only_votes_of_members_in_rounds_that_exist_count() {
    let mut node = Node::new(7, 0);
    node.instance.set_members(Members::all(7).without(6), Quorum { n: 6, f: 2 });
    let last = MAX_ROUNDS as Round - 1;
    for (round, voter, counts) in [(last, 6, false), (last + 1, 5, false), (last, 5, true)] {
        node.prevotes(round, NIL, [voter]);
        assert_eq!(node.instance.voters_from(0).count(), usize::from(counts), "round {round} of {voter}");
    }
    node.instance.restore_vote(VoteKind::Prevote, last + 1, None);
    assert!(!node.instance.has_restored());
    node.instance.restore_vote(VoteKind::Prevote, last, None);
    assert!(node.instance.has_restored());
    assert_eq!(node.instance.round(), last);
}

/// P2: whatever the order of the journal, and the first of two votes in one slot counts (C1).
#[test]
fn the_lock_is_the_newest_precommit_of_the_journal() {
    let (p, q) = (|round| precommit(round, Some(P)), |round| precommit(round, Some(Q)));
    for (votes, lock) in [
        (&[p(0), q(2)][..], (2, Q)),
        (&[q(2), p(0)], (2, Q)),
        (&[p(1), q(1)], (1, P)),
        (&[p(1), precommit(2, NIL)], (1, P)),
        (&[p(1), prevote(2, Some(Q))], (1, P)),
    ] {
        let node = Node::new(4, 0).rebooted(votes);
        assert_eq!(node.instance.lock().map(|(round, value)| (round, value.hash)), Some(lock), "{votes:?}");
    }
}

/// V1, V3: never, from the beginning, or from a round on.
#[test]
fn from_when_on_a_value_is_valid() {
    for (allowed_from, valid) in [(None, [false; 3]), (Some(0), [true; 3]), (Some(1), [false, true, true])] {
        let mut node = Node::new(4, 0);
        let id = node.instance.add_value(Value { allowed_from, ..value(P, 1) }, TX).expect("room");
        for (round, expected) in (0..).zip(valid) {
            node.instance.round = round;
            assert_eq!(node.instance.is_valid(id), expected, "{allowed_from:?} in round {round}");
        }
        assert!(!node.instance.is_valid(id + 1), "there is no such value");
    }
}

/// L6: votes of rounds after the decision are for others, those up to it are this node's own.
#[test]
fn votes_behind_the_decision_are_help() {
    let mut node = Node::new(4, 0);
    node.instance.add_value(value(P, 1), TX);
    node.instance.round = 1;
    assert_eq!([0, 1, 2].map(|round| node.instance.is_help(round)), [false; 3], "undecided");
    node.instance.adopt(0);
    assert_eq!([0, 1, 2].map(|round| node.instance.is_help(round)), [false, false, true]);
}
