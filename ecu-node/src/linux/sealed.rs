//! Keys at rest: the key file ([`crate::keyfile`]) in a sealed box (DC-28). What opens it, the key-encryption key, is the device's own and lies outside
//! its folder, as a TPM or HSM is outside the flash: `NAME.kek`, 32 random bytes.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `RINGBOX` and the version, 1 |
//! | 32 | mesh identity |
//! | 8 | which key opens it: the start of `SHA-256(key-box ‖ key)` |
//! | 12 | nonce, random |
//! | .. | the key file, encrypted by AES-256-GCM-SIV (RFC 8452), which withstands a nonce that comes twice; the first 48 bytes are its associated data |
//! | 16 | tag |

use std::fmt;
use std::path::Path;

use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, KeyInit};
use anyhow::{Context, Result};
use device_chain::hash::{Domain, hash};
use device_chain::types::MeshId;
use zeroize::Zeroizing;

use super::files;
use crate::keyfile;

const MAGIC: &[u8; 8] = b"RINGBOX\x01";
const CHECK: usize = 8;
const HEAD: usize = MAGIC.len() + 32 + CHECK;
/// Bytes of the nonce.
pub const NONCE: usize = 12;
const TAG: usize = 16;
/// Longest box of a key file.
pub const MAX_LENGTH: usize = length(keyfile::MAX_LENGTH);

/// Bytes of a box with so many in it.
#[must_use]
pub const fn length(text: usize) -> usize {
    HEAD + NONCE + text + TAG
}

/// What is wrong with a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// No box of this version.
    Form,
    /// A key file that is not sealed.
    Plain,
    /// Of another car.
    OtherMesh,
    /// Sealed by another device's key.
    OtherKey,
    /// Changed since it was sealed.
    Damaged,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "no sealed key file of version 1: provision this device again",
            Self::Plain => {
                "the keys are not sealed, as those of an older version were not: provision this device again"
            }
            Self::OtherMesh => "the keys are of another car's genesis: put the files of this car back",
            Self::OtherKey => "sealed by another key: put back the keys.bin or the .kek that belongs to this device",
            Self::Damaged => "the sealed keys are damaged: provision this device again",
        })
    }
}

impl std::error::Error for SealError {}

/// A key-encryption key. No `Debug`; wiped on drop.
pub struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    /// From its bytes.
    #[must_use]
    pub const fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// A new one, written to a file that did not exist.
    ///
    /// # Errors
    /// There is no randomness, the file exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).context("the system has no randomness")?;
        files::create(path, &*bytes, files::SECRET)?;
        Ok(Self(bytes))
    }

    /// The one in a file.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let what =
            || format!("{}: the key that opens keys.bin; put it back, or provision this device again", path.display());
        let bytes = files::read(path, 32).map(Zeroizing::new).with_context(what)?;
        let bytes = bytes[..].try_into().map(Zeroizing::new);
        bytes.context("not 32 bytes").map(Self).with_context(what)
    }

    fn cipher(&self) -> Aes256GcmSiv {
        Aes256GcmSiv::new((&*self.0).into())
    }

    /// Tells which key it is, and nothing else of it.
    fn check(&self) -> [u8; CHECK] {
        let mut check = [0; CHECK];
        check.copy_from_slice(&hash(Domain::KeyBox, &[&self.0[..]]).0[..CHECK]);
        check
    }
}

/// Seals a key file, or the pairs beside it. `nonce` is random.
#[must_use]
pub fn seal(file: &[u8], mesh: &MeshId, key: &SealKey, nonce: [u8; NONCE]) -> Vec<u8> {
    let mut sealed = [&MAGIC[..], &mesh.0.0, &key.check(), &nonce, file].concat();
    let (head, body) = sealed.split_at_mut(HEAD);
    let text = InOutBuf::from(&mut body[NONCE..]);
    // fails for texts of 64 GiB
    let tag = key.cipher().encrypt_inout_detached(&nonce.into(), head, text).unwrap_or_default();
    sealed.extend_from_slice(&tag);
    sealed
}

