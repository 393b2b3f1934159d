//! What an owner asks an open journal between its records: how much room there is, and whether the other bank is ready.

mod common;

use common::{GEOMETRY, OURS, formatted, open, records, used};
use journal::part::Part;
use journal::{Error, Geometry, Journal, MemCounter, MemError, MemFlash, OpenError, Operation, record_size};

#[test]
fn the_other_bank_is_erased_page_by_page_before_it_is_needed() {
    let (mut flash, mut counter) = used();
    flash.watch();
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    assert!(!journal.is_prepared(), "nobody has looked");
    assert_eq!((journal.prepare(), journal.is_prepared()), (Ok(true), false), "one page was in use");
    assert_eq!((journal.prepare(), journal.is_prepared()), (Ok(false), true), "the other one was not");
    assert_eq!((journal.prepare(), journal.is_prepared()), (Ok(false), true));
    journal.rewrite(|new| new.append(1, b"kept")).unwrap();
    assert!(!journal.is_prepared(), "the bank that was left is the next one");
    let done = flash.watch();
    let erased = |operation: &&Operation| matches!(operation, Operation::Erase { .. });
    assert_eq!(done[0], Operation::Erase { offset: 0, length: GEOMETRY.erase_size });
    assert_eq!(done.iter().filter(erased).count(), 1, "the rewrite had nothing to wait for");
}

#[test]
fn a_bank_holds_what_remains_to_the_last_byte() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(journal.remaining(), GEOMETRY.bank_size() - 64, "behind the header");
    journal.append(1, &[7; 100]).unwrap();
    let left = GEOMETRY.bank_size() - 64 - record_size(100, GEOMETRY.write_size);
    assert_eq!(journal.remaining(), left);
    let longest = left as usize - 15;
    assert_eq!(journal.append(1, &vec![7; longest + 1]), Err(Error::Full));
    assert_eq!((journal.append(1, &vec![7; longest]), journal.remaining()), (Ok(2), 0));
    assert_eq!((journal.last_sequence(), journal.needs_rewrite()), (2, false));
    assert_eq!(journal.append(1, b""), Err(Error::Full));

    journal.rewrite(|new| new.append(1, b"in the second bank")).unwrap();
    assert_eq!(journal.remaining(), GEOMETRY.bank_size() - 64 - record_size(18, GEOMETRY.write_size));
    assert_eq!(journal.last_sequence(), 4, "the bank itself took one");
}

/// Where a unit is a byte, an empty record may end where the bank ends.
#[test]
fn the_last_record_of_a_bank_may_take_its_last_bytes() {
    let geometry = Geometry { erase_size: 256, write_size: 1, capacity: 512 };
    let (mut flash, mut counter) = (MemFlash::new(geometry), MemCounter::default());
    Journal::<_, MemCounter>::format(&mut flash, OURS).unwrap();
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    journal.append(1, &[7; 256 - 64 - 15 - 15]).unwrap();
    journal.append(2, b"").unwrap();
    assert_eq!(journal.remaining(), 0);
    let (mut journal, recovery) = open(&mut flash, &mut counter).unwrap();
    assert!(recovery.is_complete() && !recovery.needs_rewrite(), "{recovery:?}");
    assert_eq!(records(&mut journal)[1], (2, 2, b"".to_vec()));
}

#[test]
fn an_append_takes_the_time_of_its_units_and_of_one_step_that_makes_them_durable() {
    let part = Part { program_ns: 10, sync_ns: 1_000, ..Part::instant(GEOMETRY) };
    let (mut flash, mut counter) = (MemFlash::of(part), MemCounter::default());
    Journal::<_, MemCounter>::format(&mut flash, OURS).unwrap();
    let before = flash.busy_ns();
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    journal.append_batch(|batch| batch.append(1, b"").and_then(|()| batch.append(1, b""))).unwrap();
    assert_eq!(flash.busy_ns() - before, 4 * 10 + 2 * 1_000, "one for the open, one for the batch");
}

#[test]
fn what_went_wrong_is_said_with_the_place() {
    let worn = "the flash is worn out at offset 88";
    assert_eq!(Error::<MemError>::Worn { offset: 88 }.to_string(), worn);
    assert_eq!(OpenError::<MemError>::Worn { offset: 88 }.to_string(), worn);
    let io = MemError::Failed { offset: 7 };
    assert_eq!(Error::Io(io).to_string(), format!("flash or counter failed: {io}"));
    assert_eq!(OpenError::from(Error::Io(io)).to_string(), format!("flash or counter failed: {io}"));
}
