//! Records of any length: they are programmed and checked in pieces, which shows nowhere.

mod common;

use common::{OURS, Record, open, records};
use journal::{Defect, Error, Geometry, Journal, MAX_RECORD, MemCounter, MemError, MemFlash, Stale, Tear, record_size};

const UNITS: [u32; 4] = [1, 8, 32, 64];
/// Behind the bank's header and the record's.
const PAYLOAD: usize = 64 + 15;
/// Some pieces long, the last one not whole.
const LONG: usize = 1000;

const fn geometry(write_size: u32) -> Geometry {
    Geometry { erase_size: 4096, write_size, capacity: 16384 }
}

fn formatted(write_size: u32) -> MemFlash {
    let mut flash = MemFlash::new(geometry(write_size));
    Journal::<_, MemCounter>::format(&mut flash, OURS).expect("a new flash");
    flash
}

/// No two pieces of it are the same.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ at >> 8) as u8).collect()
}

fn record(length: usize) -> Record {
    (1, 7, payload(length))
}

#[test]
fn a_record_of_any_length_is_one_run_of_bytes_under_one_checksum() {
    for unit in UNITS {
        for length in (0..600).chain([LONG, MAX_RECORD - 1, MAX_RECORD]) {
            let (mut flash, mut counter) = (formatted(unit), MemCounter::default());
            open(&mut flash, &mut counter).unwrap().0.append(7, &payload(length)).unwrap();

            let end = 64 + record_size(length, unit) as usize;
            let (bytes, behind) = flash.image().split_at(end);
            let what = format!("{length} bytes in units of {unit}");
            assert_eq!(bytes[PAYLOAD..][..length], payload(length), "{what}");
            assert!(bytes[PAYLOAD + length..].iter().chain(behind).all(|&byte| byte == 0xFF), "{what}");
            let covered = [&OURS[..], &[0; 4], &bytes[64..PAYLOAD - 4], &bytes[PAYLOAD..]].concat();
            let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&covered);
            assert_eq!(bytes[PAYLOAD - 4..PAYLOAD], crc.to_le_bytes(), "{what}");

            let (mut journal, recovery) = open(&mut flash, &mut counter).unwrap();
            assert!(!recovery.needs_rewrite(), "{what}");
            assert_eq!(records(&mut journal), [record(length)], "{what}");
        }
    }
}

#[test]
fn a_cut_at_any_byte_of_a_long_record_leaves_it_torn_or_whole() {
    for unit in UNITS {
        let size = record_size(LONG, unit);
        for cut in 1..size {
            let (mut flash, mut counter) = (formatted(unit), MemCounter::default());
            flash.tear_as(Tear::Prefix, 0);
            flash.cut_power_after(cut.into());
            let appended = open(&mut flash, &mut counter).unwrap().0.append(7, &payload(LONG));
            assert_eq!(appended, Err(Error::Io(MemError::NoPower)));
            flash.restore_power();

            let (mut journal, recovery) = open(&mut flash, &mut counter).unwrap();
            // padding that is missing reads as it should
            let whole = cut as usize >= PAYLOAD - 64 + LONG;
            let what = format!("after {cut} of {size} bytes in units of {unit}: {recovery:?}");
            assert!(recovery.is_complete(), "{what}");
            assert_eq!((recovery.torn_tail, recovery.unconfirmed), (!whole, whole), "{what}");
            assert_eq!(records(&mut journal), if whole { vec![record(LONG)] } else { vec![] }, "{what}");
        }
    }
}

#[test]
fn a_worn_place_in_a_long_record_is_named() {
    for unit in UNITS {
        for offset in (64..64 + record_size(LONG, unit)).step_by(unit as usize) {
            let (mut flash, mut counter) = (formatted(unit), MemCounter::default());
            flash.wear_out(offset..offset + unit, Defect::IgnoresProgram);
            let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
            let appended = journal.append(7, &[0x5A; LONG]);
            let worn = Error::Worn { offset: offset / 64 * 64 };
            assert_eq!(appended, Err(worn), "unit of {unit} at {offset}");
            journal.rewrite(|new| new.append(7, &payload(LONG))).unwrap();
            assert_eq!(records(&mut journal), [(2, 7, payload(LONG))], "the other bank takes it");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_long_record_is_found() {
    let (mut flash, mut counter) = (formatted(8), MemCounter::default());
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    journal.append(7, &payload(LONG)).unwrap();
    journal.append(7, b"behind it").unwrap();
    for at in 64..64 + record_size(LONG, 8) as usize {
        let mut image = flash.image().to_vec();
        image[at] ^= 1 << (at % 8);
        let mut flipped = MemFlash::from_image(geometry(8), image);
        let (mut journal, recovery) = open(&mut flipped, &mut counter).unwrap();
        assert_eq!((recovery.damaged, recovery.stale), (Some(64), Some(Stale { journal: 0, counter: 2 })), "byte {at}");
        assert_eq!(records(&mut journal), [], "byte {at}");
    }
}
