//! Verifies a whole store of one vehicle from the genesis, as somebody who trusts neither the store nor who keeps it.

use device_chain::block::Finality;
use device_chain::genesis::Genesis;
use device_chain::types::Hash;
use event_chain::block::Block;
use event_chain::receipt::{Receipt, SignedReceipt};
use event_chain::verify::{ChainVerifier, Fault, Rule};
use rusqlite::{Connection, ErrorCode, OptionalExtension};

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

/// Verifies the chain of `genesis` in `store`, against a `checkpoint` kept outside of it.
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
        checkpoint_block: None,
    };
    match audit.run(store, checkpoint) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            audit.report.faults.push(format!("the store itself is damaged: {error}"));
        }
        done => done?,
    }
    Ok(audit.report)
}

struct Audit {
    report: Report,
    verifier: ChainVerifier,
    /// The hash of the verified block with the checkpoint's number.
    checkpoint_block: Option<Hash>,
}

impl Audit {
    fn run(&mut self, store: &Connection, checkpoint: Option<&Receipt>) -> rusqlite::Result<()> {
        let mesh = self.verifier.genesis().mesh().0.0;
        let snapshot: Option<Vec<u8>> =
            store.query_row("SELECT snapshot FROM vehicle WHERE mesh = ?1", [mesh], |row| row.get(0)).optional()?;
        let Some(snapshot) = snapshot else {
            self.report.faults.push(format!("no vehicle with mesh identity {} is in the store", Hash(mesh)));
            return Ok(());
        };
        let mut query = store.prepare("SELECT number, bytes, receipt FROM block WHERE mesh = ?1 ORDER BY number")?;
        let mut rows = query.query([mesh])?;
        while let Some(row) = rows.next()? {
            let (place, bytes, receipt): (u32, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if let Err(fault) = self.take(place, &bytes, &receipt, checkpoint) {
                // What follows a wrong block cannot be verified.
                self.report.faults.push(fault);
                break;
            }
        }
        let all_taken = self.report.faults.is_empty();
        self.check_end(checkpoint);
        if all_taken && snapshot != self.verifier.snapshot() {
            self.report.faults.push("the stored state is not the one that the blocks make".to_owned());
        }
        Ok(())
    }

    /// Takes the block at `place`.
    fn take(&mut self, place: u32, bytes: &[u8], receipt: &[u8], checkpoint: Option<&Receipt>) -> Result<(), String> {
        let block = Block::decode(bytes).map_err(|e| Fault { number: place, rule: Rule::Bytes(e) }.to_string())?;
        let number = block.header.number;
        if number != place {
            return Err(format!("block {place}: in its place is block {number}: swapped or replaced"));
        }
        let finality = self.verifier.accept(&block).map_err(|fault| fault.to_string())?;
        let hash = self.verifier.head().hash;
        match SignedReceipt::open(receipt, self.verifier.genesis()) {
            Some(receipt) if receipt.number == number && receipt.block == hash && receipt.finality == finality => {}
            Some(receipt) => {
                return Err(format!("block {number}: its receipt is for block {} {}", receipt.number, receipt.block));
            }
            None => return Err(format!("block {number}: its receipt is not signed by an archive of the genesis")),
        }
        self.report.blocks = number;
        self.report.height = block.header.tree_size;
        self.report.withheld += u32::from(block.attested.is_none());
        if finality == Finality::Final {
            self.report.newest_final = number;
        }
        if checkpoint.is_some_and(|receipt| receipt.number == number) {
            self.checkpoint_block = Some(hash);
        }
        Ok(())
    }

    /// A chain that was cut or replaced as a whole may be sound in itself, but it is not the one that was archived.
    fn check_end(&mut self, checkpoint: Option<&Receipt>) {
        let Some(Receipt { number, block, .. }) = checkpoint else { return };
        let fault = match self.checkpoint_block {
            Some(hash) if hash == *block => return,
            Some(hash) => format!("block {number}: is {hash}, but {block} was archived: rewritten"),
            None if self.report.faults.is_empty() => format!(
                "the store ends at block {}, but block {number} was archived: its end was dropped, or an older store restored",
                self.report.blocks
            ),
            None => return, // the fault is named, and what is behind it could not be verified
        };
        self.report.faults.push(fault);
    }
}
