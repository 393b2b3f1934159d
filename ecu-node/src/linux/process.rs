//! A node as a process of its own: what `ecu-node run` does.

use std::path::PathBuf;

use can_bus::port::Filter;
use device_chain::genesis::Role;
use device_chain::validator::{Decision, Report};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::actuator::Actuator;
use super::bus::Buses;
use super::failure::{Failure, OrFail};
use super::node::{ClockSource, Node, NodePaths};
use super::runtime::{self, MAX_EVENTS, NodeEvent, RunError};
use super::status::{self, Status};

/// Runs a validator on an interface until `shutdown` is ready.
///
/// # Errors
/// Bad files, no such bus, or what stopped the node.
pub async fn run(
    buses: &impl Buses,
    paths: &NodePaths,
    interface: &str,
    clock: ClockSource,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut node = Node::open(paths).or_usage()?;
    node.clock = clock;
    let bus = buses.open(interface, 0, node.epoch(), &[Filter::ALL]).or_unreachable()?;
    let entry = node.entry();
    info!(
        name = entry.name.as_str(), role = ?entry.role, mesh = ?node.genesis().mesh().0, interface,
        journal = status::describe(node.diagnosis()), "started"
    );
    let actuator = match entry.role {
        Role::Body => Some(Actuator::open(&paths.state).or_usage()?),
        _ => None,
    };
    let (events, event_receiver) = mpsc::channel(MAX_EVENTS);
    let (_commands, command_receiver) = mpsc::channel(1);
    let observer = Observer { folder: paths.state.clone(), status: node.status(), actuator };
    let observer = tokio::spawn(observer.run(event_receiver));
    let ended = runtime::run(node, bus, command_receiver, events, shutdown).await;
    let _ = observer.await; // it ends when the node does, the last status written
    match ended {
        Err(error @ RunError::Bus(_)) => Err(error).or_unreachable(),
        Err(error) => Err(error).or_failed(),
        Ok(()) => {
            info!("ended");
            Ok(())
        }
    }
}

/// Ready at the first SIGTERM or Ctrl-C.
///
/// # Errors
/// The system lets no signal be caught.
pub fn shutdown() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).or_failed()?;
    let mut interrupt = signal(SignalKind::interrupt()).or_failed()?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Takes what the node says, beside its loop: logs, moves the door, writes the status file.
struct Observer {
    folder: PathBuf,
    status: watch::Receiver<Status>,
    actuator: Option<Actuator>,
}

impl Observer {
    async fn run(mut self, mut events: mpsc::Receiver<NodeEvent>) {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                Ok(()) = self.status.changed() => self.write(),
            }
        }
        self.write();
    }

    fn take(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Decided(decision) => self.decided(&decision),
            NodeEvent::Report(report) => log(&report),
            NodeEvent::GrantRefused(digest, refusal) => warn!(grant = ?digest, ?refusal, "grant refused"),
            NodeEvent::Sealed(..) => {} // only a gateway asks for seals
        }
    }

    fn decided(&mut self, decision: &Decision) {
        let Decision { height, round, live, latency_us, .. } = decision;
        info!(height, kind = decision.tx.name(), hash = ?decision.hash, round, live, latency_us, "decided");
        match self.actuator.as_mut().map(|actuator| actuator.act(decision)) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(door))) => info!(height, door = door.name(), "door moved"),
            Some(Err(error)) => error!(height, "the door does not move, for actions.log cannot be written: {error}"),
        }
    }

    fn write(&self) {
        let mut status = self.status.borrow().clone();
        status.door = self.actuator.as_ref().map(|actuator| actuator.door().name().into());
        if let Err(error) = status.write(&self.folder) {
            warn!("{}: the status cannot be written: {error}", self.folder.display());
        }
    }
}

fn log(report: &Report) {
    match report {
        Report::Equivocation(_) | Report::Refused(..) | Report::GrantRefused(..) => warn!(?report),
        _ => info!(?report),
    }
}
