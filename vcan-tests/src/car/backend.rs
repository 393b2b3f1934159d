//! How nodes are started and stopped: as processes on SocketCAN, or as tasks on the simulated bus.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::bus::Tap;

/// A drive to be played.
#[derive(Clone, Debug)]
pub struct Play {
    /// `candump -L` text, perhaps gzipped.
    pub log: PathBuf,
    /// Times as fast as it was recorded.
    pub speed: f64,
    /// Over and over again.
    pub repeat: bool,
}

/// What a node runs.
#[derive(Clone, Debug)]
pub enum Program {
    /// `ecu-node run`.
    Ecu,
    /// `ecu-node emulate`: a validator as firmware.
    Chip,
    /// `vehicle-gateway run`.
    Gateway,
    /// `ecu-node endpoint`, with a record at this interval.
    Sensor(Duration),
    /// `vehicle-gateway play`.
    Drive(Play),
}

/// Runs nodes by name.
pub trait Backend {
    /// Starts a node.
    fn start(&mut self, name: &str, program: &Program) -> Result<()>;
    /// Stops it without warning.
    fn kill(&mut self, name: &str) -> Result<()>;
    /// Asks it to stop, and waits until it has.
    fn stop(&mut self, name: &str) -> Result<()>;
    /// Waits until it ends by itself.
    fn wait(&mut self, name: &str, timeout: Duration) -> Result<()>;
    /// That none has ended badly.
    fn check(&mut self) -> Result<()>;
    /// What was started and not stopped.
    fn names(&self) -> Vec<String>;
    /// A place on a bus for somebody else.
    fn tap(&self, interface: &str) -> Result<Tap>;
}
