//! The command line: what it says of bad input, and its exit status.
#![allow(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const CAR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml");

/// Exit status, standard output and standard error.
fn ecu_node(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecu-node"));
    let output = command.args(args).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_mistake_is_told_with_its_exit_status() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("bad.toml"), "vehicle = 7\n").unwrap();
    fs::create_dir(folder.join("full")).unwrap();
    fs::write(folder.join("full/something"), "").unwrap();
    let (status, summary, error) = ecu_node(folder, &["provision", "--config", CAR, "--out", "car", "--json"]);
    assert_eq!(status, 0, "{error}");
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["devices"].as_array().unwrap().len(), 8);

    for (args, status, told) in [
        (&["config", "check", CAR][..], 0, ""),
        (&["config", "check", "bad.toml"], 2, "line 1"),
        (&["config", "check", "none.toml"], 2, "none.toml"),
        (&["provision", "--config", CAR, "--out", "full"], 2, "full is not empty"),
        (&["provision", "--config", CAR, "--out", "new", "--fleet-key", "12"], 2, "--fleet-key 12"),
        (&["run", "--state", "car/nobody"], 2, "keys.bin"),
        (&["run", "--state", "car/door-sensor"], 2, "ecu-node endpoint"),
        (&["run", "--state", "car/chassis", "--interface", "none0"], 3, "scripts/vcan"),
        (&["endpoint", "--state", "car/chassis", "--once", "open"], 2, "ecu-node run"),
        (&["endpoint", "--state", "car/door-sensor", "--every", "0"], 2, "--every 0"),
        (&["status", "--state", "car/chassis"], 3, "status.json"),
        (&["fly"], 2, "fly"),
    ] {
        let (code, _, error) = ecu_node(folder, args);
        assert_eq!(code, status, "{args:?}: {error}");
        assert!(error.contains(told), "{args:?}: {error}");
    }
}
