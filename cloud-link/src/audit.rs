//! Verifies a whole store of one vehicle from the genesis, as somebody who trusts neither the store nor who keeps it.

use device_chain::block::{Finality, Seal};
use device_chain::codec;
use device_chain::genesis::{Genesis, SignedGenesis};
use device_chain::registry::Registry;
use device_chain::types::Hash;
use event_chain::block::Block;
use event_chain::receipt::{Receipt, SignedReceipt};
use event_chain::verify::{ChainVerifier, Fault, Rule};
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, Row};

use crate::service::archive::{BlockRow, rows};

/// Blocks read at a time, so that a service that writes to the store meanwhile need not wait.
const PAGE: usize = 64;

/// What was found.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    /// The vehicle.
    pub vehicle: String,
    /// Blocks that hold, from the first.
    pub blocks: u32,
    /// The height up to which all decisions are there.
    pub height: u32,
    /// The newest block that a quorum sealed.
    pub newest_final: u32,
    /// Blocks whose records the car had to give up.
    pub withheld: u32,
    /// The number of the checkpoint; without one, a dropped end cannot be seen.
    pub checkpoint: Option<u32>,
    /// What is wrong, as sentences. Empty: all holds.
    pub faults: Vec<String>,
}

/// Verifies the chain of `genesis` in `store`, against a `checkpoint` kept outside of it. The service may go on meanwhile.
///
/// # Errors
/// If SQLite cannot read the store for a reason that is no damage, e.g. because it is no store at all.
pub fn audit(store: &Connection, genesis: Genesis, checkpoint: Option<&Receipt>) -> rusqlite::Result<Report> {
    let mut audit = Audit {
        report: Report {
            vehicle: genesis.vehicle.to_string(),
            blocks: 0,
            height: 0,
            newest_final: 0,
            withheld: 0,
            checkpoint: checkpoint.map(|receipt| receipt.number),
            faults: Vec::new(),
        },
        verifier: ChainVerifier::new(genesis),
        checkpoint,
        checkpoint_block: None,
    };
    match audit.run(store) {
        Err(error) if is_damage(&error) => {
            audit.report.faults.push(format!("the store itself is damaged: {error}"));
        }
        done => done?,
    }
    Ok(audit.report)
}

/// Whether it is the store's content that SQLite or we cannot read.
fn is_damage(error: &Error) -> bool {
    let unreadable = matches!(
        error,
        Error::IntegralValueOutOfRange(..) | Error::InvalidColumnType(..) | Error::FromSqlConversionFailure(..)
    );
    unreadable || error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
}

struct Audit<'c> {
    report: Report,
    verifier: ChainVerifier,
    checkpoint: Option<&'c Receipt>,
    /// The hash of the verified block with the checkpoint's number.
    checkpoint_block: Option<Hash>,
}

