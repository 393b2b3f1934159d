//! Durable records over a flash port: what a node must not forget across a power cut.
//!
//! A [`Journal`] is an append-only log in one of two banks of a NOR flash (or a file that stands for one):
//!
//! 1. [`Journal::format`] once, when the device is provisioned.
//! 2. [`Journal::open`] at every start tells in [`Recovery`] what was found; [`Journal::for_each`] replays the records.
//! 3. [`Journal::append_batch`] is durable when it returns: several records, one step.
//! 4. [`Journal::rewrite`] copies what is still needed into the other bank, when [`Journal::remaining`] runs low, when `open`
//!    found anything but a clean end, or when a place is [worn](Error::Worn). A cut at any byte leaves the old bank or the new
//!    one. [`Journal::prepare`] erases that bank page by page beforehand, in quiet moments.
//!
//! Invariants:
//!
//! - A record counts only with a CRC-32C over the device's identity, the bank's generation and the whole record, so a
//!   record of another device, of an earlier generation or with a flipped byte is never replayed.
//! - Sequence numbers never repeat and have no gaps within a bank; the bank header takes one, too.
//! - The [`Counter`] lies outside the flash and never goes back. It is raised after each durable step and before that
//!   step is acknowledged: a journal behind its counter has lost acknowledged records or is a restored image, however
//!   well it is formed.
//! - What lies beyond the counter was never acknowledged, and its bits may be half programmed: it is written anew before it
//!   counts, and the bank before it is kept until then.
//! - Whatever was programmed is read back, whatever was erased is looked at, before anything rests on it.
//! - After anything but a clean end nothing is appended until a rewrite: no unit is programmed twice, and the owner
//!   commits its conclusion ("I have forgotten something") in the same atomic step.
//!
//! The CRC finds faults, not forgers: who can write the flash is outside what this crate defends against, except that
//! an old image is noticed. `docs/adr/0002-journal.md` tells why it is built this way.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

mod counter;
#[cfg(feature = "std")]
mod file;
mod flash;
mod format;
mod journal;
mod medium;
#[cfg(feature = "std")]
mod memory;
#[cfg(feature = "std")]
pub mod part;
mod region;

pub use counter::{Counter, SLOT_DISTANCE, SLOT_SIZE, slot_of, value_of};
#[cfg(feature = "std")]
pub use file::{FileCounter, FileFlash};
pub use flash::{Flash, Geometry};
pub use format::{Identity, MAX_RECORD, VERSION, record_size};
pub use journal::{Batch, Error, Journal, OpenError, Recovery, Stale};
#[cfg(feature = "std")]
pub use memory::{Defect, MemCounter, MemError, MemFlash, Operation, Tear};
pub use region::Region;
