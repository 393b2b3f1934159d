//! The key store port: keys go by handle, and no caller ever sees their bytes. A software store; an HSM is another.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::hash::{Domain, Hasher, hash};
use crate::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use crate::mac::{Key, MacKey, Suite, Tag, TagInput};
use crate::pairing::{Ephemeral, Heard, PAIR_BYTES, Pair};
use crate::slot::Slot;
use crate::types::{Hash, Height, ValidatorIndex};
use crate::wire::{HEADER, tag_input};

/// A device by its place in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// Makes the candidate the session key; the old one is wiped. A candidate of [`Self::renew`] makes the key that it comes from the
    /// pairwise key.
    fn promote(&mut self, peer: ValidatorIndex);

    /// Whether pairwise keys with validators move on here, and what is written of them when [`crate::validator::Effect::Keep`] asks
    /// for it is there again at the next boot. A store in which they stay as they were loaded has this and the rest as it is here.
    fn keeps(&self) -> bool {
        false
    }
    /// Checks the tag of a HELLO, and follows a peer that is a step ahead (DC-23).
    fn hear(&mut self, peer: ValidatorIndex, message: &TagInput, tag: &[u8]) -> Heard {
        if self.verify(KeyHandle::Pair(Device::Validator(peer)), message, tag) { Heard::Same } else { Heard::No }
    }
    /// Takes a step (DC-23). False if that may not be now.
    fn step(&mut self, _peer: ValidatorIndex) -> bool {
        false
    }
    /// Whether the secret of the refresh that was decided at this height is missing.
    fn wants(&self, _peer: ValidatorIndex, _height: Height) -> bool {
        false
    }
    /// Takes that secret. True if it is kept.
    fn take(&mut self, _peer: ValidatorIndex, _height: Height, _secret: Key) -> bool {
        false
    }
    /// Whether a secret is there to be offered, and if so, whether it is marked as offered.
    fn offered(&self, _peer: ValidatorIndex) -> Option<bool> {
        None
    }
    /// Marks it as offered.
    fn offer(&mut self, _peer: ValidatorIndex) {}
    /// Derives the candidate session key from the pairwise key with that secret in it.
    fn renew(&mut self, _peer: ValidatorIndex, _nonces: [u64; 2]) {}
    /// The key pair of this node's refresh, until all have the secrets that come from it.
    fn ephemeral(&self) -> Option<Ephemeral> {
        None
    }
    /// Keeps one, or forgets it.
    fn set_ephemeral(&mut self, _ephemeral: Option<Ephemeral>) {}

    /// Wipes all keys with a device: it belongs to the car no more, or is another one.
    fn forget(&mut self, device: Device);
}

/// What an endpoint of class S is known by (DC-72): the hash of what its keys with the validators, in their order, make of 48 bytes that
/// no message has, for its version would be 0. `None` without one of the keys.
#[must_use]
pub fn commitment(keys: &impl KeyStore, validators: usize) -> Option<Hash> {
    let input = tag_input(&[0; HEADER], &hash(Domain::Symmetric, &[]));
    let mut commitment = Hasher::new(Domain::Symmetric);
    for validator in 0..validators as ValidatorIndex {
        commitment.part(&keys.tag(KeyHandle::Pair(Device::Validator(validator)), &input)?);
    }
    Some(commitment.finish())
}

/// Bytes of what a store writes of keys that move on: eight pairs behind what is there of them, and a key pair.
pub const KEPT_BYTES: usize = 1 + 1 + MAX_VALIDATORS * PAIR_BYTES + 64;
/// What a [`SoftKeys`] writes; wiped on drop.
pub type Kept = zeroize::Zeroizing<[u8; KEPT_BYTES]>;

/// Where the pairwise keys with endpoints are: many, and seldom used.
pub trait EndpointKeys {
    /// The key with the endpoint at this place.
    fn key(&self, endpoint: u8) -> Option<&Key>;
    /// Wipes it where it can be; it is not asked for any more.
    fn forget(&mut self, endpoint: u8);
}

/// In memory.
pub type LoadedKeys = Vec<Option<Key>, MAX_ENDPOINTS>;

impl EndpointKeys for LoadedKeys {
    fn key(&self, endpoint: u8) -> Option<&Key> {
        self.get(usize::from(endpoint))?.as_ref()
    }

    fn forget(&mut self, endpoint: u8) {
        self.get_mut(usize::from(endpoint)).into_iter().for_each(|key| *key = None);
    }
}

/// In flash that the processor reads as memory, in the order of the genesis; `None` until it is known where.
impl EndpointKeys for Option<&[Key]> {
    fn key(&self, endpoint: u8) -> Option<&Key> {
        self.as_ref()?.get(usize::from(endpoint))
    }

