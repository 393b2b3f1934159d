//! The power is cut at every byte of a life of appends, rewrites and recoveries: what is found afterwards is what was
//! acknowledged, or that and a beginning of the step under way.

mod common;

use common::{GEOMETRY, OURS, Opened, formatted, open, records};
use journal::{Counter, Error, Geometry, Journal, MemCounter, MemError, MemFlash, OpenError, Stale, Tear, record_size};

enum Step {
    Append(u8, &'static [u8]),
    Batch(&'static [(u8, &'static [u8])]),
    Prepare,
    Rewrite(&'static [(u8, &'static [u8])]),
}
use Step::{Append, Batch, Prepare, Rewrite};

const LIFE: &[Step] = &[
    Append(1, b"a vote"),
    Append(1, b""),
    Append(2, &[0xFF; 40]),
    Rewrite(&[(2, &[0xFF; 40]), (9, b"snapshot")]),
    Prepare,
    Batch(&[(1, &[0x00; 64]), (1, b"another vote"), (4, &[0xFF; 9])]),
    Prepare,
    Rewrite(&[]),
    Append(3, b"after an empty rewrite"),
    Batch(&[(5, b"one"), (5, b"two")]),
    Rewrite(&[(3, b"back in the first bank")]),
    Append(4, b"the end"),
];

/// Short enough for a cut in each byte of the recovery from a cut in each byte.
const SHORT_LIFE: &[Step] = &[
    Append(1, b"a vote"),
    Batch(&[(1, b"another"), (2, b"lock")]),
    Rewrite(&[(9, b"snapshot"), (2, b"lock")]),
    Append(4, b"the end"),
];
const SMALL: Geometry = Geometry { erase_size: 64, write_size: 8, capacity: 384 };

/// Each way in which a cut leaves what was under way, with the seeds of its noise.
const STABLE: &[(Tear, u64)] = &[
    (Tear::Prefix, 0),
    (Tear::HalfByte, 0),
    (Tear::Noise, 1),
    (Tear::Noise, 2),
    (Tear::Noise, 3),
    (Tear::Noise, 4),
    (Tear::Noise, 5),
];

/// Kind and payload: what a record is, whatever number it got.
type Content = Vec<(u8, Vec<u8>)>;

fn content(journal: &mut Opened<'_>) -> Content {
    records(&mut journal.0).into_iter().map(|(_, kind, payload)| (kind, payload)).collect()
}

fn owned(records: &[(u8, &[u8])]) -> Content {
    records.iter().map(|(kind, payload)| (*kind, payload.to_vec())).collect()
}

/// What an observer outside knows: the records acknowledged, and those if the step under way is found to be done.
#[derive(Clone, Default)]
struct Known {
    acknowledged: Content,
    attempted: Content,
}

impl Known {
    fn allows(&self, found: &Content) -> bool {
        let grows = self.attempted.starts_with(&self.acknowledged);
        let begun = grows && found.len() >= self.acknowledged.len() && self.attempted.starts_with(found);
        *found == self.acknowledged || *found == self.attempted || begun
    }

    fn act(&mut self, journal: &mut Opened<'_>, step: &Step) -> Result<(), Error<MemError>> {
        let journal = &mut journal.0;
        match step {
            Append(kind, payload) => {
                self.attempted.push((*kind, payload.to_vec()));
                journal.append(*kind, payload)?;
            }
            Batch(new) => {
                self.attempted.extend(owned(new));
                journal
                    .append_batch(|batch| new.iter().try_for_each(|(kind, payload)| batch.append(*kind, payload)))?;
            }
            Prepare => while journal.prepare()? {},
            Rewrite(live) => {
                self.attempted = owned(live);
                journal.rewrite(|new| live.iter().try_for_each(|(kind, payload)| new.append(*kind, payload)))?;
            }
        }
        self.acknowledged.clone_from(&self.attempted);
        Ok(())
    }
}

