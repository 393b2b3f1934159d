//! The traces of `docs/protocol.md`, chapter 3, that need keys, tags and flash. Each runs by the right rules, and by the
//! wrong one with the same lies, losses and power cuts; the bench panics at the second decision.

use super::net::{HEARTBEAT_US, PHASE_US};
use super::*;
use crate::flaw::Flaw;
use crate::keys::Device;
use crate::wire::{Header, Kind};

const A: u8 = 0;
const B: u8 = 1;
const C: u8 = 2;
/// The liar of four.
const X: u8 = 3;

/// Four with two grants, P and Q, that all have seen; X says only what the trace says.
fn four() -> (Net, [Transaction; 2]) {
    let mut net = Net::trusted(4);
    let grants = [net.grant(1), net.grant(2)];
    grants.iter().for_each(|grant| net.admit(grant));
    let liar = &mut net.ecus[usize::from(X)];
    liar.mute = true;
    liar.validator.counter += 1_000; // new also in another's name
    (net, grants.map(|grant| Transaction::UseGrant(grant.grant.usage())))
}

impl Net {
    /// What votes at height 1 name it by.
    fn name_of(&self, tx: &Transaction) -> Hash {
        let mesh = self.genesis.mesh();
        crate::tx::decision_hash(&mesh, 1, &mesh.0, &tx.encode().expect("fits"))
    }

    /// Proposals and votes are lost between some of the correct ones. X has its own ways.
    fn lose_votes(&mut self, lost: impl Fn(&Header, u8) -> bool + 'static) {
        self.loss = std::boxed::Box::new(move |Packet { header, .. }, to| {
            let is_vote = header.kind == Kind::Propose || header.kind.vote().is_some();
            is_vote && (header.sender == X || to == X || lost(header, to))
        });
    }

    fn round(&self, at: u8) -> Round {
        self.ecu(at).validator.heights.current().round()
    }

    fn hears(&mut self, at: u8, packet: &Packet) {
        self.tell(at, Input::Message { source: packet.source, bytes: &packet.bytes });
    }

    /// X votes, with tags that are right for one.
    fn lies(&mut self, kind: Kind, round: Round, value: Option<Hash>, to: u8) {
        let vote = self.forge_vote(X, kind, round, value, |at| at == to);
        self.hears(to, &vote);
    }

    /// X votes in the name of another: it has no key for the tags.
    fn lies_as(&mut self, other: u8, kind: Kind, value: Hash, to: u8) {
        let mut vote = self.forge_vote(X, kind, 0, Some(value), |_| true);
        vote.source.device = Device::Validator(other);
        vote.bytes[3] = (kind as u8) << 4 | other;
        self.hears(to, &vote);
    }

    /// X turns a vote that it has heard into one for another value, and lets it be heard by who has missed it.
    fn turns(&mut self, from: u8, kind: Kind, value: Hash, to: u8) {
        let said = |packet: &&Packet| (packet.header.sender, packet.header.kind) == (from, kind);
        if let Some(mut vote) = self.log.iter().rev().find(said).cloned() {
            vote.bytes[10..12].copy_from_slice(&value.0[..2]);
            self.hears(to, &vote);
        }
    }
}

#[test]
fn wrong_rules_work_as_long_as_nothing_goes_wrong() {
    for flaw in [Flaw::Hearsay, Flaw::UnboundTag, Flaw::SentFirst] {
        flaw.during(|| {
            let mut net = Net::trusted(4);
            net.unlock(1, A);
            net.reach(1, PHASE_US);
        });
    }
}

/// A prevotes P, B and C prevote Q. X tells A that B has voted for P, too.
fn t3() {
    let (mut net, [p, q]) = four();
    let [p_name, q_name] = [net.name_of(&p), net.name_of(&q)];
    net.lose_votes(|vote, to| (vote.sender == A) != (to == A));
    net.tell(A, Input::Submit(p));
    net.tell(B, Input::Submit(q));
    net.run(PHASE_US / 2);
    for kind in [Kind::Prevote, Kind::Precommit] {
        net.lies(kind, 0, Some(p_name), A);
        net.lies_as(B, kind, p_name, A);
        net.lies(kind, 0, Some(q_name), B);
        net.lies(kind, 0, Some(q_name), C);
        net.run(PHASE_US / 4);
    }
    net.lose_votes(|_, _| false);
    net.reach_by(A..X, 1, 20 * HEARTBEAT_US);
    assert_eq!(net.agreed[&1], q_name);
}

#[test]
fn t3_only_a_vote_with_a_tag_for_me_counts() {
    t3();
}

#[test]
#[should_panic(expected = "decides differently")]
fn t3_believing_what_others_have_checked_breaks_agreement() {
    Flaw::Hearsay.during(t3);
}

