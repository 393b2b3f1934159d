//! What an owner asks an open journal between its records: how much room there is, and whether the other bank is ready.

mod common;

use common::{GEOMETRY, formatted, open, used};
use journal::{Error, MemCounter, Operation, record_size};

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
