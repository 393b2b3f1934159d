//! The keys of a simulated car: pairwise keys once for all boots, and key stores that an attacker can look into.

use std::cell::RefCell;
use std::rc::Rc;

use device_chain::genesis::Genesis;
use device_chain::keys::{Device, Kept, KeyHandle, KeyStore, SoftKeys};
use device_chain::mac::{Key, Suite, Tag, TagInput};
use device_chain::pairing::{Ephemeral, Heard};
use device_chain::types::{Height, PublicKey, ValidatorIndex};

use crate::genesis::Plan;
use crate::signer::Signer;

/// The pairwise keys of all validators. Computed once, as at the end of the line: ignition needs no curve.
pub struct Keyring {
    suite: Suite,
    /// What the validators sign with.
    signers: Vec<Signer>,
    /// The fleet authority's.
    pub fleet: Signer,
    pairs: Vec<Vec<(Device, Key)>>,
}

impl Keyring {
    /// The keys of a plan.
    ///
    /// # Panics
    /// If the plan exceeds the limits of a genesis.
    #[must_use]
    pub fn new(plan: &Plan, genesis: &Genesis) -> Self {
        let identities: Vec<_> = (0..plan.validators).map(|at| plan.validator_key(at)).collect();
        let mesh = genesis.mesh();
        let key = |at: usize, public: &PublicKey| identities[at].pair_key(public, &mesh.0).expect("sound keys");
        let mut pairs: Vec<Vec<(Device, Key)>> = Vec::new();
        for at in 0..identities.len() {
            let mut own = Vec::new();
            for peer in (0..identities.len()).filter(|peer| *peer != at) {
                // a pair has one key: the one with the lower index has computed it
                let known = pairs.get(peer).and_then(|of: &Vec<(Device, Key)>| find(of, Device::Validator(at as u8)));
                let pair = known.unwrap_or_else(|| key(at, &genesis.validators[peer].key));
                own.push((Device::Validator(peer as u8), pair));
            }
            for (entry, endpoint) in genesis.endpoints.iter().zip(0..) {
                let public = entry.identity.key().expect("a plan's are of class A");
                own.push((Device::Endpoint(endpoint), key(at, public)));
            }
            pairs.push(own);
        }
        let (signers, fleet) = plan.signers();
        Self { suite: plan.suite, signers, fleet, pairs }
    }

    /// What a validator signs with.
    #[must_use]
    pub fn signer(&self, at: ValidatorIndex) -> &Signer {
        &self.signers[usize::from(at)]
    }

    /// The key that two validators share; `None` for one and the same.
    #[must_use]
    pub fn pair(&self, one: ValidatorIndex, other: ValidatorIndex) -> Option<Key> {
        find(&self.pairs[usize::from(one)], Device::Validator(other))
    }

    /// The key that a validator shares with a device; `None` for one and the same, and for one that is not in the plan.
    #[must_use]
    pub fn pair_with(&self, at: ValidatorIndex, device: Device) -> Option<Key> {
        find(&self.pairs[usize::from(at)], device)
    }

    /// A key store as a validator has it at boot.
    ///
    /// # Panics
    /// Never: a genesis has no more devices than a key store.
    #[must_use]
    pub fn store(&self, at: ValidatorIndex) -> SoftKeys {
        let mut keys = SoftKeys::new(self.suite);
        for (device, key) in &self.pairs[usize::from(at)] {
            assert!(keys.load(*device, key.clone()), "within the limits");
        }
        keys
    }

    /// A key store as an endpoint has it at boot.
    ///
    /// # Panics
    /// Never: a genesis has no more devices than a key store.
    #[must_use]
    pub fn endpoint_store(&self, at: u8) -> SoftKeys {
        let mut keys = SoftKeys::new(self.suite);
        for (of, validator) in self.pairs.iter().zip(0..) {
            let key = find(of, Device::Endpoint(at)).expect("in genesis");
            assert!(keys.load(Device::Validator(validator), key), "within the limits");
        }
        keys
    }
}