/// A has missed C's votes for Q, and C those of A for P. X lets each hear the other's, turned into its own.
fn t4() {
    let (mut net, [p, q]) = four();
    let [p_name, q_name] = [net.name_of(&p), net.name_of(&q)];
    net.switch_off(B);
    net.lose_votes(|_, _| true);
    net.tell(A, Input::Submit(p));
    net.tell(C, Input::Submit(q));
    net.run(PHASE_US / 2);
    for kind in [Kind::Prevote, Kind::Precommit] {
        net.lies(kind, 0, Some(p_name), A);
        net.turns(C, kind, p_name, A);
        net.lies(kind, 0, Some(q_name), C);
        net.turns(A, kind, q_name, C);
        net.run(PHASE_US / 4);
    }
    net.lose_votes(|_, _| false);
    net.switch_on([B]);
    net.reach_by(A..X, 1, 20 * HEARTBEAT_US);
}

#[test]
fn t4_a_tag_covers_what_is_voted_for() {
    t4();
}

#[test]
#[should_panic(expected = "decides differently")]
fn t4_tags_that_do_not_name_the_value_break_agreement() {
    Flaw::UnboundTag.during(t4);
}

/// B decides P with the PRECOMMITs of A and X, if A's flash lets A vote in time. Then B is cut off, A loses power, and C
/// asks for Q.
fn after_a_power_cut_at_a(write_us: u64) -> (Net, [Hash; 2]) {
    let (mut net, [p, q]) = four();
    let [p_name, q_name] = [net.name_of(&p), net.name_of(&q)];
    net.lose_votes(|_, to| to == C);
    let normal = core::mem::replace(&mut net.ecus[usize::from(A)].write_us, write_us);
    net.tell(B, Input::Submit(p));
    net.run(PHASE_US / 2);
    net.lies(Kind::Prevote, 0, Some(p_name), A);
    net.lies(Kind::Prevote, 0, Some(p_name), B);
    net.lies(Kind::Precommit, 0, Some(p_name), B);
    net.run(PHASE_US / 2);
    net.switch_off(B);
    net.switch_off(A);
    net.ecus[usize::from(A)].write_us = normal;
    net.lose_votes(|_, _| false);
    net.tell(C, Input::Submit(q));
    net.ecus[usize::from(X)].mute = false; // A shall have a session with it
    net.switch_on([A]);
    net.run(5 * HEARTBEAT_US);
    (net, [p_name, q_name])
}

/// A has precommitted P. Without its lock it helps C and X to decide in round 1 that nothing is done.
fn t5() {
    let (mut net, [p_name, _]) = after_a_power_cut_at_a(PHASE_US / 20);
    let skip = net.name_of(&Transaction::Skip);
    for kind in [Kind::Prevote, Kind::Precommit] {
        net.lies(kind, 0, None, A);
        net.lies(kind, 0, None, C);
    }
    net.run_until(5 * HEARTBEAT_US, |net| [A, C].iter().all(|at| net.round(*at) == 1));
    net.run(PHASE_US);
    for kind in [Kind::Prevote, Kind::Ready, Kind::Precommit] {
        net.lies(kind, 1, Some(skip), A);
        net.lies(kind, 1, Some(skip), C);
    }
    net.run(PHASE_US);
    net.switch_on([B]);
    net.reach_by(A..X, 1, 20 * HEARTBEAT_US);
    assert_eq!(net.agreed[&1], p_name);
}

#[test]
fn t5_a_power_cut_does_not_unlock() {
    t5();
}

#[test]
#[should_panic(expected = "decides differently")]
fn t5_a_lock_that_is_forgotten_breaks_agreement() {
    Flaw::LockForgotten.during(t5);
}

/// X shows C a rival, and votes for P where only A and B can check it. They decide; C is alone in round 1.
fn t6() -> [bool; 3] {
    let (mut net, [p, q]) = four();
    let p_name = net.name_of(&p);
    net.lose_votes(|_, _| false);
    let (rival, _) = net.forge_proposal(X, &q.encode().expect("fits"), |at| at == C);
    net.hears(C, &rival);
    net.tell(A, Input::Submit(p));
    net.run(PHASE_US / 2);
    for kind in [Kind::Prevote, Kind::Precommit] {
        net.lies(kind, 0, Some(p_name), A);
        net.lies(kind, 0, Some(p_name), B);
    }
    net.reach_by(A..X, 1, 5 * HEARTBEAT_US);
    net.run(PHASE_US);
    [A, B, C].map(|at| net.ecu(at).decisions[&1].live)
}

#[test]
fn t6_one_that_is_left_alone_decides_live() {
    assert_eq!(t6(), [true, true, true]);
    assert_eq!(Flaw::DecidedLeave.during(t6), [true, true, false], "it only believes those who have left (C5)");
}

