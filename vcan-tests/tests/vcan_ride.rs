//! Ignition, traffic and a ride, with all that must not open the door. Run under `scripts/vcan`.

mod common;

use std::time::Duration;

use common::{Bench, repository};
use vcan_tests::car::{BusKind, Play};
use vcan_tests::scenario::{cloud, guests, ignition, ride};

#[test]
fn a_ride() {
    let mut bench = Bench::on(BusKind::Vcan);
    bench.see(guests::doctor);
    bench.see(ignition::trust);
    bench.car.start_sensor(Duration::from_secs(2)).unwrap();
    bench.see(ignition::endpoint_record);
    let log = repository().join("dbc/demo-drive.log.gz");
    bench.car.start_drive(Play { log, speed: 1.0, repeat: false }).unwrap();
    bench.see(ignition::drive_recorded);
    bench.see(ride::door_opens);
    bench.see(|car| ride::latency(car, 4));
    bench.see(ride::lying_gateway);
    bench.see(ride::replayed_grant);
    bench.see(ride::expired_grant);
    bench.see(ride::foreign_grant);
    bench.see(cloud::trusted);
    bench.see(cloud::signals);
}
