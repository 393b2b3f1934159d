//! Coming back: with the store, without it, with an old one.

use std::boxed::Box;
use std::cell::Cell;
use std::rc::Rc;

use super::net::{HEARTBEAT_US, PHASE_US};
use super::*;
use crate::limits::MAX_HISTORY;
use crate::wire::{Header, Kind};

fn decide(net: &mut Net, serials: core::ops::Range<u64>) {
    for serial in serials {
        net.run(2 * PHASE_US);
        net.close_block_in_time();
        net.run(2 * PHASE_US);
        let height = net.top() + 1;
        net.unlock(serial, 1);
        net.run_until(5 * HEARTBEAT_US, |net| net.top() >= height && net.ecu(1).decisions.contains_key(&height));
    }
}

#[test]
fn with_its_store_an_ecu_catches_up_and_votes_again() {
    let mut net = Net::trusted(7);
    decide(&mut net, 1..3);
    net.switch_off(6);
    decide(&mut net, 3..12);
    net.switch_on([6]);
    net.reach(11, 20 * HEARTBEAT_US);
    net.run(HEARTBEAT_US);
    assert!(!net.ecu(6).decisions[&5].live, "nothing moves because of what is long past");
    for at in [4, 5] {
        net.switch_off(at);
    }
    decide(&mut net, 12..14);
    assert!(net.ecu(6).decisions[&13].live, "it is one of the five that are left");
}

#[test]
fn beyond_the_history_the_state_is_taken_over() {
    let mut net = Net::trusted(4);
    net.switch_off(3);
    decide(&mut net, 1..MAX_HISTORY as u64 + 10);
    net.switch_on([3]);
    let top = net.top();
    net.reach(top, 30 * HEARTBEAT_US);
    assert!(net.ecu(3).reports.iter().any(|report| matches!(report, Report::CaughtUp(_))));
    assert_eq!(net.ecu(3).validator.state(), net.ecu(0).validator.state());
    // and it comes back from its own journal as well
    net.reboot(3);
    net.run(5 * HEARTBEAT_US);
    assert_eq!(net.height(3), top);
    net.switch_off(2);
    net.run(2 * HEARTBEAT_US);
    decide(&mut net, 1_000..1_003);
}

