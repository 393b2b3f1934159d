//! The monotonic counter, in backup registers.
//!
//! They keep their contents through resets, through power cuts while VBAT is supplied, and when a flash image is put back. Without VBAT, or
//! after a tamper event, they are empty and the counter stands at 0: the journal is then believed as it is found, and only an old image that
//! was put back at that moment goes unnoticed. An ECU on permanent supply (terminal 30) does not lose it while the battery is connected.

use embassy_stm32::flash::Error;
use journal::{Counter, SLOT_SIZE, slot_of, value_of};

use crate::chip;

/// Registers of a slot: a number and its CRC. A write that is cut off leaves the other slot.
const SLOT: usize = SLOT_SIZE / 4;

/// The counter in the first six backup registers.
pub struct BackupCounter {
    value: u64,
    free_slot: usize,
}

impl BackupCounter {
    /// Reads what it stands at.
    #[must_use]
    pub fn open() -> Self {
        chip::enable_backup_registers();
        let slots = [read(0), read(1)];
        let value = slots.into_iter().flatten().max().unwrap_or(0);
        Self { value, free_slot: usize::from(slots[0] == Some(value)) }
    }

    /// Whether neither slot holds a number: never used, or VBAT was gone.
    #[must_use]
    pub fn is_empty() -> bool {
        chip::enable_backup_registers();
        [read(0), read(1)] == [None; 2]
    }

    /// Empties it, as the end of the line does before the journal is new. Not for a node.
    pub fn clear() {
        chip::enable_backup_registers();
        (0..2 * SLOT).for_each(|register| chip::write_backup(register, 0));
    }
}

fn read(slot: usize) -> Option<u64> {
    let mut bytes = [0; SLOT_SIZE];
    for (register, chunk) in (slot * SLOT..).zip(bytes.chunks_exact_mut(4)) {
        chunk.copy_from_slice(&chip::read_backup(register).to_le_bytes());
    }
    value_of(&bytes).filter(|_| bytes != [0; SLOT_SIZE])
}

impl Counter for BackupCounter {
    type Error = Error;

    fn value(&self) -> u64 {
        self.value
    }

    fn raise(&mut self, to: u64) -> Result<(), Error> {
        if to > self.value {
            let slot = slot_of(to);
            for (register, chunk) in (self.free_slot * SLOT..).zip(slot.chunks_exact(4)) {
                let mut word = [0; 4];
                word.copy_from_slice(chunk);
                chip::write_backup(register, u32::from_le_bytes(word));
            }
            self.value = to;
            self.free_slot = 1 - self.free_slot;
        }
        Ok(())
    }
}
