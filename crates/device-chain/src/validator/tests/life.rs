//! From the end of the line to the scrapyard: who may change who belongs to the car, and what must fail.

use super::car::{self, FLEET, MAKERS, OWNER, WORKSHOP, authority};
use super::net::{HEARTBEAT_US, PHASE_US};
use super::*;
use crate::entry::Standing;
use crate::genesis::Identity;
use crate::hash::{Domain, hash};
use crate::keys::Device::{self, Endpoint, Validator as At};
use crate::limits::MAX_HISTORY;
use crate::order::{Change, Endorsement, Order, OrderRefusal, Signer};
use crate::record::RecordKind;
use crate::registry::Devices;
use crate::sign::SigningKey;

/// Until a decision has been made, and until who is back has been resumed.
const SOON_US: u64 = 4 * HEARTBEAT_US;
const BACK_US: u64 = 60 * HEARTBEAT_US;
const SPARE: [u8; 32] = [0x5a; 32];

fn spare() -> SigningKey {
    SigningKey::from_seed(SPARE)
}

fn digest(of: &str) -> Hash {
    hash(Domain::Body, &[of.as_bytes()])
}

/// An order for the car as it is, good for the next 50 heights.
fn order(net: &Net, change: Change) -> Order {
    let validator = &net.ecu(1).validator;
    let registry = validator.registry();
    let generation = match change {
        Change::Authority { at, .. } => registry.holder(at).map_or(0, |holder| holder.generation),
        change => match change.device() {
            Some(device) => registry.entry(device).map_or(0, |entry| entry.generation),
            None => registry.vehicle().generation,
        },
    };
    Order { change, generation, not_after: validator.state().height() + 50 }
}

/// The signatures, brought to one ECU, one after the other.
fn bring(net: &mut Net, to: u8, order: Order, outside: &[u8], inside: &[(Signer, &SigningKey)]) {
    let mesh = net.genesis.mesh();
    for at in outside {
        let endorsement = Endorsement::sign(&mesh, order, Signer::Authority(*at), &authority(*at));
        net.tell(to, Input::Endorsement(endorsement));
    }
    for (signer, key) in inside {
        net.tell(to, Input::Endorsement(Endorsement::sign(&mesh, order, *signer, key)));
    }
}

fn is_decided(net: &Net, at: u8, order: &Order) -> bool {
    net.ecu(at).decisions.values().any(|decision| decision.tx == Transaction::Change(*order))
}

fn refusals(net: &Net, at: u8) -> StdVec<OrderRefusal> {
    let refused = net.ecu(at).reports.iter().filter_map(|report| match report {
        Report::OrderRefused(_, refusal) | Report::Refused(_, Refusal::Order(refusal)) => Some(*refusal),
        _ => None,
    });
    refused.collect()
}

fn replace(at: u8, key: &SigningKey) -> Change {
    Change::Replace { device: At(at), identity: Identity::A(key.public()), firmware: digest("spare part") }
}

const BOTH: &[u8] = &[MAKERS[0], MAKERS[1], WORKSHOP];

/// The whole of it: the maker has signed for the spare part beforehand, the workshop signs on the spot, the mesh agrees, the
/// new ECU gets to the present and votes.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn an_ecu_is_replaced_in_a_workshop_without_connectivity() {
    let mut net = Net::trusted(7);
    let new = spare();
    let order = order(&net, replace(3, &new));
    net.switch_off(3);
    net.device_at(3, 1);
    bring(&mut net, 2, order, BOTH, &[(Signer::Newcomer, &new)]);
    net.run(SOON_US);
    for at in [0, 1, 2, 4, 5, 6] {
        assert!(is_decided(&net, at, &order), "ecu {at}");
        let validator = &net.ecu(at).validator;
        assert_eq!(validator.registry().entry(At(3)).expect("its place").key(), Some(&new.public()));
        assert!(!validator.state().members().contains(3), "it has no vote before it is at the present");
    }
    net.wipe(3);
    net.run_until(BACK_US, |net| net.ecu(1).validator.state().members().contains(3));
    net.run(SOON_US);
    assert!(net.ecu(3).validator.may_vote() && net.ecu(3).validator.knows_registry());
    // two others fall silent: its vote is needed
    [5, 6].into_iter().for_each(|at| net.switch_off(at));
    let height = net.top();
    net.unlock(1, 1);
    net.run(SOON_US);
    assert_eq!(net.top(), height + 1);
    assert!(net.ecu(3).decisions[&(height + 1)].live);
}

