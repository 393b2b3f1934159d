//! What a running gateway shows of itself, beside what its node shows.

use std::fmt;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use cloud_link::uplink::Window;
use ecu_node::linux::files;
use serde::{Deserialize, Serialize};

use crate::chain::ChainStatus;
use crate::grants::{GrantState, GrantStatus};

/// Name of the file in the gateway's folder.
const FILE: &str = "gateway.json";
const MAX_FILE: u64 = 256 * 1024;

/// The status of a gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// The Event Chain.
    pub chain: ChainStatus,
    /// What was found of chain.log at the start.
    pub log: String,
    /// Blocks on their way to the cloud.
    pub window: WindowStatus,
    /// Why the last attempt to reach the cloud failed, empty after a success; nothing without a cloud.
    pub uplink: Option<String>,
    /// Grants of this boot, oldest first.
    pub grants: Vec<GrantStatus>,
    /// Signals recorded since the start.
    pub recorded: u64,
}

/// Blocks on their way to the cloud.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WindowStatus {
    /// The newest sealed block that came here.
    pub sealed: u32,
    /// The newest block that left the car on the archive's receipt.
    pub archived: u32,
    /// Blocks that are here.
    pub waiting: usize,
    /// Blocks whose records were given up for want of room.
    pub thinned: u64,
    /// Blocks whose files are damaged.
    pub damaged: usize,
}

impl WindowStatus {
    /// A picture of the window.
    #[must_use]
    pub fn of(window: &Window) -> Self {
        Self {
            sealed: window.newest(),
            archived: window.archived().map_or(0, |receipt| receipt.number),
            waiting: window.blocks().count(),
            thinned: window.thinned(),
            damaged: window.damaged().len(),
        }
    }
}

impl GatewayStatus {
    /// Replaces the status file in a gateway's folder.
    ///
    /// # Errors
    /// Of the file system.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        files::replace(&folder.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads the status file in a gateway's folder.
    ///
    /// # Errors
    /// There is none, or it is no status.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let bytes = files::read(&path, MAX_FILE)?;
        serde_json::from_slice(&bytes).with_context(|| format!("{}: this is no status", path.display()))
    }
}

impl fmt::Display for GatewayStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, window, .. } = self;
        writeln!(f, "{:<12}{} decisions and {} records open", "block", chain.open_decisions, chain.open_records)?;
        write!(f, "{:<12}{} closed, {} sealed, {} archived", "blocks", chain.blocks, window.sealed, window.archived)?;
        if let Some(sealing) = chain.sealing.as_ref().filter(|sealing| sealing.seals < sealing.quorum) {
            write!(f, "; block {} has {} of {} seals", sealing.block, sealing.seals, sealing.quorum)?;
        }
        writeln!(
            f,
            "\n{:<12}{} waiting, {} thinned, {} damaged",
            "window", window.waiting, window.thinned, window.damaged
        )?;
        let uplink = match self.uplink.as_deref() {
            None => "no cloud configured",
            Some("") => "well",
            Some(error) => error,
        };
        writeln!(f, "{:<12}{uplink}", "uplink")?;
        writeln!(f, "{:<12}{} recorded, {} found no room", "signals", self.recorded, chain.dropped_records)?;
        if let Some(broken) = &chain.broken {
            writeln!(f, "{:<12}{broken}", "BROKEN")?;
        }
        for grant in &self.grants {
            let state = match &grant.state {
                GrantState::Received => "received".to_owned(),
                GrantState::Ready => "checked".to_owned(),
                GrantState::Asked => "asked for".to_owned(),
                GrantState::Used { height, latency_us: Some(us) } => format!("used at height {height}, {us} us"),
                GrantState::Used { height, latency_us: None } => format!("used at height {height}"),
                GrantState::Refused { reason } => format!("refused: {reason}"),
            };
            writeln!(f, "{:<12}{:<6} {state}", "grant", grant.serial)?;
        }
        Ok(())
    }
}
