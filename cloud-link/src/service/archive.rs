//! The archive in SQLite: vehicles, blocks, receipts.
//!
//! Journal mode DELETE and `synchronous = FULL`: what is committed survives a power cut, and the store may lie on a
//! file system without shared memory maps, which WAL needs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use device_chain::genesis::{Genesis, GenesisError, SignedGenesis};
use device_chain::sign::SigningKey;
use device_chain::types::{Hash, MeshId, PublicKey};
use event_chain::block::{Block, MAX_BLOCK_BYTES};
use event_chain::receipt::Receipt;
use event_chain::verify::{ChainVerifier, Fault};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use crate::{checkpoint, hex};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS vehicle (
    mesh BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, genesis BLOB NOT NULL, maker BLOB NOT NULL,
    snapshot BLOB NOT NULL, alarm_ms INTEGER, claim TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS block (
    mesh BLOB NOT NULL, number INTEGER NOT NULL, final INTEGER NOT NULL, bytes BLOB NOT NULL, receipt BLOB NOT NULL,
    PRIMARY KEY (mesh, number)
) STRICT;
CREATE TABLE IF NOT EXISTS conflict (
    mesh BLOB NOT NULL, hash BLOB NOT NULL, bytes BLOB NOT NULL, seen_ms INTEGER NOT NULL, PRIMARY KEY (mesh, hash)
) STRICT;
CREATE TABLE IF NOT EXISTS issued (
    mesh BLOB NOT NULL, serial INTEGER NOT NULL, digest BLOB NOT NULL, grant BLOB NOT NULL, issued_ms INTEGER NOT NULL,
    used_height INTEGER, PRIMARY KEY (mesh, serial)
) STRICT;
";

/// How long to wait for another process that writes to the same store, e.g. `register`.
const BUSY: Duration = Duration::from_secs(5);

/// Why the archive does not do what it was asked.
#[derive(Debug)]
pub enum ArchiveError {
    /// No such vehicle is registered.
    UnknownVehicle(String),
    /// Another genesis is registered under this name.
    NameTaken(String),
    /// The genesis to register is not sound.
    Genesis(GenesisError),
    /// Another block comes next.
    Gap {
        /// Its number.
        expected: u32,
    },
    /// Another block with this number is stored.
    Conflict {
        /// The number.
        number: u32,
        /// The hash of the stored one.
        stored: Hash,
        /// The hash of the one sent.
        sent: Hash,
    },
    /// The block breaks a rule.
    Invalid(Fault),
    /// A grant cannot be issued like this.
    Order(String),
    /// The vehicle has no grant with this serial.
    UnknownGrant(u64),
    /// The store holds what we have not written.
    Damaged(String),
    /// SQLite.
    Store(rusqlite::Error),
    /// The checkpoint in this file could not be read or written.
    Checkpoint(PathBuf, std::io::Error),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVehicle(vehicle) => {
                write!(f, "vehicle {vehicle:?} is not registered; use `cloud-link register`")
            }
            Self::NameTaken(name) => write!(f, "vehicle {name:?} is registered with another genesis or maker"),
            Self::Genesis(error) => write!(f, "genesis: {error}"),
            Self::Gap { expected } => write!(f, "block {expected} is to come first"),
            Self::Conflict { number, stored, sent } => {
                write!(f, "block {number} is stored as {stored}, and {sent} was sent: a fork")
            }
            Self::Invalid(fault) => write!(f, "{fault}"),
            Self::Order(what) => f.write_str(what),
            Self::UnknownGrant(serial) => write!(f, "no grant {serial} was issued to this vehicle"),
            Self::Damaged(what) => write!(f, "the store is damaged: {what}; run `cloud-link verify`"),
            Self::Store(error) => write!(f, "the store failed: {error}"),
            Self::Checkpoint(path, error) => write!(f, "the checkpoint {} failed: {error}", path.display()),
        }
    }
}

impl std::error::Error for ArchiveError {}

impl From<rusqlite::Error> for ArchiveError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error)
    }
}

/// The store, with the key that signs receipts and the folder of checkpoints.
pub struct Archive {
    pub(super) db: Connection,
    pub(super) key: SigningKey,
    pub(super) checkpoints: PathBuf,
}

/// A registered vehicle.
pub(super) struct Vehicle {
    pub(super) genesis: Genesis,
    pub(super) mesh: MeshId,
    pub(super) verifier: ChainVerifier,
}

/// A stored block as its row.
pub(crate) struct BlockRow {
    pub(crate) number: u32,
    /// Whether a quorum sealed it: an index of what the seals say.
    pub(crate) is_final: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) receipt: Vec<u8>,
}

impl Archive {
    /// Opens or makes the store at `path`. `key` signs receipts; `checkpoints` is a folder outside the store.
    ///
    /// # Errors
    /// [`ArchiveError::Store`], [`ArchiveError::Checkpoint`], and [`ArchiveError::Damaged`] if the store does not hold
    /// the block of a checkpoint.
    pub fn open(path: &Path, key: SigningKey, checkpoints: &Path) -> Result<Self, ArchiveError> {
        std::fs::create_dir_all(checkpoints).map_err(|e| ArchiveError::Checkpoint(checkpoints.to_owned(), e))?;
        let archive = Self { db: open_store(path)?, key, checkpoints: checkpoints.to_owned() };
        for name in vehicle_names(&archive.db)? {
            let vehicle = find(&archive.db, &name)?;
            archive.check_checkpoint(&name, &vehicle)?;
        }
        Ok(archive)
    }

