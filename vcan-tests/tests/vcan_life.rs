//! A car's life: an ECU is revoked, the car is sold, and scrapped in the end. Run under `scripts/vcan`.

mod common;

use common::{Bench, repository};
use vcan_tests::car::BusKind;
use vcan_tests::scenario::life::{self, Desk};
use vcan_tests::scenario::{ignition, ride};
use vcan_tests::workspace::temporary;

#[test]
fn orders_change_the_car_and_nothing_else_does() {
    let folder = tempfile::tempdir_in(temporary()).unwrap();
    let (mut desk, config) = Desk::make(&repository().join("car.toml"), folder.path()).unwrap();
    let mut bench = Bench::with(&config, BusKind::Vcan);
    bench.see(ignition::trust);
    bench.see(ride::door_opens);
    bench.see(|car| life::revoked(car, &mut desk));
    bench.see(|car| life::sold(car, &mut desk));
    bench.see(|car| life::scrapped(car, &mut desk));
}
