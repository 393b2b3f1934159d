//! The loop around a node: bus, journal, signatures, commands and the clock in; frames, records and events out.
//!
//! Nothing in it waits for a disk or a signature. Towards whoever takes the events it is bounded and never blocks:
//!
//! - reports beyond [`MAX_REPORTS`] that nobody takes are dropped and counted;
//! - decisions and seals are never dropped. If [`MAX_BACKLOG`] of them wait, the node stops with an error: the others go
//!   on without it, and at the next start [`Node::history`] hands out again what was not taken.

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fmt, io};

use device_chain::block::Seal;
use device_chain::genesis::Genesis;
use device_chain::grant::{GrantRefusal, SignedGrant};
use device_chain::hash::Domain;
use device_chain::keys::SoftKeys;
use device_chain::limits::{MAX_GRANTS, MIN_HISTORY};
use device_chain::order::Endorsement;
use device_chain::pairing::{Agreement, Ephemeral};
use device_chain::registry::Devices;
use device_chain::sign::SigningKey;
use device_chain::tx::Transaction;
use device_chain::types::{Hash, Micros, PublicKey};
use device_chain::validator::{Decision, Report};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, sleep_until};
use tracing::warn;
use zeroize::Zeroizing;

use super::bus::Bus;
use super::node::{ClockSource, Node};
use super::orders::{RegistryView, inbox};
use super::pairs::PairFile;
use super::status::{Status, Tally, unix_ms};
use super::writer::Writer;
use crate::{Ecu, Effect, Input};

/// Reports that wait for somebody to take them.
pub const MAX_REPORTS: usize = 64;
/// Most events that the channel to whoever takes them may hold.
pub const MAX_EVENTS: usize = MIN_HISTORY / 2;
/// Events that wait for room in that channel before the node gives up.
pub const MAX_BACKLOG: usize = MIN_HISTORY / 2;
const _: () = assert!(MAX_EVENTS + MAX_BACKLOG <= MIN_HISTORY, "a restart hands out again what was not taken");
/// Signatures made or checked at a time.
const MAX_ASYMMETRIC: usize = 2 * MAX_GRANTS;
/// How often the status is renewed.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// What somebody wants from a node.
#[derive(Clone, Debug)]
pub enum NodeCommand {
    /// A grant from outside the car: check it, keep it, pass it on.
    Grant(SignedGrant),
    /// Use the grant with this digest.
    UseGrant(Hash),
    /// Have a transaction decided.
    Submit(Transaction),
    /// Refresh the pairwise keys of this node now.
    RefreshKeys,
}

/// What a node has to say.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// Decided, and durable here.
    Decided(Decision),
    /// At the gateway: a validator's seal of the block with this number. Its signature is not checked yet.
    Sealed(u32, Seal),
    /// The grant of [`NodeCommand::UseGrant`] cannot be used now.
    GrantRefused(Hash, GrantRefusal),
    /// Worth a line in a log.
    Report(Report),
}

