//! The oracle bites: an observation that must never be made breaks the invariant it is about.

use can_bus::Frame;
use can_bus::timing::BitTiming;
use device_chain::agreement::VoteKind;
use device_chain::record::{Named, Record, VoteRecord};
use device_chain::tx::{Transaction, decision_hash};
use device_chain::types::Hash;
use device_chain::validator::{Decision, Report};
use device_chain::wire::{Header, Kind};
use ecu_node::Input;
use mesh_sim::car::Car;
use mesh_sim::event::{Event, Station, What};
use mesh_sim::genesis::Plan;
use mesh_sim::oracle::Oracle;
use mesh_sim::oracle::quiet::Quiet;
use mesh_sim::workload::alarm;

const TIMING: BitTiming = BitTiming::FD_500K_2M;

/// A car that has decided an alarm of ECU 1, and an oracle that has seen it.
fn watched() -> (Car, Oracle) {
    let mut car = Car::started(Plan::default(), TIMING);
    car.run_for(500_000);
    let tx = alarm(&car, 1, 0);
    car.give(1, Input::Submit(tx));
    car.run_for(500_000);
    assert!((0..7).all(|at| car.chain(at).len() == 1), "decided by all");
    let mut oracle = Oracle::new(&car, TIMING, 0);
    for event in std::mem::take(&mut car.events) {
        assert_eq!(oracle.see(&event), Ok(()), "{event}");
    }
    (car, oracle)
}

/// The invariant that `what` breaks.
fn broken(car: &Car, oracle: &mut Oracle, what: What) -> Option<&'static str> {
    oracle.see(&Event { at_ns: car.now_ns(), what }).err().map(|violation| violation.invariant)
}

/// What a decision of `tx` behind the first one would look like.
fn next(car: &Car, tx: &Transaction) -> Decision {
    behind(&car.ecus[0].decisions[0], car, tx)
}

fn behind(last: &Decision, car: &Car, tx: &Transaction) -> Decision {
    let (height, bytes) = (last.height + 1, tx.encode().expect("short"));
    let hash = decision_hash(&car.genesis.mesh(), height, &last.hash, &bytes);
    Decision { height, hash, bytes, tx: tx.clone(), round: 0, latency_us: None, live: false }
}

fn decided(ecu: u8, decision: Decision) -> What {
    What::Decided { ecu, decision: Box::new(decision) }
}

fn vote(car: &Car, kind: Kind, height: u32, value: Option<&Hash>) -> Frame {
    let mut header = Header::new(kind, height).hint(value.map(|hash| (3, hash)));
    (header.mesh, header.suite, header.sender) = (car.genesis.mesh().short(), car.genesis.suite.code(), 3);
    let id = can_bus::frame::id_from_raw(car.genesis.validators[3].identifiers.vote).expect("an identifier");
    Frame::fd_padded(id, &[&header.to_bytes()[..], &[0; 48]].concat()).expect("a vote")
}

fn sent(frame: Frame) -> What {
    What::Frame { sender: Station::Ecu(3), heard: 0x7f, frame }
}

#[test]
fn a_second_decision_of_a_height() {
    let (car, mut oracle) = watched();
    let other = Decision { hash: Hash([7; 32]), ..car.ecus[0].decisions[0].clone() };
    assert_eq!(broken(&car, &mut oracle, decided(2, other)), Some("agreement"));
}

#[test]
fn a_hash_that_is_not_that_of_its_content() {
    let (car, mut oracle) = watched();
    let other = Decision { hash: Hash([7; 32]), ..next(&car, &alarm(&car, 1, 1)) };
    assert_eq!(broken(&car, &mut oracle, decided(2, other)), Some("hash chain and order"));
}

#[test]
fn a_height_for_the_second_time() {
    let (car, mut oracle) = watched();
    let again = car.ecus[0].decisions[0].clone();
    assert_eq!(broken(&car, &mut oracle, decided(2, again)), Some("hash chain and order"));
}

#[test]
fn something_that_nobody_asked_for() {
    let (car, mut oracle) = watched();
    let unasked = next(&car, &alarm(&car, 4, 2));
    assert_eq!(broken(&car, &mut oracle, decided(2, unasked)), Some("validity"));
}

#[test]
fn something_asked_for_that_the_chain_forbids() {
    let (car, mut oracle) = watched();
    let too_soon = next(&car, &alarm(&car, 1, 0));
    assert_eq!(broken(&car, &mut oracle, decided(2, too_soon)), Some("validity"));
}

#[test]
fn a_decision_without_a_quorum() {
    let (car, mut oracle) = watched();
    let tx = alarm(&car, 1, 1);
    assert_eq!(broken(&car, &mut oracle, What::Asked { ecu: 1, tx: tx.clone() }), None);
    let record = Record::Decided(2, Named::Content(tx.encode().expect("short")));
    assert_eq!(broken(&car, &mut oracle, What::Durable { ecu: 5, record, torn: false }), Some("quorum"));
}

#[test]
fn a_quorum_of_precommits_with_wrong_tags() {
    let (car, mut oracle) = watched();
    let tx = alarm(&car, 1, 1);
    let decision = next(&car, &tx);
    for voter in 0..7 {
        let mut data = vote(&car, Kind::Precommit, 2, Some(&decision.hash)).data().to_vec();
        data[3] = data[3] & 0xf0 | voter;
        let id = can_bus::frame::id_from_raw(car.genesis.validators[usize::from(voter)].identifiers.vote).expect("one");
        let frame = Frame::fd(id, &data).expect("a vote");
        // from a place without keys, so that it is nobody's vote
        let heard = What::Frame { sender: Station::Rogue, heard: 0x7f, frame };
        assert_eq!(broken(&car, &mut oracle, heard), None);
    }
    let record = Record::Decided(2, Named::Content(tx.encode().expect("short")));
    assert_eq!(broken(&car, &mut oracle, What::Durable { ecu: 5, record, torn: false }), Some("quorum"));
}

