//! The Event Chain seen by the validators: what they approve and seal, and what a lying gateway gets.

use super::car::signer;
use super::net::{GATEWAY, HEARTBEAT_US};
use super::*;
use crate::block::{BlockHeader, Finality};

fn with_decisions(n: Height) -> Net {
    let mut net = Net::trusted(7);
    for serial in 1..=n {
        net.unlock(u64::from(serial), 4);
        net.reach(serial, HEARTBEAT_US);
    }
    net
}

#[test]
fn a_block_is_approved_and_everybodys_seal_comes_to_the_gateway() {
    let mut net = with_decisions(2);
    for number in 1..3 {
        let header = net.block();
        net.tell(GATEWAY, Input::Submit(Transaction::EventBlock(header.clone())));
        net.reach(2 + number, HEARTBEAT_US);
        net.run(HEARTBEAT_US);
        let seals: StdVec<_> = net.ecu(GATEWAY).sealed.iter().filter(|(of, _)| *of == number).collect();
        assert_eq!(seals.len(), 7);
        let digest = header.hash(&net.genesis.mesh());
        for (_, seal) in seals {
            assert!(seal.is_valid(&signer(usize::from(seal.validator)).public(), &digest));
        }
    }
}

/// A way to lie about the past, and its name.
type Lie = (&'static str, fn(&mut BlockHeader, &Net));

const LIES: [Lie; 8] = [
    ("dropped a decision", |header, _| header.tree_size -= 1),
    ("altered a decision", |header, _| header.tree_root.0[7] ^= 1),
    ("reordered decisions", |header, net| {
        let mut tree = crate::merkle::Frontier::default();
        for height in [2, 1, 3] {
            tree.push(&net.agreed[&height].0);
        }
        header.tree_root = tree.root();
    }),
    ("forked", |header, _| header.previous = Hash([3; 32])),
    ("skipped a number", |header, _| header.number += 1),
    ("repeated a number", |header, _| header.number -= 1),
    ("set the clock back", |header, _| header.time_ms = 0),
    ("called it provisional", |header, _| header.finality = Finality::Provisional),
];

#[test]
fn a_gateway_that_lies_about_the_past_gets_no_approval_and_no_seal() {
    for (lie, tell) in LIES {
        let mut net = with_decisions(2);
        let first = net.block();
        net.tell(GATEWAY, Input::Submit(Transaction::EventBlock(first)));
        net.reach(3, HEARTBEAT_US);
        net.run(HEARTBEAT_US);
        let sealed = net.ecu(GATEWAY).sealed.len();
        let mut header = net.block();
        tell(&mut header, &net);
        let tx = Transaction::EventBlock(header);
        assert!(net.ecu(1).validator.state().check(&tx, &Registry::from(&net.genesis)).is_err(), "{lie}");
        net.ecus[usize::from(GATEWAY)].mute = true;
        let (proposal, hash) = net.forge_proposal(GATEWAY, &tx.encode().expect("fits"), |_| true);
        net.replay(&proposal);
        for kind in [crate::wire::Kind::Prevote, crate::wire::Kind::Precommit] {
            let vote = net.forge_vote(GATEWAY, kind, 0, Some(hash), |_| true);
            net.replay(&vote);
        }
        net.run(10 * HEARTBEAT_US);
        for at in 1..7 {
            assert_eq!(net.ecu(at).validator.state().event().number, 1, "{lie}");
        }
        assert_eq!(net.ecu(GATEWAY).sealed.len(), sealed, "{lie}");
    }
}

#[test]
fn only_the_gateway_builds_blocks() {
    let mut net = with_decisions(1);
    let tx = Transaction::EventBlock(net.block()).encode().expect("fits");
    net.ecus[5].mute = true;
    let (proposal, _) = net.forge_proposal(5, &tx, |_| true);
    net.replay(&proposal);
    net.run(5 * HEARTBEAT_US);
    assert_eq!(net.ecu(1).validator.state().event().number, 0);
}

#[test]
fn a_block_overtaken_by_a_decision_is_handed_back_to_be_built_anew() {
    let mut net = with_decisions(1);
    let header = net.block();
    let grant = net.grant(9);
    net.admit(&grant);
    // ECU 1's order is already on the wire when the block comes
    net.tell(1, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
    net.run(1_000);
    net.tell(GATEWAY, Input::Submit(Transaction::EventBlock(header.clone())));
    net.reach(2, HEARTBEAT_US);
    net.run(HEARTBEAT_US);
    let refused =
        |report: &Report| matches!(report, Report::Refused(Transaction::EventBlock(old), _) if *old == header);
    assert!(net.ecu(GATEWAY).reports.iter().any(refused));
}
