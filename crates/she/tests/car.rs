//! A car of seven by CMAC, three of whose ECUs have their keys in slow SHEs: nobody else notices.
#![allow(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::cell::RefCell;
use std::rc::Rc;

use can_bus::timing::BitTiming;
use device_chain::keys::Device;
use device_chain::mac::Suite;
use device_chain::tx::Transaction;
use device_chain::validator::{Decision, Mode};
use ecu_node::Input;
use ecu_node::store::Diagnosis;
use heapless::Vec;
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;
use mesh_sim::keys::SharedKeys;
use mesh_sim::workload::grant;
use she::{Flags, Latency, She, SheKeys, personalise};

const GATEWAY: u8 = 0;
/// The gateway is one of them: it makes more tags than the others.
const IN_HARDWARE: [u8; 3] = [GATEWAY, 2, 5];
const ENDPOINTS: u8 = 6;
const SECOND_US: u64 = 1_000_000;

/// Δ for what such an SHE takes: six tags checked and six made, 150 µs each with its key, are 1.8 ms (W1).
fn plan() -> Plan {
    Plan { suite: Suite::Cmac, endpoints: ENDPOINTS, phase_us: 12_000, ..Plan::default() }
}

/// Moves the keys of a validator into an SHE of its own.
fn move_into_hardware(car: &mut Car, at: u8, latency: Latency) -> Rc<RefCell<She>> {
    let mut she = She::new([at; 15], [0x5E ^ at; 16], latency);
    let others = (0..7).filter(|peer| *peer != at).map(Device::Validator);
    let devices = others.chain((0..ENDPOINTS).map(Device::Endpoint));
    let pairs = devices.map(|device| (device, car.keyring.pair_with(at, device).unwrap()));
    let made = personalise(&mut she, &[0x3A; 16], Flags::MAC, pairs).unwrap();
    assert_eq!(made.counts(), (10, 2), "six validators and four endpoints have slots, two endpoints have none");
    let _ = she.elapsed_us(); // at the end of the line
    let she = Rc::new(RefCell::new(she));
    let device = she.clone();
    car.ecus[usize::from(at)].key_store = Some(Box::new(move || {
        device.borrow_mut().reset(true);
        let clock = device.clone();
        SharedKeys::slow(SheKeys::new(device.clone(), made.clone()), move || clock.borrow_mut().elapsed_us())
    }));
    she
}

fn started(latency: Latency) -> Car {
    let mut car = Car::new(plan(), BitTiming::FD_500K_2M);
    for at in IN_HARDWARE {
        move_into_hardware(&mut car, at, latency);
    }
    (0..7).for_each(|at| car.boot(at));
    for _ in 0..ENDPOINTS {
        let at = car.add_endpoint();
        car.boot_endpoint(at);
    }
    car
}

fn is_trusted(car: &Car) -> bool {
    (0..7).all(|at| {
        car.ecu(at).is_some_and(|ecu| ecu.validator().mode() == Mode::Trusted && ecu.validator().peers_heard() == 6)
    })
}

fn height(car: &Car, at: u8) -> u32 {
    car.ecu(at).unwrap().validator().state().height()
}

/// A grant, used and decided by all; how long from the wish to the last decision, µs.
fn approve(car: &mut Car, serial: u64) -> u64 {
    let signed = grant(car, serial);
    let digest = signed.grant.digest();
    car.give(GATEWAY, Input::Grant(signed));
    car.run_for(100_000);
    let validator = car.ecu(GATEWAY).unwrap().validator();
    let (tx, asked) = (validator.use_of(&digest).unwrap(), car.now_us());
    let before = (0..7).map(|at| height(car, at)).max().unwrap(); // the gateway may have to catch up
    car.give(GATEWAY, Input::Submit(tx));
    let all = |car: &Car| (0..7).all(|at| height(car, at) > before);
    assert!(car.run_until(asked + SECOND_US, all), "approval {serial}");
    car.now_us() - asked
}

fn bad_tags(car: &Car) -> u64 {
    (0..7).map(|at| car.ecu(at).unwrap().validator().counters().bad_tag).sum()
}

#[test]
fn it_ignites_approves_and_starts_anew() {
    let mut car = started(Latency::SLOW);
    assert!(car.run_until(2 * SECOND_US, is_trusted), "ignition");
    println!("trusted after {} us", car.now_us());
    let slowest = (1..=10).map(|serial| approve(&mut car, serial)).max().unwrap();
    println!("slowest approval {slowest} us");
    assert_eq!(bad_tags(&car), 0, "hardware and software agree on every tag"); // who starts anew is spoken to by old keys for a moment
    for at in [GATEWAY, 2, 3] {
        car.crash(at);
        car.run_for(20_000);
        car.boot(at);
        assert_eq!(car.ecus[usize::from(at)].diagnosis, Some(Diagnosis::Intact));
        let end = car.now_us() + 3 * SECOND_US;
        assert!(car.run_until(end, is_trusted), "{at} is back");
        approve(&mut car, 20 + u64::from(at));
    }
    car.run_for(SECOND_US / 10); // the last decision becomes durable
    let chain = car.chain(1);
    assert!(chain.len() >= 13);
    for at in IN_HARDWARE {
        assert!(car.chain(at).iter().all(|decided| chain.contains(decided)), "{at} decided the same");
    }
}

/// What each endpoint says is checked with a key in a slot, or, of two of them, a wrapped one; all of it is decided.
#[test]
fn records_of_endpoints_beyond_the_slots_are_decided() {
    let mut car = started(Latency::SLOW);
    assert!(car.run_until(2 * SECOND_US, is_trusted), "ignition");
    for at in 0..ENDPOINTS {
        car.sense(at, Vec::from_slice(b"open").unwrap());
        let decided = |car: &Car| {
            let of =
                |decision: &Decision| matches!(&decision.tx, Transaction::Record { endpoint, .. } if *endpoint == at);
            IN_HARDWARE
                .iter()
                .all(|ecu| car.ecus[usize::from(*ecu)].decisions.iter().any(|decision| decision.live && of(decision)))
        };
        let end = car.now_us() + 2 * SECOND_US;
        assert!(car.run_until(end, decided), "endpoint {at}");
    }
    assert_eq!(bad_tags(&car), 0);
}

/// The time is really spent: the same approvals take longer the slower the SHEs are.
#[test]
fn slow_answers_cost_time_and_nothing_else() {
    let worst = [Latency::default(), Latency::SLOW, Latency { call_us: 200, ..Latency::SLOW }].map(|latency| {
        let mut car = started(latency);
        assert!(car.run_until(2 * SECOND_US, is_trusted), "{latency:?}");
        let took = (1..=5).map(|serial| approve(&mut car, serial)).max().unwrap();
        assert_eq!(bad_tags(&car), 0, "{latency:?}");
        took
    });
    println!("slowest approvals {worst:?} us");
    assert!(worst.is_sorted() && worst[0] < worst[1] && worst[1] < worst[2], "{worst:?}");
}
