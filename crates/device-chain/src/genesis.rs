//! Genesis: who belongs to the car, on which identifiers, under which rules; signed by the maker at the end of the line.

use core::borrow::Borrow;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::hash::{Domain, hash_of};
use crate::limits::{MAX_AUTHORITIES, MAX_ENDPOINTS, MAX_NAME, MAX_TAG, MAX_VALIDATORS, MIN_VALIDATORS};
use crate::mac::Suite;
use crate::quorum::Quorum;
use crate::sign::{self, SigningKey};
use crate::types::{Hash, MeshId, PublicKey, Signature, ValidatorIndex};
use crate::wire::Class;

/// Version of the wire format and of the rules, 1 to 15 (DC-2).
pub const WIRE_VERSION: u8 = 1;

/// A short printable name.
pub type Name = String<MAX_NAME>;

/// A CAN identifier as SocketCAN writes it: bit 31 marks 29 bits.
pub type RawIdentifier = u32;

/// What a validator does besides voting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Joins the segments, builds the Event Chain, runs the uplink. Exactly one.
    Gateway,
    /// Engine and transmission.
    Powertrain,
    /// Brakes and steering.
    Chassis,
    /// Driver assistance.
    Adas,
    /// Doors, locks, lights. Carries out unlock grants.
    Body,
    /// Radio links.
    Telematics,
    /// High-voltage battery.
    Battery,
    /// Anything else.
    Other,
}

/// The four identifiers of a validator, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifiers {
    /// PREVOTE, READY, PRECOMMIT.
    pub vote: RawIdentifier,
    /// PROPOSE.
    pub propose: RawIdentifier,
    /// HELLO, CONFIRM, DECIDED, FETCH, SYNC, ACK.
    pub control: RawIdentifier,
    /// GRANT, SEAL, VALUE, STATE: nothing that an approval waits for.
    pub bulk: RawIdentifier,
}

impl Identifiers {
    /// All four, in the order of their classes.
    #[must_use]
    pub const fn all(&self) -> [RawIdentifier; 4] {
        [self.vote, self.propose, self.control, self.bulk]
    }

    /// The one that carries messages of a class.
    #[must_use]
    pub const fn of(&self, class: Class) -> RawIdentifier {
        match class {
            Class::Vote => self.vote,
            Class::Propose => self.propose,
            Class::Control => self.control,
            Class::Bulk | Class::Record => self.bulk,
        }
    }
}

/// A validator in the genesis. Its place in the list is its [`ValidatorIndex`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorEntry {
    /// Name, unique in the car.
    pub name: Name,
    /// What it does.
    pub role: Role,
    /// Ed25519 identity.
    pub key: PublicKey,
    /// Digest of its firmware ([`crate::entry::Entry::firmware`]).
    pub firmware: Hash,
    /// The identifiers that it, and nobody else, sends.
    pub identifiers: Identifiers,
}

/// What an endpoint is known by, of its class (DC-72).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Its Ed25519 key: it agrees on its pairwise keys itself.
    A(PublicKey),
    /// The smallest chips: it has no more than the pairwise keys that it was given, and this is the
    /// [commitment](crate::keys::commitment) to them.
    S(Hash),
}

impl Identity {
    /// Its Ed25519 key, of class A.
    #[must_use]
    pub const fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::A(key) => Some(key),
            Self::S(_) => None,
        }
    }

    /// Its 32 bytes, of either class.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        match self {
            Self::A(key) => &key.0,
            Self::S(commitment) => &commitment.0,
        }
    }
}

/// A device without a vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointEntry {
    /// Name, unique in the car.
    pub name: Name,
    /// What it is known by.
    pub identity: Identity,
    /// Digest of its firmware ([`crate::entry::Entry::firmware`]).
    pub firmware: Hash,
    /// The identifier of its records.
    pub identifier: RawIdentifier,
}

