//! The approval path: what it costs, and how many may be missing.

use super::net::{GATEWAY, HEARTBEAT_US, PHASE_US};
use super::*;
use crate::limits::MAX_BACKLOG;
use crate::wire::Kind;

fn votes(net: &Net, height: Height) -> usize {
    net.log.iter().filter(|packet| packet.header.kind.vote().is_some() && packet.header.height == height).count()
}

fn proposals(net: &Net, height: Height) -> usize {
    net.log.iter().filter(|p| p.header.kind == Kind::Propose && p.header.height == height).count()
}

#[test]
fn an_approval_takes_one_proposal_and_at_most_two_votes_each() {
    let mut net = Net::trusted(7);
    let tx = net.unlock(1, 4);
    let asked = net.now;
    net.reach(1, HEARTBEAT_US);
    assert!(net.now.since(asked) < PHASE_US, "within a phase");
    net.run(3 * PHASE_US);
    assert_eq!(proposals(&net, 1), 1);
    assert!(votes(&net, 1) <= 14, "{} votes", votes(&net, 1));
    for at in net.ids() {
        let decision = &net.ecu(at).decisions[&1];
        assert_eq!((&decision.tx, decision.round, decision.live), (&tx, 0, true), "ecu {at}");
        assert_eq!(decision.latency_us.is_some(), at == 4, "only who asked measures");
    }
}

