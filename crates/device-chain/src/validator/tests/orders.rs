//! Grants, records and alarms: what is decided, what never is.

use super::car::fleet;
use super::net::{GATEWAY, HEARTBEAT_US, PHASE_US};
use super::*;
use crate::genesis::RawIdentifier;
use crate::grant::{Grant, SignedGrant};
use crate::state::Refusal;
use crate::wire::Kind;

#[test]
fn two_grants_in_a_row_open_twice() {
    let mut net = Net::trusted(7);
    for serial in 1..3 {
        let tx = net.unlock(serial, 4);
        net.reach(serial as Height, HEARTBEAT_US);
        assert_eq!(net.ecu(1).decisions[&(serial as Height)].tx, tx);
        assert!(net.ecu(4).validator.use_of(&net.grant(serial).grant.digest()).is_err(), "used");
    }
}

/// A way to spoil a grant, and what is said about it.
type Spoilt = (&'static str, fn(&mut Grant), GrantRefusal);

#[test]
fn replayed_expired_foreign_and_unsigned_grants_are_never_decided() {
    let cases: [Spoilt; 4] = [
        ("replayed", |_| {}, GrantRefusal::Used),
        ("expired", |grant| (grant.serial, grant.not_after) = (2, 1), GrantRefusal::Expired),
        ("foreign", |grant| grant.mesh = MeshId(Hash([1; 32])), GrantRefusal::Foreign),
        ("of an unknown issuer", |grant| grant.issuer = 7, GrantRefusal::Issuer),
    ];
    for (name, spoil, refusal) in cases {
        let mut net = Net::trusted(7);
        net.unlock(1, 4);
        net.reach(1, HEARTBEAT_US);
        let mut grant = net.grant(1).grant;
        spoil(&mut grant);
        let signed = SignedGrant::sign(grant.clone(), &fleet());
        net.admit(&signed);
        assert!(net.ecu(GATEWAY).reports.contains(&Report::GrantRefused(grant.digest(), refusal)), "{name}");
        // and a device that uses it nevertheless
        net.tell(4, Input::Submit(Transaction::UseGrant(grant.usage())));
        net.run(20 * HEARTBEAT_US);
        assert!(net.ecu(1).decisions.values().filter(|d| d.tx == Transaction::UseGrant(grant.usage())).count() <= 1);
        assert!(
            net.ecu(1).decisions.values().filter(|d| matches!(d.tx, Transaction::UseGrant(_))).count() == 1,
            "{name}"
        );
    }
}

#[test]
fn a_grant_that_nobody_signed_is_refused_by_all_and_never_decided() {
    let mut net = Net::trusted(7);
    let stranger = crate::sign::SigningKey::from_seed([0x77; 32]);
    let signed = SignedGrant::sign(net.grant(1).grant, &stranger);
    net.admit(&signed);
    let refused = Report::GrantRefused(signed.grant.digest(), GrantRefusal::Signature);
    assert!(net.ecu(GATEWAY).reports.contains(&refused));
    net.tell(4, Input::Submit(Transaction::UseGrant(signed.grant.usage())));
    net.run(10 * HEARTBEAT_US);
    assert!(net.ecu(1).decisions.values().all(|decision| decision.tx == Transaction::Skip));
}

#[test]
fn a_grant_too_early_is_not_used() {
    let mut net = Net::trusted(4);
    let mut grant = net.grant(1).grant;
    grant.not_before = 5;
    let signed = SignedGrant::sign(grant.clone(), &fleet());
    net.admit(&signed);
    assert_eq!(net.ecu(2).validator.use_of(&grant.digest()), Err(GrantRefusal::Early));
}

#[test]
fn a_liars_unsigned_grants_do_not_push_out_a_good_one() {
    let mut net = Net::trusted(4);
    let good = net.grant(1);
    net.admit(&good);
    let stranger = crate::sign::SigningKey::from_seed([0x77; 32]);
    let bad: StdVec<SignedGrant> =
        (10..30).map(|serial| SignedGrant::sign(net.grant(serial).grant, &stranger)).collect();
    for signed in bad {
        net.tell(GATEWAY, Input::Grant(signed));
    }
    net.run(PHASE_US);
    assert!(net.ecu(GATEWAY).validator.use_of(&good.grant.digest()).is_ok());
}

#[test]
fn a_record_is_decided_once_its_replay_refused_and_the_endpoint_told() {
    let mut net = Net::trusted(7);
    let record = net.record(1, 1, b"open", |_| true);
    net.inject(record.source, &record.bytes);
    net.reach(1, HEARTBEAT_US);
    net.run(PHASE_US);
    assert!(matches!(&net.ecu(3).decisions[&1].tx, Transaction::Record { sequence, .. } if *sequence == 1 << 32 | 1));
    let acks = net.log.iter().filter(|packet| packet.header.kind == Kind::Ack && !packet.header.is_presence()).count();
    assert_eq!(acks, 3, "f + 1");
    // the same again, byte for byte: the endpoint may not have heard the ACK, so it is told again; nothing else
    let before = net.ecu(2).validator.counters().replayed;
    for times in 1..4 {
        net.inject(record.source, &record.bytes);
        net.run(HEARTBEAT_US);
        assert_eq!(net.ecu(2).validator.counters().replayed, before + times);
    }
    assert_eq!(net.top(), 1);
    let next = net.record(1, 2, b"shut", |_| true);
    net.inject(next.source, &next.bytes);
    net.reach(2, HEARTBEAT_US);
}

#[test]
fn a_record_with_good_tags_for_f_only_is_never_decided() {
    let mut net = Net::trusted(7);
    let record = net.record(1, 1, b"open", |validator| validator < 2);
    net.inject(record.source, &record.bytes);
    net.run(60 * HEARTBEAT_US);
    assert!(net.ecu(1).decisions.values().all(|decision| decision.tx == Transaction::Skip));
    assert!(net.top() < 12, "and does not keep the bus busy: {} heights", net.top());
    assert_eq!(net.ecu(4).validator.counters().bad_tag, 1);
}

#[test]
fn an_impostor_is_put_on_the_chain_and_no_device_accused() {
    let mut net = Net::trusted(7);
    let stolen: RawIdentifier = net.genesis.validators[3].identifiers.vote;
    let foreign: RawIdentifier = net.genesis.validators[2].identifiers.vote;
    for _ in 0..2 {
        net.tell(3, Input::Impostor(stolen));
    }
    net.run(HEARTBEAT_US);
    assert_eq!(net.top(), 0, "one or two may be ghosts");
    net.tell(3, Input::Impostor(stolen));
    net.reach(1, HEARTBEAT_US);
    assert_eq!(net.ecu(0).decisions[&1].tx, Transaction::Alarm { identifier: stolen, count: 3 });
    // not again at once, and never for what is not its own
    for _ in 0..20 {
        net.tell(3, Input::Impostor(stolen));
        net.tell(3, Input::Impostor(foreign));
    }
    net.run(3 * HEARTBEAT_US);
    assert_eq!(net.top(), 1);
    assert_eq!(net.ecu(3).validator.counters().impostor, 43);
}

#[test]
fn a_liar_cannot_raise_an_alarm_in_anothers_name() {
    let mut net = Net::trusted(7);
    net.ecus[6].mute = true;
    let stolen = net.genesis.validators[3].identifiers.vote;
    let tx = Transaction::Alarm { identifier: stolen, count: 9 }.encode().expect("small");
    let (proposal, _) = net.forge_proposal(6, &tx, |_| true);
    net.replay(&proposal);
    net.run(5 * HEARTBEAT_US);
    assert_eq!(net.top(), 0, "only the owner can tell");
    let vote_of = |net: &mut Net, hash| net.forge_vote(6, Kind::Prevote, 0, Some(hash), |_| true);
    // nor by serving it as if the owner had proposed it
    let tx = Transaction::Alarm { identifier: stolen, count: 10 }.encode().expect("small");
    let parent = *net.ecu(6).validator.state().head();
    let hash = crate::tx::decision_hash(&net.genesis.mesh(), 1, &parent, &tx);
    let vote = vote_of(&mut net, hash);
    net.replay(&vote);
    net.run(2 * PHASE_US);
    for to in 0..6 {
        let header = crate::wire::Header::new(Kind::Value, 1).round(to).hint(Some((3, &hash)));
        let served = net.forge(6, header, &hash, &tx, |_| true);
        net.replay(&served);
    }
    net.run(10 * HEARTBEAT_US);
    assert!(net.ecu(0).decisions.values().all(|decision| decision.tx == Transaction::Skip));
    assert!(net.ecu(0).validator.state().alarms().is_empty());
    net.tell(3, Input::Submit(Transaction::UseGrant(net.grant(1).grant.usage())));
    assert!(!net.ecu(3).reports.iter().any(|report| matches!(report, Report::Refused(_, Refusal::Nothing))));
}
