//! What a running node shows of itself: a value to watch, and a file that any process can read, also on the other side of
//! a user-mode Linux, which a socket would not cross.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use can_bus::port::ErrorState;
use device_chain::genesis::Genesis;
use device_chain::keys::KeyStore;
use device_chain::types::ValidatorIndex;
use device_chain::validator::{Counters, Decision, Mode, Presence, Report, Workings};
use serde::{Deserialize, Serialize};

use super::files;
use crate::Ecu;
use crate::pump::FrameCounters;
use crate::store::Diagnosis;

/// A status file that is older was left behind by a process that does not run any more.
pub const MAX_AGE: Duration = Duration::from_secs(3);
/// Decisions that the status lists, the newest last.
pub const LISTED_DECISIONS: usize = 32;
/// Latencies of which the median is taken, the newest.
const LATENCIES: usize = 1024;
/// Name of the file in the node's folder.
const FILE: &str = "status.json";
const MAX_FILE: u64 = 256 * 1024;

/// The status of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Vehicle identification.
    pub vehicle: String,
    /// Name in the genesis.
    pub name: String,
    /// Role in the genesis.
    pub role: String,
    /// Mesh identity, hexadecimal.
    pub mesh: String,
    /// `trusted` or `isolated`.
    pub mode: String,
    /// Height of the last decision.
    pub height: u32,
    /// Round of the height being agreed on.
    pub round: u8,
    /// Hash of the last decision, hexadecimal.
    pub head: String,
    /// The agreed time, milliseconds of Unix time.
    pub time_ms: u64,
    /// What the clocks of the mesh say, milliseconds of Unix time, if enough are heard.
    pub clocks_ms: Option<u64>,
    /// Number of this boot.
    pub boot: u32,
    /// Listens only, until a quorum readmits it.
    pub amnesiac: bool,
    /// Its vote does not count, until the others have resumed it.
    pub suspended: bool,
    /// What was found in the journal at the start.
    pub diagnosis: String,
    /// The other validators.
    pub peers: Vec<Peer>,
    /// The endpoints.
    #[serde(default)]
    pub endpoints: EndpointStatus,
    /// Messages by what became of them.
    pub messages: BTreeMap<String, u64>,
    /// Rules at work inside the validator that nobody outside can see.
    pub rules: BTreeMap<String, u64>,
    /// Frames by what became of them.
    pub frames: BTreeMap<String, u64>,
    /// Error state of the controller.
    pub bus: String,
    /// What this node had approved.
    pub approvals: ApprovalStatus,
    /// The last decisions, the newest last.
    pub decisions: Vec<DecisionStatus>,
    /// Reports that nobody took.
    pub reports_dropped: u64,
    /// From the start of the process to the first mode `trusted`, milliseconds.
    pub ignition_ms: Option<u64>,
    /// At the body ECU: `unlocked` or `locked`.
    pub door: Option<String>,
    /// Process.
    pub pid: u32,
    /// When this was written, milliseconds of Unix time.
    pub written_at_ms: u64,
}

/// Another validator, as this node sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Name in the genesis.
    pub name: String,
    /// A verified message came in within three heartbeats.
    pub heard: bool,
    /// It has proved that it shares a session.
    pub confirmed: bool,
    /// It says that it has lost its memory.
    pub amnesiac: bool,
    /// Its vote does not count.
    pub suspended: bool,
}

/// The endpoints that have proved to this node, in this boot, that they are there (DC-70).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// How many.
    pub present: usize,
    /// Names of those that have not.
    pub missing: Vec<String>,
    /// Names of those that are there with another firmware than the chain expects.
    pub other_firmware: Vec<String>,
}

/// Decisions that this node had asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalStatus {
    /// How many.
    pub count: u64,
    /// Median from request to decision, of the newest 1024, microseconds.
    pub median_us: Option<u64>,
    /// Longest, microseconds.
    pub worst_us: Option<u64>,
}

