//! A block: header, the decisions it covers, what the gateway alone attests, and the validators' seals.

use alloc::vec::Vec;
use core::fmt;

use device_chain::block::{BlockHeader, Seal};
use device_chain::limits::{MAX_TX, MAX_VALIDATORS};
use device_chain::registry::{Devices, Registry};
use device_chain::tx::TxBytes;
use device_chain::types::{Hash, Height, MeshId};
use serde::{Deserialize, Serialize};

use crate::codec::{List, encode};
use crate::merkle;
use crate::record::{AttestedRecord, MAX_RECORD_BYTES};

/// Bytes of an encoded block.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;
/// Decisions of a block. Only the gateway closes blocks: it must not be away for longer than this.
pub const MAX_DECISIONS: usize = 3072;
/// Records of a block that the gateway alone attests.
pub const MAX_ATTESTED: usize = 2560;
/// Bytes of a header, the seals and the lengths of the lists.
const MAX_FRAME: usize = 1024;

const _: () = assert!(
    MAX_FRAME + MAX_DECISIONS * (MAX_TX + 2) + MAX_ATTESTED * MAX_RECORD_BYTES <= MAX_BLOCK_BYTES,
    "a block within its counts is within its bytes"
);

/// Encoded transactions in the order of their heights.
pub type Decisions = List<TxBytes, MAX_DECISIONS>;
/// Records that the gateway alone attests, in its order.
pub type Records = List<AttestedRecord, MAX_ATTESTED>;
/// Seals, by rising validator: so none is there twice.
pub type Seals = heapless::Vec<Seal, MAX_VALIDATORS>;

/// A block of the Event Chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// What was approved and sealed.
    pub header: BlockHeader,
    /// The decisions above the block before, up to `header.tree_size`.
    pub decisions: Decisions,
    /// All records under `header.attested_root`; `None` if the car had to give them up for want of storage.
    pub attested: Option<Records>,
    /// Signatures over the header's hash. More may come later.
    pub seals: Seals,
}

/// Bytes that are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// More than [`MAX_BLOCK_BYTES`].
    TooLarge(usize),
    /// Not the canonical encoding of a block.
    Malformed,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(bytes) => write!(f, "{bytes} bytes, a block has at most {MAX_BLOCK_BYTES}"),
            Self::Malformed => f.write_str("not a block: damaged, cut short, or not in canonical form"),
        }
    }
}

impl core::error::Error for BlockError {}

impl Block {
    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// From canonical bytes. Whether it is a block of some car is for [`crate::verify::ChainVerifier`] to say.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(BlockError::TooLarge(bytes.len()));
        }
        device_chain::codec::decode(bytes).ok_or(BlockError::Malformed)
    }

    /// The header's hash: the block's name.
    #[must_use]
    pub fn hash(&self, mesh: &MeshId) -> Hash {
        self.header.hash(mesh)
    }

    /// The height of the first of [`Self::decisions`]. Means something only in a block that was verified.
    #[must_use]
    pub fn first_height(&self) -> Height {
        self.header.tree_size.saturating_sub(self.decisions.len() as u32).saturating_add(1)
    }

    /// Seals that count: those of the members at the height that decided the header (S3).
    #[must_use]
    pub fn counted_seals(&self) -> usize {
        self.seals.iter().filter(|seal| self.header.members.contains(seal.validator)).count()
    }

    /// Adds a seal if it is valid and its validator has none yet. Returns whether it was added.
    pub fn add_seal(&mut self, seal: Seal, registry: &Registry) -> bool {
        let Err(place) = self.seals.binary_search_by_key(&seal.validator, |seal| seal.validator) else { return false };
        let Some(key) = registry.validator_key(seal.validator) else { return false };
        seal.is_valid(key, &self.hash(&registry.mesh())) && self.seals.insert(place, seal).is_ok()
    }
}

/// The root over records that the gateway alone attests.
#[must_use]
pub fn attested_root(mesh: &MeshId, records: &[AttestedRecord]) -> Hash {
    let leaves: Vec<Hash> = records.iter().map(|record| record.leaf(mesh)).collect();
    merkle::root(&leaves)
}
