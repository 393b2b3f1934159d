//! The uplink's window in a folder that holds whatever it likes, and the life that it goes on with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cloud_link::uplink::{Window, WindowError};
use device_chain::hash::{Domain, hash};
use device_chain::sign::SigningKey;
use device_chain::types::Hash;
use event_chain::block::Block;
use event_chain::codec::encode;
use event_chain::receipt::{Receipt, SignedReceipt};

use crate::{Dice, formats, values};

/// Blocks of the chain.
const BLOCKS: u32 = 6;
/// Room for about two blocks with their records.
const MAX_BYTES: u64 = 4000;
/// What stands before the block in its file.
const DIGEST: usize = 32;
const RECEIPT: &str = "archived.receipt";

struct Life<'d> {
    dice: Dice<'d>,
    folder: PathBuf,
    chain: Vec<Block>,
    window: Window,
    /// The seals of each block that the window has taken and no receipt has let go.
    owed: BTreeMap<u32, usize>,
}

/// Opens, puts, settles and opens again: no block is lost that was taken, but on a receipt, and the folder stays within its limit.
///
/// # Panics
/// If not.
pub fn run(bytes: &[u8]) {
    let mut dice = Dice::of_bytes(bytes);
    let folder = tempfile::tempdir().expect("a folder");
    let chain = chain(&mut dice);
    fill(folder.path(), &chain, &mut dice);
    let window = match open(folder.path()) {
        Ok(window) => window,
        Err(WindowError::Receipt) => return,
        Err(error) => panic!("{error}"),
    };
    let owed = window.blocks().map(|(number, entry)| (number, entry.seals)).collect();
    let mut life = Life { dice, folder: folder.path().to_owned(), chain, window, owed };
    life.check();
    for _ in 0..40 {
        if life.dice.is_empty() {
            break;
        }
        life.step();
        life.check();
    }
}

fn open(folder: &Path) -> Result<Window, WindowError> {
    Window::open(folder, formats::car().clone(), MAX_BYTES)
}

/// Blocks of whatever content that follow each other.
fn chain(dice: &mut Dice<'_>) -> Vec<Block> {
    let mut previous = Hash::NIL;
    let block = |number| {
        let mut block = formats::block(dice);
        (block.header.number, block.header.previous) = (number, previous);
        previous = block.hash(&formats::car().mesh());
        block
    };
    (1..=BLOCKS).map(block).collect()
}

fn file(block: &Block) -> Vec<u8> {
    let block = block.encode();
    [&hash(Domain::Body, &[&block]).0[..], &block].concat()
}

/// What a crash, a careless hand or another program has left.
fn fill(folder: &Path, chain: &[Block], dice: &mut Dice<'_>) {
    for _ in 0..dice.below(6) {
        let at = dice.below(chain.len());
        let number = chain[at].header.number;
        let content = match dice.below(6) {
            0 => dice.up_to(60),
            1 => dice.damage(file(&chain[at])),
            2 => file(&formats::block(dice)),
            _ => file(&chain[at]),
        };
        let name = match dice.below(12) {
            0 => format!("{number}.block"),
            1 => format!("+{number}.block"),
            2 => format!("{number:010}.new"),
            3 => "0000000000.block".to_owned(),
            4 => format!("{}.block", u32::MAX),
            5 => format!("{:010}.block", dice.int()),
            _ => format!("{number:010}.block"),
        };
        fs::write(folder.join(name), content).expect("a file");
    }
    if dice.once_in(4) {
        let at = dice.below(chain.len());
        let mut receipt = receipt(&chain[at], dice);
        if dice.once_in(4) {
            receipt = dice.damage(receipt);
        }
        fs::write(folder.join(RECEIPT), receipt).expect("a file");
    }
}