/// What a key outside the car may sign. Append variants, never reorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authority {
    /// Grants: unlock, lock.
    Fleet,
    /// Receipts for archived blocks.
    Archive,
    /// Who made the car: its validators, its firmware, the keys of the others.
    Maker,
    /// Who repairs it: provisions and replaces devices, never alone.
    Workshop,
    /// Whose car it is.
    Owner,
}

/// A key outside the car.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityEntry {
    /// What it may sign.
    pub authority: Authority,
    /// Its Ed25519 key.
    pub key: PublicKey,
}

/// How many different keys of a role have to sign an order (DC-46). A role with fewer keys needs all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Of the maker's.
    pub maker: u8,
    /// Of the workshop's.
    pub workshop: u8,
    /// Of the owner's.
    pub owner: u8,
}

impl Thresholds {
    /// One of each.
    pub const ONE: Self = Self { maker: 1, workshop: 1, owner: 1 };

    /// Of a role.
    #[must_use]
    pub const fn of(&self, role: Authority) -> u8 {
        match role {
            Authority::Maker => self.maker,
            Authority::Workshop => self.workshop,
            Authority::Owner => self.owner,
            Authority::Fleet | Authority::Archive => 1,
        }
    }
}

/// Rules of the car, agreed by being in the genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Bound Δ of one phase: worst response time on the bus, write to flash, check (W1). Microseconds.
    pub phase_us: u32,
    /// Interval of DECIDED heartbeats, microseconds.
    pub heartbeat_us: u32,
    /// Signatures that orders need.
    pub thresholds: Thresholds,
}

/// The first fact of the Device Chain. Its hash is the mesh identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// [`WIRE_VERSION`] of the mesh.
    pub version: u8,
    /// MAC of the mesh.
    pub suite: Suite,
    /// Vehicle identification, e.g. a VIN.
    pub vehicle: Name,
    /// When the car was made, milliseconds of Unix time: the agreed time begins here (DC-61).
    pub made_ms: u64,
    /// 4 to 8 validators.
    pub validators: Vec<ValidatorEntry, MAX_VALIDATORS>,
    /// Devices without a vote.
    pub endpoints: Vec<EndpointEntry, MAX_ENDPOINTS>,
    /// Keys outside the car.
    pub authorities: Vec<AuthorityEntry, MAX_AUTHORITIES>,
    /// Times.
    pub policy: Policy,
}

/// What is wrong with a genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenesisError {
    /// Not the canonical encoding of a genesis: damaged or of another version.
    Malformed,
    /// Written for another wire version.
    Version(u8),
    /// Not signed by the maker's key that was given.
    Signature,
    /// Fewer than 4 or more than 8 validators.
    Validators(usize),
    /// There must be exactly one validator with the role Gateway.
    Gateways(usize),
    /// A name, key or identifier stands twice, or the identifier is no CAN identifier.
    Duplicate(&'static str, Name),
    /// A vote identifier must be more urgent than all identifiers that are not votes.
    Priority(Name),
    /// A time or a threshold of the policy is zero.
    Policy,
    /// One key for two authorities, or a key of zeros: roles and thresholds would mean nothing.
    Authorities,
    /// The time at which the car was made is zero.
    Made,
}

impl core::fmt::Display for GenesisError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a genesis: damaged, cut short, or of an unknown format"),
            Self::Version(version) => write!(f, "wire version {version}, this program speaks {WIRE_VERSION}"),
            Self::Signature => f.write_str("the maker's signature does not match: wrong maker key or altered genesis"),
            Self::Validators(n) => write!(f, "{n} validators, {MIN_VALIDATORS} to {MAX_VALIDATORS} are needed"),
            Self::Gateways(n) => write!(f, "{n} validators with role Gateway, exactly one is needed"),
            Self::Duplicate(what, name) => write!(f, "{what} of {name} is used twice or is not valid"),
            Self::Priority(name) => write!(f, "vote identifier of {name} must be lower than every other identifier"),
            Self::Policy => f.write_str("phase_us, heartbeat_us and thresholds must be above zero"),
            Self::Authorities => {
                f.write_str("an authority's key is used twice or is all zeros: each needs one of its own")
            }
            Self::Made => f.write_str("made_ms must be above zero"),
        }
    }
}

