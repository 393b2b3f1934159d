//! A car: its keys and genesis, its nodes, its cloud, and what of it can be stopped, broken and watched.

mod backend;
mod chip;
mod outside;
mod plan;
mod processes;
mod tasks;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use device_chain::genesis::{Genesis, Role};
use device_chain::types::ValidatorIndex;
use ecu_node::linux::node::{NodePaths, open_genesis};
use ecu_node::linux::status::{MAX_AGE, Status};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

pub use backend::{Play, Program};
pub use chip::{Decided, Said};
pub use plan::{BusKind, Config, record_other, with_authorities, with_times};

use crate::bus::Tap;
use crate::cloud::{Cloud, CloudPaths};
use crate::process::last_lines;
use crate::recorder::Recorder;
use crate::relay::Relay;
use crate::wait::wait_for;
use backend::Backend;

/// How long a node may take to write its status on a machine that has other things to do.
const STATUS_TIMEOUT: Duration = Duration::from_secs(20);

/// A car with its cloud. Dropping it ends everything that it started.
pub struct Car {
    // in the order in which they are to end
    nodes: Box<dyn Backend>,
    recorders: Vec<Recorder>,
    cloud: Cloud,
    relay: Relay,
    config: Config,
    bus: BusKind,
    genesis: Genesis,
    folder: PathBuf,
    runtime: Runtime,
}

impl Car {
    /// Makes keys, genesis and stores in `folder` if they are not there, starts the cloud and records the buses. No node
    /// of the car runs yet.
    ///
    /// # Errors
    /// What cannot be made or started, and why.
    pub fn prepare(config: &Path, bus: BusKind, folder: &Path) -> Result<Self> {
        let runtime = Runtime::new().context("cannot start")?;
        let folder = std::path::absolute(folder)?;
        fs::create_dir_all(folder.join("logs")).with_context(|| format!("cannot make {}", folder.display()))?;
        let relay = Relay::start().context("no relay")?;
        let config = Config::write(config, &folder, relay.address())?;
        plan::provision(&config, &folder)?;
        let stores = folder.join("car");
        let genesis = open_genesis(&stores.join("genesis.bin"), &stores.join("maker.pub"))?;
        let paths = CloudPaths {
            keys: folder.join("cloud").join("keys"),
            store: folder.join("cloud").join("fleet.db"),
            checkpoints: folder.join("cloud").join("checkpoints"),
            genesis: stores.join("genesis.bin"),
            maker_key: stores.join("maker.pub"),
            log: folder.join("logs").join("cloud-link.log"),
        };
        let cloud = Cloud::start(paths, &genesis.vehicle, runtime.handle().clone())?;
        relay.lead_to(cloud.address());
        let nodes: Box<dyn Backend> = match bus {
            BusKind::Vcan => Box::new(processes::Processes::new(&config, &folder)?),
            BusKind::Sim => Box::new(tasks::Tasks::new(&config, &folder, runtime.handle().clone())?),
        };
        let mut car = Self { nodes, recorders: Vec::new(), cloud, relay, config, bus, genesis, folder, runtime };
        for interface in car.config.interfaces() {
            let log = car.folder.join(format!("{interface}.log"));
            let tap = car.tap(&interface)?;
            car.recorders.push(Recorder::start(car.runtime.handle(), tap.into_bus(), &interface, &log)?);
        }
        Ok(car)
    }

