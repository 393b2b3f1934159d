//! A node before it runs: its files opened and checked against the genesis.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use device_chain::genesis::{Genesis, SignedGenesis, ValidatorEntry};
use device_chain::keys::{Device, SoftKeys};
use device_chain::sign::SigningKey;
use device_chain::tx::TxBytes;
use device_chain::types::{Hash, Height, Micros};
use device_chain::validator::Boot;
use journal::{FileCounter, FileFlash, Geometry};
use tokio::sync::watch;

use super::pairs::PairFile;
use super::sealed::SealKey;
use super::status::Status;
use super::{files, keyfile};
use crate::Ecu;
use crate::store::{Diagnosis, Store};

/// The flash of an ECU in a file: two banks of 256 KiB, as two groups of sectors of a chip with 4 KiB pages. A bank takes
/// about 500 approvals before it is rewritten.
pub const GEOMETRY: Geometry = Geometry { erase_size: 4096, write_size: 8, capacity: 2 * 256 * 1024 };
/// Longest genesis that is read: more than the limits of its parts allow.
const MAX_GENESIS: u64 = 64 * 1024;

/// Where a node finds its files, as `ecu-node provision` lays them out.
#[derive(Clone, Debug)]
pub struct NodePaths {
    /// Folder of the node: `keys.bin`, `pairs.bin`, `journal.bin`, `status.json`.
    pub state: PathBuf,
    /// The signed genesis.
    pub genesis: PathBuf,
    /// The maker's public key, hexadecimal text.
    pub maker_key: PathBuf,
    /// The monotonic counter, outside `state`: who puts an old copy of the folder back must not put it back, too.
    pub counter: PathBuf,
    /// What opens `keys.bin`, outside `state`: who takes the folder must not have it.
    pub kek: PathBuf,
}

impl NodePaths {
    /// The paths of the device `name` below the folder that `ecu-node provision` made.
    #[must_use]
    pub fn provisioned(folder: &Path, name: &str) -> Self {
        Self {
            state: folder.join(name),
            genesis: folder.join("genesis.bin"),
            maker_key: folder.join("maker.pub"),
            counter: folder.join(format!("{name}.counter")),
            kek: folder.join(format!("{name}.kek")),
        }
    }
}

/// The clock of a node (DC-60).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ClockSource {
    /// It has none, and goes by those of the others.
    None,
    /// The system's.
    #[default]
    System,
}

/// A node that is ready to [run](super::runtime::run).
pub struct Node {
    pub(super) genesis: Arc<Genesis>,
    pub(super) ecu: Box<Ecu<SoftKeys>>,
    pub(super) store: Store<FileFlash, FileCounter>,
    pub(super) identity: Arc<SigningKey>,
    pub(super) pairs: Arc<Mutex<PairFile>>,
    pub(super) status: watch::Sender<Status>,
    pub(super) epoch: Instant,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// The clock that it tells the others of; [`ClockSource::System`] at first.
    pub clock: ClockSource,
    /// Digest of the firmware that it says it runs (DC-47); none at first.
    pub firmware: Option<Hash>,
    diagnosis: Diagnosis,
    history: Vec<(Height, TxBytes)>,
}

/// Reads a genesis and checks everything: form, maker's signature, rules.
///
/// # Errors
/// What is wrong with which file.
pub fn open_genesis(genesis: &Path, maker_key: &Path) -> Result<Genesis> {
    let maker = files::read_public_key(maker_key)?;
    let bytes = files::read(genesis, MAX_GENESIS)?;
    SignedGenesis::open(&bytes, &maker).map_err(|error| anyhow!("{}: {error}", genesis.display()))
}

impl Node {
    /// Opens the files of a validator and checks that it is in the genesis and that the maker signed it. A journal that is
    /// missing or cannot be trusted makes it an amnesiac, see [`Self::diagnosis`]. Its clock starts now.
    ///
    /// # Errors
    /// A file is missing (except the journal), damaged, or of another car; it names the file.
    pub fn open(paths: &NodePaths) -> Result<Self> {
        let epoch = Instant::now();
        let genesis = open_genesis(&paths.genesis, &paths.maker_key)?;
        let device = keyfile::open(paths, &genesis)?;
        let Device::Validator(me) = device.device else {
            bail!("{} has the keys of an endpoint: use `ecu-node endpoint`", paths.state.display())
        };
        let identity = device.identity.context("a validator has an identity")?;
        let (path, mut keys) = (paths.state.join("pairs.bin"), device.keys);
        let (pairs, kept) = PairFile::open(&path, &genesis.mesh(), me, SealKey::read(&paths.kek)?)?;
        if kept.is_some_and(|kept| !keys.restore(&kept)) {
            bail!("{}: not the keys of this device: provision it again", path.display());
        }
        keys.keep();
        let mut ecu = Box::new(Ecu::new(keys));
        (ecu.validator_mut().install(&genesis, me))
            .map_err(|_| anyhow!("{}: it has no place for this node", paths.genesis.display()))?;
        let journal = paths.state.join("journal.bin");
        let mut reopen = || Ok((open_flash(&journal)?, FileCounter::open(&paths.counter)?));
        let opened = ecu
            .recover(&mut reopen)
            .map_err(|error| anyhow!("{}: {error}", journal.display()))
            .context("the journal cannot be opened: check the files and the disk, or provision this device again")?;

        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).context("the system has no randomness")?;
        let validator = ecu.validator_mut();
        validator.start(Boot { nonce: u64::from_le_bytes(nonce) }, Micros(0));
        let history = validator.history().filter_map(|(height, tx)| Some((height, TxBytes::from_slice(tx).ok()?)));
        let history = history.collect();
        let status = watch::Sender::new(Status::new(&genesis, &ecu, opened.diagnosis));
        let pairs = Arc::new(Mutex::new(pairs));
        let (diagnosis, identity, genesis) = (opened.diagnosis, Arc::new(identity), Arc::new(genesis));
        Ok(Self {
            genesis,
            ecu,
            store: opened.store,
            identity,
            pairs,
            status,
            epoch,
            folder: paths.state.clone(),
            clock: ClockSource::System,
            firmware: None,
            diagnosis,
            history,
        })
    }

    /// The genesis.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The node's entry in the genesis.
    #[must_use]
    pub fn entry(&self) -> &ValidatorEntry {
        &self.genesis().validators[usize::from(self.ecu.validator().index())]
    }

    /// What opening the journal found.
    #[must_use]
    pub const fn diagnosis(&self) -> Diagnosis {
        self.diagnosis
    }

    /// The last decisions that the journal holds (up to [`device_chain::limits::MAX_HISTORY`]), oldest first: whoever
    /// keeps decisions elsewhere finds those here that a crash kept from getting there.
    #[must_use]
    pub fn history(&self) -> &[(Height, TxBytes)] {
        &self.history
    }

    /// The instant from which the node counts its time; the bus must count from it, too.
    #[must_use]
    pub const fn epoch(&self) -> Instant {
        self.epoch
    }

    /// The node's status, renewed four times a second while it runs.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }
}

/// Opens the flash; one that is missing or of another size is put aside and begun anew, erased.
fn open_flash(path: &Path) -> io::Result<FileFlash> {
    match FileFlash::open(path, GEOMETRY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => FileFlash::create(path, GEOMETRY),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            fs::rename(path, path.with_extension("damaged"))?;
            FileFlash::create(path, GEOMETRY)
        }
        opened => opened,
    }
}
