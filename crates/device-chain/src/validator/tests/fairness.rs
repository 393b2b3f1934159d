//! F1 and F2: what a hostile proposer can take and spoil, and what it costs the others in time.

use super::net::{HEARTBEAT_US, PHASE_US};
use super::*;
use crate::limits::{FORGIVE_HEIGHTS, MAX_BACKLOG, MAX_FAILURES, MAX_VALUES};
use crate::validator::fairness::Failures;
use crate::wire::Kind;

/// Whose proposal was decided at a height: the first on the wire with that value.
fn winner(net: &Net, height: Height) -> Option<u8> {
    let hint = net.agreed[&height].hint();
    let won = |packet: &&Packet| {
        packet.header.kind == Kind::Propose && packet.header.height == height && packet.header.hint == hint
    };
    net.log.iter().find(won).map(|packet| packet.header.sender)
}

/// The liar of a car of four.
const LIAR: u8 = 3;
/// Phases that an approval takes at most whose round 0 was spoiled by the designated proposer of round 1.
const SPOILED_PHASES: u64 = 12;

fn alarm(net: &Net, owner: u8, count: u32) -> Transaction {
    let ids = net.genesis.validators[usize::from(owner)].identifiers.all();
    Transaction::Alarm { identifier: ids[count as usize % 4], count }
}

fn order(net: &mut Net, serial: u64, by: u8) {
    let tx = Transaction::UseGrant(net.grant(serial).grant.usage());
    net.tell(by, Input::Submit(tx));
}

/// Grants that everybody has checked.
fn admit(net: &mut Net, serials: core::ops::RangeInclusive<u64>) {
    serials.for_each(|serial| {
        let grant = net.grant(serial);
        net.admit(&grant);
    });
}

#[test]
fn one_busy_proposer_never_waits() {
    let mut net = Net::trusted(7);
    for serial in 1..=20 {
        net.unlock(serial, 0);
        let (asked, height) = (net.now, net.top() + 1);
        net.reach(height, HEARTBEAT_US);
        let took = net.now.since(asked);
        assert!(took < PHASE_US, "approval {serial} took {took} us");
    }
}

/// Without F1 the more urgent identifiers would win every height.
#[test]
fn two_that_always_come_first_leave_every_fourth_height_to_others() {
    let mut net = Net::trusted(7);
    let f = net.genesis.quorum().f;
    admit(&mut net, 1..=8);
    for (serial, by) in [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 1), (7, 5), (8, 5)] {
        order(&mut net, serial, by);
    }
    let asked = net.now;
    net.reach(8, HEARTBEAT_US);
    let took = net.now.since(asked);
    let winners: StdVec<u8> = (1..=8).filter_map(|height| winner(&net, height)).collect();
    let served = winners.iter().rposition(|winner| *winner == 5).expect("served");
    let turns = winners[..=served].windows(f + 2);
    assert!(turns.len() > 0 && turns.into_iter().all(|turn| turn.contains(&5)), "{winners:?}");
    assert!(took < 8 * PHASE_US, "and nobody waits for a timer: {took} us");
}

/// The liar's rival proposal is for one correct validator only, each time one that still listens to it. Three correct
/// votes are needed and split, so that round 0 fails.
#[test]
fn who_spoils_rounds_is_ignored_for_ever_longer() {
    const HEIGHTS: u32 = MAX_BACKLOG; // no block is closed here
    let mut net = Net::trusted(4);
    net.ecus[usize::from(LIAR)].mute = true;
    let (mut spoiled, mut worst_us) = (0, 0);
    for height in 1..=HEIGHTS {
        let grant = net.grant(u64::from(height));
        net.admit(&grant);
        let victim = (0..LIAR).find(|at| !net.ecu(*at).validator.heights.current().standing(LIAR).set_aside);
        let rival = alarm(&net, LIAR, height).encode().expect("fits");
        let (proposal, _) = net.forge_proposal(LIAR, &rival, |to| Some(to) == victim);
        net.replay(&proposal);
        net.tell(1, Input::Submit(Transaction::UseGrant(grant.grant.usage())));
        let asked = net.now;
        net.run_until(3 * HEARTBEAT_US, |net| (0..LIAR).all(|at| net.ecu(at).decisions.contains_key(&height)));
        worst_us = worst_us.max(net.now.since(asked));
        let decision = &net.ecu(1).decisions[&height];
        assert_eq!(decision.tx, Transaction::UseGrant(grant.grant.usage()), "what was asked for, at height {height}");
        spoiled += u32::from(decision.round > 0);
    }
    // the j-th failure is followed by 2^j heights of being ignored
    let each = (1..).take_while(|j| (1 << j) + j - 2 <= HEIGHTS).count() as u32;
    std::println!("{spoiled} of {HEIGHTS} heights spoiled, the slowest approval took {worst_us} us");
    assert!(spoiled > 0 && spoiled <= u32::from(LIAR) * each, "{spoiled} of {HEIGHTS} heights");
    assert!(worst_us < SPOILED_PHASES * PHASE_US, "{worst_us} us");
}

