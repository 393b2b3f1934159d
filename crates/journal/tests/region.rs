//! No access to a journal's flash leaves the journal's own region.
#![allow(clippy::unwrap_used)]

use std::ops::Range;

use journal::{Flash, Geometry, Journal, MemCounter, MemError, MemFlash, Region};
use proptest::prelude::*;

const GEOMETRY: Geometry = Geometry { erase_size: 256, write_size: 8, capacity: 1024 };
const IDENTITY: [u8; 32] = [7; 32];
/// Bytes on either side of the journal that belong to others.
const MARGIN: u32 = 512;
const OTHERS: u8 = 0xA5;
/// Where the journal may begin: it ends below the last address of 32 bits.
const STARTS: [u32; 3] = [MARGIN, 0x0804_0000, u32::MAX - MARGIN - GEOMETRY.capacity + 1];

/// A memory that the journal has a part of. Its adapter is made as those of the boards are.
struct Memory {
    region: Region,
    first: u32,
    bytes: Vec<u8>,
}

impl Memory {
    fn new(start: u32) -> Self {
        let region = Region::new(start, GEOMETRY).unwrap();
        let bytes = vec![OTHERS; (GEOMETRY.capacity + 2 * MARGIN) as usize];
        Self { region, first: start - MARGIN, bytes }
    }

    fn at(&mut self, addresses: Range<u32>) -> &mut [u8] {
        &mut self.bytes[(addresses.start - self.first) as usize..(addresses.end - self.first) as usize]
    }

    fn journal(&self) -> &[u8] {
        &self.bytes[MARGIN as usize..][..GEOMETRY.capacity as usize]
    }

    fn others_are_untouched(&self) -> bool {
        let (before, behind) = (&self.bytes[..MARGIN as usize], &self.bytes[(MARGIN + GEOMETRY.capacity) as usize..]);
        [before, behind].concat().iter().all(|byte| *byte == OTHERS)
    }
}

impl Flash for Memory {
    type Error = MemError;

