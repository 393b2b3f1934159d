//! What one hostile node costs the others: in messages, in time, in history. The bounds are those of chapter 10 of
//! `docs/protocol.md`.

use super::net::{GATEWAY, HEARTBEAT_US, PHASE_US};
use super::*;
use crate::keys::Device;
use crate::limits::{HISTORY_BATCH, MAX_HELD};
use crate::tx::decision_hash;
use crate::validator::sync::VALUE_PHASES;
use crate::wire::{Class, Header, Kind};

/// The liar of a car of seven.
const LIAR: u8 = 6;
/// Votes of a node at a height that is decided in round 0.
const VOTES: usize = 2;
/// Phases from a proposal until a node that missed it has it in spite of a spoofer that keeps every list of unknown votes
/// full: one question for each vote kept, 4 Δ each.
const FETCH_PHASES: u64 = 4 * 6 * (MAX_HELD as u64 + 1);
/// Empty heights that a lonely voter gets in a minute while no block is closed, Δ being 10 ms: 6 of 64 Δ, 6 of 128 Δ, ..
const EMPTY_HEIGHTS_A_MINUTE: u32 = 6 + 6 + 6 + 6;

fn with_liar() -> Net {
    let mut net = Net::trusted(7);
    net.ecus[usize::from(LIAR)].mute = true;
    net
}

/// Messages of a kind that the others have sent since.
fn sent(net: &Net, since: usize, of: impl Fn(Kind) -> bool) -> usize {
    net.log[since..].iter().filter(|packet| packet.header.sender != LIAR && of(packet.header.kind)).count()
}

fn is_vote(kind: Kind) -> bool {
    kind.vote().is_some()
}

#[test]
fn a_flood_of_valid_proposals_gets_two_votes_of_each() {
    let mut net = with_liar();
    let since = net.log.len();
    for count in 0..200 {
        let tx = Transaction::Alarm { identifier: 0x16, count }.encode().expect("fits");
        let (proposal, _) = net.forge_proposal(LIAR, &tx, |_| true);
        net.replay(&proposal);
        net.run(50);
    }
    net.reach_by(0..LIAR, 1, HEARTBEAT_US);
    net.run(PHASE_US);
    assert!(sent(&net, since, is_vote) <= VOTES * 6, "{} votes", sent(&net, since, is_vote));
    assert_eq!(sent(&net, since, |kind| matches!(kind, Kind::Fetch | Kind::Value | Kind::Propose)), 0);
}

#[test]
fn who_always_votes_nil_costs_nothing() {
    let mut net = with_liar();
    for height in 1..=8 {
        net.run(2 * PHASE_US);
        let since = net.log.len();
        net.unlock(u64::from(height), 1);
        let asked = net.now;
        for kind in [Kind::Prevote, Kind::Precommit] {
            let vote = net.forge_vote(LIAR, kind, 0, None, |_| true);
            net.replay(&vote);
        }
        net.reach_by(0..LIAR, height, HEARTBEAT_US);
        assert!(net.now.since(asked) < PHASE_US, "{} us", net.now.since(asked));
        net.run(2 * PHASE_US);
        assert!(sent(&net, since, is_vote) <= VOTES * 6);
    }
}

/// One is silent and one lies: the correct ones alone are a quorum, so nobody needs what it could not check.
#[test]
fn bad_tags_for_one_victim_do_not_even_delay_the_victim() {
    let mut net = with_liar();
    let victim = 3;
    net.switch_off(5);
    for height in 1..=6 {
        let tx = net.unlock(u64::from(height), 1).encode().expect("fits");
        let asked = net.now;
        let hash = decision_hash(&net.genesis.mesh(), height, net.ecu(1).validator.state().head(), &tx);
        net.run_until(PHASE_US, |net| net.log.last().is_some_and(|packet| packet.header.kind == Kind::Propose));
        for kind in [Kind::Prevote, Kind::Precommit] {
            let vote = net.forge_vote(LIAR, kind, 0, Some(hash), |to| to != victim);
            net.replay(&vote);
        }
        net.reach_by(0..LIAR, height, HEARTBEAT_US);
        assert!(net.now.since(asked) < PHASE_US, "{} us", net.now.since(asked));
    }
    assert_eq!(net.ecu(victim).validator.counters().bad_tag, 12, "counted; nobody is accused");
    assert!(net.ecu(victim).validator.state().alarms().is_empty());
}

