//! What may have been done to an archive behind the service's back, on copies of its store.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use device_chain::genesis::Genesis;
use device_chain::registry::Registry;
use device_chain::state::State;
use device_chain::tx::{Transaction, TxBytes};
use event_chain::block::Block;
use event_chain::build::BlockBuilder;
use rusqlite::{Connection, OpenFlags, params};

/// A manipulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// One bit of a block in the middle.
    FlippedBit,
    /// The newest block is gone.
    LastBlockDropped,
    /// Two neighbours have changed places.
    TwoBlocksSwapped,
    /// An older copy of the store was put back.
    OldStoreRestored,
    /// Something never happened: every block is made anew without it, and hashed anew.
    RewrittenAndRehashed,
}

impl Tampering {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::FlippedBit,
        Self::LastBlockDropped,
        Self::TwoBlocksSwapped,
        Self::OldStoreRestored,
        Self::RewrittenAndRehashed,
    ];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FlippedBit => "a flipped bit",
            Self::LastBlockDropped => "the last block dropped",
            Self::TwoBlocksSwapped => "two blocks swapped",
            Self::OldStoreRestored => "an old store restored",
            Self::RewrittenAndRehashed => "all of it rewritten and re-hashed",
        }
    }

    /// What `cloud-link verify` must say of it.
    #[must_use]
    pub const fn is_named(self) -> &'static str {
        match self {
            Self::FlippedBit => "WRONG       block",
            Self::LastBlockDropped | Self::OldStoreRestored => "was archived",
            Self::TwoBlocksSwapped => "swapped",
            Self::RewrittenAndRehashed => "re-hashed",
        }
    }

    /// Does it to the store of one car; `old` is an older copy of it.
    ///
    /// # Errors
    /// The store cannot be read or written, or has too few blocks.
    pub fn apply(self, store: &Path, old: &Path, genesis: &Genesis) -> Result<()> {
        if self == Self::OldStoreRestored {
            std::fs::copy(old, store)?;
            return Ok(());
        }
        let mut db = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let last: u32 = db.query_row("SELECT max(number) FROM block", [], |row| row.get(0))?;
        ensure!(last >= 3, "{last} blocks are too few to tamper with");
        let middle = last / 2;
        match self {
            Self::FlippedBit => {
                let mut bytes = block(&db, middle)?;
                let place = bytes.len() / 2;
                bytes[place] ^= 1;
                db.execute("UPDATE block SET bytes = ?1 WHERE number = ?2", params![bytes, middle])?;
            }
            Self::LastBlockDropped => {
                db.execute("DELETE FROM block WHERE number = ?1", [last])?;
            }
            Self::TwoBlocksSwapped => {
                for (from, to) in [(middle, 0), (middle + 1, middle), (0, middle + 1)] {
                    db.execute("UPDATE block SET number = ?2 WHERE number = ?1", [from, to])?;
                }
            }
            Self::OldStoreRestored => {}
            Self::RewrittenAndRehashed => rewrite(&mut db, last, genesis)?,
        }
        Ok(())
    }
}

/// A copy of a store, which may be in use.
///
/// # Errors
/// The store cannot be read, or the copy exists.
pub fn copy_store(store: &Path, copy: &Path) -> Result<()> {
    let db = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let copy = copy.to_str().context("a path of plain text")?;
    db.execute("VACUUM INTO ?1", [copy]).with_context(|| format!("cannot copy the store to {copy}"))?;
    Ok(())
}

fn block(db: &Connection, number: u32) -> Result<Vec<u8>> {
    Ok(db.query_row("SELECT bytes FROM block WHERE number = ?1", [number], |row| row.get(0))?)
}

/// Makes all blocks again without the alarms and the grants, with a chain of hashes that holds in itself. The seals
/// are the old ones: nobody has the keys for others.
fn rewrite(db: &mut Connection, last: u32, genesis: &Genesis) -> Result<()> {
    let mut builder = BlockBuilder::new(genesis.mesh());
    let mut registry = Registry::from(genesis);
    let mut state = State::new(genesis);
    let transaction = db.transaction()?;
    for number in 1..=last {
        let old = Block::decode(&block(&transaction, number)?)?;
        for bytes in old.decisions.iter() {
            match Transaction::decode(bytes).context("a decision")? {
                // the approval of the block before was made below, for the new block
                Transaction::EventBlock(_) | Transaction::Alarm { .. } | Transaction::UseGrant(_) => {}
                tx => decide(&mut builder, &mut state, &tx, &mut registry).map(|_| ())?,
            }
        }
        for record in old.attested.iter().flat_map(|records| records.iter()) {
            builder.attest(record.clone())?;
        }
        let header = builder.header(&state, old.header.time_ms);
        let closed = decide(&mut builder, &mut state, &Transaction::EventBlock(header), &mut registry)?;
        let mut new = closed.context("a header closes its block")?;
        new.seals = old.seals;
        transaction.execute("UPDATE block SET bytes = ?1 WHERE number = ?2", params![new.encode(), number])?;
    }
    transaction.commit()?;
    Ok(())
}

fn decide(
    builder: &mut BlockBuilder,
    state: &mut State,
    tx: &Transaction,
    registry: &mut Registry,
) -> Result<Option<Block>> {
    let bytes: TxBytes = tx.encode().context("a transaction too long")?;
    let closed = builder.decide(bytes.clone())?;
    state.apply(&bytes, tx, registry).map_err(|refusal| anyhow::anyhow!("a chain that cannot be: {refusal:?}"))?;
    Ok(closed)
}
