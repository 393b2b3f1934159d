//! DC-70, DC-71: 200 endpoints prove to seven validators that they are there. The figures of `docs/protocol.md` chapter 6:
//! `cargo test -p mesh-sim --test presence -- --nocapture`.

use can_bus::Frame;
use can_bus::frame::id_from_raw;
use can_bus::timing::BitTiming;
use device_chain::limits::MAX_ENDPOINTS;
use device_chain::validator::Presence;
use device_chain::wire::Header;
use mesh_sim::car::Car;
use mesh_sim::event::{Station, What};
use mesh_sim::genesis::Plan;
use mesh_sim::wire::length::Length;

/// The goal: time for which CALL and PRESENT hold the wire, at 500k/2M, and from the first one's power to the last one seen.
const BUS_US: u64 = 100_000;
const DONE_US: u64 = 1_000_000;
const N: u8 = 7;

/// A car with this many endpoints at their places, all off.
fn dark(endpoints: u8, seed: u64) -> Car {
    let plan = Plan { endpoints, ..Plan::default() };
    let mut car = Car::seeded(plan, BitTiming::FD_500K_2M, seed);
    for at in 0..endpoints {
        assert_eq!(car.add_endpoint(), at);
    }
    car
}

fn power(car: &mut Car) {
    (0..N).for_each(|at| car.boot(at));
    (0..car.plan().endpoints).for_each(|at| car.boot_endpoint(at));
}

/// Whom a validator misses.
fn missing(car: &Car, validator: u8) -> Vec<u8> {
    let validator = car.ecu(validator).expect("powered").validator();
    (0..car.plan().endpoints).filter(|at| validator.presence(*at) != Presence::Present).collect()
}

fn all_see_all(car: &Car) -> bool {
    (0..N).all(|at| missing(car, at).is_empty())
}

/// The frames about presence, and how long they held the wire, microseconds.
fn cost(car: &Car) -> (usize, u64) {
    let about = car.events.iter().filter_map(|event| match event.what {
        What::Frame { frame, .. } if Header::parse(frame.data()).is_some_and(|header| header.is_presence()) => {
            Some(frame)
        }
        _ => None,
    });
    let ns: Vec<_> = about.map(|frame| Length::of(&frame).ns(&car.timing())).collect();
    (ns.len(), ns.iter().sum::<u64>() / 1000)
}

fn print(name: &str, car: &Car) {
    let (frames, us) = cost(car);
    println!("{name:<30} {frames:>4} frames, {us:>6} us of the wire, done after {:>7} us", car.now_us());
}

/// What endpoints said that they are there, as anybody on the bus records it.
fn recording(car: &Car) -> Vec<Frame> {
    let said = car.events.iter().filter_map(|event| match event.what {
        What::Frame { sender: Station::Endpoint(_), frame, .. } => Some(frame),
        _ => None,
    });
    said.collect()
}

#[test]
fn two_hundred_are_there_within_a_second() {
    let mut car = dark(MAX_ENDPOINTS as u8, 0);
    power(&mut car);
    assert!(car.run_until(DONE_US, all_see_all), "{:?}", missing(&car, 0));
    print("200, all at once", &car);
    assert!(cost(&car).1 <= BUS_US);
}

/// Each validator wakes up some 30 ms after the one before it: who has answered the first is called again by the last.
#[test]
fn validators_that_wake_up_one_after_another_are_answered_together() {
    let mut car = dark(MAX_ENDPOINTS as u8, 0);
    (0..car.plan().endpoints).for_each(|at| car.boot_endpoint(at));
    for at in 0..N {
        car.boot(at);
        car.run_for(30_000);
    }
    assert!(car.run_until(DONE_US, all_see_all), "{:?}", missing(&car, N - 1));
    print("200, validators staggered", &car);
    assert!(cost(&car).1 <= BUS_US);
}

/// One frame in a hundred is lost to all, and one to each receiver.
#[test]
fn what_is_lost_is_said_again() {
    for seed in 0..3 {
        let mut car = dark(MAX_ENDPOINTS as u8, seed);
        (car.link.loss, car.link.omission) = (1, 1);
        power(&mut car);
        assert!(car.run_until(4 * DONE_US, all_see_all), "{seed}: {:?}", missing(&car, 0));
        print("200, of 100 frames 2 lost", &car);
        assert!(cost(&car).1 <= 2 * BUS_US);
    }
}

#[test]
fn who_is_missing_is_named_and_comes_later() {
    let (absent, mut car) = (3, dark(5, 0));
    (0..N).for_each(|at| car.boot(at));
    (0..5).filter(|at| *at != absent).for_each(|at| car.boot_endpoint(at));
    car.run_for(DONE_US);
    assert!((0..N).all(|at| missing(&car, at) == [absent]));
    car.boot_endpoint(absent);
    assert!(car.run_until(3 * DONE_US, all_see_all), "the next call finds it");
}

/// The car is switched off and on with endpoint 0 gone; who has recorded everything says it again, and guesses.
#[test]
fn a_recording_or_a_guess_stands_in_for_nobody() {
    let mut car = dark(2, 0);
    power(&mut car);
    assert!(car.run_until(DONE_US, all_see_all));
    let recorded = recording(&car);
    (0..N).for_each(|at| car.crash(at));
    (0..2).for_each(|at| car.crash_endpoint(at));
    (0..N).for_each(|at| car.boot(at));
    car.boot_endpoint(1);
    let counted = |car: &Car| car.ecu(2).expect("powered").validator().counters().bad_tag;
    for round in 0..20u8 {
        car.run_for(50_000);
        for frame in &recorded {
            car.inject(*frame);
        }
        let mut guess = recorded[0].data().to_vec();
        guess[16..58].iter_mut().for_each(|byte| *byte = byte.wrapping_add(round + 1));
        car.inject(
            Frame::fd(id_from_raw(car.genesis.endpoints[0].identifier).expect("of a genesis"), &guess).expect("whole"),
        );
    }
    car.run_for(50_000);
    assert!((0..N).all(|at| missing(&car, at) == [0]));
    assert!(counted(&car) >= 20, "{} bad tags", counted(&car));
}

/// Endpoint 0 was replaced: car and new device have new keys. A clone of the old one, in its place, has the old keys.
#[test]
fn a_clone_of_one_that_was_replaced_is_not_it() {
    let mut old = dark(1, 0);
    let mut car = Car::new(Plan { seed: 2, endpoints: 1, ..Plan::default() }, BitTiming::FD_500K_2M);
    let sensor = car.add_endpoint();
    std::mem::swap(&mut car.endpoints[0].keys, &mut old.endpoints[0].keys);
    (0..N).for_each(|at| car.boot(at));
    car.boot_endpoint(sensor);
    car.run_for(DONE_US);
    assert!((0..N).all(|at| missing(&car, at) == [sensor]));
    assert!(car.ecu(0).expect("powered").validator().counters().bad_tag > 0, "it has tried");
}