/// The device that was replaced keeps its keys, and nobody listens to them any more.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn who_was_replaced_is_heard_no_more() {
    let mut net = Net::trusted(7);
    let new = spare();
    let order = order(&net, replace(3, &new));
    net.device_at(3, 1);
    bring(&mut net, 2, order, BOTH, &[(Signer::Newcomer, &new)]);
    net.run(SOON_US);
    let heard = |net: &Net| net.ecu(1).validator.is_heard(3);
    net.run(10 * HEARTBEAT_US);
    assert!(is_decided(&net, 1, &order) && !heard(&net), "the old one is still on");
    net.device_at(3, 0);
    net.reboot(3);
    net.run(10 * HEARTBEAT_US);
    assert!(!heard(&net), "not after a reboot either");
}

#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn nobody_brings_a_device_into_the_car_alone() {
    let new = spare();
    let newcomer: &[(Signer, &SigningKey)] = &[(Signer::Newcomer, &new)];
    for (who, outside, inside) in [
        ("a compromised workshop", &[WORKSHOP][..], newcomer),
        ("workshop and owner", &[WORKSHOP, OWNER], newcomer),
        ("the maker", &[MAKERS[0], MAKERS[1]], newcomer),
        ("one of the maker's keys and the workshop", &[MAKERS[0], WORKSHOP], newcomer),
        ("one of the maker's keys twice", &[MAKERS[0], MAKERS[0], WORKSHOP], newcomer),
        ("fleet and workshop", &[FLEET, WORKSHOP], newcomer),
        ("all but the device itself", &[FLEET, MAKERS[0], MAKERS[1], WORKSHOP, OWNER], &[]),
    ] {
        let mut net = Net::trusted(4);
        let order = order(&net, replace(3, &new));
        bring(&mut net, 1, order, outside, inside);
        net.run(SOON_US);
        assert_eq!(net.top(), 0, "{who}");
    }
}

/// DC-46: not even all validators together, for no correct one votes for what it has no signatures of.
#[test]
fn the_quorum_alone_brings_nobody_into_the_car() {
    let mut net = Net::trusted(4);
    let order = order(&net, replace(3, &spare()));
    for at in net.ids() {
        net.tell(at, Input::Submit(Transaction::Change(order)));
    }
    net.run(SOON_US);
    assert!(net.ids().all(|at| !is_decided(&net, at, &order)));
    assert!(net.ids().all(|at| net.ecu(at).validator.registry().entry(At(3)).expect("its place").generation == 0));
}

/// A compromised minority wants it, with the workshop's stolen key.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn a_compromised_minority_brings_nobody_into_the_car() {
    let mut net = Net::trusted(7);
    let order = order(&net, replace(3, &spare()));
    for liar in [5, 6] {
        bring(&mut net, liar, order, &[WORKSHOP], &[(Signer::Newcomer, &spare())]);
        net.tell(liar, Input::Submit(Transaction::Change(order)));
    }
    net.run(10 * SOON_US);
    assert!((0..5).all(|at| !is_decided(&net, at, &order)));
}

#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn an_order_is_for_one_car() {
    let mut net = Net::trusted(4);
    let (order, other) = (order(&net, Change::Revoke { device: Endpoint(0) }), car::genesis(4, "ANOTHER").mesh());
    for at in MAKERS {
        let foreign = Endorsement::sign(&other, order, Signer::Authority(at), &authority(at));
        net.tell(1, Input::Endorsement(foreign));
    }
    net.run(SOON_US);
    assert_eq!((net.top(), refusals(&net, 1)), (0, std::vec![OrderRefusal::Signature; 2]));
}