/// A decision in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionStatus {
    /// Height.
    pub height: u32,
    /// What was decided, in a word.
    pub kind: String,
    /// Hash, hexadecimal.
    pub hash: String,
    /// Round that decided.
    pub round: u8,
    /// Decided here by a quorum, not taken over while catching up.
    pub live: bool,
    /// From request to decision, if this node had asked for it, microseconds.
    pub latency_us: Option<u64>,
}

/// What a node has done since it started.
#[derive(Default)]
pub(super) struct Tally {
    count: u64,
    worst_us: Option<u64>,
    latencies_us: VecDeque<u64>,
    decisions: VecDeque<DecisionStatus>,
    ignition_ms: Option<u64>,
    /// Reports that nobody took.
    pub reports_dropped: u64,
}

impl Tally {
    pub fn decided(&mut self, decision: &Decision) {
        push_newest(
            &mut self.decisions,
            LISTED_DECISIONS,
            DecisionStatus {
                height: decision.height,
                kind: decision.tx.name().into(),
                hash: decision.hash.to_string(),
                round: decision.round,
                live: decision.live,
                latency_us: decision.latency_us,
            },
        );
        if let Some(latency) = decision.latency_us {
            self.count += 1;
            self.worst_us = self.worst_us.max(Some(latency));
            push_newest(&mut self.latencies_us, LATENCIES, latency);
        }
    }

    pub fn reported(&mut self, report: &Report, since_start: Duration) {
        if *report == Report::Mode(Mode::Trusted) {
            self.ignition_ms.get_or_insert(since_start.as_millis() as u64);
        }
    }

    fn approvals(&self) -> ApprovalStatus {
        let mut sorted: Vec<u64> = self.latencies_us.iter().copied().collect();
        sorted.sort_unstable();
        ApprovalStatus { count: self.count, median_us: sorted.get(sorted.len() / 2).copied(), worst_us: self.worst_us }
    }
}

fn push_newest<T>(list: &mut VecDeque<T>, limit: usize, item: T) {
    if list.len() == limit {
        list.pop_front();
    }
    list.push_back(item);
}

impl Status {
    /// Of a node that has not run yet.
    pub(super) fn new<K: KeyStore>(genesis: &Genesis, ecu: &Ecu<K>, diagnosis: Diagnosis) -> Self {
        let validator = ecu.validator();
        let entry = &genesis.validators[usize::from(validator.index())];
        let mut status = Self {
            vehicle: genesis.vehicle.to_string(),
            name: entry.name.to_string(),
            role: format!("{:?}", entry.role).to_lowercase(),
            mesh: validator.mesh().0.to_string(),
            diagnosis: describe(diagnosis),
            boot: validator.boot(),
            pid: std::process::id(),
            mode: String::new(),
            height: 0,
            round: 0,
            head: String::new(),
            time_ms: 0,
            clocks_ms: None,
            amnesiac: false,
            suspended: false,
            peers: Vec::new(),
            endpoints: EndpointStatus::default(),
            messages: BTreeMap::new(),
            rules: BTreeMap::new(),
            frames: BTreeMap::new(),
            bus: String::new(),
            approvals: ApprovalStatus::default(),
            decisions: Vec::new(),
            reports_dropped: 0,
            ignition_ms: None,
            door: None,
            written_at_ms: 0,
        };
        status.renew(genesis, ecu, &Tally::default());
        status
    }

