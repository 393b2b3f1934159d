//! The rules, one scenario each.

use super::*;
use crate::limits::MAX_TX;

#[test]
fn fast_path_of_four_and_seven() {
    for (n, others) in [(4, 1..3), (7, 1..5)] {
        let mut node = Node::new(n, 0);
        assert_eq!(node.proposed(0, 1, P), [prevote(0, Some(P))]);
        assert_eq!(node.prevotes(0, Some(P), others.clone()), [precommit(0, Some(P))], "n = {n}: a quorum locks");
        assert_eq!(node.precommits(0, Some(P), others), [Did::Decided(0, P)], "n = {n}: a quorum decides");
        assert_eq!(node.instance.deadline(), None, "nothing is left to wait for");
    }
}

#[test]
fn of_two_rivals_the_first_seen_gets_the_vote() {
    let mut node = Node::new(7, 0);
    assert_eq!(node.proposed(0, 1, P), [prevote(0, Some(P))]);
    assert_eq!(node.proposed(0, 2, Q), []);
    // the others saw Q first: a quorum of them decides it here, too
    assert_eq!(node.prevotes(0, Some(Q), 2..7), [precommit(0, Some(Q))]);
    assert_eq!(node.precommits(0, Some(Q), 2..6), [Did::Decided(0, Q)]);
}

#[test]
fn of_one_proposer_only_the_first_proposal_of_round_0_counts() {
    let mut node = Node::new(4, 0);
    node.instance.add_value(Value { evident: false, ..value(P, 1) }, TX);
    assert_eq!(node.proposed(0, 1, P), [prevote(0, Some(P))]);
    assert!(!node.instance.takes_proposal(0, 1), "F3");
    assert!(node.instance.takes_proposal(0, 2));
    assert!(!node.instance.takes_proposal(1, 1), "of round 1 only the designated proposer's counts");
    assert!(node.instance.takes_proposal(1, 2));
}

#[test]
fn a_precommit_counts_as_its_senders_prevote() {
    let mut node = Node::new(7, 0);
    node.proposed(0, 1, P);
    assert_eq!(node.prevotes(0, Some(P), 1..3), []);
    assert_eq!(node.precommits(0, Some(P), [3]), []);
    assert_eq!(node.precommits(0, Some(P), [4]), [precommit(0, Some(P))], "3 prevotes and 2 precommits");
    assert_eq!(node.precommits(0, Some(P), 1..3), [Did::Decided(0, P)]);
}

#[test]
fn votes_are_not_needed_once_a_quorum_of_others_has_precommitted() {
    let mut node = Node::new(4, 0);
    node.proposed(0, 1, P);
    node.prevotes(0, Some(P), 1..3);
    node.precommits(0, Some(P), 1..3);
    assert!(node.instance.decided().is_some() && !node.instance.is_settled(), "its own precommit is one of the three");
    node.precommits(0, Some(P), [3]);
    assert!(node.instance.is_settled());
}

#[test]
fn a_lock_yields_only_to_a_newer_certificate() {
    // designated proposer of round r at height 1 of 4 is (1 + r) % 4
    let mut node = Node::new(4, 0);
    node.proposed(0, 1, P);
    assert_eq!(node.prevotes(0, Some(P), 1..3), [precommit(0, Some(P))]);
    assert_eq!(node.precommits(0, NIL, 1..4), []);
    assert_eq!(node.instance.round(), 1, "a quorum of nil ends the round");
    assert_eq!(node.proposed(1, 2, Q), [], "locked on P");
    assert_eq!(node.wait(), [prevote(1, NIL)]);
    // Q is certified in round 1 all the same
    assert_eq!(node.readies(1, Q, 1..3), [ready(1, Q), precommit(1, Some(Q))], "f + 1 READYs, then q_R with its own");
    assert_eq!(node.instance.lock().map(|(round, value)| (round, value.hash)), Some((1, Q)));
    // and now P is what it must not vote for
    node.precommits(1, NIL, 1..4);
    assert_eq!(node.instance.round(), 2);
    assert_eq!(node.proposed(2, 3, P), []);
    assert_eq!(node.wait(), [prevote(2, NIL)]);
}

