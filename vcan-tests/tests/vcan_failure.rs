//! ECUs that are killed, one of them an emulated chip. Run under `scripts/vcan`.

mod common;

use std::time::Duration;

use common::{Bench, repository};
use vcan_tests::car::{BusKind, with_times};
use vcan_tests::scenario::{chip, failure, ignition, members};
use vcan_tests::workspace::temporary;

/// 64 of them are waited for, twice.
const HEARTBEAT: Duration = Duration::from_millis(100);

#[test]
fn ecus_are_killed_and_come_back() {
    let mut bench = Bench::on(BusKind::Vcan);
    bench.see(ignition::trust);
    bench.see(failure::two_killed);
    bench.see(failure::back_with_store);
    bench.see(failure::back_wiped);
    bench.see(ignition::all_take_part);
}

#[test]
fn four_of_seven_carry_the_car_and_the_others_come_back() {
    let folder = tempfile::tempdir_in(temporary()).unwrap();
    let config = with_times(&repository().join("car.toml"), None, HEARTBEAT, folder.path()).unwrap();
    let mut bench = Bench::with(&config, BusKind::Vcan);
    bench.see(ignition::trust);
    bench.see(members::two_suspended);
    bench.see(members::four_carry_the_car);
    bench.see(members::resumed);
    bench.see(ignition::all_take_part);
}

/// The emulator takes some milliseconds for a frame, so a phase is longer.
#[test]
fn one_emulated_chip_among_six_processes_is_killed_and_comes_back() {
    let folder = tempfile::tempdir_in(temporary()).unwrap();
    let (phase, heartbeat) = (Duration::from_millis(300), Duration::from_secs(1));
    let config = with_times(&repository().join("car.toml"), Some(phase), heartbeat, folder.path()).unwrap();
    let mut bench = Bench::with(&config, BusKind::Vcan);
    bench.see(chip::needed);
    bench.see(chip::killed_and_back);
    bench.car.stop_all().unwrap();
}