fn find(of: &[(Device, Key)], device: Device) -> Option<Key> {
    of.iter().find(|(peer, _)| *peer == device).map(|(_, key)| key.clone())
}

/// What the commands of a key store have taken since the last question, µs.
type Elapsed = Rc<dyn Fn() -> u64>;

/// A key store that several hold: an honest ECU, and the attacker who edits what it says.
#[derive(Clone)]
pub struct SharedKeys(Rc<RefCell<dyn KeyStore>>, Option<Elapsed>, Option<Rc<RefCell<SoftKeys>>>);

impl SharedKeys {
    /// Shares a key store that takes no time.
    #[must_use]
    pub fn new(keys: impl KeyStore + 'static) -> Self {
        Self(Rc::new(RefCell::new(keys)), None, None)
    }

    /// One in software, whose keys may move on.
    #[must_use]
    pub fn soft(keys: SoftKeys) -> Self {
        let keys = Rc::new(RefCell::new(keys));
        Self(keys.clone(), None, Some(keys))
    }

    /// One that takes its time, as an HSM does; the ECU waits for it.
    #[must_use]
    pub fn slow(keys: impl KeyStore + 'static, elapsed: impl Fn() -> u64 + 'static) -> Self {
        Self(Rc::new(RefCell::new(keys)), Some(Rc::new(elapsed)), None)
    }

    pub(crate) fn elapsed_us(&self) -> u64 {
        self.1.as_ref().map_or(0, |elapsed| elapsed())
    }

    /// What has to be kept of them for the next boot, if they may move on.
    #[must_use]
    pub fn write(&self) -> Option<Kept> {
        self.2.as_ref().map(|keys| keys.borrow().write())
    }
}

impl KeyStore for SharedKeys {
    fn tag(&self, key: KeyHandle, message: &TagInput) -> Option<Tag> {
        self.0.borrow().tag(key, message)
    }

    fn verify(&self, key: KeyHandle, message: &TagInput, tag: &[u8]) -> bool {
        self.0.borrow().verify(key, message, tag)
    }

    fn derive(&mut self, peer: ValidatorIndex, nonces: [u64; 2]) {
        self.0.borrow_mut().derive(peer, nonces);
    }

    fn promote(&mut self, peer: ValidatorIndex) {
        self.0.borrow_mut().promote(peer);
    }

    fn forget(&mut self, device: Device) {
        self.0.borrow_mut().forget(device);
    }

    fn keeps(&self) -> bool {
        self.0.borrow().keeps()
    }

    fn hear(&mut self, peer: ValidatorIndex, message: &TagInput, tag: &[u8]) -> Heard {
        self.0.borrow_mut().hear(peer, message, tag)
    }

    fn step(&mut self, peer: ValidatorIndex) -> bool {
        self.0.borrow_mut().step(peer)
    }

    fn wants(&self, peer: ValidatorIndex, height: Height) -> bool {
        self.0.borrow().wants(peer, height)
    }

    fn take(&mut self, peer: ValidatorIndex, height: Height, secret: Key) -> bool {
        self.0.borrow_mut().take(peer, height, secret)
    }

    fn offered(&self, peer: ValidatorIndex) -> Option<bool> {
        self.0.borrow().offered(peer)
    }

    fn offer(&mut self, peer: ValidatorIndex) {
        self.0.borrow_mut().offer(peer);
    }

    fn renew(&mut self, peer: ValidatorIndex, nonces: [u64; 2]) {
        self.0.borrow_mut().renew(peer, nonces);
    }

    fn ephemeral(&self) -> Option<Ephemeral> {
        self.0.borrow().ephemeral()
    }

    fn set_ephemeral(&mut self, ephemeral: Option<Ephemeral>) {
        self.0.borrow_mut().set_ephemeral(ephemeral);
    }
}
