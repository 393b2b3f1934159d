//! Who belongs to the car: the genesis without its names, which stay in the flash, and what decisions have changed since.
//! The state commits to it by the root of a tree (DC-48).

use heapless::Vec;

use crate::codec::{self, take, take_list};
use crate::entry::{Entries, Entry, Holder, Leaf, Proof, Standing, Update, Vehicle, page_of, root_of};
use crate::genesis::{
    Authority, AuthorityEntry, EndpointEntry, Genesis, GenesisError, Identifiers, Identity, Name, Policy,
    RawIdentifier, Role, Thresholds, ValidatorEntry, check_authorities, check_devices, check_frame,
};
use crate::hash::{Domain, hash_of_encoding};
use crate::keys::Device;
use crate::limits::{MAX_ENDPOINTS, MAX_PAGES, MAX_VALIDATORS, PAGE_ENTRIES, REGISTRY_BYTES};
use crate::mac::Suite;
use crate::members::Members;
use crate::merkle;
use crate::plan::Plan;
use crate::quorum::Quorum;
use crate::sign;
use crate::types::{Hash, MeshId, PublicKey, Signature, ValidatorIndex};

/// What the chain's rules look at: a [`Genesis`], or the [`Registry`] made of it.
pub trait Devices {
    /// The mesh identity.
    fn mesh(&self) -> MeshId;
    /// When the car was made, milliseconds of Unix time.
    fn made_ms(&self) -> u64;
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
    /// The validators that belong to the car.
    fn active(&self) -> Members {
        Members::all(self.validators())
    }
}

impl Devices for Genesis {
    fn mesh(&self) -> MeshId {
        Self::mesh(self)
    }

