//! Members that fall silent, one after another or together, and come back.

use super::car::genesis;
use super::net::{HEARTBEAT_US, PHASE_US};
use super::*;
use crate::members::Members;
use crate::validator::membership::SUSPEND_HEARTBEATS;
use crate::wire::Kind;

/// Until a silent member is suspended, or one that is back resumed.
const CHANGE_US: u64 = (SUSPEND_HEARTBEATS + 6) * HEARTBEAT_US;

fn members(net: &Net, at: u8) -> StdVec<u8> {
    net.ecu(at).validator.state().members().iter().collect()
}

/// An approval, by all that are on.
fn approve(net: &mut Net, serial: u64, by: u8) {
    let tx = net.unlock(serial, by);
    let asked = net.now;
    net.run_until(HEARTBEAT_US, |net| {
        let on = net.ids().filter(|at| net.ecu(*at).on);
        on.into_iter().all(|at| net.ecu(at).decisions.values().any(|decision| decision.tx == tx && decision.live))
    });
    assert!(net.now.since(asked) < PHASE_US, "{} us", net.now.since(asked));
}

/// R1 to R4: each is suspended while a quorum of the set before is there.
#[test]
fn three_fall_silent_one_after_another_and_four_carry_the_car() {
    let mut net = Net::trusted(7);
    approve(&mut net, 1, 1);
    for (silent, left) in [(6, 6), (5, 5), (4, 5)] {
        net.switch_off(silent);
        net.run(CHANGE_US);
        for at in 0..4 {
            assert_eq!(net.ecu(at).validator.mode(), Mode::Trusted, "ecu {at} without {silent}");
            assert_eq!(members(&net, at).len(), left, "after {silent} fell silent");
        }
        approve(&mut net, u64::from(silent), 1);
    }
    // 5 members are left, of which 4 are a quorum: a fifth silent one is one too many
    let height = net.top();
    net.switch_off(3);
    net.run(CHANGE_US);
    assert_eq!((net.ecu(0).validator.mode(), net.top()), (Mode::Isolated, height));
}

#[test]
fn three_at_once_and_nothing_is_approved_until_one_is_back() {
    let mut net = Net::trusted(7);
    (4..7).for_each(|at| net.switch_off(at));
    net.unlock(1, 1);
    net.run(2 * CHANGE_US);
    for at in 0..4 {
        assert_eq!((net.ecu(at).validator.mode(), net.height(at)), (Mode::Isolated, 0), "ecu {at}");
    }
    net.switch_on([5]);
    net.run_until(20 * HEARTBEAT_US, |net| {
        net.ecu(1).decisions.values().any(|decision| decision.tx.name() == "use-grant")
    });
    net.run(CHANGE_US);
    assert_eq!(members(&net, 1), [0, 1, 2, 3, 5], "and now the two that are still silent are suspended");
}

#[test]
fn the_suspended_come_back_one_by_one_and_count_again() {
    let mut net = Net::trusted(7);
    for silent in [6, 5] {
        net.switch_off(silent);
        net.run(CHANGE_US);
    }
    net.switch_off(4);
    for serial in 1..4 {
        approve(&mut net, serial, 1);
    }
    // 6 slept through both suspensions: it takes each height with the set of that height (R2)
    for (back, count) in [(6, 6), (5, 7)] {
        net.switch_on([back]);
        net.run_until(30 * HEARTBEAT_US, |net| members(net, 1).len() == count && members(net, back).len() == count);
        assert!(net.ecu(back).validator.may_vote());
    }
    net.switch_on([4]);
    net.run(6 * HEARTBEAT_US);
    // two others silent: both that came back are needed
    net.switch_off(1);
    net.switch_off(3);
    let height = net.top() + 1;
    net.unlock(10, 2);
    net.reach(height, 2 * HEARTBEAT_US);
    let voted = |packet: &Packet| packet.header.kind == Kind::Precommit && packet.header.height == height;
    for back in [5, 6] {
        assert!(net.log.iter().any(|packet| voted(packet) && packet.header.sender == back), "ecu {back} votes");
    }
}

