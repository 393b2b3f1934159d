//! A fleet of one small car, in a folder of its own.
#![allow(dead_code, reason = "every test file uses its part")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use cloud_link::hex;
use cloud_link::keys::Keys;
use cloud_link::service::api::{Service, router};
use cloud_link::service::archive::{Archive, register};
use cloud_link::service::trust::TrustPolicy;
use cloud_link::uplink::UplinkConfig;
use event_chain::block::Block;
use event_chain::fixture::{Car, archive_key};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const VEHICLE: &str = "WVWZZZ1";
/// Times are whatever a test says, where it says so.
pub const NOW_MS: u64 = event_chain::fixture::START_MS + 1000;

pub struct Fleet {
    pub folder: TempDir,
    pub car: Car,
}

impl Fleet {
    /// A registered car, and keys that its genesis knows.
    pub fn new() -> Self {
        let fleet = Self { folder: tempfile::tempdir().unwrap(), car: Car::new(VEHICLE) };
        Keys::generate(&fleet.path("keys")).unwrap();
        // The seeds of `fixture::fleet_key` and `fixture::archive_key`.
        fs::write(fleet.path("keys/fleet.key"), hex::encode(&[90; 32])).unwrap();
        fs::write(fleet.path("keys/archive.key"), hex::encode(&[91; 32])).unwrap();
        fs::write(fleet.path("car.genesis"), fleet.car.signed_genesis()).unwrap();
        fs::write(fleet.path("maker.pub"), hex::encode(&fleet.car.maker.public().0)).unwrap();
        register(&fleet.path("fleet.db"), &fleet.car.signed_genesis(), &fleet.car.maker.public()).unwrap();
        fleet
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn archive(&self) -> Archive {
        Archive::open(&self.path("fleet.db"), archive_key(), &self.path("checkpoints")).unwrap()
    }

    /// Drives and archives.
    pub fn archive_blocks(&mut self, count: usize) -> Vec<Block> {
        self.archive_blocks_at(NOW_MS, count)
    }

    /// Like [`Self::archive_blocks`], by an archive whose clock says so.
    pub fn archive_blocks_at(&mut self, now_ms: u64, count: usize) -> Vec<Block> {
        let mut archive = self.archive();
        let blocks: Vec<Block> = (0..count).map(|_| self.car.drive()).collect();
        for block in &blocks {
            archive.ingest(VEHICLE, &block.encode(), now_ms).unwrap();
        }
        blocks
    }

    pub fn checkpoint(&self) -> PathBuf {
        cloud_link::checkpoint::path(&self.path("checkpoints"), &self.car.genesis.mesh())
    }

    /// Serves on a free port until the handle is aborted.
    pub async fn serve(&self) -> (SocketAddr, JoinHandle<()>) {
        let keys = Keys::load(&self.path("keys")).unwrap();
        let policy = TrustPolicy { max_age_ms: 1 << 50, ..TrustPolicy::default() };
        let service = Service::new(self.archive(), keys.fleet, keys.operator, policy);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (address, tokio::spawn(async move { axum::serve(listener, router(service)).await.unwrap() }))
    }

    /// Runs the program in the folder.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cloud-link")).args(arguments).current_dir(self.folder.path()).output().unwrap()
    }
}

/// An uplink that does not wait long.
pub fn config(address: SocketAddr) -> UplinkConfig {
    let mut config = UplinkConfig::new(format!("http://{address}").parse().unwrap());
    config.retry = Duration::from_millis(10);
    config.retry_cap = Duration::from_millis(100);
    config.look = Duration::from_millis(5);
    config.status = Duration::from_millis(20);
    config
}