#[test]
fn votes_before_a_power_cut_are_kept_and_the_height_goes_on() {
    // the power fails for everybody at any moment of an approval
    for cut in 0..40 {
        let mut net = Net::trusted(4);
        let grant = net.grant(1);
        net.admit(&grant);
        net.tell(2, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
        net.run(cut * 150);
        net.ids().for_each(|at| net.switch_off(at));
        net.switch_on(0..4);
        net.run(10 * HEARTBEAT_US);
        // grants are not durable: they come in again
        net.admit(&grant);
        net.tell(2, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
        net.run(20 * HEARTBEAT_US);
        let used = net
            .ecu(1)
            .validator
            .state()
            .check(&Transaction::UseGrant(grant.grant.usage()), &Registry::from(&net.genesis));
        assert!(used.is_err(), "power cut after {} us: not used", cut * 150);
    }
}

#[test]
fn one_that_reboots_in_the_middle_never_contradicts_itself() {
    for cut in 0..40 {
        let mut net = Net::trusted(4);
        net.unlock(1, 2);
        net.run(cut * 150);
        net.reboot(1);
        net.reach(1, 20 * HEARTBEAT_US);
        net.run(2 * HEARTBEAT_US);
    }
}

#[test]
fn who_has_decided_still_helps_after_a_reboot() {
    // ECU 3 is out; ECU 0 alone sees the decision, for its precommit is lost for 1 and 2, and then loses power
    let mut net = Net::trusted(4);
    net.switch_off(3);
    net.loss = std::boxed::Box::new(|packet, to| packet.header.kind == Kind::Precommit && to != 0);
    net.unlock(1, 2);
    net.run_until(HEARTBEAT_US, |net| net.ecu(0).decisions.contains_key(&1));
    assert_eq!((net.height(1), net.height(2)), (0, 0));
    net.reboot(0);
    net.loss = std::boxed::Box::new(|_, _| false);
    net.reach(1, 30 * HEARTBEAT_US);
}

#[test]
fn a_wiped_ecu_is_silent_until_readmitted_and_then_votes() {
    let mut net = Net::trusted(7);
    decide(&mut net, 1..4);
    net.wipe(6);
    assert!(net.ecu(6).validator.is_amnesiac());
    net.run_until(20 * HEARTBEAT_US, |net| !net.ecu(6).validator.is_amnesiac());
    let readmitted = net.ecu(6).validator.state().readmission(6).expect("a validator");
    assert!(readmitted.height > 3);
    net.run(5 * HEARTBEAT_US);
    net.switch_off(4);
    net.switch_off(5);
    let height = net.top() + 1;
    decide(&mut net, 10..11);
    let voted = |packet: &Packet| {
        packet.header.kind.vote().is_some() && packet.header.sender == 6 && packet.header.height == height
    };
    assert!(net.log.iter().any(voted), "the other four are no quorum without it");
    // once more: it remembers that it was readmitted
    net.reboot(6);
    assert!(!net.ecu(6).validator.is_amnesiac());
}

#[test]
fn a_wiped_ecu_that_reboots_before_it_is_readmitted_is_still_an_amnesiac() {
    let mut net = Net::trusted(4);
    decide(&mut net, 1..3);
    net.wipe(3);
    net.run(2_000);
    net.reboot(3);
    assert!(net.ecu(3).validator.is_amnesiac());
    net.run_until(20 * HEARTBEAT_US, |net| !net.ecu(3).validator.is_amnesiac());
}

/// DC-34: it is readmitted and does not hear of it before it boots again. What allowed the boot before to vote allows this one
/// nothing: what that one said is not known to it.
#[test]
fn a_wiped_ecu_that_reboots_while_it_is_readmitted_is_readmitted_once_more() {
    let mut net = Net::trusted(4);
    decide(&mut net, 1..3);
    net.wipe(3);
    net.run_until(5 * HEARTBEAT_US, |net| net.ecu(0).validator.sessions[3].amnesiac);
    net.loss = Box::new(|_, to| to == 3);
    let nonce = |net: &Net, at: u8| net.ecu(at).validator.state().readmission(3).map(|last| last.nonce);
    let before = nonce(&net, 0);
    net.run_until(5 * HEARTBEAT_US, |net| nonce(net, 0) != before);
    let first = nonce(&net, 0);
    net.loss = Box::new(|_, _| false);
    net.reboot(3);
    net.run_until(30 * HEARTBEAT_US, |net| !net.ecu(3).validator.is_amnesiac());
    assert_eq!(nonce(&net, 3), Some(net.ecu(3).validator.nonce));
    assert_ne!(nonce(&net, 3), first);
}

#[test]
fn an_old_image_of_the_store_is_readmitted_too_and_never_contradicts_itself() {
    let mut net = Net::trusted(4);
    decide(&mut net, 1..3);
    let old = net.ecu(3).journal.clone();
    decide(&mut net, 3..6);
    net.restore(3, old);
    assert!(net.ecu(3).validator.is_amnesiac() && net.height(3) <= 2);
    net.run_until(30 * HEARTBEAT_US, |net| !net.ecu(3).validator.is_amnesiac());
    assert!(net.height(3) > 5);
    net.switch_off(2);
    net.run(2 * HEARTBEAT_US);
    decide(&mut net, 10..12);
}

#[test]
fn a_journal_rewritten_at_any_moment_says_the_same() {
    let mut net = Net::trusted(4);
    decide(&mut net, 1..3);
    let grant = net.grant(3);
    net.admit(&grant);
    net.tell(2, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
    for _ in 0..12 {
        net.run(400);
        let mut buffer = [0; crate::limits::MAX_MESSAGE];
        let mut rewritten = net.installed(1);
        net.ecu(1).validator.live_records(&mut buffer, &mut |kind, bytes| {
            rewritten.replay(kind, bytes).expect("sound");
        });
        let known = |validator: &Validator<_>| {
            let height = validator.state().height();
            let votes = |height| validator.own_votes(height).collect::<StdVec<_>>();
            (validator.state().clone(), validator.boot(), validator.is_amnesiac(), votes(height), votes(height + 1))
        };
        let live = known(&net.ecu(1).validator);
        assert_eq!(known(&rewritten), live);
        assert!(rewritten.history().eq(net.ecu(1).validator.history()));
        // what is appended behind it, although it holds it already, changes nothing
        for (kind, bytes) in net.ecu(1).journal.iter().rev().take(2).rev() {
            rewritten.replay(*kind, bytes).expect("sound");
        }
        assert_eq!(known(&rewritten), live);
    }
}

#[test]
fn one_liar_cannot_make_a_sleeper_adopt_its_state() {
    let mut net = Net::trusted(4);
    net.switch_off(3);
    decide(&mut net, 1..3);
    net.switch_on([3]);
    net.run(5 * HEARTBEAT_US);
    net.ecus[2].mute = true;
    // the liar answers for a present of its own
    let mut invented = net.ecu(2).validator.state().clone();
    for sequence in 1..30 {
        let tx = Transaction::Record { endpoint: 0, sequence, data: Vec::new() };
        invented.apply(&tx.encode().expect("fits"), &tx, &mut Registry::from(&net.genesis)).expect("allowed");
    }
    let (head, digest) = (*invented.head(), invented.digest());
    let mut has_waited = false;
    for _ in 0..20 {
        let header = Header::new(Kind::Decided, invented.height()).hint(Some((0, &head)));
        if net.ecu(2).validator.session(3).is_some_and(|session| session.is_confirmed()) {
            let claim = net.forge(2, header, &digest, &[], |_| true);
            net.replay(&claim);
            let body = invented.encode().expect("fits");
            let subject = crate::hash::hash(crate::hash::Domain::Body, &[&body]);
            let header = Header::new(Kind::State, invented.height()).round(3);
            let state = net.forge(2, header, &subject, &body, |_| true);
            net.replay(&state);
            has_waited |= net.ecu(3).validator.proof().is_some();
        }
        net.run(HEARTBEAT_US * 3 / 2);
        net.tell(3, Input::Tick);
        assert!(net.ecu(3).validator.proof().is_none(), "it is not kept for long");
    }
    assert!(has_waited && net.height(3) <= 2, "what it invented is not believed");
    net.run(PHASE_US);
}

/// The state is there and needs one more DECIDED; who has no keys says DECIDED in the name of the one that spoke for it.
#[test]
fn a_forger_does_not_displace_the_proof_of_a_state_in_hand() {
    let mut net = Net::trusted(4);
    net.switch_off(3);
    decide(&mut net, 1..MAX_HISTORY as u64 + 10);
    let heard = Rc::new(Cell::new(0));
    let only = Rc::clone(&heard);
    net.loss = Box::new(move |packet, to| {
        to == 3 && packet.header.kind == Kind::Decided && packet.header.sender != only.get()
    });
    net.switch_on([3]);
    net.run_until(30 * HEARTBEAT_US, |net| net.ecu(3).validator.proof().is_some());
    let said = |packet: &&Packet| (packet.header.kind, packet.header.sender) == (Kind::Decided, 0);
    let mut forged = net.log.iter().rfind(said).expect("a heartbeat").clone();
    forged.bytes[4..8].copy_from_slice(&1_000_000_u32.to_le_bytes());
    net.replay(&forged);
    heard.set(1);
    let top = net.top();
    net.run_until(2 * HEARTBEAT_US, |net| net.height(3) == top);
}

/// More than the mesh withstands: f + 1 liars prove what is no state. Who took it over has none any more, and must not begin anew.
#[test]
fn who_was_given_what_is_no_state_casts_no_vote_any_more() {
    let mut net = Net::trusted(4);
    decide(&mut net, 1..3);
    net.ecus[1].mute = true;
    net.ecus[2].mute = true;
    let (height, body) = (1_000, [7; 300]);
    let subject = crate::hash::hash(crate::hash::Domain::Body, &[&body]);
    let digest = crate::hash::hash_of_encoding(crate::hash::Domain::State, &body);
    for _ in 0..20 {
        for liar in [1, 2] {
            let decided = Header::new(Kind::Decided, height);
            let claim = net.forge(liar, decided, &digest, &[], |to| to == 3);
            let state = net.forge(liar, Header::new(Kind::State, height).round(3), &subject, &body, |_| true);
            net.replay(&claim);
            net.replay(&state);
        }
        net.run(HEARTBEAT_US);
    }
    assert!(net.ecu(3).validator.is_amnesiac() && net.height(3) == 0);
    net.ecus[1].mute = false;
    net.ecus[2].mute = false;
    net.run(20 * HEARTBEAT_US);
    assert!(net.ecu(3).validator.is_amnesiac(), "its boot is older than the loss");
    net.reboot(3);
    assert!(net.ecu(3).validator.is_amnesiac());
    net.run_until(40 * HEARTBEAT_US, |net| !net.ecu(3).validator.is_amnesiac());
}

/// One of seven hears no precommit of the others for so long, and nothing but votes; whether what it decides then moves anything.
fn decides_late(deaf_us: u64) -> bool {
    let mut net = Net::trusted(7);
    let early = Rc::new(Cell::new(true));
    let deaf = Rc::clone(&early);
    net.loss = Box::new(move |packet, to| {
        to == 6
            && match packet.header.kind {
                Kind::Decided | Kind::Value => true,
                kind => kind == Kind::Precommit && deaf.get(),
            }
    });
    net.unlock(1, 1);
    net.reach_by(0..6, 1, 2 * HEARTBEAT_US);
    net.run(deaf_us);
    early.set(false);
    net.run_until(200 * HEARTBEAT_US, |net| net.ecu(6).decisions.contains_key(&1));
    net.ecu(6).decisions[&1].live
}

/// L6: the others have seen a quorum of each other's precommits, so that they could do without saying their own. Who could
/// not needs them all the same, and what it says meanwhile does not take them back.
#[test]
fn who_missed_the_precommits_of_all_others_is_helped_with_votes_alone() {
    assert!(decides_late(4 * PHASE_US));
}

/// L6: help is no reason to help. What one says who has decided, heard late by those who have, too, stays without an answer.
#[test]
fn help_that_is_heard_late_is_not_answered_with_help() {
    let mut net = Net::trusted(7);
    net.unlock(1, 1);
    net.reach(1, 2 * HEARTBEAT_US);
    net.run(2 * HEARTBEAT_US);
    let decided = net.ecu(1).decisions[&1].hash;
    let header = Header::new(Kind::Precommit, 1).hint(Some((1, &decided)));
    let help = net.forge(3, header, &decided, &[], |_| true);
    net.replay(&help);
    let before = net.log.len();
    net.run(2 * HEARTBEAT_US);
    assert!(net.log[before..].iter().all(|packet| packet.header.kind.vote().is_none()));
}

/// DC-45: whoever keeps the votes from an actuator opens no door at a time of its own choice.
#[test]
fn what_is_decided_long_after_it_was_heard_of_moves_nothing() {
    assert!(!decides_late(256 * PHASE_US));
}

/// C5: one statement may be a liar's; the second one is enough.
#[test]
fn who_is_behind_believes_no_single_one() {
    let mut net = Net::trusted(4);
    net.loss = Box::new(|_, to| to == 3);
    decide(&mut net, 1..2);
    let tx = net.ecu(1).decisions[&1].bytes.clone();
    let subject = crate::hash::hash(crate::hash::Domain::Body, &[&tx]);
    for (teller, height) in [(2, 0), (1, 1)] {
        let mut header = Header::new(Kind::Value, 1).round(3);
        header.hint_proposer = crate::wire::DECIDED_VALUE;
        let told = net.forge(teller, header, &subject, &tx, |_| true);
        net.tell(3, Input::Message { source: told.source, bytes: &told.bytes });
        assert_eq!(net.height(3), height, "told by {teller}");
    }
}

/// Records that only one validator each can check wait there for ever: they must not keep out what the mesh wants itself.
#[test]
fn a_sensor_with_two_faces_keeps_nobody_from_being_readmitted() {
    let mut net = Net::trusted(4);
    for count in 0..8 {
        for at in 0..3 {
            let record = net.record(1, 1 + count * 3 + u32::from(at), b"open", |validator| validator == at);
            net.inject(record.source, &record.bytes);
        }
    }
    net.run(HEARTBEAT_US / 4);
    net.wipe(3);
    net.run_until(30 * HEARTBEAT_US, |net| !net.ecu(3).validator.is_amnesiac());
}
