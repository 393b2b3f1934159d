//! What the flash of the ECUs costs an approval, and what happens when it tears or wears out.

mod common;

use std::collections::BTreeMap;

use can_bus::timing::BitTiming;
use common::{GATEWAY, SECOND_US, next_block};
use device_chain::limits::MAX_BACKLOG;
use device_chain::tx::Transaction;
use device_chain::wire::Header;
use ecu_node::Input;
use ecu_node::store::Diagnosis;
use journal::part::{self, Part};
use journal::{Defect, Error, Tear};
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;
use mesh_sim::workload::grant;
use mesh_sim::writer::Writer;

const N: u8 = 7;
const QUORUM: usize = 5;
/// From one approval to the next.
const INTERVAL_US: u64 = 100_000;

fn ignite(mut car: Car) -> Car {
    let end = car.now_us() + 3 * SECOND_US;
    let hears_all = |car: &Car, at| car.ecu(at).is_some_and(|ecu| ecu.validator().peers_heard() == usize::from(N) - 1);
    assert!(car.run_until(end, |car| (0..N).all(|at| hears_all(car, at))));
    car
}

fn started(flash: Part) -> Car {
    ignite(Car::started(Plan { flash, ..Plan::default() }, BitTiming::FD_500K_2M))
}

/// As after years: the banks that are not in use are not erased either.
fn used(flash: Part) -> Car {
    let mut car = Car::new(Plan { flash, ..Plan::default() }, BitTiming::FD_500K_2M);
    for at in 0..N {
        let flash = &car.ecus[usize::from(at)].flash;
        let mut image = flash.image();
        let half = image.len() / 2;
        image[half..].fill(0);
        flash.restore(Some(image));
        car.boot(at);
    }
    ignite(car)
}

fn decided(car: &Car) -> [usize; N as usize] {
    core::array::from_fn(|at| car.ecus[at].decisions.len())
}

/// Has a transaction decided; for each ECU that may act on it within two seconds the time after which it may, µs, sorted.
fn decide(car: &mut Car, tx: Transaction) -> Vec<u64> {
    let (asked, before) = (car.now_us(), decided(car));
    let mut acted = BTreeMap::new();
    car.give(GATEWAY, Input::Submit(tx));
    car.run_until(asked + 2 * SECOND_US, |car| {
        for at in (0..before.len()).filter(|at| car.ecus[*at].decisions.len() > before[*at]) {
            acted.entry(at).or_insert(car.now_us() - asked);
        }
        acted.len() == before.len()
    });
    let mut times: Vec<u64> = acted.into_values().collect();
    times.sort_unstable();
    times
}

/// The fleet grants, the gateway passes it on and uses it.
fn approve(car: &mut Car, serial: u64) -> Vec<u64> {
    let (signed, start) = (grant(car, serial), car.now_us());
    let digest = signed.grant.digest();
    car.give(GATEWAY, Input::Grant(signed));
    car.run_for(INTERVAL_US / 2);
    let tx = car.ecu(GATEWAY).expect("powered").validator().use_of(&digest).expect("checked by now");
    let times = decide(car, tx);
    car.run_until(start + INTERVAL_US, |_| false);
    times
}

/// What an honest gateway does (DC-52).
fn close_block_in_time(car: &mut Car) {
    let state = car.ecu(GATEWAY).expect("powered").validator().state();
    if state.height() - state.event().tree_size >= MAX_BACKLOG / 2 {
        close_block(car);
    }
}

fn close_block(car: &mut Car) -> Vec<u64> {
    let block = next_block(car);
    decide(car, block)
}

/// Approves `times` times, prints and returns the worst time until a quorum may act, and until the last ECU may.
fn worst_of(car: &mut Car, name: &str, times: u64) -> (u64, u64) {
    let (mut quorum, mut last) = (Vec::new(), Vec::new());
    for serial in 1..=times {
        let acted = approve(car, serial);
        assert_eq!(acted.len(), usize::from(N), "{name}: approval {serial}");
        quorum.push(acted[QUORUM - 1]);
        last.extend(acted.last());
        close_block_in_time(car);
    }
    quorum.sort_unstable();
    last.sort_unstable();
    let worst = (quorum[quorum.len() - 1], last[last.len() - 1]);
    println!(
        "{name:10} a quorum may act after {} us, at worst {} us; the last ECU at worst {} us",
        quorum[quorum.len() / 2],
        worst.0,
        worst.1
    );
    worst
}

#[test]
fn an_approval_waits_for_what_its_writes_take() {
    let bounds = [(part::FRAM, 6_000), (part::STM32G4, 7_000), (part::STM32H743, 7_000), (part::LINUX_FILE, 13_000)];
    for (flash, bound_us) in bounds {
        let mut car = started(flash);
        let before = car.journal(GATEWAY).expect("powered").store().remaining();
        let (_, worst_us) = worst_of(&mut car, flash.name, 30);
        assert!(worst_us < bound_us, "{}: {worst_us} us", flash.name);
        let written = before - car.journal(GATEWAY).expect("powered").store().remaining();
        println!("{:10} {} bytes an approval", "", written / 30);
    }
}

/// Pages are erased and journals rewritten by turns, between two heights: a quorum never waits for it, and the one whose turn
/// it is only if the next approval comes before it is done.
#[test]
fn erasing_and_rewriting_delay_no_quorum() {
    let mut car = used(part::STM32G4);
    let (quorum_us, last_us) = worst_of(&mut car, "STM32G4", 520);
    let jobs: Vec<_> = (0..N).filter_map(|at| car.journal(at)).map(Writer::jobs).collect();
    println!("{:10} {:?}", "", jobs[0]);
    assert!(jobs.iter().all(|jobs| jobs.rewrites > 0 && jobs.pages > 8), "each did both: {jobs:?}");
    assert!(quorum_us < 7_000, "{quorum_us} us");
    assert!(jobs.iter().all(|jobs| last_us < jobs.longest_rewrite_us), "{last_us} us");
}

