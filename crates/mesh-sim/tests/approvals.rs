//! Seven ECUs on a 500k/2M bus agree, two of them may be silent, and who was away comes back.

mod common;

use std::collections::BTreeMap;

use can_bus::Frame;
use can_bus::frame::id_from_raw;
use can_bus::timing::BitTiming;
use common::{GATEWAY, SECOND_US, approve};
use device_chain::tx::Transaction;
use device_chain::validator::{Mode, Report};
use device_chain::wire::Header;
use ecu_node::Input;
use ecu_node::store::Diagnosis;
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;

fn started() -> Car {
    let mut car = Car::started(Plan::default(), BitTiming::FD_500K_2M);
    assert!(ignited(&mut car, 7), "all are trusted");
    car
}

fn ignited(car: &mut Car, live: usize) -> bool {
    let end = car.now_us() + SECOND_US;
    car.run_until(end, |car| {
        let trusted = (0..7).filter(|at| car.ecu(*at).is_some_and(|ecu| ecu.validator().peers_heard() == live - 1));
        trusted.count() == live
    })
}

fn assert_same_chain(car: &Car) {
    let mut known = BTreeMap::new();
    for at in 0..7 {
        for (height, hash) in car.chain(at) {
            assert_eq!(*known.entry(height).or_insert(hash), hash, "ecu {at} at height {height}");
        }
    }
}

#[test]
fn seven_ignite_in_fifteen_milliseconds_of_bus_time() {
    let mut car = Car::started(Plan::default(), BitTiming::FD_500K_2M);
    let end = SECOND_US;
    let trusted = car
        .run_until(end, |car| (0..7).all(|at| car.ecu(at).is_some_and(|ecu| ecu.validator().mode() == Mode::Trusted)));
    assert!(trusted);
    let busy_us = car.segments.statistics().busy_ns / 1000;
    println!("trusted after {} us, {busy_us} us of bus", car.now_us());
    assert!(busy_us <= 15_000, "{busy_us} us of bus");
}

#[test]
fn an_approval_takes_few_frames_and_a_few_milliseconds() {
    let mut car = started();
    for serial in 1..=20 {
        assert!(approve(&mut car, serial).is_some(), "approval {serial}");
    }
    let decisions = &car.ecus[usize::from(GATEWAY)].decisions;
    let worst_us = decisions.iter().filter_map(|decision| decision.latency_us).max().expect("asked for");
    let sent: u32 =
        (0..7).filter_map(|at| car.ecu(at)).map(|ecu| ecu.counters().sent_votes + ecu.counters().sent_proposals).sum();
    println!("{} approvals, worst {worst_us} us, {} frames each", decisions.len(), f64::from(sent) / 20.0);
    assert!(worst_us < 10_000, "{worst_us} us");
    assert!(sent <= 20 * 13, "{sent} frames for 20 approvals");
    assert_same_chain(&car);
}

#[test]
fn two_silent_do_not_stop_approvals_but_three_do() {
    let mut car = started();
    car.crash(3);
    car.crash(4);
    assert!(approve(&mut car, 1).is_some());
    car.crash(5);
    car.run_for(SECOND_US);
    assert_eq!(car.ecu(GATEWAY).map(|ecu| ecu.validator().mode()), Some(Mode::Isolated));
    assert!(approve(&mut car, 2).is_none());
    car.boot(5);
    car.run_for(2 * SECOND_US);
    assert!(approve(&mut car, 3).is_some(), "a quorum is back");
    assert_same_chain(&car);
}

