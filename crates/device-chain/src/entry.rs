//! What the chain says of each device and of each key outside the car: pages of entries, and the tree over them by which
//! anybody can check one (DC-48).

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::codec::{take, take_list};
use crate::genesis::{Authority, AuthorityEntry, Identity, RawIdentifier};
use crate::hash::merkle_of;
use crate::keys::Device;
use crate::limits::{
    MAX_AUTHORITIES, MAX_ENDPOINTS, MAX_PAGES, MAX_RETIRED_KEYS, MAX_UPDATES, MAX_VALIDATORS, PAGE_ENTRIES,
};
use crate::merkle::{self, Side, node};
use crate::types::{Hash, PublicKey};

/// How often an entry was changed: an order names the change that it comes after, and so is used once (DC-46).
pub type Generation = u16;

/// How a device stands with the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It belongs to the car and runs what the chain says.
    #[default]
    Trusted,
    /// It has said itself that it runs something else (DC-47).
    Untrusted,
    /// It belongs to the car no more.
    Revoked,
}

/// What the chain says of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is known by.
    pub identity: Identity,
    /// Digest of the firmware that it runs when nothing is wrong; all zeros: of no firmware that anybody has named.
    pub firmware: Hash,
    /// Changes so far.
    pub generation: Generation,
    /// How it stands.
    pub standing: Standing,
}

impl Entry {
    /// Of a place where nobody ever was.
    pub(crate) const NONE: Self = Self::new(Identity::A(PublicKey::NONE), Hash::NIL);

    /// As the genesis has it.
    #[must_use]
    pub const fn new(identity: Identity, firmware: Hash) -> Self {
        Self { identity, firmware, generation: 0, standing: Standing::Trusted }
    }

    /// Its Ed25519 key, if it has one (DC-72).
    #[must_use]
    pub const fn key(&self) -> Option<&PublicKey> {
        self.identity.key()
    }

    /// Whether it belongs to the car.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        !matches!(self.standing, Standing::Revoked)
    }
}

/// What the chain says of a key outside the car.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Role and key; a key of zeros: nobody.
    pub authority: AuthorityEntry,
    /// Changes so far.
    pub generation: Generation,
}

impl Holder {
    /// Whether somebody is there who has this role.
    #[must_use]
    pub fn is(&self, role: Authority) -> bool {
        self.authority.authority == role && self.authority.key != PublicKey::NONE
    }
}

/// What the chain says of the car as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vehicle {
    /// Changes so far: of the owner, of what was stored, of its life.
    pub generation: Generation,
    /// It has been scrapped: nothing is allowed any more.
    pub ended: bool,
}

/// A firmware that a device may run beside the present one, until it has said that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Which device.
    pub device: Device,
    /// Digest of the new firmware.
    pub firmware: Hash,
}

/// First bytes of an identity that may not come back.
pub(crate) type RetiredKey = [u8; 8];

/// One line of the registry, as it is a leaf of its tree: it says itself what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Leaf {
    /// A device and the identifiers that it may send: one of an endpoint, four of a validator.
    Device(Device, Vec<RawIdentifier, 4>, Entry),
    /// A key outside the car, by its place.
    Authority(u8, Holder),
    /// The car, its open updates, and the identities that may not come back.
    Vehicle(Vehicle, Vec<Update, MAX_UPDATES>, Vec<RetiredKey, MAX_RETIRED_KEYS>),
}

impl Leaf {
    /// Its hash in the tree.
    #[must_use]
    pub fn hash(&self) -> Hash {
        merkle_of(0, self)
    }
}

/// That a leaf is in the tree: what is beside the way to its root, the lowest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof(pub Vec<(Side, Hash), 10>);

impl Proof {
    /// The root of the tree in which the leaf is.
    #[must_use]
    pub fn root(&self, leaf: &Leaf) -> Hash {
        self.0.iter().fold(leaf.hash(), |below, (side, beside)| match side {
            Side::Left => node(beside, &below),
            Side::Right => node(&below, beside),
        })
    }
}

/// What decisions change of a registry.
#[derive(Clone)]
pub(crate) struct Entries {
    pub validators: Vec<Entry, MAX_VALIDATORS>,
    pub endpoints: Vec<Entry, MAX_ENDPOINTS>,
    pub authorities: Vec<Holder, MAX_AUTHORITIES>,
    pub vehicle: Vehicle,
    pub updates: Vec<Update, MAX_UPDATES>,
    pub retired: Vec<RetiredKey, MAX_RETIRED_KEYS>,
    /// Hashes of the pages, where they are known since they changed last.
    pub pages: [Option<Hash>; MAX_PAGES],
}

impl Entries {
    /// Of no car.
    pub const NONE: Self = Self {
        validators: Vec::new(),
        endpoints: Vec::new(),
        authorities: Vec::new(),
        vehicle: Vehicle { generation: 0, ended: false },
        updates: Vec::new(),
        retired: Vec::new(),
        pages: [None; MAX_PAGES],
    };

    /// A device's.
    pub fn get(&self, device: Device) -> Option<&Entry> {
        match device {
            Device::Validator(at) => self.validators.get(usize::from(at)),
            Device::Endpoint(at) => self.endpoints.get(usize::from(at)),
        }
    }

    /// The same to change it.
    pub fn get_mut(&mut self, device: Device) -> Option<&mut Entry> {
        self.pages[page_of(device)] = None;
        match device {
            Device::Validator(at) => self.validators.get_mut(usize::from(at)),
            Device::Endpoint(at) => self.endpoints.get_mut(usize::from(at)),
        }
    }

    /// Those of the page of an endpoint.
    pub fn of_page(&self, page: usize) -> &[Entry] {
        let from = (page.saturating_sub(1) * PAGE_ENTRIES).min(self.endpoints.len());
        &self.endpoints[from..self.endpoints.len().min(from + PAGE_ENTRIES)]
    }

    /// Reads the page of validators, authorities and the vehicle.
    pub fn take_first(&mut self, bytes: &mut &[u8]) -> Option<()> {
        take_list(bytes, &mut self.validators)?;
        take_list(bytes, &mut self.authorities)?;
        self.vehicle = take(bytes)?;
        take_list(bytes, &mut self.updates)?;
        take_list(bytes, &mut self.retired)
    }
}

/// The page on which a device stands.
pub(crate) const fn page_of(device: Device) -> usize {
    match device {
        Device::Validator(_) => 0,
        Device::Endpoint(at) => 1 + at as usize / PAGE_ENTRIES,
    }
}

/// The root over pages with these roots.
pub(crate) fn root_of(pages: &[Hash; MAX_PAGES]) -> Hash {
    merkle::root(&|at| pages[at], 0, MAX_PAGES)
}
