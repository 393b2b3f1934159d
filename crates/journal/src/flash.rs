use crate::format::{BANK_HEADER, MAX_WRITE_SIZE};

/// Sizes of a flash, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// What is erased at once (a page or sector).
    pub erase_size: u32,
    /// What is programmed at once: a power of two up to 64. Offsets and lengths of programs are multiples of it.
    pub write_size: u32,
    /// All that the journal may use, both banks; a multiple of `2 * erase_size`.
    pub capacity: u32,
}

impl Geometry {
    /// Whether a journal fits: whole pages in each bank, and room behind the bank's header.
    pub const fn is_valid(&self) -> bool {
        self.write_size.is_power_of_two()
            && self.write_size <= MAX_WRITE_SIZE
            && self.erase_size.is_multiple_of(self.write_size)
            && (self.capacity / 2).is_multiple_of(self.erase_size)
            && self.capacity.is_multiple_of(2)
            && self.bank_size() > BANK_HEADER
    }

    /// Bytes in each of the two banks.
    pub const fn bank_size(&self) -> u32 {
        self.capacity / 2
    }
}

/// A NOR flash: erased bytes read 0xFF, and a unit of `write_size` is programmed at most once after each erase.
///
/// Offsets count bytes from the start of the area that belongs to the journal; an access that leaves it is an error and touches
/// nothing ([`Region`](crate::Region)). A power cut may leave any part of the last program or erase done, and a unit that reads
/// differently each time. A unit that the device itself cannot read (an error of its ECC) reads as arbitrary bytes: were it an
/// error, a torn unit would keep the journal shut for ever.
pub trait Flash {
    /// What may go wrong below.
    type Error;

    /// Its sizes; they never change.
    fn geometry(&self) -> Geometry;

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// The device failed.
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error>;

    /// Programs whole, erased units from `offset` on. Durable only after [`sync`](Flash::sync).
    ///
    /// # Errors
    /// The device failed; any part may have been programmed.
    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Erases `length` bytes of whole pages from `offset` on. Durable only after [`sync`](Flash::sync).
    ///
    /// # Errors
    /// The device failed; any part may have been erased.
    fn erase(&mut self, offset: u32, length: u32) -> Result<(), Self::Error>;

    /// Makes everything before it durable; nothing to do where a program itself is (a chip).
    ///
    /// # Errors
    /// The device failed; any part of what was to be made durable may be lost.
    fn sync(&mut self) -> Result<(), Self::Error>;
}

impl<F: Flash> Flash for &mut F {
    type Error = F::Error;

    fn geometry(&self) -> Geometry {
        (**self).geometry()
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        (**self).read(offset, bytes)
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        (**self).program(offset, bytes)
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), Self::Error> {
        (**self).erase(offset, length)
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        (**self).sync()
    }
}
