//! A rogue without keys, and ECUs that are killed. Run under `scripts/vcan`.

mod common;

use std::time::Duration;

use common::Bench;
use vcan_tests::car::BusKind;
use vcan_tests::scenario::{cloud, ignition, rogue};

#[test]
fn a_rogue_without_keys() {
    let mut bench = Bench::on(BusKind::Vcan);
    bench.see(ignition::trust);
    bench.car.start_sensor(Duration::from_secs(1)).unwrap();
    bench.see(rogue::forged_sessions);
    bench.see(rogue::forged_agreement);
    bench.see(rogue::replayed_votes);
    bench.see(rogue::impersonated);
    bench.see(cloud::alarmed);
}