/// B is locked on P since round 0, A by a certificate of round 1 on doing nothing, when the whole car loses power.
fn t7() {
    let (mut net, [p, _]) = four();
    let [p_name, skip] = [net.name_of(&p), net.name_of(&Transaction::Skip)];
    // C, who proposes in round 1, does not see that A and B have prevoted P; B hears no READY
    net.lose_votes(|vote, to| {
        let p = vote.round == 0 && (vote.sender == B || vote.kind != Kind::Precommit);
        (to == C && p) || (to == B && vote.kind == Kind::Ready)
    });
    net.tell(A, Input::Submit(p));
    net.run(PHASE_US / 2);
    net.lies(Kind::Prevote, 0, Some(p_name), B);
    for at in [A, B, C] {
        net.lies(Kind::Precommit, 0, None, at);
    }
    net.run_until(5 * HEARTBEAT_US, |net| [A, C].iter().all(|at| net.round(*at) == 1));
    net.run(PHASE_US);
    net.lies(Kind::Prevote, 1, Some(skip), A);
    net.lies(Kind::Prevote, 1, Some(skip), C);
    net.lies(Kind::Ready, 1, Some(skip), A);
    net.run(PHASE_US);
    let lock = |at| net.ecu(at).validator.heights.current().lock().map(|(round, value)| (round, value.hash));
    assert_eq!([A, B, C].map(lock), [Some((1, skip)), Some((0, p_name)), None]);
    net.ids().for_each(|at| net.switch_off(at));
    net.lose_votes(|_, _| false);
    net.switch_on(A..X);
    net.reach_by(A..X, 1, 600 * HEARTBEAT_US);
    assert_eq!(net.agreed[&1], skip);
    assert!(net.ecu(A).decisions[&1].round <= 1 + 5);
}

#[test]
fn t7_a_power_cut_takes_no_certificate() {
    t7();
}

#[test]
#[should_panic(expected = "it did not happen")]
fn t7_readies_that_are_forgotten_stall_the_height() {
    Flaw::ReadiesForgotten.during(t7);
}

/// A's PRECOMMIT of P was not durable. A, C and X decide Q in the same round.
fn t8() {
    let (mut net, [_, q_name]) = after_a_power_cut_at_a(4 * PHASE_US);
    net.votes.clear(); // the bench shall look for two decisions, not for two votes
    for kind in [Kind::Prevote, Kind::Precommit] {
        net.lies(kind, 0, Some(q_name), A);
        net.lies(kind, 0, Some(q_name), C);
        net.run(PHASE_US / 4);
    }
    net.switch_on([B]);
    net.reach_by(A..X, 1, 20 * HEARTBEAT_US);
    assert_eq!(net.agreed[&1], q_name);
}

#[test]
fn t8_a_vote_is_durable_before_it_leaves() {
    t8();
}

#[test]
#[should_panic(expected = "decides differently")]
fn t8_votes_sent_before_they_are_durable_break_agreement() {
    Flaw::SentFirst.during(t8);
}

/// Seven with two liars; one of the others falls silent and is suspended. Two vote for P, two for Q, the liars for both.
fn t9() {
    const LIARS: [u8; 2] = [5, 6];
    let mut net = Net::trusted(7);
    net.switch_off(4);
    net.run_until(80 * HEARTBEAT_US, |net| net.ids().all(|at| !net.ecu(at).on || net.height(at) == 1));
    let mesh = net.genesis.mesh();
    let head = *net.ecu(A).validator.state().head();
    let orders = [net.grant(1), net.grant(2)].map(|grant| {
        net.admit(&grant);
        Transaction::UseGrant(grant.grant.usage())
    });
    let names = orders.each_ref().map(|tx| crate::tx::decision_hash(&mesh, 2, &head, &tx.encode().expect("fits")));
    LIARS.iter().for_each(|liar| net.ecus[usize::from(*liar)].mute = true);
    net.loss = std::boxed::Box::new(|Packet { header, .. }, to| {
        let is_vote = header.kind == Kind::Propose || header.kind.vote().is_some();
        is_vote && (LIARS.contains(&to) || (header.sender < C) != (to < C))
    });
    for (by, order) in [A, C].into_iter().zip(orders) {
        net.tell(by, Input::Submit(order));
    }
    net.run(PHASE_US / 2);
    for kind in [Kind::Prevote, Kind::Precommit] {
        for (liar, to) in LIARS.into_iter().flat_map(|liar| (0..4).map(move |to| (liar, to))) {
            let vote = net.forge_vote(liar, kind, 0, Some(names[usize::from(to >= C)]), |at| at == to);
            net.hears(to, &vote);
        }
        net.run(PHASE_US / 4);
    }
    assert_eq!(net.top(), 1, "five of six are a quorum");
    net.loss = std::boxed::Box::new(|_, _| false);
    LIARS.iter().for_each(|liar| net.ecus[usize::from(*liar)].mute = false);
    net.reach_by(0..4, 2, 50 * HEARTBEAT_US);
}

#[test]
fn t9_two_liars_do_not_gain_by_a_suspension() {
    t9();
}

#[test]
#[should_panic(expected = "decides differently")]
fn t9_f_that_is_recounted_breaks_agreement() {
    Flaw::FaultsRecounted.during(t9);
}
