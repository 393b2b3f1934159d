//! DC-21, DC-23 to DC-25: keys that age well, against somebody who has recorded every frame and is then given a key.

use super::car;
use super::net::{GATEWAY, HEARTBEAT_US};
use super::*;
use crate::keys::{Device, KeyHandle, SoftKeys};
use crate::limits::RATCHET_BOOTS;
use crate::mac::Suite;
use crate::pairing::{Agreement, Ephemeral};
use crate::sign::SigningKey;
use crate::wire::{self, Kind, Parts};

/// Whether the key opens a CONFIRM that ECU 1 has sent to ECU 0: its tag is then no secret, nor are those of all else.
fn opens(net: &Net, keys: &SoftKeys, key: KeyHandle, packet: &Packet) -> bool {
    if packet.header.kind != Kind::Confirm || packet.header.sender != 1 {
        return false;
    }
    let (n, tag_len) = (net.genesis.validators.len(), net.genesis.tag_len());
    let parts = Parts::split(&packet.bytes, n, tag_len).expect("a message");
    let tag = parts.tag(wire::tag_slot(1, 0), tag_len).expect("one for each");
    keys.verify(key, &wire::tag_input(parts.head, &Hash::NIL), tag)
}

/// How many of the recorded messages from `from` on the holder of pairwise keys opens: the nonces of all sessions are on the wire.
fn opened(net: &Net, stolen: &mut SoftKeys, log: core::ops::Range<usize>) -> usize {
    let nonces = |of: u8| -> StdVec<u64> {
        let hellos = net.log.iter().filter(|packet| packet.header.kind == Kind::Hello && packet.header.sender == of);
        let mut nonces: StdVec<u64> = hellos.map(|packet| packet.header.nonce()).collect();
        nonces.dedup();
        nonces
    };
    let mut count = 0;
    for mine in nonces(0) {
        for its in nonces(1) {
            stolen.derive(1, [mine, its]);
            count +=
                net.log[log.clone()].iter().filter(|said| opens(net, stolen, KeyHandle::Candidate(1), said)).count();
        }
    }
    count
}

/// What the flash of an ECU's key store holds.
fn stolen(net: &Net, at: u8) -> SoftKeys {
    let mut keys = car::keys(net.genesis.validators.len(), at);
    assert!(net.ecu(at).pairs.as_ref().is_none_or(|kept| keys.restore(kept)));
    keys
}

fn all_hear_each_other(net: &Net) -> bool {
    net.ids().all(|at| net.ids().filter(|peer| *peer != at).all(|peer| net.ecu(at).validator.is_heard(peer)))
}

/// Reboots an ECU until the next boot's number is one at which keys step.
fn up_to_the_step(net: &mut Net, at: u8) {
    while net.ecu(at).validator.boot + 1 < RATCHET_BOOTS {
        net.reboot(at);
        net.run(HEARTBEAT_US / 2);
    }
    net.run(8 * HEARTBEAT_US);
    assert!(all_hear_each_other(net));
}

fn refresh(net: &mut Net, at: u8, random: u8) {
    net.tell(at, Input::Refresh(Ephemeral::from_random([random; 32])));
    net.run(80 * HEARTBEAT_US);
}

#[test]
fn a_stolen_session_key_dies_at_the_next_boot() {
    let mut net = Net::trusted(4);
    let first = net.log.len();
    net.switch_off(0);
    let thief = core::mem::replace(&mut net.ecus[0].validator.keys, SoftKeys::new(Suite::Cmac));
    let opens = |net: &Net, log: core::ops::Range<usize>| {
        net.log[log].iter().filter(|packet| opens(net, &thief, KeyHandle::Session(1), packet)).count()
    };
    assert!(opens(&net, 0..first) > 0, "it is the key of that session");
    net.switch_on([0]);
    net.run(8 * HEARTBEAT_US);
    assert!(all_hear_each_other(&net));
    assert_eq!(opens(&net, first..net.log.len()), 0);
}