#[test]
fn a_certificate_of_an_old_round_that_comes_late_unlocks_too() {
    let mut node = Node::new(4, 0);
    node.proposed(0, 1, P);
    node.prevotes(0, Some(P), 1..3);
    node.precommits(0, NIL, 1..4);
    node.prevotes(1, NIL, 1..4);
    node.precommits(1, NIL, 1..4);
    assert_eq!(node.instance.round(), 2);
    assert_eq!(node.proposed(2, 3, Q), [], "locked on P");
    // the READYs of round 1 arrive now (M5): this node amplifies them, which completes the certificate
    assert_eq!(node.readies(1, Q, 1..3), [ready(1, Q), prevote(2, Some(Q))]);
}

#[test]
fn ready_is_sent_on_a_polka_and_on_f_plus_1_readies_also_for_old_rounds() {
    let mut node = Node::new(7, 0);
    assert_eq!(node.prevotes(2, Some(P), 1..4), [], "f + 1 voters take it along to round 2");
    assert_eq!(node.instance.round(), 2);
    assert_eq!(node.readies(1, Q, 1..3), [], "f are not enough");
    assert_eq!(node.readies(1, Q, [3]), [ready(1, Q)]);
    assert!(node.prevotes(2, Some(P), 4..6).contains(&ready(2, P)), "a polka");
}

/// W2: found by the simulator. Of seven, 5 and 6 lie. They took 4 along to round 1, and then 3, which had not voted in
/// round 0, and are silent now: three are in round 0 and hear four precommits there, and of no more than f in round 1.
#[test]
fn who_has_gone_on_without_a_vote_is_not_waited_for() {
    let mut node = Node::new(7, 0);
    node.proposed(0, 1, P);
    node.prevotes(0, NIL, 1..3);
    assert_eq!(node.prevotes(1, NIL, [4]), []);
    assert_eq!(node.prevotes(1, NIL, [3]), [], "with 3 and 4, who are further, it has heard a quorum");
    assert_eq!(node.wait(), [precommit(0, NIL)]);
    node.precommits(0, NIL, 1..3);
    assert_eq!(node.instance.round(), 0, "no quorum for nil: it waits");
    node.wait();
    assert_eq!(node.instance.round(), 1);
}

/// W2, R1: found by the simulator. Of seven, 0 and 3 are suspended and 1 votes for what nobody knows: the votes of 5 and 6, whose
/// places are above the number of voters, are votes like all others.
#[test]
fn voters_behind_suspended_ones_end_a_wait_like_all_others() {
    let mut node = Node::new(7, 2);
    node.instance.set_members(Members::all(7).without(0).without(3), Quorum { n: 5, f: 2 });
    assert_eq!(node.proposed(0, 5, P), [prevote(0, Some(P))]);
    node.prevotes(0, NIL, [4]);
    node.prevotes(0, Some(P), [5]);
    assert_eq!(node.instance.deadline(), None, "three are no quorum to wait with");
    assert_eq!(node.prevotes(0, NIL, [6]), []);
    assert_eq!(node.wait(), [precommit(0, NIL)]);
    node.precommits(0, NIL, [4, 5]);
    node.precommits(0, Some(P), [6]);
    node.wait();
    assert_eq!(node.instance.round(), 1);
}

/// W2: found by the simulator. A liar's nil is right for this node, which so ends round 0 at once, and wrong for the
/// proposer of round 1, which waits to the end: its proposal must still be in time here.
#[test]
fn a_proposer_whom_liars_delay_is_waited_for() {
    let mut node = Node::new(4, 0);
    node.proposed(0, 1, P);
    node.prevotes(0, NIL, 1..4);
    assert_eq!(node.precommits(0, NIL, 1..4), []);
    assert_eq!(node.instance.round(), 1);
    let proposer_comes = node.now.plus(TIMEOUTS.of(0));
    assert!(node.instance.deadline() >= Some(proposer_comes.plus(TIMEOUTS.of(1))), "and a round's own time on top");
}

#[test]
fn f_plus_1_voters_of_a_higher_round_take_a_node_along() {
    for (n, f) in [(4, 1), (7, 2)] {
        let mut node = Node::new(n, 0);
        node.prevotes(5, NIL, 1..=f);
        assert_eq!(node.instance.round(), 0, "n = {n}: f may lie");
        assert!(!node.instance.workings().taken_along);
        node.precommits(7, NIL, [f + 1]);
        assert_eq!(node.instance.round(), 5, "n = {n}: the highest round that f + 1 have reached");
        assert!(node.instance.workings().taken_along);
    }
}