/// Lives until the power goes; whether it came to the end.
fn live(life: &[Step], flash: &mut MemFlash, counter: &mut MemCounter) -> (Known, bool) {
    let mut known = Known::default();
    let Ok(mut journal) = open(flash, counter) else { return (known, false) };
    for step in life {
        if let Err(error) = known.act(&mut journal, step) {
            assert_eq!(error, Error::Io(MemError::NoPower));
            return (known, false);
        }
    }
    (known, true)
}

/// What a node does at its start: a rewrite of all it found if one is needed, and a record of the start.
fn recover(flash: &mut MemFlash, counter: &mut MemCounter) -> Result<(), Error<MemError>> {
    let mut journal = open(flash, counter).map_err(|error| match error {
        OpenError::Io(error) => Error::Io(error),
        other => panic!("{other}"),
    })?;
    if journal.1.needs_rewrite() {
        let found = content(&mut journal);
        assert_eq!(journal.0.append(7, b"too early"), Err(Error::NeedsRewrite));
        journal.0.rewrite(|new| found.iter().try_for_each(|(kind, payload)| new.append(*kind, payload)))?;
    }
    Ok(())
}

/// Opens twice and finds the same twice: nothing acknowledged is missing, and nothing else is there.
fn check(flash: &mut MemFlash, counter: &mut MemCounter, known: &Known, cut: &str) -> Content {
    let before = counter.value();
    let mut first = open(flash, counter).expect("it opens");
    let (found, recovery) = (content(&mut first), first.1);
    assert!(recovery.is_complete(), "{cut}: {recovery:?}");
    assert!(known.allows(&found), "{cut}: {found:?}");
    assert!(before <= recovery.last_sequence, "{cut}: the counter is ahead of the journal: {recovery:?}");
    let mut second = open(flash, counter).expect("it opens again");
    assert_eq!((content(&mut second), second.1), (found.clone(), recovery), "{cut}: opened twice");
    found
}

#[test]
#[cfg_attr(miri, ignore = "every cut of the power: hours")]
fn a_cut_at_any_byte_loses_nothing_acknowledged() {
    let (mut cuts, mut torn, mut in_flight) = (0, 0, 0);
    for &(tear, seed) in STABLE {
        for bytes in 0.. {
            let cut = format!("{tear:?} {seed} after {bytes} bytes");
            let (mut flash, mut counter) = (formatted(), MemCounter::default());
            flash.tear_as(tear, seed ^ bytes << 8);
            flash.cut_power_after(bytes);
            let (known, ended) = live(LIFE, &mut flash, &mut counter);
            flash.restore_power();
            cuts += 1;

            let found = check(&mut flash, &mut counter, &known, &cut);
            torn += u32::from(open(&mut flash, &mut counter).unwrap().1.needs_rewrite());
            in_flight += u32::from(found != known.acknowledged);
            recover(&mut flash, &mut counter).unwrap();
            let (mut journal, recovery) = open(&mut flash, &mut counter).unwrap();
            assert!(!recovery.needs_rewrite(), "{cut}: {recovery:?}");
            journal.append(7, b"next").unwrap();
            let all: Content = found.into_iter().chain([(7, b"next".to_vec())]).collect();
            assert_eq!(content(&mut open(&mut flash, &mut counter).unwrap()), all, "{cut}: it goes on");
            if ended {
                break;
            }
        }
    }
    println!("{cuts} cuts: {torn} needed a rewrite, in {in_flight} the step under way was found done or begun");
    assert!(cuts > 7 * 2 * 512, "every byte of two erases and all programs, in each way: {cuts}");
    assert!(torn > 700 && in_flight > 100, "both outcomes were seen: {torn} {in_flight}");
}