#[test]
fn a_stolen_pairwise_key_opens_no_earlier_session() {
    let mut net = Net::trusted(4);
    up_to_the_step(&mut net, 0);
    let before = net.log.len();
    assert!(opened(&net, &mut stolen(&net, 0), 0..before) > 0, "the sessions since the last step");
    net.reboot(0);
    net.run(80 * HEARTBEAT_US);
    let end = net.log.len();
    for at in 0..2 {
        assert!(net.ecu(at).validator.keys_are_kept());
    }
    assert_eq!(opened(&net, &mut stolen(&net, 0), 0..end), 0, "not even the session in which the step was taken");
    net.reboot(0);
    net.run(8 * HEARTBEAT_US);
    assert!(all_hear_each_other(&net), "by the key after it");
    assert!(opened(&net, &mut stolen(&net, 0), end..net.log.len()) > 0);
}

/// A passive thief. One that sits in between while the pair meets for the first time after the theft is not kept out by this.
#[test]
#[cfg_attr(miri, ignore = "curves: minutes")]
fn a_stolen_pairwise_key_is_healed_by_a_refresh() {
    let mut net = Net::trusted(4);
    let mut thief = stolen(&net, 0);
    net.reboot(1);
    net.run(8 * HEARTBEAT_US);
    assert!(opened(&net, &mut thief, 0..net.log.len()) > 0, "it opens what comes after the theft");
    refresh(&mut net, 0, 0x77);
    let refreshed = net.ecu(1).validator.state().refreshed(0).expect("in genesis");
    assert!(
        refreshed.height > 0 && net.ecu(0).validator.keys.ephemeral().is_none(),
        "decided, and its secret forgotten"
    );
    let healed = net.log.len();
    net.ids().for_each(|at| net.reboot(at));
    net.run(8 * HEARTBEAT_US);
    assert!(all_hear_each_other(&net));
    for _ in 0..4 {
        let end = net.log.len();
        assert_eq!(opened(&net, &mut thief, healed..end), 0);
        // what it can do alone is go on from the key
        thief.step(1);
    }
    // or guess, with the public half of the refresh and an identity of its own
    let mut thief = stolen_at_first(&net);
    let asked = Agreement { peer: 1, height: refreshed.height, public: refreshed.key, own: None };
    let guess = asked.run(&SigningKey::from_seed([0x99; 32]), &net.genesis.validators[1].key);
    assert!(thief.take(1, refreshed.height, guess.secret.expect("no weak key")));
    thief.renew(1, [0, 0]);
    thief.promote(1);
    assert_eq!(opened(&net, &mut thief, healed..net.log.len()), 0);
}

fn stolen_at_first(net: &Net) -> SoftKeys {
    car::keys(net.genesis.validators.len(), 0)
}

/// The session that is up is healed, too, without a word lost that was not said again.
#[test]
#[cfg_attr(miri, ignore = "curves: minutes")]
fn a_refresh_renews_sessions_and_pairs_of_all_who_are_there() {
    let mut net = Net::trusted(4);
    let before: StdVec<_> = net.ids().map(|at| net.ecu(at).validator.counters().bad_tag).collect();
    refresh(&mut net, 2, 0x42);
    for at in net.ids().filter(|at| *at != 2) {
        let (one, other) = (stolen(&net, 2), stolen(&net, at));
        let input = [3; crate::mac::TAG_INPUT];
        let tag = one.tag(KeyHandle::Pair(Device::Validator(at)), &input);
        assert_eq!(tag, other.tag(KeyHandle::Pair(Device::Validator(2)), &input));
        assert_ne!(tag, stolen_at_first(&net).tag(KeyHandle::Pair(Device::Validator(at)), &input));
        assert_eq!(one.offered(at), None, "nothing is left of it");
        let bad = net.ecu(at).validator.counters().bad_tag - before[usize::from(at)];
        assert!(bad <= 16, "ecu {at}: {bad} offers and late words");
    }
    assert!(all_hear_each_other(&net));
    net.unlock(1, 3);
    net.reach(2, HEARTBEAT_US);
}

