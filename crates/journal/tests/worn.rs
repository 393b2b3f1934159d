//! Worn places: wherever one is, the journal goes on in the other bank or stops with an error, and what it acknowledged is
//! found again or its loss is noticed.

mod common;

use std::collections::BTreeMap;

use common::{GEOMETRY, Opened, formatted, open, records};
use journal::{Defect, Error, MemCounter, MemError, MemFlash, OpenError};

const PROGRAM: [Defect; 4] =
    [Defect::IgnoresProgram, Defect::RefusesProgram, Defect::StuckLow(0x01), Defect::StuckLow(0x90)];
const ERASE: [Defect; 2] = [Defect::IgnoresErase, Defect::RefusesErase];
/// Records that the owner of a journal still needs when it rewrites: the last few.
const LIVE: usize = 3;

/// An owner that rewrites when the bank is full or worn, and stops when that fails, too. Returns the payloads acknowledged,
/// and why it stopped.
fn live(flash: &mut MemFlash, counter: &mut MemCounter) -> (Vec<u8>, Option<Error<MemError>>) {
    let mut journal = open(flash, counter).expect("it opens").0;
    let mut acknowledged = Vec::new();
    for payload in 0..60 {
        let appended = journal.append(1, &[payload; 20]).map(drop).or_else(|_| {
            let live = acknowledged.iter().rev().take(LIVE).rev().chain([&payload]);
            journal.rewrite(|new| live.into_iter().try_for_each(|payload| new.append(1, &[*payload; 20])))
        });
        if let Err(error) = appended {
            return (acknowledged, Some(error));
        }
        acknowledged.push(payload);
    }
    (acknowledged, None)
}

/// The payloads that an opened journal holds.
fn payloads(journal: &mut Opened<'_>) -> Vec<u8> {
    records(&mut journal.0).into_iter().map(|(.., payload)| payload[0]).collect()
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    WentOn,
    Stopped,
    LossNoticed,
}

fn outcome(place: core::ops::Range<u32>, defect: Defect) -> Outcome {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    open(&mut flash, &mut counter).expect("it opens").0.append(1, &[200; 20]).expect("there is room");
    flash.wear_out(place.clone(), defect);
    match open(&mut flash, &mut counter) {
        Ok((_, recovery)) if recovery.is_complete() => {}
        Ok(_) | Err(OpenError::Blank) => return Outcome::LossNoticed, // it struck what was written already
        Err(error) => panic!("{place:?} {defect:?}: {error}"),
    }
    let (acknowledged, stopped) = live(&mut flash, &mut counter);
    let mut journal = open(&mut flash, &mut counter).expect("it opens");
    let found = payloads(&mut journal);
    assert!(journal.1.is_complete(), "{place:?} {defect:?}: {:?}", journal.1);
    let last = acknowledged.len().saturating_sub(LIVE);
    assert!(acknowledged[last..].iter().all(|payload| found.contains(payload)), "{place:?} {defect:?}: {found:?}");
    let attempted = acknowledged.len() as u8;
    assert!(found.iter().all(|payload| *payload == 200 || *payload <= attempted), "{place:?} {defect:?}: {found:?}");
    match stopped {
        None => Outcome::WentOn,
        Some(Error::Worn { offset } | Error::Io(MemError::Failed { offset })) => {
            let page = offset / GEOMETRY.erase_size * GEOMETRY.erase_size;
            assert!(page < place.end && place.start < page + GEOMETRY.erase_size, "{place:?} {defect:?}: at {offset}");
            Outcome::Stopped
        }
        Some(other) => panic!("{place:?} {defect:?}: {other}"),
    }
}

#[test]
#[cfg_attr(miri, ignore = "every place worn: hours")]
fn one_worn_place_costs_a_bank_and_no_record() {
    let mut table: BTreeMap<(String, Outcome), u32> = BTreeMap::new();
    for (defects, size) in [(&PROGRAM[..], GEOMETRY.write_size), (&ERASE[..], GEOMETRY.erase_size)] {
        for &defect in defects {
            for offset in (0..GEOMETRY.capacity).step_by(size as usize) {
                *table.entry((format!("{defect:?}"), outcome(offset..offset + size, defect))).or_default() += 1;
            }
        }
    }
    for ((defect, outcome), places) in &table {
        println!("{defect:16} {outcome:?}: {places} places");
    }
    let seen = |wanted| table.iter().filter(|((_, outcome), _)| *outcome == wanted).map(|(_, n)| n).sum::<u32>();
    assert!(seen(Outcome::Stopped) > 100 && seen(Outcome::LossNoticed) > 10, "each was seen: {table:?}");
}

#[test]
fn a_place_that_takes_no_program_moves_the_journal_to_the_other_bank() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    open(&mut flash, &mut counter).unwrap().0.append(1, b"before").unwrap();
    flash.wear_out(88..96, Defect::IgnoresProgram);
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(journal.append(1, b"a vote"), Err(Error::Worn { offset: 88 }));
    assert_eq!(journal.append(1, b"a vote"), Err(Error::NeedsRewrite));
    journal.rewrite(|new| new.append(1, b"before").and_then(|()| new.append(1, b"a vote"))).unwrap();
    journal.append(1, b"it goes on").unwrap();
    assert_eq!(records(&mut open(&mut flash, &mut counter).unwrap().0).len(), 3);
}

#[test]
fn a_flash_that_is_worn_out_cannot_be_formatted_and_says_where() {
    for (defect, expected) in [
        (Defect::IgnoresErase, OpenError::Worn { offset: 512 }),
        (Defect::RefusesErase, OpenError::Io(MemError::Failed { offset: 512 })),
    ] {
        let mut flash = MemFlash::from_image(GEOMETRY, vec![0; 1024]);
        flash.wear_out(512..768, defect);
        let refused = journal::Journal::<_, MemCounter>::format(&mut flash, common::OURS);
        assert_eq!(refused, Err(expected), "{defect:?}");
    }
}