#[test]
#[cfg_attr(miri, ignore = "every cut of the power: hours")]
fn a_second_cut_at_any_byte_of_the_recovery_loses_nothing_either() {
    let mut cuts = 0;
    for &(tear, seed) in STABLE {
        for bytes in 0.. {
            let (mut flash, mut counter) = (MemFlash::new(SMALL), MemCounter::default());
            Journal::<_, MemCounter>::format(&mut flash, OURS).unwrap();
            flash.tear_as(tear, seed ^ bytes << 8);
            flash.cut_power_after(bytes);
            let (known, ended) = live(SHORT_LIFE, &mut flash, &mut counter);
            for again in 0.. {
                let (mut flash, mut counter) = (flash.clone(), counter);
                flash.tear_as(tear, seed ^ bytes << 8 ^ again << 20);
                flash.cut_power_after(again);
                let recovered = recover(&mut flash, &mut counter);
                flash.restore_power();
                cuts += 1;
                let cut = format!("{tear:?} {seed} after {bytes} and {again} bytes");
                let found = check(&mut flash, &mut counter, &known, &cut);
                recover(&mut flash, &mut counter).unwrap();
                assert_eq!(check(&mut flash, &mut counter, &known, &cut), found, "{cut}");
                if recovered.is_ok() {
                    break;
                }
            }
            if ended {
                break;
            }
        }
    }
    println!("{cuts} pairs of cuts");
    assert!(cuts > 50_000, "{cuts}");
}

/// Bits that were caught half-way may read as done today and as undone tomorrow. They may cost what was never acknowledged,
/// or be noticed as a loss; nothing else.
#[test]
#[cfg_attr(miri, ignore = "every cut of the power: hours")]
fn units_that_read_differently_each_time_are_never_believed_twice() {
    let (mut cuts, mut amnesia) = (0, 0);
    for seed in 0..10 {
        for bytes in 0.. {
            let (mut flash, mut counter) = (formatted(), MemCounter::default());
            flash.tear_as(Tear::Unstable, seed ^ bytes << 8);
            flash.cut_power_after(bytes);
            let (known, ended) = live(LIFE, &mut flash, &mut counter);
            flash.restore_power();
            cuts += 1;
            for _ in 0..3 {
                let mut journal = open(&mut flash, &mut counter).unwrap();
                let found = content(&mut journal);
                assert!(known.allows(&found), "seed {seed} after {bytes} bytes: {found:?}");
                assert!(journal.1.is_complete(), "seed {seed} after {bytes} bytes: {:?}", journal.1);
            }
            recover(&mut flash, &mut counter).unwrap();
            for _ in 0..3 {
                let mut journal = open(&mut flash, &mut counter).unwrap();
                if journal.1.is_complete() {
                    assert!(known.allows(&content(&mut journal)), "seed {seed} after {bytes} bytes, recovered");
                } else {
                    amnesia += 1;
                }
            }
            if ended {
                break;
            }
        }
    }
    println!("{cuts} cuts, {amnesia} of them noticed as a loss");
    assert!(cuts > 10 * 2 * 512);
}

#[test]
fn after_a_failed_write_nothing_is_appended_behind_it() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    flash.cut_power_after(3);
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(journal.append(1, b"a vote"), Err(Error::Io(MemError::NoPower)));
    assert_eq!(journal.append(1, b"a vote"), Err(Error::NeedsRewrite));

    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    flash.cut_power_after(3);
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(journal.rewrite(|_| Ok(())), Err(Error::Io(MemError::NoPower)), "in the new header");
    assert_eq!(journal.append(1, b"a vote"), Err(Error::NeedsRewrite), "the new bank might count already");
    assert!(journal.needs_rewrite());
    assert_eq!(journal.prepare(), Ok(false), "nor is it erased");
}

