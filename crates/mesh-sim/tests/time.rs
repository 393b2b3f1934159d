//! DC-60 to DC-62 in a whole car: wall clocks of which some are wrong, and what time the mesh agrees on.

mod common;

use can_bus::timing::BitTiming;
use common::{GATEWAY, SECOND_US, approve, next_block};
use device_chain::block::BlockHeader;
use device_chain::limits::{LATE_DECISIONS, MAX_TIME_STEP_MS, TIME_TOLERANCE_MS};
use device_chain::tx::Transaction;
use ecu_node::Input;
use mesh_sim::car::Car;
use mesh_sim::clock::WallClock;
use mesh_sim::genesis::{MADE_MS, Plan};

const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;
/// The cars of this test were made an hour ago.
const RIGHT: WallClock = WallClock::Ahead(HOUR_MS);

fn now_ms(car: &Car) -> u64 {
    RIGHT.reads(car.now_ns())
}

/// A car of seven with these wall clocks, which all have told each other.
fn car(wall: impl Fn(u8) -> Option<WallClock>) -> Car {
    let mut car = Car::started(Plan::default(), BitTiming::FD_500K_2M);
    for at in 0..7 {
        let now_ns = car.now_ns();
        car.ecus[usize::from(at)].set_wall_clock(wall(at), now_ns);
    }
    car.run_for(8 * SECOND_US);
    car
}

fn agreed(car: &Car, at: u8) -> u64 {
    car.ecu(at).expect("powered").validator().state().time_ms()
}

/// The gateway closes a block with this time; whether it is approved.
fn close_at(car: &mut Car, time_ms: u64) -> bool {
    let Transaction::EventBlock(header) = next_block(car) else { unreachable!("a block") };
    let number = header.number;
    car.give(GATEWAY, Input::Submit(Transaction::EventBlock(BlockHeader { time_ms, ..header })));
    let closed =
        |car: &Car| (0..7).all(|at| car.ecu(at).expect("powered").validator().state().event().number == number);
    car.run_until(car.now_us() + 5 * SECOND_US, closed)
}

/// An approval and a block of an honest gateway.
#[track_caller]
fn drive(car: &mut Car, serial: u64) {
    assert!(approve(car, serial).is_some());
    let time_ms = car.ecu(GATEWAY).expect("powered").validator().time_to_give();
    assert!(close_at(car, time_ms));
}

#[test]
fn the_agreed_time_is_that_of_the_clocks_that_are_right() {
    let cases: [(&str, [Option<WallClock>; 3]); 5] = [
        ("stuck at zero", [Some(WallClock::Stuck(0)); 3]),
        ("stuck at its maximum", [Some(WallClock::Stuck(u64::MAX)); 3]),
        ("years ahead", [Some(WallClock::Ahead(5 * YEAR_MS)); 3]),
        ("years behind", [Some(WallClock::Ahead(-5 * YEAR_MS)); 3]),
        ("of every kind", [Some(WallClock::Stuck(0)), Some(WallClock::Stuck(u64::MAX)), None]),
    ];
    for (what, wrong) in cases {
        // the gateway's is one of the wrong ones
        let mut car = car(|at| wrong.get(usize::from(at)).copied().unwrap_or(Some(RIGHT)));
        drive(&mut car, 1);
        for at in 0..7 {
            let off = agreed(&car, at).abs_diff(now_ms(&car));
            assert!(off < TIME_TOLERANCE_MS, "{what}: ecu {at} is {off} ms off");
        }
    }
}

#[test]
fn a_gateway_that_lies_about_the_time_is_refused_and_one_that_is_silent_about_it_is_helped() {
    let mut car = car(|at| (at > 0).then_some(RIGHT));
    assert!(approve(&mut car, 1).is_some());
    let now = now_ms(&car);
    for lie in [now + 2 * TIME_TOLERANCE_MS, MADE_MS + MAX_TIME_STEP_MS, now - 2 * TIME_TOLERANCE_MS] {
        assert!(!close_at(&mut car, lie), "{lie}");
    }
    for serial in 2..=1 + u64::from(LATE_DECISIONS) {
        assert!(approve(&mut car, serial).is_some());
        let unchanged = agreed(&car, GATEWAY);
        close_at(&mut car, unchanged);
    }
    car.run_for(SECOND_US);
    assert!(agreed(&car, 3).abs_diff(now_ms(&car)) < TIME_TOLERANCE_MS);
}

#[test]
fn a_car_without_clocks_closes_blocks_at_the_time_at_which_it_was_made() {
    let mut car = car(|_| None);
    (1..4).for_each(|serial| drive(&mut car, serial));
    assert_eq!(agreed(&car, 5), MADE_MS);
}

#[test]
fn a_car_that_was_parked_for_a_year_gets_to_the_present_in_steps() {
    let mut car = car(|_| Some(WallClock::Ahead(HOUR_MS + YEAR_MS)));
    let blocks_and_times = |car: &Car| car.chain(3).len();
    let before = blocks_and_times(&car);
    (1..=u64::from(LATE_DECISIONS)).for_each(|serial| assert!(approve(&mut car, serial).is_some()));
    car.run_for(5 * SECOND_US);
    let off = agreed(&car, 3).abs_diff(now_ms(&car) + YEAR_MS as u64);
    assert!(off < TIME_TOLERANCE_MS, "{off} ms off");
    assert_eq!(blocks_and_times(&car) - before, usize::from(LATE_DECISIONS) + 13);
}