#[test]
#[cfg_attr(miri, ignore = "curves: minutes")]
fn who_slept_through_refreshes_and_the_history_comes_back_and_takes_part_in_the_next() {
    let mut net = Net::trusted(4);
    net.switch_off(3);
    let mut serial = 0;
    for round in 0..4 {
        refresh(&mut net, 1, 0x50 + round);
        for _ in 0..crate::limits::REFRESH_INTERVAL_HEIGHTS {
            serial += 1;
            let before = net.height(GATEWAY);
            net.close_block_in_time();
            net.unlock(serial, 2);
            net.run_until(8 * HEARTBEAT_US, |net| net.height(GATEWAY) > before);
        }
    }
    net.switch_on([3]);
    net.run(200 * HEARTBEAT_US);
    assert!(all_hear_each_other(&net));
    assert_eq!(net.height(3), net.height(0));
    let input = [3; crate::mac::TAG_INPUT];
    let tags = [(1, 3), (3, 1)]
        .map(|(at, peer)| net.ecu(at).validator.keys.tag(KeyHandle::Pair(Device::Validator(peer)), &input));
    assert_eq!(tags[0], tags[1]);
    assert_ne!(
        tags[0],
        car::keys(4, 1).tag(KeyHandle::Pair(Device::Validator(3)), &input),
        "with the newest refresh in it"
    );
}

/// Power cuts at any time while keys step and while a refresh goes through: the pair meets again.
#[test]
#[cfg_attr(miri, ignore = "curves: minutes")]
fn a_power_cut_between_any_two_steps_parts_nobody() {
    for at in [0, 1] {
        for cut in 0..40 {
            let mut net = Net::trusted(4);
            up_to_the_step(&mut net, 0);
            net.reboot(0);
            net.tell(0, Input::Refresh(Ephemeral::from_random([5; 32])));
            net.run(cut * HEARTBEAT_US / 4);
            net.reboot(at);
            net.run(20 * HEARTBEAT_US);
            assert!(all_hear_each_other(&net), "ecu {at} loses power after {cut} quarters of a heartbeat");
            net.ids().for_each(|at| net.reboot(at));
            net.run(20 * HEARTBEAT_US);
            assert!(all_hear_each_other(&net), "then all: ecu {at} after {cut}");
        }
    }
}

#[test]
fn hellos_of_keys_that_are_gone_change_nothing_and_cost_one_hello_a_heartbeat() {
    let mut net = Net::trusted(4);
    up_to_the_step(&mut net, 0);
    let old: StdVec<Packet> = net.log.iter().filter(|packet| packet.header.kind == Kind::Hello).cloned().collect();
    net.reboot(0);
    net.run(8 * HEARTBEAT_US);
    let begin = net.log.len();
    for packet in &old {
        net.replay(packet);
        net.run(HEARTBEAT_US / 10);
    }
    let heartbeats = old.len() / 10 + 2;
    let said = net.log[begin..].iter().filter(|packet| packet.header.kind == Kind::Hello).count();
    assert!(said <= 4 * heartbeats, "{said} HELLOs in {heartbeats} heartbeats");
    assert!(all_hear_each_other(&net));
}

/// A liar moves the key of its own pair as it likes, one step with each HELLO, and no other one.
#[test]
fn a_liar_far_ahead_is_not_followed_and_harms_only_its_own_pair() {
    let mut net = Net::trusted(4);
    net.switch_off(3);
    for steps in [20, 2] {
        let mut liar = stolen(&net, 3);
        (0..steps).for_each(|_| assert!(liar.step(0)));
        let hello = net.log.iter().rev().find(|p| p.header.kind == Kind::Hello && p.header.sender == 3).cloned();
        let mut packet = hello.expect("it has said one");
        let header = packet.header.with_nonce(0xabcd + steps);
        packet.bytes[..wire::HEADER].copy_from_slice(&header.to_bytes());
        let input = wire::tag_input(&header.to_bytes(), &Hash::NIL);
        let tag = liar.tag(KeyHandle::Pair(Device::Validator(0)), &input).expect("loaded");
        packet.bytes[wire::HEADER..wire::HEADER + net.genesis.tag_len()].copy_from_slice(&tag[..net.genesis.tag_len()]);
        let before = *net.ecu(0).validator.counters();
        net.tell(0, Input::Message { source: packet.source, bytes: &packet.bytes });
        assert_eq!(net.ecu(0).validator.counters().bad_tag, before.bad_tag + 1, "{steps} steps ahead");
    }
    net.switch_on([3]);
    net.run(8 * HEARTBEAT_US);
    assert!(all_hear_each_other(&net));
}
