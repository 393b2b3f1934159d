use core::fmt;

use crate::counter::Counter;
use crate::flash::{Flash, Geometry};

/// A NOR flash in memory for tests and simulations: strict about the rules, and its power can be cut at any byte.
#[derive(Clone, Debug)]
pub struct MemFlash {
    geometry: Geometry,
    bytes: Vec<u8>,
    /// For each unit, whether it was programmed since its last erase.
    programmed: Vec<bool>,
    /// Bytes that can still be programmed or erased before the power goes.
    power_left: Option<u64>,
}

/// What a [`MemFlash`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemError {
    /// The power is off.
    NoPower,
    /// A unit was to be programmed again without an erase.
    AlreadyProgrammed {
        /// Its offset.
        offset: u32,
    },
    /// An offset or length is not a multiple of the unit or page, or lies outside.
    OutOfBounds {
        /// The offset that was asked for.
        offset: u32,
    },
}

impl MemFlash {
    /// An erased flash.
    ///
    /// # Panics
    /// If `geometry` is not valid.
    pub fn new(geometry: Geometry) -> Self {
        Self::from_image(geometry, vec![0xFF; geometry.capacity as usize])
    }

    /// A flash that holds `image`; the units that are not all 0xFF count as programmed.
    ///
    /// # Panics
    /// If `geometry` is not valid or `image` is not as long as its capacity.
    pub fn from_image(geometry: Geometry, image: Vec<u8>) -> Self {
        assert!(geometry.is_valid(), "no journal fits into {geometry:?}");
        assert_eq!(image.len(), geometry.capacity as usize, "an image is as long as the flash");
        let units = image.chunks(geometry.write_size as usize);
        let programmed = units.map(|unit| unit.iter().any(|&byte| byte != 0xFF)).collect();
        Self { geometry, bytes: image, programmed, power_left: None }
    }

    /// All bytes as they are.
    pub fn image(&self) -> &[u8] {
        &self.bytes
    }

    /// Cuts the power after `bytes` more bytes have been programmed or erased; the next one is left half done.
    pub fn cut_power_after(&mut self, bytes: u64) {
        self.power_left = Some(bytes);
    }

    /// Turns the power on again.
    pub fn restore_power(&mut self) {
        self.power_left = None;
    }

    /// Uses up power for `length` bytes and returns how many of them get done.
    fn spend(&mut self, length: usize) -> usize {
        let Some(left) = &mut self.power_left else { return length };
        let done = (*left).min(length as u64);
        *left -= done;
        done as usize
    }

    fn check_power(&self) -> Result<(), MemError> {
        if self.power_left == Some(0) { Err(MemError::NoPower) } else { Ok(()) }
    }

    /// The range of `bytes` that an access means, if it is made of whole `unit`s.
    fn range(&self, offset: u32, length: usize, unit: u32) -> Result<core::ops::Range<usize>, MemError> {
        let (start, unit) = (offset as usize, unit as usize);
        let whole = start.is_multiple_of(unit) && length.is_multiple_of(unit);
        let end = start + length;
        if whole && end <= self.bytes.len() { Ok(start..end) } else { Err(MemError::OutOfBounds { offset }) }
    }
}

impl Flash for MemFlash {
    type Error = MemError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MemError> {
        self.check_power()?;
        let range = self.range(offset, bytes.len(), 1)?;
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MemError> {
        self.check_power()?;
        let unit = self.geometry.write_size as usize;
        let range = self.range(offset, bytes.len(), self.geometry.write_size)?;
        if let Some(used) = range.clone().step_by(unit).find(|start| self.programmed[start / unit]) {
            return Err(MemError::AlreadyProgrammed { offset: used as u32 });
        }
        let done = self.spend(bytes.len());
        self.bytes[range.start..][..done].copy_from_slice(&bytes[..done]);
        let touched = range.start..range.start + (done + 1).min(bytes.len());
        if done < bytes.len() {
            // Half of its bits have gone from 1 to 0 so far.
            self.bytes[range.start + done] = bytes[done] | 0x55;
        }
        for start in touched.step_by(unit) {
            self.programmed[start / unit] = true;
        }
        if done < bytes.len() { Err(MemError::NoPower) } else { Ok(()) }
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), MemError> {
        self.check_power()?;
        let range = self.range(offset, length as usize, self.geometry.erase_size)?;
        let done = self.spend(range.len());
        let (erased, interrupted) = self.bytes[range.clone()].split_at_mut(done);
        erased.fill(0xFF);
        // Elsewhere some bits have gone from 0 to 1.
        interrupted.iter_mut().for_each(|byte| *byte |= 0x55);
        if !interrupted.is_empty() {
            return Err(MemError::NoPower);
        }
        let unit = self.geometry.write_size as usize;
        self.programmed[range.start / unit..range.end / unit].fill(false);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MemError> {
        self.check_power()
    }
}

impl fmt::Display for MemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPower => write!(f, "the power is off"),
            Self::AlreadyProgrammed { offset } => write!(f, "unit {offset} was programmed already"),
            Self::OutOfBounds { offset } => write!(f, "an access at {offset} is misaligned or outside"),
        }
    }
}

impl core::error::Error for MemError {}

/// A counter in memory for tests and simulations; it outlives the journal by [`Journal::into_ports`] or a `&mut`.
///
/// [`Journal::into_ports`]: crate::Journal::into_ports
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemCounter(u64);

impl Counter for MemCounter {
    type Error = MemError;

    fn value(&self) -> u64 {
        self.0
    }

    fn raise(&mut self, to: u64) -> Result<(), MemError> {
        self.0 = self.0.max(to);
        Ok(())
    }
}
