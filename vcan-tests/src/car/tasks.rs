//! Nodes as tasks on the simulated bus. Each has a runtime of its own, so that killing it leaves nothing of it running.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use can_bus::port::Filter;
use can_bus::timing::BitTiming;
use ecu_node::linux::bus::{Buses, ChannelBus};
use ecu_node::linux::door_sensor::{self, Output, Records};
use ecu_node::linux::emulator;
use ecu_node::linux::failure::{Failure, OrFail};
use ecu_node::linux::node::{ClockSource, NodePaths};
use ecu_node::linux::process;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vehicle_gateway::{gateway, play};

use super::backend::{Backend, Play, Program};
use super::chip;
use super::plan::Config;
use crate::bus::{AnyBus, Tap};
use crate::sim::Wire;

/// How long a node may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of stack of a node's threads: a validator is large while it is made.
const STACK: usize = 8 << 20;

/// The wires, by the names of the interfaces that they stand for.
struct Wires(BTreeMap<String, Wire>);

impl Buses for Wires {
    type Bus = ChannelBus;

    /// Every frame is received, whatever the filters; the wire knows its own number.
    fn open(&self, interface: &str, _segment: u8, _epoch: Instant, _filters: &[Filter]) -> io::Result<ChannelBus> {
        let wire = self.0.get(interface).ok_or_else(|| io::Error::other(format!("no simulated bus {interface}")));
        Ok(wire?.attach())
    }
}

struct Node {
    runtime: Runtime,
    main: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    /// Why it ended, if it did so badly.
    failure: Arc<OnceLock<String>>,
}

impl Node {
    fn check(&self, name: &str) -> Result<()> {
        self.failure.get().map_or(Ok(()), |failure| Err(anyhow!("{name}: {failure}")))
    }

    /// Waits until it has ended.
    fn wait(&mut self, name: &str, timeout: Duration) -> Result<()> {
        let main = &mut self.main;
        let ended = self.runtime.block_on(async { tokio::time::timeout(timeout, main).await });
        let ended = ended.map_err(|_| anyhow!("{name} still runs after {timeout:?}"))?;
        ended.with_context(|| format!("{name} panicked"))?;
        self.check(name)
    }
}

/// The nodes that run.
pub struct Tasks {
    wires: Arc<Wires>,
    config: Config,
    folder: PathBuf,
    running: BTreeMap<String, Node>,
}

impl Tasks {
    /// None yet. Logs of all of them go to one file, for they are one process.
    ///
    /// # Errors
    /// No thread can be made, or the log.
    pub fn new(config: &Config, folder: &Path, runtime: Handle) -> Result<Self> {
        let log = File::create(folder.join("logs").join("nodes.log"))?;
        // a process has one; with a second car the first log goes on
        let _ = tracing_subscriber::fmt().with_writer(log).with_ansi(false).try_init();
        let mut wires = BTreeMap::new();
        for (segment, interface) in (0..).zip(config.interfaces()) {
            wires.insert(interface, Wire::start(runtime.clone(), segment, BitTiming::FD_500K_2M)?);
        }
        let wires = Arc::new(Wires(wires));
        Ok(Self { wires, config: config.clone(), folder: folder.to_owned(), running: BTreeMap::new() })
    }

    fn main(
        &self,
        name: &str,
        program: &Program,
        stopped: oneshot::Receiver<()>,
    ) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let paths = NodePaths::provisioned(&self.folder.join("car"), name);
        let options = gateway::Options { config: self.config.path().to_owned(), paths: paths.clone(), cloud: None };
        let (wires, mesh, program) = (Arc::clone(&self.wires), self.config.mesh().to_owned(), program.clone());
        let car = self.config.car().map(str::to_owned);
        let log = self.folder.join("logs").join(format!("{name}.log"));
        let shutdown = async {
            let _ = stopped.await;
        };
        async move {
            match program {
                Program::Ecu => process::run(&*wires, &paths, &mesh, ClockSource::System, shutdown).await,
                Program::Chip => {
                    let (image, log) = (
                        chip::image().or_usage()?,
                        OpenOptions::new().create(true).append(true).open(&log).or_failed()?,
                    );
                    let mut bus = wires.open(&mesh, 0, Instant::now(), &[]).or_unreachable()?;
                    emulator::run(&image, &paths, log.into(), &mut bus, shutdown).await
                }
                Program::Gateway => gateway::run(wires, &options, shutdown).await,
                Program::Sensor(every) => {
                    let records = Records::Every(every);
                    door_sensor::run(&*wires, &paths, &mesh, records, PATIENCE, Output::Silent, shutdown).await
                }
                Program::Drive(drive) => tokio::select! {
                    played = play_drive(&wires, car, &drive) => played.or_failed(),
                    () = shutdown => Ok(()),
                },
            }
        }
    }

    fn take(&mut self, name: &str) -> Result<Node> {
        self.running.remove(name).with_context(|| format!("{name} does not run"))
    }
}

async fn play_drive(wires: &Wires, interface: Option<String>, drive: &Play) -> Result<()> {
    let interface = interface.context("segments.car: this car has no bus of its own")?;
    let mut bus = wires.open(&interface, 0, Instant::now(), &[])?;
    loop {
        play::play(&drive.log, &mut bus, drive.speed).await?;
        if !drive.repeat {
            return Ok(());
        }
    }
}

impl Backend for Tasks {
    fn start(&mut self, name: &str, program: &Program) -> Result<()> {
        ensure!(!self.running.contains_key(name), "{name} runs already");
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_stack_size(STACK).enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (main, failure) = (self.main(name, program, stopped), Arc::new(OnceLock::new()));
        let told = Arc::clone(&failure);
        let main = runtime.spawn(async move {
            if let Err(failure) = main.await {
                let _ = told.set(failure.to_string());
            }
        });
        self.running.insert(name.to_owned(), Node { runtime, main, stop: Some(stop), failure });
        Ok(())
    }

    fn kill(&mut self, name: &str) -> Result<()> {
        self.take(name)?.runtime.shutdown_timeout(PATIENCE);
        Ok(())
    }

    fn stop(&mut self, name: &str) -> Result<()> {
        let mut node = self.take(name)?;
        // it may have ended by itself
        if let Some(stop) = node.stop.take() {
            let _ = stop.send(());
        }
        node.wait(name, PATIENCE)
    }

    fn wait(&mut self, name: &str, timeout: Duration) -> Result<()> {
        self.take(name)?.wait(name, timeout)
    }

    fn check(&mut self) -> Result<()> {
        self.running.iter().try_for_each(|(name, node)| node.check(name))
    }

    fn names(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    fn tap(&self, interface: &str) -> Result<Tap> {
        Ok(Tap::new(AnyBus::Sim(self.wires.open(interface, 0, Instant::now(), &[])?)))
    }
}
