//! Seven ECUs on two segments, four and three, and the gateway between them: honest, without power, or lying.

mod common;

use can_bus::Frame;
use can_bus::timing::BitTiming;
use common::{GATEWAY, SECOND_US, approve};
use device_chain::validator::{Counters, Report};
use device_chain::wire::{Header, Kind};
use ecu_node::Input;
use mesh_sim::attackers::router::{Faces, LyingRouter, Trick, TwoFaced};
use mesh_sim::car::Car;
use mesh_sim::event::{Event, Station, What};
use mesh_sim::genesis::Plan;
use mesh_sim::workload::alarm;

/// ECUs 4, 5 and 6 sit behind the router.
const FAR: u8 = 0b0111_0000;
/// One on each segment.
const ENDS: [u8; 2] = [1, 5];
/// All know each other then.
const STARTED_US: u64 = 200_000;
const LYING_SINCE_NS: u64 = STARTED_US * 1000;

fn plan() -> Plan {
    Plan { far: FAR, ..Plan::default() }
}

fn started() -> Car {
    let mut car = Car::started(plan(), BitTiming::FD_500K_2M);
    car.run_for(STARTED_US);
    car
}

fn lie(car: &mut Car, trick: Option<Trick>) {
    let tag_len = car.genesis.tag_len();
    let router = car.segments.router.as_mut().expect("two segments");
    router.liar = trick.map(|trick| Box::new(LyingRouter::playing(trick, tag_len, Faces::default())) as _);
}

/// A car whose router has played a trick during four alarms.
fn tricked(trick: Trick) -> Car {
    let mut car = started();
    lie(&mut car, Some(trick));
    for class in 0..4 {
        let at = ENDS[class % 2];
        let tx = alarm(&car, at, class);
        car.give(at, Input::Submit(tx));
        car.run_for(SECOND_US / 4);
    }
    car
}

fn counters(car: &Car, at: u8) -> Counters {
    *car.ecu(at).expect("powered").validator().counters()
}

fn assert_same_chain(car: &Car) {
    let longest = (0..7).map(|at| car.chain(at)).max_by_key(Vec::len).expect("seven");
    for at in 0..7 {
        let chain = car.chain(at);
        assert_eq!(chain, longest[..chain.len()], "ecu {at}");
    }
}

#[test]
fn four_and_three_approve_through_an_honest_gateway_in_a_few_milliseconds() {
    let mut car = started();
    let took: Vec<_> = (1..=20).map(|serial| approve(&mut car, serial).expect("approved")).collect();
    let (worst, sum) = (took.iter().max().expect("twenty"), took.iter().sum::<u64>());
    println!("approved by all after {} us on average, at most {worst} us", sum / 20);
    assert!(*worst < 15_000, "{worst} us");
    assert_same_chain(&car);
    for at in 0..7 {
        assert_eq!(car.ecu(at).expect("powered").validator().peers_heard(), 6, "ecu {at}");
        assert_eq!(counters(&car, at).impostor, 0, "ecu {at} has heard an echo of itself");
    }
    assert_eq!(car.segments.router.as_ref().expect("two segments").lost(), 0);
}

#[test]
fn a_gateway_that_isolates_the_segments_stops_approvals_and_splits_nothing() {
    let mut car = started();
    assert!(approve(&mut car, 1).is_some());
    lie(&mut car, Some(Trick::Isolate));
    // both sides want something, and neither has a quorum
    let tx = alarm(&car, ENDS[1], 0);
    car.give(ENDS[1], Input::Submit(tx));
    assert_eq!(approve(&mut car, 2), None);
    car.run_for(SECOND_US);
    assert!((0..7).all(|at| car.chain(at).len() == 1), "nobody has decided alone");
    lie(&mut car, None);
    let end = car.now_us() + 5 * SECOND_US;
    assert!(
        car.run_until(end, |car| (0..7).all(|at| car.chain(at).len() >= 3)),
        "both are decided, one after the other"
    );
    assert!(approve(&mut car, 3).is_some());
    assert_same_chain(&car);
}

#[test]
fn a_gateway_without_power_isolates_the_segments_until_it_is_back() {
    let mut car = started();
    assert!(approve(&mut car, 1).is_some());
    car.run_for(50_000); // until it is durable everywhere
    car.crash(GATEWAY);
    let tx = alarm(&car, ENDS[0], 0);
    car.give(ENDS[0], Input::Submit(tx));
    car.run_for(SECOND_US);
    assert!((0..7).all(|at| car.chain(at).len() == 1), "six are up, but apart");
    car.boot(GATEWAY);
    let end = car.now_us() + 5 * SECOND_US;
    assert!(car.run_until(end, |car| (1..7).all(|at| car.chain(at).len() >= 2)));
    assert!(approve(&mut car, 2).is_some());
    assert_same_chain(&car);
}