#[test]
fn a_round_without_agreement_ends_in_nil_and_the_next_proposer_proposes() {
    let mut node = Node::new(4, 2);
    assert_eq!(node.proposed(0, 1, P), [prevote(0, Some(P))]);
    node.prevotes(0, Some(P), [1]);
    assert_eq!(node.prevotes(0, NIL, [0]), [], "a quorum of prevotes, of which none has a quorum");
    assert_eq!(node.wait(), [precommit(0, NIL)]);
    assert_eq!(
        node.precommits(0, NIL, [0, 3]),
        [Did::Propose(1, Some(P))],
        "a quorum of nil ends the round at once; what was voted for most is proposed again"
    );
    assert_eq!(node.instance.round(), 1);
}

#[test]
fn nothing_valid_is_proposed_and_f_plus_1_wait_nil_by_timeout() {
    let mut node = Node::new(4, 0);
    assert_eq!(node.prevotes(0, NIL, [1]), []);
    let patience = node.instance.deadline().expect("but not for ever").since(START);
    assert_eq!(patience, TIMEOUTS.of(5), "one voter may lie: no reason to begin");
    assert_eq!(node.prevotes(0, NIL, [2]), []);
    assert_eq!(node.wait(), [prevote(0, NIL), precommit(0, NIL)]);
    assert_eq!(node.now, START.plus(TIMEOUTS.of(0)));
}

#[test]
fn a_proposer_does_not_insist_on_what_only_it_and_liars_voted_for() {
    let mut node = Node::new(4, 2);
    node.proposed(0, 2, P);
    node.prevotes(0, NIL, [0, 1]);
    node.wait();
    assert_eq!(node.precommits(0, NIL, [0, 1]), [Did::Propose(1, None)], "not even f + 1 voted for its own P");
    // with the help of a liar f + 1 did, as this node sees it: after everybody's turn it gives in
    node.prevotes(0, Some(P), [3]);
    assert_eq!(node.instance.proposer(5), 2);
    assert!(node.prevotes(5, NIL, [0, 1]).contains(&Did::Propose(5, None)));
}

#[test]
fn a_single_voter_is_not_left_alone_for_ever() {
    let mut node = Node::new(4, 0);
    let id = node.instance.add_value(Value { evident: false, ..value(P, 1) }, TX).unwrap();
    node.instance.on_proposal(0, 1, id);
    assert_eq!(node.prevotes(0, Some(P), [1]), []);
    assert_eq!(node.wait(), [], "L7: now the time for a proposal runs");
    assert_eq!(node.wait(), [prevote(0, NIL)]);
}

/// L7
#[test]
fn whoever_has_been_left_alone_often_is_left_alone_for_longer() {
    for (doublings, times) in [(0, 1), (1, 2), (3, 8)] {
        let mut node = Node::new(4, 0);
        node.instance.set_reluctance(Some(doublings));
        assert_eq!(node.prevotes(0, Some(P), [1]), []);
        assert_eq!(node.instance.deadline(), Some(START.plus(times * TIMEOUTS.of(5))));
        assert!(node.instance.workings().left_alone);
    }
}

#[test]
fn who_oversleeps_a_wait_acts_all_the_same() {
    let mut node = Node::new(4, 0);
    node.prevotes(0, NIL, 1..3);
    node.now = node.instance.deadline().expect("a wait for proposals").plus(1);
    assert_eq!(node.run(), [prevote(0, NIL), precommit(0, NIL)]);
}

/// L4: rather than what it is locked on, for others may hold that certificate, too.
#[test]
fn a_proposer_proposes_its_newest_certificate() {
    let mut node = Node::new(4, 3);
    node.proposed(0, 1, P);
    assert_eq!(node.prevotes(0, Some(P), 0..2), [precommit(0, Some(P))]);
    node.precommits(0, NIL, 0..3);
    node.wait();
    assert_eq!(node.prevotes(1, NIL, 0..3), [precommit(1, NIL)]);
    assert_eq!(node.readies(1, Q, 0..2), [ready(1, Q)], "the certificate of round 1, too late to lock there");
    assert_eq!(node.instance.lock().map(|(round, value)| (round, value.hash)), Some((0, P)));
    assert_eq!(node.precommits(1, NIL, 0..3), [Did::Propose(2, Some(Q))]);
}

#[test]
fn an_older_round_can_still_decide() {
    let mut node = Node::new(7, 0);
    node.proposed(0, 1, P);
    node.prevotes(0, Some(P), 1..5);
    node.prevotes(4, NIL, 1..4);
    assert_eq!(node.instance.round(), 4);
    assert_eq!(node.precommits(0, Some(P), 1..5), [Did::Decided(0, P), precommit(4, Some(P))], "and helps on (L6)");
}