    /// A store that was restored from a backup must not go on as if nothing were missing.
    fn check_checkpoint(&self, name: &str, vehicle: &Vehicle) -> Result<(), ArchiveError> {
        let path = checkpoint::path(&self.checkpoints, &vehicle.mesh);
        let read = checkpoint::read(&path, &vehicle.genesis).map_err(|e| ArchiveError::Checkpoint(path, e))?;
        let Some(Receipt { number, block, .. }) = read else { return Ok(()) };
        let stored = row(&self.db, &vehicle.mesh, number)?.and_then(|row| Block::decode(&row.bytes).ok());
        if stored.is_some_and(|stored| stored.hash(&vehicle.mesh) == block) {
            return Ok(());
        }
        Err(ArchiveError::Damaged(format!("block {number} of vehicle {name} is not there as it was archived")))
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`ArchiveError::Store`].
    pub fn ping(&self) -> Result<(), ArchiveError> {
        Ok(self.db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?)
    }
}

/// Opens or makes a store, for reading and writing.
pub(super) fn open_store(path: &Path) -> Result<Connection, ArchiveError> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "DELETE")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(SCHEMA)?;
    Ok(db)
}

/// Opens an existing store for reading. A transaction that a kill or a power cut left half done is rolled back, which
/// is why this is no read-only file to SQLite (unless it is to us).
///
/// # Errors
/// Of SQLite, e.g. if there is no store.
pub fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// Registers a vehicle in the store at `path`, out of band: `genesis` is the maker's signed genesis. The same vehicle
/// again changes nothing.
///
/// # Errors
/// [`ArchiveError::Genesis`], [`ArchiveError::NameTaken`], [`ArchiveError::Store`].
pub fn register(path: &Path, genesis: &[u8], maker: &PublicKey) -> Result<Genesis, ArchiveError> {
    let opened = SignedGenesis::open(genesis, maker).map_err(ArchiveError::Genesis)?;
    let (name, mesh) = (opened.vehicle.as_str(), opened.mesh());
    let mut db = open_store(path)?;
    let store = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let registered: Option<(Vec<u8>, Vec<u8>)> = store
        .query_row("SELECT genesis, maker FROM vehicle WHERE name = ?1 OR mesh = ?2", params![name, mesh.0.0], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match registered {
        Some(same) if same == (genesis.to_vec(), maker.0.to_vec()) => return Ok(opened),
        Some(_) => return Err(ArchiveError::NameTaken(name.to_owned())),
        None => {}
    }
    let snapshot = ChainVerifier::new(opened.clone()).snapshot();
    store.execute(
        "INSERT INTO vehicle (mesh, name, genesis, maker, snapshot) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![mesh.0.0, name, genesis, maker.0, snapshot],
    )?;
    store.commit()?;
    Ok(opened)
}

fn vehicle_names(db: &Connection) -> Result<Vec<String>, ArchiveError> {
    let mut query = db.prepare_cached("SELECT name FROM vehicle ORDER BY name")?;
    let names = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names)
}

/// The vehicle with this name or mesh identity in hexadecimal.
pub(super) fn find(db: &Connection, vehicle: &str) -> Result<Vehicle, ArchiveError> {
    let mesh = hex::decode32(vehicle);
    let mut query = db.prepare_cached("SELECT genesis, maker, snapshot FROM vehicle WHERE name = ?1 OR mesh = ?2")?;
    let row: Option<(Vec<u8>, [u8; 32], Vec<u8>)> =
        query.query_row(params![vehicle, mesh], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let (genesis, maker, snapshot) = row.ok_or_else(|| ArchiveError::UnknownVehicle(vehicle.to_owned()))?;
    let genesis = SignedGenesis::open(&genesis, &PublicKey(maker))
        .map_err(|error| ArchiveError::Damaged(format!("genesis of {vehicle}: {error}")))?;
    let verifier = ChainVerifier::resume(genesis.clone(), &snapshot)
        .ok_or_else(|| ArchiveError::Damaged(format!("state of {vehicle}")))?;
    Ok(Vehicle { mesh: genesis.mesh(), genesis, verifier })
}

/// Stored blocks from number `from` on: at most `count`, and no more once there is a block's limit of bytes.
pub(crate) fn rows(db: &Connection, mesh: &MeshId, from: u32, count: usize) -> rusqlite::Result<Vec<BlockRow>> {
    let mut query = db.prepare_cached(
        "SELECT number, final, bytes, receipt FROM block WHERE mesh = ?1 AND number >= ?2 ORDER BY number",
    )?;
    let read = |row: &Row<'_>| {
        Ok(BlockRow { number: row.get(0)?, is_final: row.get(1)?, bytes: row.get(2)?, receipt: row.get(3)? })
    };
    let (mut page, mut bytes) = (Vec::new(), 0);
    for row in query.query_map(params![mesh.0.0, from], read)?.take(count) {
        let row = row?;
        bytes += row.bytes.len();
        page.push(row);
        if bytes >= MAX_BLOCK_BYTES {
            break;
        }
    }
    Ok(page)
}

/// The stored block with this number.
pub(super) fn row(db: &Connection, mesh: &MeshId, number: u32) -> Result<Option<BlockRow>, ArchiveError> {
    Ok(rows(db, mesh, number, 1)?.into_iter().find(|row| row.number == number))
}

/// The newest block that a quorum sealed: with it all before it are final, as each names the one before.
pub(super) fn newest_final(db: &Connection, mesh: &MeshId) -> Result<Option<u32>, ArchiveError> {
    let mut query = db.prepare_cached("SELECT max(number) FROM block WHERE mesh = ?1 AND final")?;
    Ok(query.query_row([mesh.0.0], |row| row.get(0))?)
}
