//! The program as people use it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use can_bus::candump::parse_line;

fn mesh_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mesh-sim")).args(arguments).output().expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_run_is_replayed_and_a_changed_log_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = directory.path().join("events.txt");
    let events = events.to_str().expect("a path");
    let run = mesh_sim(&["run", "--seed", "5", "--seconds", "2", "--events", events, "--json"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    let summary: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!((&summary["seed"], &summary["ok"]), (&5.into(), &true.into()));

    let replay = ["replay", "--seed", "5", "--seconds", "2", "--events", events];
    let same = mesh_sim(&replay);
    assert_eq!((same.status.code(), text(&same).ends_with("events, the same\n")), (Some(0), true));
    let changed = fs::read_to_string(events).expect("events").replacen("booted", "was booted", 3);
    fs::write(events, changed).expect("written");
    let differs = mesh_sim(&replay);
    assert_eq!(differs.status.code(), Some(1));
    assert!(text(&differs).contains("then: 0.000000000 ecu0 was booted"), "{}", text(&differs));
}

#[test]
fn candump_and_foreign_load_are_what_other_tools_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("drive.log");
    let drive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dbc/demo-drive.log.gz");
    let (log, drive) = (log.to_str().expect("a path"), drive.to_str().expect("a path"));
    let run = mesh_sim(&["run", "--seed", "1", "--seconds", "2", "--no-faults", "--load", drive, "--candump", log]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    let lines = fs::read_to_string(log).expect("a log");
    let frames: Vec<_> = lines.lines().map(|line| parse_line(line).expect("a line of candump").frame).collect();
    assert!(frames.iter().any(|frame| frame.is_fd() && frame.raw_id() == 0x090), "a vote");
    assert!(frames.iter().any(|frame| !frame.is_fd()), "of the recorded drive");
}

#[test]
fn stepping_shows_what_was_asked_for() {
    let around = mesh_sim(&["step", "--seed", "1", "--no-faults", "--around", "decided h=1"]);
    let lines = text(&around);
    assert!(lines.contains("decided h=1 r=0 use-grant") && lines.contains("Trusted"), "{lines}");
    let until = text(&mesh_sim(&["step", "--seed", "1", "--until", "0.001"]));
    assert!(until.starts_with("0.000000000 fault cast") && until.contains("ecu height"), "{until}");
}

#[test]
fn what_cannot_be_used_is_refused_with_what_to_do() {
    for (arguments, problem) in [
        (&["run", "--seed", "1", "--load", "/nonexistent.log"][..], "/nonexistent.log: cannot be opened"),
        (&["run", "--seed", "1", "--load", "95"][..], "a load of 95 % is not from 1 to 90"),
        (&["sweep", "--seeds", "5..5"][..], "not a range of seeds such as 1..100"),
    ] {
        let refused = mesh_sim(arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!((refused.status.code(), said.contains(problem)), (Some(2), true), "{said}");
    }
}
