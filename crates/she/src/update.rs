//! The messages of the memory update protocol (4.9.1 of the specification), as whoever owns a key makes and checks them.

use subtle::ConstantTimeEq;

use crate::cipher::{Block, KEY_UPDATE_ENC_C, KEY_UPDATE_MAC_C, cmac, derive, encrypt, encrypt_cbc};
use crate::memory::{Flags, Slot};

/// Number of a device.
pub type Uid = [u8; 15];

/// M1, M2, M3: a key for a slot of one device, encrypted and authenticated by a key that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// For whom, for which slot, by which key.
    pub m1: Block,
    /// Counter, flags and key, encrypted.
    pub m2: [Block; 2],
    /// The MAC over both.
    pub m3: Block,
}

impl Update {
    /// A key for the slot `slot` of the device `uid`, all zero for any, authorised by a slot and its key. `counter` has 28 bits and rises.
    #[must_use]
    pub fn new(
        uid: &Uid,
        slot: Slot,
        (auth, auth_key): (Slot, &Block),
        counter: u32,
        flags: Flags,
        key: &Block,
    ) -> Self {
        let m2 = encrypt_cbc(&derive(auth_key, &KEY_UPDATE_ENC_C), &[flags.pack(counter), *key]);
        let mut update = Self { m1: addressed(uid, slot, auth), m2, m3: [0; 16] };
        update.m3 = update.mac(&derive(auth_key, &KEY_UPDATE_MAC_C));
        update
    }

    pub(crate) fn mac(&self, key: &Block) -> Block {
        cmac(key, &[self.m1, self.m2[0], self.m2[1]].concat())
    }
}

fn addressed(uid: &Uid, slot: Slot, auth: Slot) -> Block {
    let mut m1 = [0; 16];
    m1[..15].copy_from_slice(uid);
    m1[15] = slot.number() << 4 | auth.number();
    m1
}

/// Device, slot and authorising slot of M1.
#[must_use]
pub fn unpack(m1: &Block) -> (Uid, Slot, Slot) {
    let [uid @ .., slots] = *m1;
    (uid, Slot::from_number(slots >> 4), Slot::from_number(slots))
}

/// M4, M5: the device has the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Who, which slot, by which key; the counter, encrypted by the new key.
    pub m4: [Block; 2],
    /// The MAC over M4 by the new key.
    pub m5: Block,
}

impl Proof {
    /// What the device `uid` answers to the update with this key.
    #[must_use]
    pub fn new(uid: &Uid, slot: Slot, auth: Slot, counter: u32, key: &Block) -> Self {
        // behind the 28 bits a one, then zeros
        let told = (u128::from(counter) << 100 | 1 << 99).to_be_bytes();
        let m4 = [addressed(uid, slot, auth), encrypt(&derive(key, &KEY_UPDATE_ENC_C), &told)];
        Self { m4, m5: cmac(&derive(key, &KEY_UPDATE_MAC_C), &m4.concat()) }
    }

    /// Whether the answer of a device is this one, in constant time.
    #[must_use]
    pub fn is(&self, answer: &Self) -> bool {
        (self.m4.concat().ct_eq(&answer.m4.concat()) & self.m5.ct_eq(&answer.m5)).into()
    }
}
