//! Files that are whole after a power cut, and hexadecimal text in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use device_chain::types::{Hash, PublicKey};
use zeroize::Zeroizing;

pub use crate::hex::from_hex;

/// Mode of a file with secrets: its owner's.
pub const SECRET: u32 = 0o600;
/// Mode of a file that everybody may read.
pub const PUBLIC: u32 = 0o644;

/// Writes a file that did not exist, durable on return.
///
/// # Errors
/// The file exists, or the file system says no.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot create {}", path.display()))
}

/// Replaces a file by another in one step, so that readers see the old one or the new one. Not durable.
///
/// # Errors
/// Of the file system.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    fs::rename(new, path)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Of the file system.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("cannot sync {}", folder.display()))
}

/// Reads a file of which no more than `limit` bytes make sense.
///
/// # Errors
/// It cannot be read or is longer.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // a device has no length beforehand, and perhaps no end
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(bytes.len() as u64 <= limit, "{}: longer than {limit} bytes, which makes no sense", path.display());
    Ok(bytes)
}

/// Lower-case hexadecimal text of 32 bytes.
#[must_use]
pub fn to_hex(bytes: &[u8; 32]) -> String {
    Hash(*bytes).to_string()
}

/// A file with one public key in hexadecimal text.
///
/// # Errors
/// It cannot be read, or holds something else.
pub fn read_public_key(path: &Path) -> Result<PublicKey> {
    let text = String::from_utf8_lossy(&read(path, 1024)?).into_owned();
    let key = from_hex(&text).with_context(|| format!("{}: 64 hexadecimal digits expected", path.display()))?;
    Ok(PublicKey(key))
}

/// A secret key from the hexadecimal digits in a file.
///
/// # Errors
/// The file cannot be read or holds something else.
pub fn read_seed(path: &Path) -> Result<Zeroizing<[u8; 32]>> {
    let text = Zeroizing::new(read(path, 1024)?);
    let text = std::str::from_utf8(&text).ok().and_then(from_hex);
    let seed = text.filter(|seed| *seed != [0; 32]).map(Zeroizing::new);
    seed.with_context(|| format!("{}: 64 hexadecimal digits expected, not all zero", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_text() {
        let bytes: [u8; 32] = core::array::from_fn(|at| 7 * at as u8);
        assert_eq!(from_hex(&format!(" {}\n", to_hex(&bytes))), Some(bytes));
        for bad in ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_is_never_overwritten_by_create() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, b"one", SECRET).unwrap();
        assert!(create(&path, b"two", SECRET).unwrap_err().to_string().contains("key"));
        assert_eq!(read(&path, 3).unwrap(), b"one");
        assert!(read(&path, 2).is_err());
        assert!(read(Path::new("/dev/zero"), 2).is_err(), "it has no end");
    }
}
