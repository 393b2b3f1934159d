//! Tags: symmetric authentication of messages, behind a suite number that every frame carries.

use aes::cipher::Array;
use blake2::Blake2sVarCore;
use blake2::digest::Output;
use blake2::digest::block_api::{Block, UpdateCore, VariableOutputCore};
use blake2::digest::block_buffer::LazyBuffer;
use cmac::{Cmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::hash::Domain;

/// Bytes of a full tag before truncation.
pub const FULL_TAG: usize = 16;
/// A tag before truncation to the length of the mesh.
pub type Tag = [u8; FULL_TAG];
/// Bytes of what a tag covers (M2): one length for all messages, so that a MAC's work for it is known.
pub const TAG_INPUT: usize = 48;
/// What a tag covers: [`crate::wire::tag_input`].
pub type TagInput = [u8; TAG_INPUT];

/// The MAC of a mesh: a field of the genesis and of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suite {
    /// AES-128-CMAC (NIST SP 800-38B): for ECUs whose HSM has it, as most do.
    Cmac,
    /// BLAKE2s-128, keyed (RFC 7693): for software, and the default.
    Blake2s,
}

impl Suite {
    /// The number on the wire, 1 to 15.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Cmac => 1,
            Self::Blake2s => 2,
        }
    }

    /// Tags that make a key: AES has 128 bits of security, BLAKE2s a key of 256.
    const fn key_blocks(self) -> u8 {
        match self {
            Self::Cmac => 1,
            Self::Blake2s => 2,
        }
    }
}

/// Bytes for the label in what a key is derived with, at least one zero behind it.
const LABEL: usize = 23;
const _: () = assert!(Domain::SessionKey.name().len() < LABEL);

/// What the MAC of `suite` is made over to derive block `block` (from 1) of a key: SP 800-108r1, 4.1, `[i] ‖ label ‖ 0 ‖ context ‖ [L]` with
/// 32 bits for `i` and `L`; the context is the suite and two numbers, little-endian. As long as what a tag covers, and never the same: where
/// a header has its version there is a zero (DC-27).
#[must_use]
pub fn derivation_input(suite: Suite, label: Domain, context: [u64; 2], block: u8) -> TagInput {
    let mut input = [0; TAG_INPUT];
    input[3] = block;
    let name = label.name();
    let room = &mut input[4..4 + LABEL - 1];
    let length = name.len().min(room.len()); // those that derive keys are no longer, see above
    room[..length].copy_from_slice(&name[..length]);
    input[4 + LABEL] = suite.code();
    input[28..36].copy_from_slice(&context[0].to_le_bytes());
    input[36..44].copy_from_slice(&context[1].to_le_bytes());
    input[44..].copy_from_slice(&(u32::from(suite.key_blocks()) * 8 * FULL_TAG as u32).to_be_bytes());
    input
}

/// 32 secret bytes. No `Debug`, no access; wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl Key {
    /// Takes over secret bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key made ready to make tags.
    #[must_use]
    pub fn for_tags(&self, suite: Suite) -> MacKey {
        match suite {
            Suite::Cmac => {
                let mut half = [0; 16];
                half.copy_from_slice(&self.0[..16]);
                MacKey::Cmac(half)
            }
            Suite::Blake2s => {
                let mut block = Block::<Blake2sVarCore>::default();
                block[..self.0.len()].copy_from_slice(&self.0);
                let mut keyed = Blake2sVarCore::new_with_params(&[], &[], self.0.len(), FULL_TAG);
                keyed.update_blocks(core::slice::from_ref(&block));
                block.zeroize();
                MacKey::Blake2s(keyed)
            }
        }
    }

    /// A key derived from this one by the suite's own MAC, so that a key that never leaves an HSM can do it (DC-21). By CMAC it has 16 bytes,
    /// followed by zeros, by BLAKE2s 32.
    #[must_use]
    pub fn derive(&self, suite: Suite, label: Domain, context: [u64; 2]) -> Self {
        let (prf, mut derived) = (self.for_tags(suite), Self([0; 32]));
        for (part, block) in derived.0.chunks_exact_mut(FULL_TAG).zip(1..=suite.key_blocks()) {
            let mut tag = prf.tag(&derivation_input(suite, label, context, block));
            part.copy_from_slice(&tag);
            tag.zeroize();
        }
        derived
    }

    /// The key after this one, which does not lead back to it (DC-23).
    #[must_use]
    pub fn after(&self) -> Self {
        Self(crate::hash::hash(crate::hash::Domain::NextKey, &[&self.0]).0)
    }

    /// The key after this one with the secret of a refresh in it (DC-24).
    #[must_use]
    pub fn mixed(&self, secret: &Self) -> Self {
        Self(crate::hash::hash(crate::hash::Domain::NextKey, &[&self.0, &secret.0]).0)
    }

    /// Whether both are the same key, in constant time.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Hands the bytes to a key store that keeps them (sealed file, HSM loader).
    pub fn export_to<R>(&self, keep: impl FnOnce(&[u8; 32]) -> R) -> R {
        keep(&self.0)
    }
}

