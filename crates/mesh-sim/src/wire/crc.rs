//! The cyclic redundancy checks of CAN, one bit at a time.

/// A checksum in the making.
#[derive(Clone, Copy, Debug)]
pub struct Crc {
    polynomial: u32,
    width: u8,
    register: u32,
}

impl Crc {
    /// CRC-15 of classic frames, over the bits without stuff bits.
    pub const CRC15: Self = Self { polynomial: 0x4599, width: 15, register: 0 };
    /// CRC-17 of FD frames with up to 16 bytes, over dynamic stuff bits and the stuff count, too.
    pub const CRC17: Self = Self { polynomial: 0x1_685B, width: 17, register: 1 << 16 };
    /// CRC-21 of longer FD frames.
    pub const CRC21: Self = Self { polynomial: 0x10_2899, width: 21, register: 1 << 20 };

    /// Adds a bit.
    pub const fn push(&mut self, bit: bool) {
        let top = self.register >> (self.width - 1) & 1 == 1;
        self.register = self.register << 1 & ((1 << self.width) - 1);
        if top != bit {
            self.register ^= self.polynomial;
        }
    }

    /// The checksum of the bits so far.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.register
    }

    /// How many bits it has.
    #[must_use]
    pub const fn width(self) -> u8 {
        self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of the CRC RevEng catalogue over "123456789"; it starts all three at zero.
    #[test]
    fn published_check_values() {
        for (crc, check) in [(Crc::CRC15, 0x059e), (Crc::CRC17, 0x04f03), (Crc::CRC21, 0x0e_d841)] {
            let mut crc = Crc { register: 0, ..crc };
            for byte in b"123456789" {
                (0..8).rev().for_each(|at| crc.push(byte >> at & 1 == 1));
            }
            assert_eq!(crc.value(), check, "CRC-{}", crc.width());
        }
    }

    /// The start values tell frames apart that begin with different numbers of dominant bits.
    #[test]
    fn leading_zeros_count_in_fd_frames_only() {
        for (mut crc, counts) in [(Crc::CRC15, false), (Crc::CRC17, true), (Crc::CRC21, true)] {
            let before = crc.value();
            crc.push(false);
            assert_eq!(crc.value() != before, counts, "CRC-{}", crc.width());
        }
    }
}
