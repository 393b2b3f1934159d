//! What the tests share. Not every test uses all of it.
#![allow(dead_code, clippy::unwrap_used)]

use journal::{Geometry, Identity, Journal, MAX_RECORD, MemCounter, MemError, MemFlash, OpenError, Recovery};

/// Two banks of two pages each.
pub const GEOMETRY: Geometry = Geometry { erase_size: 256, write_size: 8, capacity: 1024 };
pub const OURS: Identity = [0xC4; 32];
pub const THEIRS: Identity = [0x5A; 32];

pub type Record = (u64, u8, Vec<u8>);

pub fn formatted() -> MemFlash {
    let mut flash = MemFlash::new(GEOMETRY);
    Journal::<_, MemCounter>::format(&mut flash, OURS).unwrap();
    flash
}

pub type Opened<'a> = (Journal<&'a mut MemFlash, &'a mut MemCounter>, Recovery);

pub fn open<'a>(flash: &'a mut MemFlash, counter: &'a mut MemCounter) -> Result<Opened<'a>, OpenError<MemError>> {
    Journal::open(flash, counter, OURS)
}

pub fn records(journal: &mut Journal<&mut MemFlash, &mut MemCounter>) -> Vec<Record> {
    let mut all = Vec::new();
    journal
        .for_each(&mut [0; MAX_RECORD], |sequence, kind, payload| all.push((sequence, kind, payload.to_vec())))
        .unwrap();
    all
}

/// Four appends, a rewrite that keeps two records, three more appends: the last bank begins at 512.
pub fn used() -> (MemFlash, MemCounter) {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    let (mut journal, _) = open(&mut flash, &mut counter).unwrap();
    for payload in [&b"one"[..], b"two", b"three", b"four"] {
        journal.append(1, payload).unwrap();
    }
    journal.rewrite(|new| new.append(2, b"kept").and_then(|()| new.append(2, b"kept, too"))).unwrap();
    for payload in [&b"five"[..], b"", b"a payload that is longer than some units are"] {
        journal.append(3, payload).unwrap();
    }
    (flash, counter)
}
