//! The door of the body ECU: what an approval moves.
//!
//! It moves only on a decision that this ECU's own validator made live, by a quorum of precommits that it verified
//! itself; what was decided while it was away was meant for another moment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use device_chain::grant::Action;
use device_chain::tx::Transaction;
use device_chain::validator::Decision;
use serde::{Deserialize, Serialize};

use super::status::unix_ms;

/// Whether the doors are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// Nobody gets in.
    Locked,
    /// Open to whoever pulls the handle.
    Unlocked,
}

impl Door {
    /// One word for logs and status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Unlocked => "unlocked",
        }
    }
}

/// A line of `actions.log`.
#[derive(Serialize, Deserialize)]
struct Line {
    at_ms: u64,
    height: u32,
    door: Door,
    grant: String,
}

/// The doors and the log of what moved them.
pub struct Actuator {
    log: File,
    door: Door,
}

impl Actuator {
    /// The doors as `actions.log` in `folder` says they were left; locked at first.
    ///
    /// # Errors
    /// The log cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("actions.log");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        // a last line that a power cut tore is none: nothing moved
        let door = text.lines().rev().find_map(|line| serde_json::from_str::<Line>(line).ok()).map(|line| line.door);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let mut log = log.with_context(|| format!("cannot write {}", path.display()))?;
        if !text.is_empty() && !text.ends_with('\n') {
            log.write_all(b"\n")?;
        }
        Ok(Self { log, door: door.unwrap_or(Door::Locked) })
    }

    /// The doors now.
    #[must_use]
    pub const fn door(&self) -> Door {
        self.door
    }

    /// Does what a decision allows; the new position if it moved the doors.
    ///
    /// # Errors
    /// The log cannot be written: nothing moves that leaves no trace.
    pub fn act(&mut self, decision: &Decision) -> io::Result<Option<Door>> {
        let (Transaction::UseGrant(usage), true) = (&decision.tx, decision.live) else { return Ok(None) };
        let door = match usage.action {
            Action::Unlock => Door::Unlocked,
            Action::Lock => Door::Locked,
        };
        let line = Line { at_ms: unix_ms(), height: decision.height, door, grant: usage.digest.to_string() };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.log.write_all(&text)?;
        self.log.sync_data()?;
        self.door = door;
        Ok(Some(door))
    }
}

#[cfg(test)]
mod tests {
    use device_chain::grant::GrantUse;
    use device_chain::types::Hash;

    use super::*;

    fn decision(action: Action, live: bool) -> Decision {
        let usage = GrantUse { digest: Hash([7; 32]), issuer: 0, serial: 1, action, not_after: 9 };
        let tx = Transaction::UseGrant(usage);
        let bytes = tx.encode().unwrap();
        Decision { height: 5, hash: Hash::NIL, bytes, tx, round: 0, latency_us: None, live }
    }

    #[test]
    fn only_a_live_decision_moves_the_door_and_the_log_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let mut actuator = Actuator::open(folder.path()).unwrap();
        assert_eq!(actuator.act(&decision(Action::Unlock, false)).unwrap(), None);
        assert_eq!(actuator.door(), Door::Locked);
        assert_eq!(actuator.act(&decision(Action::Unlock, true)).unwrap(), Some(Door::Unlocked));

        fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join("actions.log"))
            .unwrap()
            .write_all(b"{\"at")
            .unwrap();
        let mut actuator = Actuator::open(folder.path()).unwrap();
        assert_eq!(actuator.door(), Door::Unlocked, "after a restart");
        assert_eq!(actuator.act(&decision(Action::Lock, true)).unwrap(), Some(Door::Locked));
        assert_eq!(Actuator::open(folder.path()).unwrap().door(), Door::Locked, "behind a torn line");
    }
}