#[test]
fn one_comes_back_with_its_store_and_one_wiped() {
    let mut car = started();
    assert!(approve(&mut car, 1).is_some());
    car.crash(3);
    car.crash(4);
    for serial in 2..=12 {
        assert!(approve(&mut car, serial).is_some());
    }
    car.wipe(4);
    car.boot(3);
    car.boot(4);
    assert_eq!(car.ecus[3].diagnosis, Some(Diagnosis::Intact));
    assert_eq!(car.ecus[4].diagnosis, Some(Diagnosis::Wiped));
    assert!(car.ecu(4).expect("powered").validator().is_amnesiac(), "listens only");
    let height = car.ecu(GATEWAY).expect("powered").validator().state().height();
    let end = car.now_us() + 3 * SECOND_US;
    let back = car.run_until(end, |car| {
        let caught_up = |at| car.ecu(at).is_some_and(|ecu| ecu.validator().state().height() > height);
        caught_up(3) && caught_up(4) && car.ecu(4).is_some_and(|ecu| !ecu.validator().is_amnesiac())
    });
    assert!(back, "caught up and readmitted");
    car.run_for(50_000); // until it is durable
    assert!(car.ecus[4].reports.iter().any(|report| matches!(report, Report::Readmitted(at) if *at > height)));
    assert!(car.ecus[3].decisions.iter().filter(|decision| !decision.live).count() >= 11, "height by height");
    // with two others silent, both are needed again
    car.crash(5);
    car.crash(6);
    assert!(approve(&mut car, 13).is_some());
    assert_same_chain(&car);
}

#[test]
fn an_old_image_is_recognised_and_not_trusted() {
    let mut car = started();
    assert!(approve(&mut car, 1).is_some());
    let yesterday = car.ecus[2].flash.image();
    assert!(approve(&mut car, 2).is_some());
    car.crash(2);
    car.ecus[2].flash.restore(Some(yesterday));
    car.boot(2);
    assert!(matches!(car.ecus[2].diagnosis, Some(Diagnosis::Stale { .. })), "{:?}", car.ecus[2].diagnosis);
    assert!(car.ecu(2).expect("powered").validator().is_amnesiac());
}

#[test]
fn recorded_frames_open_nothing_and_are_counted() {
    let mut car = started();
    for serial in 1..=4 {
        assert!(approve(&mut car, serial).is_some());
    }
    car.run_for(SECOND_US);
    let recorded: Vec<_> = car.frames().filter(|frame| frame.raw_id() < 0x098).collect();
    assert!(recorded.len() >= 8, "votes were recorded");
    let (height, before) = (
        car.ecu(1).expect("powered").validator().state().height(),
        *car.ecu(1).expect("powered").validator().counters(),
    );
    let of_others = recorded.iter().filter(|frame| frame.raw_id() != 0x091).count();
    for frame in recorded {
        car.inject(frame);
        car.run_for(5_000);
    }
    let validator = car.ecu(1).expect("powered").validator();
    let rejected = |c: &device_chain::validator::Counters| c.replayed + c.bad_tag + c.stale;
    assert_eq!(rejected(validator.counters()) - rejected(&before), of_others as u64);
    assert!(validator.counters().impostor > 0, "its own identifier was used");
    let alarms = car.ecus[1].decisions.iter().filter(|decision| decision.tx.name() == "alarm").count();
    assert!(alarms > 0, "the abuse is on the chain");
    assert_eq!(validator.state().height() - height, alarms as u32, "and nothing else");
}

/// M6: nobody says late what has become old meanwhile.
#[test]
fn a_bus_that_was_full_is_not_filled_again_by_what_waited() {
    let mut car = started();
    let urgent = Frame::fd(id_from_raw(1).expect("an identifier"), &[0; 64]).expect("a frame");
    let end = car.now_us() + 3 * SECOND_US;
    let mut serial = 0;
    while car.now_us() < end {
        // back to back: nothing of the mesh wins arbitration
        car.inject(urgent);
        car.inject(urgent);
        car.run_for(700);
        if serial < 4 {
            serial += 1;
            let ids = car.genesis.validators[usize::from(serial)].identifiers.all();
            car.give(serial, Input::Submit(Transaction::Alarm { identifier: ids[0], count: 3 }));
        }
    }
    let heard = car.frames().count();
    let decided = |car: &Car| (0..7).all(|at| car.ecu(at).is_some_and(|ecu| ecu.validator().state().height() > 0));
    let end = car.now_us() + SECOND_US;
    assert!(car.run_until(end, decided));
    let mut votes = BTreeMap::new();
    for header in car.frames().skip(heard).filter_map(|frame| Header::parse(frame.data())) {
        if header.kind.vote().is_some() {
            *votes.entry((header.sender, header.height, header.round, header.kind as u8)).or_insert(0) += 1;
        }
    }
    // at the controller, behind that, and not sealed yet
    assert!(votes.values().all(|times| *times <= 3), "{votes:?}");
}
