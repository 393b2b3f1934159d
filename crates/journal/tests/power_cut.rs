//! The power is cut at every byte of a life of appends and rewrites: what is found afterwards is exactly what was
//! acknowledged, or that and the step under way.

mod common;

use common::{GEOMETRY, OURS, Opened, Record, formatted, open, records};
use journal::{Counter, Error, Journal, MemCounter, MemError, MemFlash, OpenError, Stale, record_size};

enum Step {
    Append(u8, &'static [u8]),
    Rewrite(&'static [(u8, &'static [u8])]),
}
use Step::{Append, Rewrite};

const LIFE: &[Step] = &[
    Append(1, b"a vote"),
    Append(1, b""),
    Append(2, &[0xFF; 40]),
    Rewrite(&[(2, &[0xFF; 40]), (9, b"snapshot")]),
    Append(1, &[0x00; 64]),
    Rewrite(&[]),
    Append(3, b"after an empty rewrite"),
    Rewrite(&[(3, b"back in the first bank")]),
    Append(4, b"the end"),
];

/// Does `step` on the journal and on `model`, the records as they should be.
fn act(journal: &mut Opened<'_>, step: &Step, model: &mut Vec<Record>) -> Result<(), Error<MemError>> {
    let journal = &mut journal.0;
    let next = journal.last_sequence() + 1;
    match step {
        Append(kind, payload) => {
            model.push((next, *kind, payload.to_vec()));
            journal.append(*kind, payload).map(drop)
        }
        Rewrite(live) => {
            let numbered = (next + 1..).zip(*live);
            *model = numbered.map(|(sequence, (kind, payload))| (sequence, *kind, payload.to_vec())).collect();
            journal.rewrite(|new| live.iter().try_for_each(|(kind, payload)| new.append(*kind, payload)))
        }
    }
}

/// Lives until the power goes; returns the records acknowledged, and those if the last step is found to be done.
fn live(flash: &mut MemFlash, counter: &mut MemCounter) -> (Vec<Record>, Vec<Record>) {
    let Ok(mut journal) = open(flash, counter) else { return (vec![], vec![]) };
    let (mut acknowledged, mut attempted) = (vec![], vec![]);
    for step in LIFE {
        match act(&mut journal, step, &mut attempted) {
            Ok(()) => acknowledged.clone_from(&attempted),
            Err(error) => {
                assert_eq!(error, Error::Io(MemError::NoPower));
                break;
            }
        }
    }
    (acknowledged, attempted)
}

#[test]
fn a_cut_at_any_byte_loses_nothing_acknowledged() {
    let mut cuts = 0;
    let (mut torn, mut in_flight) = (0, 0);
    loop {
        let (mut flash, mut counter) = (formatted(), MemCounter::default());
        flash.cut_power_after(cuts);
        let (acknowledged, attempted) = live(&mut flash, &mut counter);
        flash.restore_power();

        let (mut journal, recovery) = open(&mut flash, &mut counter).unwrap();
        let found = records(&mut journal);
        assert!(found == acknowledged || found == attempted, "cut after {cuts} bytes: {found:?}");
        assert!(recovery.is_complete(), "cut after {cuts} bytes: {recovery:?}");
        torn += u32::from(recovery.torn_tail);
        in_flight += u32::from(found != acknowledged);

        // It goes on: after a rewrite where one is needed, and the next open is clean.
        assert_eq!(journal.append(7, b"next").is_err(), recovery.torn_tail);
        if recovery.torn_tail {
            let copy = |new: &mut journal::Rewriter<'_, _>| found.iter().try_for_each(|(_, k, p)| new.append(*k, p));
            journal.rewrite(copy).unwrap();
            journal.append(7, b"next").unwrap();
        }
        let (mut journal, recovery) = open(&mut flash, &mut counter).unwrap();
        assert!(!recovery.needs_rewrite(), "cut after {cuts} bytes: {recovery:?}");
        assert_eq!(records(&mut journal).len(), found.len() + 1);

        if attempted.len() == acknowledged.len() && acknowledged.last().is_some_and(|(_, _, p)| p == b"the end") {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 3 * 512, "every byte of three rewrites and all appends was a cut: {cuts}");
    assert!(torn > 100 && in_flight > 5, "both outcomes were seen: {torn} torn, {in_flight} in flight");
}

#[test]
fn after_a_failed_write_nothing_is_appended_behind_it() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    flash.cut_power_after(3);
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(journal.append(1, b"a vote"), Err(Error::Io(MemError::NoPower)));
    assert_eq!(journal.append(1, b"a vote"), Err(Error::NeedsRewrite));

    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    flash.cut_power_after(u64::from(GEOMETRY.bank_size()) + 3);
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(journal.rewrite(|_| Ok(())), Err(Error::Io(MemError::NoPower)), "in the new header");
    assert_eq!(journal.append(1, b"a vote"), Err(Error::NeedsRewrite), "the new bank might count already");
}

#[test]
fn a_record_found_again_counts_from_then_on() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    let mut before = flash.clone();
    flash.cut_power_after(record_size(6, GEOMETRY.write_size).into());
    open(&mut flash, &mut counter).unwrap().0.append(1, b"a vote").unwrap_err();
    flash.restore_power();
    assert_eq!(counter.value(), 0);
    assert_eq!(records(&mut open(&mut flash, &mut counter).unwrap().0), [(1, 1, b"a vote".to_vec())]);
    let (_, recovery) = open(&mut before, &mut counter).unwrap();
    assert_eq!(recovery.stale, Some(Stale { journal: 0, counter: 1 }));
}

#[test]
fn a_cut_at_any_byte_of_a_format_leaves_it_blank_or_formatted() {
    let whole = u64::from(GEOMETRY.capacity) + 64;
    for cut in 0..=whole {
        let mut flash = MemFlash::from_image(GEOMETRY, vec![0x00; GEOMETRY.capacity as usize]);
        flash.cut_power_after(cut);
        let done = Journal::<_, MemCounter>::format(&mut flash, OURS).is_ok();
        flash.restore_power();
        match Journal::open(&mut flash, MemCounter::default(), OURS) {
            // With the last byte it is done, though the power went before that could be told.
            Ok((_, recovery)) => assert!(cut == whole && !recovery.needs_rewrite()),
            Err(error) => assert!(error == OpenError::Blank && !done && cut < whole, "cut after {cut} bytes: {error}"),
        }
    }
}
