//! What shares the buses with the mesh: can-utils, diagnostics, a real car's drive; and a car that is left running. Run
//! under `scripts/vcan`.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Bench, buses, repository};
use ecu_node::linux::status::Status;
use vcan_tests::args;
use vcan_tests::car::{BusKind, Play, record_other};
use vcan_tests::process::{Process, output, program, run};
use vcan_tests::scenario::{cloud, guests, ignition};
use vcan_tests::wait::wait_for;
use vcan_tests::workspace::temporary;

const PATIENCE: Duration = Duration::from_secs(30);
/// Times as fast as it was recorded: 150 s of a real drive are long.
const SPEED: f64 = 5.0;

#[test]
fn other_frames_are_counted_and_diagnostics_left_alone() {
    let mut bench = Bench::on(BusKind::Vcan);
    bench.see(ignition::trust);
    bench.see(guests::flood);
    bench.see(guests::diagnostics);
}

#[test]
fn a_real_drive() {
    let Some(traces) = std::env::var_os("RINGFORT_TRACES").map(PathBuf::from) else {
        println!("NOT RUN vcan-tests real-drive: set RINGFORT_TRACES");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let log = traces.join("volvo-v40/clean.log.gz");
    let dbc = traces.join("dbc/volvo_v40_2017_pt.dbc");
    let config = record_other(&repository().join("car.toml"), &dbc, &log, folder.path()).unwrap();
    let mut bench = Bench::with(&config, BusKind::Vcan);
    bench.see(ignition::trust);
    bench.car.start_drive(Play { log, speed: SPEED, repeat: false }).unwrap();
    bench.see(ignition::drive_recorded);
    bench.see(cloud::signals);
}

#[test]
fn nothing_is_attacked_on_a_bus_that_is_not_virtual() {
    let folder = tempfile::tempdir_in(temporary()).unwrap();
    let config = folder.path().join("car.toml");
    let text = std::fs::read_to_string(repository().join("car.toml")).unwrap().replace("\"vcan0\"", "\"lo\"");
    let text = text.replace("dbc/demo-car.dbc", repository().join("dbc/demo-car.dbc").to_str().unwrap());
    std::fs::write(&config, text).unwrap();
    let out = folder.path().join("out");
    let demo = args!["--config", config.display(), "--out", out.display()];
    let refused = output(&program("ringfort-demo").unwrap(), demo).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("lo is no virtual CAN interface"), "{said}");
}

#[test]
fn a_car_runs_until_it_is_stopped_and_remembers() {
    let folder = tempfile::tempdir_in(temporary()).unwrap();
    let _buses = buses();
    for boot in 1..=2 {
        let car = up(folder.path());
        let body = folder.path().join("state/car/body");
        wait_for("the body ECU trusted", PATIENCE, || {
            let status = Status::read(&body)?;
            anyhow::ensure!(status.boot == boot && status.mode == "trusted", "boot {}, {}", status.boot, status.mode);
            Ok(())
        })
        .unwrap();
        run(&program("ecu-node").unwrap(), args!["status", "--state", body.display()]).unwrap();
        wait_for("where to look", PATIENCE, || {
            let said = std::fs::read_to_string(folder.path().join("log"))?;
            anyhow::ensure!(said.matches("running until Ctrl-C").count() == boot as usize, "{said}");
            Ok(())
        })
        .unwrap();
        car.terminate().unwrap();
    }
}

fn up(folder: &Path) -> Process {
    let (config, state) = (repository().join("car.toml"), folder.join("state"));
    let up = args!["up", "--config", config.display(), "--state", state.display()];
    Process::start("car", &program("ringfort-car").expect("built"), up, &folder.join("log")).expect("a process")
}
