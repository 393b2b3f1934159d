//! DC-70, DC-71: an endpoint is present because it says so under the nonce of this boot.

use super::car::endpoint_key;
use super::net::HEARTBEAT_US;
use super::*;
use crate::keys::Device;
use crate::mac::{Key, Suite};
use crate::validator::{Presence, firmware_word, present_subject};
use crate::wire::{self, Class, ENDPOINT_SENDER, Header, Kind};

/// PRESENT of the endpoint, with a tag by `key` under a nonce for each validator that has called.
fn present(net: &Net, nonce_of: impl Fn(u8) -> Option<u64>, key: impl Fn(u8) -> Key) -> Packet {
    let mut header = Header::new(Kind::Record, 1).round(0).present(firmware_word(1, &Hash::NIL));
    (header.mesh, header.suite, header.sender) = (net.genesis.mesh().short(), Suite::Cmac.code(), ENDPOINT_SENDER);
    let mut bytes = header.to_bytes().to_vec();
    for validator in net.ids() {
        let input = |nonce| wire::tag_input(&header.to_bytes(), &present_subject(nonce));
        let tag = nonce_of(validator).map(|nonce| key(validator).for_tags(Suite::Cmac).tag(&input(nonce)));
        bytes.extend(
            &tag.unwrap_or_default()[..wire::present_tag_len(net.genesis.validators.len(), net.genesis.tag_len())],
        );
    }
    Packet { source: Source { device: Device::Endpoint(0), class: Class::Record }, header, bytes }
}

/// The nonces that a listener on the bus has from CALLs.
fn called(net: &Net) -> impl Fn(u8) -> Option<u64> + use<> {
    let mut nonces = [None; 8];
    for packet in net.log.iter().filter(|packet| packet.header.kind == Kind::Ack && packet.header.is_presence()) {
        let parts =
            wire::Parts::split(&packet.bytes, net.genesis.validators.len(), net.genesis.tag_len()).expect("a call");
        nonces[usize::from(packet.header.sender)] = crate::validator::called(&parts, 0);
        assert_eq!(crate::validator::called(&parts, 1), None, "there is no second endpoint");
    }
    move |validator| nonces[usize::from(validator)]
}

fn who_sees_it(net: &Net) -> StdVec<u8> {
    net.ids().filter(|at| net.ecu(*at).validator.presence(0) == Presence::Present).collect()
}

fn calls(net: &Net) -> usize {
    net.log.iter().filter(|packet| packet.header.is_presence()).count()
}

#[test]
fn who_is_missing_is_called_ever_more_seldom_until_it_is_there() {
    let mut net = Net::trusted(4);
    net.run(30 * HEARTBEAT_US);
    assert_eq!(calls(&net), 4 * 4, "after 1, 5, 13 and 29 heartbeats, each of four");
    assert!(who_sees_it(&net).is_empty());
    let packet = present(&net, called(&net), endpoint_key);
    net.inject(packet.source, &packet.bytes);
    assert_eq!(who_sees_it(&net), [0, 1, 2, 3]);
    net.run(100 * HEARTBEAT_US);
    assert_eq!(calls(&net), 4 * 4);
}

#[test]
fn only_a_right_tag_under_the_nonce_of_this_boot_counts() {
    let mut net = Net::trusted(4);
    net.run(2 * HEARTBEAT_US);
    let nonce = called(&net);
    let (wrong, nobody): (Key, &[u8]) = (Key::new([0x66; 32]), &[]);
    let cases: [(&str, Packet, &[u8]); 4] = [
        ("another key", present(&net, &nonce, |_| wrong.clone()), nobody),
        ("another nonce", present(&net, |at| nonce(at).map(|nonce| nonce ^ 1), endpoint_key), nobody),
        ("it has heard one call only", present(&net, |at| nonce(at).filter(|_| at == 2), endpoint_key), &[2]),
        ("all", present(&net, &nonce, endpoint_key), &[0, 1, 2, 3]),
    ];
    for (name, packet, seen) in cases {
        net.inject(packet.source, &packet.bytes);
        assert_eq!(who_sees_it(&net), seen, "{name}");
    }
    let counters = net.ecu(1).validator.counters();
    assert_eq!((counters.bad_tag, counters.unknown), (2, 1), "a tag left empty is not a bad one");
}

#[test]
fn a_recording_of_the_last_ignition_proves_nothing() {
    let mut net = Net::trusted(4);
    net.run(2 * HEARTBEAT_US);
    let recorded = present(&net, called(&net), endpoint_key);
    net.inject(recorded.source, &recorded.bytes);
    assert_eq!(who_sees_it(&net), [0, 1, 2, 3]);
    net.reboot(3);
    net.run(4 * HEARTBEAT_US);
    net.inject(recorded.source, &recorded.bytes);
    assert_eq!(who_sees_it(&net), [0, 1, 2], "to the one that has rebooted it is a recording");
    let fresh = present(&net, called(&net), endpoint_key);
    net.inject(fresh.source, &fresh.bytes);
    assert_eq!(who_sees_it(&net), [0, 1, 2, 3]);
}

#[test]
fn the_word_of_the_firmware_is_another_one_at_each_boot() {
    let (one, other) = (Hash([1; 32]), Hash([2; 32]));
    assert_ne!(firmware_word(1, &one), firmware_word(1, &other));
    assert_ne!(firmware_word(1, &one), firmware_word(2, &one));
    for (expected, said, other_firmware) in [(Hash::NIL, one, false), (one, one, false), (one, other, true)] {
        let said = firmware_word(7, &said);
        assert_eq!(crate::validator::presence::is_other(&expected, 7, said), other_firmware);
    }
}
