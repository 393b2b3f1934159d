//! Orders that change who belongs to the car: signed outside of it, for one car, used once (DC-46).

use serde::{Deserialize, Serialize};

use crate::entry::Generation;
use crate::genesis::{Authority, Identity, RawIdentifier};
use crate::hash::{Domain, hash_of};
use crate::keys::Device;
use crate::registry::{Devices, Registry};
use crate::sign::{self, SigningKey};
use crate::types::{Hash, Height, MeshId, PublicKey, Signature};

/// What an order changes. Append variants, never reorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A device comes to a place where none is any more, or to the first place of an endpoint that never had one.
    Provision {
        /// Its place.
        device: Device,
        /// What it is known by; a validator has an Ed25519 key.
        identity: Identity,
        /// What it runs.
        firmware: Hash,
        /// The identifier of an endpoint's records. A validator has those of its place: there this is zero.
        identifier: RawIdentifier,
    },
    /// Another device takes the place of one, with its identifiers.
    Replace {
        /// The place.
        device: Device,
        /// What the new device is known by.
        identity: Identity,
        /// What it runs.
        firmware: Hash,
    },
    /// A device may run another firmware, beside the present one until it says that it does.
    Update {
        /// Which.
        device: Device,
        /// Digest of the new firmware.
        firmware: Hash,
    },
    /// A device has a new identity key: the old one says so.
    Rotate {
        /// Which.
        device: Device,
        /// The new one.
        key: PublicKey,
    },
    /// A device belongs to the car no more.
    Revoke {
        /// Which.
        device: Device,
    },
    /// Another key, or none (zeros), at a place for keys outside the car. Not the owner's: see `Transfer`.
    Authority {
        /// The place.
        at: u8,
        /// Its role.
        role: Authority,
        /// The key.
        key: PublicKey,
    },
    /// The car has another owner, and no fleet. What was stored for the old one is erased.
    Transfer {
        /// The new owner's key.
        owner: PublicKey,
    },
    /// The car forgets its fleet, its alarms and what was stored for the owner.
    Reset,
    /// The car is scrapped: nothing is allowed any more.
    EndOfLife,
}

impl Change {
    /// The device that it is about.
    #[must_use]
    pub const fn device(&self) -> Option<Device> {
        match self {
            Self::Provision { device, .. }
            | Self::Replace { device, .. }
            | Self::Update { device, .. }
            | Self::Rotate { device, .. }
            | Self::Revoke { device } => Some(*device),
            Self::Authority { .. } | Self::Transfer { .. } | Self::Reset | Self::EndOfLife => None,
        }
    }

    /// The key that comes into the car or to power over it, which has to sign, too: it exists, and it wants to.
    #[must_use]
    pub fn newcomer(&self) -> Option<PublicKey> {
        let key = match self {
            Self::Provision { identity: Identity::A(key), .. }
            | Self::Replace { identity: Identity::A(key), .. }
            | Self::Rotate { key, .. }
            | Self::Authority { key, .. }
            | Self::Transfer { owner: key } => *key,
            // the smallest chips sign nothing (DC-72)
            Self::Provision { .. } | Self::Replace { .. } => return None,
            Self::Update { .. } | Self::Revoke { .. } | Self::Reset | Self::EndOfLife => return None,
        };
        (key != PublicKey::NONE).then_some(key)
    }

    /// One word for logs and status.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Provision { .. } => "provision",
            Self::Replace { .. } => "replace",
            Self::Update { .. } => "update",
            Self::Rotate { .. } => "rotate",
            Self::Revoke { .. } => "revoke",
            Self::Authority { .. } => "authority",
            Self::Transfer { .. } => "transfer",
            Self::Reset => "reset",
            Self::EndOfLife => "end-of-life",
        }
    }
}

/// An order without the car it is for: what a transaction says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What is changed.
    pub change: Change,
    /// The [`Generation`] of the entry that it changes: after another change it is worth nothing.
    pub generation: Generation,
    /// Last height at which it may be decided.
    pub not_after: Height,
}

impl Order {
    /// What is signed: the order for one car.
    #[must_use]
    pub fn digest(&self, mesh: &MeshId) -> Hash {
        hash_of(Domain::Order, &(mesh, self))
    }
}