#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn an_order_is_used_once() {
    let mut net = Net::trusted(4);
    let revoke = order(&net, Change::Revoke { device: Endpoint(0) });
    bring(&mut net, 1, revoke, &MAKERS, &[]);
    net.run(SOON_US);
    assert!(is_decided(&net, 3, &revoke));
    bring(&mut net, 2, revoke, &MAKERS, &[]);
    net.run(SOON_US);
    assert_eq!((net.top(), &refusals(&net, 2)[..]), (1, &[OrderRefusal::Superseded; 2][..]));
}

#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn an_order_expires_by_height() {
    let mut net = Net::trusted(4);
    let late = Order { not_after: 1, ..order(&net, Change::Revoke { device: Endpoint(0) }) };
    net.unlock(1, 1);
    net.run(SOON_US);
    bring(&mut net, 1, late, &MAKERS, &[]);
    net.run(SOON_US);
    assert_eq!((net.top(), &refusals(&net, 1)[..]), (1, &[OrderRefusal::Expired; 2][..]));
}

/// Also one that comes one by one over the bus, with a gateway that says nothing of it: whoever has all signatures asks for it.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn signatures_may_come_to_different_ecus() {
    let mut net = Net::trusted(4);
    let revoke = order(&net, Change::Revoke { device: Endpoint(0) });
    bring(&mut net, 1, revoke, &MAKERS[..1], &[]);
    net.run(SOON_US);
    bring(&mut net, 3, revoke, &MAKERS[1..], &[]);
    net.run(SOON_US);
    assert!(net.ids().all(|at| is_decided(&net, at, &revoke)));
}

#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn who_is_revoked_has_no_vote_and_does_not_come_back() {
    let mut net = Net::trusted(7);
    let revoke = order(&net, Change::Revoke { device: At(6) });
    bring(&mut net, 1, revoke, &MAKERS, &[]);
    net.run(SOON_US);
    assert!((0..6).all(|at| is_decided(&net, at, &revoke)));
    net.reboot(6);
    net.run(BACK_US);
    for at in 0..6 {
        let validator = &net.ecu(at).validator;
        assert!(!validator.is_heard(6) && !validator.state().members().contains(6), "ecu {at}");
    }
    // five of six are needed now
    net.switch_off(5);
    let height = net.top();
    net.unlock(1, 1);
    net.run(SOON_US);
    assert_eq!(net.top(), height + 1);
    // the same device again, at its old place or at another
    let key = net.genesis.validators[6].key;
    let again = Change::Provision { device: At(6), identity: Identity::A(key), firmware: digest("x"), identifier: 0 };
    let elsewhere = Change::Replace { device: At(2), identity: Identity::A(key), firmware: digest("x") };
    for change in [again, elsewhere] {
        let order = order(&net, change);
        let refusal = net.ecu(1).validator.state().check(&Transaction::Change(order), net.ecu(1).validator.registry());
        assert_eq!(refusal, Err(Refusal::Order(OrderRefusal::Key)), "{change:?}");
    }
    // another one may
    let order = order(
        &net,
        Change::Provision {
            device: At(6),
            identity: Identity::A(spare().public()),
            firmware: digest("x"),
            identifier: 0,
        },
    );
    bring(&mut net, 1, order, BOTH, &[(Signer::Newcomer, &spare())]);
    net.run(SOON_US);
    assert!(is_decided(&net, 1, &order));
}

/// R4: who is expelled must not leave a minority of the genesis.
#[test]
fn orders_leave_a_majority_of_those_who_vote() {
    let net = Net::trusted(4);
    let mut state = net.ecu(1).validator.state().clone();
    let mut registry = net.ecu(1).validator.registry().clone();
    for (at, expected) in [(3, Ok(())), (2, Err(Refusal::Order(OrderRefusal::Members)))] {
        let tx = Transaction::Change(Order { change: Change::Revoke { device: At(at) }, generation: 0, not_after: 50 });
        assert_eq!(state.apply(&tx.encode().expect("fits"), &tx, &mut registry), expected, "{at}");
    }
}

