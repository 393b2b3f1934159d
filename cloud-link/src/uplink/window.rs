//! The blocks that the car still keeps: a bounded folder, one file a block.
//!
//! A file is a digest and the block's bytes, and is replaced as a whole. A block leaves on an archive's receipt that
//! says *final* and *complete*; the newest such receipt stays, so that the chain goes on from it.
//!
//! When the folder is full, the records that the gateway alone attests are given up, oldest block first (their root
//! stays in the header, so the chain still verifies). Decisions and seals are never given up: when nothing else is
//! left, [`WindowError::Full`] says that no further block should be closed until the archive answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use device_chain::block::Finality;
use device_chain::genesis::Genesis;
use device_chain::hash::{Domain, hash};
use device_chain::types::Hash;
use event_chain::block::Block;
use event_chain::receipt::{Receipt, SignedReceipt};

use crate::{durable, hex};

const RECEIPT: &str = "archived.receipt";
const BLOCK: &str = "block";
const DIGEST: usize = 32;

/// Why the window does not do what it was asked.
#[derive(Debug)]
pub enum WindowError {
    /// There is no room: do not close blocks until the archive answers.
    Full,
    /// The block does not follow the newest one.
    Order {
        /// The number that does.
        expected: u32,
    },
    /// Another block with this number is here or was archived.
    Conflict(u32),
    /// The file of this block is damaged.
    Damaged(u32),
    /// The bytes are no receipt of an archive of the genesis for this car.
    Receipt,
    /// The receipt is for another block with this number.
    ForeignReceipt(u32),
    /// The file system.
    Io(io::Error),
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the window is full: no block should be closed until the archive answers"),
            Self::Order { expected } => write!(f, "block {expected} is to come"),
            Self::Conflict(number) => write!(f, "another block {number} is in the window or was archived"),
            Self::Damaged(number) => write!(f, "the file of block {number} is damaged"),
            Self::Receipt => f.write_str("the receipt is not signed by an archive authority of the genesis"),
            Self::ForeignReceipt(number) => write!(f, "the receipt is for another block {number}"),
            Self::Io(error) => write!(f, "the window's folder failed: {error}"),
        }
    }
}

impl std::error::Error for WindowError {}

impl From<io::Error> for WindowError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What is known of a block without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its hash.
    pub hash: Hash,
    /// How many seals it has.
    pub seals: usize,
    /// Whether its attested records are (still) there.
    pub complete: bool,
    records: usize,
    bytes: u64,
}

/// The window.
pub struct Window {
    folder: PathBuf,
    genesis: Genesis,
    max_bytes: u64,
    blocks: BTreeMap<u32, Entry>,
    damaged: BTreeSet<u32>,
    archived: Option<Receipt>,
    thinned: u64,
}

