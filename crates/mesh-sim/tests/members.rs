//! Three ECUs of seven fall silent one after another, the other four carry the car, and the three come back.

mod common;

use can_bus::timing::BitTiming;
use common::{GATEWAY, SECOND_US, approve};
use device_chain::validator::Mode;
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;

/// Until all powered ECUs know that these are the members.
fn members_are(car: &mut Car, members: &[u8]) -> bool {
    let end = car.now_us() + 60 * SECOND_US;
    car.run_until(end, |car| {
        (0..7)
            .filter_map(|at| car.ecu(at))
            .all(|ecu| ecu.validator().state().members().iter().eq(members.iter().copied()))
    })
}

#[test]
fn four_of_seven_carry_the_car_and_the_others_come_back() {
    let mut car = Car::started(Plan::default(), BitTiming::FD_500K_2M);
    car.run_for(SECOND_US);
    assert!(approve(&mut car, 1).is_some());
    car.crash(6);
    assert!(members_are(&mut car, &[0, 1, 2, 3, 4, 5]));
    car.crash(5);
    assert!(members_are(&mut car, &[0, 1, 2, 3, 4]));
    car.crash(4);
    car.run_for(30 * SECOND_US);
    assert_eq!(car.ecu(GATEWAY).map(|ecu| ecu.validator().mode()), Some(Mode::Trusted));
    let took = approve(&mut car, 2).expect("four of five members are a quorum");
    println!("approved by four in {took} us");
    assert!(took < 10_000, "{took} us");
    // the set is larger again, so that the third one can leave it
    car.boot(6);
    assert!(members_are(&mut car, &[0, 1, 2, 3, 6]));
    car.boot(5);
    assert!(members_are(&mut car, &[0, 1, 2, 3, 5, 6]));
    car.boot(4);
    assert!(members_are(&mut car, &[0, 1, 2, 3, 4, 5, 6]));
    // those that were suspended are needed now
    car.crash(1);
    car.crash(2);
    assert!(approve(&mut car, 3).is_some());
    car.run_for(50_000); // until it is durable everywhere
    for at in 3..7 {
        assert_eq!(car.chain(at).last(), car.chain(GATEWAY).last(), "ecu {at}");
    }
}
