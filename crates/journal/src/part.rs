//! Memories that a journal may lie in: their sizes, and how long they take.

use crate::flash::Geometry;

/// A memory in a simulation. Times are typical ones, rounded; maxima are named in its description, and where the figures are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    /// Its sizes, and how much of it the journal has.
    pub geometry: Geometry,
    /// Programming one unit, ns.
    pub program_ns: u64,
    /// Erasing one page, ns. The part does nothing else meanwhile.
    pub erase_ns: u64,
    /// Making durable what was programmed, the step of the counter included, ns.
    pub sync_ns: u64,
}

const KIB: u32 = 1024;

/// STM32G4 with two banks: pages of 2 KiB (4 KiB where a G47x or G48x has one bank, option DBANK), double words of 8 bytes with ECC; ST's
/// own introduction to this flash says so. Times as of data sheet DS12288, "Flash memory characteristics": a double word typ. 82 µs, max. 84 µs, a page
/// typ. 22 ms, max. 24.5 ms, here rounded up. *Not checked* against the sheet itself: no copy was at hand, nor was a second source found.
/// Counter in a battery-backed register.
pub const STM32G4: Part = Part {
    name: "STM32G4",
    geometry: Geometry { erase_size: 2 * KIB, write_size: 8, capacity: 128 * KIB },
    program_ns: 85_000,
    erase_ns: 22_000_000,
    sync_ns: 1_000,
};

/// STM32H743: sectors of 128 KiB, flash words of 32 bytes with ECC (Zephyr's device tree has the same). Times as of data sheet DS12110, "Flash memory
/// programming", 32-bit parallelism: a flash word typ. 130 µs, max. 260 µs, a sector typ. 1.1 s, max. 2.2 s. With 8-bit parallelism it
/// takes about twice as long: max. 580 µs and 4 s. *Only the last two* agree with second sources, the drivers of Chromium EC (600 µs; "data sheet says
/// maximum is about 4 seconds in x8") and Zephyr (4000 ms); the sheet itself was not at hand. Counter in a battery-backed register.
pub const STM32H743: Part = Part {
    name: "STM32H743",
    geometry: Geometry { erase_size: 128 * KIB, write_size: 32, capacity: 256 * KIB },
    program_ns: 130_000,
    erase_ns: 1_100_000_000,
    sync_ns: 1_000,
};

/// Serial FRAM at 40 MHz, or battery-backed SRAM, which is faster: nothing to erase, so an erase writes 0xFF. Computed: a
/// write of 8 bytes behind write-enable, command and address is 13 bytes, 2.6 µs; 256 bytes are 52 µs.
pub const FRAM: Part = Part {
    name: "FRAM",
    geometry: Geometry { erase_size: 256, write_size: 8, capacity: 128 * KIB },
    program_ns: 2_600,
    erase_ns: 52_000,
    sync_ns: 1_000,
};

/// A file under Linux: only `fdatasync` takes time, once for the journal and once for the counter. A millisecond each is an
/// assumption, good for an SSD; eMMC takes several.
pub const LINUX_FILE: Part = Part {
    name: "Linux file",
    geometry: Geometry { erase_size: 4 * KIB, write_size: 8, capacity: 512 * KIB },
    program_ns: 0,
    erase_ns: 0,
    sync_ns: 2_000_000,
};

impl Part {
    /// A memory that takes no time.
    pub const fn instant(geometry: Geometry) -> Self {
        Self { name: "instant", geometry, program_ns: 0, erase_ns: 0, sync_ns: 0 }
    }
}

const _: () = {
    let mut parts: &[Part] = &[STM32G4, STM32H743, FRAM, LINUX_FILE];
    while let [part, rest @ ..] = parts {
        assert!(part.geometry.is_valid());
        parts = rest;
    }
};
