//! Coming up, and staying together.

use super::net::{HEARTBEAT_US, PHASE_US};
use super::*;
use crate::wire::Kind;

#[test]
fn seven_ignite_to_trusted_with_three_messages_each() {
    let mut net = Net::dark(7);
    net.switch_on(0..7);
    net.run_until(10 * PHASE_US, |net| net.ids().all(|at| net.ecu(at).validator.mode() == Mode::Trusted));
    let trusted = net.now;
    net.run(HEARTBEAT_US / 2);
    let hellos = net.log.iter().filter(|packet| packet.header.kind == Kind::Hello).count();
    let confirms = net.log.iter().filter(|packet| packet.header.kind == Kind::Confirm).count();
    assert_eq!(hellos, 7, "one HELLO each");
    assert!(confirms <= 14, "{confirms} CONFIRMs");
    assert!(trusted.since(Micros(1_000_000)) < 4 * PHASE_US, "trusted after {trusted:?}");
    for at in net.ids() {
        let counters = net.ecu(at).validator.counters();
        assert_eq!((counters.bad_tag, counters.replayed, counters.unknown), (0, 0, 0), "ecu {at}");
    }
}

#[test]
fn whoever_comes_late_or_alone_is_met() {
    let mut net = Net::dark(4);
    net.switch_on(0..3);
    net.run(7 * HEARTBEAT_US);
    assert_eq!(net.ecu(0).validator.mode(), Mode::Trusted, "three of four are a quorum");
    net.switch_on([3]);
    net.run(3 * HEARTBEAT_US);
    for at in net.ids() {
        assert_eq!(net.ecu(at).validator.peers_heard(), 3, "ecu {at}");
    }
    // and again: the others remember its last session
    for _ in 0..6 {
        net.reboot(3);
        net.run(3 * HEARTBEAT_US);
        for at in net.ids() {
            assert_eq!(net.ecu(at).validator.peers_heard(), 3, "ecu {at}");
        }
    }
}

#[test]
fn lost_hellos_and_confirms_are_made_good() {
    for lost in 0..28 {
        let mut net = Net::dark(4);
        let mut seen = 0;
        net.loss = std::boxed::Box::new(move |_, _| {
            seen += 1;
            seen == lost || seen == lost + 5
        });
        net.switch_on(0..4);
        net.run(8 * HEARTBEAT_US);
        for at in net.ids() {
            assert_eq!(net.ecu(at).validator.peers_heard(), 3, "ecu {at}, deliveries {lost} and {} lost", lost + 5);
        }
    }
}

#[test]
fn a_replayed_hello_does_not_kill_a_session() {
    let mut net = Net::trusted(4);
    net.reboot(3);
    net.run(4 * HEARTBEAT_US);
    // everything that ECU 3 said in its first session, and its HELLO of this one
    let of_3: StdVec<Packet> = net.log.iter().filter(|packet| packet.header.sender == 3).cloned().collect();
    for packet in &of_3 {
        net.replay(packet);
        net.run(1_000);
    }
    net.run(2 * HEARTBEAT_US);
    for at in 0..3 {
        let before = net.ecu(at).validator.counters().bad_tag;
        net.run(3 * HEARTBEAT_US);
        assert!(net.ecu(at).validator.is_heard(3), "ecu {at}");
        assert_eq!(net.ecu(at).validator.counters().bad_tag, before, "ecu {at} still shares ECU 3's session");
    }
    net.unlock(1, 3);
    net.reach(1, HEARTBEAT_US);
}

#[test]
fn a_recorded_session_does_not_bring_a_dead_peer_back() {
    let mut net = Net::trusted(4);
    let first = net.log.clone();
    net.reboot(3);
    net.run(4 * HEARTBEAT_US);
    net.switch_off(3);
    net.run(5 * HEARTBEAT_US);
    for packet in first.iter().filter(|packet| packet.header.sender == 3) {
        net.replay(packet);
        net.run(1_000);
    }
    for at in 0..3 {
        assert!(!net.ecu(at).validator.is_heard(3), "ecu {at}");
    }
    net.switch_on([3]);
    net.run(4 * HEARTBEAT_US);
    for at in 0..3 {
        assert!(net.ecu(at).validator.is_heard(3), "ecu {at}");
    }
}

#[test]
fn two_cars_on_one_wire_count_each_other_as_foreign_only() {
    let mut ours = Net::trusted(4);
    let mut theirs = Net::dark(4);
    theirs.genesis.vehicle = crate::genesis::Name::try_from("OTHER").expect("short");
    theirs.switch_on(0..4);
    theirs.unlock(1, 1);
    theirs.run(6 * HEARTBEAT_US);
    assert!(theirs.height(0) > 0);
    for packet in &theirs.log {
        let before = *ours.ecu(1).validator.counters();
        ours.tell(1, Input::Message { source: packet.source, bytes: &packet.bytes });
        let expected = Counters { foreign: before.foreign + 1, ..before };
        // its own ECU 1's messages come on the identifiers that this ECU owns: the bus adapter calls them impostors
        assert_eq!(*ours.ecu(1).validator.counters(), expected);
    }
    assert_eq!(ours.ecu(1).validator.mode(), Mode::Trusted);
}
