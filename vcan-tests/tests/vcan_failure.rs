//! A rogue without keys, and ECUs that are killed. Run under `scripts/vcan`.

mod common;

use common::Bench;
use vcan_tests::car::BusKind;
use vcan_tests::scenario::{failure, ignition};

#[test]
fn ecus_are_killed_and_come_back() {
    let mut bench = Bench::on(BusKind::Vcan);
    bench.see(ignition::trust);
    bench.see(failure::two_killed);
    bench.see(failure::back_with_store);
    bench.see(failure::back_wiped);
    bench.see(ignition::all_take_part);
}