/// Why a node had to stop.
#[derive(Debug)]
pub enum RunError {
    /// The bus is gone.
    Bus(io::Error),
    /// What the node did could not be made durable: it must not say it.
    Journal(journal::Error<io::Error>),
    /// Nobody takes its events.
    Backlog,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(error) => write!(f, "bus: {error}"),
            Self::Journal(error) => write!(f, "journal: {error}; stopped, for nothing may be said that is not durable"),
            Self::Backlog => write!(f, "{MAX_BACKLOG} decisions and seals wait and nobody takes them"),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs a node until `shutdown` is ready; `events` has room for at most [`MAX_EVENTS`]. What is under way in the journal is
/// finished, and its files are unlocked on return.
///
/// # Errors
/// [`RunError`]; the node has then stopped.
pub async fn run<B: Bus>(
    node: Node,
    bus: B,
    commands: mpsc::Receiver<NodeCommand>,
    events: mpsc::Sender<NodeEvent>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let writer = Writer::start(node.store).map_err(|error| RunError::Journal(journal::Error::Io(error)))?;
    let mut runtime = Runtime {
        genesis: node.genesis,
        ecu: node.ecu,
        bus,
        writer,
        identity: node.identity,
        pairs: node.pairs,
        asymmetric: JoinSet::new(),
        events,
        backlog: VecDeque::new(),
        status: node.status,
        epoch: node.epoch,
        folder: node.folder,
        shown: None,
        clock: node.clock,
        firmware: node.firmware,
        tally: Tally::default(),
    };
    let ended = runtime.run(commands, shutdown).await;
    runtime.publish();
    runtime.writer.close().await;
    ended
}

struct Runtime<B> {
    genesis: Arc<Genesis>,
    ecu: Box<Ecu<SoftKeys>>,
    bus: B,
    writer: Writer,
    identity: Arc<SigningKey>,
    pairs: Arc<Mutex<PairFile>>,
    asymmetric: JoinSet<Input>,
    events: mpsc::Sender<NodeEvent>,
    backlog: VecDeque<NodeEvent>,
    status: watch::Sender<Status>,
    epoch: Instant,
    folder: PathBuf,
    /// Root of the registry that was written last.
    shown: Option<Hash>,
    clock: ClockSource,
    firmware: Option<Hash>,
    tally: Tally,
}

impl<B: Bus> Runtime<B> {
    async fn run(
        &mut self,
        mut commands: mpsc::Receiver<NodeCommand>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let mut renew = tokio::time::interval(STATUS_INTERVAL);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(shutdown);
        if let Some(firmware) = self.firmware {
            self.ecu.handle(self.now(), Input::Measured(firmware));
        }
        loop {
            self.carry_out();
            if self.backlog.len() > MAX_BACKLOG {
                return Err(RunError::Backlog);
            }
            let now = self.now();
            self.writer.next_job(now, &self.ecu);
            let deadline = self.ecu.deadline().map(|at| self.epoch + Duration::from_micros(at.0));
            let input = tokio::select! {
                () = &mut shutdown => return Ok(()),
                event = self.bus.event() => Input::Bus(event.map_err(RunError::Bus)?),
                written = self.writer.written() => Input::Persisted(written.map_err(RunError::Journal)?),
                Some(Ok(answer)) = self.asymmetric.join_next() => answer,
                () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => Input::Tick,
                Some(command) = commands.recv() => match self.command(command) {
                    Some(input) => input,
                    None => continue,
                },
                () = deliver(&self.events, &mut self.backlog), if !self.backlog.is_empty() => continue,
                _ = renew.tick() => {
                    self.publish();
                    self.take_orders();
                    match self.clock {
                        ClockSource::System => Input::Clock(unix_ms()),
                        ClockSource::None => continue,
                    }
                }
            };
            let now = self.now();
            self.ecu.handle(now, input);
        }
    }

    fn now(&self) -> Micros {
        Micros(self.epoch.elapsed().as_micros() as u64)
    }

    fn command(&mut self, command: NodeCommand) -> Option<Input> {
        match command {
            NodeCommand::Grant(signed) => Some(Input::Grant(signed)),
            NodeCommand::Submit(tx) => Some(Input::Submit(tx)),
            NodeCommand::RefreshKeys => {
                self.draw();
                None
            }
            NodeCommand::UseGrant(digest) => match self.ecu.validator().use_of(&digest) {
                Ok(tx) => Some(Input::Submit(tx)),
                Err(refusal) => {
                    self.tell(NodeEvent::GrantRefused(digest, refusal));
                    None
                }
            },
        }
    }

    /// Carries out every effect.
    fn carry_out(&mut self) {
        while let Some(effect) = self.ecu.poll() {
            match effect {
                Effect::Bus(command) => self.bus.command(command),
                Effect::Persist { token, kind, bytes } => self.writer.push(token, kind, bytes),
                Effect::Decided(decision) => {
                    self.tally.decided(&decision);
                    self.tell(NodeEvent::Decided(decision));
                }
                Effect::Sealed(number, seal) => self.tell(NodeEvent::Sealed(number, seal)),
                Effect::Report(report) => self.report(report),
                Effect::Sign(digest) => {
                    let identity = self.identity.clone();
                    self.asymmetric
                        .spawn_blocking(move || Input::Signed(digest, identity.sign(Domain::Block, &digest)));
                }
                Effect::CheckGrant(signed) => self.check_grant(signed),
                Effect::CheckEndorsement(endorsement, key) => self.check_endorsement(endorsement, key),
                Effect::Agree(agreement) => self.agree(agreement),
                Effect::Draw => self.draw(),
                Effect::Keep => self.keep(),
            }
        }
    }