    pub(super) fn renew<K: KeyStore>(&mut self, genesis: &Genesis, ecu: &Ecu<K>, tally: &Tally) {
        let validator = ecu.validator();
        self.mode = match validator.mode() {
            Mode::Trusted => "trusted",
            Mode::Isolated => "isolated",
        }
        .into();
        self.height = validator.state().height();
        self.round = validator.round();
        self.head = validator.state().head().to_string();
        self.time_ms = validator.state().time_ms();
        self.clocks_ms = validator.estimate();
        self.amnesiac = validator.is_amnesiac();
        self.suspended = !validator.state().members().contains(validator.index());
        let entries = (0..).zip(&genesis.validators).filter(|(at, _)| *at != validator.index());
        self.peers = entries.map(|(at, entry)| peer(ecu, at, &entry.name)).collect();
        let presence = |at: usize| validator.presence(at as u8);
        let named = |like: Presence| {
            let alike = genesis.endpoints.iter().enumerate().filter(|(at, _)| presence(*at) == like);
            alike.map(|(_, entry)| entry.name.to_string()).collect::<Vec<_>>()
        };
        let (missing, other_firmware) = (named(Presence::Missing), named(Presence::OtherFirmware));
        self.endpoints = EndpointStatus { present: genesis.endpoints.len() - missing.len(), missing, other_firmware };
        self.messages = message_counters(validator.counters());
        self.rules = rule_counters(validator.workings());
        self.frames = frame_counters(ecu.counters());
        self.bus = match ecu.bus_state() {
            ErrorState::Active => "active",
            ErrorState::Warning => "warning",
            ErrorState::Passive => "passive",
            ErrorState::BusOff => "bus-off",
        }
        .into();
        self.approvals = tally.approvals();
        self.decisions = tally.decisions.iter().cloned().collect();
        self.reports_dropped = tally.reports_dropped;
        self.ignition_ms = tally.ignition_ms;
        self.written_at_ms = unix_ms();
    }

    /// Replaces the status file in a node's folder.
    ///
    /// # Errors
    /// Of the file system.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        files::replace(&folder.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads the status file in a node's folder.
    ///
    /// # Errors
    /// There is none, or it is no status.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let bytes = files::read(&path, MAX_FILE)?;
        serde_json::from_slice(&bytes).with_context(|| format!("{}: this is no status", path.display()))
    }

    /// How long ago it was written.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(unix_ms().saturating_sub(self.written_at_ms))
    }
}

fn peer<K: KeyStore>(ecu: &Ecu<K>, at: ValidatorIndex, name: &str) -> Peer {
    let session = ecu.validator().session(at);
    Peer {
        name: name.into(),
        heard: ecu.validator().is_heard(at),
        confirmed: session.is_some_and(|session| session.is_confirmed()),
        amnesiac: session.is_some_and(|session| session.amnesiac),
        suspended: !ecu.validator().state().members().contains(at),
    }
}

fn message_counters(counters: &Counters) -> BTreeMap<String, u64> {
    let Counters { accepted, bad_tag, replayed, stale, foreign, version, malformed, held, unknown, impostor, dropped } =
        *counters;
    named([
        ("accepted", accepted),
        ("bad_tag", bad_tag),
        ("replayed", replayed),
        ("stale", stale),
        ("foreign", foreign),
        ("version", version),
        ("malformed", malformed),
        ("held", held),
        ("unknown", unknown),
        ("impostor", impostor),
        ("dropped", dropped),
    ])
}

fn rule_counters(workings: &Workings) -> BTreeMap<String, u64> {
    let Workings { taken_along, left_alone, vouched, set_aside, failed, second_proposals, taken_back, ahead } =
        *workings;
    named([
        ("taken_along", taken_along),
        ("left_alone", left_alone),
        ("vouched", vouched),
        ("set_aside", set_aside),
        ("failed", failed),
        ("second_proposals", second_proposals),
        ("taken_back", taken_back),
        ("ahead", ahead),
    ])
}

fn frame_counters(counters: &FrameCounters) -> BTreeMap<String, u64> {
    let FrameCounters {
        received,
        other,
        foreign,
        malformed,
        segments,
        sent_votes,
        sent_proposals,
        sent_other,
        cancelled,
        dropped,
        overrun,
    } = *counters;
    named([
        ("received", received),
        ("other", other),
        ("foreign", foreign),
        ("malformed", malformed),
        ("segments", segments),
        ("sent_votes", sent_votes),
        ("sent_proposals", sent_proposals),
        ("sent_other", sent_other),
        ("cancelled", cancelled),
        ("dropped", dropped),
        ("overrun", overrun),
    ])
}