#[test]
fn who_votes_twice_is_reported_and_counted_once() {
    let mut node = Node::new(4, 0);
    node.proposed(0, 1, P);
    assert_eq!(node.prevotes(0, Some(P), [1]), []);
    assert_eq!(node.prevotes(0, Some(P), [1]), [], "saying it again is no fault");
    assert_eq!(node.prevotes(0, Some(Q), [1]), [Did::Equivocation(1)]);
    assert_eq!(node.prevotes(0, Some(Q), [2]), []);
    assert_eq!(node.prevotes(0, Some(Q), [3]), [], "2 for Q and 2 for P: 1 is counted once");
    assert_eq!(node.precommits(0, Some(P), [1]), []);
    assert_eq!(node.precommits(0, NIL, [1]), [Did::Equivocation(1)]);
}

#[test]
fn without_evidence_of_its_own_a_node_follows_f_plus_1_voters() {
    for (n, f) in [(4, 1), (7, 2)] {
        let mut node = Node::new(n, 0);
        let id = node.instance.add_value(Value { evident: false, ..value(P, 1) }, TX).unwrap();
        node.instance.on_proposal(0, 1, id);
        assert_eq!(node.run(), [], "n = {n}: the proposer alone proves nothing");
        assert_eq!(node.prevotes(0, Some(P), 1..=f), [], "n = {n}: f may lie");
        let did = node.prevotes(0, Some(P), [f + 1]);
        assert_eq!(did.first(), Some(&prevote(0, Some(P))), "n = {n}: one of f + 1 has seen it");
        assert!(node.instance.workings().vouched);
    }
}

#[test]
fn what_the_chain_forbids_gets_no_vote_whoever_vouches() {
    let mut node = Node::new(7, 0);
    node.instance.add_value(Value { allowed_from: None, ..value(P, 1) }, TX);
    assert_eq!(node.proposed(0, 1, P), []);
    assert_eq!(node.prevotes(0, Some(P), 1..4), []);
    assert_eq!(node.wait(), [prevote(0, NIL)]);
}

