//! The key store port: keys go by handle, and no caller ever sees their bytes. A software store; an HSM is another.

use heapless::Vec;

use crate::hash::Domain;
use crate::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use crate::mac::{Key, MacKey, Suite, Tag, TagInput};
use crate::slot::Slot;
use crate::types::ValidatorIndex;

/// A device by its place in the genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// A validator.
    Validator(ValidatorIndex),
    /// An endpoint.
    Endpoint(u8),
}

/// A symmetric key, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHandle {
    /// The pairwise key with a device.
    Pair(Device),
    /// The session key with a validator.
    Session(ValidatorIndex),
    /// The key of a session that the validator has not confirmed yet.
    Candidate(ValidatorIndex),
}

/// Symmetric operations by handle. Signatures are asked for by [`crate::validator::Effect::Sign`] and may take long.
pub trait KeyStore {
    /// The tag of `message`; `None` without that key.
    fn tag(&self, key: KeyHandle, message: &TagInput) -> Option<Tag>;
    /// Whether `tag`, truncated, is the one of `message`. Constant time in the tag.
    fn verify(&self, key: KeyHandle, message: &TagInput, tag: &[u8]) -> bool;
    /// Derives the candidate session key with `peer` from the pairwise key and both nonces, the lower index's first
    /// (DC-21).
    fn derive(&mut self, peer: ValidatorIndex, nonces: [u64; 2]);
    /// Makes the candidate the session key; the old one is wiped.
    fn promote(&mut self, peer: ValidatorIndex);
}

/// Where the pairwise keys with endpoints are: many, and seldom used.
pub trait EndpointKeys {
    /// The key with the endpoint at this place.
    fn key(&self, endpoint: u8) -> Option<&Key>;
}

/// In memory.
pub type LoadedKeys = Vec<Option<Key>, MAX_ENDPOINTS>;

impl EndpointKeys for LoadedKeys {
    fn key(&self, endpoint: u8) -> Option<&Key> {
        self.get(usize::from(endpoint))?.as_ref()
    }
}

/// In flash that the processor reads as memory, in the order of the genesis; `None` until it is known where.
impl EndpointKeys for Option<&[Key]> {
    fn key(&self, endpoint: u8) -> Option<&Key> {
        self.as_ref()?.get(usize::from(endpoint))
    }
}

/// Keys in memory, wiped on drop; those of endpoints may lie elsewhere.
pub struct SoftKeys<E = LoadedKeys> {
    suite: Suite,
    validators: [Option<Key>; MAX_VALIDATORS],
    endpoints: E,
    sessions: [Slot<MacKey>; MAX_VALIDATORS],
    candidates: [Slot<MacKey>; MAX_VALIDATORS],
}

impl SoftKeys {
    /// An empty store.
    #[must_use]
    pub const fn new(suite: Suite) -> Self {
        Self::with_endpoints(suite, Vec::new())
    }

    /// Loads a pairwise key. False if the device's place is beyond the limits.
    pub fn load(&mut self, device: Device, key: Key) -> bool {
        match device {
            Device::Validator(at) => self.load_validator(at, key),
            Device::Endpoint(at) => {
                while self.endpoints.len() <= usize::from(at) {
                    if self.endpoints.push(None).is_err() {
                        return false;
                    }
                }
                self.endpoints[usize::from(at)] = Some(key);
                true
            }
        }
    }
}

impl<E> SoftKeys<E> {
    /// A store with these keys of endpoints and no others.
    #[must_use]
    pub const fn with_endpoints(suite: Suite, endpoints: E) -> Self {
        Self {
            suite,
            validators: [const { None }; MAX_VALIDATORS],
            endpoints,
            sessions: [const { Slot::Empty }; MAX_VALIDATORS],
            candidates: [const { Slot::Empty }; MAX_VALIDATORS],
        }
    }

    /// The MAC of the mesh, before any key is used.
    pub const fn set_suite(&mut self, suite: Suite) {
        self.suite = suite;
    }

    /// The keys of endpoints.
    pub fn set_endpoints(&mut self, endpoints: E) {
        self.endpoints = endpoints;
    }

    /// Loads the pairwise key with a validator. False if its place is beyond the limits.
    pub fn load_validator(&mut self, at: ValidatorIndex, key: Key) -> bool {
        let slot = self.validators.get_mut(usize::from(at));
        slot.map(|slot| *slot = Some(key)).is_some()
    }
}

impl<E: EndpointKeys> SoftKeys<E> {
    fn pair(&self, device: Device) -> Option<&Key> {
        match device {
            Device::Validator(at) => self.validators.get(usize::from(at))?.as_ref(),
            Device::Endpoint(at) => self.endpoints.key(at),
        }
    }

    /// Hands the key to `use_it`. Pairwise keys are rarely used, and kept as they were loaded.
    fn with<R>(&self, handle: KeyHandle, use_it: impl FnOnce(&MacKey) -> R) -> Option<R> {
        match handle {
            KeyHandle::Pair(device) => Some(use_it(&self.pair(device)?.for_tags(self.suite))),
            KeyHandle::Session(at) => Some(use_it(self.sessions.get(usize::from(at))?.get()?)),
            KeyHandle::Candidate(at) => Some(use_it(self.candidates.get(usize::from(at))?.get()?)),
        }
    }
}

impl<E: EndpointKeys> KeyStore for SoftKeys<E> {
    fn tag(&self, key: KeyHandle, message: &TagInput) -> Option<Tag> {
        self.with(key, |key| key.tag(message))
    }

    fn verify(&self, key: KeyHandle, message: &TagInput, tag: &[u8]) -> bool {
        self.with(key, |key| key.verify(message, tag)).unwrap_or(false)
    }

    fn derive(&mut self, peer: ValidatorIndex, nonces: [u64; 2]) {
        let pair = self.pair(Device::Validator(peer));
        let candidate = pair.map(|key| key.derive(self.suite, Domain::SessionKey, nonces).for_tags(self.suite));
        if let Some(slot) = self.candidates.get_mut(usize::from(peer)) {
            *slot = candidate.into();
        }
    }

    fn promote(&mut self, peer: ValidatorIndex) {
        let at = usize::from(peer);
        if let (Some(session), Some(candidate)) = (self.sessions.get_mut(at), self.candidates.get_mut(at))
            && let Some(key) = candidate.take()
        {
            *session = Slot::Full(key);
        }
    }
}
