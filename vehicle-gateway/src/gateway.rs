//! The gateway as a process: a node, its Event Chain, its ears on the car, its link to the cloud.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use can_bus::port::Filter;
use cloud_link::uplink::{SharedWindow, Uplink, UplinkConfig, UplinkReport, Window};
use cloud_link::wire::{Claim, Mode};
use dbc::Database;
use device_chain::genesis::Role;
use device_chain::grant::{GrantRefusal, SignedGrant};
use device_chain::state::Refusal;
use device_chain::tx::Transaction;
use device_chain::types::{Hash, Micros};
use device_chain::validator::{Decision, Report};
use ecu_node::linux::bus::Buses;
use ecu_node::linux::car::Car;
use ecu_node::linux::failure::{Failure, OrFail};
use ecu_node::linux::node::{Node, NodePaths};
use ecu_node::linux::runtime::{self, NodeCommand, NodeEvent, RunError};
use ecu_node::linux::status::{Status, describe, unix_ms};
use event_chain::record::{RecordKind, Text};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::{error, info, warn};

use crate::car_bus;
use crate::chain::{Chain, Effect, Found, Input, Log, Now, Policy};
use crate::grants::{self, Grants};
use crate::signals::Recorder;
use crate::status::{GatewayStatus, WindowStatus};

/// Messages between the gateway's tasks.
const QUEUE: usize = 256;
/// What the window may hold, bytes.
const WINDOW_BYTES: u64 = 64 << 20;
/// What every validator needs to check a grant's signature.
const SETTLE_US: u64 = 250_000;
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// What the gateway is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// `car.toml`.
    pub config: PathBuf,
    /// Where the node's files are; the gateway keeps its own beside them.
    pub paths: NodePaths,
    /// The cloud, instead of the one in the configuration.
    pub cloud: Option<String>,
}

/// Runs the gateway until `shutdown` is ready.
///
/// # Errors
/// Bad files, no such bus, or what stopped the node.
pub async fn run<B: Buses + 'static>(
    buses: Arc<B>,
    options: &Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let car = Car::load(&options.config).or_usage()?;
    let recorder = recorder(&car).or_usage()?;
    let node = Node::open(&options.paths).or_usage()?;
    if node.entry().role != Role::Gateway {
        let what = format!("{} is no gateway: use `ecu-node run`", options.paths.state.display());
        return Err(anyhow!(what)).or_usage();
    }
    let bus = buses.open(&car.segments.mesh, 0, node.epoch(), &[Filter::ALL]).or_unreachable()?;
    let window = Window::open(&options.paths.state.join("window"), node.genesis().clone(), WINDOW_BYTES);
    let window: SharedWindow = Arc::new(Mutex::new(window.context("the window").or_usage()?));
    let (commands, command_receiver) = mpsc::channel(QUEUE);
    let (events, event_receiver) = mpsc::channel(runtime::MAX_EVENTS);
    let (records, record_receiver) = mpsc::channel(QUEUE);
    let (grants, grant_receiver) = mpsc::channel(QUEUE);
    let (claims, claim_receiver) = watch::channel(claim(&node.status().borrow()));
    let cloud = options.cloud.as_ref().or(car.cloud.as_ref().map(|cloud| &cloud.url));
    let uplink = cloud.map(|url| uplink(url, &window)).transpose().or_usage()?;
    let report = uplink.as_ref().map(Uplink::report);
    let gateway = Gateway::open(options, &node, Links { window, uplink: report, commands, claims })?;
    info!(name = node.entry().name.as_str(), journal = describe(node.diagnosis()), "gateway started");

    let epoch = node.epoch();
    let mut tasks = JoinSet::new();
    match recorder {
        Some((interface, recorder)) => drop(tasks.spawn(car_bus::listen(buses, interface, epoch, recorder, records))),
        None => drop(tasks.spawn(async move { records.closed().await })),
    }
    match uplink {
        Some(uplink) => drop(tasks.spawn(async move { uplink.run(grants, claim_receiver).await })),
        None => drop(tasks.spawn(async move { grants.closed().await })),
    }
    let (failed, has_failed) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let served = gateway.run(event_receiver, record_receiver, grant_receiver).await;
        let _ = failed.send(());
        served
    });
    let shutdown = async {
        tokio::select! {
            () = shutdown => {}
            _ = has_failed => {}
        }
    };
    let ended = runtime::run(node, bus, command_receiver, events, shutdown).await;
    let served = serving.await.context("the gateway's loop").or_failed()?;
    match ended {
        Err(error @ RunError::Bus(_)) => Err(error).or_unreachable(),
        Err(error) => Err(error).or_failed(),
        Ok(()) => served,
    }
}

