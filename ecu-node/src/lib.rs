//! The ECU: one pump for process, simulator and firmware.
//!
//! [`Ecu`] turns frames into messages for the [`Validator`](device_chain::validator::Validator) and its messages into
//! frames; [`store`] keeps what it must not forget. Whoever runs it brings a bus, a flash, a clock and randomness:
//!
//! 1. make an [`Ecu`], install its validator, [recover](Ecu::recover) its memory from the journal, and start it;
//! 2. [`Ecu::handle`] every bus event and answer, then [`Ecu::poll`] until `None`, carrying each effect out in order;
//! 3. sleep until the next event, or [`Ecu::deadline`].
#![cfg_attr(not(any(test, feature = "linux")), no_std)]

pub mod conformance;
pub mod endpoint;
pub mod hex;
pub mod keyfile;
#[cfg(feature = "linux")]
pub mod linux;
pub mod provision;
pub mod pump;
pub mod solo;
pub mod store;
pub mod trace;
mod transmit;

pub use pump::{Ecu, Effect, Input};
