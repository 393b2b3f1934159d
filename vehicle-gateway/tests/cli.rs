//! The command line on bad input: what is wrong, where, what to do, and the exit status.

use std::path::Path;
use std::process::{Command, Output};

const CAR: &str = include_str!("../../car.toml");

fn gateway(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vehicle-gateway")).args(args).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with `car.toml`, in which `from` is replaced by `to`, and the demo car's DBC.
fn folder(from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let car = CAR.replacen(from, to, 1);
    assert!(car != CAR || from == to, "{from}");
    std::fs::write(folder.path().join("car.toml"), car).expect("a disk");
    std::fs::create_dir(folder.path().join("dbc")).expect("a disk");
    let dbc = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dbc/demo-car.dbc");
    std::fs::copy(dbc, folder.path().join("dbc/demo-car.dbc")).expect("a disk");
    folder
}

fn doctor(folder: &Path, more: &[&str]) -> Output {
    let config = folder.join("car.toml");
    gateway(&[&["doctor", "--config", config.to_str().expect("plain")], more].concat())
}

/// The failed checks on identifiers.
fn collisions(folder: &Path) -> Vec<String> {
    let checks: serde_json::Value = serde_json::from_slice(&doctor(folder, &["--json"]).stdout).expect("JSON");
    let failed = checks.as_array().expect("a list").iter().filter(|check| check["what"] == "identifiers");
    failed.filter(|check| check["verdict"] == "failed").map(|check| check["detail"].to_string()).collect()
}

#[test]
fn a_plan_that_fits_the_car_has_no_collision() {
    assert_eq!(collisions(folder("", "").path()), [""; 0]);
}

#[test]
fn identifiers_of_the_car_and_of_diagnostics_are_refused_by_name() {
    for (identifiers, taken_by) in [
        (
            "vote = 0x093, propose = 0x0C4, control = 0x0A3, bulk = 0x4EB",
            "proposals of adas, is taken by message Engine",
        ),
        ("vote = 0x093, propose = 0x09B, control = 0x0A3, bulk = 0x7DF", "diagnostic requests to all ECUs"),
        ("vote = 0x093, propose = 0x09B, control = 0x0A3, bulk = 0x7E0", "diagnostic requests to one ECU"),
        ("vote = 0x093, propose = 0x09B, control = 0x0A3, bulk = 0x7EF", "diagnostic responses"),
        ("vote = 0x093, propose = 0x09B, control = 0x0A3, bulk = 0x18DA10F1", "diagnostics with one ECU"),
        ("vote = 0x093, propose = 0x09B, control = 0x0A3, bulk = 0x18DB33F1", "diagnostic requests to all ECUs"),
    ] {
        let plan = format!("role = \"adas\"\nidentifiers = {{ {identifiers} }}");
        let folder = folder("role = \"adas\"", &plan);
        let found = collisions(folder.path());
        assert!(matches!(&found[..], [one] if one.contains(taken_by)), "{identifiers}: {found:?}");
        let output = doctor(folder.path(), &[]);
        assert_eq!(output.status.code(), Some(1), "{identifiers}");
        assert!(text(&output.stdout).contains("FAILED   identifiers"), "{}", text(&output.stdout));
    }
}

#[test]
fn bad_files_are_named_with_line_or_key() {
    let broken_dbc = folder("", "");
    std::fs::write(broken_dbc.path().join("dbc/demo-car.dbc"), "VERSION \"\"\n\nBO_ 12 Speed 8 A\n").expect("a disk");
    for (folder, more, told) in [
        (folder("[cloud]", "[clowd]"), &[][..], "clowd"),
        (folder("[mesh]", "[mesh"), &[], "line"),
        (folder("http://127.0.0.1:8377", "not a url"), &[], "cloud.url"),
        (folder("dbc/demo-car.dbc", "dbc/missing.dbc"), &[], "missing.dbc"),
        (broken_dbc, &[], "demo-car.dbc:3:"),
        (folder("", ""), &["--genesis", "missing.bin"], "maker.pub"),
        (folder("", ""), &["--dbc", "missing.dbc"], "missing.dbc"),
    ] {
        let output = doctor(folder.path(), more);
        assert_eq!(output.status.code(), Some(2), "{told}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(told), "{told}: {}", text(&output.stderr));
    }
}

#[test]
fn a_signal_that_the_dbc_does_not_have_is_refused() {
    let output = doctor(folder("\"EngineSpeed\"", "\"Warp\"").path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("signal 'Warp' is not in the DBC"), "{}", text(&output.stdout));
}

#[test]
fn what_is_no_log_is_not_played() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str, bytes: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a disk");
        path.to_str().expect("plain").to_owned()
    };
    let good = "(1.000000) vcan1 123#00\n";
    for (log, told) in [
        (path("bad.log", &format!("{good}{good}(1.0) vcan1 123#0\n")), "bad.log: line 3:"),
        (path("empty.log", ""), "no frame"),
        (path("fake.log.gz", good), "fake.log.gz"),
        ("missing.log".into(), "missing.log"),
        (path("good.log", good), "not a virtual CAN bus"),
    ] {
        let output = gateway(&["play", "--log", &log, "--interface", "lo"]);
        assert_eq!(output.status.code(), Some(2), "{log}");
        assert!(text(&output.stderr).contains(told), "{log}: {}", text(&output.stderr));
    }
    assert_eq!(gateway(&["play", "--log", "x", "--interface", "lo", "--speed", "0"]).status.code(), Some(2));
}

#[test]
fn status_of_a_gateway_that_does_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = gateway(&["status", "--state", folder.path().to_str().expect("plain")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("status.json"), "{}", text(&output.stderr));
}