/// R1: one that is suspended costs no votes, so it has one. Without it the two liars could keep it out for ever.
#[test]
fn who_is_back_is_resumed_although_two_liars_are_silent() {
    let mut net = Net::trusted(7);
    net.switch_off(6);
    net.run(CHANGE_US);
    assert_eq!(members(&net, 0).len(), 6);
    for liar in [4, 5] {
        net.ecus[liar].mute = true;
    }
    net.switch_on([6]);
    net.run_until(30 * HEARTBEAT_US, |net| members(net, 0).len() == 7);
    approve(&mut net, 1, 1);
}

/// With two suspended fewer votes are needed, and none of them has one: a suspended member hears all, decides with the
/// others, and says nothing.
#[test]
fn a_suspended_member_listens_and_its_votes_do_not_count() {
    let mut net = Net::trusted(7);
    for silent in [5, 6] {
        net.switch_off(silent);
        net.run(CHANGE_US);
    }
    net.switch_on([5, 6]);
    // nobody hears that they are at the present
    net.loss = std::boxed::Box::new(|packet, _| packet.header.kind == Kind::Decided && packet.header.sender >= 5);
    net.run(10 * HEARTBEAT_US);
    let since = net.log.len();
    approve(&mut net, 1, 1);
    let vote = net.forge_vote(6, Kind::Prevote, 0, None, |_| true);
    net.replay(&vote);
    net.run(PHASE_US);
    assert!(!net.ecu(6).validator.may_vote());
    assert!(net.log[since..].iter().all(|packet| packet.header.sender < 5 || packet.header.kind.vote().is_none()));
    assert!(!net.ecu(1).validator.heights.current().is_active(), "its vote is no vote");
}

/// DC-35: who has slept has heard nobody for long, and hears no quorum yet.
#[test]
fn a_car_that_wakes_suspends_nobody() {
    let mut net = Net::trusted(7);
    approve(&mut net, 1, 1);
    let height = net.top();
    net.now = net.now.plus(10 * SUSPEND_HEARTBEATS * HEARTBEAT_US);
    net.run(100 * HEARTBEAT_US);
    for at in 0..7 {
        assert_eq!((members(&net, at).len(), net.height(at)), (7, height), "ecu {at}");
    }
}

#[test]
fn an_amnesiac_that_was_suspended_is_readmitted_and_resumed() {
    let mut net = Net::trusted(7);
    approve(&mut net, 1, 1);
    net.switch_off(6);
    net.run(CHANGE_US);
    net.wipe(6);
    net.run_until(30 * HEARTBEAT_US, |net| members(net, 0).len() == 7);
    assert!(net.ecu(6).validator.may_vote());
}

