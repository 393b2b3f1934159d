//! The mesh's key store over an SHE: suite 1 only, for CMAC is all that an SHE has.
//!
//! | key | where it lies | whoever takes over the CPU, or reads its memory |
//! |---|---|---|
//! | pairwise, with a validator | KEY_n, loaded by M1 to M3 | may have tags and sessions made while he is there; never has the key |
//! | pairwise, with a device beyond the slots | in the CPU's flash, wrapped by this SHE's SECRET_KEY; in RAM_KEY while it is used | the same; the flash alone is worth nothing |
//! | session | in the CPU's RAM, in RAM_KEY while it is used | has it until either of both starts anew |
//!
//! An SHE hands out what a MAC gives; it has no command that leaves a derived key inside. So a session key passes through the CPU (DC-21).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use device_chain::hash::Domain;
use device_chain::keys::{Device, KeyHandle, KeyStore};
use device_chain::limits::MAX_VALIDATORS;
use device_chain::mac::{FULL_TAG, Key, Suite, Tag, TagInput, derivation_input};
use device_chain::types::ValidatorIndex;
use zeroize::Zeroizing;

use crate::cipher::Block;
use crate::{Error, Flags, Proof, She, Slot, Update};

/// A pairwise key that only the SHE that made this can load, into RAM_KEY (CMD_EXPORT_RAM_KEY).
#[derive(Clone, Debug)]
pub struct Wrapped(Update);

/// Where the pairwise keys of a device are; nothing in it is secret.
#[derive(Clone, Debug, Default)]
pub struct Personalisation {
    slots: Vec<(Device, Slot)>,
    wrapped: Vec<(Device, Wrapped)>,
}

impl Personalisation {
    /// How many keys have a slot, and how many are wrapped.
    #[must_use]
    pub const fn counts(&self) -> (usize, usize) {
        (self.slots.len(), self.wrapped.len())
    }
}

/// The end of the line: a new SHE gets its MASTER_ECU_KEY, the first ten of `pairs` into slots, with these flags, and makes wrapped ones of the
/// others. Those with validators should come first. A key for a slot reaches the device only as M1 to M3; one to be wrapped is there for a moment.
///
/// # Errors
/// What the SHE refused; [`Error::KeyUpdate`], too, if its proof is wrong.
pub fn personalise(
    she: &mut She,
    master: &Block,
    flags: Flags,
    pairs: impl IntoIterator<Item = (Device, Key)>,
) -> Result<Personalisation, Error> {
    let (uid, ..) = she.get_id(&[0; 16]);
    let mut load = |slot, auth, key: &Block, flags| {
        let answer = she.load_key(&Update::new(&uid, slot, auth, 1, flags, key))?;
        let expected = Proof::new(&uid, slot, auth.0, 1, key);
        if expected.is(&answer) { Ok(()) } else { Err(Error::KeyUpdate) }
    };
    load(Slot::MASTER_ECU, (Slot::MASTER_ECU, &[0xFF; 16]), master, Flags { no_wildcard: true, ..Flags::NONE })?;
    let mut made = Personalisation::default();
    let mut beyond = Vec::new();
    for ((device, key), number) in pairs.into_iter().zip(1..) {
        let key = first_half(&key);
        if let Some(slot) = Slot::key(number) {
            load(slot, (Slot::MASTER_ECU, master), &key, flags)?;
            made.slots.push((device, slot));
        } else {
            beyond.push((device, key));
        }
    }
    for (device, key) in beyond {
        she.load_plain_key(&key);
        made.wrapped.push((device, Wrapped(she.export_ram_key()?.0)));
    }
    Ok(made)
}

/// What AES-128 uses of a key.
fn first_half(key: &Key) -> Zeroizing<Block> {
    key.export_to(|bytes| {
        let mut half = Zeroizing::new([0; 16]);
        half.copy_from_slice(&bytes[..16]);
        half
    })
}

type Sessions = [Option<Zeroizing<Block>>; MAX_VALIDATORS];

