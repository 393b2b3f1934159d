//! The file backends: what is created is found again, and what is wrong is said.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use journal::{Counter, FileCounter, FileFlash, Flash, Geometry, Journal, MAX_RECORD};

const GEOMETRY: Geometry = Geometry { erase_size: 4096, write_size: 16, capacity: 16384 };
const IDENTITY: [u8; 32] = [7; 32];

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("journal"), folder.join("counter"))
}

#[test]
fn records_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let (flash, counter) = paths(folder.path());
    Journal::<_, FileCounter>::format(&mut FileFlash::create(&flash, GEOMETRY).unwrap(), IDENTITY).unwrap();
    FileCounter::create(&counter).unwrap();

    for round in 1..=20 {
        let (flash, counter) = (FileFlash::open(&flash, GEOMETRY).unwrap(), FileCounter::open(&counter).unwrap());
        let (mut journal, recovery) = Journal::open(flash, counter, IDENTITY).unwrap();
        assert!(!recovery.needs_rewrite());
        let mut rounds = Vec::new();
        journal.for_each(&mut [0; MAX_RECORD], |_, _, payload| rounds.push(payload[0])).unwrap();
        assert_eq!(rounds, (1..round).collect::<Vec<_>>());
        journal.append(1, &[round; 500]).map(drop).unwrap_or_else(|error| {
            assert_eq!(error.to_string(), "the journal is full");
            journal.rewrite(|new| (1..=round).try_for_each(|round| new.append(1, &[round]))).unwrap();
        });
    }
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (flash, counter) = paths(folder.path());
    let held = (FileFlash::create(&flash, GEOMETRY).unwrap(), FileCounter::create(&counter).unwrap());
    let refused = FileFlash::open(&flash, GEOMETRY).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceBusy);
    assert_eq!(refused.to_string(), format!("{}: in use by another process", flash.display()));
    assert_eq!(FileCounter::open(&counter).unwrap_err().kind(), ErrorKind::ResourceBusy);
    drop(held);
    FileFlash::open(&flash, GEOMETRY).unwrap();
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (flash, counter) = paths(folder.path());
    assert_eq!(FileFlash::open(&flash, GEOMETRY).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(FileCounter::open(&counter).unwrap_err().kind(), ErrorKind::NotFound, "never silently begun anew");

    FileFlash::create(&flash, GEOMETRY).unwrap();
    assert_eq!(FileFlash::create(&flash, GEOMETRY).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let other = Geometry { capacity: 8192, ..GEOMETRY };
    let error = FileFlash::open(&flash, other).unwrap_err().to_string();
    assert_eq!(error, format!("{}: 16384 bytes long, expected 8192", flash.display()));
    let useless = Geometry { write_size: 3, ..GEOMETRY };
    assert_eq!(FileFlash::open(&flash, useless).unwrap_err().kind(), ErrorKind::InvalidInput);

    std::fs::write(&counter, [0; 12]).unwrap();
    assert_eq!(FileCounter::open(&counter).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn a_counter_never_goes_back_and_survives_a_torn_write() {
    let folder = tempfile::tempdir().unwrap();
    let (_, path) = paths(folder.path());
    let mut counter = FileCounter::create(&path).unwrap();
    for to in [5, 3, 6] {
        counter.raise(to).unwrap();
    }
    let before = std::fs::read(&path).unwrap();
    counter.raise(6).unwrap();
    assert_eq!(
        (counter.value(), std::fs::read(&path).unwrap()),
        (6, before),
        "no number that is not higher is written"
    );
    drop(counter);
    assert_eq!(FileCounter::open(&path).unwrap().value(), 6);

    let whole = std::fs::read(&path).unwrap();
    for offset in 0..whole.len() {
        let mut torn = whole.clone();
        torn[offset] ^= 0x10;
        std::fs::write(&path, torn).unwrap();
        let value = FileCounter::open(&path).unwrap().value();
        assert!(value == 6 || value == 5, "byte {offset}: the slot before the last is left: {value}");
    }
}

#[test]
fn a_counter_opened_again_writes_over_the_older_slot() {
    let folder = tempfile::tempdir().unwrap();
    let (_, path) = paths(folder.path());
    FileCounter::create(&path).unwrap().raise(5).unwrap();
    for to in 6..9 {
        FileCounter::open(&path).unwrap().raise(to).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut left = [0, 4096].map(|slot| {
            let mut torn = whole.clone();
            torn[slot] ^= 1;
            std::fs::write(&path, torn).unwrap();
            FileCounter::open(&path).unwrap().value()
        });
        left.sort_unstable();
        assert_eq!(left, [to - 1, to]);
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_name_without_a_folder_is_one_in_the_current_one() {
    let folder = tempfile::tempdir().unwrap();
    std::env::set_current_dir(folder.path()).unwrap(); // all other tests name their folders
    FileCounter::create(Path::new("counter")).unwrap();
    assert_eq!(FileCounter::open(&folder.path().join("counter")).unwrap().value(), 0);
}

/// The memory of this process, none of which is at address 0.
#[test]
fn a_device_that_fails_is_no_damaged_counter() {
    let error = FileCounter::open(Path::new("/proc/self/mem")).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::InvalidData, "{error}");
}

#[test]
fn an_erased_page_reads_ff() {
    let folder = tempfile::tempdir().unwrap();
    let mut flash = FileFlash::create(&folder.path().join("journal"), GEOMETRY).unwrap();
    flash.program(4096, &[0; 16]).unwrap();
    flash.erase(4096, 8192).unwrap();
    let mut bytes = [0; 8192];
    flash.read(4096, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0xFF));
}

#[test]
fn an_access_outside_is_refused_and_the_file_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut flash = FileFlash::create(&path, GEOMETRY).unwrap();
    let Geometry { erase_size: page, write_size: unit, capacity } = GEOMETRY;
    for (offset, length) in
        [(capacity, unit), (capacity - unit, 2 * unit), (u32::MAX - unit + 1, unit), (1, unit), (0, 1)]
    {
        let error = flash.program(offset, &vec![0; length as usize]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{length} bytes from {offset} on");
    }
    for (offset, length) in
        [(capacity, page), (capacity - page, 2 * page), (u32::MAX - page + 1, page), (unit, page), (0, unit)]
    {
        let error = flash.erase(offset, length).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{length} bytes from {offset} on");
    }
    for offset in [capacity, capacity - 1, u32::MAX] {
        assert_eq!(flash.read(offset, &mut [0; 2]).unwrap_err().kind(), ErrorKind::InvalidInput, "from {offset} on");
    }
    assert_eq!(std::fs::read(&path).unwrap(), vec![0xFF; capacity as usize]);
}
