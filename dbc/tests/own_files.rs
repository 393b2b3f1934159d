//! The project's own data: the demo car, its drive, and the mesh's frames.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use can_bus::candump::LogLine;
use can_bus::log::LogReader;
use dbc::{Absent, Database, PlannedIdentifier, collisions};
use flate2::read::GzDecoder;

fn own(file: &str) -> Database {
    let database = Database::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it is ours");
    assert_eq!(database.warnings(), []);
    database
}

fn drive_text() -> String {
    let mut text = String::new();
    let gzipped = &include_bytes!("../demo-drive.log.gz")[..];
    GzDecoder::new(gzipped).read_to_string(&mut text).expect("it is ours");
    text
}

fn drive() -> Vec<LogLine> {
    let text = drive_text();
    LogReader::new(text.as_bytes()).map(|line| line.expect("it is ours")).collect()
}

#[test]
fn the_generator_writes_the_committed_drive() {
    let output = Command::new(env!("CARGO_BIN_EXE_demo-drive")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.stdout == drive_text().as_bytes(),
        "after a change on purpose: cargo run -p dbc --bin demo-drive | gzip -9n > dbc/demo-drive.log.gz"
    );
}

#[test]
fn the_drive_keeps_all_cycle_times() {
    let (car, drive) = (own("demo-car.dbc"), drive());
    assert!(drive.is_sorted_by_key(|line| line.time_us));
    assert!(drive.iter().all(|line| line.interface == "vcan1"));
    let seconds = (drive[drive.len() - 1].time_us - drive[0].time_us) as f64 / 1e6;
    let frames_per_second = drive.len() as f64 / seconds;
    assert!((19.9..20.1).contains(&seconds) && (400.0..800.0).contains(&frames_per_second), "{seconds} s");

    for message in car.messages() {
        let times: Vec<_> =
            drive.iter().filter(|line| line.frame.raw_id() == message.raw_id).map(|l| l.time_us).collect();
        let cycle_us = u64::from(message.cycle_time_ms.unwrap()) * 1_000;
        assert!(times.len() as u64 >= 20_000_000 / cycle_us - 1, "{}: {} frames", message.name, times.len());
        for pair in times.windows(2) {
            let off_us = (pair[1] - pair[0]).abs_diff(cycle_us);
            assert!(off_us < 2_000, "{} at {}: {off_us} µs beside its cycle time", message.name, pair[0]);
        }
    }
}

#[test]
fn every_frame_of_the_drive_decodes_and_encodes_to_itself() {
    let car = own("demo-car.dbc");
    for line in drive() {
        let message = car.message(line.frame.raw_id()).expect("the car knows all its messages");
        let mut data = vec![0; message.length.into()];
        for decoded in message.decode(line.frame.data()) {
            match decoded.value {
                Ok(value) => decoded.signal.insert(&mut data, value.raw).unwrap(),
                Err(absent) => assert_eq!(absent, Absent::NotSelected, "{line}"),
            }
        }
        assert_eq!(data, line.frame.data(), "{line}");
    }
}

/// Physical values of a signal of the drive, by µs.
fn course(car: &Database, name: &str) -> BTreeMap<u64, f64> {
    let message = car.messages().iter().find(|message| message.signal(name).is_some()).expect(name);
    let lines = drive().into_iter().filter(|line| line.frame.raw_id() == message.raw_id);
    let value = |line: LogLine| {
        let mut decoded = message.decode(line.frame.data());
        let value = decoded.find(|decoded| decoded.signal.name == name)?.value.ok()?;
        Some((line.time_us, value.physical))
    };
    lines.filter_map(value).collect()
}

#[test]
fn the_drive_is_one() {
    let car = own("demo-car.dbc");
    let [speed, door, locked, distance] =
        ["VehicleSpeed", "DoorFrontLeftOpen", "DoorsLocked", "TraveledDistance"].map(|name| course(&car, name));
    let ends = |course: &BTreeMap<u64, f64>| (course.values().next().copied(), course.values().last().copied());
    assert_eq!(ends(&speed), (Some(0.0), Some(0.0)));
    assert_eq!(ends(&door), (Some(1.0), Some(1.0)));
    assert_eq!(ends(&locked), (Some(0.0), Some(0.0)));
    assert_eq!(speed.values().fold(0.0, |a: f64, b| a.max(*b)), 50.0);

    // The odometer has grown by the integral of the speed.
    let metres: f64 = speed.values().map(|kmh| kmh / 3.6 * 0.020).sum();
    let (start, end) = ends(&distance);
    let odometer = (end.unwrap() - start.unwrap()) * 1_000.0;
    assert!((odometer - metres).abs() < 1.5, "{odometer} m by the odometer, {metres} m by the speed");
    // Nobody opens a door in a moving car.
    let moving = |time: u64| speed.range(..=time).next_back().is_some_and(|(_, kmh)| *kmh > 0.0);
    assert!(door.iter().all(|(time, open)| *open == 0.0 || !moving(*time)));
}

#[test]
fn mesh_frames_are_can_fd_and_free_in_the_demo_car() {
    let mesh = own("ringfort.dbc");
    let plan: Vec<_> = mesh
        .messages()
        .iter()
        .map(|message| PlannedIdentifier { raw_id: message.raw_id, what: message.name.clone() })
        .collect();
    assert_eq!(plan.len(), 8 * 4 + 1);
    assert_eq!(collisions(&plan, &own("demo-car.dbc")), []);
    assert_eq!(collisions(&plan, &mesh).len(), plan.len());
    for message in mesh.messages() {
        assert!(message.fd && message.length == 64, "{}", message.name);
        assert_eq!(message.signal("Kind").and_then(|kind| kind.text(15)), Some("SEGMENT"), "{}", message.name);
    }
}

#[test]
fn all_validators_send_frames_of_the_same_layout() {
    let mesh = own("ringfort.dbc");
    let mut layouts = BTreeMap::new();
    for message in mesh.messages() {
        let class = message.name.trim_end_matches(|c: char| c.is_ascii_digit());
        let layout = layouts.entry(class).or_insert(&message.signals);
        assert_eq!(*layout, &message.signals, "{}", message.name);
    }
    assert_eq!(layouts.into_keys().collect::<Vec<_>>(), ["Bulk", "Control", "Proposals", "Records", "Votes"]);
}

#[test]
fn a_mesh_frame_is_readable() {
    let mesh = own("ringfort.dbc");
    let hello = [&[0x34, 0x12, 0x10, 0x52, 7, 0, 0, 0][..], &[0xEE; 8], &[0x11; 8]].concat();
    let mut decoded = mesh.message_named("Control2").unwrap().decode(&hello);
    let values: Vec<_> = decoded
        .by_ref()
        .filter_map(|decoded| Some((decoded.signal.name.as_str(), decoded.value.ok()?.raw.as_i64()?)))
        .collect();
    let expected = [
        ("MeshId", 0x1234),
        ("MacSuite", 0),
        ("WireVersion", 1),
        ("Sender", 2),
        ("Kind", 5),
        ("Boot", 7),
        ("Tag0", 0x1111_1111_1111_1111),
    ];
    // The nonce is above what `i64` holds; the other tags are beyond the frame.
    assert_eq!(values, expected);
}