    /// Starts all validators.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn start_validators(&mut self) -> Result<()> {
        self.validators().iter().try_for_each(|name| self.start(name))
    }

    /// Starts a validator.
    ///
    /// # Errors
    /// It cannot be started, or runs.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let role = self.genesis.validators.iter().find(|entry| entry.name == name).map(|entry| entry.role);
        let program = match role.with_context(|| format!("{name} is no validator"))? {
            Role::Gateway => Program::Gateway,
            _ => Program::Ecu,
        };
        self.nodes.start(name, &program)
    }

    /// Starts a validator as firmware on an emulated chip.
    ///
    /// # Errors
    /// The firmware was not built, or the node runs.
    pub fn start_chip(&mut self, name: &str) -> Result<()> {
        self.nodes.start(name, &Program::Chip)
    }

    /// What a validator on an emulated chip has said since it started.
    ///
    /// # Errors
    /// Nothing yet.
    pub fn chip(&self, name: &str) -> Result<Said> {
        Said::read(&self.folder.join("logs").join(format!("{name}.log")))
    }

    /// Starts the first endpoint as a door sensor with a record every so often.
    ///
    /// # Errors
    /// It cannot be started, or runs.
    pub fn start_sensor(&mut self, every: Duration) -> Result<()> {
        let name = self.sensor()?;
        self.nodes.start(&name, &Program::Sensor(every))
    }

    /// Plays a drive onto the car's own bus.
    ///
    /// # Errors
    /// It cannot be started, or is being played.
    pub fn start_drive(&mut self, drive: Play) -> Result<()> {
        self.nodes.start("drive", &Program::Drive(drive))
    }

    /// Waits for the end of the drive.
    ///
    /// # Errors
    /// It fails, or takes longer.
    pub fn wait_for_drive(&mut self, timeout: Duration) -> Result<()> {
        self.nodes.wait("drive", timeout)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.nodes.kill(name)
    }

    /// Asks a node to stop, and waits until it has.
    ///
    /// # Errors
    /// It does not run, or ends badly.
    pub fn stop(&mut self, name: &str) -> Result<()> {
        self.nodes.stop(name)
    }

    /// Asks everything to stop, and waits until it has.
    ///
    /// # Errors
    /// Something ends badly.
    pub fn stop_all(&mut self) -> Result<()> {
        self.nodes.names().iter().try_for_each(|name| self.nodes.stop(name))
    }

    /// Erases what a validator that does not run remembers; its keys stay.
    ///
    /// # Errors
    /// Of the file system.
    pub fn wipe(&self, name: &str) -> Result<()> {
        fs::remove_file(self.paths(name).state.join("journal.bin")).with_context(|| format!("cannot wipe {name}"))
    }

    /// That everything started still runs, the cloud included.
    ///
    /// # Errors
    /// What has ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        self.nodes.check().and_then(|()| self.cloud.check()).map_err(|error| self.explain(error))
    }

    /// Waits for something; what is missing is told with the end of each log.
    ///
    /// # Errors
    /// It does not come about, or something has ended by itself.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        timeout: Duration,
        mut condition: impl FnMut(&Self) -> Result<T>,
    ) -> Result<T> {
        self.check()?;
        let waited = wait_for(what, timeout, || condition(self));
        waited.map_err(|error| self.check().err().unwrap_or_else(|| self.explain(error)))
    }

    /// The status of a running validator.
    ///
    /// # Errors
    /// There is none, or it is old.
    pub fn status(&self, name: &str) -> Result<Status> {
        let status: Status = self.status_file(name)?;
        ensure!(status.age() <= MAX_AGE, "the status of {name} is {:?} old", status.age());
        Ok(status)
    }

    /// Anything of the status of a validator.
    ///
    /// # Errors
    /// There is none, or it has another form.
    pub fn status_file<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.paths(name).state.join("status.json");
        let text = fs::read(&path).with_context(|| format!("{name} has no status yet"))?;
        serde_json::from_slice(&text).map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    /// The status of a validator, written after a moment of Unix time in milliseconds.
    ///
    /// # Errors
    /// None comes.
    pub fn status_since(&self, name: &str, moment_ms: u64) -> Result<Status> {
        wait_for(&format!("a new status of {name}"), STATUS_TIMEOUT, || {
            let status: Status = self.status_file(name)?;
            ensure!(status.written_at_ms >= moment_ms, "there is only an old one");
            Ok(status)
        })
    }

    /// A place on a bus for somebody without keys.
    ///
    /// # Errors
    /// It is no virtual bus.
    pub fn tap(&self, interface: &str) -> Result<Tap> {
        let _guard = self.runtime.enter();
        self.nodes.tap(interface)
    }

    /// A place on the mesh's bus.
    ///
    /// # Errors
    /// It is no virtual bus.
    pub fn mesh_tap(&self) -> Result<Tap> {
        self.tap(self.config.mesh())
    }

    /// Runs what attackers do.
    pub fn block_on<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.block_on(task)
    }

    /// Names of the validators, in the order of the genesis.
    #[must_use]
    pub fn validators(&self) -> Vec<String> {
        self.genesis.validators.iter().map(|entry| entry.name.to_string()).collect()
    }

    /// The validator with a role.
    ///
    /// # Errors
    /// The car has none.
    pub fn with_role(&self, role: Role) -> Result<(ValidatorIndex, String)> {
        let at = self.genesis.with_role(role).with_context(|| format!("this car has no {role:?}"))?;
        Ok((at, self.genesis.validators[usize::from(at)].name.to_string()))
    }

    /// The first endpoint.
    ///
    /// # Errors
    /// The car has none.
    pub fn sensor(&self) -> Result<String> {
        Ok(self.genesis.endpoints.first().context("this car has no endpoint")?.name.to_string())
    }

    /// Where a device keeps its files.
    #[must_use]
    pub fn paths(&self, name: &str) -> NodePaths {
        NodePaths::provisioned(&self.folder.join("car"), name)
    }

    /// The genesis.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Where it runs.
    #[must_use]
    pub const fn bus(&self) -> BusKind {
        self.bus
    }

    /// The cloud.
    #[must_use]
    pub const fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// The cloud, to be killed and restarted.
    pub const fn cloud_mut(&mut self) -> &mut Cloud {
        &mut self.cloud
    }

    /// The link to the cloud is cut.
    pub fn cut_link(&self) {
        self.relay.cut();
    }

    /// The link leads to the cloud again.
    pub fn join_link(&self) {
        self.relay.lead_to(self.cloud.address());
    }

    /// The link leads to somebody else.
    pub fn divert_link(&self, to: SocketAddr) {
        self.relay.lead_to(to);
    }

    /// What runs tasks.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    /// The folder of the run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds the end of each log.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let mut text = format!("{error:#}");
        let mut logs: Vec<_> = fs::read_dir(self.folder.join("logs")).into_iter().flatten().flatten().collect();
        logs.sort_by_key(fs::DirEntry::file_name);
        for log in logs {
            text += &format!("\n  {}:\n{}", log.path().display(), last_lines(&log.path()));
        }
        anyhow!(text)
    }
}
