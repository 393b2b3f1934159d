//! Whatever happens to the bytes is noticed: it never looks like a whole journal with other contents.

mod common;

use std::cell::RefCell;

use common::{GEOMETRY, OURS, THEIRS, formatted, open, records, used};
use journal::{
    Error, Flash, Geometry, Journal, MAX_RECORD, MemCounter, MemError, MemFlash, OpenError, Stale, record_size,
};
use proptest::prelude::*;

const ACTIVE_BANK: usize = GEOMETRY.bank_size() as usize;
/// Offsets on the flash of the records that `used` leaves, and of the erased rest.
const KEPT: usize = ACTIVE_BANK + 64;
const KEPT_TOO: usize = KEPT + record_size(4, GEOMETRY.write_size) as usize;

#[test]
#[cfg_attr(miri, ignore = "every byte, three times: hours")]
fn a_flipped_byte_is_never_accepted() {
    let (flash, counter) = used();
    let (mut whole, mut whole_counter) = (flash.clone(), counter);
    let expected = records(&mut open(&mut whole, &mut whole_counter).unwrap().0);

    for offset in 0..GEOMETRY.capacity as usize {
        for flip in [0x01, 0x80, 0xFF] {
            let mut image = flash.image().to_vec();
            image[offset] ^= flip;
            let (mut flash, mut counter) = (MemFlash::from_image(GEOMETRY, image), counter);
            let Ok((mut journal, recovery)) = open(&mut flash, &mut counter) else {
                panic!("byte {offset}: the older bank is there to fall back to");
            };
            let found = records(&mut journal);
            if offset < ACTIVE_BANK {
                assert_eq!((found, recovery.needs_rewrite()), (expected.clone(), false), "byte {offset} is not in use");
            } else if found == expected {
                assert!(recovery.torn_tail && recovery.is_complete(), "byte {offset}, erased: {recovery:?}");
            } else {
                assert!(recovery.stale.is_some(), "byte {offset}: {recovery:?}");
                assert_eq!(journal.append(1, b""), Err(Error::NeedsRewrite));
            }
        }
    }
}

#[test]
fn a_bad_record_with_good_ones_behind_it_is_damage_and_a_bad_end_is_a_torn_tail() {
    let (flash, mut counter) = used();

    let mut image = flash.image().to_vec();
    image[KEPT_TOO + 20] ^= 1;
    let mut middle = MemFlash::from_image(GEOMETRY, image);
    let (mut journal, recovery) = open(&mut middle, &mut counter).unwrap();
    assert_eq!((recovery.damaged, recovery.torn_tail), (Some(KEPT_TOO as u32), false));
    assert_eq!(records(&mut journal), [(6, 2, b"kept".to_vec())], "what lies before it counts");

    let mut image = flash.image().to_vec();
    let end = image.iter().rposition(|&byte| byte != 0xFF).unwrap();
    image[end] ^= 1;
    let mut tail = MemFlash::from_image(GEOMETRY, image);
    let (_, recovery) = open(&mut tail, &mut counter).unwrap();
    assert_eq!((recovery.damaged, recovery.torn_tail), (None, true));
    assert_eq!(recovery.stale, Some(Stale { journal: 9, counter: 10 }), "but it had been acknowledged");
}

#[test]
fn a_restored_image_is_stale_until_a_rewrite_has_recorded_it() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    open(&mut flash, &mut counter).unwrap().0.append(1, b"before the backup").unwrap();
    let mut backup = flash.clone();
    open(&mut flash, &mut counter).unwrap().0.append(1, b"after the backup").unwrap();

    for _ in 0..2 {
        let (mut journal, recovery) = open(&mut backup, &mut counter).unwrap();
        assert_eq!(recovery.stale, Some(Stale { journal: 1, counter: 2 }));
        assert!(!recovery.is_complete() && !recovery.torn_tail && recovery.damaged.is_none());
        assert_eq!(journal.append(1, b"as if nothing had happened"), Err(Error::NeedsRewrite));
    }
    open(&mut backup, &mut counter).unwrap().0.rewrite(|new| new.append(9, b"I have forgotten")).unwrap();
    let (mut journal, recovery) = open(&mut backup, &mut counter).unwrap();
    assert!(!recovery.needs_rewrite());
    assert_eq!(records(&mut journal), [(4, 9, b"I have forgotten".to_vec())], "no number is used twice");
}

