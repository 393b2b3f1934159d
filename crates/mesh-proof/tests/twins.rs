//! Twins, a slice: the schedules of `mesh-proof twins`, and whether they find what must break.

use std::collections::HashSet;

use device_chain::quorum::{Quorum, faults};
use mesh_proof::twins::{Course, Failure, ROUNDS, Schedule, Setup, run};

/// The first schedule of so many that ends in such a failure.
fn first(setup: Setup, within: u64, is_such: impl Fn(&Failure) -> bool) -> Option<(u64, Failure)> {
    let mut failures = (0..within).filter_map(|number| Some((number, course(setup, number).err()?)));
    failures.find(|(_, failure)| is_such(failure))
}

fn is_split(failure: &Failure) -> bool {
    matches!(failure, Failure::Split(..))
}

fn course(setup: Setup, number: u64) -> Result<Course, Failure> {
    run(setup, &Schedule::new(setup, number), &mut |_| {})
}

/// Nobody decides differently, and everybody decides when the bus behaves; nearly all schedules are different ones, and many long.
fn withstand(validators: usize, schedules: u64) {
    let setup = Setup::full(validators);
    let (mut courses, mut long) = (HashSet::new(), 0);
    for number in 0..schedules {
        match course(setup, number) {
            Ok(course) => {
                courses.insert(course.hash);
                long += u64::from(course.round >= ROUNDS - 1);
            }
            Err(failure) => panic!("schedule {number} of {validators}: {failure:?}"),
        }
    }
    println!("{validators} validators: {schedules} schedules, {} different, {long} long", courses.len());
    assert!(courses.len() as u64 > schedules / 100 * 99, "{} different courses", courses.len());
    assert!(long > schedules / 5, "{long} came to their round {ROUNDS}");
}

#[test]
fn four_withstand_a_twin() {
    withstand(4, 20_000);
}

#[test]
fn seven_withstand_two_twins() {
    withstand(7, 10_000);
}

#[test]
fn a_schedule_is_a_function_of_its_number() {
    let setup = Setup::full(7);
    assert_eq!(course(setup, 1), course(setup, 1));
    assert_ne!(course(setup, 1), course(setup, 2));
}

/// DC-10, T12, T9: one twin more than the protocol withstands, a majority as quorum, `f` of those that are left.
#[test]
fn wrong_numbers_are_found() {
    let majority = Quorum { n: 7, f: 0 };
    let recounted = Quorum { n: 6, f: faults(6) };
    for (what, setup) in [
        ("two twins of four", Setup { twins: 2, ..Setup::full(4) }),
        ("three twins of seven", Setup { twins: 3, ..Setup::full(7) }),
        ("a majority of seven", Setup { quorum: majority, ..Setup::full(7) }),
        ("six of seven, f counted again", Setup { validators: 6, twins: 2, quorum: recounted }),
    ] {
        let found = first(setup, 10_000, is_split);
        println!("{what}: {found:?}");
        assert!(found.is_some(), "{what}");
    }
}

#[cfg(flaws)]
mod flaws {
    use device_chain::Flaw;

    use super::*;

    /// Every wrong rule that the agreement itself can have is found within so many schedules, in the way that its trace in
    /// `docs/protocol.md` tells.
    #[test]
    fn wrong_rules_are_found() {
        let stalls = |failure: &Failure| matches!(failure, Failure::Stalled(_));
        let twice = |failure: &Failure| matches!(failure, Failure::VotedTwice(..));
        let table: [(Flaw, usize, u64, &dyn Fn(&Failure) -> bool); 7] = [
            (Flaw::ProofFromAll, 4, 1_000, &stalls),
            (Flaw::PolkaCertifies, 4, 10_000, &stalls),
            (Flaw::LockForgotten, 4, 50_000, &is_split),
            (Flaw::DecidedLeave, 4, 1_000, &stalls),
            (Flaw::ReadiesForgotten, 4, 1_000, &twice),
            (Flaw::PrevotesForgotten, 4, 1_000, &twice),
            (Flaw::OldProofUnlocks, 4, 1_000_000, &is_split),
        ];
        for (flaw, validators, within, is_such) in table {
            let found = flaw.during(|| first(Setup::full(validators), within, is_such));
            println!("{flaw:?}: {found:?}");
            assert!(found.is_some(), "{flaw:?} is not found in {within} schedules");
        }
    }
}