/// Its word that it has its memory back is said once, and may be lost.
#[test]
fn an_amnesiac_is_resumed_although_nobody_hears_that_it_is_none_any_more() {
    let mut net = Net::trusted(7);
    net.switch_off(6);
    net.run(CHANGE_US);
    net.loss = Box::new(|packet, _| {
        let header = &packet.header;
        header.kind == Kind::Confirm && header.sender == 6 && header.round == 0
    });
    net.wipe(6);
    net.run(2 * CHANGE_US);
    assert!(!net.ecu(6).validator.is_amnesiac());
    assert_eq!(members(&net, 1), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn nobody_is_suspended_by_liars_nor_by_an_impersonator() {
    let mut net = Net::trusted(7);
    let honest = net.log.clone();
    for liar in [5, 6] {
        net.ecus[liar].mute = true;
    }
    let suspend = Transaction::Suspend { validator: 2 }.encode().expect("fits");
    for step in 0..200 {
        // the liars say so in every way, and somebody without keys talks in the victim's name
        if step % 10 == 0 {
            let (proposal, hash) = net.forge_proposal(5, &suspend, |_| true);
            net.replay(&proposal);
            for liar in [5, 6] {
                for kind in [Kind::Prevote, Kind::Precommit] {
                    let vote = net.forge_vote(liar, kind, 0, Some(hash), |_| true);
                    net.replay(&vote);
                }
            }
        }
        // the liars are heard, so that they are not suspended themselves
        for liar in [5, 6] {
            let (height, head) = (net.height(liar), *net.ecu(liar).validator.state().head());
            let digest = *net.ecu(liar).validator.digest();
            let header = crate::wire::Header::new(Kind::Decided, height).hint(Some((0, &head)));
            let decided = net.forge(liar, header, &digest, &[], |_| true);
            net.replay(&decided);
        }
        for packet in honest.iter().filter(|packet| packet.header.sender == 2).take(3) {
            net.replay(packet);
        }
        net.run(HEARTBEAT_US);
    }
    assert_eq!(members(&net, 0).len(), 7);
}

#[test]
fn a_set_is_what_it_was_after_a_power_cut_and_in_a_state_taken_over() {
    let mut net = Net::trusted(7);
    net.switch_off(6);
    net.run(CHANGE_US);
    net.ids().for_each(|at| net.switch_off(at));
    net.switch_on(0..6);
    net.run(6 * HEARTBEAT_US);
    assert_eq!(members(&net, 3), [0, 1, 2, 3, 4, 5]);
    approve(&mut net, 1, 1);
    let state = net.ecu(3).validator.state().encode().expect("fits");
    let taken = crate::state::State::decode(&state, &net.genesis).expect("sound");
    assert_eq!(taken.members(), net.ecu(3).validator.state().members());
}

/// R1: what the last height decided did not hold for itself.
#[test]
fn the_height_of_a_suspension_is_judged_by_the_set_before() {
    let genesis = &mut Registry::from(&genesis(7, "BEFORE"));
    let mut state = crate::state::State::new(genesis);
    for (tx, left) in [
        (Transaction::Suspend { validator: 3 }, 6),
        (Transaction::Suspend { validator: 6 }, 5),
        (Transaction::Resume { validator: 3 }, 6),
        (Transaction::Skip, 6),
    ] {
        let before = state.members();
        state.apply(&tx.encode().expect("fits"), &tx, genesis).expect("allowed");
        assert_eq!((state.members().count(), state.members_before(&tx, genesis)), (left, before), "{tx:?}");
    }
    for refused in [
        Transaction::Suspend { validator: 6 },
        Transaction::Suspend { validator: 7 },
        Transaction::Resume { validator: 3 },
        Transaction::Resume { validator: 200 },
    ] {
        assert_eq!(state.check(&refused, genesis), Err(Refusal::Membership), "{refused:?}");
    }
}

/// How far sets shrink when one member after another falls silent, and what is then needed.
#[test]
fn sets_shrink_as_far_as_it_helps_with_f_held() {
    // n, then (voters, q, q_R, may be silent) after each suspension: chapter 1 of the specification
    type Set = (usize, usize, usize, usize);
    let table: [(usize, &[Set]); 5] = [
        (4, &[(4, 3, 3, 1)]),
        (5, &[(5, 4, 3, 1), (4, 3, 3, 1)]),
        (6, &[(6, 4, 3, 2), (6, 4, 3, 2), (4, 3, 3, 1)]),
        (7, &[(7, 5, 5, 2), (7, 5, 5, 2), (5, 4, 4, 1)]),
        (8, &[(8, 6, 5, 2), (7, 5, 5, 2), (7, 5, 5, 2), (5, 4, 4, 1)]),
    ];
    for (n, expected) in table {
        let genesis = genesis(n, "SHRINK");
        let mut members = Members::all(n);
        let mut steps = std::vec![members];
        while let Some(silent) = members.iter().last().filter(|last| members.may_lose(*last, &genesis)) {
            members = members.without(silent);
            steps.push(members);
        }
        let seen: std::vec::Vec<_> = steps
            .iter()
            .map(|members| {
                assert!(members.is_sound(&genesis));
                let quorum = members.voters(&genesis).quorum(&genesis);
                (quorum.n, quorum.votes(), quorum.ready(), quorum.n - quorum.votes())
            })
            .collect();
        assert_eq!(seen, expected, "n = {n}");
    }
}

#[test]
fn who_is_no_validator_neither_leaves_nor_comes() {
    let genesis = genesis(5, "NOBODY");
    let members = Members::all(5);
    for nobody in [5, 7, 8, 255] {
        assert!(!members.contains(nobody) && !members.may_lose(nobody, &genesis));
        assert_eq!((members.without(nobody), members.with(nobody, &genesis)), (members, members));
    }
    assert_eq!(members.without(2).with(2, &genesis), members);
}