    fn geometry(&self) -> Geometry {
        self.region.geometry()
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MemError> {
        let place = self.region.to_read(offset, bytes.len()).ok_or(MemError::OutOfBounds { offset })?;
        bytes.copy_from_slice(self.at(place));
        Ok(())
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MemError> {
        let place = self.region.to_program(offset, bytes.len()).ok_or(MemError::OutOfBounds { offset })?;
        self.at(place).copy_from_slice(bytes);
        Ok(())
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), MemError> {
        let place = self.region.to_erase(offset, length).ok_or(MemError::OutOfBounds { offset })?;
        self.at(place).fill(0xFF);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MemError> {
        Ok(())
    }
}

/// Powers of two up to 64, whole units in a page, whole pages in a bank, and more in a bank than its header.
#[test]
fn sizes_that_suit_a_journal() {
    let table = [
        (256, 8, 1024, true),
        (256, 3, 1024, false),
        (192, 3, 768, false),
        (256, 64, 1024, true),
        (256, 128, 1024, false),
        (0, 8, 1024, false),
        (0, 8, 0, false),
        (252, 8, 1008, false),
        (256, 8, 1280, false),
        (256, 8, 1025, false),
        (64, 8, 128, false),
        (64, 8, 256, true),
    ];
    for (erase_size, write_size, capacity, suits) in table {
        let geometry = Geometry { erase_size, write_size, capacity };
        assert_eq!((geometry.is_valid(), geometry.bank_size()), (suits, capacity / 2), "{geometry:?}");
    }
}

#[test]
fn a_region_is_whole_pages_that_have_addresses() {
    let Geometry { erase_size: page, capacity, .. } = GEOMETRY;
    let last = u32::MAX - capacity + 1;
    for (start, expected) in
        [(0, true), (page, true), (1, false), (page - 8, false), (last - page, true), (last, false)]
    {
        assert_eq!(Region::new(start, GEOMETRY).is_some(), expected, "from {start:#x} on");
    }
    assert!(Region::new(0, Geometry { write_size: 3, ..GEOMETRY }).is_none());
}

/// A life from the first format through full banks and rewrites; the same bytes as anywhere else.
#[test]
fn a_journal_leaves_what_lies_beside_it_alone() {
    fn live<F: Flash<Error = MemError>>(mut flash: F) -> F {
        Journal::<F, MemCounter>::format(&mut flash, IDENTITY).unwrap();
        let (mut journal, _) = Journal::open(flash, MemCounter::default(), IDENTITY).unwrap();
        for record in 0..60_u8 {
            if journal.append(1, &[record; 40]).is_err() {
                journal.rewrite(|new| new.append(2, &[record; 9])).unwrap();
            }
        }
        while journal.prepare().unwrap() {}
        journal.into_ports().0
    }
    let elsewhere = live(MemFlash::new(GEOMETRY));
    for start in STARTS {
        let memory = live(Memory::new(start));
        assert!(memory.others_are_untouched(), "from {start:#x} on");
        assert_eq!(memory.journal(), elsewhere.image(), "from {start:#x} on");
    }
}

/// Mostly around both ends of the region and of all addresses, and mostly aligned.
fn offsets() -> impl Strategy<Value = u32> {
    let around = |place: u32| (place.saturating_sub(MARGIN)..=place.saturating_add(MARGIN)).boxed();
    let anywhere = prop_oneof![around(0), around(GEOMETRY.capacity), around(u32::MAX), any::<u32>()];
    (anywhere, prop_oneof![Just(1), Just(GEOMETRY.write_size), Just(GEOMETRY.erase_size)])
        .prop_map(|(offset, unit)| offset / unit * unit)
}

/// Offset and length of an access. Many end exactly at the end of the region, or a byte before or behind it.
fn accesses() -> impl Strategy<Value = (u32, u32)> {
    let ends = GEOMETRY.capacity - 1..=GEOMETRY.capacity + 1;
    prop_oneof![(offsets(), offsets()), (offsets(), ends).prop_map(|(offset, end)| (offset, end.wrapping_sub(offset)))]
}

/// What an access may touch, reckoned in numbers that cannot overflow.
fn expected(start: u32, offset: u32, length: u64, unit: u32) -> Option<Range<u32>> {
    let end = u64::from(offset) + length;
    let is_whole = offset.is_multiple_of(unit) && length.is_multiple_of(unit.into());
    (is_whole && end <= GEOMETRY.capacity.into()).then(|| start + offset..start + end as u32)
}

proptest! {
    #[test]
    fn addresses_are_inside_and_whole_or_there_are_none(
        start in prop::sample::select(&STARTS), (offset, length) in accesses(), beyond in 0_u64..3,
    ) {
        let region = Region::new(start, GEOMETRY).unwrap();
        prop_assert_eq!(region.to_erase(offset, length), expected(start, offset, length.into(), GEOMETRY.erase_size));
        let length = u64::from(length) + (beyond << 32); // as much as a slice may have
        prop_assert_eq!(region.to_read(offset, length as usize), expected(start, offset, length, 1));
        prop_assert_eq!(region.to_program(offset, length as usize), expected(start, offset, length, GEOMETRY.write_size));
    }

    #[test]
    fn nothing_beside_the_region_is_read_programmed_or_erased(
        start in prop::sample::select(&STARTS), accesses in prop::collection::vec(accesses(), 1..40),
    ) {
        let mut memory = Memory::new(start);
        memory.erase(0, GEOMETRY.capacity).unwrap();
        for (offset, length) in accesses {
            let _ = memory.erase(offset, length);
            let mut bytes = vec![0; length.min(2 * GEOMETRY.capacity) as usize];
            let _ = memory.program(offset, &bytes);
            if memory.read(offset, &mut bytes).is_ok() {
                prop_assert!(bytes.iter().all(|byte| *byte != OTHERS));
            }
            prop_assert!(memory.others_are_untouched());
        }
        prop_assert!(memory.journal().iter().all(|byte| *byte != OTHERS));
    }
}
