//! A short sweep, as part of every test run. `RINGFORT_SEEDS=1000 cargo test -p mesh-sim --test sweep` runs more seeds;
//! `mesh-sim sweep` runs them on all cores and faster.

use std::collections::BTreeSet;

use can_bus::timing::BitTiming;
use mesh_sim::event::Event;
use mesh_sim::oracle::marks;
use mesh_sim::run::{Config, Outcome, Run, Traffic};

fn config(seed: u64, timing: BitTiming) -> Config {
    Config { seed, seconds: 10, segments: None, timing, load: Traffic::Seeded, faults: true }
}

/// Cars are made where there is stack enough.
fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(32 << 20);
        let work = thread.spawn_scoped(scope, work);
        work.expect("a thread").join().expect("no panic outside of a run")
    })
}

fn run(config: &Config, tell: &mut (dyn FnMut(&Event) + Send)) -> Outcome {
    with_stack(|| Run::new(config).expect("a sound plan").finish(tell))
}

/// Seeds that together show every mark, two of them with conspirators: 15 and 45. When the protocol changes others do; `mesh-sim run --seed N --json` tells.
const SEEDS: [u64; 6] = [14, 15, 16, 45, 52, 163];
/// Run until every mark was seen, should those not show all.
const FURTHER: std::ops::Range<u64> = 1..150;

/// Runs in which the gateway lies on the route.
const LYING_ROUTES: usize = 3;

#[test]
fn nothing_breaks_and_every_rule_is_seen_at_work() {
    let more: usize = std::env::var("RINGFORT_SEEDS").map_or(0, |seeds| seeds.parse().expect("a number of seeds"));
    let mut marks = BTreeSet::new();
    for (number, seed) in (1..=more as u64).chain(SEEDS).chain(FURTHER).enumerate() {
        if number >= more + SEEDS.len() && marks::missing(&marks).next().is_none() {
            break;
        }
        let outcome = run(&config(seed, BitTiming::FD_500K_2M), &mut |_| {});
        assert_eq!(outcome.violation, None, "again: mesh-sim run --seed {seed}");
        marks.extend(outcome.marks);
    }
    assert_eq!(marks::missing(&marks).collect::<Vec<_>>(), [], "rules that were not seen at work");
}

#[test]
fn faster_buses_hold_as_well() {
    for timing in [BitTiming::FD_1M_5M, BitTiming::FD_1M_8M] {
        for seed in [3, 7] {
            assert_eq!(run(&config(seed, timing), &mut |_| {}).violation, None, "{timing:?}, seed {seed}");
        }
    }
}

#[test]
fn a_quiet_car_drops_nothing_and_loses_no_order() {
    let quiet = Config { seconds: 5, faults: false, load: Traffic::Percent(30), ..config(1, BitTiming::FD_500K_2M) };
    assert_eq!(run(&quiet, &mut |_| {}).violation, None);
}

/// Agreement and all else that must always hold is checked while the gateway lies on the route, liveness once it only lies
/// with its votes.
#[test]
fn a_lying_route_between_two_segments_breaks_nothing() {
    let lies = |run: &Run| run.car.segments.router.as_ref().is_some_and(|router| router.liar.is_some());
    let outcome = |seed| {
        let config = Config { segments: Some(2), ..config(seed, BitTiming::FD_500K_2M) };
        with_stack(move || {
            let run = Run::new(&config).expect("a sound plan");
            lies(&run).then(|| (seed, run.finish(&mut |_| {})))
        })
    };
    for (seed, outcome) in (1..).filter_map(outcome).take(LYING_ROUTES) {
        assert_eq!(outcome.violation, None, "again: mesh-sim run --segments 2 --seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for segments in [1, 2] {
        let config = Config { segments: Some(segments), ..config(3, BitTiming::FD_500K_2M) };
        let events = || {
            let mut lines = Vec::new();
            run(&config, &mut |event| lines.push(event.to_string()));
            lines
        };
        let (first, second) = (events(), events());
        assert!(first.len() > 1000, "{} events", first.len());
        assert_eq!(first, second, "{segments} segments");
    }
}
