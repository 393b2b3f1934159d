//! Flash and counter in files of the host: those that `ecu-node provision` has made. What the host has been told to write is there
//! when the emulator is killed.

use journal::{Counter, Flash, Geometry, Region, SLOT_DISTANCE, SLOT_SIZE, slot_of, value_of};

use crate::machine::{File, HostError};

/// As `ecu-node` has it: two banks of 256 KiB in pages of 4 KiB, written 8 bytes at a time.
const GEOMETRY: Geometry = Geometry { erase_size: 4096, write_size: 8, capacity: 2 * 256 * 1024 };
/// The journal has the file to itself.
const REGION: Region = Region::new(0, GEOMETRY).expect("a constant");
/// Written at once when a page is erased.
const ERASED: [u8; 512] = [0xFF; 512];

/// A NOR flash in a file.
pub struct FileFlash(File);

impl FileFlash {
    /// Opens the flash.
    pub fn open(path: &str) -> Result<Self, HostError> {
        let file = File::read_write(path)?;
        if file.length()? == GEOMETRY.capacity as usize { Ok(Self(file)) } else { Err(HostError) }
    }
}

impl Flash for FileFlash {
    type Error = HostError;

    fn geometry(&self) -> Geometry {
        GEOMETRY
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), HostError> {
        let place = REGION.to_read(offset, bytes.len()).ok_or(HostError)?;
        self.0.read_at(place.start, bytes)
    }

    /// As NOR does: bits only fall.
    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), HostError> {
        let mut unit = [0; GEOMETRY.write_size as usize];
        let place = REGION.to_program(offset, bytes.len()).ok_or(HostError)?;
        for (at, bytes) in place.step_by(unit.len()).zip(bytes.chunks_exact(unit.len())) {
            self.0.read_at(at, &mut unit)?;
            for (old, new) in unit.iter_mut().zip(bytes) {
                *old &= new;
            }
            self.0.write_at(at, &unit)?;
        }
        Ok(())
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), HostError> {
        let mut pages = REGION.to_erase(offset, length).ok_or(HostError)?.step_by(ERASED.len());
        pages.try_for_each(|at| self.0.write_at(at, &ERASED))
    }

    fn sync(&mut self) -> Result<(), HostError> {
        Ok(())
    }
}

/// A monotonic counter in a file, in the form of `journal::FileCounter`: two slots, written in turn.
pub struct FileCounter {
    file: File,
    value: u64,
    free_slot: u32,
}

impl FileCounter {
    /// Opens the counter. One without a valid number is an error: starting anew would hide a loss.
    pub fn open(path: &str) -> Result<Self, HostError> {
        let mut file = File::read_write(path)?;
        let mut slots = [None; 2];
        for (slot, at) in slots.iter_mut().zip([0, SLOT_DISTANCE]) {
            let mut bytes = [0; SLOT_SIZE];
            // the second one is missing until it is written
            *slot = file.read_at(at, &mut bytes).ok().and_then(|()| value_of(&bytes));
        }
        let value = slots.into_iter().flatten().max().ok_or(HostError)?;
        Ok(Self { file, value, free_slot: u32::from(slots[0] == Some(value)) })
    }
}

impl Counter for FileCounter {
    type Error = HostError;

    fn value(&self) -> u64 {
        self.value
    }

    fn raise(&mut self, to: u64) -> Result<(), HostError> {
        if to > self.value {
            self.file.write_at(self.free_slot * SLOT_DISTANCE, &slot_of(to))?;
            self.value = to;
            self.free_slot = 1 - self.free_slot;
        }
        Ok(())
    }
}
