//! The link to the cloud is cut, both of its ends are killed, the archive is tampered with. Run under `scripts/vcan`.

mod common;

use std::time::Duration;

use common::Bench;
use vcan_tests::car::BusKind;
use vcan_tests::scenario::{cloud, ignition, ride};
use vcan_tests::tamper::Tampering;

#[test]
fn nothing_is_lost_and_nothing_goes_unnoticed() {
    let mut bench = Bench::on(BusKind::Vcan);
    bench.see(ignition::trust);
    bench.car.start_sensor(Duration::from_secs(1)).unwrap();
    bench.see(ride::door_opens);
    bench.see(cloud::archived);
    bench.see(cloud::trusted);
    let old = cloud::keep_old_store(&mut bench.car).unwrap();
    bench.see(cloud::link_cut);
    bench.see(cloud::killed_in_mid_batch);
    bench.see(cloud::nothing_lost);
    bench.see(cloud::trusted);
    bench.see(cloud::sound);
    for tampering in Tampering::ALL {
        bench.see(|car| cloud::tampered(car, tampering, &old));
    }
}
