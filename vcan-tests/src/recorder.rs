//! Records a bus as `candump -L` text.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use can_bus::BusEvent;
use can_bus::candump::{Interface, LogLine};
use ecu_node::linux::bus::Bus;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A recording under way; it ends when this is dropped.
pub struct Recorder {
    task: JoinHandle<()>,
}

impl Recorder {
    /// Records what `bus` hears into the file at `path`; `interface` is the name in its lines.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn start(runtime: &Handle, mut bus: impl Bus + 'static, interface: &str, path: &Path) -> Result<Self> {
        let mut file = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
        let interface = Interface::try_from(interface).ok().context("the name of an interface is too long")?;
        let task = runtime.spawn(async move {
            while let Ok(event) = bus.event().await {
                let BusEvent::Received { frame, .. } = event else { continue };
                let time_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
                let line = LogLine { time_us, interface: interface.clone(), frame };
                if writeln!(file, "{line}").is_err() {
                    return; // the disk is full: the rest of the demo may still do without
                }
            }
        });
        Ok(Self { task })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