/// DC-47: a new digest by the maker's order; the old one is valid until the ECU says that it runs the new one, and not after.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn a_firmware_update_is_confirmed_by_the_ecu_that_runs_it() {
    let mut net = Net::trusted(7);
    net.ids().for_each(|at| net.tell(at, Input::Measured(car::firmware(at.into()))));
    let update = order(&net, Change::Update { device: At(4), firmware: digest("v2") });
    bring(&mut net, 1, update, &[MAKERS[0], WORKSHOP, OWNER], &[]);
    net.run(SOON_US);
    assert_eq!(net.top(), 0, "one of the maker's two keys, and others");
    bring(&mut net, 1, update, &MAKERS[1..], &[]);
    net.run(10 * HEARTBEAT_US);
    let entry = |net: &Net| *net.ecu(1).validator.registry().entry(At(4)).expect("its place");
    assert_eq!((entry(&net).firmware, entry(&net).standing), (car::firmware(4), Standing::Trusted));
    assert_eq!(net.ecu(1).validator.registry().updates().len(), 1);
    for (runs, firmware, standing) in [
        ("the old one still", car::firmware(4), Standing::Trusted),
        ("the new one", digest("v2"), Standing::Trusted),
        ("the old one again", car::firmware(4), Standing::Untrusted),
        ("the new one again", digest("v2"), Standing::Trusted),
        ("something else", digest("tuned"), Standing::Untrusted),
    ] {
        net.reboot(4);
        net.run(2 * HEARTBEAT_US);
        net.tell(4, Input::Measured(firmware));
        net.run(10 * HEARTBEAT_US);
        assert_eq!(entry(&net).standing, standing, "{runs}");
    }
    assert_eq!(entry(&net).firmware, digest("v2"));
    let refused = order(&net, Change::Update { device: At(4), firmware: digest("v2") });
    let validator = &net.ecu(1).validator;
    let refusal = validator.state().check(&Transaction::Change(refused), validator.registry());
    assert_eq!(refusal, Err(Refusal::Order(OrderRefusal::Firmware)));
}

/// Only the device itself says what it runs: not `f` liars, whoever it is about.
#[test]
fn no_liar_makes_another_ecu_untrusted() {
    let mut net = Net::trusted(7);
    net.ids().for_each(|at| net.tell(at, Input::Measured(car::firmware(at.into()))));
    let lie = Transaction::Firmware { device: At(2), firmware: digest("tuned") };
    [5, 6].into_iter().for_each(|liar| net.tell(liar, Input::Submit(lie.clone())));
    net.run(10 * SOON_US);
    assert!(
        (0..5)
            .all(|at| net.ecu(at).validator.registry().entry(At(2)).expect("its place").standing == Standing::Trusted)
    );
}

#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn a_key_rotates_by_word_of_the_old_one() {
    let mut net = Net::trusted(4);
    let rotate = order(&net, Change::Rotate { device: At(2), key: spare().public() });
    bring(&mut net, 1, rotate, &[MAKERS[0], MAKERS[1], WORKSHOP], &[(Signer::Newcomer, &spare())]);
    net.run(SOON_US);
    assert_eq!(net.top(), 0, "nobody else may say so");
    bring(&mut net, 2, rotate, &[], &[(Signer::Device, &car::signer(2))]);
    net.run(SOON_US);
    assert!(net.ids().all(|at| is_decided(&net, at, &rotate)));
    assert_eq!(net.ecu(3).validator.registry().entry(At(2)).expect("its place").key(), Some(&spare().public()));
    assert!(net.ecu(3).validator.state().members().contains(2), "it is the same device");
}