/// The key store. Its SHE stays when it goes, as it does when an ECU starts anew.
pub struct SheKeys {
    she: Rc<RefCell<She>>,
    pairs: Personalisation,
    sessions: Sessions,
    candidates: Sessions,
    /// Whose key is in RAM_KEY.
    loaded: Cell<Option<KeyHandle>>,
}

impl SheKeys {
    /// Over an SHE that was personalised so.
    #[must_use]
    pub fn new(she: Rc<RefCell<She>>, pairs: Personalisation) -> Self {
        Self { she, pairs, sessions: Default::default(), candidates: Default::default(), loaded: Cell::new(None) }
    }

    /// The slot of a key, which is loaded into RAM_KEY first if it has none of its own.
    fn slot(&self, she: &mut She, handle: KeyHandle) -> Option<Slot> {
        let session = match handle {
            KeyHandle::Pair(device) => {
                if let Some((_, slot)) = self.pairs.slots.iter().find(|(of, _)| *of == device) {
                    return Some(*slot);
                }
                None
            }
            KeyHandle::Session(at) => Some(self.sessions.get(usize::from(at))?.as_ref()?),
            KeyHandle::Candidate(at) => Some(self.candidates.get(usize::from(at))?.as_ref()?),
        };
        if self.loaded.get() == Some(handle) {
            return Some(Slot::RAM);
        }
        self.loaded.set(None);
        match (session, handle) {
            (Some(key), _) => she.load_plain_key(key),
            (None, KeyHandle::Pair(device)) => {
                let (_, wrapped) = self.pairs.wrapped.iter().find(|(of, _)| *of == device)?;
                she.load_key(&wrapped.0).ok()?;
            }
            (None, _) => return None,
        }
        self.loaded.set(Some(handle));
        Some(Slot::RAM)
    }
}

impl KeyStore for SheKeys {
    fn tag(&self, key: KeyHandle, message: &TagInput) -> Option<Tag> {
        let mut she = self.she.borrow_mut();
        let slot = self.slot(&mut she, key)?;
        she.generate_mac(slot, message).ok()
    }

    fn verify(&self, key: KeyHandle, message: &TagInput, tag: &[u8]) -> bool {
        let mut full = [0; FULL_TAG];
        // an SHE takes one of no bits for all of them
        let (4.., Some(start)) = (tag.len(), full.get_mut(..tag.len())) else { return false };
        start.copy_from_slice(tag);
        let mut she = self.she.borrow_mut();
        let verified = self.slot(&mut she, key).map(|slot| she.verify_mac(slot, message, &full, 8 * tag.len() as u8));
        verified == Some(Ok(true))
    }

    fn derive(&mut self, peer: ValidatorIndex, nonces: [u64; 2]) {
        let input = derivation_input(Suite::Cmac, Domain::SessionKey, nonces, 1);
        let key = self.tag(KeyHandle::Pair(Device::Validator(peer)), &input).map(Zeroizing::new);
        if let Some(candidate) = self.candidates.get_mut(usize::from(peer)) {
            *candidate = key;
        }
        self.loaded.set(None);
    }

    fn promote(&mut self, peer: ValidatorIndex) {
        let at = usize::from(peer);
        if let (Some(session), Some(candidate)) = (self.sessions.get_mut(at), self.candidates.get_mut(at))
            && candidate.is_some()
        {
            *session = candidate.take();
        }
        self.loaded.set(None);
    }

    /// What is in a slot stays there, out of use, until it is loaded anew.
    fn forget(&mut self, device: Device) {
        self.pairs.slots.retain(|(of, _)| *of != device);
        self.pairs.wrapped.retain(|(of, _)| *of != device);
        if let Device::Validator(at) = device {
            let sessions = [&mut self.sessions, &mut self.candidates];
            sessions.into_iter().filter_map(|keys| keys.get_mut(usize::from(at))).for_each(|key| *key = None);
        }
        self.loaded.set(None);
    }
}
