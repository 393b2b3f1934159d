//! What is another on another chip is in `stm32g474.rs` and `stm32h743.rs`: clocks, pins, addresses, flash errors, backup registers. What
//! follows from it for both is here.

use core::num::{NonZeroU8, NonZeroU16};

use embassy_stm32::can::config::{DataBitTiming, NominalBitTiming};
use embassy_stm32::flash::FLASH_BASE;
use embassy_stm32::{bind_interrupts, can, peripherals, rng};
use journal::Region;

use crate::bus::FromController;

#[cfg(feature = "stm32g474")]
#[path = "stm32g474.rs"]
mod model;
#[cfg(feature = "stm32h743")]
#[path = "stm32h743.rs"]
mod model;

pub use model::*;

bind_interrupts!(
    /// Who takes which interrupt.
    pub struct Interrupts {
        FDCAN1_IT0 => can::IT0InterruptHandler<peripherals::FDCAN1>, FromController;
        FDCAN1_IT1 => can::IT1InterruptHandler<peripherals::FDCAN1>;
        RNG => rng::InterruptHandler<peripherals::RNG>;
    }
);

const fn nz8(number: u8) -> NonZeroU8 {
    NonZeroU8::new(number).expect("a constant")
}

const ONE: NonZeroU16 = NonZeroU16::new(1).expect("a constant");

/// 500 kbit/s from 80 MHz: 160 quanta, sampled at 80 %.
pub const NOMINAL: NominalBitTiming =
    NominalBitTiming { prescaler: ONE, seg1: nz8(127), seg2: nz8(32), sync_jump_width: nz8(32) };

/// 2 Mbit/s from 80 MHz: 40 quanta, sampled at 80 %. That is 400 ns into a bit, behind the loop delay of any transceiver for CAN FD (at most
/// 255 ns, ISO 11898-2), so that the delay needs no compensation.
pub const DATA: DataBitTiming = DataBitTiming {
    transceiver_delay_compensation: false,
    prescaler: ONE,
    seg1: nz8(31),
    seg2: nz8(8),
    sync_jump_width: nz8(8),
};

/// What the end of the line has put into the flash ([`ecu_node::provision`]), or whatever is there instead.
#[must_use]
pub fn provision() -> &'static [u8] {
    // SAFETY: the linker keeps this part of the flash free, and nothing programs it while the firmware runs.
    #[expect(unsafe_code, reason = "flash that is mapped into memory")]
    unsafe {
        core::slice::from_raw_parts(PROVISION_ADDRESS as *const u8, PROVISION_SIZE)
    }
}

/// Where the journal is, from the start of the flash, as the driver counts.
pub(crate) const JOURNAL_REGION: Region =
    Region::new(JOURNAL_ADDRESS - FLASH_BASE as u32, JOURNAL).expect("a constant");
