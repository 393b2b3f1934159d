//! What a running node needs of a genesis, in a seventh of its memory: names and keys of devices stay in the flash.

use heapless::Vec;

use crate::codec::{take, take_list};
use crate::genesis::{
    Authority, AuthorityEntry, EndpointEntry, Genesis, GenesisError, Identifiers, Name, Policy, RawIdentifier, Role,
    ValidatorEntry, check_devices, check_frame,
};
use crate::hash::{Domain, hash_of_encoding};
use crate::keys::Device;
use crate::limits::{MAX_AUTHORITIES, MAX_ENDPOINTS, MAX_VALIDATORS};
use crate::mac::Suite;
use crate::plan::Plan;
use crate::quorum::Quorum;
use crate::sign;
use crate::types::{Hash, MeshId, PublicKey, Signature, ValidatorIndex};

/// What the chain's rules look at: a [`Genesis`], or the [`Registry`] made of it.
pub trait Devices {
    /// The mesh identity.
    fn mesh(&self) -> MeshId;
    /// How many validators there are.
    fn validators(&self) -> usize;
    /// Whether a validator is the gateway.
    fn is_gateway(&self, validator: ValidatorIndex) -> bool;
    /// How many endpoints there are.
    fn endpoints(&self) -> usize;
    /// How many keys outside the car there are.
    fn authorities(&self) -> usize;
    /// A key outside the car.
    fn authority(&self, at: u8) -> Option<&AuthorityEntry>;
    /// Whether an identifier is the mesh's.
    fn has_identifier(&self, identifier: RawIdentifier) -> bool;
}

impl Devices for Genesis {
    fn mesh(&self) -> MeshId {
        Self::mesh(self)
    }

    fn validators(&self) -> usize {
        self.validators.len()
    }

    fn is_gateway(&self, validator: ValidatorIndex) -> bool {
        self.validators.get(usize::from(validator)).is_some_and(|entry| entry.role == Role::Gateway)
    }

    fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    fn authorities(&self) -> usize {
        self.authorities.len()
    }

    fn authority(&self, at: u8) -> Option<&AuthorityEntry> {
        self.authorities.get(usize::from(at))
    }

    fn has_identifier(&self, identifier: RawIdentifier) -> bool {
        self.identifiers().any(|(_, known)| known == identifier)
    }
}

/// A genesis without the names and keys of its devices.
#[derive(Clone)]
pub struct Registry {
    mesh: MeshId,
    suite: Suite,
    policy: Policy,
    validators: Vec<(Role, Identifiers), MAX_VALIDATORS>,
    authorities: Vec<AuthorityEntry, MAX_AUTHORITIES>,
    endpoints: usize,
    plan: Plan,
}

impl Devices for Registry {
    fn mesh(&self) -> MeshId {
        self.mesh
    }

    fn validators(&self) -> usize {
        self.validators.len()
    }

    fn is_gateway(&self, validator: ValidatorIndex) -> bool {
        self.validators.get(usize::from(validator)).is_some_and(|(role, _)| *role == Role::Gateway)
    }

    fn endpoints(&self) -> usize {
        self.endpoints
    }

    fn authorities(&self) -> usize {
        self.authorities.len()
    }

    fn authority(&self, at: u8) -> Option<&AuthorityEntry> {
        self.authorities.get(usize::from(at))
    }

    fn has_identifier(&self, identifier: RawIdentifier) -> bool {
        self.plan.source(identifier).is_some()
    }
}

impl From<&Genesis> for Registry {
    fn from(genesis: &Genesis) -> Self {
        let validators = genesis.validators.iter().map(|validator| (validator.role, validator.identifiers)).collect();
        Self {
            mesh: genesis.mesh(),
            suite: genesis.suite,
            policy: genesis.policy,
            validators,
            authorities: genesis.authorities.clone(),
            endpoints: genesis.endpoints.len(),
            plan: Plan::new(genesis),
        }
    }
}

impl From<Genesis> for Registry {
    fn from(genesis: Genesis) -> Self {
        Self::from(&genesis)
    }
}

impl Registry {
    /// Of no car.
    pub(crate) const NONE: Self = Self {
        mesh: MeshId(Hash::NIL),
        suite: Suite::Cmac,
        policy: Policy { phase_us: 0, heartbeat_us: 0 },
        validators: Vec::new(),
        authorities: Vec::new(),
        endpoints: 0,
        plan: Plan::NONE,
    };

