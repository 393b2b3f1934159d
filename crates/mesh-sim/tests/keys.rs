//! DC-23 to DC-25: a whole car whose pairwise keys move on, over many boots and power cuts.

mod common;

use can_bus::timing::BitTiming;
use common::{SECOND_US, approve};
use device_chain::keys::{Device, KeyHandle, KeyStore};
use device_chain::mac::TAG_INPUT;
use device_chain::pairing::Ephemeral;
use ecu_node::Input;
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;

const N: u8 = 7;

fn all_trust(car: &Car) -> bool {
    (0..N).all(|at| car.ecu(at).is_some_and(|ecu| ecu.validator().peers_heard() == usize::from(N) - 1))
}

/// Whether all pairs have one key each, and not the one of the end of the line.
fn all_have_moved(car: &Car) -> bool {
    let tag = |at: u8, peer: u8, car: &Car| {
        let ecu = car.ecu(at)?;
        ecu.validator().keys().tag(KeyHandle::Pair(Device::Validator(peer)), &[3; TAG_INPUT])
    };
    let first = |at: u8, peer: u8| car.keyring.store(at).tag(KeyHandle::Pair(Device::Validator(peer)), &[3; TAG_INPUT]);
    (0..N)
        .all(|at| (0..at).all(|peer| tag(at, peer, car) == tag(peer, at, car) && tag(at, peer, car) != first(at, peer)))
}

#[test]
fn a_car_starts_many_times_and_its_keys_move_on() {
    let mut car = Car::started(Plan { keys_move: true, ..Plan::default() }, BitTiming::FD_500K_2M);
    for start in 2..20u64 {
        // sometimes sooner than what was begun is durable
        car.run_for(SECOND_US / 40 * (start % 7 * 6 + 4));
        for at in 0..N {
            car.crash(at);
            car.boot(at);
        }
    }
    car.run_for(4 * SECOND_US);
    assert!(all_trust(&car));
    assert!(all_have_moved(&car));
    car.give(3, Input::Refresh(Ephemeral::from_random([0x33; 32])));
    car.run_for(20 * SECOND_US);
    let validator = car.ecu(3).expect("powered").validator();
    assert!(validator.state().refreshed(3).is_some_and(|refreshed| refreshed.height > 0));
    assert!(validator.keys().ephemeral().is_none(), "its secret is forgotten");
    for at in (0..N).filter(|at| *at != 3) {
        assert_eq!(validator.keys().offered(at), None, "ecu{at} has proved its key");
    }
    assert!(all_trust(&car) && all_have_moved(&car));
    assert!(approve(&mut car, 1).is_some_and(|took_us| took_us < 50_000));
}