    fn forget(&mut self, _: u8) {}
}

/// Keys in memory, wiped on drop; those of endpoints may lie elsewhere.
pub struct SoftKeys<E = LoadedKeys> {
    suite: Suite,
    validators: [Slot<Pair>; MAX_VALIDATORS],
    endpoints: E,
    /// A bit for each endpoint whose key is not used any more.
    forgotten: [u8; MAX_ENDPOINTS.div_ceil(8)],
    sessions: [Slot<MacKey>; MAX_VALIDATORS],
    candidates: [Slot<MacKey>; MAX_VALIDATORS],
    /// A bit for each candidate that comes from a refresh.
    renewing: u8,
    keeps: bool,
    ephemeral: Option<Ephemeral>,
}
const _: () = assert!(MAX_VALIDATORS <= u8::BITS as usize);

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
            validators: [const { Slot::Empty }; MAX_VALIDATORS],
            endpoints,
            forgotten: [0; MAX_ENDPOINTS.div_ceil(8)],
            sessions: [const { Slot::Empty }; MAX_VALIDATORS],
            candidates: [const { Slot::Empty }; MAX_VALIDATORS],
            renewing: 0,
            keeps: false,
            ephemeral: None,
        }
    }

    /// From now on its pairwise keys with validators move on: what [`Self::write`] hands out is kept for the next boot.
    pub const fn keep(&mut self) {
        self.keeps = true;
    }

    /// What has to be kept, for whoever seals it.
    #[must_use]
    pub fn write(&self) -> Kept {
        let mut kept = Kept::new([0; KEPT_BYTES]);
        let (marks, rest) = kept.split_at_mut(2);
        let (pairs, ephemeral) = rest.as_chunks_mut::<PAIR_BYTES>();
        for ((at, pair), to) in (0..).zip(&self.validators).zip(pairs) {
            if let Some(pair) = pair.get() {
                marks[0] |= 1 << at;
                pair.write(to);
            }
        }
        if let Some(of) = &self.ephemeral {
            marks[1] = 1;
            of.secret.export_to(|secret| ephemeral[..32].copy_from_slice(secret));
            ephemeral[32..].copy_from_slice(&of.public);
        }
        kept
    }

    /// Takes what was kept in place of the keys that it was loaded with: a pair that was forgotten before is so again. False, and nothing
    /// done, if it has a pair that was not loaded.
    pub fn restore(&mut self, kept: &[u8; KEPT_BYTES]) -> bool {
        let (marks, rest) = kept.split_at(2);
        let (pairs, ephemeral) = rest.as_chunks::<PAIR_BYTES>();
        let loaded = (0..)
            .zip(&self.validators)
            .filter(|(_, pair)| pair.get().is_some())
            .fold(0, |mask, (at, _)| mask | 1u8 << at);
        let is_there = |at: usize| marks[0] >> at & 1 == 1;
        let sound = |at: usize, pair: &[u8; PAIR_BYTES]| !is_there(at) || Pair::read(pair).is_some();
        if marks[0] & !loaded != 0 || marks[1] > 1 || !pairs.iter().enumerate().all(|(at, pair)| sound(at, pair)) {
            return false;
        }
        for (at, (slot, pair)) in self.validators.iter_mut().zip(pairs).enumerate() {
            *slot = Pair::read(pair).filter(|_| is_there(at)).into();
        }
        self.ephemeral = ephemeral.split_first_chunk().filter(|_| marks[1] == 1).and_then(|(secret, public)| {
            Some(Ephemeral { secret: Key::new(*secret), public: public.try_into().ok()? })
        });
        true
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
        slot.map(|slot| *slot = Slot::Full(Pair::new(key))).is_some()
    }
}

impl<E> SoftKeys<E> {
    fn with_validator(&self, at: ValidatorIndex) -> Option<&Pair> {
        self.validators.get(usize::from(at))?.get()
    }

    fn with_validator_mut(&mut self, at: ValidatorIndex) -> Option<&mut Pair> {
        self.validators.get_mut(usize::from(at))?.get_mut()
    }

    fn set_candidate(&mut self, peer: ValidatorIndex, from: Option<&Key>, nonces: [u64; 2]) {
        let derived = from.map(|key| key.derive(self.suite, Domain::SessionKey, nonces));
        if let Some(slot) = self.candidates.get_mut(usize::from(peer)) {
            *slot = derived.map(|key| key.for_tags(self.suite)).into();
            self.renewing &= !(1 << peer);
        }
    }
}

