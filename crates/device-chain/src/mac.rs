//! Tags: symmetric authentication of messages, behind a suite number that every frame carries.

use blake2::digest::consts::U16;
use cmac::{Cmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a full tag before truncation.
pub const FULL_TAG: usize = 16;
/// A tag before truncation to the length of the mesh.
pub type Tag = [u8; FULL_TAG];

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

    /// The tag of `message` under this key. AES-128-CMAC uses the first 16 bytes of the key, BLAKE2s all 32.
    #[must_use]
    pub fn tag(&self, suite: Suite, message: &[u8]) -> Tag {
        match suite {
            Suite::Cmac => {
                let (half, _) = self.0.split_at(16);
                let mut key = aes::cipher::Array::<u8, aes::cipher::consts::U16>::default();
                key.copy_from_slice(half);
                let mut mac = Cmac::<aes::Aes128>::new(&key);
                key.zeroize();
                mac.update(message);
                mac.finalize().into_bytes().into()
            }
            Suite::Blake2s => {
                let Ok(mut mac) = blake2::Blake2sMac::<U16>::new_from_slice(&self.0) else {
                    return [0; FULL_TAG]; // a 32-byte key is always taken
                };
                blake2::digest::Update::update(&mut mac, message);
                blake2::digest::FixedOutput::finalize_fixed(mac).into()
            }
        }
    }

    /// Whether `tag`, truncated, is the one of `message`. Constant time in the tag.
    #[must_use]
    pub fn verify(&self, suite: Suite, message: &[u8], tag: &[u8]) -> bool {
        let expected = self.tag(suite, message);
        tag.len() >= 4 && tag.len() <= FULL_TAG && bool::from(expected[..tag.len()].ct_eq(tag))
    }

    /// A key derived from this one for `context`, by HMAC-like double use of the domain-separated hash.
    #[must_use]
    pub fn derive(&self, context: &[&[u8]]) -> Self {
        let mut hasher = crate::hash::Hasher::new(crate::hash::Domain::SessionKey);
        hasher.part(&self.0);
        for part in context {
            hasher.part(part);
        }
        Self(hasher.finish().0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tag_leaves_behind_is_wiped() {
        const fn wiped<T: ZeroizeOnDrop>() {}
        const { wiped::<cmac::block_api::CmacCore<aes::Aes128>>() };
        const { wiped::<blake2::Blake2sMac<U16>>() };
    }

    /// NIST SP 800-38B, appendix D.1, examples 1 to 4; RFC 4493 section 4.
    #[test]
    fn cmac_agrees_with_nist() {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&hex("2b7e151628aed2a6abf7158809cf4f3c"));
        let message = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                           30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
        for (length, tag) in [
            (0, "bb1d6929e95937287fa37d129b756746"),
            (16, "070a16b46b4d4144f79bdd9dd04a287c"),
            (40, "dfa66747de9ae63030ca32611497c827"),
            (64, "51f0bebf7e3b9d92fc49741779363cfe"),
        ] {
            let key = Key::new(key);
            assert_eq!(key.tag(Suite::Cmac, &message[..length])[..], hex(tag)[..], "{length} bytes");
            assert!(key.verify(Suite::Cmac, &message[..length], &hex(tag)[..8]));
        }
    }

    /// `openssl mac -in FILE -macopt hexkey:KEY -macopt size:16 BLAKE2SMAC`, and with 16 bytes of the key
    /// `openssl mac -in FILE -cipher AES-128-CBC -macopt hexkey:KEY CMAC`.
    #[test]
    fn tags_of_80_bytes_agree_with_openssl() {
        let key = Key::new(core::array::from_fn(|at| at as u8));
        let message: [u8; 80] = core::array::from_fn(|at| at as u8);
        for (suite, tag) in
            [(Suite::Cmac, "46e1796ec7f1efdf265e567d7091ce15"), (Suite::Blake2s, "0012878767a3d4f1c8194458cf1f8832")]
        {
            assert_eq!(key.tag(suite, &message)[..], hex(tag)[..], "{suite:?}");
        }
    }

    #[test]
    fn tags_depend_on_key_suite_and_every_byte() {
        let (key, other) = (Key::new([1; 32]), Key::new([2; 32]));
        for suite in [Suite::Cmac, Suite::Blake2s] {
            let tag = key.tag(suite, b"message");
            assert!(key.verify(suite, b"message", &tag[..8]));
            assert!(!key.verify(suite, b"massage", &tag[..8]));
            assert!(!other.verify(suite, b"message", &tag[..8]));
            assert!(!key.verify(suite, b"message", &[]), "an empty tag proves nothing");
        }
        assert_ne!(key.tag(Suite::Cmac, b"m"), key.tag(Suite::Blake2s, b"m"));
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
    }
}
