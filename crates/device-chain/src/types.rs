//! Newtypes for what could be confused.

use core::{fmt, hash};

use serde::{Deserialize, Serialize};

/// Microseconds since boot. Never wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub u64);

impl Micros {
    /// This time and `us` microseconds, held at the end of time.
    #[must_use]
    pub const fn plus(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds since `earlier`, 0 if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A SHA-256 digest. Public: compared in variable time.
#[derive(Clone, Copy, Default, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl PartialEq for Hash {
    /// Word by word: what small chips are given for `memcmp` goes byte by byte.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_chunks::<4>().0.iter().eq(other.0.as_chunks::<4>().0)
    }
}

impl hash::Hash for Hash {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Hash {
    /// The value that votes carry for "nothing" (nil).
    pub const NIL: Self = Self([0; 32]);

    /// The first two bytes: the non-authoritative hint of the wire format (M3).
    #[must_use]
    pub const fn hint(&self) -> u16 {
        u16::from_le_bytes([self.0[0], self.0[1]])
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..")
    }
}

/// The identity of a mesh: the hash of its genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MeshId(pub Hash);

impl MeshId {
    /// The two bytes that every frame carries; the tags cover the whole.
    #[must_use]
    pub const fn short(&self) -> u16 {
        self.0.hint()
    }
}

/// A position in the sequence of decisions; 0 is the genesis.
pub type Height = u32;

/// A round of one height.
pub type Round = u8;

/// A validator's place in the genesis, from 0.
pub type ValidatorIndex = u8;

/// An Ed25519 public key (RFC 8032), 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Nobody's: of a place where nobody is.
    pub const NONE: Self = Self([0; 32]);
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Hash(self.0), f)
    }
}

/// An Ed25519 signature (RFC 8032): R and S, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature(pub [u8; 32], pub [u8; 32]);

impl Signature {
    /// From the 64 bytes of RFC 8032.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut halves = [[0; 32]; 2];
        halves[0].copy_from_slice(&bytes[..32]);
        halves[1].copy_from_slice(&bytes[32..]);
        Self(halves[0], halves[1])
    }

    /// As the 64 bytes of RFC 8032.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..].copy_from_slice(&self.1);
        bytes
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Hash(self.0), f)
    }
}
