//! Blocks, Merkle proofs, seals and receipts of the Event Chain.
//!
//! The mesh decides transactions one height at a time. The gateway cuts their sequence into [`block::Block`]s, adds
//! records that it alone attests, and has the mesh decide each block's header. [`verify::ChainVerifier`] follows such a
//! chain from the genesis: the same transitions as in the car ([`device_chain::state::State::apply`]), so whoever holds
//! the genesis needs to believe nobody. An archive answers with a [`receipt::SignedReceipt`].
//!
//! Block *k* holds the decisions above the tree size of block *k − 1* up to its own. The decision of its own header is
//! the first decision of block *k + 1*.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod block;
pub mod build;
pub mod codec;
#[cfg(feature = "fixture")]
pub mod fixture;
pub mod merkle;
pub mod receipt;
pub mod record;
pub mod verify;
