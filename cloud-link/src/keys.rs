//! Keys of the service: files of hexadecimal text, readable by their owner only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use device_chain::sign::SigningKey;
use device_chain::types::PublicKey;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{durable, hex};

const FLEET: &str = "fleet.key";
const ARCHIVE: &str = "archive.key";
const TOKEN: &str = "operator.token";
/// Secrets are their owner's.
const MODE: u32 = 0o600;

/// What the service signs with, and what opens it to operators.
pub struct Keys {
    /// Signs grants.
    pub fleet: SigningKey,
    /// Signs receipts.
    pub archive: SigningKey,
    /// Who shows it may issue grants.
    pub operator: Token,
}

/// A bearer token. No `Debug`; compared in constant time, wiped on drop.
pub struct Token(Zeroizing<String>);

impl Token {
    /// Whether `shown` is this token.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

/// The public halves, for the genesis.
#[derive(serde::Serialize)]
pub struct PublicKeys {
    /// Ed25519, hexadecimal.
    pub fleet: String,
    /// Ed25519, hexadecimal.
    pub archive: String,
}

impl Keys {
    /// Makes all keys in `folder`.
    ///
    /// # Errors
    /// If one exists already, or of the file system.
    pub fn generate(folder: &Path) -> Result<PublicKeys> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for name in [FLEET, ARCHIVE, TOKEN] {
            if folder.join(name).exists() {
                bail!("{} exists: keys are never overwritten; choose another folder", folder.join(name).display());
            }
        }
        for name in [FLEET, ARCHIVE, TOKEN] {
            let mut secret = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *secret).context("the system has no randomness")?;
            let path = folder.join(name);
            let line = Zeroizing::new(hex::encode(&*secret) + "\n");
            durable::create(&path, line.as_bytes(), MODE)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self::load(folder)?.public())
    }

    /// Reads all keys from `folder`.
    ///
    /// # Errors
    /// What is missing or malformed, or readable by others.
    pub fn load(folder: &Path) -> Result<Self> {
        for path in [FLEET, ARCHIVE, TOKEN].map(|name| folder.join(name)) {
            let found = fs::metadata(&path).with_context(|| {
                format!("cannot read {}; `cloud-link keygen --out {}` makes it", path.display(), folder.display())
            })?;
            if found.permissions().mode() & !MODE & 0o777 != 0 {
                bail!("{} is not its owner's alone: chmod 600 it, and think of who may have read it", path.display());
            }
        }
        let key = |name| {
            let path = folder.join(name);
            let seed = read32(&path)?;
            ensure!(*seed != [0; 32], "{} is all zeros: that is no key", path.display());
            Ok(SigningKey::from_seed(*seed))
        };
        let operator = Token(Zeroizing::new(read_line(&folder.join(TOKEN))?));
        if operator.0.is_empty() {
            bail!("{} is empty", folder.join(TOKEN).display());
        }
        Ok(Self { fleet: key(FLEET)?, archive: key(ARCHIVE)?, operator })
    }

    /// The public halves.
    #[must_use]
    pub fn public(&self) -> PublicKeys {
        PublicKeys { fleet: hex::encode(&self.fleet.public().0), archive: hex::encode(&self.archive.public().0) }
    }
}

/// A public key, from its 64 hexadecimal digits or from a file that holds them.
///
/// # Errors
/// If it is neither.
pub fn public_key(text_or_file: &str) -> Result<PublicKey> {
    match hex::decode32(text_or_file) {
        Some(key) => Ok(PublicKey(key)),
        None => Ok(PublicKey(*read32(Path::new(text_or_file))?)),
    }
}

/// The one line of a file, without the white space around it.
///
/// # Errors
/// Of the file system.
pub fn read_line(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Zeroizing::new(text).trim().to_owned())
}

fn read32(path: &Path) -> Result<Zeroizing<[u8; 32]>> {
    let text = Zeroizing::new(read_line(path)?);
    let key = hex::decode32(&text).map(Zeroizing::new);
    key.with_context(|| format!("{}: 64 hexadecimal digits expected", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let public = Keys::generate(folder.path()).unwrap();
        assert_ne!(public.fleet, public.archive);
        let before = fs::read(folder.path().join(FLEET)).unwrap();
        for name in [FLEET, ARCHIVE, TOKEN] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, MODE, "{name}");
        }
        assert!(Keys::generate(folder.path()).is_err());
        assert_eq!(fs::read(folder.path().join(FLEET)).unwrap(), before);

        let keys = Keys::load(folder.path()).unwrap();
        let token = read_line(&folder.path().join(TOKEN)).unwrap();
        assert!(keys.operator.is(&token));
        assert!(!keys.operator.is(&token[1..]) && !keys.operator.is(""));
        assert_eq!(public_key(&public.fleet).unwrap(), keys.fleet.public());
    }

    #[test]
    fn malformed_keys_are_named() {
        let folder = tempfile::tempdir().unwrap();
        Keys::generate(folder.path()).unwrap();
        fs::write(folder.path().join(ARCHIVE), "12").unwrap();
        let error = Keys::load(folder.path()).err().unwrap().to_string();
        assert!(error.contains(ARCHIVE) && error.contains("64"), "{error}");
        fs::write(folder.path().join(ARCHIVE), "0".repeat(64)).unwrap();
        let error = Keys::load(folder.path()).err().unwrap().to_string();
        assert!(error.contains(ARCHIVE) && error.contains("zeros"), "{error}");
        fs::set_permissions(folder.path().join(TOKEN), fs::Permissions::from_mode(0o640)).unwrap();
        let error = Keys::load(folder.path()).err().unwrap().to_string();
        assert!(error.contains(TOKEN) && error.contains("chmod 600"), "{error}");
        fs::remove_file(folder.path().join(FLEET)).unwrap();
        let error = Keys::load(folder.path()).err().unwrap().to_string();
        assert!(error.contains(FLEET) && error.contains("keygen"), "{error}");
    }
}