#[test]
fn a_record_that_was_never_acknowledged_counts_from_a_rewrite_on() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    let mut before = flash.clone();
    flash.cut_power_after(record_size(6, GEOMETRY.write_size).into());
    open(&mut flash, &mut counter).unwrap().0.append(1, b"a vote").unwrap_err();
    flash.restore_power();

    let (mut journal, recovery) = open(&mut flash, &mut counter).unwrap();
    assert!(recovery.unconfirmed && recovery.is_complete() && !recovery.torn_tail, "{recovery:?}");
    assert_eq!(journal.append(1, b"another vote"), Err(Error::NeedsRewrite));
    assert_eq!(counter.value(), 0);
    recover(&mut flash, &mut counter).unwrap();
    assert_eq!(content(&mut open(&mut flash, &mut counter).unwrap()), [(1, b"a vote".to_vec())]);
    let (_, recovery) = open(&mut before, &mut counter).unwrap();
    assert_eq!(recovery.stale, Some(Stale { journal: 0, counter: 3 }));
}

#[test]
fn a_rewrite_that_was_never_acknowledged_is_done_again_with_the_bank_before_it_kept() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    journal.append(1, b"acknowledged").unwrap();
    let mut acknowledged = counter;
    open(&mut flash, &mut counter).unwrap().0.rewrite(|new| new.append(1, b"new")).unwrap();

    // the power went before the counter was raised, and once more while the rewrite is done again
    let mut journal = open(&mut flash, &mut acknowledged).unwrap();
    assert!(journal.1.unconfirmed && journal.1.is_complete(), "{:?}", journal.1);
    assert_eq!(content(&mut journal), [(1, b"new".to_vec())]);
    let mut cut = flash.clone();
    cut.cut_power_after(300);
    recover(&mut cut, &mut acknowledged).unwrap_err();
    cut.restore_power();
    let mut journal = open(&mut cut, &mut acknowledged).unwrap();
    assert!(journal.1.is_complete(), "{:?}", journal.1);
    assert_eq!(content(&mut journal), [(1, b"acknowledged".to_vec())]);

    recover(&mut flash, &mut acknowledged).unwrap();
    let mut journal = open(&mut flash, &mut acknowledged).unwrap();
    assert_eq!((content(&mut journal), journal.1.needs_rewrite()), (vec![(1, b"new".to_vec())], false));
}

#[test]
fn the_conclusion_from_a_loss_is_kept_rather_than_the_bank_with_the_loss() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    journal.append(1, b"kept").unwrap();
    journal.append(1, b"lost").unwrap();
    let mut image = flash.image().to_vec();
    image[64 + 24 + 15] ^= 1;
    flash.restore(image);
    let mut acknowledged = counter;
    open(&mut flash, &mut counter).unwrap().0.rewrite(|new| new.append(1, b"forgotten")).unwrap();

    // the power went before the counter was raised, and once more while the rewrite is done again
    flash.cut_power_after(300);
    recover(&mut flash, &mut acknowledged).unwrap_err();
    flash.restore_power();
    assert_eq!(content(&mut open(&mut flash, &mut acknowledged).unwrap()), [(1, b"forgotten".to_vec())]);
}

#[test]
#[cfg_attr(miri, ignore = "every cut of the power: hours")]
fn a_cut_at_any_byte_of_a_format_leaves_it_blank_or_formatted() {
    let whole = u64::from(GEOMETRY.capacity) + 64;
    for &(tear, seed) in STABLE {
        for cut in 0..=whole {
            let mut flash = MemFlash::from_image(GEOMETRY, vec![0x00; GEOMETRY.capacity as usize]);
            flash.tear_as(tear, seed);
            flash.cut_power_after(cut);
            let done = Journal::<_, MemCounter>::format(&mut flash, OURS).is_ok();
            flash.restore_power();
            match Journal::open(&mut flash, MemCounter::default(), OURS) {
                // In its last unit it may be done, though the power went before that could be told.
                Ok((_, recovery)) => assert!(!recovery.needs_rewrite() && cut + 8 >= whole, "cut after {cut} bytes"),
                Err(error) => {
                    assert!(error == OpenError::Blank && !done && cut < whole, "cut after {cut} bytes: {error}")
                }
            }
        }
    }
}
