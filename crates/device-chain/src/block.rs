//! The header of an Event Chain block: what validators approve and seal. Its body lives in the gateway and the cloud.

use serde::{Deserialize, Serialize};

use crate::hash::{Domain, hash_of};
use crate::members::Members;
use crate::sign::{self, SigningKey};
use crate::types::{Hash, Height, MeshId, PublicKey, Signature, ValidatorIndex};

/// How sure a decision or a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Finality {
    /// May be undone: fewer than a quorum stand behind it.
    Provisional,
    /// A quorum stands behind it.
    Final,
}

/// The head of a block (DC-50).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHeader {
    /// From 1, without gaps.
    pub number: u32,
    /// Hash of the header before; of block 1: the mesh identity.
    pub previous: Hash,
    /// The block holds all decisions up to this height.
    pub tree_size: Height,
    /// RFC 9162 root over the hashes of all decisions 1 to `tree_size`.
    pub tree_root: Hash,
    /// RFC 9162 root over the records that the gateway alone attests.
    pub attested_root: Hash,
    /// How many those are.
    pub attested_count: u32,
    /// Of the decisions: provisional if one of them was made by less than a quorum.
    pub finality: Finality,
    /// Whose seals count: the members at the height that decides this header (S3).
    pub members: Members,
    /// The agreed time from here on, milliseconds of Unix time (DC-61). The same as before says nothing new (DC-62).
    pub time_ms: u64,
}

impl BlockHeader {
    /// The hash that the next block and the seals name.
    #[must_use]
    pub fn hash(&self, mesh: &MeshId) -> Hash {
        hash_of(Domain::Block, &(mesh, self))
    }
}

/// A validator's signature of a header: transferable proof that it durably decided the block (S1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Who signed.
    pub validator: ValidatorIndex,
    /// Over the header's hash.
    pub signature: Signature,
}

impl Seal {
    /// Signs a header's hash.
    #[must_use]
    pub fn sign(validator: ValidatorIndex, key: &SigningKey, header: &Hash) -> Self {
        Self { validator, signature: key.sign(Domain::Block, header) }
    }

    /// Whether `key` signed `header`.
    #[must_use]
    pub fn is_valid(&self, key: &PublicKey, header: &Hash) -> bool {
        sign::verify(key, Domain::Block, header, &self.signature)
    }
}