impl Window {
    /// Opens or makes the window in `folder`, to hold about `max_bytes`. What a crash left half done is finished.
    ///
    /// # Errors
    /// [`WindowError::Io`], and [`WindowError::Receipt`] if the receipt there is damaged. Damaged blocks are no error:
    /// see [`Self::damaged`].
    pub fn open(folder: &Path, genesis: Genesis, max_bytes: u64) -> Result<Self, WindowError> {
        fs::create_dir_all(folder)?;
        let archived = match fs::read(folder.join(RECEIPT)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            bytes => Some(SignedReceipt::open(&bytes?, &genesis).ok_or(WindowError::Receipt)?),
        };
        let mut window = Self {
            folder: folder.to_owned(),
            genesis,
            max_bytes,
            blocks: BTreeMap::new(),
            damaged: BTreeSet::new(),
            archived,
            thinned: 0,
        };
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            // under any other name, it is not the window's
            if let Some(number) = number.filter(|number| window.path(*number) == path) {
                window.find(number)?;
            }
        }
        Ok(window)
    }

    /// Takes note of a block's file.
    fn find(&mut self, number: u32) -> Result<(), WindowError> {
        if number <= self.archived_number() {
            return Ok(durable::remove(&self.path(number))?); // its receipt came, then the power went
        }
        match self.read(number) {
            Ok(block) => {
                let entry = self.entry(&block, fs::metadata(self.path(number))?.len());
                self.blocks.insert(number, entry);
            }
            Err(WindowError::Damaged(number)) => {
                self.damaged.insert(number);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Keeps a block: the next one, or one that is here and has more seals now. One that is archived is let go.
    ///
    /// # Errors
    /// [`WindowError`]; the window is then as it was, except for records given up.
    pub fn put(&mut self, block: &Block) -> Result<(), WindowError> {
        let number = block.header.number;
        if number <= self.archived_number() {
            return Ok(());
        }
        let hash = block.hash(&self.genesis.mesh());
        match self.blocks.get(&number) {
            Some(here) if here.hash != hash => return Err(WindowError::Conflict(number)),
            Some(here) if here.seals >= block.seals.len() => return Ok(()),
            Some(here) if !here.complete => {
                return self.write(&Block { attested: None, ..block.clone() });
            }
            Some(_) => return self.write(block),
            None => {}
        }
        let newest = self.newest();
        if !self.damaged.contains(&number) && newest > 0 && Some(number) != newest.checked_add(1) {
            return Err(WindowError::Order { expected: newest.saturating_add(1) });
        }
        // A receipt for a block lets go of all before it: so they must be those that it names.
        if self.hash_of(number - 1).is_some_and(|before| before != block.header.previous) {
            return Err(WindowError::Conflict(number - 1));
        }
        self.make_room(block.encode().len() as u64)?;
        self.write(block)?;
        self.damaged.remove(&number); // a whole one is here again
        Ok(())
    }

    /// Gives up attested records, oldest block first, until `bytes` more fit.
    fn make_room(&mut self, bytes: u64) -> Result<(), WindowError> {
        while self.bytes() + bytes > self.max_bytes {
            let oldest = self.blocks.iter().find(|(_, entry)| entry.records > 0).map(|(number, _)| *number);
            let mut block = self.read(oldest.ok_or(WindowError::Full)?)?;
            block.attested = None;
            self.write(&block)?;
            self.thinned += 1;
        }
        Ok(())
    }

    /// Takes an archive's receipt. If it is final, and complete unless the car itself gave records up, all blocks up
    /// to it leave the car. The receipt is durable before the first of them goes.
    ///
    /// # Errors
    /// [`WindowError::Receipt`], [`WindowError::ForeignReceipt`], or of the file system.
    pub fn settle(&mut self, bytes: &[u8]) -> Result<Receipt, WindowError> {
        let receipt = SignedReceipt::open(bytes, &self.genesis).ok_or(WindowError::Receipt)?;
        if receipt.number <= self.archived_number() {
            return Ok(receipt);
        }
        let entry = self.blocks.get(&receipt.number).ok_or(WindowError::ForeignReceipt(receipt.number))?;
        if entry.hash != receipt.block {
            return Err(WindowError::ForeignReceipt(receipt.number));
        }
        if receipt.finality == Finality::Final && (receipt.complete || !entry.complete) {
            durable::replace(&self.folder.join(RECEIPT), bytes)?;
            self.archived = Some(receipt.clone());
            self.let_go(receipt.number)?;
        }
        Ok(receipt)
    }

    fn let_go(&mut self, up_to: u32) -> Result<(), WindowError> {
        let numbers = self.blocks.keys().chain(&self.damaged).copied().filter(|number| *number <= up_to);
        for number in numbers.collect::<Vec<_>>() {
            durable::remove(&self.path(number))?;
            self.blocks.remove(&number);
            self.damaged.remove(&number);
        }
        Ok(())
    }

    /// The block with this number.
    ///
    /// # Errors
    /// [`WindowError::Damaged`] if it is not what was written, or not here.
    pub fn read(&self, number: u32) -> Result<Block, WindowError> {
        let bytes = match fs::read(self.path(number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(WindowError::Damaged(number)),
            bytes => bytes?,
        };
        let sound = bytes.split_at_checked(DIGEST).filter(|(digest, block)| hash(Domain::Body, &[block]).0 == *digest);
        let block =
            sound.and_then(|(_, block)| Block::decode(block).ok()).filter(|block| block.header.number == number);
        block.ok_or(WindowError::Damaged(number))
    }

    fn write(&mut self, block: &Block) -> Result<(), WindowError> {
        let encoded = block.encode();
        let file = [&hash(Domain::Body, &[&encoded]).0[..], &encoded].concat();
        durable::replace(&self.path(block.header.number), &file)?;
        let entry = self.entry(block, file.len() as u64);
        self.blocks.insert(block.header.number, entry);
        Ok(())
    }

    fn entry(&self, block: &Block, bytes: u64) -> Entry {
        let hash = block.hash(&self.genesis.mesh());
        let records = block.attested.as_ref().map_or(0, |records| records.len());
        Entry { hash, seals: block.seals.len(), complete: block.attested.is_some(), records, bytes }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number:010}.{BLOCK}"))
    }

    /// The hash of a block that is here or was archived last; `None` if it is not known.
    fn hash_of(&self, number: u32) -> Option<Hash> {
        let here = self.blocks.get(&number).map(|entry| entry.hash);
        here.or_else(|| self.archived.as_ref().filter(|receipt| receipt.number == number).map(|receipt| receipt.block))
    }

    fn bytes(&self) -> u64 {
        self.blocks.values().map(|entry| entry.bytes).sum()
    }

    fn archived_number(&self) -> u32 {
        self.archived.as_ref().map_or(0, |receipt| receipt.number)
    }

    /// The newest block that came here; 0 if none did.
    #[must_use]
    pub fn newest(&self) -> u32 {
        let here = self.blocks.last_key_value().map_or(0, |(number, _)| *number);
        here.max(self.damaged.last().copied().unwrap_or(0)).max(self.archived_number())
    }

    /// The newest receipt on which blocks left.
    #[must_use]
    pub fn archived(&self) -> Option<&Receipt> {
        self.archived.as_ref()
    }

    /// Blocks that are here, oldest first.
    pub fn blocks(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.blocks.iter().map(|(number, entry)| (*number, entry))
    }

    /// Blocks whose files are damaged. Unless the archive has them, they must be put again, or it cannot go on.
    #[must_use]
    pub fn damaged(&self) -> &BTreeSet<u32> {
        &self.damaged
    }

    /// Blocks whose attested records were given up since the window was opened.
    #[must_use]
    pub fn thinned(&self) -> u64 {
        self.thinned
    }

    /// The car.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The car's identity, as the service knows it.
    #[must_use]
    pub fn vehicle(&self) -> String {
        hex::encode(&self.genesis.mesh().0.0)
    }
}