    fn check_endorsement(&mut self, endorsement: Endorsement, key: PublicKey) {
        let signature = endorsement.signature;
        if self.asymmetric.len() < MAX_ASYMMETRIC {
            let mesh = *self.ecu.validator().mesh();
            let check = move || Input::EndorsementChecked(signature, endorsement.is_genuine(&mesh, &key));
            self.asymmetric.spawn_blocking(check);
        } else {
            self.asymmetric.spawn(async move { Input::EndorsementChecked(signature, false) });
        }
    }

    fn agree(&mut self, agreement: Agreement) {
        // as it is now: a device that was replaced has another key than in the genesis
        let peer = self.ecu.validator().registry().validator_key(agreement.peer()).copied();
        let identity = self.identity.clone();
        self.asymmetric.spawn_blocking(move || {
            Input::Agreed(peer.map_or_else(|| agreement.put_off(), |peer| agreement.run(&identity, &peer)))
        });
    }

    fn draw(&mut self) {
        self.asymmetric.spawn_blocking(|| {
            let mut random = Zeroizing::new([0; 32]);
            match getrandom::fill(&mut *random) {
                Ok(()) => Input::Refresh(Ephemeral::from_random(*random)),
                Err(_) => Input::Tick, // another boot will ask again
            }
        });
    }

    /// A file that cannot be written leaves the keys what they are: nothing is said with those that are not durable.
    fn keep(&mut self) {
        let (pairs, kept) = (self.pairs.clone(), self.ecu.validator().keys().write());
        self.asymmetric.spawn_blocking(move || {
            let written = pairs.lock().map_err(|_| io::Error::other("poisoned")).and_then(|mut file| file.keep(&kept));
            match written {
                Ok(()) => Input::Kept,
                Err(error) => {
                    tracing::error!(%error, "pairs.bin cannot be written: the pairwise keys stay");
                    Input::Tick
                }
            }
        });
    }

    fn check_grant(&mut self, signed: SignedGrant) {
        let digest = signed.grant.digest();
        if self.asymmetric.len() < MAX_ASYMMETRIC {
            let issuer = self.ecu.validator().registry().authority(signed.grant.issuer).copied();
            let check = move || issuer.is_some_and(|issuer| signed.is_signed_by(&issuer));
            self.asymmetric.spawn_blocking(move || Input::GrantChecked(digest, check()));
        } else {
            // somebody floods: refused, so that it may be sent again
            self.asymmetric.spawn(async move { Input::GrantChecked(digest, false) });
        }
    }

    fn report(&mut self, report: Report) {
        self.tally.reported(&report, self.epoch.elapsed());
        if self.backlog.len() < MAX_REPORTS {
            self.tell(NodeEvent::Report(report));
        } else {
            self.tally.reports_dropped += 1;
        }
    }

    /// Behind what waits already, so that the order is kept.
    fn tell(&mut self, event: NodeEvent) {
        self.backlog.push_back(event);
    }

    /// What was put into the node's folder for it.
    fn take_orders(&mut self) {
        for endorsement in inbox::take(&self.folder, self.ecu.validator().mesh()) {
            let now = self.now();
            self.ecu.handle(now, Input::Endorsement(endorsement));
            self.carry_out();
        }
    }

    fn publish(&mut self) {
        let (registry, state) = (self.ecu.validator().registry(), self.ecu.validator().state());
        if self.shown != Some(*registry.root()) {
            self.shown = Some(*registry.root());
            if let Err(error) = RegistryView::new(&self.genesis, registry, state.height()).write(&self.folder) {
                warn!("the registry cannot be shown: {error:#}");
            }
        }
        let (genesis, ecu, tally) = (&self.genesis, &self.ecu, &self.tally);
        self.status.send_modify(|status| status.renew(genesis, ecu, tally));
    }
}

/// Hands the first event over as soon as there is room. Cancel-safe.
async fn deliver(events: &mpsc::Sender<NodeEvent>, backlog: &mut VecDeque<NodeEvent>) {
    match (events.reserve().await, backlog.pop_front()) {
        (Ok(permit), Some(event)) => permit.send(event),
        _ => backlog.clear(), // nobody will ever take them
    }
}
