//! Who votes (R1, R4, DC-35): only who was silent is suspended, only who is back is resumed, and never too many leave.
//!
//! What an ECU has verified is not seen from outside, but what it must have: a DECIDED of its own head, by a peer with which it has
//! met in the present boots of both.

use std::collections::BTreeMap;

use can_bus::Frame;
use device_chain::genesis::{Genesis, WIRE_VERSION};
use device_chain::tx::Transaction;
use device_chain::types::{Height, ValidatorIndex};
use device_chain::validator::Report;
use device_chain::wire::{Header, Kind};

use super::{Invariant, World};
use crate::event::{Event, Station, What};

/// Heartbeats of silence after which a member may be suspended (DC-35).
const SUSPEND_HEARTBEATS: u64 = 64;
/// And within which who is back was heard.
const PRESENT_HEARTBEATS: u64 = 3;
/// What an ECU's clock may have jumped meanwhile, and what it heard last of what was not of its head any more, ns and heartbeats.
const CLOCK_NS: u64 = 600_000_000;
const MARGIN_HEARTBEATS: u64 = 8;

/// What one ECU has heard of another.
#[derive(Clone, Copy, Default)]
struct Heard {
    /// Each knows the other's present boot.
    met: bool,
    /// Count of the newest message.
    counter: u32,
    last_ns: u64,
    /// When the last long silence ended.
    silent_until_ns: Option<u64>,
}

/// Who was heard by whom, and who votes.
pub struct MembersKeep {
    heartbeat_ns: u64,
    heard: BTreeMap<(u8, ValidatorIndex), Heard>,
    /// When each ECU came up; not there while it is off.
    up: BTreeMap<u8, u64>,
    /// The last DECIDED of each validator, as it left it: what a router makes of it may be something else.
    said: BTreeMap<ValidatorIndex, Frame>,
    /// When somebody may have missed a validator last, of what was forgotten at a boot: votes for a suspension outlive it.
    missed: BTreeMap<ValidatorIndex, u64>,
    /// When a validator said last to somebody that it is where that one is.
    present: BTreeMap<ValidatorIndex, u64>,
    height: Height,
    /// When that height was decided first.
    since_ns: u64,
}

