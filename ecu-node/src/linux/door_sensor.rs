//! The door sensor: an endpoint as a process of its own, which is what `ecu-node endpoint` does.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use can_bus::frame::EXTENDED_FLAG;
use can_bus::port::Filter;
use device_chain::genesis::{Genesis, RawIdentifier};
use device_chain::keys::{Device, SoftKeys};
use device_chain::limits::MAX_RECORD_DATA;
use device_chain::types::{Hash, Micros};
use journal::{Counter, FileCounter};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, sleep_until};
use tracing::{info, warn};

use super::bus::{Bus, Buses};
use super::failure::{Failure, OrFail};
use super::keyfile;
use super::node::{NodePaths, open_genesis};
use crate::endpoint::{Data, Effect, Endpoint, Input};

/// Digest of what it runs: the chain does not yet say which it expects.
const FIRMWARE: Hash = Hash::NIL;

/// Where the records come from.
pub enum Records {
    /// This one, and then the process ends.
    Once(String),
    /// The lines of the standard input; the process ends behind the last one.
    Lines,
    /// "open" and "closed" in turn at this interval, and the lines of the standard input.
    Every(Duration),
}

/// How records are told on the standard output.
#[derive(Clone, Copy)]
pub enum Output {
    /// For people.
    Text,
    /// An object a line.
    Json,
    /// Not at all.
    Silent,
}

/// Runs an endpoint on an interface until its last record is decided, or `shutdown` is ready.
///
/// # Errors
/// Bad files or records, no such bus, or a record that is not decided within `timeout`.
pub async fn run(
    buses: &impl Buses,
    paths: &NodePaths,
    interface: &str,
    records: Records,
    timeout: Duration,
    output: Output,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let epoch = Instant::now();
    let genesis = open_genesis(&paths.genesis, &paths.maker_key).or_usage()?;
    let (endpoint, identifier) = open(paths, &genesis).or_usage()?;
    let bus = buses.open(interface, 0, epoch, &filters(&genesis, identifier)).or_unreachable()?;
    let mut sensor = Sensor { endpoint, bus, epoch, output, timeout, oldest: None };
    tokio::select! {
        ended = sensor.run(records) => ended,
        () = shutdown => Ok(()),
    }
}

fn open(paths: &NodePaths, genesis: &Genesis) -> Result<(Endpoint<SoftKeys>, RawIdentifier)> {
    let device = keyfile::open(paths, genesis)?;
    let Device::Endpoint(index) = device.device else {
        bail!("{} has the keys of a validator: use `ecu-node run`", paths.state.display())
    };
    // the counter counts boots: durable before the first record
    let mut counter = FileCounter::open(&paths.counter).context("the boot counter: provision this device again")?;
    let boot = u32::try_from(counter.value() + 1).context("the boot counter has reached its end")?;
    counter.raise(boot.into())?;
    let endpoint =
        Endpoint::new(genesis, index, device.keys, boot, &FIRMWARE).map_err(|_| anyhow!("not in the genesis"))?;
    let entry = &genesis.endpoints[usize::from(index)];
    info!(name = entry.name.as_str(), mesh = ?genesis.mesh().0, boot, "started");
    Ok((endpoint, entry.identifier))
}

/// Its own frames, for their confirmation, and what validators answer.
fn filters(genesis: &Genesis, own: RawIdentifier) -> Vec<Filter> {
    let answers = genesis.validators.iter().map(|entry| entry.identifiers.control);
    answers.chain([own]).map(|id| Filter { id, mask: EXTENDED_FLAG | 0x1FFF_FFFF }).collect()
}

struct Sensor<B> {
    endpoint: Endpoint<SoftKeys>,
    bus: B,
    epoch: Instant,
    output: Output,
    timeout: Duration,
    /// Since when the record under way has been waited for.
    oldest: Option<Instant>,
}

impl<B: Bus> Sensor<B> {
    async fn run(&mut self, records: Records) -> Result<(), Failure> {
        let (mut lines, every) = match records {
            Records::Once(text) => {
                self.submit(&text).or_usage()?;
                (None, None)
            }
            Records::Lines => (Some(standard_input()), None),
            Records::Every(interval) => (Some(standard_input()), Some(interval)),
        };
        let mut turn = tokio::time::interval(every.unwrap_or(Duration::MAX));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut states = ["closed", "open"].into_iter().cycle();
        loop {
            self.carry_out();
            if lines.is_none() && every.is_none() && self.endpoint.waiting() == 0 {
                return Ok(());
            }
            let gives_up = self.oldest.filter(|_| every.is_none()).map(|since| since + self.timeout);
            let deadline = self.endpoint.deadline().map(|at| self.epoch + Duration::from_micros(at.0));
            let input = tokio::select! {
                event = self.bus.event() => Input::Bus(event.or_unreachable()?),
                () = wait_until(deadline) => Input::Tick,
                () = wait_until(gives_up) => {
                    let error = anyhow!("not decided within {:?}: is there a quorum on the bus?", self.timeout);
                    return Err(error).or_unreachable();
                }
                line = next_line(&mut lines), if self.endpoint.has_room() => {
                    match line {
                        Some(line) => self.submit(&line).or_usage()?,
                        None => lines = None,
                    }
                    continue;
                }
                _ = turn.tick(), if every.is_some() => {
                    self.submit(states.next().unwrap_or_default()).or_usage()?;
                    continue;
                }
            };
            let now = self.now();
            self.endpoint.handle(now, input);
        }
    }

    fn now(&self) -> Micros {
        Micros(self.epoch.elapsed().as_micros() as u64)
    }

    fn submit(&mut self, text: &str) -> Result<()> {
        let data = Data::from_slice(text.as_bytes());
        let data = data.map_err(|_| anyhow!("{text:?}: a record has at most {MAX_RECORD_DATA} bytes"))?;
        ensure!(!data.is_empty(), "an empty record says nothing");
        self.oldest.get_or_insert_with(Instant::now);
        let now = self.now();
        self.endpoint.handle(now, Input::Submit(data));
        Ok(())
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.endpoint.poll() {
            match effect {
                Effect::Bus(command) => self.bus.command(command),
                Effect::Full(data) => {
                    warn!("no room for one more record: {:?} is lost", String::from_utf8_lossy(&data));
                }
                Effect::Recorded { sequence, latency_us } => {
                    self.oldest = (self.endpoint.waiting() > 0).then(Instant::now);
                    info!(sequence, latency_us, "recorded");
                    match self.output {
                        Output::Text => println!("recorded {sequence:#x} after {latency_us} us"),
                        Output::Silent => {}
                        Output::Json => println!("{{\"sequence\": {sequence}, \"latency_us\": {latency_us}}}"),
                    }
                }
            }
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn next_line(lines: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

/// Lines of the standard input, read on a thread of their own that does not keep the process from ending.
fn standard_input() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let line = line.trim();
            if !line.is_empty() && sender.blocking_send(line.to_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}