/// Of the archive, for this block or, seldom, for another one of its number.
fn receipt(block: &Block, dice: &mut Dice<'_>) -> Vec<u8> {
    // the place of the archive's key in the genesis of the car
    static ARCHIVE: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed([252; 32]));
    let mesh = formats::car().mesh();
    let hash = if dice.once_in(8) { values::hash(dice) } else { block.hash(&mesh) };
    let (finality, complete) = (values::finality(dice), dice.flag());
    let receipt = Receipt { mesh, number: block.header.number, block: hash, finality, complete, time_ms: 0 };
    encode(&SignedReceipt::sign(receipt, &ARCHIVE))
}

impl Life<'_> {
    fn step(&mut self) {
        // the next one more often than any
        let next = (self.window.newest() as usize).min(self.chain.len() - 1);
        let at = if self.dice.flag() { next } else { self.dice.below(self.chain.len()) };
        match self.dice.below(8) {
            0 => self.settle(at),
            1 => self.reopen(),
            2 => self.seal(at),
            _ => {
                let block = self.chain[at].clone();
                self.put(&block);
            }
        }
    }

    /// One more seal came.
    fn seal(&mut self, at: usize) {
        let seal = values::seal(&mut self.dice);
        let mut block = self.chain[at].clone();
        let _ = block.seals.push(seal);
        if Block::decode(&block.encode()).is_ok_and(|read| read == block) {
            self.put(&block);
            self.chain[at] = block;
        }
    }

    fn put(&mut self, block: &Block) {
        let (number, seals) = (block.header.number, block.seals.len());
        let is_new = !self.owed.contains_key(&number) && number > self.archived();
        match self.window.put(block) {
            Ok(()) if number > self.archived() => {
                let known = self.owed.entry(number).or_default();
                *known = seals.max(*known);
                let used: u64 = self.owed.keys().map(|number| self.length(*number)).sum();
                assert!(!is_new || used <= MAX_BYTES + DIGEST as u64, "{used} bytes");
            }
            Ok(()) | Err(WindowError::Full | WindowError::Order { .. } | WindowError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn settle(&mut self, at: usize) {
        let mut bytes = receipt(&self.chain[at], &mut self.dice);
        if self.dice.once_in(8) {
            bytes = self.dice.damage(bytes);
        }
        let before = self.archived();
        match self.window.settle(&bytes) {
            Ok(receipt) => assert!(self.archived() == before || self.archived() == receipt.number),
            Err(WindowError::Receipt | WindowError::ForeignReceipt(_)) => assert_eq!(self.archived(), before),
            Err(error) => panic!("{error}"),
        }
        let archived = self.archived();
        assert!(archived >= before, "no receipt is taken back");
        self.owed.retain(|number, _| *number > archived);
    }

    fn reopen(&mut self) {
        let again = open(&self.folder).expect("a folder that was opened");
        assert!(again.blocks().eq(self.window.blocks()), "the same blocks");
        assert_eq!((again.archived(), again.damaged()), (self.window.archived(), self.window.damaged()));
        assert_eq!(again.newest(), self.window.newest());
        self.window = again;
    }

    fn archived(&self) -> u32 {
        self.window.archived().map_or(0, |receipt| receipt.number)
    }

    fn length(&self, number: u32) -> u64 {
        fs::metadata(self.folder.join(format!("{number:010}.block"))).expect("a file of the window").len()
    }

    /// Every block that was taken is here and can be read, with all its seals.
    fn check(&self) {
        let here: BTreeMap<u32, usize> = self.window.blocks().map(|(number, entry)| (number, entry.seals)).collect();
        assert_eq!(here, self.owed);
        for (number, entry) in self.window.blocks() {
            let block = self.window.read(number).expect("what was taken");
            assert_eq!((block.hash(&formats::car().mesh()), block.seals.len()), (entry.hash, entry.seals));
            assert_eq!(block.attested.is_some(), entry.complete);
        }
        assert!(self.window.damaged().iter().all(|number| !here.contains_key(number)));
    }
}
