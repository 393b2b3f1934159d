//! How the gateway makes blocks: it collects decisions as they are made and records that it alone attests.
//!
//! 1. Hand every decision to [`BlockBuilder::decide`], in order, and own records to [`BlockBuilder::attest`].
//! 2. When a block is due, store [`BlockBuilder::encode`] durably, then propose [`BlockBuilder::header`]. If the mesh
//!    decides something else at that height, the proposal has lost; ask for a new header.
//! 3. The decision of a header makes `decide` return the block. Seals are added by [`Block::add_seal`] as they come.

use alloc::vec::Vec;
use core::fmt;

use device_chain::block::{BlockHeader, Finality};
use device_chain::codec;
use device_chain::state::State;
use device_chain::tx::{Transaction, TxBytes};
use device_chain::types::MeshId;
use serde::{Deserialize, Serialize};

use crate::block::{Block, Decisions, Records, Seals, attested_root};
use crate::codec::encode;
use crate::record::AttestedRecord;

/// The block being made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockBuilder {
    mesh: MeshId,
    decisions: Decisions,
    attested: Records,
}

/// Why a builder takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// [`crate::block::MAX_DECISIONS`] or [`crate::block::MAX_ATTESTED`] is reached: close the block.
    Full,
    /// The mesh decided a header whose attested records this builder does not have: its stored state was lost.
    UnknownHeader,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the block is full",
            Self::UnknownHeader => "the mesh closed a block whose attested records are not here",
        })
    }
}

impl core::error::Error for BuildError {}

impl BlockBuilder {
    /// For the first block of a car.
    #[must_use]
    pub const fn new(mesh: MeshId) -> Self {
        Self { mesh, decisions: Decisions::new(), attested: Records::new() }
    }

    /// From bytes that were stored. `None` if they are damaged or of another car.
    #[must_use]
    pub fn decode(bytes: &[u8], mesh: &MeshId) -> Option<Self> {
        codec::decode(bytes).filter(|builder: &Self| builder.mesh == *mesh)
    }

    /// Canonical bytes, to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decisions that no block holds yet.
    #[must_use]
    pub fn decisions(&self) -> usize {
        self.decisions.len()
    }

    /// Records that no block holds yet.
    #[must_use]
    pub fn attested(&self) -> usize {
        self.attested.len()
    }

    /// Takes a record that the gateway alone attests.
    ///
    /// # Errors
    /// [`BuildError::Full`]: the record is not taken.
    pub fn attest(&mut self, record: AttestedRecord) -> Result<(), BuildError> {
        self.attested.push(record).map_err(|_| BuildError::Full)
    }

    /// The header that would close the block now; `state` is the state after the last decision handed over.
    /// `time_ms` is what the clocks say; the header has the nearest time that the chain allows (DC-61).
    #[must_use]
    pub fn header(&self, state: &State, time_ms: u64) -> BlockHeader {
        let before = state.event();
        BlockHeader {
            number: before.number + 1,
            previous: before.hash,
            tree_size: state.height(),
            tree_root: state.tree().root(),
            attested_root: attested_root(&self.mesh, &self.attested),
            attested_count: self.attested.len() as u32,
            finality: Finality::Final,
            members: state.members(),
            time_ms: state.time_near(time_ms),
        }
    }

    /// Takes the next decision. Returns the block that it closes, if it is a header; what was attested after that
    /// header was made goes to the next block.
    ///
    /// # Errors
    /// [`BuildError`]; nothing is changed.
    pub fn decide(&mut self, bytes: TxBytes) -> Result<Option<Block>, BuildError> {
        let Some(Transaction::EventBlock(header)) = Transaction::decode(&bytes) else {
            return self.decisions.push(bytes).map(|()| None).map_err(|_| BuildError::Full);
        };
        let count = header.attested_count as usize;
        let covered = self.attested.get(..count).ok_or(BuildError::UnknownHeader)?;
        if attested_root(&self.mesh, covered) != header.attested_root {
            return Err(BuildError::UnknownHeader);
        }
        let later = self.attested.split_off(count);
        let attested = core::mem::replace(&mut self.attested, later);
        let decisions = core::mem::take(&mut self.decisions);
        self.decisions.push(bytes).map_err(|_| BuildError::Full)?;
        Ok(Some(Block { header, decisions, attested: Some(attested), seals: Seals::new() }))
    }
}