/// Why an order cannot be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderRefusal {
    /// For another vehicle.
    Foreign,
    /// Its last height has passed.
    Expired,
    /// What it changes was changed since: it was used, or another one came before it.
    Superseded,
    /// There is no such place, or no device at it, or one already.
    Place,
    /// The key is in the car already, was revoked, or is no key.
    Key,
    /// The identifier is used, is none, or is more urgent than votes.
    Identifier,
    /// The firmware is the present one, or nobody's.
    Firmware,
    /// Too few validators would be left (R4).
    Members,
    /// Nobody could give orders of that kind any more, or it is not given in that way.
    Role,
    /// So many updates are under way that one has to end first.
    Full,
    /// The car has been scrapped.
    Ended,
    /// The key that has to sign did not sign it, or is unknown.
    Signature,
}

/// Whose signature it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signer {
    /// A key outside the car, by its place.
    Authority(u8),
    /// The key that comes: [`Change::newcomer`].
    Newcomer,
    /// The key that the device has until now.
    Device,
}

/// An order with one signature. It takes several to have it decided: each travels and is checked by itself. The car that it is
/// for is in what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// The order.
    pub order: Order,
    /// Whose signature this is.
    pub signer: Signer,
    /// The signature.
    pub signature: Signature,
}

impl Endorsement {
    /// Signs an order for a car.
    #[must_use]
    pub fn sign(mesh: &MeshId, order: Order, signer: Signer, key: &SigningKey) -> Self {
        Self { order, signer, signature: key.sign(Domain::Order, &order.digest(mesh)) }
    }

    /// The key that has to have signed.
    #[must_use]
    pub fn key(&self, registry: &Registry) -> Option<PublicKey> {
        match self.signer {
            Signer::Authority(at) => registry.authority(at).map(|authority| authority.key),
            Signer::Newcomer => self.order.change.newcomer(),
            Signer::Device => registry.entry(self.order.change.device()?)?.key().copied(),
        }
    }

    /// Whether that key has signed it for this car. An asymmetric operation: never on the approval path.
    #[must_use]
    pub fn is_genuine(&self, mesh: &MeshId, key: &PublicKey) -> bool {
        sign::verify(key, Domain::Order, &self.order.digest(mesh), &self.signature)
    }
}

/// Who has signed an order, as far as a node has checked it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signers {
    authorities: u8,
    newcomer: bool,
    device: bool,
}

const _: () = assert!(crate::limits::MAX_AUTHORITIES <= u8::BITS as usize, "a bit for each");

impl Signers {
    /// Adds one.
    pub fn insert(&mut self, signer: Signer) {
        match signer {
            Signer::Authority(at) => self.authorities |= 1u8.checked_shl(at.into()).unwrap_or(0),
            Signer::Newcomer => self.newcomer = true,
            Signer::Device => self.device = true,
        }
    }

    /// Whether that one has signed.
    #[must_use]
    pub fn contains(&self, signer: Signer) -> bool {
        match signer {
            Signer::Authority(at) => self.authorities & 1u8.checked_shl(at.into()).unwrap_or(0) != 0,
            Signer::Newcomer => self.newcomer,
            Signer::Device => self.device,
        }
    }

    /// Whether as many keys of a role have signed as the car's policy asks for.
    fn have(&self, role: Authority, registry: &Registry) -> bool {
        let holders = || (0..).zip(registry.holders()).filter(|(_, holder)| holder.is(role)).map(|(at, _)| at);
        let needed = holders().count().min(registry.policy().thresholds.of(role).into()).max(1);
        holders().filter(|at| self.contains(Signer::Authority(*at))).count() >= needed
    }

    /// DC-46: whether they may order that change. No role can bring a device into the car by itself.
    #[must_use]
    pub fn may(&self, change: &Change, registry: &Registry) -> bool {
        let have = |role| self.have(role, registry);
        let allowed = match change {
            Change::Provision { device, .. } | Change::Replace { device, .. } => {
                let sponsor = match device {
                    Device::Validator(_) => have(Authority::Maker),
                    Device::Endpoint(_) => have(Authority::Maker) || have(Authority::Owner),
                };
                sponsor && have(Authority::Workshop)
            }
            Change::Update { .. } => have(Authority::Maker),
            Change::Rotate { .. } => self.device,
            Change::Revoke { .. } => have(Authority::Maker) || have(Authority::Owner) && have(Authority::Workshop),
            Change::Authority { role: Authority::Fleet, .. } => have(Authority::Owner),
            Change::Authority { .. } => have(Authority::Maker),
            Change::Transfer { .. } | Change::Reset => have(Authority::Owner),
            Change::EndOfLife => have(Authority::Owner) && (have(Authority::Maker) || have(Authority::Workshop)),
        };
        allowed && (self.newcomer || change.newcomer().is_none())
    }
}
