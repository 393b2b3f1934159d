//! What ignition costs: time for which the mesh's frames hold the wire, from the first frame until all of seven say Trusted, at
//! 500k/2M. `docs/protocol.md` chapter 4; the figures: `cargo test -p mesh-sim --test ignition -- --nocapture`.

use can_bus::timing::BitTiming;
use device_chain::validator::Mode;
use device_chain::wire::{Header, Kind};
use mesh_sim::car::Car;
use mesh_sim::dice::Dice;
use mesh_sim::event::What;
use mesh_sim::genesis::Plan;
use mesh_sim::wire::length::Length;

/// The goal.
const BUDGET_US: u64 = 15_000;
const N: u8 = 7;
const LATE: usize = 3;
/// Within which all wake up.
const STAGGER_US: u64 = 200_000;
const SEEDS: u64 = 200;

/// When each wakes up, microseconds; never, if it is silent.
type Wakes = [Option<u64>; N as usize];

/// What an ignition took, microseconds.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Of the wire: HELLO and CONFIRM.
    ignition_us: u64,
    /// Of the wire: what else was said, heartbeats of those that had met.
    rest_us: u64,
    /// From the last one's power to Trusted everywhere.
    last_us: u64,
}

impl Cost {
    const fn bus_us(&self) -> u64 {
        self.ignition_us + self.rest_us
    }

    fn print(&self, name: &str) {
        let Self { ignition_us, rest_us, last_us } = self;
        println!(
            "{name:<22} HELLO, CONFIRM {ignition_us:>6} us, other frames {rest_us:>6} us, the last one {last_us:>6} us"
        );
    }
}

fn ignite(wakes: Wakes) -> Cost {
    let plan = Plan { endpoints: 0, ..Plan::default() }; // they have a budget of their own
    let mut car = Car::new(plan, BitTiming::FD_500K_2M);
    let mut order: Vec<_> = (0..N).zip(wakes).filter_map(|(at, wakes)| Some((wakes?, at))).collect();
    order.sort_unstable();
    for (wakes, at) in &order {
        car.run_until(*wakes, |_| false);
        car.boot(*at);
    }
    let is_trusted = |car: &Car, at| car.ecu(at).is_some_and(|ecu| ecu.validator().mode() == Mode::Trusted);
    let last = car.now_us();
    assert!(car.run_until(last + 1_000_000, |car| order.iter().all(|(_, at)| is_trusted(car, *at))), "{wakes:?}");
    let bus_us = |of_ignition: bool| {
        let frames = car.events.iter().filter_map(|event| match event.what {
            What::Frame { frame, .. } => Some(frame),
            _ => None,
        });
        let is_ignition = |kind| matches!(kind, Kind::Hello | Kind::Confirm);
        let frames = frames
            .filter(|frame| Header::parse(frame.data()).is_some_and(|header| is_ignition(header.kind)) == of_ignition);
        frames.map(|frame| Length::of(&frame).ns(&car.timing())).sum::<u64>() / 1000
    };
    Cost { ignition_us: bus_us(true), rest_us: bus_us(false), last_us: car.now_us() - last }
}

fn one(when: Option<u64>) -> Wakes {
    let mut wakes = [Some(0); N as usize];
    wakes[LATE] = when;
    wakes
}

#[test]
fn all_at_once_or_one_silent() {
    for (name, wakes) in [("all at once", one(Some(0))), ("one silent", one(None))] {
        let cost = ignite(wakes);
        cost.print(name);
        assert!(cost.bus_us() <= BUDGET_US, "{name}");
        assert_eq!(cost.rest_us, 0, "{name}: nothing but HELLO and CONFIRM");
    }
}

/// Until then the six are a mesh at work, whose heartbeats are no ignition's.
#[test]
fn one_late_by_two_seconds() {
    let cost = ignite(one(Some(2_000_000)));
    cost.print("one late by 2 s");
    assert!(cost.ignition_us <= BUDGET_US);
}

#[test]
fn each_wakes_up_at_another_time() {
    let costs = (0..SEEDS).map(|seed| {
        let mut dice = Dice::new(seed, 77);
        ignite([(); N as usize].map(|()| Some(dice.roll(STAGGER_US))))
    });
    let costs: Vec<_> = costs.collect();
    let most = |of: fn(&Cost) -> u64| *costs.iter().max_by_key(|cost| of(cost)).expect("seeds");
    most(Cost::bus_us).print("staggered, most wire");
    most(|cost| cost.last_us).print("staggered, longest");
    for (seed, cost) in costs.iter().enumerate() {
        assert!(cost.bus_us() <= BUDGET_US, "seed {seed}: {} us", cost.bus_us());
    }
}