/// A transfer ends the old owner's power and the fleet's; of two that want the car one gets it.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn a_car_has_one_owner() {
    let mut net = Net::trusted(4);
    let (buyer, other) = (SigningKey::from_seed([0x71; 32]), SigningKey::from_seed([0x72; 32]));
    let first = order(&net, Change::Transfer { owner: buyer.public() });
    let second = order(&net, Change::Transfer { owner: other.public() });
    bring(&mut net, 1, first, &[MAKERS[0], MAKERS[1], WORKSHOP], &[(Signer::Newcomer, &buyer)]);
    net.run(SOON_US);
    assert_eq!(net.top(), 0, "nobody sells what is not his");
    bring(&mut net, 1, first, &[OWNER], &[]);
    net.run(SOON_US);
    bring(&mut net, 2, second, &[OWNER], &[(Signer::Newcomer, &other)]);
    net.run(SOON_US);
    let registry = net.ecu(3).validator.registry();
    assert_eq!(registry.keys_of(crate::genesis::Authority::Owner).collect::<StdVec<_>>(), [&buyer.public()]);
    assert_eq!(registry.keys_of(crate::genesis::Authority::Fleet).count(), 0);
    assert_eq!(&refusals(&net, 2)[..], &[OrderRefusal::Superseded; 2]);
    // the old owner signs again, for the car as it is now
    let theft = order(&net, Change::Transfer { owner: other.public() });
    bring(&mut net, 2, theft, &[OWNER], &[(Signer::Newcomer, &other)]);
    net.run(SOON_US);
    assert_eq!(net.top(), 1);
    // and a grant of the old fleet opens nothing
    let grant = net.grant(9);
    net.tell(1, Input::Grant(grant.clone()));
    net.run(SOON_US);
    assert!(net.ecu(1).validator.use_of(&grant.grant.digest()).is_err());
}

/// The maker's root changes by old and new together.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn a_root_changes_by_old_and_new() {
    let mut net = Net::trusted(4);
    let new = SigningKey::from_seed([0x73; 32]);
    let change = Change::Authority { at: MAKERS[0], role: crate::genesis::Authority::Maker, key: new.public() };
    let root = order(&net, change);
    bring(&mut net, 1, root, &MAKERS, &[]);
    net.run(SOON_US);
    assert_eq!(net.top(), 0, "the new key has not signed");
    bring(&mut net, 1, root, &[], &[(Signer::Newcomer, &new)]);
    net.run(SOON_US);
    assert!(is_decided(&net, 3, &root));
    // the old key is worth nothing
    let update = order(&net, Change::Update { device: At(2), firmware: digest("v2") });
    bring(&mut net, 1, update, &MAKERS, &[]);
    net.run(SOON_US);
    assert_eq!((net.top(), &refusals(&net, 1)[..]), (1, &[OrderRefusal::Signature][..]));
}

#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn after_the_end_of_its_life_a_car_allows_nothing() {
    let mut net = Net::trusted(4);
    let end = order(&net, Change::EndOfLife);
    bring(&mut net, 1, end, &[OWNER, WORKSHOP], &[]);
    net.run(SOON_US);
    assert!(net.ids().all(|at| is_decided(&net, at, &end)));
    let update = order(&net, Change::Update { device: At(2), firmware: digest("v2") });
    bring(&mut net, 1, update, &MAKERS, &[]);
    net.run(SOON_US);
    assert_eq!((net.top(), &refusals(&net, 1)[..]), (1, &[OrderRefusal::Ended; 2][..]));
    let (grant, validator) = (net.grant(1).grant.usage(), &net.ecu(1).validator);
    let refused = validator.state().check(&Transaction::UseGrant(grant), validator.registry());
    assert_eq!(refused, Err(Refusal::Grant(GrantRefusal::Issuer)));
}

/// Endpoints come and go, too; a new one has an identifier of its own and begins to count anew.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn an_endpoint_is_provisioned_once_with_an_identifier_of_its_own() {
    let mut net = Net::trusted(4);
    let at = |device: u8, identifier| Change::Provision {
        device: Endpoint(device),
        identity: Identity::A(spare().public()),
        firmware: digest("sensor"),
        identifier,
    };
    for (change, refusal) in [
        (at(0, 0x51), OrderRefusal::Place),
        (at(2, 0x51), OrderRefusal::Place),
        (at(1, 0x50), OrderRefusal::Identifier),
        (at(1, 0x12), OrderRefusal::Identifier),
        (at(1, 0x0f), OrderRefusal::Identifier),
        (at(1, 0x800), OrderRefusal::Identifier),
    ] {
        let validator = &net.ecu(1).validator;
        let refused = validator.state().check(&Transaction::Change(order(&net, change)), validator.registry());
        assert_eq!(refused, Err(Refusal::Order(refusal)), "{change:?}");
    }
    let come = order(&net, at(1, 0x51));
    bring(&mut net, 1, come, &[OWNER, WORKSHOP], &[(Signer::Newcomer, &spare())]);
    net.run(SOON_US);
    assert!(is_decided(&net, 3, &come));
    let validator = &net.ecu(3).validator;
    assert_eq!(validator.registry().plan().source(0x51).map(|source| source.device), Some(Device::Endpoint(1)));
    assert_eq!((validator.registry().endpoints(), validator.state().sequence(1)), (2, Some(0)));
    // twice
    let twice = order(&net, at(2, 0x52));
    let refused = validator.state().check(&Transaction::Change(twice), validator.registry());
    assert_eq!(refused, Err(Refusal::Order(OrderRefusal::Key)));
    // and it is all there after a reboot
    net.reboot(3);
    net.run(5 * HEARTBEAT_US);
    assert_eq!(net.ecu(3).validator.registry().root(), net.ecu(1).validator.registry().root());
}

