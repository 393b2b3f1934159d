//! Seven processes and a door sensor on a real bus: run under `scripts/vcan`.
#![allow(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ecu_node::linux::status::Status;

const ECU_NODE: &str = env!("CARGO_BIN_EXE_ecu-node");
const NAMES: [&str; 7] = ["gateway", "powertrain", "chassis", "adas", "body", "telematics", "battery"];
const IGNITION: Duration = Duration::from_secs(15);

/// Ended when dropped, also by a failed assertion.
struct Process(Child);

impl Process {
    fn run(folder: &Path, name: &str) -> Self {
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(ECU_NODE);
        command.args(["run", "--interface", "vcan0", "--state"]).arg(folder.join(name));
        Self(command.stdin(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// As Ctrl-C does; whether it ended cleanly.
    fn end(mut self) -> bool {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.0.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

fn ecu_node(args: &[&str]) -> Output {
    Command::new(ECU_NODE).args(args).stdin(Stdio::null()).output().unwrap()
}

fn wait_for(folder: &Path, name: &str, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
    let start = Instant::now();
    loop {
        if let Some(status) = Status::read(&folder.join(name)).ok().filter(&holds) {
            return status;
        }
        if start.elapsed() > IGNITION {
            let log = std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap();
            panic!("{name}: not {what} after {IGNITION:?}; its log:\n{log}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn seven_processes_ignite_decide_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml");
    let out = folder.to_str().unwrap();
    let made = ecu_node(&["provision", "--config", config, "--out", out]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let mut processes: Vec<_> = NAMES.iter().map(|name| Process::run(folder, name)).collect();
    let trusted = |status: &Status| status.mode == "trusted";
    let ignition: Vec<_> =
        NAMES.iter().map(|name| wait_for(folder, name, "trusted", trusted).ignition_ms.unwrap()).collect();
    println!("start to Trusted, milliseconds: {ignition:?}");

    // five of seven are a quorum
    for _ in 0..2 {
        drop(processes.pop());
    }
    let sensor = folder.join("door-sensor");
    let record = ecu_node(&["endpoint", "--state", sensor.to_str().unwrap(), "--once", "open", "--json"]);
    assert!(record.status.success(), "{}", String::from_utf8_lossy(&record.stderr));
    println!("record: {}", String::from_utf8_lossy(&record.stdout).trim());
    let body = wait_for(folder, "body", "at height 1", |status| status.height == 1);
    assert_eq!((body.decisions[0].kind.as_str(), body.door.as_deref()), ("record", Some("locked")));

    // one of those that were killed comes back with its store, and catches up
    processes.push(Process::run(folder, "telematics"));
    let back = wait_for(folder, "telematics", "at height 1 again", |status| status.height == 1 && status.boot == 2);
    assert_eq!(back.head, body.head);
    assert_eq!((back.diagnosis.as_str(), back.amnesiac), ("intact", false));

    assert!(processes.into_iter().all(Process::end));
    std::thread::sleep(ecu_node::linux::status::MAX_AGE);
    let state = folder.join("body");
    let old = ecu_node(&["status", "--state", state.to_str().unwrap()]);
    assert_eq!(old.status.code(), Some(3), "a status that nobody renews says so");
}
