//! The ports of the ECU on boards with an STM32G474 or STM32H743.
//!
//! | module | job |
//! |---|---|
//! | `chip` | clocks, pins, addresses: all that is another on another chip |
//! | `bus` | the bus port over FDCAN1 |
//! | `flash` | the journal's flash |
//! | `counter` | the monotonic counter in backup registers |
//! | `log` | text over the debug probe |
//!
//! `bin/node.rs` is the ECU, `bin/conformance.rs` tries the ports. Built for the boards in `docs/boards.md`; *never run on one*.
#![no_std]

pub mod bus;
pub mod chip;
pub mod counter;
pub mod flash;
pub mod log;

use embassy_stm32::peripherals;
use embassy_stm32::rng::Rng;

/// A number from the hardware's generator.
pub fn nonce(rng: &mut Rng<'_, peripherals::RNG>) -> u64 {
    u64::from(rng.next_u32()) << 32 | u64::from(rng.next_u32())
}
