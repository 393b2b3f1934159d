//! Flash, counter, and a journal over both.

use journal::{Counter, Flash, Geometry, Identity, Journal, MAX_RECORD};

use super::Results;

const IDENTITY: Identity = *b"conformance of flash and counter";
/// Longest unit of programming.
const MAX_UNIT: usize = 64;
const ERASED: u8 = 0xFF;
/// What a unit holds after a power cut, perhaps.
const TORN: [u8; MAX_UNIT] = [0x5A; MAX_UNIT];
/// Read at a time, of a length that is no multiple of a unit.
const CHUNK: usize = 61;

/// What is written at an offset.
const fn pattern(offset: u32) -> u8 {
    (offset ^ (offset >> 8) ^ 0x6B) as u8
}

/// Whether the flash holds what `expected` says, from `start` up to `end`.
fn holds<F: Flash>(flash: &mut F, start: u32, end: u32, expected: impl Fn(u32) -> u8) -> bool {
    let mut chunk = [0; CHUNK];
    let mut offset = start;
    while offset < end {
        let bytes = &mut chunk[..((end - offset) as usize).min(CHUNK)];
        if flash.read(offset, bytes).is_err() || !(offset..).zip(&*bytes).all(|(at, byte)| *byte == expected(at)) {
            return false;
        }
        offset += bytes.len() as u32;
    }
    true
}

/// Programs the pattern unit by unit, `at_once` units at a time.
fn program<F: Flash>(flash: &mut F, start: u32, end: u32, at_once: u32) -> bool {
    let unit = flash.geometry().write_size;
    let mut bytes = [0; 4 * MAX_UNIT];
    (start..end).step_by((unit * at_once) as usize).all(|offset| {
        let bytes = &mut bytes[..(unit * at_once).min(end - offset) as usize];
        (offset..).zip(&mut *bytes).for_each(|(at, byte)| *byte = pattern(at));
        flash.program(offset, bytes).is_ok()
    }) && flash.sync().is_ok()
}

/// Whether it refuses what begins or ends behind it or wraps around. What can do harm comes last, if the rest was refused.
fn refuses_what_is_outside<F: Flash>(flash: &mut F) -> bool {
    let Geometry { erase_size: page, write_size: unit, capacity } = flash.geometry();
    let places = |size: u32| [(capacity, size), (capacity - size, 2 * size), (0_u32.wrapping_sub(size), 2 * size)];
    let mut bytes = [ERASED; 2 * MAX_UNIT];
    places(1).into_iter().all(|(offset, length)| flash.read(offset, &mut bytes[..length as usize]).is_err())
        && places(unit).into_iter().all(|(offset, length)| flash.program(offset, &bytes[..length as usize]).is_err())
        && places(page).into_iter().all(|(offset, length)| flash.erase(offset, length).is_err())
}

/// A flash, all of whose contents are lost.
pub fn flash<F: Flash>(flash: &mut F, results: &mut Results) {
    let geometry = flash.geometry();
    results.add("flash: a journal fits its geometry", geometry.is_valid());
    if !geometry.is_valid() {
        return;
    }
    let Geometry { erase_size: page, write_size: unit, capacity } = geometry;
    let wiped = flash.erase(0, capacity).and_then(|()| flash.sync()).is_ok();
    results.add("flash: erased bytes read 0xFF", wiped && holds(flash, 0, capacity, |_| ERASED));

    let (last, end) = (page - unit, page);
    let programmed = program(flash, last, end, 1);
    results.add("flash: a unit reads as it was programmed", programmed && holds(flash, last, end, pattern));
    let others = holds(flash, 0, last, |_| ERASED) && holds(flash, end, capacity, |_| ERASED);
    results.add("flash: a program touches its units only", others);

    // the second page but for its last unit, its first half unit by unit and the rest four at a time
    let (half, rest) = (page + (page / 2 / unit) * unit, 2 * page - unit);
    let programmed = program(flash, page, half, 1) && program(flash, half, rest, 4);
    results.add("flash: units are programmed in a row", programmed && holds(flash, page, rest, pattern));
    let mut odd = [0; 3];
    let read = flash.read(page + 1, &mut odd).is_ok();
    results.add("flash: any offset and length can be read", read && odd == [1, 2, 3].map(|at| pattern(page + at)));

    let programmed = program(flash, capacity - unit, capacity, 1);
    results
        .add("flash: the last unit can be programmed", programmed && holds(flash, capacity - unit, capacity, pattern));

    let wiped = flash.erase(page, page).and_then(|()| flash.sync()).is_ok();
    results.add("flash: a page can be erased", wiped && holds(flash, page, 2 * page, |_| ERASED));
    let others = holds(flash, 0, last, |_| ERASED)
        && holds(flash, last, end, pattern)
        && (capacity == 2 * page || holds(flash, capacity - unit, capacity, pattern));
    results.add("flash: an erase touches its pages only", others);
    let programmed = program(flash, page, page + unit, 1);
    results
        .add("flash: an erased unit can be programmed again", programmed && holds(flash, page, page + unit, pattern));
    results.add("flash: what is not all inside is refused", refuses_what_is_outside(flash));
    results.add("flash: its geometry never changes", flash.geometry() == geometry);
}