/// Orders for the endpoint and blocks, until nobody's history reaches back.
fn years(net: &mut Net) {
    for version in 0..3 {
        let update = order(net, Change::Update { device: At(1 + version), firmware: digest("v2") });
        bring(net, 1, update, &MAKERS, &[]);
        net.run(SOON_US);
        net.tell(1 + version, Input::Measured(digest("v2")));
        net.run(SOON_US);
    }
    for serial in 1..MAX_HISTORY as u64 + 10 {
        net.run(2 * PHASE_US);
        net.close_block_in_time();
        net.run(2 * PHASE_US);
        let height = net.top() + 1;
        net.unlock(serial, 1);
        net.run_until(5 * HEARTBEAT_US, |net| net.top() >= height && net.ecu(1).decisions.contains_key(&height));
    }
}

/// DC-48: state and pages, each checked against what f + 1 say; then it votes. A power cut between any two of them costs a repetition.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn a_sleeper_gets_to_the_present_by_a_checked_summary() {
    let mut net = Net::trusted(4);
    net.switch_off(3);
    years(&mut net);
    net.switch_on([3]);
    let summary = |net: &Net| {
        net.ecu(3).journal.iter().filter(|(kind, _)| matches!(kind, RecordKind::State | RecordKind::Page)).count()
    };
    let mut cuts = 0;
    let is_there = |net: &Net| net.ecu(3).validator.knows_registry() && net.height(3) == net.top();
    while !is_there(&net) {
        let before = summary(&net);
        net.run_until(BACK_US, |net| summary(net) > before || is_there(net));
        net.reboot(3);
        cuts += 1;
        assert!(cuts < 20);
    }
    assert!(cuts > 2, "the state, and what is missing of the registry");
    net.run(10 * HEARTBEAT_US);
    let [new, old] = [3, 0].map(|at| &net.ecu(at).validator);
    assert_eq!((new.state(), new.registry().pages()), (old.state(), old.registry().pages()));
    net.switch_off(2);
    net.run(2 * HEARTBEAT_US);
    let height = net.top();
    net.unlock(1_000, 1);
    net.run(SOON_US);
    assert_eq!(net.top(), height + 1, "its vote is needed");
}

/// A liar serves what it likes: entries with a key of its own.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn a_liar_cannot_write_into_the_registry_of_a_sleeper() {
    let mut net = Net::trusted(4);
    net.switch_off(3);
    years(&mut net);
    // 2 lies: its registry says that the next validator is somebody else
    let registry = net.ecus[2].validator.keys_mut().0.clone();
    let mut forged = registry;
    let order = Order { change: replace(1, &spare()), generation: 2, not_after: u32::MAX };
    forged.apply_order(&order);
    net.ecus[2].validator.registry = forged;
    net.switch_on([3]);
    net.run_until(BACK_US, |net| net.ecu(3).validator.knows_registry() && net.height(3) == net.top());
    assert_eq!(net.ecu(3).validator.registry().root(), net.ecu(0).validator.registry().root());
    assert_eq!(
        net.ecu(3).validator.registry().entry(At(1)).and_then(|entry| entry.key()),
        Some(&net.genesis.validators[1].key)
    );
}
