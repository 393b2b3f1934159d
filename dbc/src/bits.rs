//! Where the bits of a signal lie, and reading and writing them.
//!
//! DBC numbers bits by byte and by significance in the byte: bit `n` is bit `n % 8` of byte `n / 8`. In little-endian
//! order the significance of a signal's bits grows with that number. In big-endian order it falls along the wire, where
//! each byte is sent most significant bit first: wire position and DBC number differ by `^ 7`.

use crate::model::{ByteOrder, Signal};

impl Signal {
    /// DBC number of the bit with this significance (0 is the least).
    pub(crate) fn bit_number(&self, significance: u32) -> u32 {
        match self.byte_order {
            ByteOrder::LittleEndian => self.start_bit + significance,
            ByteOrder::BigEndian => ((self.start_bit ^ 7) + u32::from(self.width) - 1 - significance) ^ 7,
        }
    }

    /// DBC numbers of all bits, least significant first.
    pub(crate) fn bit_numbers(&self) -> impl DoubleEndedIterator<Item = u32> {
        (0..u32::from(self.width)).map(|significance| self.bit_number(significance))
    }

    /// Whether data of this many bytes hold the whole signal.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        let last_significance = match self.byte_order {
            ByteOrder::LittleEndian => u32::from(self.width) - 1,
            ByteOrder::BigEndian => 0,
        };
        ((self.bit_number(last_significance) / 8) as usize) < bytes
    }

    /// The signal's bits as an integer, or `None` if the data are too short.
    pub(crate) fn read_bits(&self, data: &[u8]) -> Option<u64> {
        self.bit_numbers().rev().try_fold(0, |bits, number| {
            let byte = data.get((number / 8) as usize)?;
            Some(bits << 1 | u64::from(byte >> (number % 8) & 1))
        })
    }

    /// Sets the signal's bits, or changes nothing and returns `None` if the data are too short.
    pub(crate) fn write_bits(&self, data: &mut [u8], bits: u64) -> Option<()> {
        if !self.fits(data.len()) {
            return None;
        }
        for (significance, number) in self.bit_numbers().enumerate() {
            let byte = data.get_mut((number / 8) as usize)?;
            let mask = 1 << (number % 8);
            *byte = if bits >> significance & 1 == 1 { *byte | mask } else { *byte & !mask };
        }
        Some(())
    }
}