/// ECU 3 of four proposes at every second height, too late to win, and then lets its turn go by; `afterwards` is what it does
/// when a height at which it proposed is decided. How many of 32 heights waited for it.
fn heights_that_waited(afterwards: impl Fn(&mut Net, Height, Hash)) -> u32 {
    let mut net = Net::trusted(4);
    net.ecus[usize::from(LIAR)].mute = true;
    let mut late = 0;
    for height in 1..=32 {
        let grant = net.grant(u64::from(height));
        net.admit(&grant);
        let (asked, order) = (net.now, Transaction::UseGrant(grant.grant.usage()));
        let parent = *net.ecu(LIAR).validator.state().head();
        net.tell(1, Input::Submit(order));
        // after the honest proposal, at every second height, and not when it is its turn
        net.run_until(PHASE_US, |net| {
            net.log.last().is_some_and(|packet| packet.header.kind == Kind::Propose) || net.top() >= height
        });
        if height % 2 == 1 {
            let rival = alarm(&net, LIAR, height).encode().expect("fits");
            let (proposal, _) = net.forge_proposal(LIAR, &rival, |_| true);
            net.replay(&proposal);
        }
        net.run_until(HEARTBEAT_US, |net| (0..LIAR).all(|at| net.ecu(at).decisions.contains_key(&height)));
        late += u32::from(net.now.since(asked) > 2 * PHASE_US);
        assert!(net.now.since(asked) < 4 * PHASE_US, "one propose timeout at most");
        if height % 2 == 1 {
            afterwards(&mut net, height, parent);
        }
    }
    late
}

/// Who proposes and loses is waited for once; who then does not come has failed, too.
#[test]
fn a_rival_that_only_pretends_to_wait_holds_nobody_up_for_long() {
    let late = heights_that_waited(|_, _, _| {});
    assert!(late > 0 && late <= 5, "{late} of 32 heights waited for nobody");
}

/// It fills the table of the decided height with late proposals, so that its own would give way, and nobody would remember
/// that it pretended.
#[test]
fn who_pretends_to_wait_cannot_have_that_forgotten() {
    let late = heights_that_waited(|net, height, parent| {
        for i in 0..MAX_VALUES as u32 {
            let tx = alarm(net, LIAR, 1000 + i).encode().expect("fits");
            let hash = crate::tx::decision_hash(&net.genesis.mesh(), height, &parent, &tx);
            let header = crate::wire::Header::new(Kind::Propose, height).hint(Some((LIAR, &hash)));
            let proposal = net.forge(LIAR, header, &hash, &tx, |_| true);
            net.replay(&proposal);
        }
    });
    assert!(late > 0 && late <= 5, "{late} of 32 heights waited for nobody");
}

#[test]
fn failures_are_forgiven_one_by_one() {
    let mut failures = Failures::default();
    let mut height = 0;
    for j in 1..=MAX_FAILURES + 2 {
        failures.add(height);
        let expected = 1 << j.min(MAX_FAILURES);
        assert!(failures.is_ignored(height + expected) && !failures.is_ignored(height + expected + 1), "{j}");
        height += expected + 1;
    }
    failures.add(height);
    let later = height + FORGIVE_HEIGHTS * 3;
    failures.add(later);
    assert!(!failures.is_ignored(later + (1 << (MAX_FAILURES - 2)) + 1), "three forgiven, one new");
}
