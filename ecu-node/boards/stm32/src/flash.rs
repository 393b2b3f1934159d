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
}

impl journal::Flash for JournalFlash {
    type Error = Error;

    fn geometry(&self) -> Geometry {
        chip::JOURNAL
    }

    /// A unit that was torn by a power cut has a wrong ECC: it reads as whatever comes.
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let place = chip::JOURNAL_REGION.to_read(offset, bytes.len()).ok_or(Error::Size)?;
        let mut flash = self.flash.borrow_mut();
        chip::without_ecc_faults(|| flash.blocking_read(place.start, bytes))
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        let place = chip::JOURNAL_REGION.to_program(offset, bytes.len()).ok_or(Error::Size)?;
        chip::clear_flash_errors();
        self.flash.borrow_mut().blocking_write(place.start, bytes)
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), Error> {
        let place = chip::JOURNAL_REGION.to_erase(offset, length).ok_or(Error::Size)?;
        chip::clear_flash_errors();
        self.flash.borrow_mut().blocking_erase(place.start, place.end)
    }

    /// A program is done when it returns.
    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
