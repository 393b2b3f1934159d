//! The chain's log: an append-only file that notices what is missing, rewritten as one snapshot when it has grown.
//!
//! A file begins with [`MAGIC`] and the mesh identity. An entry is its length, the CRC-32 of the length, the CRC-32 of
//! the payload (4 bytes each, little-endian) and the payload, canonical bytes of an [`Entry`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{error, fmt};

use crc::{CRC_32_ISO_HDLC, Crc};
use event_chain::block::MAX_BLOCK_BYTES;
use event_chain::codec::encode;

use super::{Chain, Entry};

const MAGIC: &[u8; 8] = b"RFEVENT1";
const FRAME: usize = 12;
/// Two blocks, one open and one closed, and a state.
const MAX_ENTRY: usize = 2 * MAX_BLOCK_BYTES + (64 << 10);
/// A log of this size is rewritten, bytes.
const REWRITE_AT: u64 = 1 << 20;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// An open log. Whoever opens it keeps other processes away from its folder.
pub struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    rewritten: u64,
}

/// What [`Log::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No file: a new car, or it was removed.
    Nothing,
    /// Everything.
    Intact,
    /// An append was cut off by a kill or a loss of power; nothing had been done because of it.
    TornTail,
    /// Damage in the middle: what lies behind it is lost. A copy of the file was put aside.
    Damaged {
        /// Where, in bytes from the start.
        offset: usize,
        /// The copy.
        aside: PathBuf,
    },
}

/// Why a log cannot be used.
#[derive(Debug)]
pub enum LogError {
    /// It belongs to another car.
    Foreign(PathBuf),
    /// The file system failed.
    Io(PathBuf, io::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(path) => {
                write!(f, "{}: the log of another car; give this gateway its own state folder", path.display())
            }
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl error::Error for LogError {}

impl Log {
    /// Opens the log at `path`, or begins one, and replays it into `chain`, which is new.
    ///
    /// # Errors
    /// [`LogError`]. Damage is no error: see [`Found`].
    pub fn open(path: &Path, chain: &mut Chain) -> Result<(Self, Found), LogError> {
        let failed = |error| LogError::Io(path.to_owned(), error);
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let found = match scan(&bytes, chain) {
            Scan::Foreign => return Err(LogError::Foreign(path.to_owned())),
            Scan::Nothing => Found::Nothing,
            Scan::End(end) if end == bytes.len() => Found::Intact,
            Scan::End(_) => Found::TornTail,
            Scan::Damaged(offset) => {
                let aside = path.with_extension("damaged");
                fs::write(&aside, &bytes).map_err(failed)?;
                Found::Damaged { offset, aside }
            }
        };
        let (file, length) = write_new(path, chain)?;
        Ok((Self { path: path.to_owned(), file, length, rewritten: length }, found))
    }

    /// Appends; durable after [`Self::sync`].
    ///
    /// # Errors
    /// [`LogError::Io`]: what was appended may or may not be there.
    pub fn append(&mut self, entry: &Entry) -> Result<(), LogError> {
        let bytes = frame(entry);
        self.file.write_all(&bytes).map_err(|error| LogError::Io(self.path.clone(), error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes everything appended durable; rewrites the log as a snapshot of `chain` when it has grown long.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn sync(&mut self, chain: &Chain) -> Result<(), LogError> {
        if self.length - self.rewritten > REWRITE_AT {
            (self.file, self.length) = write_new(&self.path, chain)?;
            self.rewritten = self.length;
        }
        self.file.sync_data().map_err(|error| LogError::Io(self.path.clone(), error))
    }
}

/// Puts a log with one snapshot in the place of `path`, in one step.
fn write_new(path: &Path, chain: &Chain) -> Result<(File, u64), LogError> {
    let new = path.with_extension("new");
    let bytes = [&MAGIC[..], &chain.genesis.mesh().0.0, &frame(&chain.snapshot())].concat();
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_folder(path)?;
        Ok(file)
    };
    let file = write().map_err(|error| LogError::Io(new.clone(), error))?;
    Ok((file, bytes.len() as u64))
}

/// Makes the file's name durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn frame(entry: &Entry) -> Vec<u8> {
    let payload = encode(entry);
    let length = (payload.len() as u32).to_le_bytes();
    let sums = [CRC.checksum(&length).to_le_bytes(), CRC.checksum(&payload).to_le_bytes()];
    [&length[..], &sums.concat(), &payload].concat()
}

/// How far a log can be read.
enum Scan {
    Nothing,
    Foreign,
    /// Sound up to here; what is behind was never finished.
    End(usize),
    Damaged(usize),
}

fn scan(bytes: &[u8], chain: &mut Chain) -> Scan {
    if is_unwritten(bytes) {
        return Scan::Nothing;
    }
    let Some((magic, rest)) = bytes.split_first_chunk::<{ MAGIC.len() }>() else { return Scan::Damaged(0) };
    let Some((identity, mut rest)) = rest.split_first_chunk::<32>().filter(|_| magic == MAGIC) else {
        return Scan::Damaged(0);
    };
    if *identity != chain.genesis.mesh().0.0 {
        return Scan::Foreign;
    }
    loop {
        let at = bytes.len() - rest.len();
        match next(rest) {
            Next::Entry(entry, length) => {
                chain.replay(*entry);
                rest = &rest[length..];
            }
            Next::Unfinished => return Scan::End(at),
            Next::Damaged => return Scan::Damaged(at),
        }
    }
}

enum Next {
    Entry(Box<Entry>, usize),
    /// The end, or the start of an entry that was never finished.
    Unfinished,
    Damaged,
}

fn next(rest: &[u8]) -> Next {
    let Some((frame, behind)) = rest.split_first_chunk::<FRAME>() else { return Next::Unfinished };
    if is_unwritten(rest) {
        return Next::Unfinished;
    }
    let word = |at: usize| u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    let length = word(0) as usize;
    if CRC.checksum(&frame[..4]) != word(4) || length > MAX_ENTRY {
        return Next::Damaged;
    }
    let Some(payload) = behind.get(..length) else { return Next::Unfinished };
    let sound = CRC.checksum(payload) == word(8);
    match device_chain::codec::decode(payload).filter(|_| sound) {
        Some(entry) => Next::Entry(Box::new(entry), FRAME + length),
        // the last one: its bytes had not all arrived
        None if !sound && behind.len() == length => Next::Unfinished,
        None => Next::Damaged,
    }
}

/// Space that a file system made for what was never written.
fn is_unwritten(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