#[test]
fn what_is_allowed_only_later_is_valid_only_later_even_if_heard_of_early() {
    // SKIP of a faster node's round 1 arrives while this one is in round 0 (V3)
    let mut node = Node::new(4, 0);
    node.instance.add_value(Value { allowed_from: Some(1), ..value(P, 2) }, TX);
    assert_eq!(node.proposed(0, 1, P), []);
    assert_eq!(node.proposed(1, 2, P), []);
    assert_eq!(
        node.prevotes(1, NIL, [1, 3]),
        [prevote(1, Some(P))],
        "taken along to round 1, where it may be voted for"
    );
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of votes: minutes")]
fn a_liar_cannot_fill_the_table_of_values() {
    let mut node = Node::new(4, 0);
    for i in 0..200u8 {
        // votes for ever new values, in ever new rounds, as far as there are any
        node.prevotes(i % MAX_ROUNDS as u8, Some(Hash([i; 32])), [3]);
    }
    assert_eq!(node.proposed(0, 1, Hash([0xff; 32])), [prevote(0, Some(Hash([0xff; 32])))]);
    // and what this node has voted for stays
    for i in 100..200u8 {
        node.prevotes(i % MAX_ROUNDS as u8, Some(Hash([i; 32])), [3]);
    }
    assert_eq!(node.prevotes(0, Some(Hash([0xff; 32])), 1..3), [precommit(0, Some(Hash([0xff; 32])))]);
}

/// Transactions of a height share their memory: what nobody needs makes room for as many as it takes.
#[test]
fn long_values_of_a_liar_make_room_for_others() {
    let mut node = Node::new(4, 0);
    let mut add = |i: u8, length: usize| {
        let (hash, text) = (Hash([i; 32]), [i; MAX_TX]);
        let id = node.instance.add_value(value(hash, 3), &text[..length]);
        let texts = |id| (node.instance.value(id).map(|value| value.hash), node.instance.transaction(id));
        assert_eq!(id.map(texts), id.map(|_| (Some(hash), Some(&text[..length]))), "{i}");
        id
    };
    let mut places = std::vec::Vec::new();
    for i in 1..100 {
        // long ones until there is no room, then short ones, then long ones again
        let length = if (20..40).contains(&i) { 40 } else { MAX_TX };
        places.extend(add(i, length));
    }
    assert_eq!(places.len(), 99);
    assert!(node.instance.add_value(value(P, 3), &[0; MAX_TX + 1]).is_none(), "longer than any transaction");
    // what is needed stays
    assert_eq!(node.proposed(0, 1, Q), [prevote(0, Some(Q))]);
    let kept = node.instance.find(&Q).expect("known");
    for i in 100..200 {
        let id = node.instance.add_value(value(Hash([i; 32]), 3), &[i; MAX_TX]);
        assert_ne!(id, Some(kept));
        assert_eq!(node.instance.transaction(kept), Some(TX));
    }
}

#[test]
fn votes_for_a_value_that_gave_way_are_not_counted_for_its_successor() {
    let mut node = Node::new(7, 0);
    for i in 1..=MAX_VALUES as u8 {
        node.prevotes(1, Some(Hash([i; 32])), [6]);
        node.prevotes(2, Some(Hash([i; 32])), [5]);
    }
    let id = node.instance.add_value(Value { evident: false, ..value(P, 1) }, TX).expect("room is made");
    for round in 1..3 {
        assert_eq!(node.instance.ballots[round].prevotes(Some(id)), 0);
    }
}

#[test]
fn an_amnesiac_follows_and_casts_nothing() {
    let mut node = Node::new(4, 0);
    node.instance.set_may_vote(false);
    assert_eq!(node.proposed(0, 1, P), []);
    assert_eq!(node.prevotes(0, Some(P), 1..4), []);
    assert_eq!(node.instance.deadline(), None);
    assert_eq!(node.precommits(0, Some(P), 1..4), [Did::Decided(0, P)]);
}

#[test]
fn timers_are_running_again_after_a_power_cut_in_a_later_round() {
    // only a READY of round 3 was cast before the cut
    let mut node = Node::new(4, 0).rebooted(&[ready(3, P)]);
    node.run();
    assert_eq!(node.instance.round(), 3);
    assert_eq!(node.wait(), [prevote(3, NIL)]);

    // also if nobody is heard and the evidence for P is lost
    let mut node = Node::new(4, 0);
    node.instance.add_value(Value { evident: false, ..value(P, 1) }, TX);
    node.instance.restore_vote(VoteKind::Ready, 3, Some(0));
    node.run();
    assert_eq!(node.wait(), [prevote(3, NIL)]);
}

#[test]
fn the_lock_survives_a_power_cut() {
    let before = {
        let mut node = Node::new(4, 0);
        let mut did = node.proposed(0, 1, P);
        did.extend(node.prevotes(0, Some(P), [1, 3]));
        did
    };
    assert_eq!(before, [prevote(0, Some(P)), precommit(0, Some(P))]);
    let mut node = Node::new(4, 0).rebooted(&before);
    assert_eq!(node.instance.lock().map(|(round, value)| (round, value.hash)), Some((0, P)));
    node.prevotes(1, Some(Q), [2, 3]);
    assert_eq!(node.proposed(1, 2, Q), [], "nothing but nil in round 1");
    assert_eq!(node.wait(), [prevote(1, NIL)]);

    // what it is locked on it goes on with, though nobody says again what locked it
    let mut node = Node::new(4, 0).rebooted(&before);
    node.prevotes(1, NIL, [1, 3]);
    assert_eq!(node.proposed(1, 2, P), [prevote(1, Some(P))]);
}

#[test]
fn no_vote_is_cast_again_after_a_power_cut() {
    let mut node = Node::new(4, 0).rebooted(&[prevote(0, Some(P))]);
    assert_eq!(node.proposed(0, 2, Q), [], "the prevote of round 0 is cast");
    assert_eq!(node.prevotes(0, Some(Q), 1..4), [precommit(0, Some(Q))], "others' polka may still lock it");
    let mut node = Node::new(4, 0).rebooted(&[prevote(0, Some(P)), precommit(0, NIL)]);
    assert_eq!(node.prevotes(0, Some(Q), 1..4), [], "the precommit is cast");
    assert_eq!(node.precommits(0, Some(Q), 1..4), [Did::Decided(0, Q)], "but it sees what the others decide");
}

#[test]
fn who_has_decided_keeps_voting_for_it_in_later_rounds() {
    let mut node = Node::new(4, 0);
    node.proposed(0, 1, P);
    node.prevotes(0, Some(P), 1..3);
    assert_eq!(node.precommits(0, Some(P), [1, 3]), [Did::Decided(0, P)]);
    // 1 and 2 did not see the third precommit and go on; they are two of three without this node
    assert_eq!(node.prevotes(1, Some(P), [1, 2]), [precommit(1, Some(P)), ready(1, P)]);
    assert_eq!(node.prevotes(2, NIL, [1, 2]), [precommit(2, Some(P))]);
}

/// L6
#[test]
fn who_has_decided_helps_in_the_rounds_after_one_by_one() {
    let mut node = Node::new(7, 0);
    node.prevotes(3, NIL, 1..4);
    assert_eq!(node.help(), [], "undecided");
    assert_eq!(node.precommits(0, Some(P), 1..6), [Did::Decided(0, P), precommit(3, Some(P))]);
    for round in 1..3 {
        assert_eq!(node.help(), [precommit(round, Some(P))]);
    }
    assert_eq!(node.help(), [], "in round 0 nobody needs it, and nobody is further than round 3");
}

#[test]
fn who_decides_without_a_vote_of_its_own_still_casts_one() {
    // the liar's precommit was valid only here: without this node's, the other two are two of three for ever
    let mut node = Node::new(4, 0);
    assert_eq!(node.precommits(0, Some(P), 1..4), [Did::Decided(0, P), precommit(0, Some(P))]);
}

/// What makes the rules be tried again besides votes, proposals and time.
#[test]
fn whatever_is_new_is_looked_at() {
    let seven = Members::all(7);
    let asides = [Standing { has_won: false, set_aside: true }; MAX_VALIDATORS];

    let mut node = Node::new(7, 0);
    node.instance.add_value(value(P, 1), TX);
    assert_eq!(node.run(), []);
    node.instance.on_served(0);
    assert_eq!(node.run(), [prevote(0, Some(P))], "a value that was served");

    let mut node = Node::new(7, 0);
    node.instance.add_value(Value { evident: false, ..value(P, 1) }, TX);
    node.instance.on_served(0);
    assert_eq!(node.run(), []);
    node.instance.set_evident(0);
    assert_eq!(node.run(), [prevote(0, Some(P))], "its evidence");

    let mut node = Node::new(4, 0);
    node.instance.add_value(value(P, 1), TX);
    assert_eq!(node.prevotes(1, NIL, [1, 3]), []);
    node.instance.on_proposal(1, 2, 0);
    assert_eq!(node.run(), [prevote(1, Some(P))], "that it is proposed in a later round");

    let mut node = Node::new(7, 0);
    node.instance.set_may_vote(false);
    assert_eq!(node.proposed(0, 1, P), []);
    node.instance.set_may_vote(true);
    assert_eq!(node.run(), [prevote(0, Some(P))], "that this node is readmitted");

    let mut node = Node::new(7, 0);
    node.instance.set_standings(asides);
    assert_eq!(node.proposed(0, 1, P), []);
    node.instance.set_standings(Standings::default());
    assert_eq!(node.run(), [prevote(0, Some(P))], "how its proposer stands");

    let mut node = Node::new(7, 0);
    node.proposed(0, 1, P);
    assert_eq!(node.prevotes(0, Some(P), 1..4), []);
    node.instance.set_members(seven.without(6), Quorum { n: 5, f: 2 });
    assert_eq!(node.run(), [precommit(0, Some(P))], "how many are enough");

    let mut node = Node::new(7, 0);
    assert_eq!(node.prevotes(0, Some(P), [1]), []);
    node.instance.adopt(0);
    assert_eq!(node.run(), [precommit(0, Some(P))], "what was decided elsewhere");

    let mut node = Node::new(7, 0);
    node.instance.set_reluctance(None);
    assert_eq!((node.prevotes(0, Some(P), [1]), node.instance.deadline()), (std::vec![], None));
    node.instance.set_reluctance(Some(0));
    node.run();
    assert!(node.instance.deadline().is_some(), "how long few are left alone");
}

#[test]
fn an_instance_begun_anew_is_as_a_new_one() {
    let mut node = Node::new(7, 3);
    node.proposed(0, 1, P);
    node.proposed(0, 2, Q);
    node.prevotes(0, Some(Q), 4..6);
    node.prevotes(5, NIL, 4..7);
    node.instance.set_own_proposal(1);
    node.instance.restore_vote(VoteKind::Precommit, 2, Some(0));
    node.instance.adopt(0);
    let timeouts = Timeouts { phase_us: 77 };
    node.instance.begin(9, Hash([9; 32]), 2, Quorum::full(4), timeouts);
    assert_eq!(node.instance, Instance::new(9, Hash([9; 32]), 2, Quorum::full(4), timeouts));
}