#[test]
fn rivals_are_ordered_by_the_bus_and_both_are_decided() {
    let mut net = Net::trusted(7);
    let grants = [net.grant(1), net.grant(2)];
    grants.iter().for_each(|grant| net.admit(grant));
    for (by, grant) in [(5, &grants[0]), (2, &grants[1])] {
        net.tell(by, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
    }
    net.reach(2, HEARTBEAT_US);
    assert_eq!(
        net.ecu(0).decisions[&1].tx,
        Transaction::UseGrant(grants[1].grant.usage()),
        "the lower identifier wins"
    );
    assert_eq!(net.ecu(0).decisions[&2].tx, Transaction::UseGrant(grants[0].grant.usage()));
}

#[test]
fn two_dead_of_seven_approvals_go_on_three_dead_none() {
    let mut net = Net::trusted(7);
    net.switch_off(5);
    net.switch_off(6);
    net.run(4 * HEARTBEAT_US);
    assert_eq!(net.ecu(1).validator.mode(), Mode::Trusted);
    net.unlock(1, 1);
    net.reach(1, HEARTBEAT_US);
    net.switch_off(4);
    net.run(4 * HEARTBEAT_US);
    net.unlock(2, 1);
    net.run(20 * HEARTBEAT_US);
    for at in 0..4 {
        assert_eq!((net.ecu(at).validator.mode(), net.height(at)), (Mode::Isolated, 1), "ecu {at}");
    }
    // and the fifth comes back: what was asked for is decided
    net.switch_on([4]);
    net.reach(2, 20 * HEARTBEAT_US);
    net.run(HEARTBEAT_US);
    assert_eq!(net.ecu(1).validator.mode(), Mode::Trusted);
}

#[test]
fn one_dead_of_four_costs_nothing_not_even_the_gateway() {
    let mut net = Net::trusted(4);
    net.unlock(1, 2);
    net.reach(1, HEARTBEAT_US);
    let grant = net.grant(2);
    net.admit(&grant);
    net.switch_off(GATEWAY);
    net.tell(3, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
    net.reach(2, PHASE_US);
}

#[test]
fn a_frame_that_one_receiver_missed_is_made_good() {
    // the n-th message after trust is lost for one receiver: proposal, prevotes, precommits, each in turn
    for receiver in 0..4u8 {
        for lost in 0..12 {
            let mut net = Net::trusted(4);
            let grant = net.grant(1);
            net.admit(&grant);
            let mut seen = 0;
            net.loss = std::boxed::Box::new(move |_, to| {
                seen += usize::from(to == receiver);
                to == receiver && seen == lost + 1
            });
            net.tell(2, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
            net.reach(1, 3 * HEARTBEAT_US);
            net.run(HEARTBEAT_US);
        }
    }
}

#[test]
fn who_missed_the_proposal_fetches_it() {
    let mut net = Net::trusted(7);
    let grant = net.grant(1);
    net.admit(&grant);
    net.loss = std::boxed::Box::new(|packet, to| to == 6 && packet.header.kind == Kind::Propose);
    // three of seven are off or deaf otherwise: ECU 6 is needed for the quorum
    net.switch_off(4);
    net.switch_off(5);
    net.tell(2, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
    net.reach(1, 2 * HEARTBEAT_US);
    assert!(net.log.iter().any(|packet| packet.header.kind == Kind::Fetch && packet.header.sender == 6));
    assert!(net.log.iter().any(|packet| packet.header.kind == Kind::Value && packet.header.round == 6));
}

#[test]
fn who_missed_the_grant_follows_those_who_have_it() {
    let mut net = Net::trusted(7);
    net.loss = std::boxed::Box::new(|packet, to| to >= 5 && packet.header.kind == Kind::Grant);
    net.unlock(1, 2);
    net.reach(1, HEARTBEAT_US);
    net.run(2 * PHASE_US);
    for at in 5..7 {
        assert!(net.ecu(at).decisions[&1].live, "ecu {at} decides with the others");
        assert!(net.ecu(at).validator.use_of(&net.grant(1).grant.digest()).is_err(), "without the grant");
    }
}

#[test]
fn a_proposal_without_witnesses_ends_in_nothing_and_is_tried_ever_more_seldom() {
    // only the proposer has the grant
    let mut net = Net::trusted(4);
    net.loss = std::boxed::Box::new(|packet, _| packet.header.kind == Kind::Grant);
    let grant = net.grant(1);
    net.tell(2, Input::Grant(grant.clone()));
    net.run(PHASE_US);
    net.tell(2, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
    net.run(60 * HEARTBEAT_US);
    let heights = net.height(0);
    assert!((1..=6).contains(&heights), "{heights} heights in a minute of heartbeats");
    for decision in net.ecu(0).decisions.values() {
        assert_eq!(decision.tx, Transaction::Skip);
    }
    // what has witnesses does not wait for it
    net.loss = std::boxed::Box::new(|_, _| false);
    let other = net.grant(2);
    net.admit(&other);
    net.tell(2, Input::Submit(Transaction::UseGrant(other.grant.usage())));
    net.reach(heights + 1, 15 * HEARTBEAT_US);
}

#[test]
fn orders_that_only_their_askers_can_judge_do_not_hold_up_a_height_for_ever() {
    let mut net = Net::trusted(7);
    net.loss = std::boxed::Box::new(|packet, _| packet.header.kind == Kind::Grant);
    for at in net.ids() {
        let grant = net.grant(u64::from(at) + 1);
        net.tell(at, Input::Grant(grant));
    }
    net.run(PHASE_US);
    for at in net.ids() {
        let order = net.grant(u64::from(at) + 1).grant.usage();
        net.tell(at, Input::Submit(Transaction::UseGrant(order)));
    }
    net.reach(1, 20 * HEARTBEAT_US);
    net.run(PHASE_US);
    assert_eq!(net.ecu(0).decisions[&1].tx, Transaction::Skip);
    assert!(net.ecu(0).decisions[&1].round <= 3);
}

#[test]
fn nobody_may_ask_for_nothing() {
    let mut net = Net::trusted(4);
    net.tell(1, Input::Submit(Transaction::Skip));
    net.run(HEARTBEAT_US);
    assert_eq!(net.top(), 0);
    assert!(net.ecu(1).reports.contains(&Report::Refused(Transaction::Skip, crate::state::Refusal::Nothing)));
}

#[test]
fn own_orders_find_room_among_what_others_want() {
    let mut net = Net::trusted(4);
    (1..4).for_each(|at| net.switch_off(at));
    for count in 0..40 {
        let record = net.record(1, count, b"x", |_| true);
        net.inject(record.source, &record.bytes);
    }
    let grant = net.grant(1);
    net.admit(&grant);
    let dropped = net.ecu(0).validator.counters().dropped;
    net.tell(0, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
    assert_eq!(net.ecu(0).validator.counters().dropped, dropped);
    net.switch_on(1..4);
    net.run(3 * HEARTBEAT_US);
    net.admit(&grant);
    net.run_until(10 * HEARTBEAT_US, |net| {
        net.ecu(0).decisions.values().any(|decision| matches!(decision.tx, Transaction::UseGrant(_)))
    });
}

/// Golden: header, body, and a tag for each of the other three. Changed only on purpose.
#[test]
fn a_proposal_on_the_wire() {
    let mut net = Net::trusted(4);
    net.ecus[2].validator.counter = 99;
    let alarm = Transaction::Alarm { identifier: net.genesis.validators[2].identifiers.vote, count: 3 };
    net.tell(2, Input::Submit(alarm));
    net.reach(1, HEARTBEAT_US);
    let proposal = net.log.iter().find(|packet| packet.header.kind == Kind::Propose).expect("proposed");
    let hex: std::string::String = proposal.bytes.iter().map(|byte| std::format!("{byte:02x}")).collect();
    assert_eq!(hex, "82901102010000000002b84364000000021203a6a6e22409d23c9a7ba5d40ef804182fd7a36bbe8b462ffe");
}

/// DC-42: an endpoint repeats its record byte for byte. What the chain refused while too much was in no block (DC-52) is decided then.
#[test]
fn a_record_refused_for_a_while_is_decided_when_it_is_repeated() {
    let mut net = Net::trusted(4);
    for count in 1..=MAX_BACKLOG {
        let record = net.record(1, count, b"x", |_| true);
        net.inject(record.source, &record.bytes);
        net.reach(count, HEARTBEAT_US);
    }
    let refused = net.record(1, MAX_BACKLOG + 1, b"x", |_| true);
    net.inject(refused.source, &refused.bytes);
    net.run(HEARTBEAT_US);
    assert_eq!(net.top(), MAX_BACKLOG);
    let block = Transaction::EventBlock(net.block());
    net.tell(GATEWAY, Input::Submit(block));
    net.reach(MAX_BACKLOG + 1, HEARTBEAT_US);
    net.inject(refused.source, &refused.bytes);
    net.reach(MAX_BACKLOG + 2, HEARTBEAT_US);
}