    fn made_ms(&self) -> u64 {
        self.made_ms
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

/// Who belongs to the car.
#[derive(Clone)]
pub struct Registry {
    mesh: MeshId,
    made_ms: u64,
    suite: Suite,
    policy: Policy,
    validators: Vec<(Role, Identifiers), MAX_VALIDATORS>,
    pub(crate) plan: Plan,
    pub(crate) entries: Entries,
    /// Root of the tree over the entries; all zeros while they are those of the genesis.
    root: Hash,
}

const _: () = assert!(size_of::<Registry>() <= REGISTRY_BYTES);

impl Devices for Registry {
    fn mesh(&self) -> MeshId {
        self.mesh
    }

    fn made_ms(&self) -> u64 {
        self.made_ms
    }

    fn validators(&self) -> usize {
        self.validators.len()
    }

    fn is_gateway(&self, validator: ValidatorIndex) -> bool {
        self.validators.get(usize::from(validator)).is_some_and(|(role, _)| *role == Role::Gateway)
    }

    fn endpoints(&self) -> usize {
        self.entries.endpoints.len()
    }

    fn authorities(&self) -> usize {
        self.entries.authorities.len()
    }

    fn authority(&self, at: u8) -> Option<&AuthorityEntry> {
        self.holder(at).map(|holder| &holder.authority).filter(|authority| authority.key != PublicKey::NONE)
    }

    fn has_identifier(&self, identifier: RawIdentifier) -> bool {
        self.plan.source(identifier).is_some()
    }

    fn active(&self) -> Members {
        (0..).zip(&self.entries.validators).filter(|(_, entry)| entry.is_active()).fold(
            Members::NONE,
            |mut all, (at, _)| {
                all.insert(at);
                all
            },
        )
    }
}

impl core::fmt::Debug for Registry {
    /// Whose it is, and its root: all of it is too long to be read.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Registry({:?}, {:?})", self.mesh, self.root)
    }
}

impl From<&Genesis> for Registry {
    fn from(genesis: &Genesis) -> Self {
        let mut entries = Entries::NONE;
        let validators = genesis.validators.iter();
        entries.validators.extend(validators.map(|entry| Entry::new(Identity::A(entry.key), entry.firmware)));
        let endpoints = genesis.endpoints.iter();
        entries.endpoints.extend(endpoints.map(|entry| Entry::new(entry.identity, entry.firmware)));
        entries.authorities.extend(genesis.authorities.iter().map(|entry| Holder { authority: *entry, generation: 0 }));
        Self {
            mesh: genesis.mesh(),
            made_ms: genesis.made_ms,
            suite: genesis.suite,
            policy: genesis.policy,
            validators: genesis.validators.iter().map(|entry| (entry.role, entry.identifiers)).collect(),
            plan: Plan::new(genesis),
            entries,
            root: Hash::NIL,
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
        made_ms: 0,
        suite: Suite::Cmac,
        policy: Policy { phase_us: 0, heartbeat_us: 0, thresholds: Thresholds { maker: 0, workshop: 0, owner: 0 } },
        validators: Vec::new(),
        plan: Plan::NONE,
        entries: Entries::NONE,
        root: Hash::NIL,
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
        self.made_ms = take(rest)?;
        let mut entries: Vec<ValidatorEntry, MAX_VALIDATORS> = Vec::new();
        take_list(rest, &mut entries)?;
        let endpoints: u32 = take(rest)?;
        let list = *rest;
        for _ in 0..endpoints {
            take::<EndpointEntry>(rest)?;
        }
        let Entries { validators: known, endpoints: listed, authorities, .. } = &mut self.entries;
        authorities.clear();
        for _ in 0..take::<u32>(rest)? {
            authorities.push(Holder { authority: take(rest)?, generation: 0 }).ok()?;
        }
        self.policy = take(rest)?;
        if !rest.is_empty() || endpoints as usize > MAX_ENDPOINTS {
            return None;
        }
        let each = || (0..endpoints).scan(list, |list, _| take::<EndpointEntry>(list));
        let checked = check_frame(version, self.made_ms, &entries, &self.policy)
            .and_then(|()| check_authorities(authorities.iter().map(|holder| &holder.authority)))
            .and_then(|()| check_devices(&entries, each));
        known.clear();
        known.extend(entries.iter().map(|entry| Entry::new(Identity::A(entry.key), entry.firmware)));
        listed.clear();
        listed.extend(each().map(|entry| Entry::new(entry.identity, entry.firmware)));
        let identifiers = each().map(|endpoint| endpoint.identifier);
        self.plan.fill(entries.iter().map(|entry| entry.identifiers), identifiers);
        self.validators = entries.iter().map(|entry| (entry.role, entry.identifiers)).collect();
        Some(checked)
    }

    /// The device with this identity in a signed genesis that was [opened](Self::open).
    #[must_use]
    pub fn find(bytes: &[u8], identity: &PublicKey) -> Option<Device> {
        let rest = &mut &bytes[..];
        take::<(u8, Suite, Name, u64)>(rest)?;
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

    /// What the chain says of a device.
    #[must_use]
    pub fn entry(&self, device: Device) -> Option<&Entry> {
        self.entries.get(device)
    }

    /// Whether a device belongs to the car.
    #[must_use]
    pub fn is_active(&self, device: Device) -> bool {
        self.entry(device).is_some_and(Entry::is_active)
    }

    /// What it says of the place for a key outside the car.
    #[must_use]
    pub fn holder(&self, at: u8) -> Option<&Holder> {
        self.entries.authorities.get(usize::from(at))
    }

    /// All such places.
    #[must_use]
    pub fn holders(&self) -> &[Holder] {
        &self.entries.authorities
    }

    /// Keys that hold `authority`.
    pub fn keys_of(&self, authority: Authority) -> impl Iterator<Item = &PublicKey> {
        self.holders().iter().filter(move |holder| holder.is(authority)).map(|holder| &holder.authority.key)
    }

    /// What it says of the car as a whole.
    #[must_use]
    pub const fn vehicle(&self) -> &Vehicle {
        &self.entries.vehicle
    }

    /// Firmware updates that were ordered and not yet confirmed.
    #[must_use]
    pub fn updates(&self) -> &[Update] {
        &self.entries.updates
    }

    /// The present key of a validator: that of its seals.
    #[must_use]
    pub fn validator_key(&self, validator: ValidatorIndex) -> Option<&PublicKey> {
        self.entry(Device::Validator(validator))?.key()
    }

    /// The root of the tree over all entries, to which the state commits (DC-48); all zeros: as the genesis says.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// The roots of the pages, from which the root is made.
    #[must_use]
    pub fn pages(&self) -> [Hash; MAX_PAGES] {
        core::array::from_fn(|page| self.entries.pages[page].unwrap_or_else(|| self.page_root(page)))
    }

    fn page_root(&self, page: usize) -> Hash {
        merkle::root(&|at| self.leaf(page, at).hash(), 0, self.leaves(page))
    }

    /// Works the root out again after a change.
    pub(crate) fn seal(&mut self) {
        let pages = self.pages();
        self.entries.pages = pages.map(Some);
        self.root = root_of(&pages);
    }

    fn leaves(&self, page: usize) -> usize {
        let Entries { validators, authorities, .. } = &self.entries;
        if page == 0 { validators.len() + authorities.len() + 1 } else { self.entries.of_page(page).len() }
    }

    /// A leaf by its place on its page.
    fn leaf(&self, page: usize, at: usize) -> Leaf {
        let Entries { validators, authorities, vehicle, updates, retired, .. } = &self.entries;
        if let Some(entry) = validators.get(at).filter(|_| page == 0) {
            let identifiers = self.validators.get(at).map_or([0; 4], |(_, identifiers)| identifiers.all());
            Leaf::Device(Device::Validator(at as u8), Vec::from_iter(identifiers), *entry)
        } else if page == 0 {
            match authorities.get(at - validators.len()) {
                Some(holder) => Leaf::Authority((at - validators.len()) as u8, *holder),
                None => Leaf::Vehicle(*vehicle, updates.clone(), retired.clone()),
            }
        } else {
            let endpoint = ((page - 1) * PAGE_ENTRIES + at) as u8;
            let entry = self.entries.of_page(page).get(at).copied().unwrap_or(Entry::NONE);
            Leaf::Device(Device::Endpoint(endpoint), self.plan.of_endpoint(endpoint).into_iter().collect(), entry)
        }
    }

    /// A device's line and the proof that it is in the tree with the [root](Self::root), for whoever wants to check it (DC-48).
    #[must_use]
    pub fn prove(&self, device: Device) -> Option<(Leaf, Proof)> {
        self.entry(device)?;
        let page = page_of(device);
        let at = match device {
            Device::Validator(at) => usize::from(at),
            Device::Endpoint(at) => usize::from(at) % PAGE_ENTRIES,
        };
        let (mut proof, pages) = (Proof::default(), self.pages());
        let mut beside = |side, hash| {
            let _ = proof.0.push((side, hash)); // deep enough for the largest registry
        };
        merkle::path(&|at| self.leaf(page, at).hash(), at, (0, self.leaves(page)), &mut beside);
        merkle::path(&|at| pages[at], page, (0, MAX_PAGES), &mut beside);
        Some((self.leaf(page, at), proof))
    }

    /// Whether a page says nothing but what the genesis says.
    fn is_original(&self, page: usize) -> bool {
        let Entries { validators, authorities, vehicle, updates, retired, .. } = &self.entries;
        let original = |entry: &Entry| entry.generation == 0 && entry.standing == Standing::Trusted;
        if page > 0 {
            return self.entries.of_page(page).iter().all(original);
        }
        validators.iter().all(original)
            && authorities.iter().all(|holder| holder.generation == 0)
            && *vehicle == Vehicle::default()
            && updates.is_empty()
            && retired.is_empty()
    }

    /// The pages that say something that the genesis does not: what has to be kept beside it.
    pub fn changed_pages(&self) -> impl Iterator<Item = u8> {
        (0..MAX_PAGES).filter(|page| !self.is_original(*page)).map(|page| page as u8)
    }

    /// A page in its canonical encoding, of at most [`MAX_PAGE`](crate::limits::MAX_PAGE) bytes.
    pub fn write_page<'b>(&self, page: u8, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let Entries { validators, authorities, vehicle, updates, retired, .. } = &self.entries;
        if page == 0 {
            return codec::encode(&(validators, authorities, vehicle, updates, retired), buffer);
        }
        let entries = self.entries.of_page(page.into());
        let mut length = codec::encode(&(entries.len() as u32), buffer)?.len();
        for (endpoint, entry) in ((usize::from(page) - 1) * PAGE_ENTRIES..).zip(entries) {
            let line = (self.plan.of_endpoint(endpoint as u8)?, entry);
            length += codec::encode(&line, buffer.get_mut(length..)?)?.len();
        }
        buffer.get(..length)
    }

    /// Takes a page over: from the own journal, or from a peer if `root` is then its root. False if it is no page or has another
    /// root; what the registry says is then of no use until it was given the right one.
    pub(crate) fn read_page(&mut self, page: u8, bytes: &[u8], root: Option<&Hash>) -> bool {
        let number = usize::from(page);
        if number >= MAX_PAGES {
            return false;
        }
        self.entries.pages[number] = None;
        let mut rest = bytes;
        let read = if page == 0 { self.entries.take_first(&mut rest) } else { self.take_page(number, &mut rest) };
        let sound = read.is_some() && rest.is_empty() && self.entries.validators.len() == self.validators.len();
        let right = sound && root.is_none_or(|root| self.page_root(number) == *root);
        self.seal();
        right
    }

    /// Puts back what [`Self::write_page`] gave. False if it is no page.
    #[must_use]
    pub fn restore_page(&mut self, page: u8, bytes: &[u8]) -> bool {
        self.read_page(page, bytes, None)
    }

    fn take_page(&mut self, page: usize, bytes: &mut &[u8]) -> Option<()> {
        let first = (page - 1) * PAGE_ENTRIES;
        let count = take::<u32>(bytes)? as usize;
        let fits = first <= self.entries.endpoints.len() && count <= PAGE_ENTRIES && first + count <= MAX_ENDPOINTS;
        // endpoints are only ever added
        if !fits || count < self.entries.of_page(page).len() {
            return None;
        }
        for at in first..first + count {
            let (identifier, entry) = take(bytes)?;
            self.plan.enter_endpoint(at as u8, identifier);
            match self.entries.endpoints.get_mut(at) {
                Some(known) => *known = entry,
                None => self.entries.endpoints.push(entry).ok()?,
            }
        }
        Some(())
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
                firmware: Hash::NIL,
                identifier: 0x9000_0000 + at,
            });
        }
        genesis
    }

    fn signed(genesis: &Genesis) -> (Vec<u8>, PublicKey) {
        let maker = SigningKey::from_seed([9; 32]);
        let mut buffer = std::vec![0; 32 * 1024];
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
                (read.mesh(), read.made_ms(), read.validators(), read.endpoints()),
                (genesis.mesh(), genesis.made_ms, made.validators(), made.endpoints())
            );
            assert_eq!(
                (read.suite(), *read.policy(), read.tag_len()),
                (genesis.suite, genesis.policy, genesis.tag_len())
            );
            assert!(read.holders().iter().map(|holder| &holder.authority).eq(&genesis.authorities));
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
        let changes: [fn(&mut Genesis); 10] = [
            |genesis| genesis.version += 1,
            |genesis| genesis.validators[0].role = Role::Other,
            |genesis| genesis.policy.phase_us = 0,
            |genesis| genesis.made_ms = 0,
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
