//! What a rogue without keys, and a liar with its own, can and cannot do.

use proptest::prelude::*;

use super::net::{HEADER_LEN, HEARTBEAT_US, PHASE_US};
use super::*;
use crate::keys::Device;
use crate::tx::Transaction;
use crate::wire::{Class, Kind};

/// Seven that have decided a grant and a record, and whose bus was recorded.
fn recorded() -> (Net, StdVec<Packet>) {
    let mut net = Net::trusted(7);
    net.unlock(1, 4);
    net.reach(1, HEARTBEAT_US);
    let record = net.record(1, 1, b"open", |_| true);
    net.inject(record.source, &record.bytes);
    net.reach(2, HEARTBEAT_US);
    net.run(HEARTBEAT_US);
    let mut log = net.log.clone();
    log.push(record);
    (net, log)
}

/// Whether ECU `at` has to judge the packet: not its own, and not addressed to somebody else.
fn concerns(packet: &Packet, at: u8) -> bool {
    packet.source.device != Device::Validator(at)
        && !(packet.header.kind == Kind::Ack)
        && (!packet.header.kind.is_addressed() || packet.header.round == at)
}

#[test]
fn a_replay_of_everything_in_the_same_session_is_counted_and_changes_nothing() {
    let (mut net, log) = recorded();
    let state = net.ecu(3).validator.state().clone();
    let before = *net.ecu(3).validator.counters();
    let mut told = 0;
    for packet in log.iter().filter(|packet| concerns(packet, 3)) {
        // to ECU 3 alone and at one instant, so that nothing else is counted meanwhile
        net.tell(3, Input::Message { source: packet.source, bytes: &packet.bytes });
        told += 1;
    }
    let after = *net.ecu(3).validator.counters();
    // a HELLO of the session that is up says nothing new, and is answered: no counter can tell it from a repetition
    let hellos = log.iter().filter(|p| concerns(p, 3) && p.header.kind == Kind::Hello).count() as u64;
    assert_eq!(after.accepted - before.accepted, hellos, "HELLOs of the present session");
    let repeated = (after.replayed - before.replayed) + (after.stale - before.stale);
    assert_eq!(repeated, told - hellos, "the rest is replayed, or about the past: {before:?} {after:?}");
    assert_eq!(after.bad_tag, before.bad_tag);
    net.run(5 * HEARTBEAT_US);
    assert_eq!(net.ecu(3).validator.state(), &state);
}

#[test]
fn a_replay_after_the_receivers_have_rebooted_is_counted_and_changes_nothing() {
    let (mut net, log) = recorded();
    net.ids().for_each(|at| net.switch_off(at));
    net.run(HEARTBEAT_US);
    net.switch_on(0..7);
    net.run(5 * HEARTBEAT_US);
    let state = net.ecu(3).validator.state().clone();
    for packet in log.iter().filter(|packet| concerns(packet, 3)) {
        let before = *net.ecu(3).validator.counters();
        let total = net.counted(3);
        net.tell(3, Input::Message { source: packet.source, bytes: &packet.bytes });
        let after = *net.ecu(3).validator.counters();
        assert_eq!(net.counted(3), total + 1, "counted once: {packet:?}");
        assert_eq!(after.accepted, before.accepted, "{packet:?}");
    }
    net.run(5 * HEARTBEAT_US);
    assert_eq!(net.ecu(3).validator.state(), &state);
    assert!(net.ids().all(|at| net.ecu(at).validator.mode() == Mode::Trusted));
}

#[test]
fn valid_in_all_but_the_key_is_counted_as_bad_tag() {
    let mut net = Net::trusted(7);
    let (height, parent) = (1, *net.ecu(0).validator.state().head());
    let tx = Transaction::UseGrant(net.grant(1).grant.usage()).encode().expect("fits");
    let hash = crate::tx::decision_hash(&net.genesis.mesh(), height, &parent, &tx);
    let nobody = |_: u8| false;
    let packets = [
        net.forge_proposal(6, &tx, nobody).0,
        net.forge_vote(6, Kind::Prevote, 0, None, nobody),
        net.forge_vote(6, Kind::Precommit, 0, None, nobody),
    ];
    for packet in &packets {
        let before = net.ecu(3).validator.counters().bad_tag;
        net.replay(packet);
        assert_eq!(net.ecu(3).validator.counters().bad_tag, before + 1, "{packet:?}");
    }
    // a vote for what nobody has proposed cannot be judged: it is kept for a while, not called a bad tag (M3)
    let vote = net.forge_vote(6, Kind::Prevote, 0, Some(hash), nobody);
    net.replay(&vote);
    assert_eq!(net.ecu(3).validator.counters().held, 1);
    net.run(20 * HEARTBEAT_US);
    assert_eq!(net.top(), 0);
}

#[test]
fn a_flipped_bit_is_counted_and_changes_nothing() {
    let (mut net, log) = recorded();
    let state = net.ecu(3).validator.state().clone();
    for packet in log.iter().filter(|packet| concerns(packet, 3)) {
        for bit in (0..packet.bytes.len() * 8).step_by(23) {
            let mut bytes = packet.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            net.tell(3, Input::Message { source: packet.source, bytes: &bytes });
        }
        net.run(500);
    }
    net.run(10 * HEARTBEAT_US);
    assert_eq!(net.ecu(3).validator.state(), &state);
    assert_eq!(net.ecu(3).validator.mode(), Mode::Trusted);
    net.unlock(2, 3);
    net.reach(3, 5 * HEARTBEAT_US);
}