#[test]
fn a_second_vote_in_a_slot() {
    let (car, mut oracle) = watched();
    let values = [1, 2].map(|class| next(&car, &alarm(&car, 1, class)));
    for value in &values {
        let (kind, name) = (VoteKind::Prevote, Named::Content(value.bytes.clone()));
        let record = Record::Vote(VoteRecord { height: 2, round: 0, kind, value: name });
        assert_eq!(broken(&car, &mut oracle, What::Durable { ecu: 3, record, torn: false }), None);
    }
    let [first, second] = values.map(|value| sent(vote(&car, Kind::Prevote, 2, Some(&value.hash))));
    assert_eq!(broken(&car, &mut oracle, first), None);
    assert_eq!(broken(&car, &mut oracle, second), Some("one vote per slot"));
}

#[test]
fn a_vote_that_left_before_it_was_durable() {
    let (car, mut oracle) = watched();
    assert_eq!(broken(&car, &mut oracle, sent(vote(&car, Kind::Prevote, 2, None))), Some("one vote per slot"));
}

#[test]
fn an_honest_ecu_accused() {
    let (car, mut oracle) = watched();
    let accusation = What::Report { ecu: 0, report: Report::Equivocation(6) };
    assert_eq!(broken(&car, &mut oracle, accusation), Some("no honest device accused"));
}

#[test]
fn an_ecu_that_takes_too_much_of_the_wire() {
    let (car, mut oracle) = watched();
    let heartbeat = sent(vote(&car, Kind::Decided, 1, None));
    let broken: Vec<_> = (0..1000).filter_map(|_| broken(&car, &mut oracle, heartbeat.clone())).collect();
    assert_eq!(broken.first(), Some(&"bus share"));
}

#[test]
fn one_suspended_that_all_have_heard() {
    let (car, mut oracle) = watched();
    let suspended = next(&car, &Transaction::Suspend { validator: 3 });
    assert_eq!(broken(&car, &mut oracle, decided(2, suspended)), Some("members"));
}

#[test]
fn one_resumed_that_was_never_suspended() {
    let (car, mut oracle) = watched();
    let resumed = next(&car, &Transaction::Resume { validator: 3 });
    assert_eq!(broken(&car, &mut oracle, decided(2, resumed)), Some("members"));
}

#[test]
fn one_resumed_that_has_not_said_a_word_since() {
    let (car, mut oracle) = watched();
    let suspended = next(&car, &Transaction::Suspend { validator: 3 });
    let resumed = behind(&suspended, &car, &Transaction::Resume { validator: 3 });
    // long after the last frame of anybody
    let later_ns = 60_000_000_000;
    assert_eq!(oracle.see(&Event { at_ns: later_ns, what: decided(2, suspended) }), Ok(()));
    let seen = oracle.see(&Event { at_ns: later_ns + 1, what: decided(2, resumed) });
    assert_eq!(seen.map_err(|violation| violation.invariant), Err("members"));
}

#[test]
fn more_suspended_than_may_be() {
    let mut car = Car::started(Plan { validators: 4, ..Plan::default() }, TIMING);
    car.run_for(500_000);
    let mut oracle = Oracle::new(&car, TIMING, 0);
    let tx = Transaction::Suspend { validator: 3 };
    let bytes = tx.encode().expect("short");
    let hash = decision_hash(&car.genesis.mesh(), 1, &car.genesis.mesh().0, &bytes);
    let decision = Decision { height: 1, hash, bytes, tx, round: 0, latency_us: None, live: false };
    let seen = oracle.see(&Event { at_ns: 60_000_000_000, what: decided(0, decision) });
    assert_eq!(seen.map_err(|violation| violation.invariant), Err("members"));
}

#[test]
fn a_record_that_no_endpoint_has_sent() {
    let (car, mut oracle) = watched();
    let record = Transaction::Record { endpoint: 0, sequence: 1 << 32 | 1, data: [7].into_iter().collect() };
    assert_eq!(broken(&car, &mut oracle, decided(2, next(&car, &record))), Some("records"));
}

#[test]
fn an_endpoint_told_of_what_is_not_decided() {
    let (car, mut oracle) = watched();
    let recorded = What::Recorded { endpoint: 0, sequence: 1 << 32 | 1 };
    assert_eq!(broken(&car, &mut oracle, recorded), Some("records"));
}

#[test]
fn a_session_begun_anew_without_a_boot() {
    let (car, mut oracle) = watched();
    let met = What::Report { ecu: 0, report: Report::Met(6) };
    assert_eq!(broken(&car, &mut oracle, met), Some("one session for two boots"));
}

#[test]
fn an_order_lost_in_a_quiet_car() {
    let (car, _) = watched();
    let mut quiet = Quiet::default();
    assert_eq!(quiet.judge(&car), Ok(()));
    quiet.see(&Event { at_ns: 0, what: What::Asked { ecu: 2, tx: alarm(&car, 2, 1) } });
    assert_eq!(quiet.judge(&car).map_err(|violation| violation.invariant), Err("quiet"));
}

#[test]
fn a_forgery_in_a_quiet_car() {
    let (mut car, mut oracle) = watched();
    car.inject(vote(&car, Kind::Prevote, 2, None));
    car.run_for(10_000);
    assert_eq!(Quiet::default().judge(&car).map_err(|violation| violation.invariant), Err("quiet"));
    // nor has the oracle heard it
    assert_eq!(oracle.look(&car).map_err(|violation| violation.invariant), Err("counters"));
}