    /// Of a signed genesis as it lies in the flash, checked as [`SignedGenesis::open`](crate::genesis::SignedGenesis::open)
    /// does, without a copy of it in memory.
    ///
    /// # Errors
    /// What is wrong, for a person to read.
    pub fn open(bytes: &[u8], maker: &PublicKey) -> Result<Self, GenesisError> {
        let mut registry = Self::NONE;
        registry.read(bytes, maker)?;
        Ok(registry)
    }

    /// The same in its place.
    ///
    /// # Errors
    /// As [`Self::open`]; what is in its place then is of no use.
    pub(crate) fn read(&mut self, bytes: &[u8], maker: &PublicKey) -> Result<(), GenesisError> {
        let (genesis, signature) = bytes.split_last_chunk::<64>().ok_or(GenesisError::Malformed)?;
        self.mesh = MeshId(hash_of_encoding(Domain::Genesis, genesis));
        if !sign::verify(maker, Domain::Genesis, &self.mesh.0, &Signature::from_bytes(signature)) {
            return Err(GenesisError::Signature);
        }
        self.take(genesis).ok_or(GenesisError::Malformed)?
    }

    /// `None` unless canonical.
    #[inline(never)] // not on the stack of the verification
    fn take(&mut self, bytes: &[u8]) -> Option<Result<(), GenesisError>> {
        let rest = &mut &bytes[..];
        let version: u8 = take(rest)?;
        self.suite = take(rest)?;
        take::<Name>(rest)?;
        let mut entries: Vec<ValidatorEntry, MAX_VALIDATORS> = Vec::new();
        take_list(rest, &mut entries)?;
        let endpoints: u32 = take(rest)?;
        let list = *rest;
        for _ in 0..endpoints {
            take::<EndpointEntry>(rest)?;
        }
        take_list(rest, &mut self.authorities)?;
        self.policy = take(rest)?;
        if !rest.is_empty() || endpoints as usize > MAX_ENDPOINTS {
            return None;
        }
        let each = || (0..endpoints).scan(list, |list, _| take::<EndpointEntry>(list));
        let checked = check_frame(version, &entries, &self.policy).and_then(|()| check_devices(&entries, each));
        let identifiers = each().map(|endpoint| endpoint.identifier);
        self.plan.fill(entries.iter().map(|entry| entry.identifiers), identifiers);
        self.validators = entries.iter().map(|entry| (entry.role, entry.identifiers)).collect();
        self.endpoints = endpoints as usize;
        Some(checked)
    }

    /// The device with this identity in a signed genesis that was [opened](Self::open).
    #[must_use]
    pub fn find(bytes: &[u8], identity: &PublicKey) -> Option<Device> {
        let rest = &mut &bytes[..];
        take::<(u8, Suite, Name)>(rest)?;
        let entries: Vec<ValidatorEntry, MAX_VALIDATORS> = take(rest)?;
        let validator = (0..).zip(&entries).find(|(_, entry)| entry.key == *identity);
        let endpoints: u32 = take(rest)?;
        let mut each = (0..endpoints).map_while(|at| Some((at, take::<EndpointEntry>(rest)?)));
        let endpoint =
            || each.find(|(_, entry)| entry.identity.key() == Some(identity)).map(|(at, _)| Device::Endpoint(at as u8));
        validator.map(|(at, _)| Device::Validator(at)).or_else(endpoint)
    }