/// A counter, which will stand higher. `reopen` does what a start of the ECU does.
pub fn counter<C: Counter>(reopen: &mut dyn FnMut() -> Result<C, C::Error>, results: &mut Results) {
    const STEPS: u64 = 64;
    let Ok(mut counter) = reopen() else { return results.add("counter: it can be opened", false) };
    let first = counter.value();
    let rises = (first + 1..=first + STEPS).all(|to| counter.raise(to).is_ok() && counter.value() == to);
    results.add("counter: it rises", rises);
    drop(counter);
    let mut stands = |at: u64| reopen().is_ok_and(|counter| counter.value() == at);
    results.add("counter: what it was raised to is still there at the next start", stands(first + STEPS));
    let Ok(mut counter) = reopen() else { return results.add("counter: it can be opened again", false) };
    let stays = |to: &u64| counter.raise(*to).is_ok() && counter.value() == first + STEPS;
    results.add("counter: it never goes back", [first + STEPS, first, 0].iter().all(stays));
    drop(counter);
    let mut stands = |at: u64| reopen().is_ok_and(|counter| counter.value() == at);
    results.add("counter: nor at the next start", stands(first + STEPS));
    let skipped = reopen().is_ok_and(|mut counter| counter.raise(first + 3 * STEPS).is_ok());
    let mut stands = |at: u64| reopen().is_ok_and(|counter| counter.value() == at);
    results.add("counter: it can skip numbers", skipped && stands(first + 3 * STEPS));
}

/// A journal over flash and counter: contents are lost, and the counter will stand higher. `reopen` does what a start of the ECU does. No
/// test can cut the power; what it may leave is written instead.
pub fn journal<F: Flash, C: Counter<Error = F::Error>>(
    reopen: &mut dyn FnMut() -> Result<(F, C), F::Error>,
    results: &mut Results,
) {
    if try_journal(reopen, results).is_none() {
        results.add("journal: flash and counter can be opened, formatted and appended to", false);
    }
}

const RECORDS: [&[u8]; 3] = [b"a vote", b"", &[0xA5; 200]];

fn try_journal<F: Flash, C: Counter<Error = F::Error>>(
    reopen: &mut dyn FnMut() -> Result<(F, C), F::Error>,
    results: &mut Results,
) -> Option<()> {
    let (mut flash, counter) = reopen().ok()?;
    let before = counter.value();
    drop(counter);
    Journal::<F, C>::format(&mut flash, IDENTITY).ok()?;
    drop(flash);

    // a counter that has counted finds the new journal behind it, which a rewrite heals
    let mut journal = open(reopen)?.0;
    journal.rewrite(|writer| writer.append(1, RECORDS[0])).ok()?;
    RECORDS[1..].iter().try_for_each(|record| journal.append(1, record).map(drop)).ok()?;
    drop(journal);
    let (mut journal, recovery) = open(reopen)?;
    let kept = !recovery.needs_rewrite() && holds_records(&mut journal);
    results.add("journal: what was acknowledged is there at the next start (P1, P4)", kept);
    drop(journal);

    let (mut flash, counter) = reopen().ok()?;
    results.add("journal: the counter counts its steps", counter.value() > before);
    drop(counter);
    tear(&mut flash)?;
    drop(flash);
    let (mut journal, recovery) = open(reopen)?;
    let kept = recovery.torn_tail && recovery.is_complete() && holds_records(&mut journal);
    results.add("journal: a torn end is recognised and nothing else is lost", kept);
    journal.rewrite(|writer| RECORDS.iter().try_for_each(|record| writer.append(1, record))).ok()?;
    drop(journal);
    let (mut journal, recovery) = open(reopen)?;
    let kept = !recovery.needs_rewrite() && holds_records(&mut journal);
    results.add("journal: it is rewritten into the other bank", kept);
    drop(journal);

    let (flash, mut counter) = reopen().ok()?;
    let ahead = counter.value() + 1;
    counter.raise(ahead).ok()?;
    drop((flash, counter));
    let recovery = open(reopen)?.1;
    results.add("journal: one that is behind the counter is recognised (P5)", recovery.stale.is_some());
    Some(())
}

type Opened<F, C> = (Journal<F, C>, journal::Recovery);

fn open<F: Flash, C: Counter<Error = F::Error>>(
    reopen: &mut dyn FnMut() -> Result<(F, C), F::Error>,
) -> Option<Opened<F, C>> {
    let (flash, counter) = reopen().ok()?;
    Journal::open(flash, counter, IDENTITY).ok()
}

fn holds_records<F: Flash, C: Counter<Error = F::Error>>(journal: &mut Journal<F, C>) -> bool {
    let (mut count, mut same) = (0, true);
    let read = journal.for_each(&mut [0; MAX_RECORD], |_, _, payload| {
        same &= RECORDS.get(count).is_some_and(|record| *record == payload);
        count += 1;
    });
    read.is_ok() && same && count == RECORDS.len()
}

/// Programs a unit behind the last one in use, of the bank that was written last: the second one.
fn tear<F: Flash>(flash: &mut F) -> Option<()> {
    let Geometry { write_size: unit, capacity, .. } = flash.geometry();
    let torn = &TORN[..unit as usize];
    let mut bytes = [0; MAX_UNIT];
    let bytes = &mut bytes[..unit as usize];
    let mut end = capacity / 2;
    for offset in (capacity / 2..capacity).step_by(unit as usize) {
        flash.read(offset, bytes).ok()?;
        if bytes.iter().any(|byte| *byte != ERASED) {
            end = offset + unit;
        }
    }
    flash.program(end, torn).and_then(|()| flash.sync()).ok()
}
