//! One hash function, SHA-256 (FIPS 180-4), never used without a domain.

use sha2::{Digest, Sha256};

use crate::codec;
use crate::types::Hash;

/// What is hashed or signed. The name goes in front, so that no two uses can be confused (DC-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A genesis: its hash is the mesh identity.
    Genesis,
    /// A decision of a height.
    Decision,
    /// The folded state after a height.
    State,
    /// A signed grant.
    Grant,
    /// An Event Chain block header.
    Block,
    /// A record that the gateway alone attests.
    Attested,
    /// An archive's receipt.
    Receipt,
    /// A pairwise key of two devices.
    PairKey,
    /// A session key of two validators.
    SessionKey,
    /// The subject of votes for nil.
    Nil,
    /// The body of a message.
    Body,
    /// An order that changes who belongs to the car.
    Order,
    /// A firmware image.
    Firmware,
    /// What is committed to of an endpoint that has symmetric keys only.
    Symmetric,
    /// That an endpoint is present: the subject of its tags, and its word of its firmware.
    Present,
    /// Which key opens a sealed key file.
    KeyBox,
    /// The pairwise key after another.
    NextKey,
    /// What two validators share by a refresh of one of them.
    Refresh,
}

impl Domain {
    pub(crate) const fn name(self) -> &'static [u8] {
        match self {
            Self::Genesis => b"ringfort/1/genesis",
            Self::Decision => b"ringfort/1/decision",
            Self::State => b"ringfort/1/state",
            Self::Grant => b"ringfort/1/grant",
            Self::Block => b"ringfort/1/block",
            Self::Attested => b"ringfort/1/attested",
            Self::Receipt => b"ringfort/1/receipt",
            Self::PairKey => b"ringfort/1/pair-key",
            Self::SessionKey => b"ringfort/1/session-key",
            Self::Nil => b"ringfort/1/nil",
            Self::Body => b"ringfort/1/body",
            Self::Order => b"ringfort/1/order",
            Self::Firmware => b"ringfort/1/firmware",
            Self::Symmetric => b"ringfort/1/symmetric",
            Self::Present => b"ringfort/1/present",
            Self::KeyBox => b"ringfort/1/key-box",
            Self::NextKey => b"ringfort/1/next-key",
            Self::Refresh => b"ringfort/1/refresh",
        }
    }
}

/// A hash being made: domain first, then parts, each behind its length.
pub struct Hasher(Sha256);

impl Hasher {
    /// Begins a hash in `domain`.
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.part(domain.name());
        hasher
    }

    /// Adds a part behind its length, so that the borders between parts count.
    pub fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u32).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

/// Hash of `parts` in `domain`.
#[must_use]
pub fn hash(domain: Domain, parts: &[&[u8]]) -> Hash {
    let mut hasher = Hasher::new(domain);
    for part in parts {
        hasher.part(part);
    }
    hasher.finish()
}

/// Hash of a value's canonical encoding in `domain`, without a buffer.
#[must_use]
pub fn hash_of<T: serde::Serialize>(domain: Domain, value: &T) -> Hash {
    let mut hasher = Hasher::new(domain);
    codec::feed(value, |bytes| hasher.0.update(bytes));
    hasher.finish()
}

/// The same of a value that is encoded already.
#[must_use]
pub fn hash_of_encoding(domain: Domain, encoding: &[u8]) -> Hash {
    let mut hasher = Hasher::new(domain);
    hasher.0.update(encoding);
    hasher.finish()
}

/// Plain SHA-256 of a prefix byte and parts, for the Merkle tree of RFC 9162 2.1.1, which brings its own domains.
#[must_use]
pub fn merkle(prefix: u8, parts: &[&[u8]]) -> Hash {
    let mut sha = Sha256::new();
    sha.update([prefix]);
    for part in parts {
        sha.update(part);
    }
    Hash(sha.finalize().into())
}

/// The same of a value's canonical encoding, without a buffer.
#[must_use]
pub fn merkle_of<T: serde::Serialize>(prefix: u8, value: &T) -> Hash {
    let mut sha = Sha256::new();
    sha.update([prefix]);
    codec::feed(value, |bytes| sha.update(bytes));
    Hash(sha.finalize().into())
}

#[cfg(test)]
mod vectors;