/// The key file in a box of this car; of any without `mesh`.
///
/// # Errors
/// What is wrong with it.
pub fn unseal(sealed: &[u8], mesh: Option<&MeshId>, key: &SealKey) -> Result<Zeroizing<Vec<u8>>, SealError> {
    if sealed.starts_with(keyfile::MAGIC) {
        return Err(SealError::Plain);
    }
    let (head, rest) = sealed.split_at_checked(HEAD).ok_or(SealError::Form)?;
    let of = head.strip_prefix(MAGIC).ok_or(SealError::Form)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Form)?;
    let (text, tag) = rest.split_last_chunk::<TAG>().ok_or(SealError::Form)?;
    if mesh.is_some_and(|mesh| of[..32] != mesh.0.0) {
        return Err(SealError::OtherMesh);
    }
    if of[32..] != key.check() {
        return Err(SealError::OtherKey);
    }
    let mut file = Zeroizing::new(text.to_vec());
    let opened =
        key.cipher().decrypt_inout_detached(&(*nonce).into(), head, InOutBuf::from(&mut file[..]), &(*tag).into());
    opened.map(|()| file).map_err(|_| SealError::Damaged)
}

#[cfg(test)]
mod tests {
    use device_chain::types::Hash;

    use super::*;

    const FILE: &[u8] = b"RINGKEY\x01 and what else a key file holds";
    const MESH: MeshId = MeshId(Hash([7; 32]));

    fn key(byte: u8) -> SealKey {
        SealKey::new(Zeroizing::new([byte; 32]))
    }

    fn sealed() -> Vec<u8> {
        seal(FILE, &MESH, &key(1), [9; NONCE])
    }

    /// RFC 8452, appendix C.2, the case with eight bytes of text: the cipher is the one that it says.
    #[test]
    fn the_cipher_is_that_of_rfc_8452() {
        let mut bytes = [0; 32];
        bytes[0] = 1;
        let mut nonce = [0; NONCE];
        nonce[0] = 3;
        let mut text = 0x0100_0000_0000_0000_u64.to_be_bytes();
        let cipher = SealKey::new(Zeroizing::new(bytes)).cipher();
        let tag = cipher.encrypt_inout_detached(&nonce.into(), &[], InOutBuf::from(&mut text[..])).unwrap();
        assert_eq!(u64::from_be_bytes(text), 0xc2ef_328e_5c71_c83b);
        assert_eq!(u128::from_be_bytes(tag.into()), 0x8431_2213_0f73_64b7_61e0_b974_27e3_df28);
    }

    #[test]
    fn what_was_sealed_comes_out_and_nothing_of_it_shows() {
        let sealed = sealed();
        assert_eq!(sealed.len(), HEAD + NONCE + FILE.len() + TAG);
        assert_eq!(unseal(&sealed, Some(&MESH), &key(1)).unwrap()[..], *FILE);
        assert_eq!(unseal(&sealed, None, &key(1)).unwrap()[..], *FILE);
        assert!(!sealed.windows(6).any(|window| FILE.windows(6).any(|of| of == window)));
    }

    #[test]
    fn each_mistake_has_its_error() {
        let other_mesh = MeshId(Hash([8; 32]));
        for (what, bytes, mesh, opener, error) in [
            ("another device's key", sealed(), MESH, key(2), SealError::OtherKey),
            ("another car", sealed(), other_mesh, key(1), SealError::OtherMesh),
            ("not sealed", FILE.to_vec(), MESH, key(1), SealError::Plain),
            ("something else", b"journal".to_vec(), MESH, key(1), SealError::Form),
            ("nothing", Vec::new(), MESH, key(1), SealError::Form),
        ] {
            assert_eq!(unseal(&bytes, Some(&mesh), &opener).err(), Some(error), "{what}");
        }
        let mut relabelled = sealed();
        relabelled[8..40].fill(8);
        assert_eq!(
            unseal(&relabelled, Some(&other_mesh), &key(1)).err(),
            Some(SealError::Damaged),
            "the car is under the tag"
        );
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let whole = sealed();
        for at in 0..whole.len() {
            assert!(unseal(&whole[..at], Some(&MESH), &key(1)).is_err(), "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert!(unseal(&flipped, Some(&MESH), &key(1)).is_err(), "flipped at {at}");
        }
    }
}
