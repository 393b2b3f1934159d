//! A car of one's own on the virtual buses, one at a time.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use tempfile::TempDir;
use vcan_tests::car::{BusKind, Car};
use vcan_tests::workspace::temporary;

static BUSES: Mutex<()> = Mutex::new(());

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The buses, for one car at a time.
pub fn buses() -> MutexGuard<'static, ()> {
    BUSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A car on the buses, which nobody else has meanwhile.
pub struct Bench {
    // in the order in which they are to end
    pub car: Car,
    _folder: TempDir,
    _buses: MutexGuard<'static, ()>,
}

impl Bench {
    #[allow(dead_code, reason = "a test may have a configuration of its own")]
    pub fn on(bus: BusKind) -> Self {
        Self::with(&repository().join("car.toml"), bus)
    }

    pub fn with(config: &Path, bus: BusKind) -> Self {
        let buses = buses();
        let folder = tempfile::tempdir_in(temporary()).expect("a temporary folder");
        let car = Car::prepare(config, bus, folder.path()).expect("run under scripts/vcan");
        Self { car, _folder: folder, _buses: buses }
    }

    /// Runs a scenario, and says what it saw.
    pub fn see(&mut self, scenario: impl FnOnce(&mut Car) -> Result<String>) {
        match scenario(&mut self.car) {
            Ok(seen) => println!("{seen}"),
            Err(error) => panic!("{error:#}"),
        }
    }
}