#[test]
fn falling_back_to_the_old_bank_is_noticed_even_after_an_empty_rewrite() {
    let (mut flash, mut counter) = used();
    open(&mut flash, &mut counter).unwrap().0.rewrite(|_| Ok(())).unwrap();
    let mut image = flash.image().to_vec();
    image[0] ^= 1;
    let mut flash = MemFlash::from_image(GEOMETRY, image);
    let (_, recovery) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(recovery.stale, Some(Stale { journal: 10, counter: 11 }));
}

#[test]
fn a_flash_formatted_after_a_loss_is_stale() {
    let (_, mut counter) = used();
    let mut flash = formatted();
    let (_, recovery) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(recovery.stale, Some(Stale { journal: 0, counter: 10 }));
}

#[test]
fn blank_foreign_and_unsupported_are_told_apart() {
    let open_error =
        |mut flash: MemFlash| Journal::open(&mut flash, MemCounter::default(), OURS).map(drop).unwrap_err();
    assert_eq!(open_error(MemFlash::new(GEOMETRY)), OpenError::Blank);
    assert_eq!(open_error(MemFlash::from_image(GEOMETRY, vec![0; 1024])), OpenError::Blank);

    let mut foreign = MemFlash::new(GEOMETRY);
    Journal::<_, MemCounter>::format(&mut foreign, THEIRS).unwrap();
    assert_eq!(open_error(foreign), OpenError::Foreign);

    let mut image = formatted().image().to_vec();
    image[4] = 2;
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&image[..60]);
    image[60..64].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(open_error(MemFlash::from_image(GEOMETRY, image)), OpenError::Unsupported { version: 2 });
}

#[test]
fn a_record_of_another_car_or_generation_does_not_count() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    open(&mut flash, &mut counter).unwrap().0.append(1, b"ours").unwrap();
    let record = flash.image()[64..88].to_vec();

    let mut theirs = MemFlash::new(GEOMETRY);
    Journal::<_, MemCounter>::format(&mut theirs, THEIRS).unwrap();
    theirs.program(64, &record).unwrap();
    let (journal, recovery) = Journal::open(&mut theirs, MemCounter::default(), THEIRS).unwrap();
    assert!(recovery.torn_tail && journal.last_sequence() == 0, "{recovery:?}");
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(journal.append(1, &[0; MAX_RECORD + 1]), Err(Error::TooLong { length: MAX_RECORD + 1 }));
    assert_eq!(journal.append(1, &[0; MAX_RECORD]), Err(Error::Full));

    let room = journal.remaining();
    assert_eq!(room, GEOMETRY.bank_size() - 64);
    assert_eq!(
        journal.rewrite(|new| new.append(1, &[0; 400]).and_then(|()| new.append(1, &[0; 400]))),
        Err(Error::Full)
    );
    assert_eq!(journal.append(1, &[0; 100]), Ok(1), "after a rewrite that failed the old bank goes on");
    assert_eq!(journal.remaining(), room - record_size(100, GEOMETRY.write_size));

    let exactly = journal.remaining() as usize - 15;
    assert_eq!(journal.append(1, &vec![7; exactly]), Ok(2));
    assert_eq!((journal.remaining(), journal.append(1, b"")), (0, Err(Error::Full)));
    assert_eq!(records(&mut open(&mut flash, &mut counter).unwrap().0).len(), 2);
}

proptest! {
    /// Arbitrary bytes, and a good journal with arbitrary bytes in it, never panic, never stop a rewrite, and pass for whole
    /// only with every record in it.
    #[test]
    fn no_image_panics(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0..1024usize, keep in any::<bool>()) {
        let (flash, mut counter) = used();
        let mut image = if keep { flash.image().to_vec() } else { noise.iter().copied().cycle().chain([0; 1024]).take(1024).collect() };
        image.resize(1024, 0xFF);
        for (byte, noise) in image[at..].iter_mut().zip(&noise) {
            *byte = *noise;
        }
        let mut flash = MemFlash::from_image(GEOMETRY, image);
        match open(&mut flash, &mut counter) {
            Ok((mut journal, recovery)) => {
                let (mut whole, mut whole_counter) = used();
                let expected = records(&mut open(&mut whole, &mut whole_counter).unwrap().0);
                prop_assert!(!recovery.is_complete() || records(&mut journal) == expected);
                journal.rewrite(|new| new.append(1, b"on")).unwrap();
                journal.append(1, b"and on").unwrap();
                prop_assert!(!open(&mut flash, &mut counter).unwrap().1.needs_rewrite());
            }
            Err(error) => prop_assert_eq!(error, OpenError::Blank),
        }
    }

    /// What the journal did not write is not taken for a new journal.
    #[test]
    fn noise_is_not_fresh(noise in proptest::collection::vec(any::<u8>(), 1..1024), header in any::<bool>(), at in 0..64usize) {
        let mut image: Vec<u8> = noise.iter().copied().cycle().take(1024).collect();
        if header {
            image[..64].copy_from_slice(&formatted().image()[..64]);
            image[at] ^= 1 | noise[0];
        }
        let mut flash = MemFlash::from_image(GEOMETRY, image);
        prop_assert_eq!(open(&mut flash, &mut MemCounter::default()).map(|(_, recovery)| recovery), Err(OpenError::Blank));
    }

    /// Any records come back as they went in.
    #[test]
    fn records_come_back(payloads in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..8)) {
        let (mut flash, mut counter) = (formatted(), MemCounter::default());
        let mut expected = Vec::new();
        for (kind, payload) in payloads {
            let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
            if let Ok(sequence) = journal.append(kind, &payload) {
                expected.push((sequence, kind, payload));
            }
        }
        prop_assert_eq!(records(&mut open(&mut flash, &mut counter).unwrap().0), expected);
    }
}

