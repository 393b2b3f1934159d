use crc::{CRC_32_ISCSI, Crc};

/// A number that never goes back, kept outside the flash: a TPM or RPMB counter, or what models one.
///
/// It tells a journal that ends early from one that was never longer.
pub trait Counter {
    /// What may go wrong below.
    type Error;

    /// The highest number ever [raised](Counter::raise) to; 0 at first.
    fn value(&self) -> u64;

    /// Raises the number to `to`, durable on return. A number that is not higher changes nothing.
    ///
    /// # Errors
    /// The device failed; the number is then the old one or `to`.
    fn raise(&mut self, to: u64) -> Result<(), Self::Error>;
}

impl<C: Counter> Counter for &mut C {
    type Error = C::Error;

    fn value(&self) -> u64 {
        (**self).value()
    }

    fn raise(&mut self, to: u64) -> Result<(), Self::Error> {
        (**self).raise(to)
    }
}

/// Bytes of a number that is kept in two slots, written in turn: a torn write leaves the other one.
pub const SLOT_SIZE: usize = 12;
/// Offset of the second slot: each lies in a sector of its own, so that one write touches one slot.
pub const SLOT_DISTANCE: u32 = 4096;
static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A number and its CRC-32C.
#[must_use]
pub fn slot_of(value: u64) -> [u8; SLOT_SIZE] {
    let mut slot = [0; SLOT_SIZE];
    let number = value.to_le_bytes();
    slot[..8].copy_from_slice(&number);
    slot[8..].copy_from_slice(&CRC.checksum(&number).to_le_bytes());
    slot
}

/// The number in a slot; `None` if it was torn or never written.
#[must_use]
pub fn value_of(slot: &[u8; SLOT_SIZE]) -> Option<u64> {
    let (number, checksum) = slot.split_first_chunk::<8>()?;
    (*checksum == CRC.checksum(number).to_le_bytes()).then(|| u64::from_le_bytes(*number))
}
