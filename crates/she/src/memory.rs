//! The slots in the SHE's flash (4.3 to 4.5 of the specification).

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::cipher::Block;

/// A key by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u8);

impl Slot {
    /// The device's own, which nobody knows.
    pub const SECRET: Self = Self(0);
    /// Whose it is may replace all others.
    pub const MASTER_ECU: Self = Self(1);
    /// For the secure boot.
    pub const BOOT_MAC_KEY: Self = Self(2);
    /// What the secure boot expects.
    pub const BOOT_MAC: Self = Self(3);
    /// A volatile one.
    pub const RAM: Self = Self(14);
    /// Keys for the application.
    pub const GENERAL: u8 = 10;

    /// KEY_1 to KEY_10; `None` for others.
    #[must_use]
    pub const fn key(number: u8) -> Option<Self> {
        match number {
            1..=Self::GENERAL => Some(Self(3 + number)),
            _ => None,
        }
    }

    /// Whether it is one of those.
    #[must_use]
    pub const fn is_general(self) -> bool {
        matches!(self.0, 4..=13)
    }

    pub(crate) const fn from_number(number: u8) -> Self {
        Self(number & 15)
    }

    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    /// Whether who knows this key may load that one.
    pub(crate) fn authorises(self, slot: Self) -> bool {
        match slot {
            Self::MASTER_ECU => self == Self::MASTER_ECU,
            Self::BOOT_MAC_KEY | Self::BOOT_MAC => self == Self::MASTER_ECU || self == Self::BOOT_MAC_KEY,
            Self::RAM => self == Self::SECRET || self.is_general(),
            _ => slot.is_general() && (self == Self::MASTER_ECU || self == slot),
        }
    }
}

/// What is held of a key beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// It is never replaced.
    pub write_protected: bool,
    /// It is locked unless the secure boot succeeded.
    pub boot_protected: bool,
    /// It is locked once a debugger was there.
    pub debugger_protected: bool,
    /// KEY_USAGE: for MACs, else for encryption.
    pub for_macs: bool,
    /// WILDCARD: it is replaced only by what names this device.
    pub no_wildcard: bool,
    /// VERIFY_ONLY, of an SHE+: MACs are checked with it, none made.
    pub verify_only: bool,
}

impl Flags {
    /// None of them.
    pub const NONE: Self = Self {
        write_protected: false,
        boot_protected: false,
        debugger_protected: false,
        for_macs: false,
        no_wildcard: false,
        verify_only: false,
    };
    /// A key for MACs.
    pub const MAC: Self = Self { for_macs: true, ..Self::NONE };

    /// The first block of M2: 28 bits of counter, the flags, zeros.
    pub(crate) fn pack(self, counter: u32) -> Block {
        let flags = [
            self.write_protected,
            self.boot_protected,
            self.debugger_protected,
            self.for_macs,
            self.no_wildcard,
            self.verify_only,
        ];
        let flags = flags.iter().fold(0, |bits, flag| bits << 1 | u128::from(*flag));
        (u128::from(counter) << 100 | flags << 94).to_be_bytes()
    }

    pub(crate) fn unpack(block: &Block) -> (u32, Self) {
        let bits = u128::from_be_bytes(*block);
        let flag = |at: u32| bits >> at & 1 == 1;
        let flags = Self {
            write_protected: flag(99),
            boot_protected: flag(98),
            debugger_protected: flag(97),
            for_macs: flag(96),
            no_wildcard: flag(95),
            verify_only: flag(94),
        };
        ((bits >> 100) as u32, flags)
    }
}

/// A key in flash.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Stored {
    pub key: Block,
    pub counter: u32,
    #[zeroize(skip)]
    pub flags: Flags,
}

/// All slots but SECRET_KEY and RAM_KEY.
#[derive(Default)]
pub struct Memory([Option<Stored>; 14]);

impl Memory {
    pub fn read(&self, slot: Slot) -> Option<&Stored> {
        self.0.get(usize::from(slot.0))?.as_ref()
    }

    /// Whether a slot is closed to wildcards, whether to everything, and its counter.
    pub fn guard(&self, slot: Slot) -> (bool, bool, u32) {
        self.read(slot).map_or((false, false, 0), |of| (of.flags.no_wildcard, of.flags.write_protected, of.counter))
    }

    pub fn write(&mut self, slot: Slot, stored: Stored) {
        if let Some(place) = self.0.get_mut(usize::from(slot.0)) {
            *place = Some(stored);
        }
    }
}
