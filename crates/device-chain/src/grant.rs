//! Grants: orders from outside the car, signed by a fleet authority, bounded by chain height, usable once (DC-40).

use serde::{Deserialize, Serialize};

use crate::genesis::{Authority, Genesis};
use crate::hash::{Domain, hash_of};
use crate::sign::{self, SigningKey};
use crate::types::{Hash, Height, MeshId, PublicKey, Signature};

/// What an approval lets an ECU do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Open the doors.
    Unlock,
    /// Close them.
    Lock,
}

/// An order, before its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The one vehicle it is for.
    pub mesh: MeshId,
    /// Chosen by the issuer, unique per vehicle.
    pub serial: u64,
    /// What it allows.
    pub action: Action,
    /// Commitment to the account of whoever holds it; no personal data.
    pub holder: Hash,
    /// First height at which it may be used.
    pub not_before: Height,
    /// Last height at which it may be used.
    pub not_after: Height,
}

impl Grant {
    /// What is signed, and what a transaction names.
    #[must_use]
    pub fn digest(&self) -> Hash {
        hash_of(Domain::Grant, self)
    }
}

/// A grant with the issuer's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedGrant {
    /// What is signed.
    pub grant: Grant,
    /// By a fleet authority of the genesis.
    pub signature: Signature,
}

/// Why a grant is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantRefusal {
    /// For another vehicle.
    Foreign,
    /// No fleet authority of the genesis signed it.
    Signature,
    /// Its last height has passed.
    Expired,
    /// Its first height is still to come.
    Early,
    /// Its last height is further away than a car remembers.
    TooLong,
    /// Used before.
    Used,
    /// Too many grants are used and not expired.
    Full,
}

impl SignedGrant {
    /// Signs as a fleet authority.
    #[must_use]
    pub fn sign(grant: Grant, issuer: &SigningKey) -> Self {
        let signature = issuer.sign(Domain::Grant, &grant.digest());
        Self { grant, signature }
    }

    /// Whether it is for this car. Cheap.
    ///
    /// # Errors
    /// [`GrantRefusal::Foreign`].
    pub fn check_vehicle(&self, mesh: &MeshId) -> Result<(), GrantRefusal> {
        if self.grant.mesh == *mesh { Ok(()) } else { Err(GrantRefusal::Foreign) }
    }

    /// Whether one of `keys` signed it. One asymmetric operation a key: never on the approval path.
    #[must_use]
    pub fn is_signed_by<'k>(&self, mut keys: impl Iterator<Item = &'k PublicKey>) -> bool {
        let digest = self.grant.digest();
        keys.any(|key| sign::verify(key, Domain::Grant, &digest, &self.signature))
    }

    /// Both checks, against a genesis.
    ///
    /// # Errors
    /// [`GrantRefusal::Foreign`] or [`GrantRefusal::Signature`].
    pub fn check(&self, genesis: &Genesis) -> Result<(), GrantRefusal> {
        self.check_vehicle(&genesis.mesh())?;
        if self.is_signed_by(genesis.keys_of(Authority::Fleet)) { Ok(()) } else { Err(GrantRefusal::Signature) }
    }
}