/// Messages of an ECU that the router has sent since it lies.
fn across(car: &Car, at: u8) -> Vec<Header> {
    let forwarded = |what: &What| match what {
        What::Frame { sender: Station::Router, frame, .. } => Header::parse(frame.data()),
        _ => None,
    };
    let since = car.events.iter().filter(|event| event.at_ns > LYING_SINCE_NS);
    since.filter_map(|event| forwarded(&event.what)).filter(|header| header.sender == at).collect()
}

/// From the end of a frame on its own segment until its end on the other, ms, of all that has crossed.
fn crossing_ms(car: &Car) -> Vec<u64> {
    let since = || car.events.iter().filter(|event| event.at_ns > LYING_SINCE_NS);
    let origin = |copy: &Frame| {
        let is = |what: &What| matches!(what, What::Frame { sender: Station::Ecu(_), frame, .. } if frame == copy);
        since().find(|event| is(&event.what)).map(|event| event.at_ns)
    };
    let took = |event: &Event| match &event.what {
        What::Frame { sender: Station::Router, frame, .. } => Some((event.at_ns - origin(frame)?) / 1_000_000),
        _ => None,
    };
    since().filter_map(took).collect()
}

#[test]
fn each_trick_shows_at_those_it_is_aimed_at() {
    type Shows = fn(&Car) -> bool;
    let tricks: [(Trick, Shows); 11] = [
        (Trick::Truth, |car| crossing_ms(car).iter().all(|ms| *ms < 5)),
        (Trick::Isolate, |car| (0..7).all(|at| across(car, at).is_empty() && car.chain(at).is_empty())),
        (Trick::OneWay(0), |car| !across(car, ENDS[0]).is_empty() && across(car, ENDS[1]).is_empty()),
        (Trick::Senders(1 << ENDS[0]), |car| across(car, ENDS[0]).is_empty() && !across(car, 2).is_empty()),
        (Trick::Kinds(1 << Kind::Prevote as u16), |car| {
            let kinds: Vec<_> = across(car, 2).iter().map(|header| header.kind).collect();
            !kinds.contains(&Kind::Prevote) && kinds.contains(&Kind::Decided)
        }),
        (Trick::Tags(1 << 5), |car| counters(car, 5).bad_tag > 0 && counters(car, 6).bad_tag == 0),
        (Trick::Bits, |car| ENDS.iter().all(|at| counters(car, *at).bad_tag > 0)),
        (Trick::Late, |car| crossing_ms(car).iter().any(|ms| *ms > 10)),
        (Trick::Swap, |car| crossing_ms(car).windows(2).any(|pair| pair[0] >= 5 && pair[1] < 5)),
        (Trick::Repeat, |car| ENDS.iter().all(|at| counters(car, *at).replayed > 0)),
        (Trick::Echo, |car| ENDS.iter().all(|at| counters(car, *at).impostor > 0)),
    ];
    for (trick, shows) in tricks {
        let car = tricked(trick);
        assert!(shows(&car), "{trick:?}");
        assert_same_chain(&car);
    }
}

#[test]
fn a_gateway_with_two_faces_tells_each_segment_something_else_and_divides_nobody() {
    let mut car = Car::new(plan(), BitTiming::FD_500K_2M);
    let (faces, tag_len) = (Faces::default(), car.genesis.tag_len());
    car.ecus[usize::from(GATEWAY)].liar = Some(Box::new(TwoFaced { near: !FAR, faces: faces.clone() }));
    let router = car.segments.router.as_mut().expect("two segments");
    router.liar = Some(Box::new(LyingRouter::playing(Trick::Truth, tag_len, faces)));
    (0..7).for_each(|at| car.boot(at));
    car.run_for(STARTED_US);
    for class in 0..4 {
        let at = ENDS[class % 2];
        let tx = alarm(&car, at, class);
        car.give(at, Input::Submit(tx));
        let end = car.now_us() + SECOND_US;
        assert!(
            car.run_until(end, |car| (1..7).all(|at| car.chain(at).len() > class)),
            "the other six decide all the same"
        );
    }
    let vote = car.genesis.validators[usize::from(GATEWAY)].identifiers.vote;
    let votes = |by: Station| {
        let of = move |what: &What| match what {
            What::Frame { sender, frame, .. } if *sender == by && frame.raw_id() == vote => Header::parse(frame.data()),
            _ => None,
        };
        car.events.iter().filter_map(move |event| of(&event.what)).collect::<Vec<_>>()
    };
    let (near, far) = (votes(Station::Ecu(GATEWAY)), votes(Station::Router));
    let other = |vote: &&Header| far.iter().any(|of| of.counter == vote.counter && of.hint != vote.hint);
    assert!(near.iter().filter(other).count() > 0, "{near:?} {far:?}");
    assert!(near.iter().all(|vote| near.iter().all(|of| of.counter != vote.counter || of.hint == vote.hint)));
    let accused = |at: u8| car.ecus[usize::from(at)].reports.iter().any(|of| matches!(of, Report::Equivocation(_)));
    assert!(!(1..7).any(accused), "each segment has seen one face only");
    assert_same_chain(&car);
}