/// A key that makes tags and checks them. No `Debug`, no access; wiped on drop.
#[derive(ZeroizeOnDrop)]
pub enum MacKey {
    /// The 16 bytes that AES-128-CMAC uses. (Its key schedule would be 400 bytes; ADR 9.)
    Cmac([u8; 16]),
    /// BLAKE2s behind the block of its key (RFC 7693, 3.3), so that a tag takes one compression.
    Blake2s(Blake2sVarCore),
}

impl MacKey {
    /// The tag of `message`.
    #[must_use]
    pub fn tag(&self, message: &TagInput) -> Tag {
        match self {
            Self::Cmac(key) => cmac(key, message),
            Self::Blake2s(keyed) => blake2s(keyed, message),
        }
    }

    /// Whether `tag`, truncated, is the one of `message`. Constant time in the tag.
    #[must_use]
    pub fn verify(&self, message: &TagInput, tag: &[u8]) -> bool {
        let expected = self.tag(message);
        tag.len() >= 4 && tag.len() <= FULL_TAG && bool::from(expected[..tag.len()].ct_eq(tag))
    }
}

#[inline(never)] // it takes much of the stack
fn cmac(key: &[u8; 16], message: &[u8]) -> Tag {
    let mut key = Array::from(*key);
    let mut mac = Cmac::<aes::Aes128>::new(&key);
    key.zeroize();
    mac.update(message);
    mac.finalize_reset().into_bytes().into() // in its place: `finalize` takes a copy
}

fn blake2s(keyed: &Blake2sVarCore, message: &TagInput) -> Tag {
    let mut full = Output::<Blake2sVarCore>::from([0; 32]); // `default` goes byte by byte where code is small
    keyed.clone().finalize_variable_core(&mut LazyBuffer::new(message), &mut full);
    let mut tag = [0; FULL_TAG];
    tag.copy_from_slice(&full[..FULL_TAG]);
    tag
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Header, Kind};

    #[test]
    fn what_a_tag_leaves_behind_is_wiped() {
        const fn wiped<T: ZeroizeOnDrop>() {}
        const { wiped::<cmac::block_api::CmacCore<aes::Aes128>>() };
        const { wiped::<Blake2sVarCore>() };
        const { wiped::<MacKey>() };
    }

    #[test]
    fn suites_have_their_numbers_on_the_wire() {
        assert_eq!([Suite::Cmac, Suite::Blake2s].map(Suite::code), [1, 2]);
    }

    #[test]
    fn keys_are_the_same_if_all_their_bytes_are() {
        let key = Key::new([7; 32]);
        assert!(key.same(&Key::new([7; 32])));
        for at in 0..32 {
            let mut bytes = [7; 32];
            bytes[at] ^= 1;
            assert!(!key.same(&Key::new(bytes)), "byte {at}");
        }
    }

    /// DC-27: else who makes tags by a pairwise key makes session keys.
    #[test]
    fn no_header_is_what_a_key_is_derived_with() {
        for suite in [Suite::Cmac, Suite::Blake2s] {
            for block in 1..=suite.key_blocks() {
                assert_eq!(derivation_input(suite, Domain::SessionKey, [u64::MAX; 2], block)[2], 0);
            }
            let mut header = Header::new(Kind::Hello, 0);
            header.suite = suite.code();
            assert_ne!(header.to_bytes()[2], 0);
        }
    }

    #[test]
    fn keys_that_are_derived_depend_on_key_suite_and_both_numbers() {
        let derive = |key, suite, context| Key::new([key; 32]).derive(suite, Domain::SessionKey, context);
        for suite in [Suite::Cmac, Suite::Blake2s] {
            let derived = derive(1, suite, [2, 3]);
            assert!(derived.same(&derive(1, suite, [2, 3])));
            for other in
                [derive(2, suite, [2, 3]), derive(1, suite, [3, 2]), derive(1, suite, [2, 4]), derive(1, suite, [1, 3])]
            {
                assert!(!derived.same(&other));
            }
        }
        assert!(!derive(1, Suite::Cmac, [2, 3]).same(&derive(1, Suite::Blake2s, [2, 3])));
    }

    #[test]
    fn tags_depend_on_key_suite_and_every_byte() {
        let message = [7; TAG_INPUT];
        let keys = |suite| [1, 2].map(|key| Key::new([key; 32]).for_tags(suite));
        for suite in [Suite::Cmac, Suite::Blake2s] {
            let [key, other] = keys(suite);
            let tag = key.tag(&message);
            assert!(key.verify(&message, &tag[..8]));
            for at in (0..TAG_INPUT).step_by(if cfg!(miri) { TAG_INPUT / 3 } else { 1 }) {
                let mut changed = message;
                changed[at] ^= 1;
                assert!(!key.verify(&changed, &tag[..8]), "byte {at}");
            }
            assert!(!other.verify(&message, &tag[..8]));
            assert!(!key.verify(&message, &[]), "an empty tag proves nothing");
        }
        assert_ne!(keys(Suite::Cmac)[0].tag(&message), keys(Suite::Blake2s)[0].tag(&message));
    }
}
