//! Validity: only what somebody asked for, or what the protocol itself calls for, is decided; and the chain's rules hold,
//! worked out once more from the decisions alone.

use std::collections::{BTreeMap, BTreeSet};

use device_chain::block::{BlockHeader, Finality};
use device_chain::genesis::{Genesis, RawIdentifier};
use device_chain::grant::{Grant, GrantUse};
use device_chain::tx::Transaction;
use device_chain::types::{Hash, Height};
use device_chain::validator::Decision;

use super::hashing::{self, Bytes32, Tree};
use super::{Invariant, World};
use crate::event::{Event, What};
use crate::workload::is_forged;

/// Heights before the same identifier may be recorded again (DC-44).
const ALARM_INTERVAL: Height = 32;
/// Decisions in no block beyond which no grant is used and no record decided, and no alarm is recorded (DC-52).
const BACKLOG: [Height; 2] = [40, 48];

/// By how much a time rises that is a decision of its own, and how much any may, ms (DC-61).
const TIME_RISE: (u64, u64) = (60_000, 2_592_000_000);

/// The chain so far, as the rules see it.
pub struct Validity {
    gateway: u8,
    asked: Vec<Transaction>,
    grants: BTreeMap<Hash, Grant>,
    /// Decisions that are ahead of the last one judged.
    ahead: BTreeMap<Height, Decision>,
    height: Height,
    tree: Tree,
    /// Number, hash and tree size of the newest block.
    block: (u32, Bytes32, Height),
    /// The agreed time.
    time_ms: u64,
    used: BTreeSet<u64>,
    alarms: BTreeMap<RawIdentifier, Height>,
    readmitted: BTreeMap<u8, u64>,
}

