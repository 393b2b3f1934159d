//! Nodes as processes on SocketCAN.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::backend::{Backend, Play, Program};
use super::chip;
use super::outside::{LINE, Outside};
use super::plan::Config;
use crate::args;
use crate::bus::{Tap, open_vcan, require_virtual};
use crate::process::{Process, program};

/// The processes that run.
pub struct Processes {
    config: Config,
    folder: PathBuf,
    running: BTreeMap<String, Process>,
    /// Where chips are emulated, if not here.
    outside: Option<Outside>,
}

impl Processes {
    /// None yet.
    ///
    /// # Errors
    /// An interface of the configuration is not virtual.
    pub fn new(config: &Config, folder: &Path) -> Result<Self> {
        for interface in config.interfaces() {
            require_virtual(&interface)?;
        }
        Ok(Self {
            config: config.clone(),
            folder: folder.to_owned(),
            running: BTreeMap::new(),
            outside: Outside::find(),
        })
    }

    fn command(&self, name: &str, program: &Program) -> Result<(&'static str, Vec<String>)> {
        let state = self.folder.join("car").join(name);
        let (state, mesh) = (state.display(), self.config.mesh());
        Ok(match program {
            Program::Ecu => ("ecu-node", args!["run", "--state", state, "--interface", mesh].to_vec()),
            Program::Chip => {
                if self.outside.is_some() {
                    return Ok(("ecu-node", args!["bridge", "--line", LINE, "--interface", mesh].to_vec()));
                }
                let image = chip::image()?;
                let image = args!["emulate", "--image", image.display(), "--state", state, "--interface", mesh];
                ("ecu-node", image.to_vec())
            }
            Program::Sensor(every) => {
                let every = every.as_secs_f64();
                ("ecu-node", args!["endpoint", "--state", state, "--interface", mesh, "--every", every].to_vec())
            }
            Program::Gateway => {
                ("vehicle-gateway", args!["run", "--config", self.config.path().display(), "--state", state].to_vec())
            }
            Program::Drive(Play { log, speed, repeat }) => {
                let car = self.config.car().context("segments.car: this car has no bus of its own")?;
                let mut play = args!["play", "--log", log.display(), "--interface", car, "--speed", speed].to_vec();
                if *repeat {
                    play.push("--loop".into());
                }
                ("vehicle-gateway", play)
            }
        })
    }

    fn take(&mut self, name: &str) -> Result<Process> {
        self.running.remove(name).with_context(|| format!("{name} does not run"))
    }
}

impl Backend for Processes {
    fn start(&mut self, name: &str, what: &Program) -> Result<()> {
        ensure!(!self.running.contains_key(name), "{name} runs already");
        let (binary, command) = self.command(name, what)?;
        let mut log = self.folder.join("logs").join(format!("{name}.log"));
        let said = log.clone();
        if matches!(what, Program::Chip) && self.outside.is_some() {
            log.set_extension("bridge.log");
        }
        self.running.insert(name.to_owned(), Process::start(name, &program(binary)?, &command, &log)?);
        if let (Program::Chip, Some(outside)) = (what, &mut self.outside) {
            outside.start(&chip::image()?, &self.folder.join("car"), name, &said)?;
        }
        Ok(())
    }

    fn kill(&mut self, name: &str) -> Result<()> {
        self.outside.as_mut().map_or(Ok(()), |outside| outside.kill(name))?;
        self.take(name)?.kill()
    }

    fn stop(&mut self, name: &str) -> Result<()> {
        self.outside.as_mut().map_or(Ok(()), |outside| outside.kill(name))?;
        self.take(name)?.terminate()
    }

    fn wait(&mut self, name: &str, timeout: Duration) -> Result<()> {
        let status = self.take(name)?.wait(timeout)?;
        ensure!(status.success(), "{name} ended with {status}");
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        self.running.values_mut().try_for_each(Process::check)
    }

    fn names(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    fn tap(&self, interface: &str) -> Result<Tap> {
        Ok(Tap::new(open_vcan(interface)?))
    }
}
