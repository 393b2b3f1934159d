//! The file of a validator's pairwise keys as they are now, beside its key file, which holds them as they were at the end of the line (DC-25).
//!
//! Two slots of [`SLOT`] bytes, written in turn. When one is durable the other is overwritten, so that a key that is replaced is gone.
//!
//! Each slot is a [sealed](super::sealed) box (DC-28) that the key of the key file opens, and zeros behind it. In the box:
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `RINGPAR` and the version, 1 |
//! | 1 | place of the validator |
//! | 8 | number of the writing, little-endian: the slot with the higher one counts |
//! | 618 | what the key store has written |

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use device_chain::keys::{KEPT_BYTES, Kept};
use device_chain::types::{MeshId, ValidatorIndex};
use zeroize::Zeroizing;

use super::files;
use super::sealed::{self, NONCE, SealKey};

const MAGIC: &[u8; 8] = b"RINGPAR\x01";
const SLOT: usize = 1024;
const HEAD: usize = 8 + 1;
const TEXT: usize = HEAD + 8 + KEPT_BYTES;
const LENGTH: usize = sealed::length(TEXT);
const _: () = assert!(LENGTH <= SLOT);

/// The open file.
pub(super) struct PairFile {
    file: File,
    mesh: MeshId,
    head: [u8; HEAD],
    seal: SealKey,
    written: u64,
}

impl PairFile {
    /// Opens the file of a validator, or makes it; and what was kept in it last, if anything was.
    ///
    /// # Errors
    /// It cannot be read or written, or is damaged or of another device: without what was in it the peers cannot be met.
    pub(super) fn open(path: &Path, mesh: &MeshId, me: ValidatorIndex, seal: SealKey) -> Result<(Self, Option<Kept>)> {
        let open = || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(files::SECRET)
                .open(path)?;
            let mut bytes = Zeroizing::new([0; 2 * SLOT]);
            match file.metadata()?.len() {
                0 => file.set_len(bytes.len() as u64)?,
                _ => file.read_exact_at(&mut *bytes, 0)?,
            }
            io::Result::Ok((file, bytes))
        };
        let (file, bytes) = open().with_context(|| format!("cannot open {}", path.display()))?;
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8] = me;
        let slots = bytes.chunks_exact(SLOT);
        let newest = slots.filter_map(|slot| read(slot, mesh, &head, &seal)).max_by_key(|(number, _)| *number);
        if newest.is_none() && bytes.iter().any(|byte| *byte != 0) {
            bail!("{}: damaged, or of another device: provision this device again", path.display());
        }
        let (written, kept) = newest.map_or((0, None), |(number, kept)| (number, Some(kept)));
        Ok((Self { file, mesh: *mesh, head, seal, written }, kept))
    }

    /// Makes it durable in place of what was kept before.
    pub(super) fn keep(&mut self, kept: &Kept) -> io::Result<()> {
        let number = self.written + 1;
        let text = Zeroizing::new([&self.head[..], &number.to_le_bytes(), &kept[..]].concat());
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let slot = sealed::seal(&text, &self.mesh, &self.seal, nonce);
        self.file.write_all_at(&slot, number % 2 * SLOT as u64)?;
        self.file.sync_all()?;
        self.written = number;
        self.file.write_all_at(&[0; SLOT], (number + 1) % 2 * SLOT as u64)?;
        self.file.sync_all()
    }
}

fn read(slot: &[u8], mesh: &MeshId, head: &[u8; HEAD], seal: &SealKey) -> Option<(u64, Kept)> {
    let text = sealed::unseal(slot.get(..LENGTH)?, Some(mesh), seal).ok()?;
    let (number, kept) = text.strip_prefix(head)?.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), Kept::new(kept.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use device_chain::types::Hash;

    use super::*;

    const MESH: MeshId = MeshId(Hash([7; 32]));

    fn seal(byte: u8) -> SealKey {
        SealKey::new(Zeroizing::new([byte; 32]))
    }

    fn kept(byte: u8) -> Kept {
        Kept::new([byte; KEPT_BYTES])
    }

    #[test]
    fn what_is_replaced_is_gone_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.bin");
        let (mut file, before) = PairFile::open(&path, &MESH, 3, seal(1)).unwrap();
        assert!(before.is_none());
        for byte in 1..5 {
            file.keep(&kept(byte)).unwrap();
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(32).any(|part| part == [byte; 32]), "in a box");
            assert!(bytes.chunks_exact(SLOT).any(|slot| slot == [0; SLOT]), "the one before");
            assert_eq!(PairFile::open(&path, &MESH, 3, seal(1)).unwrap().1, Some(kept(byte)));
        }
        assert!(PairFile::open(&path, &MESH, 2, seal(1)).is_err(), "another device");
        assert!(PairFile::open(&path, &MESH, 3, seal(2)).is_err(), "another key");
        assert!(PairFile::open(&path, &MeshId(Hash([8; 32])), 3, seal(1)).is_err(), "another car");
    }

    #[test]
    fn a_writing_that_was_cut_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.bin");
        let (mut file, _) = PairFile::open(&path, &MESH, 3, seal(1)).unwrap();
        file.keep(&kept(1)).unwrap();
        let before = fs::read(&path).unwrap();
        file.keep(&kept(2)).unwrap();
        let after = fs::read(&path).unwrap();
        // the second goes into the first slot
        for cut in (0..SLOT).step_by(37) {
            let torn = [&after[..cut], &before[cut..]].concat();
            fs::write(&path, &torn).unwrap();
            let (mut file, found) = PairFile::open(&path, &MESH, 3, seal(1)).unwrap();
            assert_eq!(found, Some(kept(if cut < LENGTH { 1 } else { 2 })), "cut after {cut}");
            file.keep(&kept(3)).unwrap();
            assert_eq!(PairFile::open(&path, &MESH, 3, seal(1)).unwrap().1, Some(kept(3)));
        }
    }
}