/// The car's own interface and what to record of it, if anything.
fn recorder(car: &Car) -> anyhow::Result<Option<(String, Recorder)>> {
    let (Some(interface), Some(record)) = (&car.segments.car, &car.record) else { return Ok(None) };
    let database = Database::load(&record.dbc)?;
    let recorder = Recorder::new(database, &record.signals)
        .map_err(|error| anyhow!("record.signals: {error} ({})", record.dbc.display()))?;
    Ok(Some((interface.clone(), recorder)))
}

fn uplink(url: &str, window: &SharedWindow) -> anyhow::Result<Uplink> {
    let url = url.parse().with_context(|| format!("cloud.url = {url:?}: write it as http://HOST:PORT"))?;
    Ok(Uplink::new(UplinkConfig::new(url), Arc::clone(window))?)
}

/// What the gateway says of itself to the cloud, which believes only what lowers its trust.
fn claim(status: &Status) -> Claim {
    Claim {
        mode: if status.mode == "trusted" { Mode::Trusted } else { Mode::Isolated },
        height: status.height,
        peers: 1 + status.peers.iter().filter(|peer| peer.heard).count() as u8,
    }
}

/// What the gateway's loop is connected to.
struct Links {
    window: SharedWindow,
    uplink: Option<watch::Receiver<UplinkReport>>,
    commands: mpsc::Sender<NodeCommand>,
    claims: watch::Sender<Claim>,
}

/// The gateway's own loop, beside the node's.
struct Gateway {
    chain: Chain,
    log: Log,
    log_found: Found,
    grants: Grants,
    links: Links,
    node: watch::Receiver<Status>,
    folder: PathBuf,
    epoch: Instant,
    recorded: u64,
}

impl Gateway {
    /// Replays the log, then what the node's journal knows beyond it.
    fn open(options: &Options, node: &Node, links: Links) -> Result<Self, Failure> {
        let folder = options.paths.state.clone();
        let epoch = node.epoch();
        let mut chain = Chain::new(node.genesis().clone(), Policy::default(), Micros(0));
        let (log, log_found) = Log::open(&folder.join("chain.log"), &mut chain).or_usage()?;
        if !matches!(log_found, Found::Intact | Found::Nothing) {
            warn!(?log_found, "chain.log");
        }
        let now = now(epoch, &node.status().borrow());
        for (height, bytes) in node.history() {
            chain.handle(now, Input::Decided(*height, bytes.clone()));
        }
        chain.handle(now, Input::CaughtUp(node.status().borrow().height));
        let grants = Grants::new(SETTLE_US);
        Ok(Self { chain, log, log_found, grants, links, node: node.status(), folder, epoch, recorded: 0 })
    }