/// Without pauses there is no good moment: all banks fill up together, and the mesh waits once until they are rewritten.
#[test]
fn a_burst_waits_for_the_flash_once_in_a_bank() {
    let mut car = used(part::STM32G4);
    let height = |car: &Car| car.ecu(GATEWAY).expect("powered").validator().state().height();
    let mut times = Vec::new();
    for _ in 0..400 {
        let (asked, before, block) = (car.now_us(), height(&car), next_block(&car));
        car.give(GATEWAY, Input::Submit(block));
        assert!(car.run_until(asked + 2 * SECOND_US, |car| height(car) > before));
        times.push(car.now_us() - asked);
    }
    times.sort_unstable();
    let jobs = car.journal(GATEWAY).expect("powered").jobs();
    println!("a burst of {}: the next after {} us, at worst {} us; {jobs:?}", times.len(), times[200], times[399]);
    assert!(jobs.rewrites > 0 && times[399] < SECOND_US, "{jobs:?}");
    assert!(times[390] < 20_000, "{} us", times[390]);
}

/// A sector that takes a second to erase keeps one ECU from acting for that long, and the car from nothing.
#[test]
fn a_slow_erase_silences_one_ecu_at_a_time() {
    let (quorum_us, last_us) = worst_of(&mut used(part::STM32H743), "STM32H743", 60);
    assert!(quorum_us < 7_000, "{quorum_us} us");
    assert!((100_000..1_200_000).contains(&last_us), "{last_us} us");
}

/// No ECU votes twice in one slot: seen on the wire, where the hint names the value.
fn assert_one_vote_per_slot(car: &Car) {
    let mut slots = BTreeMap::new();
    for header in car.frames().filter_map(|frame| Header::parse(frame.data())) {
        if let Some(kind) = header.kind.vote() {
            let slot = (header.sender, header.height, header.round, kind as u8);
            let first = *slots.entry(slot).or_insert((header.hint_proposer == 0xff, header.hint));
            assert_eq!(first, (header.hint_proposer == 0xff, header.hint), "{slot:?} voted twice");
        }
    }
}

#[test]
fn power_may_go_at_any_byte_of_what_an_ecu_writes() {
    const CUT: u8 = 3;
    let mut seen = BTreeMap::new();
    for (bytes, tear) in (0..150).step_by(6).zip([Tear::Prefix, Tear::HalfByte, Tear::Noise].into_iter().cycle()) {
        let mut car = started(part::STM32G4);
        {
            let mut flash = car.ecus[usize::from(CUT)].flash.0.borrow_mut();
            flash.tear_as(tear, bytes);
            flash.cut_power_after(bytes);
        }
        assert!(approve(&mut car, 1).len() >= QUORUM, "the others go on");
        approve(&mut car, 2);
        assert!(car.ecu(CUT).is_none(), "after {bytes} bytes its power went");
        car.boot(CUT);
        let diagnosis = car.ecus[usize::from(CUT)].diagnosis.expect("booted");
        assert!(!diagnosis.is_amnesia(), "after {bytes} bytes: {diagnosis:?}");
        *seen.entry(format!("{diagnosis:?}")).or_insert(0) += 1;
        car.run_for(SECOND_US);
        // with two others away it is needed again
        car.crash(5);
        car.crash(6);
        assert_eq!(approve(&mut car, 3).len(), QUORUM, "after {bytes} bytes");
        assert_one_vote_per_slot(&car);
    }
    println!("{seen:?}");
    assert!(seen.contains_key("TornTail"));
}

/// P6.
#[test]
fn an_ecu_whose_flash_wears_out_goes_on_in_the_other_bank_and_then_abstains() {
    const WORN: u8 = 3;
    let (capacity, half) = (part::STM32G4.geometry.capacity, part::STM32G4.geometry.bank_size());
    let mut car = started(part::STM32G4);
    assert_eq!(approve(&mut car, 1).len(), usize::from(N));
    let wear = |car: &Car, place| {
        car.ecus[usize::from(WORN)].flash.0.borrow_mut().wear_out(place, Defect::IgnoresProgram);
    };

    wear(&car, 64..half);
    assert_eq!(approve(&mut car, 2).len(), usize::from(N), "it goes on");
    let journal = car.journal(WORN).expect("powered");
    assert!(matches!(journal.failure(), Some(Error::Worn { .. })) && !journal.abstains(), "and says so");
    car.crash(WORN);
    car.boot(WORN);
    assert_eq!(car.ecus[usize::from(WORN)].diagnosis, Some(Diagnosis::Intact));
    car.run_for(SECOND_US);

    wear(&car, half..capacity);
    for serial in 3..6 {
        assert_eq!(approve(&mut car, serial).len(), usize::from(N) - 1, "the others go on without it");
    }
    assert!(car.journal(WORN).expect("powered").abstains());
    // no loop of reboots: what it holds is whole, so it starts, and it says nothing that it cannot make durable
    for _ in 0..2 {
        car.crash(WORN);
        car.boot(WORN);
        car.run_for(SECOND_US);
    }
    let heard = car.frames().count();
    assert_eq!(approve(&mut car, 6).len(), usize::from(N) - 1);
    let votes = car.frames().skip(heard).filter_map(|frame| Header::parse(frame.data()));
    assert_eq!(votes.filter(|header| header.sender == WORN && header.kind.vote().is_some()).count(), 0);
    assert_one_vote_per_slot(&car);
}
