//! A flash and a counter in memory, which outlive a loss of power.

use core::cell::RefCell;

use cortex_m::interrupt::{self, Mutex};
use journal::{Counter, Flash, Geometry};

/// Bytes of the flash of one ECU: two banks.
const CAPACITY: usize = 128 * 1024;

/// The flash and the counter of one ECU.
pub struct Memory {
    bytes: [u8; CAPACITY],
    counter: u64,
}

impl Memory {
    /// As it leaves the factory.
    pub const NEW: Self = Self { bytes: [0; CAPACITY], counter: 0 };

    /// Forgets everything, as a new flash in place of the old one.
    pub fn wipe(&mut self) {
        self.bytes.fill(0xff);
    }
}

/// A port to the flash, or to the counter.
#[derive(Clone, Copy)]
pub struct Port(pub &'static Mutex<RefCell<Memory>>);

impl Port {
    /// `None` if somebody else is at it.
    pub fn with<R>(&self, what: impl FnOnce(&mut Memory) -> R) -> Result<R, ()> {
        interrupt::free(|token| {
            self.0.borrow(token).try_borrow_mut().map(|mut memory| what(&mut memory)).map_err(|_| ())
        })
    }

    fn at<R>(&self, offset: u32, length: usize, what: impl FnOnce(&mut [u8]) -> R) -> Result<R, ()> {
        self.with(|memory| {
            let (_, from) = memory.bytes.split_at_mut_checked(offset as usize).ok_or(())?;
            Ok(what(from.split_at_mut_checked(length).ok_or(())?.0))
        })?
    }
}

impl Flash for Port {
    type Error = ();

    fn geometry(&self) -> Geometry {
        Geometry { erase_size: 2048, write_size: 8, capacity: CAPACITY as u32 }
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ()> {
        self.at(offset, bytes.len(), |range| range.iter().zip(bytes).for_each(|(from, to)| *to = *from))
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ()> {
        self.at(offset, bytes.len(), |range| range.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from))
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), ()> {
        self.at(offset, length as usize, |range| range.fill(0xff))
    }

    fn sync(&mut self) -> Result<(), ()> {
        Ok(())
    }
}

impl Counter for Port {
    type Error = ();

    fn value(&self) -> u64 {
        self.with(|memory| memory.counter).unwrap_or(0)
    }

    fn raise(&mut self, to: u64) -> Result<(), ()> {
        self.with(|memory| memory.counter = memory.counter.max(to))
    }
}
