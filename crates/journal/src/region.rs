use core::ops::Range;

use crate::flash::Geometry;

/// Where a journal lies in a memory that holds other things, too. It turns what a [`Flash`](crate::Flash) is asked for into addresses, of
/// which none lies outside: every adapter to a device asks it first.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    start: u32,
    geometry: Geometry,
}

impl Region {
    /// The journal's part of a memory, from the address `start` on. `None` if no journal fits the geometry, `start` is not that of a page,
    /// or the end has no address of 32 bits.
    #[must_use]
    pub const fn new(start: u32, geometry: Geometry) -> Option<Self> {
        let fits = geometry.is_valid()
            && start.is_multiple_of(geometry.erase_size)
            && start.checked_add(geometry.capacity).is_some();
        if fits { Some(Self { start, geometry }) } else { None }
    }

    /// Its sizes.
    #[must_use]
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Addresses of `length` bytes to read from `offset` on; `None` if one lies outside.
    #[must_use]
    pub fn to_read(&self, offset: u32, length: usize) -> Option<Range<u32>> {
        self.addresses(offset, length.try_into().ok()?, 1)
    }

    /// Addresses of the units to program; `None` if one lies outside or is not whole.
    #[must_use]
    pub fn to_program(&self, offset: u32, length: usize) -> Option<Range<u32>> {
        self.addresses(offset, length.try_into().ok()?, self.geometry.write_size)
    }

    /// Addresses of the pages to erase; `None` if one lies outside or is not whole.
    #[must_use]
    pub fn to_erase(&self, offset: u32, length: u32) -> Option<Range<u32>> {
        self.addresses(offset, length, self.geometry.erase_size)
    }

    fn addresses(&self, offset: u32, length: u32, unit: u32) -> Option<Range<u32>> {
        let end = offset.checked_add(length)?;
        let is_whole = offset.is_multiple_of(unit) && length.is_multiple_of(unit);
        // `new` has seen to it that no sum overflows
        (is_whole && end <= self.geometry.capacity).then(|| self.start + offset..self.start + end)
    }
}