#[test]
fn an_equivocating_liar_with_two_values_for_two_halves_splits_nobody() {
    for seed in 0..24u32 {
        let mut net = Net::trusted(7);
        for serial in 1..3 {
            let grant = net.grant(serial);
            net.admit(&grant);
        }
        let txs = [1, 2].map(|serial| Transaction::UseGrant(net.grant(serial).grant.usage()).encode().expect("fits"));
        for liar in [5, 6] {
            net.ecus[liar].mute = true;
        }
        for (half, tx) in txs.iter().enumerate() {
            let mine = move |to: u8| usize::from((seed >> to) & 1 == 1) == half;
            let (proposal, hash) = net.forge_proposal(5, tx, mine);
            net.replay(&proposal);
            for kind in [Kind::Prevote, Kind::Precommit] {
                for liar in [5, 6] {
                    let vote = net.forge_vote(liar, kind, 0, Some(hash), mine);
                    net.replay(&vote);
                }
            }
        }
        net.run_until(40 * HEARTBEAT_US, |net| (0..5).all(|at| net.height(at) >= 1));
        net.run(3 * HEARTBEAT_US);
    }
}

#[test]
fn who_votes_twice_is_reported_by_those_who_can_tell() {
    let mut net = Net::trusted(4);
    net.ecus[3].mute = true;
    for value in [None, Some(())] {
        let tx = Transaction::Alarm { identifier: 0x13, count: 1 }.encode().expect("fits");
        let (proposal, hash) = net.forge_proposal(3, &tx, |_| true);
        net.replay(&proposal);
        let vote = net.forge_vote(3, Kind::Prevote, 0, value.map(|()| hash), |_| true);
        net.replay(&vote);
    }
    net.run(PHASE_US);
    assert!(net.ecu(0).reports.contains(&Report::Equivocation(3)));
}

#[test]
fn a_liar_that_votes_for_ever_new_values_cannot_stop_an_idle_mesh() {
    let mut net = Net::trusted(4);
    net.ecus[3].mute = true;
    for i in 0..60u32 {
        let tx = Transaction::Alarm { identifier: 0x13, count: i }.encode().expect("fits");
        let parent = *net.ecu(3).validator.state().head();
        let hash = crate::tx::decision_hash(&net.genesis.mesh(), 1, &parent, &tx);
        let vote = net.forge_vote(3, Kind::Prevote, (i % 60) as u8 + 1, Some(hash), |_| true);
        net.replay(&vote);
        net.run(2 * PHASE_US);
        for to in 0..3 {
            let header = crate::wire::Header::new(Kind::Value, 1).round(to).hint(Some((3, &hash)));
            let served = net.forge(3, header, &hash, &tx, |_| true);
            net.replay(&served);
        }
        net.run(PHASE_US);
    }
    net.unlock(1, 1);
    net.reach_by(0..3, 1, 20 * HEARTBEAT_US);
    net.unlock(2, 1);
    net.reach_by(0..3, 2, 20 * HEARTBEAT_US);
}

#[test]
fn a_flood_of_forgeries_from_everybody_fills_nothing_for_good() {
    let mut net = Net::trusted(4);
    for i in 0..3_000u32 {
        let mut bytes = std::vec![0u8; 40];
        let mesh = net.genesis.mesh().short().to_le_bytes();
        let kind = (i % 15) as u8;
        let sender = (i % 4) as u8;
        bytes[..4].copy_from_slice(&[mesh[0], mesh[1], 0x11, kind << 4 | sender]);
        bytes[4..8].copy_from_slice(&(i % 5).to_le_bytes());
        bytes[8] = (i % 7) as u8;
        bytes[9..16].copy_from_slice(&[sender, i as u8, 7, i as u8, (i >> 8) as u8, 0, 0]);
        let class = Kind::from_code(kind).map_or(Class::Vote, Kind::class);
        net.inject(Source { device: Device::Validator(sender), class }, &bytes);
        net.run(37);
    }
    assert_eq!(net.top(), 0);
    net.run(HEARTBEAT_US);
    net.unlock(1, 2);
    net.reach(1, 5 * HEARTBEAT_US);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_validator_panic(
        messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), 0u8..8, 0usize..15), 1..200)
    ) {
        let mut net = Net::trusted(4);
        let mesh = net.genesis.mesh().short().to_le_bytes();
        for (at, (mut bytes, sender, kind)) in messages.into_iter().enumerate() {
            // most of them get past the first checks
            if at % 4 != 0 && bytes.len() >= HEADER_LEN {
                bytes[..4].copy_from_slice(&[mesh[0], mesh[1], 0x11, (kind as u8) << 4 | sender]);
                bytes[4..8].copy_from_slice(&(at as u32 % 3).to_le_bytes());
            }
            let class = Kind::from_code(kind as u8).map_or(Class::Vote, Kind::class);
            let device = if kind == 10 { Device::Endpoint(sender) } else { Device::Validator(sender) };
            net.tell(1, Input::Message { source: Source { device, class }, bytes: &bytes });
        }
        net.run(2 * HEARTBEAT_US);
        prop_assert_eq!(net.height(1), 0);
    }

    #[test]
    fn no_mutation_of_real_messages_makes_a_validator_panic_or_decide(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, any::<prop::sample::Index>(), any::<u8>()), 1..300)
    ) {
        let (mut net, log) = recorded();
        let height = net.height(1);
        for (which, how, place, byte) in changes {
            let packet = which.get(&log);
            let mut bytes = packet.bytes.clone();
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, byte),
                3 => bytes[at..].fill(byte),
                4 => bytes[at % HEADER_LEN] = byte,
                _ => { bytes.remove(at); }
            }
            net.tell(1, Input::Message { source: packet.source, bytes: &bytes });
        }
        net.run(3 * HEARTBEAT_US);
        prop_assert_eq!(net.height(1), height);
    }
}