fn named<C: Into<u64>, const N: usize>(counters: [(&str, C); N]) -> BTreeMap<String, u64> {
    counters.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
}

/// What a diagnosis means, for a person.
#[must_use]
pub fn describe(diagnosis: Diagnosis) -> String {
    match diagnosis {
        Diagnosis::Intact => "intact".into(),
        Diagnosis::TornTail => "intact but for an append that a power cut interrupted".into(),
        Diagnosis::Wiped => "wiped: there was no journal; listening until a quorum readmits this node".into(),
        Diagnosis::Stale { missing } => {
            format!("stale: {missing} records behind the counter (an old copy?); listening until readmitted")
        }
        Diagnosis::Damaged => "damaged: listening until a quorum readmits this node".into(),
        Diagnosis::Foreign => "the journal was another car's; listening until a quorum readmits this node".into(),
    }
}

/// Now, milliseconds of Unix time.
#[must_use]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ignition = self.ignition_ms.map_or_else(String::new, |ms| format!(" ({ms} ms after the start)"));
        writeln!(f, "{:<12}{} ({}) of {}, process {}", "node", self.name, self.role, self.vehicle, self.pid)?;
        let amnesiac = if self.amnesiac { ", amnesiac" } else { "" };
        let suspended = if self.suspended { ", suspended" } else { "" };
        writeln!(f, "{:<12}{}{amnesiac}{suspended}{ignition}", "mode", self.mode)?;
        writeln!(f, "{:<12}height {}, round {}, head {}", "chain", self.height, self.round, &self.head)?;
        let clocks = self.clocks_ms.map_or_else(|| "too few".into(), |ms| format!("{ms} ms"));
        writeln!(f, "{:<12}agreed {} ms; clocks: {clocks}", "time", self.time_ms)?;
        writeln!(f, "{:<12}boot {}; {}", "journal", self.boot, self.diagnosis)?;
        if let Some(door) = &self.door {
            writeln!(f, "{:<12}{door}", "door")?;
        }
        let ApprovalStatus { count, median_us, worst_us } = self.approvals;
        write!(f, "{:<12}{count}", "approvals")?;
        if let (Some(median), Some(worst)) = (median_us, worst_us) {
            write!(f, ", median {median} us, worst {worst} us")?;
        }
        writeln!(f, "\n{:<12}{}", "bus", self.bus)?;
        let EndpointStatus { present, missing, other_firmware } = &self.endpoints;
        write!(f, "{:<12}{present} present", "endpoints")?;
        for (what, names) in [("missing", missing), ("other firmware", other_firmware)] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", names.join(", "))?;
            }
        }
        writeln!(f)?;
        for (name, counters) in [("messages", &self.messages), ("rules", &self.rules), ("frames", &self.frames)] {
            let shown: Vec<_> = counters.iter().filter(|(_, count)| **count > 0).collect();
            let text: Vec<_> = shown.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(f, "{name:<12}{}", text.join(", "))?;
        }
        writeln!(f, "\n{:<16}{:<8}{:<11}{:<10}suspended", "peer", "heard", "confirmed", "amnesiac")?;
        let yes = |yes| if yes { "yes" } else { "no" };
        for peer in &self.peers {
            let (heard, confirmed, amnesiac) = (yes(peer.heard), yes(peer.confirmed), yes(peer.amnesiac));
            let suspended = yes(peer.suspended);
            writeln!(f, "{:<16}{heard:<8}{confirmed:<11}{amnesiac:<10}{suspended}", peer.name)?;
        }
        writeln!(f, "\n{:>8}  {:<12}{:<18}{:>6}{:>12}", "height", "decision", "hash", "round", "latency us")?;
        for decision in &self.decisions {
            let DecisionStatus { height, kind, hash, round, latency_us, .. } = decision;
            let latency = latency_us.map_or_else(|| "-".into(), |us| us.to_string());
            writeln!(f, "{height:>8}  {kind:<12}{:<18}{round:>6}{latency:>12}", hash.get(..16).unwrap_or(hash))?;
        }
        Ok(())
    }
}