impl MembersKeep {
    /// Before anything was heard.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self {
            heartbeat_ns: u64::from(genesis.policy.heartbeat_us) * 1000,
            heard: BTreeMap::new(),
            up: BTreeMap::new(),
            said: BTreeMap::new(),
            missed: BTreeMap::new(),
            present: BTreeMap::new(),
            height: 0,
            since_ns: 0,
        }
    }

    fn limit_ns(&self) -> u64 {
        ((SUSPEND_HEARTBEATS - MARGIN_HEARTBEATS) * self.heartbeat_ns).saturating_sub(CLOCK_NS)
    }

    fn hear(&mut self, world: &World, at_ns: u64, receivers: u16, said: &Header) {
        let (peer, height) = (said.sender, said.height);
        let limit_ns = self.limit_ns();
        for ecu in (0..world.thresholds.n as u8).filter(|ecu| receivers >> ecu & 1 == 1) {
            // it may have decided one more that is not durable yet
            if height <= world.height(ecu) + 1 && world.height(ecu) <= height {
                self.present.insert(peer, at_ns);
            }
            if world.height(ecu) != height {
                continue;
            }
            let other_met = self.heard.get(&(peer, ecu)).is_some_and(|heard| heard.met);
            let up_ns = self.up.get(&ecu).copied().unwrap_or(0);
            let is_new = |heard: &&mut Heard| heard.met && other_met && heard.counter < said.counter;
            if let Some(heard) = self.heard.get_mut(&(ecu, peer)).filter(is_new) {
                heard.counter = said.counter;
                if at_ns - heard.last_ns.max(up_ns) > limit_ns {
                    heard.silent_until_ns = Some(at_ns);
                }
                heard.last_ns = at_ns;
            }
        }
    }

    /// Whether an ECU that is up may not have heard the peer for long, now or since the height before was decided.
    fn may_miss(&self, now_ns: u64, ecu: u8, peer: ValidatorIndex) -> bool {
        let Some(up_ns) = self.up.get(&ecu) else { return false };
        let heard = self.heard.get(&(ecu, peer)).copied().unwrap_or_default();
        now_ns - heard.last_ns.max(*up_ns) > self.limit_ns()
            || heard.silent_until_ns.is_some_and(|until_ns| until_ns >= self.since_ns)
    }

    /// Whom an ECU may miss, and who may miss it, before either loses its memory of the other.
    fn keep_missed(&mut self, world: &World, now_ns: u64, ecu: u8) {
        for other in (0..world.thresholds.n as u8).filter(|other| *other != ecu) {
            for (at, peer) in [(ecu, other), (other, ecu)] {
                if world.is_honest(at) && self.may_miss(now_ns, at, peer) {
                    self.missed.insert(peer, now_ns);
                }
            }
        }
    }

    fn judge(&self, world: &World, now_ns: u64, height: Height, tx: &Transaction) -> Result<(), String> {
        let (members, n) = (world.members(height), world.thresholds.n);
        match tx {
            Transaction::Suspend { validator } => {
                let left = (members & !(1 << validator)).count_ones() as usize;
                let votes = |of: usize| (of + world.thresholds.f) / 2 + 1;
                let gains = (n / 2 + 1..=left).any(|of| votes(of) <= of && votes(of) < votes(left + 1));
                if members >> validator & 1 == 0 || left <= n / 2 || !gains {
                    return Err(format!("height {height}: ecu{validator} is suspended, and {left} are left"));
                }
                let others = (0..n as u8).filter(|ecu| ecu != validator && world.is_honest(*ecu));
                let missed = self.missed.get(validator).is_some_and(|at_ns| *at_ns >= self.since_ns)
                    || others.into_iter().any(|ecu| self.may_miss(now_ns, ecu, *validator));
                if world.is_honest(*validator) && !missed {
                    return Err(format!("height {height}: ecu{validator} is suspended, but all have heard it"));
                }
                Ok(())
            }
            Transaction::Resume { validator } if members >> validator & 1 == 1 => {
                Err(format!("height {height}: ecu{validator} is resumed but was a member"))
            }
            Transaction::Resume { validator } => {
                let since_ns = self.since_ns.saturating_sub(PRESENT_HEARTBEATS * self.heartbeat_ns + CLOCK_NS);
                let said = self.present.get(validator);
                if world.is_honest(*validator) && said.is_none_or(|at_ns| *at_ns < since_ns) {
                    return Err(format!(
                        "height {height}: ecu{validator} is resumed, but has not said that it is back"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Invariant for MembersKeep {
    fn name(&self) -> &'static str {
        "members"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        match &event.what {
            What::Booted { ecu, .. } => {
                self.keep_missed(world, event.at_ns, *ecu);
                self.heard.retain(|(at, peer), _| at != ecu && peer != ecu);
                self.up.insert(*ecu, event.at_ns);
            }
            What::Off { ecu, .. } => {
                self.keep_missed(world, event.at_ns, *ecu);
                self.up.remove(ecu);
            }
            What::Report { ecu, report: Report::Met(peer) } => self.heard.entry((*ecu, *peer)).or_default().met = true,
            What::Frame { sender, heard, frame } => {
                let said = Header::parse(frame.data()).filter(|header| header.kind == Kind::Decided);
                let Some(said) = said.filter(|said| said.version == WIRE_VERSION) else { return Ok(()) };
                if *sender == Station::Ecu(said.sender) {
                    self.said.insert(said.sender, *frame);
                } else if *sender != Station::Router
                    || self.said.get(&said.sender).map(Frame::data) != Some(frame.data())
                {
                    return Ok(());
                }
                self.hear(world, event.at_ns, *heard, &said);
            }
            What::Decided { ecu, decision } if world.is_honest(*ecu) && decision.height > self.height => {
                self.judge(world, event.at_ns, decision.height, &decision.tx)?;
                (self.height, self.since_ns) = (decision.height, event.at_ns);
            }
            _ => {}
        }
        Ok(())
    }
}
