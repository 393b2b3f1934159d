//! Seven nodes of one car in one process, on a bus of channels, with real files.
#![allow(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use can_bus::port::{BusCommand, BusEvent};
use device_chain::genesis::Authority;
use device_chain::grant::{Action, Grant, SignedGrant};
use device_chain::sign::SigningKey;
use device_chain::tx::Transaction;
use device_chain::types::{Hash, PublicKey};
use device_chain::validator::{Decision, Mode, Report};
use ecu_node::linux::bus::{ChannelBus, ChannelPort};
use ecu_node::linux::car::Car;
use ecu_node::linux::node::{Node, NodePaths};
use ecu_node::linux::orders::RegistryView;
use ecu_node::linux::provision::provision;
use ecu_node::linux::runtime::{self, NodeCommand, NodeEvent, RunError};
use ecu_node::linux::status::Status;
use ecu_node::store::Diagnosis;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

const NAMES: [&str; 7] = ["gateway", "powertrain", "chassis", "adas", "body", "telematics", "battery"];
const PATIENCE: Duration = Duration::from_secs(20);

/// A running node.
struct Running {
    commands: mpsc::Sender<NodeCommand>,
    events: mpsc::Receiver<NodeEvent>,
    status: watch::Receiver<Status>,
    diagnosis: Diagnosis,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Running {
    fn start(folder: &Path, name: &str, wire: &mpsc::Sender<ChannelPort>) -> Self {
        let node = Node::open(&NodePaths::provisioned(folder, name)).unwrap();
        let (bus, port) = ChannelBus::pair();
        wire.try_send(port).unwrap();
        let (commands, command_receiver) = mpsc::channel(8);
        let (event_sender, events) = mpsc::channel(8);
        let (stop, stopped) = oneshot::channel();
        let (status, diagnosis) = (node.status(), node.diagnosis());
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(runtime::run(node, bus, command_receiver, event_sender, shutdown));
        Self { commands, events, status, diagnosis, stop, task }
    }

    /// The first event that `pick` wants.
    async fn wait<T>(&mut self, pick: impl Fn(NodeEvent) -> Option<T>) -> T {
        let wanted = async {
            loop {
                if let Some(found) = pick(self.events.recv().await.expect("the node has stopped")) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wanted).await.expect("it never happened")
    }

    async fn trusted(&mut self) {
        self.wait(|event| matches!(event, NodeEvent::Report(Report::Mode(Mode::Trusted))).then_some(())).await;
    }

    /// It shares a session with each of the others: who does not cannot check a quorum of votes yet.
    async fn met(&mut self, others: usize) {
        let mut met = BTreeSet::new();
        while met.len() < others {
            let peer = |event| if let NodeEvent::Report(Report::Met(peer)) = event { Some(peer) } else { None };
            met.insert(self.wait(peer).await);
        }
    }

    async fn decision(&mut self) -> Decision {
        let decision = |event| if let NodeEvent::Decided(decision) = event { Some(decision) } else { None };
        self.wait(decision).await
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// A wire that takes no time: what one node sends, all others receive.
async fn wire(mut joining: mpsc::Receiver<ChannelPort>) {
    let (sender, mut commands) = mpsc::channel(64);
    let mut nodes: Vec<mpsc::Sender<BusEvent>> = Vec::new();
    loop {
        tokio::select! {
            Some(mut port) = joining.recv() => {
                let (at, sender) = (nodes.len(), sender.clone());
                nodes.push(port.events);
                tokio::spawn(async move {
                    while let Some(command) = port.commands.recv().await {
                        if sender.send((at, command)).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Some((from, command)) = commands.recv() => {
                let BusCommand::Transmit { token, frame } = command else { continue };
                for (at, node) in nodes.iter().enumerate() {
                    let received = BusEvent::Received { segment: 0, at_us: 0, frame };
                    let event = if at == from { BusEvent::Transmitted { token } } else { received };
                    let _ = node.send(event).await; // it may have stopped
                }
            }
        }
    }
}

/// A provisioned car whose fleet key is returned, and its wire.
fn car(folder: &Path) -> (SigningKey, mpsc::Sender<ChannelPort>) {
    let fleet = SigningKey::from_seed([9; 32]);
    let config = Car::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml"))).unwrap();
    provision(&config, folder, None, &[(Authority::Fleet, fleet.public())]).unwrap();
    let (sender, joining) = mpsc::channel(64);
    tokio::spawn(wire(joining));
    (fleet, sender)
}

fn unlock(node: &Running, fleet: &SigningKey) -> SignedGrant {
    let mesh = ecu_node::linux::files::from_hex(&node.status.borrow().mesh).unwrap();
    let mesh = device_chain::types::MeshId(Hash(mesh));
    let grant =
        Grant { mesh, issuer: 0, serial: 1, action: Action::Unlock, holder: Hash::NIL, not_before: 0, not_after: 100 };
    SignedGrant::sign(grant, fleet)
}

/// Checks, passes on and uses a grant at `node`.
async fn approve(node: &mut Running, grant: SignedGrant) {
    let digest = grant.grant.digest();
    node.commands.send(NodeCommand::Grant(grant)).await.unwrap();
    node.wait(|event| matches!(event, NodeEvent::Report(Report::GrantReady(ready)) if ready == digest).then_some(()))
        .await;
    node.commands.send(NodeCommand::UseGrant(digest)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_ignite_and_approve_a_grant() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, wire) = car(folder.path());
    let mut nodes: Vec<_> = NAMES.iter().map(|name| Running::start(folder.path(), name, &wire)).collect();
    for node in &mut nodes {
        node.met(6).await;
    }
    let grant = unlock(&nodes[0], &fleet);
    let digest = grant.grant.digest();
    approve(&mut nodes[0], grant).await;
    for node in &mut nodes {
        let decision = node.decision().await;
        assert!(decision.live, "decided by a quorum that this node has verified");
        assert!(matches!(decision.tx, Transaction::UseGrant(usage) if usage.digest == digest));
    }
    nodes[0].commands.send(NodeCommand::UseGrant(digest)).await.unwrap();
    nodes[0].wait(|event| matches!(event, NodeEvent::GrantRefused(..)).then_some(())).await;

    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = nodes[0].status.borrow().clone();
    assert_eq!((status.mode.as_str(), status.height, status.approvals.count), ("trusted", 1, 1));
    assert!(status.ignition_ms.is_some() && status.decisions[0].live);
    for node in nodes {
        node.end().await;
    }
    let node = Node::open(&NodePaths::provisioned(folder.path(), "gateway")).unwrap();
    assert_eq!(node.diagnosis(), Diagnosis::Intact);
    assert!(matches!(node.history(), [(1, tx)] if matches!(Transaction::decode(tx), Some(Transaction::UseGrant(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_listens_until_a_quorum_readmits_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, wire) = car(folder.path());
    std::fs::remove_file(folder.path().join("adas/journal.bin")).unwrap();
    let mut nodes: Vec<_> = NAMES.iter().map(|name| Running::start(folder.path(), name, &wire)).collect();
    assert_eq!(nodes[3].diagnosis, Diagnosis::Wiped);
    assert!(nodes[3].status.borrow().amnesiac);
    nodes[3].wait(|event| matches!(event, NodeEvent::Report(Report::Readmitted(_))).then_some(())).await;
    for node in nodes {
        node.end().await;
    }
    let node = Node::open(&NodePaths::provisioned(folder.path(), "adas")).unwrap();
    assert!(!node.status().borrow().amnesiac, "readmission is durable");
}

/// Nothing of what was decided is lost with a consumer that has not taken it.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_decisions_finds_them_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (_, wire) = car(folder.path());
    let mut nodes: Vec<_> = NAMES.iter().map(|name| Running::start(folder.path(), name, &wire)).collect();
    nodes[1].trusted().await;
    for identifier in [0x91, 0x99, 0xA1] {
        // only the owner of an identifier may speak of it
        let tx = Transaction::Alarm { identifier, count: 3 };
        nodes[1].commands.send(NodeCommand::Submit(tx)).await.unwrap();
        nodes[1].decision().await;
    }
    let decided = nodes[6].status.wait_for(|status| status.height == 3);
    tokio::time::timeout(PATIENCE, decided).await.expect("the last one is there, too").unwrap();
    for node in nodes {
        node.end().await; // with events that nobody has taken
    }
    let node = Node::open(&NodePaths::provisioned(folder.path(), "battery")).unwrap();
    let heights: Vec<_> = node.history().iter().map(|(height, _)| *height).collect();
    assert_eq!(heights, [1, 2, 3]);
}

/// Runs `ecu-node` and returns what it says.
fn ecu_node(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ecu-node")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// DC-46: made at the desk, signed where the keys are, put into the folder of one ECU: decided by all.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_made_signed_and_brought_to_one_ecu() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [maker, workshop, owner, buyer] = ["maker", "workshop", "owner", "buyer"].map(|name| {
        let public = ecu_node(&["order", "key", "--out", &path(&format!("{name}.secret"))]);
        PublicKey(ecu_node::linux::files::from_hex(&public).unwrap())
    });
    let config = Car::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml"))).unwrap();
    let keys = [(Authority::Maker, maker), (Authority::Workshop, workshop), (Authority::Owner, owner)];
    let car = folder.path().join("car");
    provision(&config, &car, None, &keys).unwrap();
    let (wires, joining) = mpsc::channel(64);
    tokio::spawn(wire(joining));
    let mut nodes: Vec<_> = NAMES.iter().map(|name| Running::start(&car, name, &wires)).collect();
    for node in &mut nodes {
        node.met(6).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await; // the registry is shown

    let (chassis, order) = (path("car/chassis"), path("change.order"));
    let secret = |name: &str| path(&format!("{name}.secret"));
    let buyer_key = ecu_node::linux::files::to_hex(&buyer.0);
    for (change, signed) in [
        (&["transfer", "--owner", &buyer_key][..], &[("owner", "2"), ("buyer", "newcomer")][..]),
        (&["revoke", "--device", "door-sensor"], &[("maker", "0")]),
    ] {
        let _ = std::fs::remove_file(&order);
        ecu_node(&[&["order", "make", "--state", &chassis, "--out", &order], change].concat());
        for (name, place) in signed {
            let key = secret(name);
            let signer = if *place == "newcomer" { vec!["--newcomer"] } else { vec!["--authority", place] };
            ecu_node(&[&["order", "sign", &order, "--key", &key][..], &signer].concat());
        }
        assert_eq!(ecu_node(&["order", "show", &order]).matches("signed by").count(), signed.len());
        ecu_node(&["order", "give", &order, "--state", &chassis]);
        for node in &mut nodes {
            let decision = node.decision().await;
            assert!(decision.live && matches!(decision.tx, Transaction::Change(_)), "{change:?}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let shown = ecu_node(&["registry", "--state", &path("car/battery"), "--json"]);
    let registry: RegistryView = serde_json::from_str(&shown).unwrap();
    assert_eq!(registry.device("door-sensor").unwrap().1.standing, "revoked");
    assert_eq!(registry.authorities[2].key, buyer_key);
    assert!(ecu_node(&["registry", "--state", &path("car/battery")]).contains("revoked"));
    for node in nodes {
        node.end().await;
    }
}
