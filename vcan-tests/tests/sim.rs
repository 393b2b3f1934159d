//! The same car as tasks on the simulated bus.

mod common;

use std::time::Duration;

use common::{Bench, repository};
use vcan_tests::car::{BusKind, Play, with_times};
use vcan_tests::scenario::{chip, cloud, failure, guests, ignition, ride, rogue};

#[test]
fn a_car_in_one_process() {
    let mut bench = Bench::on(BusKind::Sim);
    bench.see(guests::doctor);
    bench.see(ignition::trust);
    bench.car.start_sensor(Duration::from_secs(1)).unwrap();
    let log = repository().join("dbc/demo-drive.log.gz");
    bench.car.start_drive(Play { log, speed: 4.0, repeat: false }).unwrap();
    bench.see(ignition::drive_recorded);
    bench.see(ride::door_opens);
    bench.see(ride::lying_gateway);
    bench.see(rogue::forged_sessions);
    bench.see(rogue::replayed_votes);
    bench.see(failure::two_killed);
    bench.see(failure::back_with_store);
    bench.see(failure::back_wiped);
    bench.see(cloud::signals);
    bench.car.stop_all().unwrap();
}

/// Each byte of a UART takes the emulator as long as a thousand instructions: a frame is some milliseconds of this machine at each of
/// six receivers.
#[test]
fn seven_emulated_chips_agree() {
    let folder = tempfile::tempdir().unwrap();
    let (phase, heartbeat) = (Duration::from_millis(250), Duration::from_secs(2));
    let config = with_times(&repository().join("car.toml"), Some(phase), heartbeat, folder.path()).unwrap();
    let mut bench = Bench::with(&config, BusKind::Sim);
    bench.see(chip::all_chips);
    bench.car.stop_all().unwrap();
}
