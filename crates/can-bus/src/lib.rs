//! CAN and CAN FD frames, their time on the wire, segmentation and the bus port with its adapters.
//!
//! Transport knows bytes, identifiers and priorities, never meaning. What a node exchanges with a bus are the values of
//! [`port`]; firmware, Linux process and simulator each carry them to a bus of their own.
//!
//! | module | job |
//! |---|---|
//! | [`frame`] | one frame: classic, remote or FD |
//! | [`timing`] | how long a frame holds the wire |
//! | [`response`] | how long a phase of votes can take |
//! | [`segment`] | messages longer than one frame |
//! | [`port`] | what a node tells a bus and hears from it |
//! | [`queue`] | frames waiting for the bus |
//! | [`mailbox`] | the transmit side of the port over a controller with a few transmit buffers |
//! | [`mcan`] | frames in the message RAM of an M_CAN controller |
//! | [`slcan`] | frames as text on a serial line, and the bus port over it |
//! | [`candump`], `log` | `candump -L` text: a line, a whole log |
//! | `linux` | the bus port over SocketCAN |
//!
//! # Features
//!
//! None by default (`no_std`, no heap). `std` adds the reader of whole logs, `linux` (Linux only) the adapter to SocketCAN on tokio.

#![no_std]

#[cfg(any(feature = "std", test))]
extern crate std;

pub mod candump;
pub mod frame;
#[cfg(feature = "linux")]
pub mod linux;
#[cfg(feature = "std")]
pub mod log;
pub mod mailbox;
pub mod mcan;
pub mod port;
pub mod queue;
pub mod response;
pub mod segment;
pub mod slcan;
pub mod timing;

pub use embedded_can::Id;
pub use frame::{Frame, Kind};
pub use port::{BusCommand, BusEvent, ErrorState};