#[test]
fn a_record_in_the_place_of_another_one_does_not_count() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    let mut journal = open(&mut flash, &mut counter).unwrap().0;
    for payload in [b"one", b"two", b"six"] {
        journal.append(1, payload).unwrap();
    }
    let size = record_size(3, GEOMETRY.write_size) as usize;
    let (second, third) = (64 + size, 64 + 2 * size);
    let mut image = flash.image().to_vec();
    image.copy_within(third..third + size, second);
    flash.restore(image);
    let (mut journal, recovery) = open(&mut flash, &mut counter).unwrap();
    assert_eq!(records(&mut journal), [(1, 1, b"one".to_vec())]);
    assert_eq!(recovery.damaged, Some(second as u32));
}

/// What a cut left of a header may say anything; the second bank ends where the flash does.
#[test]
fn a_record_that_would_reach_beyond_its_bank_is_a_torn_tail() {
    let (flash, mut counter) = used();
    let end = flash.image().iter().rposition(|&byte| byte != 0xFF).unwrap().next_multiple_of(8);
    for length in [GEOMETRY.bank_size() as u16, MAX_RECORD as u16, MAX_RECORD as u16 + 1, u16::MAX] {
        let mut image = flash.image().to_vec();
        image[end..end + 2].copy_from_slice(&length.to_le_bytes());
        image[end + 2..end + 11].copy_from_slice(&[3, 11, 0, 0, 0, 0, 0, 0, 0]); // the next one, by its number
        let mut flash = MemFlash::from_image(GEOMETRY, image);
        let (mut journal, recovery) = open(&mut flash, &mut counter).expect("nothing outside is read");
        assert!(recovery.torn_tail && recovery.is_complete(), "{length}: {recovery:?}");
        assert_eq!(records(&mut journal).len(), 5);
    }
}

/// A flash that changes while a journal has it.
struct Shared<'a>(&'a RefCell<MemFlash>);

impl Flash for Shared<'_> {
    type Error = MemError;

    fn geometry(&self) -> Geometry {
        self.0.borrow().geometry()
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MemError> {
        self.0.borrow_mut().read(offset, bytes)
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MemError> {
        self.0.borrow_mut().program(offset, bytes)
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), MemError> {
        self.0.borrow_mut().erase(offset, length)
    }

    fn sync(&mut self) -> Result<(), MemError> {
        self.0.borrow_mut().sync()
    }
}

#[test]
fn an_acknowledged_record_that_rots_while_the_journal_is_open_is_named() {
    let flash = RefCell::new(formatted());
    let (mut journal, _) = Journal::open(Shared(&flash), MemCounter::default(), OURS).unwrap();
    journal.append(1, b"one").unwrap();
    journal.append(1, b"two").unwrap();
    let second = 64 + record_size(3, GEOMETRY.write_size);
    for (rotten, read) in [(second, 1), (64, 0)] {
        let mut image = flash.borrow().image().to_vec();
        image[rotten as usize + 15] ^= 1;
        flash.borrow_mut().restore(image);
        let mut visited = 0;
        let result = journal.for_each(&mut [0; MAX_RECORD], |_, _, _| visited += 1);
        assert_eq!((result, visited), (Err(Error::Damaged { offset: rotten }), read));
    }
}