impl Audit<'_> {
    fn run(&mut self, store: &Connection) -> rusqlite::Result<()> {
        let mesh = self.verifier.genesis().mesh();
        // In one query, as the service may be archiving meanwhile.
        let query = "SELECT genesis, snapshot, (SELECT coalesce(max(number), 0) FROM block WHERE block.mesh = ?1)
                     FROM vehicle WHERE mesh = ?1";
        loop {
            let intact = self.take_blocks(store)?;
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let vehicle: Option<(Vec<u8>, Vec<u8>, u32)> = store.query_row(query, [mesh.0.0], read).optional()?;
            match vehicle {
                None => self.report.faults.push(format!("no vehicle with mesh identity {} is in the store", mesh.0)),
                Some((.., last)) if intact && last > self.report.blocks => continue,
                Some((genesis, snapshot, _)) => self.check_end(intact, &genesis, &snapshot),
            }
            return Ok(());
        }
    }

    /// Takes all blocks that are there. False at the first fault: what follows a wrong block cannot be verified.
    fn take_blocks(&mut self, store: &Connection) -> rusqlite::Result<bool> {
        let mesh = self.verifier.genesis().mesh();
        // Block 0 is none, but may have been put there.
        let mut from = if self.report.blocks == 0 { 0 } else { self.report.blocks + 1 };
        loop {
            let page = rows(store, &mesh, from, PAGE)?;
            if page.is_empty() {
                return Ok(true);
            }
            for (at, row) in page.iter().enumerate() {
                if let Err(fault) = self.take(row, page.get(at + 1)) {
                    self.report.faults.push(fault);
                    return Ok(false);
                }
                from = row.number + 1;
            }
        }
    }

    /// Takes a block; `next` is the one stored behind it, if that is on the same page.
    fn take(&mut self, row: &BlockRow, next: Option<&BlockRow>) -> Result<(), String> {
        let place = row.number;
        let block = Block::decode(&row.bytes).map_err(|e| Fault { number: place, rule: Rule::Bytes(e) }.to_string())?;
        let genesis = self.verifier.genesis();
        let hash = block.hash(&genesis.mesh());
        if let Err(rule) = self.verifier.finality(&block) {
            return Err(if is_forged(&block, &hash, next, self.verifier.registry()) {
                format!("block {place}: no seal fits, but the next block follows it: rewritten and re-hashed")
            } else {
                Fault { number: place, rule }.to_string()
            });
        }
        let number = block.header.number;
        if number != place {
            return Err(format!("block {place}: in its place is block {number}: swapped or replaced"));
        }
        let finality = self.verifier.accept(&block).map_err(|fault| fault.to_string())?;
        self.check_receipt(row, &block, hash, finality)?;
        self.report.blocks = number;
        self.report.height = block.header.tree_size;
        self.report.withheld += u32::from(block.attested.is_none());
        if finality == Finality::Final {
            self.report.newest_final = number;
        }
        if self.checkpoint.is_some_and(|receipt| receipt.number == number) {
            self.checkpoint_block = Some(hash);
        }
        Ok(())
    }

    /// What the archive has signed for a block is what it must still have.
    fn check_receipt(&self, row: &BlockRow, block: &Block, hash: Hash, finality: Finality) -> Result<(), String> {
        let number = row.number;
        let Some(receipt) = SignedReceipt::open(&row.receipt, self.verifier.genesis()) else {
            return Err(format!("block {number}: its receipt is not signed by an archive of the genesis"));
        };
        if (receipt.number, receipt.block) != (number, hash) {
            return Err(format!("block {number}: its receipt is for block {} {}", receipt.number, receipt.block));
        }
        if receipt.complete != block.attested.is_some() {
            return Err(format!(
                "block {number}: the records attested by the gateway were archived, but are not there"
            ));
        }
        if receipt.finality != finality || row.is_final != (finality == Finality::Final) {
            return Err(format!("block {number}: it is {finality:?} by its seals, but not as it was archived"));
        }
        Ok(())
    }

    /// A chain that was cut or replaced as a whole may be sound in itself, but it is not the one that was archived.
    fn check_end(&mut self, intact: bool, genesis: &[u8], snapshot: &[u8]) {
        let last = self.report.blocks;
        let state = ChainVerifier::resume(self.verifier.genesis().clone(), snapshot);
        let known = state.map_or(0, |state| state.head().number);
        let mut faults = Vec::new();
        match (self.checkpoint, self.checkpoint_block) {
            (Some(Receipt { number, block, .. }), Some(hash)) if hash != *block => {
                faults.push(format!("block {number}: is {hash}, but {block} was archived: rewritten"));
            }
            (Some(Receipt { number, .. }), None) if intact => {
                let how = if known > last { "its end was dropped" } else { "an older store was restored" };
                faults.push(format!("the store ends at block {last}, but block {number} was archived: {how}"));
            }
            _ => {}
        }
        if intact && known > last {
            faults.push(format!("the store ends at block {last}, but its state is that of block {known}"));
        } else if intact && snapshot != self.verifier.snapshot() {
            faults.push("the stored state is not the one that the blocks make".to_owned());
        }
        if codec::decode(genesis).is_none_or(|signed: SignedGenesis| signed.genesis != *self.verifier.genesis()) {
            faults.push("the stored genesis is not the one given".to_owned());
        }
        self.report.faults.append(&mut faults);
    }
}

/// Whether a block whose seals are wrong was made to look right: none of its seals fits, and the next block names it.
fn is_forged(block: &Block, hash: &Hash, next: Option<&BlockRow>, registry: &Registry) -> bool {
    let fits = |seal: &Seal| registry.validator_key(seal.validator).is_some_and(|key| seal.is_valid(key, hash));
    let next = next.and_then(|row| Block::decode(&row.bytes).ok());
    !block.seals.iter().any(fits) && next.is_some_and(|next| next.header.previous == *hash)
}
