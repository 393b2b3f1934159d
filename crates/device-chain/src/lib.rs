//! Identity, agreement and keys of the mesh: the pure protocol core.
//!
//! Time, randomness, bytes and key handles go in; effects come out in order. No clock, thread, socket, heap or global
//! state; the same code runs as firmware, as a Linux process and in the simulator. The rules are numbered in
//! `docs/protocol.md`, and cited here by their numbers.
#![cfg_attr(not(any(test, flaws)), no_std)]

pub mod agreement;
pub mod block;
pub mod codec;
pub mod entry;
mod flaw;
pub mod genesis;
#[cfg(test)]
mod golden;
pub mod grant;
pub mod hash;
pub mod keys;
mod lifecycle;
pub mod limits;
pub mod mac;
pub mod members;
pub mod merkle;
pub mod order;
pub mod packed;
pub mod pairing;
pub mod plan;
pub mod quorum;
pub mod record;
pub mod registry;
pub mod session;
pub mod sign;
pub mod slot;
pub mod state;
pub mod tx;
pub mod types;
pub mod validator;
#[cfg(test)]
mod vectors;
pub mod wire;

#[cfg(flaws)]
pub use flaw::Flaw;