impl core::error::Error for GenesisError {}

impl Genesis {
    /// The mesh identity.
    #[must_use]
    pub fn mesh(&self) -> MeshId {
        MeshId(hash_of(Domain::Genesis, self))
    }

    /// The thresholds of the full set.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        Quorum::full(self.validators.len())
    }

    /// Bytes of a tag on the wire: 8, or 6 where seven of them must fit a frame with its header (n = 8).
    #[must_use]
    pub fn tag_len(&self) -> usize {
        tag_len(self.validators.len())
    }

    /// The validator with this role, the first if there are several.
    #[must_use]
    pub fn with_role(&self, role: Role) -> Option<ValidatorIndex> {
        self.validators.iter().position(|v| v.role == role).map(|i| i as ValidatorIndex)
    }

    /// Keys that hold `authority`.
    pub fn keys_of(&self, authority: Authority) -> impl Iterator<Item = &PublicKey> {
        self.authorities.iter().filter(move |a| a.authority == authority).map(|a| &a.key)
    }

    /// Every rule that a genesis must satisfy beyond its signature (DC-1).
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), GenesisError> {
        check_frame(self.version, self.made_ms, &self.validators, &self.policy)?;
        check_authorities(self.authorities.iter())?;
        check_devices(&self.validators, || self.endpoints.iter())
    }

    /// All identifiers of the mesh with the name of their owner.
    pub fn identifiers(&self) -> impl Iterator<Item = (&Name, RawIdentifier)> + Clone {
        let validators = self.validators.iter().flat_map(|v| v.identifiers.all().map(|id| (&v.name, id)));
        validators.chain(self.endpoints.iter().map(|e| (&e.name, e.identifier)))
    }
}

/// As [`Genesis::tag_len`].
pub(crate) const fn tag_len(validators: usize) -> usize {
    if validators <= 7 { MAX_TAG } else { 6 }
}

/// What [`Genesis::check`] says of all but the devices one by one.
pub(crate) fn check_frame(
    version: u8,
    made_ms: u64,
    validators: &[ValidatorEntry],
    policy: &Policy,
) -> Result<(), GenesisError> {
    if version != WIRE_VERSION {
        return Err(GenesisError::Version(version));
    }
    let n = validators.len();
    if !(MIN_VALIDATORS..=MAX_VALIDATORS).contains(&n) {
        return Err(GenesisError::Validators(n));
    }
    let gateways = validators.iter().filter(|v| v.role == Role::Gateway).count();
    if gateways != 1 {
        return Err(GenesisError::Gateways(gateways));
    }
    let Policy { phase_us, heartbeat_us, thresholds: Thresholds { maker, workshop, owner } } = policy;
    if *phase_us == 0 || *heartbeat_us == 0 || [maker, workshop, owner].contains(&&0) {
        return Err(GenesisError::Policy);
    }
    if made_ms == 0 {
        return Err(GenesisError::Made);
    }
    Ok(())
}

/// DC-46: thresholds count different keys, and one key has one role.
pub(crate) fn check_authorities<'a>(
    authorities: impl Iterator<Item = &'a AuthorityEntry> + Clone,
) -> Result<(), GenesisError> {
    let sound = |(at, entry): (usize, &AuthorityEntry)| {
        entry.key != PublicKey::NONE && authorities.clone().take(at).all(|other| other.key != entry.key)
    };
    if authorities.clone().enumerate().all(sound) { Ok(()) } else { Err(GenesisError::Authorities) }
}

