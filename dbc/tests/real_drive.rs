//! A real car's drive and real DBC files, where they are at hand: `RINGFORT_TRACES` names a folder with
//! `volvo-v40/clean.log.gz` and `dbc/*.dbc`.

mod common;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use can_bus::log::LogReader;
use dbc::{Absent, Database};
use flate2::read::GzDecoder;

fn traces(case: &str) -> Option<PathBuf> {
    common::enabled_by("RINGFORT_TRACES", case).map(PathBuf::from)
}

#[test]
fn the_whole_drive_is_decoded() {
    let Some(folder) = traces("real-drive") else { return };
    let database = Database::load(&folder.join("dbc/volvo_v40_2017_pt.dbc")).unwrap();
    let log = GzDecoder::new(File::open(folder.join("volvo-v40/clean.log.gz")).unwrap());
    let (mut frames, mut signals, mut short) = (0, 0, 0);
    let (mut known, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for line in LogReader::new(BufReader::new(log)) {
        let frame = line.unwrap().frame;
        frames += 1;
        let Some(message) = database.message(frame.raw_id()) else {
            unknown.insert(frame.raw_id());
            continue;
        };
        known.insert(frame.raw_id());
        for decoded in message.decode(frame.data()) {
            signals += usize::from(decoded.value.is_ok());
            short += usize::from(decoded.value == Err(Absent::FrameTooShort));
        }
    }
    println!("{frames} frames, {signals} signal values, {short} absent in short frames");
    assert_eq!((frames, known.len(), unknown.len()), (245_144, 32, 18));
    assert_eq!((signals, short), (781_442, 0));
}

#[test]
fn real_files_load_or_say_what_is_wrong_with_them() {
    let Some(folder) = traces("real-files") else { return };
    let table = [
        ("hyundai_canfd.dbc", 51, 1),
        ("tesla_model3_party.dbc", 21, 0),
        ("toyota_secoc_pt.dbc", 16, 0),
        ("volvo_v40_2017_pt.dbc", 51, 1),
        ("vw_mqb.dbc", 113, 2),
    ];
    for (file, messages, warnings) in table {
        let database = Database::load(&folder.join("dbc").join(file)).unwrap();
        assert_eq!((database.messages().len(), database.warnings().len()), (messages, warnings), "{file}");
    }
    // Bits 192 to 200 of a message of 24 bytes.
    let error = Database::load(&folder.join("dbc/FORD_CADS_64.dbc")).unwrap_err();
    assert_eq!(error.line, Some(714));
    assert_eq!(error.what, "signal CAN_DET_SUPER_RES_TARGET_22_03 does not fit in message MRR_Detection_022");
}
