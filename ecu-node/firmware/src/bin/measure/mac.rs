//! The MACs that could make a vote's tags. The two that ship run the product's own code.

use core::hash::Hasher;

use cmac::{Cmac, KeyInit, Mac as _};
use device_chain::mac::{FULL_TAG, Key, MacKey, Suite, Tag, TagInput};
use device_chain::types::Hash;
use device_chain::wire::{self, Header, Kind};
use hmac::Hmac;
use sha2::Sha256;
use siphasher::sip128::{Hasher128, SipHasher24};
use subtle::ConstantTimeEq;

/// Validators of the mesh.
const N: usize = 7;
/// Tags of a vote.
const TAGS: usize = N - 1;
/// Bytes of a tag in a mesh of seven.
const TAG: usize = 8;

/// A MAC with its key.
pub trait Mac {
    /// Takes a key.
    fn new(key: [u8; 32]) -> Self;

    /// The tag of `message`.
    fn tag(&self, message: &TagInput) -> Tag;

    /// Whether `tag`, truncated, is the one of `message`, in constant time as the product does it.
    fn verify(&self, message: &TagInput, tag: &[u8]) -> bool {
        self.tag(message)[..tag.len()].ct_eq(tag).into()
    }
}

/// No MAC: what making and checking a vote takes beside it.
pub struct NoMac([u8; FULL_TAG]);

impl Mac for NoMac {
    fn new(key: [u8; 32]) -> Self {
        let (tag, _) = key.split_first_chunk().expect("32 bytes");
        Self(*tag)
    }

    fn tag(&self, _message: &TagInput) -> Tag {
        self.0
    }
}

/// A suite that ships: the number is [`Suite::code`].
pub struct Shipped<const CODE: u8>(MacKey);

impl<const CODE: u8> Shipped<CODE> {
    const SUITE: Suite = if CODE == Suite::Cmac.code() { Suite::Cmac } else { Suite::Blake2s };
}

impl<const CODE: u8> Mac for Shipped<CODE> {
    fn new(key: [u8; 32]) -> Self {
        Self(Key::new(key).for_tags(Self::SUITE))
    }

    fn tag(&self, message: &TagInput) -> Tag {
        self.0.tag(message)
    }

    fn verify(&self, message: &TagInput, tag: &[u8]) -> bool {
        self.0.verify(message, tag)
    }
}

/// AES-128-CMAC that keeps its key schedule between tags.
pub struct ScheduledCmac(Cmac<aes::Aes128>);

impl Mac for ScheduledCmac {
    fn new(key: [u8; 32]) -> Self {
        Self(Cmac::new_from_slice(&key[..16]).expect("16 bytes"))
    }

    fn tag(&self, message: &TagInput) -> Tag {
        let mut mac = self.0.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

/// SipHash-2-4 with 128 bits of output.
pub struct SipHash([u8; 16]);

impl Mac for SipHash {
    fn new(key: [u8; 32]) -> Self {
        let (half, _) = key.split_first_chunk().expect("32 bytes");
        Self(*half)
    }

    fn tag(&self, message: &TagInput) -> Tag {
        let mut mac = SipHasher24::new_with_key(&self.0);
        mac.write(message);
        mac.finish128().as_bytes()
    }
}

/// HMAC-SHA-256, its first 16 bytes.
pub struct HmacSha256([u8; 32]);

impl Mac for HmacSha256 {
    fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    fn tag(&self, message: &TagInput) -> Tag {
        ScheduledHmac::new(self.0).tag(message)
    }
}

/// HMAC-SHA-256 that keeps the states behind its two pads between tags.
pub struct ScheduledHmac(Hmac<Sha256>);

impl Mac for ScheduledHmac {
    fn new(key: [u8; 32]) -> Self {
        Self(Hmac::new_from_slice(&key).expect("any length"))
    }

    fn tag(&self, message: &TagInput) -> Tag {
        let mut mac = self.0.clone();
        mac.update(message);
        let full = mac.finalize().into_bytes();
        let (tag, _) = full.split_first_chunk::<FULL_TAG>().expect("32 bytes");
        *tag
    }
}

/// Whether the tag of the bytes 0 to 47 under the key of the bytes 0 to 31 is the one that OpenSSL makes, e.g.
/// `openssl mac -in FILE -macopt hexkey:0001.. -macopt size:16 BLAKE2SMAC`.
pub fn agrees_with_openssl<M: Mac>(tag: u128) -> bool {
    let message: TagInput = core::array::from_fn(|at| at as u8);
    M::new(core::array::from_fn(|at| at as u8)).tag(&message) == tag.to_be_bytes()
}

/// What the tags of a vote cover: a PRECOMMIT of validator 3.
fn vote() -> TagInput {
    let value = Hash([0xab; 32]);
    let mut header = Header::new(Kind::Precommit, 7).round(1).hint(Some((2, &value)));
    (header.mesh, header.sender, header.counter) = (0xbeef, 3, 9);
    wire::tag_input(&header.to_bytes(), &value)
}

/// A vote on its way out and in.
pub struct Vote<M> {
    keys: [M; TAGS],
    input: TagInput,
    tags: [u8; TAGS * TAG],
}

impl<M: Mac> Vote<M> {
    /// A vote in a mesh of seven, without tags yet.
    pub fn new() -> Self {
        Self { keys: core::array::from_fn(|peer| M::new([peer as u8 + 1; 32])), input: vote(), tags: [0; TAGS * TAG] }
    }

    /// Makes the tag for each peer.
    pub fn make(&mut self) {
        for (slot, key) in self.tags.chunks_exact_mut(TAG).zip(&self.keys) {
            slot.copy_from_slice(&key.tag(&self.input)[..TAG]);
        }
    }

    /// What receiver `peer` does: checks its tag.
    pub fn check(&self, peer: usize) -> bool {
        self.keys[peer].verify(&self.input, &self.tags[peer * TAG..][..TAG])
    }

    /// Spoils each tag by a bit.
    pub fn spoil(&mut self) {
        self.tags.chunks_exact_mut(TAG).for_each(|tag| tag[TAG - 1] ^= 1);
    }
}