/// What it says of the devices: names, keys and identifiers stand once, and votes are the most urgent. `endpoints` may read
/// them from the flash each time.
pub(crate) fn check_devices<E: Borrow<EndpointEntry>, I: Iterator<Item = E>>(
    validators: &[ValidatorEntry],
    endpoints: impl Fn() -> I,
) -> Result<(), GenesisError> {
    for (at, entry) in validators.iter().enumerate() {
        check_first(&validators[..at], endpoints().take(0), &entry.name, &entry.key.0, &entry.identifiers.all())?;
    }
    for (at, entry) in endpoints().enumerate() {
        let EndpointEntry { name, identity, identifier, .. } = entry.borrow();
        check_first(validators, endpoints().take(at), name, identity.bytes(), &[*identifier])?;
    }
    let others = validators.iter().flat_map(|v| [v.identifiers.propose, v.identifiers.control, v.identifiers.bulk]);
    let most_urgent = others.chain(endpoints().map(|e| e.borrow().identifier)).map(arbitration).min();
    match validators.iter().find(|v| Some(arbitration(v.identifiers.vote)) >= most_urgent) {
        Some(late) => Err(GenesisError::Priority(late.name.clone())),
        None => Ok(()),
    }
}

/// Whether a device shares nothing with those before it.
fn check_first<E: Borrow<EndpointEntry>>(
    validators: &[ValidatorEntry],
    endpoints: impl Iterator<Item = E>,
    name: &Name,
    key: &[u8; 32],
    identifiers: &[RawIdentifier],
) -> Result<(), GenesisError> {
    let twice = |what| Err(GenesisError::Duplicate(what, name.clone()));
    let again = (1..).zip(identifiers).any(|(next, id)| !is_identifier(*id) || identifiers[next..].contains(id));
    if again {
        return twice("identifier");
    }
    let differs = |other: (&Name, &[u8; 32], &[RawIdentifier])| match other {
        (known, ..) if known == name => twice("name"),
        (_, known, _) if known == key => twice("key"),
        (.., known) if identifiers.iter().any(|id| known.contains(id)) => twice("identifier"),
        _ => Ok(()),
    };
    validators.iter().try_for_each(|v| differs((&v.name, &v.key.0, &v.identifiers.all())))?;
    let mut endpoints = endpoints;
    endpoints.try_for_each(|e| {
        let EndpointEntry { name, identity, identifier, .. } = e.borrow();
        differs((name, identity.bytes(), &[*identifier]))
    })
}

const EXTENDED: u32 = 1 << 31;

pub(crate) fn is_identifier(raw: RawIdentifier) -> bool {
    if raw & EXTENDED == 0 { raw < 1 << 11 } else { raw & !EXTENDED < 1 << 29 }
}

/// Order of arbitration: lower wins; a base frame wins against an extended one with the same first 11 bits.
pub(crate) fn arbitration(raw: RawIdentifier) -> u32 {
    if raw & EXTENDED == 0 { raw << 19 } else { (raw & !EXTENDED) << 1 | 1 << 18 | 1 }
}

/// A genesis with the maker's signature: what is flashed into every ECU and given to the cloud out of band.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedGenesis {
    /// What is signed.
    pub genesis: Genesis,
    /// By the maker's key.
    pub signature: Signature,
}

impl SignedGenesis {
    /// Signs as the maker.
    #[must_use]
    pub fn sign(genesis: Genesis, maker: &SigningKey) -> Self {
        let signature = maker.sign(Domain::Genesis, &genesis.mesh().0);
        Self { genesis, signature }
    }

    /// Decodes and checks everything: canonical form, maker's signature, rules.
    ///
    /// # Errors
    /// What is wrong, for a person to read.
    pub fn open(bytes: &[u8], maker: &PublicKey) -> Result<Genesis, GenesisError> {
        let signed: Self = codec::decode(bytes).ok_or(GenesisError::Malformed)?;
        if !sign::verify(maker, Domain::Genesis, &signed.genesis.mesh().0, &signed.signature) {
            return Err(GenesisError::Signature);
        }
        signed.genesis.check()?;
        Ok(signed.genesis)
    }
}
