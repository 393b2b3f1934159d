//! The journal's flash: pages of bank 2, while code runs from bank 1.

use core::cell::RefCell;

use embassy_stm32::flash::{Blocking, Error, Flash};
use journal::Geometry;

use crate::chip;

/// The chip's flash; the parts of it are used one at a time.
pub type Shared = RefCell<Flash<'static, Blocking>>;

/// The journal's part of the flash.
#[derive(Clone, Copy)]
pub struct JournalFlash {
    flash: &'static Shared,
}

impl JournalFlash {
    /// The part that `chip` sets aside.
    #[must_use]
    pub const fn new(flash: &'static Shared) -> Self {
        Self { flash }
    }

    /// From the start of the flash.
    fn place(offset: u32, length: usize) -> Result<u32, Error> {
        let end = u32::try_from(length).ok().and_then(|length| offset.checked_add(length));
        match end {
            Some(end) if end <= chip::JOURNAL.capacity => Ok(chip::JOURNAL_OFFSET + offset),
            _ => Err(Error::Size),
        }
    }
}

impl journal::Flash for JournalFlash {
    type Error = Error;

    fn geometry(&self) -> Geometry {
        chip::JOURNAL
    }

    /// A unit that was torn by a power cut has a wrong ECC: it reads as whatever comes.
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let place = Self::place(offset, bytes.len())?;
        let mut flash = self.flash.borrow_mut();
        chip::without_ecc_faults(|| flash.blocking_read(place, bytes))
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        chip::clear_flash_errors();
        self.flash.borrow_mut().blocking_write(Self::place(offset, bytes.len())?, bytes)
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), Error> {
        chip::clear_flash_errors();
        let start = Self::place(offset, length as usize)?;
        self.flash.borrow_mut().blocking_erase(start, start + length)
    }

    /// A program is done when it returns.
    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