#[test]
fn who_asks_for_values_without_end_gets_one_in_eight_phases() {
    let mut net = with_liar();
    // a height that stays open: two silent, and the liar does not vote
    net.switch_off(4);
    net.switch_off(5);
    net.unlock(1, 1);
    net.run(PHASE_US);
    let hint = net.ecu(1).validator.heights.current().values()[0].hash.hint();
    let (since, started) = (net.log.len(), net.now);
    while net.now.since(started) < 8 * HEARTBEAT_US {
        for to in 0..4 {
            let mut header = Header::new(Kind::Fetch, 1).round(to);
            header.hint = hint;
            let fetch = net.forge(LIAR, header, &Hash::NIL, &[], |_| true);
            net.replay(&fetch);
        }
        net.run(1_000);
    }
    let most = 4 * (1 + net.now.since(started) / (VALUE_PHASES * PHASE_US)) as usize;
    let values = sent(&net, since, |kind| kind == Kind::Value);
    assert!((4..=most).contains(&values), "{values} values, {most} at most");
}

#[test]
fn who_asks_for_decisions_without_end_gets_a_batch_in_eight_phases() {
    let mut net = with_liar();
    for serial in 1..=12 {
        net.run(2 * PHASE_US);
        net.unlock(serial, 1);
        net.reach_by(0..LIAR, serial as u32, HEARTBEAT_US);
    }
    net.run(HEARTBEAT_US);
    let (since, started, mut from) = (net.log.len(), net.now, 0);
    while net.now.since(started) < 8 * HEARTBEAT_US {
        let sync = Header::new(Kind::Sync, from).round(0);
        let sync = net.forge(LIAR, sync, &Hash::NIL, &[], |_| true);
        net.replay(&sync);
        from = (from + HISTORY_BATCH) % 12;
        net.run(1_000);
    }
    // the one named and the f + 1 behind it
    let batches = 1 + net.now.since(started) / (VALUE_PHASES * PHASE_US);
    let most = 4 * (batches as usize) * HISTORY_BATCH as usize;
    let values = sent(&net, since, |kind| kind == Kind::Value);
    assert!((16..=most).contains(&values), "{values} values, {most} at most");
}

#[test]
fn replayed_hellos_of_sessions_that_are_up_get_no_answer() {
    let mut net = with_liar();
    let hellos: StdVec<_> = net.log.iter().filter(|packet| packet.header.kind == Kind::Hello).cloned().collect();
    let (since, started) = (net.log.len(), net.now);
    while net.now.since(started) < 8 * HEARTBEAT_US {
        hellos.iter().for_each(|hello| net.replay(hello));
        net.run(1_000);
    }
    let answers = sent(&net, since, |kind| kind == Kind::Confirm);
    assert_eq!(answers, 0, "the heartbeat proves as much");
    assert_eq!(sent(&net, since, |kind| kind == Kind::Hello), 0);
}

/// M3: a vote for something unknown may be anybody's.
#[test]
fn a_spoofer_without_keys_cannot_keep_a_node_from_the_value_it_misses() {
    let mut net = with_liar();
    let grant = net.grant(1);
    net.admit(&grant);
    net.switch_off(4);
    net.switch_off(5);
    net.loss = std::boxed::Box::new(|packet, to| to == 3 && packet.header.kind == Kind::Propose);
    net.tell(1, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
    let (started, mut hint) = (net.now, 0u16);
    let knows = |net: &Net| !net.ecu(3).validator.heights.current().values().is_empty();
    while !knows(&net) {
        // nearly as many as it keeps, on each identifier, ever new ones
        for sender in (0..7).filter(|sender| *sender != 3) {
            hint = hint.wrapping_add(7_919);
            let mut header = Header::new(Kind::Prevote, 1).hint(Some((sender, &Hash::NIL)));
            let mesh = net.genesis.mesh().short();
            (header.mesh, header.suite, header.sender, header.hint) = (mesh, 1, sender, hint);
            let bytes = [&header.to_bytes()[..], &[0x5a; 48]].concat();
            net.inject(Source { device: Device::Validator(sender), class: Class::Vote }, &bytes);
        }
        net.run(PHASE_US);
        assert!(net.now.since(started) < FETCH_PHASES * PHASE_US, "never asked for");
    }
}

/// L7: empty heights fill the history that waits for the gateway.
#[test]
fn a_lonely_voter_cannot_use_up_the_history_while_the_gateway_is_away() {
    let mut net = with_liar();
    net.switch_off(GATEWAY);
    let started = net.now;
    let mut voted = 0;
    while net.now.since(started) < 60_000_000 {
        if net.height(LIAR) >= voted {
            voted = net.height(LIAR) + 1;
            let vote = net.forge_vote(LIAR, Kind::Prevote, 0, None, |_| true);
            net.replay(&vote);
        }
        net.run(HEARTBEAT_US);
    }
    assert!((20..=EMPTY_HEIGHTS_A_MINUTE).contains(&net.top()), "{} heights", net.top());
}