    /// Runs until the node has ended.
    async fn run(
        mut self,
        mut events: mpsc::Receiver<NodeEvent>,
        mut records: mpsc::Receiver<RecordKind>,
        mut grants: mpsc::Receiver<SignedGrant>,
    ) -> Result<(), Failure> {
        let mut renew = interval(STATUS_INTERVAL);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.carry_out().await?;
            let due = [self.chain.deadline(), self.grants.deadline()].into_iter().flatten().min();
            let due =
                due.map_or_else(|| Instant::now() + STATUS_INTERVAL, |at| self.epoch + Duration::from_micros(at.0));
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on_event(event),
                    None => break,
                },
                Some(kind) = records.recv() => {
                    self.recorded += 1;
                    self.chain(Input::Attest(kind));
                }
                Some(signed) = grants.recv() => self.on_grant(signed).await,
                () = sleep_until(due.into()) => self.on_time().await,
                _ = renew.tick() => self.publish(),
            }
        }
        self.carry_out().await?;
        self.publish();
        Ok(())
    }

    fn now(&self) -> Now {
        now(self.epoch, &self.node.borrow())
    }

    fn chain(&mut self, input: Input) {
        self.chain.handle(self.now(), input);
    }

    fn note(&mut self, text: &str) {
        warn!("{text}");
        let text: Text = text.chars().take(Text::new().capacity()).filter(char::is_ascii).collect();
        self.chain(Input::Attest(RecordKind::Note(text)));
    }

    fn on_event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Decided(decision) => self.on_decided(decision),
            NodeEvent::Sealed(number, seal) => self.chain(Input::Seal(number, seal)),
            NodeEvent::GrantRefused(digest, refusal) => self.on_refused(&digest, refusal),
            NodeEvent::Report(report) => self.on_report(report),
        }
    }

    fn on_decided(&mut self, decision: Decision) {
        let Decision { height, tx, round, live, latency_us, bytes, .. } = decision;
        info!(height, kind = tx.name(), round, live, latency_us, "decided");
        if let Transaction::UseGrant(usage) = &tx {
            self.grants.used(&usage.digest, height, latency_us);
        }
        self.chain(Input::Decided(height, bytes));
    }

    fn on_report(&mut self, report: Report) {
        info!(?report);
        match report {
            Report::GrantReady(digest) => self.grants.ready(self.now().at, &digest),
            Report::GrantRefused(digest, refusal) => self.on_refused(&digest, refusal),
            Report::Refused(Transaction::UseGrant(usage), Refusal::Grant(refusal)) => {
                self.on_refused(&usage.digest, refusal);
            }
            Report::CaughtUp(height) => self.chain(Input::CaughtUp(height)),
            _ => {}
        }
    }

    fn on_refused(&mut self, digest: &Hash, refusal: GrantRefusal) {
        if let Some(serial) = self.grants.refused(digest, refusal) {
            self.note(&format!("grant {serial} refused: {}", grants::describe(refusal)));
        }
    }

    /// From the cloud, which hands out what no archived block has used: after a restart also what was just used.
    async fn on_grant(&mut self, signed: SignedGrant) {
        if self.chain.is_used(&signed.grant.usage()) || !self.grants.receive(&signed) {
            return;
        }
        self.chain(Input::Attest(RecordKind::Grant(signed.clone())));
        let _ = self.links.commands.send(NodeCommand::Grant(signed)).await; // a node that ends ends this loop, too
    }

    async fn on_time(&mut self) {
        self.chain(Input::Tick);
        while let Some(digest) = self.grants.next_use(self.now().at) {
            let _ = self.links.commands.send(NodeCommand::UseGrant(digest)).await;
        }
    }

    /// Carries out what the chain wants; what it wants kept is durable before anything that follows from it.
    async fn carry_out(&mut self) -> Result<(), Failure> {
        let mut durable = true;
        while let Some(effect) = self.chain.poll() {
            if let Effect::Persist(entry) = &effect {
                self.log.append(entry).or_failed()?;
                durable = false;
                continue;
            }
            if !std::mem::replace(&mut durable, true) {
                block_in_place(|| self.log.sync(&self.chain)).or_failed()?;
            }
            match effect {
                Effect::Persist(_) => {}
                Effect::Submit(tx) => {
                    let _ = self.links.commands.send(NodeCommand::Submit(tx)).await;
                }
                Effect::Forward(block, finality) => {
                    let number = block.header.number;
                    match block_in_place(|| window(&self.links.window).put(&block)) {
                        Ok(()) => {
                            info!(block = number, seals = block.seals.len(), ?finality, "to the uplink");
                            self.chain(Input::Forwarded(number, finality));
                        }
                        Err(error) => warn!(block = number, "not given to the uplink: {error}"),
                    }
                }
                Effect::Broken(broken) => error!("the Event Chain ends here: {broken}"),
            }
        }
        Ok(())
    }

    /// Tells the status: to files that any process can read, and to the cloud.
    fn publish(&mut self) {
        let node = self.node.borrow_and_update().clone();
        self.links.claims.send_replace(claim(&node));
        let window = window(&self.links.window);
        let status = GatewayStatus {
            chain: self.chain.status(),
            log: format!("{:?}", self.log_found).to_lowercase(),
            window: WindowStatus::of(&window),
            uplink: self.links.uplink.as_ref().map(|report| report.borrow().error.clone().unwrap_or_default()),
            grants: self.grants.status(),
            recorded: self.recorded,
        };
        drop(window);
        if let Err(error) = node.write(&self.folder).and_then(|()| status.write(&self.folder)) {
            warn!("{}: the status cannot be written: {error}", self.folder.display());
        }
    }
}

fn now(epoch: Instant, node: &Status) -> Now {
    Now { at: Micros(epoch.elapsed().as_micros() as u64), unix_ms: unix_ms(), estimate_ms: node.clocks_ms }
}

fn window(window: &SharedWindow) -> MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}