    /// MAC of the mesh.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Times.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The thresholds of the full set.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        Quorum::full(self.validators.len())
    }

    /// As [`Genesis::tag_len`].
    #[must_use]
    pub fn tag_len(&self) -> usize {
        crate::genesis::tag_len(self.validators.len())
    }

    /// The validator with this role, the first if there are several.
    #[must_use]
    pub fn with_role(&self, role: Role) -> Option<ValidatorIndex> {
        self.validators.iter().position(|(known, _)| *known == role).map(|at| at as ValidatorIndex)
    }

    /// A validator's identifiers.
    #[must_use]
    pub fn identifiers(&self, validator: ValidatorIndex) -> Option<&Identifiers> {
        self.validators.get(usize::from(validator)).map(|(_, identifiers)| identifiers)
    }

    /// Whose identifier is whose.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Keys that hold `authority`.
    pub fn keys_of(&self, authority: Authority) -> impl Iterator<Item = &PublicKey> {
        self.authorities.iter().filter(move |entry| entry.authority == authority).map(|entry| &entry.key)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::codec;
    use crate::genesis::{Identity, SignedGenesis};
    use crate::sign::SigningKey;
    use crate::validator::tests::car;

    /// As many devices as there may be.
    fn largest() -> Genesis {
        let mut genesis = car::genesis(MAX_VALIDATORS, "FULL");
        while genesis.endpoints.len() < MAX_ENDPOINTS {
            let at = genesis.endpoints.len() as u32;
            let key = PublicKey(core::array::from_fn(|byte| if byte < 4 { at.to_le_bytes()[byte] } else { 0xee }));
            let name = Name::try_from(std::format!("endpoint-{at}").as_str()).expect("short");
            let _ = genesis.endpoints.push(EndpointEntry {
                name,
                identity: Identity::A(key),
                identifier: 0x9000_0000 + at,
            });
        }
        genesis
    }

    fn signed(genesis: &Genesis) -> (Vec<u8>, PublicKey) {
        let maker = SigningKey::from_seed([9; 32]);
        let mut buffer = std::vec![0; 16 * 1024];
        let signed = SignedGenesis::sign(genesis.clone(), &maker);
        (codec::encode(&signed, &mut buffer).expect("fits").to_vec(), maker.public())
    }

    #[test]
    #[cfg_attr(miri, ignore = "Ed25519: minutes")]
    fn the_registry_read_from_the_flash_is_that_of_the_genesis() {
        for genesis in [car::genesis(4, "SMALL"), largest()] {
            let (bytes, maker) = signed(&genesis);
            let (read, made) = (Registry::open(&bytes, &maker).expect("sound"), Registry::from(&genesis));
            assert_eq!(
                (read.mesh(), read.validators(), read.endpoints()),
                (genesis.mesh(), made.validators(), made.endpoints())
            );
            assert_eq!(
                (read.suite(), *read.policy(), read.tag_len()),
                (genesis.suite, genesis.policy, genesis.tag_len())
            );
            assert_eq!(read.authorities, genesis.authorities);
            for (_, identifier) in genesis.identifiers() {
                assert_eq!(read.plan().source(identifier), made.plan().source(identifier));
                assert!(read.has_identifier(identifier) && !read.has_identifier(identifier ^ 0x4000_0000));
            }
            for (at, entry) in (0..).zip(&genesis.validators) {
                assert_eq!(read.identifiers(at), Some(&entry.identifiers));
                assert_eq!(Registry::find(&bytes, &entry.key), Some(Device::Validator(at)));
            }
            for (at, entry) in (0..).zip(&genesis.endpoints) {
                assert_eq!(Registry::find(&bytes, entry.identity.key().expect("class A")), Some(Device::Endpoint(at)));
            }
            assert_eq!(Registry::find(&bytes, &PublicKey([0xab; 32])), None);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Ed25519: minutes")]
    fn the_registry_refuses_what_the_genesis_does() {
        let changes: [fn(&mut Genesis); 9] = [
            |genesis| genesis.version += 1,
            |genesis| genesis.validators[0].role = Role::Other,
            |genesis| genesis.policy.phase_us = 0,
            |genesis| genesis.endpoints[150].name = genesis.endpoints[20].name.clone(),
            |genesis| genesis.endpoints[199].identity = Identity::A(genesis.validators[3].key),
            |genesis| (0..2).for_each(|at| genesis.endpoints[at].identity = Identity::S(Hash([7; 32]))),
            |genesis| genesis.endpoints[7].identifier = genesis.endpoints[6].identifier,
            |genesis| genesis.endpoints[7].identifier = genesis.validators[2].identifiers.bulk,
            |genesis| genesis.validators[5].identifiers.vote = 0x7ff,
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut genesis = largest();
            change(&mut genesis);
            let (bytes, maker) = signed(&genesis);
            let error = Registry::open(&bytes, &maker).err();
            assert!(error.is_some(), "change {at}");
            assert_eq!(error, SignedGenesis::open(&bytes, &maker).err(), "change {at}");
        }
        let (bytes, maker) = signed(&largest());
        for at in [0, 100, bytes.len() / 2, bytes.len() - 65, bytes.len() - 1] {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(Registry::open(&altered, &maker).is_err(), "byte {at}");
        }
        assert_eq!(Registry::open(&bytes[..60], &maker).err(), Some(GenesisError::Malformed));
        assert_eq!(Registry::open(&bytes, &PublicKey([7; 32])).err(), Some(GenesisError::Signature));
    }
}