impl<E: EndpointKeys> SoftKeys<E> {
    fn pair(&self, device: Device) -> Option<&Key> {
        match device {
            Device::Validator(at) => self.with_validator(at).map(Pair::key),
            Device::Endpoint(at) => {
                let forgotten = self.forgotten.get(usize::from(at / 8))? >> (at % 8) & 1 == 1;
                self.endpoints.key(at).filter(|_| !forgotten)
            }
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
        let key = self.with_validator(peer).map(|pair| pair.key().clone());
        self.set_candidate(peer, key.as_ref(), nonces);
    }

    fn promote(&mut self, peer: ValidatorIndex) {
        let at = usize::from(peer);
        if let (Some(session), Some(candidate)) = (self.sessions.get_mut(at), self.candidates.get_mut(at))
            && let Some(key) = candidate.take()
        {
            *session = Slot::Full(key);
            let renewed = self.renewing >> peer & 1 == 1;
            self.renewing &= !(1 << peer);
            if let Some(pair) = self.with_validator_mut(peer) {
                if renewed { pair.renew() } else { pair.met() }
            }
        }
    }

    fn keeps(&self) -> bool {
        self.keeps
    }

    fn hear(&mut self, peer: ValidatorIndex, message: &TagInput, tag: &[u8]) -> Heard {
        let (suite, keeps) = (self.suite, self.keeps);
        let is_its = |key: &Key| key.for_tags(suite).verify(message, tag);
        let heard = match self.with_validator_mut(peer) {
            Some(pair) if keeps => pair.heard(is_its),
            Some(pair) if is_its(pair.key()) => Heard::Same,
            _ => Heard::No,
        };
        if heard == Heard::Ahead {
            self.renewing &= !(1 << peer); // the key has taken that step, if it was that one
        }
        heard
    }

    fn step(&mut self, peer: ValidatorIndex) -> bool {
        self.with_validator_mut(peer).is_some_and(Pair::step)
    }

    fn wants(&self, peer: ValidatorIndex, height: Height) -> bool {
        self.with_validator(peer).is_some_and(|pair| pair.wants(height))
    }

    fn take(&mut self, peer: ValidatorIndex, height: Height, secret: Key) -> bool {
        self.with_validator_mut(peer).is_some_and(|pair| pair.take(height, secret))
    }

    fn offered(&self, peer: ValidatorIndex) -> Option<bool> {
        self.with_validator(peer).filter(|pair| pair.has_secret()).map(Pair::is_offered)
    }

    fn offer(&mut self, peer: ValidatorIndex) {
        self.with_validator_mut(peer).into_iter().for_each(Pair::offer);
    }

    fn renew(&mut self, peer: ValidatorIndex, nonces: [u64; 2]) {
        let next = self.with_validator(peer).and_then(Pair::next);
        self.set_candidate(peer, next.as_ref(), nonces);
        self.renewing |= u8::from(next.is_some()) << peer;
    }

    fn ephemeral(&self) -> Option<Ephemeral> {
        self.ephemeral.clone()
    }

    fn set_ephemeral(&mut self, ephemeral: Option<Ephemeral>) {
        self.ephemeral = ephemeral;
    }

    fn forget(&mut self, device: Device) {
        match device {
            Device::Validator(at) if usize::from(at) < MAX_VALIDATORS => {
                self.renewing &= !(1 << at);
                let at = usize::from(at);
                (self.validators[at], self.sessions[at], self.candidates[at]) = (Slot::Empty, Slot::Empty, Slot::Empty);
            }
            Device::Validator(_) => {}
            Device::Endpoint(at) => {
                self.endpoints.forget(at);
                self.forgotten.get_mut(usize::from(at / 8)).into_iter().for_each(|bits| *bits |= 1 << (at % 8));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: keys of bytes 1 to 4. Changed only on purpose: it is in every genesis with an endpoint of class S.
    #[test]
    fn a_commitment_is_to_each_key_in_its_place() {
        let of = |keys: [u8; 4]| {
            let mut store = SoftKeys::new(Suite::Blake2s);
            for (validator, key) in (0..).zip(keys) {
                assert!(store.load(Device::Validator(validator), Key::new([key; 32])));
            }
            commitment(&store, 4)
        };
        let golden = of([1, 2, 3, 4]).expect("all keys");
        assert_eq!(std::format!("{golden}"), "aa0fcb7db15fa2d50b6b6abc40ca5d437bfd3d3f5b1c88e779992338bb2e2d40");
        for other in [[2, 1, 3, 4], [1, 2, 3, 5], [1, 2, 3, 3]] {
            assert_ne!(of(other), Some(golden), "{other:?}");
        }
        assert_eq!(commitment(&SoftKeys::new(Suite::Blake2s), 4), None, "without keys");
    }
}
