//! Grants: orders from outside the car, signed by a fleet authority, bounded by chain height, usable once (DC-40).

use serde::{Deserialize, Serialize};

use crate::genesis::{Authority, AuthorityEntry};
use crate::hash::{Domain, hash_of};
use crate::limits::GRANT_WINDOW;
use crate::registry::Devices;
use crate::sign::{self, SigningKey};
use crate::types::{Hash, Height, MeshId, Signature};

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
    /// The fleet authority that signs, by its place in the genesis.
    pub issuer: u8,
    /// Rises with each grant that the issuer gives this vehicle.
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

    /// What a transaction says of it.
    #[must_use]
    pub fn usage(&self) -> GrantUse {
        self.usage_named(self.digest())
    }

    /// The same where the digest is known.
    pub(crate) const fn usage_named(&self, digest: Hash) -> GrantUse {
        let Self { issuer, serial, action, not_after, .. } = *self;
        GrantUse { digest, issuer, serial, action, not_after }
    }
}

/// The use of a grant: its digest, and what the chain must know to judge it and to remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantUse {
    /// [`Grant::digest`].
    pub digest: Hash,
    /// Who signed it, by its place in the genesis.
    pub issuer: u8,
    /// The issuer's serial.
    pub serial: u64,
    /// What it allows.
    pub action: Action,
    /// Last height at which it may be used.
    pub not_after: Height,
}

/// The serials of one issuer that were used: each is taken once, in any order within [`GRANT_WINDOW`] (DC-41).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedSerials {
    highest: u64,
    seen: u64,
}

impl UsedSerials {
    /// Whether a grant with this serial was used, or is too far behind to tell.
    #[must_use]
    pub fn contains(&self, serial: u64) -> bool {
        match self.highest.checked_sub(serial) {
            None => false,
            Some(age) => age >= u64::from(GRANT_WINDOW) || self.seen & (1 << age) != 0,
        }
    }

    /// Remembers a serial.
    pub fn insert(&mut self, serial: u64) {
        if let Some(ahead) = serial.checked_sub(self.highest) {
            self.seen = if ahead < u64::from(GRANT_WINDOW) { self.seen << ahead } else { 0 };
            self.highest = serial;
        }
        let age = self.highest - serial;
        if age < u64::from(GRANT_WINDOW) {
            self.seen |= 1 << age;
        }
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
    /// Used before, or so much older than the newest one used that nobody remembers.
    Used,
    /// Its issuer is no fleet authority of this car.
    Issuer,
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

    /// Whether its issuer is a fleet authority of the genesis and signed it. An asymmetric operation: never on the
    /// approval path.
    #[must_use]
    pub fn is_genuine(&self, genesis: &impl Devices) -> bool {
        let issuer = genesis.authority(self.grant.issuer);
        issuer.is_some_and(|issuer| self.is_signed_by(issuer))
    }

    /// The same for an issuer that was looked up before.
    #[must_use]
    pub fn is_signed_by(&self, issuer: &AuthorityEntry) -> bool {
        issuer.authority == Authority::Fleet
            && sign::verify(&issuer.key, Domain::Grant, &self.grant.digest(), &self.signature)
    }

    /// Both checks, against a genesis.
    ///
    /// # Errors
    /// [`GrantRefusal::Foreign`] or [`GrantRefusal::Signature`].
    pub fn check(&self, genesis: &impl Devices) -> Result<(), GrantRefusal> {
        self.check_vehicle(&genesis.mesh())?;
        if self.is_genuine(genesis) { Ok(()) } else { Err(GrantRefusal::Signature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serial_is_used_once_in_any_order_within_the_window() {
        let mut used = UsedSerials::default();
        for (serial, fresh) in
            [(1, true), (1, false), (3, true), (2, true), (66, true), (3, false), (4, true), (0, false)]
        {
            assert_eq!(!used.contains(serial), fresh, "{serial}");
            used.insert(serial);
        }
        used.insert(u64::MAX);
        assert!(used.contains(66) && used.contains(u64::MAX) && !used.contains(u64::MAX - 1));
    }
}