impl Validity {
    /// Before the first decision.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self {
            gateway: genesis.with_role(device_chain::genesis::Role::Gateway).unwrap_or(0),
            asked: Vec::new(),
            grants: BTreeMap::new(),
            ahead: BTreeMap::new(),
            height: 0,
            tree: Tree::default(),
            block: (0, genesis.mesh().0.0, 0),
            time_ms: genesis.made_ms,
            used: BTreeSet::new(),
            alarms: BTreeMap::new(),
            readmitted: BTreeMap::new(),
        }
    }

    fn judge(&mut self, world: &World, decision: &Decision) -> Result<(), String> {
        let height = decision.height;
        let backlog = self.height - self.block.2;
        match &decision.tx {
            Transaction::UseGrant(order) if backlog < BACKLOG[0] => self.judge_grant(height, order)?,
            Transaction::Alarm { identifier, .. } if backlog < BACKLOG[1] => {
                self.judge_alarm(world, height, *identifier)?;
            }
            Transaction::Record { .. } if backlog < BACKLOG[0] => {} // `records`
            Transaction::Refresh { .. } if backlog < BACKLOG[0] => {} // whoever brings a key nobody else gains by it
            Transaction::Time { ms } if backlog < BACKLOG[0] => {
                if !(self.time_ms + TIME_RISE.0..=self.time_ms + TIME_RISE.1).contains(ms) {
                    return Err(format!("time goes from {} to {ms}", self.time_ms));
                }
                self.time_ms = *ms;
            }
            Transaction::UseGrant(_)
            | Transaction::Alarm { .. }
            | Transaction::Record { .. }
            | Transaction::Time { .. }
            | Transaction::Refresh { .. } => {
                return Err("too much is in no block".into());
            }
            Transaction::EventBlock(header) => self.judge_block(world, header)?,
            Transaction::Readmit { validator, nonce } => {
                let may_lie = !world.is_honest(*validator);
                if !may_lie && !world.was_amnesiac(*validator, *nonce) {
                    return Err(format!("ecu{validator} is readmitted but has lost nothing"));
                }
                if self.readmitted.insert(*validator, *nonce) == Some(*nonce) {
                    return Err(format!("ecu{validator} is readmitted twice for one boot"));
                }
            }
            Transaction::Suspend { .. } | Transaction::Resume { .. } => {} // `members`
            Transaction::Change(_) | Transaction::Firmware { .. } if backlog >= BACKLOG[0] => {
                return Err("too much is in no block".into());
            }
            Transaction::Change(_) | Transaction::Firmware { .. } => {} // `orders`
            Transaction::Skip if decision.live && decision.round == 0 => return Err("nothing, in round 0".into()),
            Transaction::Skip => {}
        }
        self.height = height;
        self.tree.push(&decision.hash.0);
        Ok(())
    }

    fn judge_grant(&mut self, height: Height, order: &GrantUse) -> Result<(), String> {
        let serial = order.serial;
        let grant = self.grants.get(&order.digest).filter(|grant| !is_forged(grant.serial));
        let grant = grant.ok_or(format!("grant {serial} was never given"))?;
        if *order != grant.usage() {
            return Err(format!("grant {serial} is used for something else"));
        }
        if height < grant.not_before || height > grant.not_after {
            return Err(format!("grant {serial} is used at height {height}, out of its time"));
        }
        if self.used.insert(serial) { Ok(()) } else { Err(format!("grant {serial} is used twice")) }
    }

    fn judge_alarm(&mut self, world: &World, height: Height, identifier: RawIdentifier) -> Result<(), String> {
        let asked =
            self.asked.iter().any(|tx| matches!(tx, Transaction::Alarm { identifier: of, .. } if *of == identifier));
        let owner = world.owner(identifier).ok_or("an alarm about an identifier that is nobody's")?;
        if !asked && !world.is_abused(identifier) && world.is_honest(owner) {
            return Err(format!("an alarm about {identifier:03x}, which nobody has abused"));
        }
        match self.alarms.insert(identifier, height) {
            // counted at the heights before: those of the states that allow it
            Some(last) if height - 1 - last < ALARM_INTERVAL => {
                Err(format!("an alarm about {identifier:03x} at {last} and {height}"))
            }
            _ => Ok(()),
        }
    }

    fn judge_block(&mut self, world: &World, header: &BlockHeader) -> Result<(), String> {
        let (number, hash, _) = self.block;
        let asked = self.asked.iter().any(|tx| matches!(tx, Transaction::EventBlock(of) if of == header));
        for (holds, rule) in [
            (asked || !world.is_honest(self.gateway), "nobody has closed it"),
            (header.number == number + 1, "its number does not follow"),
            (header.previous.0 == hash, "it follows another block"),
            (header.tree_size == self.height, "it does not end at the head"),
            (header.tree_root.0 == self.tree.root(), "its tree is not that of the decisions"),
            (
                header.members.iter().map(|member| 1 << member).sum::<u8>() == world.members(self.height + 1),
                "its members are others",
            ),
            (header.time_ms >= self.time_ms, "its time falls"),
            (header.time_ms <= self.time_ms + TIME_RISE.1, "its time leaps"),
            (header.finality == Finality::Final, "it is not final"),
        ] {
            if !holds {
                return Err(format!("block {}: {rule}", header.number));
            }
        }
        self.block = (header.number, hashing::block(&world.mesh, header), header.tree_size);
        self.time_ms = header.time_ms;
        Ok(())
    }
}

impl Invariant for Validity {
    fn name(&self) -> &'static str {
        "validity"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        match &event.what {
            What::Asked { tx, .. } => self.asked.push(tx.clone()),
            What::Granted { grant, .. } => {
                self.grants.insert(grant.grant.digest(), grant.grant.clone());
            }
            What::Decided { ecu, decision } if world.is_honest(*ecu) && decision.height > self.height => {
                self.ahead.entry(decision.height).or_insert_with(|| (**decision).clone());
                while let Some(next) = self.ahead.remove(&(self.height + 1)) {
                    self.judge(world, &next).map_err(|what| format!("height {}: {what}", next.height))?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
