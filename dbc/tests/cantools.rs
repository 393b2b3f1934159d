//! `cantools`, the Python library, as an oracle: `RINGFORT_CANTOOLS` names a Python interpreter that has it.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use can_bus::Frame;
use can_bus::candump::{Interface, LogLine};
use can_bus::frame::id_from_raw;
use dbc::Database;

fn own(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn assert_agreement(python: &OsStr, dbc: &Path, log: &Path) {
    let status = Command::new(python)
        .args([&own("tests/cantools_oracle.py"), Path::new(env!("CARGO_BIN_EXE_dbc")), dbc, log])
        .status()
        .expect("RINGFORT_CANTOOLS names a Python interpreter");
    assert!(status.success(), "{}", dbc.display());
}

/// Frames of every message with every kind in the high nibble of byte 3, in several lengths.
fn mesh_log(mesh: &Database) -> String {
    let mut text = String::new();
    for (index, message) in mesh.messages().iter().enumerate() {
        for kind in 0..16 {
            for length in [16, 24, 32, 64] {
                let mut data: Vec<u8> =
                    (0..length).map(|byte: u8| byte.wrapping_mul(37).wrapping_add(index as u8)).collect();
                data[3] = kind << 4 | data[3] & 15;
                let id = id_from_raw(message.raw_id).expect("loading checks identifiers");
                let frame = Frame::fd(id, &data).expect("a DLC stands for each length");
                let interface = Interface::try_from("vcan0").expect("it is short");
                text += &format!("{}\n", LogLine { time_us: 0, interface, frame });
            }
        }
    }
    text
}

#[test]
fn cantools_decodes_the_same() {
    let Some(python) = common::enabled_by("RINGFORT_CANTOOLS", "cantools-oracle") else { return };
    assert_agreement(&python, &own("demo-car.dbc"), &own("demo-drive.log.gz"));

    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("mesh.log");
    fs::write(&log, mesh_log(&Database::load(&own("ringfort.dbc")).unwrap())).unwrap();
    assert_agreement(&python, &own("ringfort.dbc"), &log);

    let Some(traces) = common::enabled_by("RINGFORT_TRACES", "cantools-oracle-real-drive") else { return };
    let traces = PathBuf::from(traces);
    assert_agreement(&python, &traces.join("dbc/volvo_v40_2017_pt.dbc"), &traces.join("volvo-v40/clean.log.gz"));
}
