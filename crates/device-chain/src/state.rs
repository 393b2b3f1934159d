//! The folded state of all decisions: a pure function of genesis and decisions, the same in every ECU and in the cloud.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::block::Finality;
use crate::codec;
use crate::entry::Holder;
use crate::flaw::Flaw;
use crate::genesis::{Authority, RawIdentifier};
use crate::grant::{GrantRefusal, GrantUse, UsedSerials};
use crate::hash::{Domain, hash_of};
use crate::keys::Device;
use crate::limits::{
    ALARM_INTERVAL_HEIGHTS, MAX_ALARMS, MAX_AUTHORITIES, MAX_BACKLOG, MAX_BACKLOG_ALARMS, MAX_ENDPOINTS, MAX_STATE,
    MAX_TIME_STEP_MS, MAX_VALIDATORS, MIN_TIME_RISE_MS, REFRESH_INTERVAL_HEIGHTS,
};
use crate::members::Members;
use crate::merkle::Frontier;
use crate::order::{Change, Order, OrderRefusal};
use crate::registry::{Devices, Registry};
use crate::tx::{Transaction, decision_hash};
use crate::types::{Hash, Height, MeshId, ValidatorIndex};

/// The newest block of the Event Chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHead {
    /// Its number; 0 before the first.
    pub number: u32,
    /// Its hash; the mesh identity before the first.
    pub hash: Hash,
    /// The height up to which it holds all decisions.
    pub tree_size: Height,
}

/// An alarm on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmEntry {
    /// The abused identifier.
    pub identifier: RawIdentifier,
    /// When it was recorded last.
    pub height: Height,
    /// Frames seen by the owner then.
    pub count: u32,
}

/// The last time a validator was readmitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readmission {
    /// The boot for which.
    pub nonce: u64,
    /// It votes at heights above this one.
    pub height: Height,
}

/// The newest refresh of a validator's pairwise keys (DC-24).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// X25519, public.
    pub key: [u8; 32],
    /// When it was decided; 0: never.
    pub height: Height,
}

/// Why a transaction is not valid in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The grant.
    Grant(GrantRefusal),
    /// The endpoint is not in the genesis.
    UnknownEndpoint,
    /// A record at or below the endpoint's last sequence: a replay.
    OldSequence,
    /// The identifier is not the mesh's.
    UnknownIdentifier,
    /// The identifier was recorded a short while ago.
    RecentAlarm,
    /// A block that does not follow the last one or does not hold all decisions: dropped, altered, reordered, forked.
    Block(&'static str),
    /// No such validator, or that boot was readmitted already.
    Readmission,
    /// No such validator, suspended already or not at all, or nothing would be gained (R4).
    Membership,
    /// So many decisions wait for a block of the gateway that one more could be lost to the Event Chain.
    Backlog,
    /// A time that is not later than the last one, or by too much (DC-61).
    Time,
    /// No such validator, or it has refreshed its keys a short while ago.
    Refresh,
    /// Nobody may ask for nothing.
    Nothing,
    /// The order, or what a device said of its firmware.
    Order(OrderRefusal),
}

/// What all validators agree on after a height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    mesh: MeshId,
    head: Hash,
    tree: Frontier,
    event: EventHead,
    /// The agreed time, milliseconds of Unix time (DC-61).
    time_ms: u64,
    used_grants: Vec<UsedSerials, MAX_AUTHORITIES>,
    alarms: Vec<AlarmEntry, MAX_ALARMS>,
    readmissions: Vec<Readmission, MAX_VALIDATORS>,
    sequences: Vec<u64, MAX_ENDPOINTS>,
    members: Members,
    /// The height at which each validator was suspended or resumed last.
    changes: Vec<Height, MAX_VALIDATORS>,
    /// [`Registry::root`].
    registry: Hash,
    /// The newest refresh of each validator (DC-24).
    refreshes: Vec<Option<Refreshed>, MAX_VALIDATORS>,
}

impl State {
    /// Of no car.
    pub(crate) const NONE: Self = Self {
        mesh: MeshId(Hash::NIL),
        head: Hash::NIL,
        tree: Frontier::EMPTY,
        event: EventHead { number: 0, hash: Hash::NIL, tree_size: 0 },
        time_ms: 0,
        used_grants: Vec::new(),
        alarms: Vec::new(),
        readmissions: Vec::new(),
        sequences: Vec::new(),
        members: Members::NONE,
        changes: Vec::new(),
        registry: Hash::NIL,
        refreshes: Vec::new(),
    };

    /// The state of a car that has decided nothing yet.
    #[must_use]
    pub fn new(genesis: &impl Devices) -> Self {
        let mut state = Self::NONE;
        state.begin(genesis);
        state
    }

    /// Becomes such a state in its place.
    pub(crate) fn begin(&mut self, genesis: &impl Devices) {
        let Self {
            mesh,
            head,
            tree,
            event,
            time_ms,
            used_grants,
            alarms,
            readmissions,
            sequences,
            members,
            changes,
            registry,
            refreshes,
        } = self;
        *registry = Hash::NIL;
        *mesh = genesis.mesh();
        *head = mesh.0;
        tree.clear();
        *event = EventHead { number: 0, hash: mesh.0, tree_size: 0 };
        *time_ms = genesis.made_ms();
        *members = Members::all(genesis.validators());
        alarms.clear();
        used_grants.clear();
        readmissions.clear();
        sequences.clear();
        changes.clear();
        refreshes.clear();
        // all have the genesis's own bounds
        let _ = used_grants.resize_default(genesis.authorities());
        let _ = readmissions.resize_default(genesis.validators());
        let _ = sequences.resize_default(genesis.endpoints());
        let _ = changes.resize_default(genesis.validators());
        let _ = refreshes.resize_default(genesis.validators());
    }

    /// Every list full and every number at its longest: the bound that [`MAX_STATE`] has to hold.
    #[cfg(test)]
    pub(crate) fn largest(genesis: &impl Devices) -> Self {
        let mut state = Self::new(genesis);
        state.tree = Frontier::largest();
        state.head = Hash([255; 32]);
        state.event = EventHead { number: u32::MAX, hash: Hash([255; 32]), tree_size: u32::MAX };
        state.time_ms = u64::MAX;
        state.used_grants.iter_mut().for_each(|used| {
            used.insert(u64::MAX - 63);
            (0..=63).for_each(|age| used.insert(u64::MAX - age));
        });
        let alarm = AlarmEntry { identifier: u32::MAX, height: u32::MAX, count: u32::MAX };
        let _ = state.alarms.resize(MAX_ALARMS, alarm);
        state.readmissions.fill(Readmission { nonce: u64::MAX, height: u32::MAX });
        state.sequences.fill(u64::MAX);
        state.changes.fill(u32::MAX);
        state.registry = Hash([255; 32]);
        state.refreshes.fill(Some(Refreshed { key: [255; 32], height: u32::MAX }));
        state
    }

    /// From bytes that came from a peer or a journal; `None` unless canonical and of this genesis's shape.
    /// Whether it is *the* state is for f + 1 DECIDED to say (DC-33).
    #[must_use]
    pub fn decode(bytes: &[u8], genesis: &impl Devices) -> Option<Self> {
        let mut state = Self::NONE;
        state.read(bytes, genesis).then_some(state)
    }

    /// The same in its place, for a chip whose stack is small. If it is false this is the state of a car that has decided
    /// nothing yet.
    #[must_use]
    pub fn read(&mut self, bytes: &[u8], genesis: &impl Devices) -> bool {
        let mut rest = bytes;
        let sound = self.take(&mut rest).is_some() && rest.is_empty() && self.is_sound(genesis);
        if !sound {
            self.begin(genesis);
        }
        sound
    }

    /// Field by field, as they are declared.
    fn take(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let Self {
            mesh,
            head,
            tree,
            event,
            time_ms,
            used_grants,
            alarms,
            readmissions,
            sequences,
            members,
            changes,
            registry,
            refreshes,
        } = self;
        *mesh = codec::take(bytes)?;
        *head = codec::take(bytes)?;
        tree.take(bytes)?;
        *event = codec::take(bytes)?;
        *time_ms = codec::take(bytes)?;
        codec::take_list(bytes, used_grants)?;
        codec::take_list(bytes, alarms)?;
        codec::take_list(bytes, readmissions)?;
        codec::take_list(bytes, sequences)?;
        *members = codec::take(bytes)?;
        codec::take_list(bytes, changes)?;
        *registry = codec::take(bytes)?;
        codec::take_list(bytes, refreshes)
    }

    fn is_sound(&self, genesis: &impl Devices) -> bool {
        self.mesh == genesis.mesh()
            && self.tree.is_sound()
            // authorities and endpoints are only ever added; which there are, the pages of the registry tell
            && self.used_grants.len() >= genesis.authorities()
            && self.readmissions.len() == genesis.validators()
            && self.sequences.len() >= genesis.endpoints()
            && self.changes.len() == genesis.validators()
            && self.refreshes.len() == genesis.validators()
            && self.members.is_sound(genesis)
            && self.event.tree_size <= self.height()
            && self.time_ms >= genesis.made_ms()
    }

    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8, MAX_STATE>> {
        codec::encode_vec(self)
    }

    /// What DECIDED commits to, the decision among it (DC-33).
    #[must_use]
    pub fn digest(&self) -> Hash {
        hash_of(Domain::State, self)
    }

    /// The mesh whose state it is.
    #[must_use]
    pub const fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    /// Height of the last decision.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.tree.size()
    }

    /// Hash of the last decision; before the first: the mesh identity.
    #[must_use]
    pub const fn head(&self) -> &Hash {
        &self.head
    }

    /// All decisions, as a tree.
    #[must_use]
    pub const fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// The newest Event Chain block.
    #[must_use]
    pub const fn event(&self) -> &EventHead {
        &self.event
    }

    /// The agreed time, milliseconds of Unix time: when the car was made, at first (DC-61).
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The time nearest to `ms` that the next decision may have (DC-61).
    #[must_use]
    pub fn time_near(&self, ms: u64) -> u64 {
        ms.clamp(self.time_ms, self.time_ms.saturating_add(MAX_TIME_STEP_MS))
    }

    /// Decisions that no block holds yet (DC-52).
    #[must_use]
    pub const fn backlog(&self) -> u32 {
        self.height() - self.event.tree_size
    }

    /// Alarms on the chain.
    #[must_use]
    pub fn alarms(&self) -> &[AlarmEntry] {
        &self.alarms
    }

    /// When a validator was readmitted last.
    #[must_use]
    pub fn readmission(&self, validator: u8) -> Option<Readmission> {
        self.readmissions.get(usize::from(validator)).copied()
    }

    /// Whose votes count at the next height (R1).
    #[must_use]
    pub const fn members(&self) -> Members {
        self.members
    }

    /// Whose votes counted at the state's own height, which `last` decided. A validator that leaves by an order was a member if
    /// its place changed then.
    #[must_use]
    pub fn members_before(&self, last: &Transaction, genesis: &impl Devices) -> Members {
        match last {
            Transaction::Suspend { validator } => self.members.with(*validator, genesis),
            Transaction::Resume { validator } => self.members.without(*validator),
            Transaction::Change(order) => match order.change.device() {
                Some(Device::Validator(at)) if self.changes.get(usize::from(at)) == Some(&self.height()) => {
                    let mut before = self.members;
                    before.insert(at); // also one that is not the car's any more
                    before
                }
                _ => self.members,
            },
            _ => self.members,
        }
    }

    /// Whether this is the registry that it commits to (DC-48). Where it is not, pages of it are missing.
    #[must_use]
    pub fn is_of(&self, registry: &Registry) -> bool {
        self.registry == *registry.root()
    }

    /// Root of that registry; all zeros: as the genesis says.
    #[must_use]
    pub const fn registry(&self) -> &Hash {
        &self.registry
    }

    /// The last sequence of an endpoint.
    #[must_use]
    pub fn sequence(&self, endpoint: u8) -> Option<u64> {
        self.sequences.get(usize::from(endpoint)).copied()
    }

    /// The newest refresh of a validator's pairwise keys.
    #[must_use]
    pub fn refreshed(&self, validator: u8) -> Option<Refreshed> {
        self.refreshes.get(usize::from(validator)).map(|last| last.unwrap_or_default())
    }

    /// Whether `tx` may be decided at the next height, as far as the chain alone tells.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, tx: &Transaction, genesis: &Registry) -> Result<(), Refusal> {
        self.check_backlog(tx)?;
        match tx {
            Transaction::UseGrant(order) => self.check_grant(order, genesis).map_err(Refusal::Grant),
            Transaction::Record { endpoint, .. } if !genesis.is_active(Device::Endpoint(*endpoint)) => {
                Err(Refusal::UnknownEndpoint)
            }
            Transaction::Record { endpoint, sequence, .. } => match self.sequence(*endpoint) {
                None => Err(Refusal::UnknownEndpoint),
                Some(last) if *sequence <= last => Err(Refusal::OldSequence),
                Some(_) => Ok(()),
            },
            Transaction::Alarm { identifier, .. } => self.check_alarm(*identifier, genesis),
            Transaction::EventBlock(header) => self.check_block(header),
            Transaction::Readmit { validator, nonce } => match self.readmission(*validator) {
                Some(last) if last.nonce == *nonce => Err(Refusal::Readmission),
                Some(_) if !genesis.is_active(Device::Validator(*validator)) => Err(Refusal::Readmission),
                Some(last) => self.check_return(*validator, last.height, genesis),
                None => Err(Refusal::Readmission),
            },
            Transaction::Skip => Ok(()),
            Transaction::Suspend { validator } => match self.changes.get(usize::from(*validator)) {
                Some(last) if self.members.may_lose(*validator, genesis) => self.check_repetition(*last),
                _ => Err(Refusal::Membership),
            },
            Transaction::Resume { validator } => match self.changes.get(usize::from(*validator)) {
                Some(last)
                    if genesis.is_active(Device::Validator(*validator)) && !self.members.contains(*validator) =>
                {
                    self.check_return(*validator, *last, genesis)
                }
                _ => Err(Refusal::Membership),
            },
            Transaction::Change(order) => self.check_order(order, genesis).map_err(Refusal::Order),
            Transaction::Time { ms } => {
                let rise = ms.checked_sub(self.time_ms);
                let allowed = rise.is_some_and(|rise| (MIN_TIME_RISE_MS..=MAX_TIME_STEP_MS).contains(&rise));
                if allowed { Ok(()) } else { Err(Refusal::Time) }
            }
            Transaction::Firmware { device, firmware } => {
                genesis.check_firmware(*device, firmware).map_err(Refusal::Order)
            }
            Transaction::Refresh { validator, .. } => match self.refreshed(*validator) {
                _ if !genesis.is_active(Device::Validator(*validator)) => Err(Refusal::Refresh),
                Some(last) if last.height == 0 || self.height() - last.height >= REFRESH_INTERVAL_HEIGHTS => Ok(()),
                _ => Err(Refusal::Refresh),
            },
        }
    }

    /// DC-46: an order is decided in time, once, and leaves enough who vote.
    fn check_order(&self, order: &Order, registry: &Registry) -> Result<(), OrderRefusal> {
        if order.not_after <= self.height() {
            return Err(OrderRefusal::Expired);
        }
        registry.check_order(order)?;
        match order.change {
            Change::Revoke { device: Device::Validator(at) }
            | Change::Replace { device: Device::Validator(at), .. }
                if !self.members.may_do_without(at, registry) =>
            {
                Err(OrderRefusal::Members)
            }
            _ => Ok(()),
        }
    }

    /// DC-52: once in a block when blocks are late. A liar that keeps losing its memory, or keeps leaving and coming back,
    /// must not fill the history.
    fn check_repetition(&self, last: Height) -> Result<(), Refusal> {
        let late = last > self.event.tree_size && self.backlog() >= MAX_BACKLOG;
        if late { Err(Refusal::Backlog) } else { Ok(()) }
    }

    /// DC-52: the gateway may always return, for without it there is no block; others once in a block when blocks are late.
    fn check_return(&self, validator: ValidatorIndex, last: Height, genesis: &impl Devices) -> Result<(), Refusal> {
        if genesis.is_gateway(validator) { Ok(()) } else { self.check_repetition(last) }
    }

    /// DC-52: what could never become part of the Event Chain is not decided. Blocks, changes of who votes and empty
    /// heights always are, so that the car can get out of it.
    fn check_backlog(&self, tx: &Transaction) -> Result<(), Refusal> {
        let backlog = self.backlog();
        let limit = match tx {
            Transaction::UseGrant(_)
            | Transaction::Record { .. }
            | Transaction::Change(_)
            | Transaction::Firmware { .. }
            | Transaction::Time { .. }
            | Transaction::Refresh { .. } => MAX_BACKLOG,
            Transaction::Alarm { .. } => MAX_BACKLOG_ALARMS,
            Transaction::EventBlock(_)
            | Transaction::Readmit { .. }
            | Transaction::Skip
            | Transaction::Suspend { .. }
            | Transaction::Resume { .. } => return Ok(()),
        };
        if backlog < limit { Ok(()) } else { Err(Refusal::Backlog) }
    }

    fn check_grant(&self, order: &GrantUse, registry: &Registry) -> Result<(), GrantRefusal> {
        let is_fleet = |holder: &Holder| holder.is(Authority::Fleet) && !registry.vehicle().ended;
        if !registry.holder(order.issuer).is_some_and(is_fleet) {
            return Err(GrantRefusal::Issuer);
        }
        if order.not_after <= self.height() {
            return Err(GrantRefusal::Expired);
        }
        match self.used_grants.get(usize::from(order.issuer)) {
            None => Err(GrantRefusal::Issuer),
            Some(used) if used.contains(order.serial) && !Flaw::GrantAgain.is_at_work() => Err(GrantRefusal::Used),
            Some(_) => Ok(()),
        }
    }

    fn check_alarm(&self, identifier: RawIdentifier, genesis: &impl Devices) -> Result<(), Refusal> {
        if !genesis.has_identifier(identifier) {
            return Err(Refusal::UnknownIdentifier);
        }
        let last = self.alarms.iter().find(|alarm| alarm.identifier == identifier);
        match last {
            Some(alarm) if self.height().saturating_sub(alarm.height) < ALARM_INTERVAL_HEIGHTS => {
                Err(Refusal::RecentAlarm)
            }
            // more identifiers than entries: the oldest must not be forgotten while it still counts
            None if self.alarms.is_full()
                && self.alarms.first().is_some_and(|oldest| self.height() - oldest.height < ALARM_INTERVAL_HEIGHTS) =>
            {
                Err(Refusal::RecentAlarm)
            }
            _ => Ok(()),
        }
    }

    /// A validator approves only a block that follows the last one and holds every decision (DC-50): the tree root is
    /// over all decisions, so nothing can be dropped, altered or moved; the number and the hash before allow no fork.
    fn check_block(&self, header: &crate::block::BlockHeader) -> Result<(), Refusal> {
        let rules = [
            (header.number == self.event.number.wrapping_add(1), "number does not follow"),
            (header.previous == self.event.hash, "does not follow the last approved block"),
            (header.tree_size == self.height(), "does not end at the head"),
            (header.tree_root == self.tree.root(), "does not hold the decisions that were made"),
            (header.time_ms >= self.time_ms, "time falls"),
            (header.time_ms <= self.time_near(u64::MAX), "time leaps"),
            (header.finality == Finality::Final, "decisions of a quorum are final"),
            (header.members == self.members, "does not name the members that seal it"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(Refusal::Block(broken)),
            None => Ok(()),
        }
    }

    /// The state after deciding `tx` (whose canonical bytes are `bytes`) at the next height. The same transition
    /// everywhere: validators, a replayed journal, the cloud.
    ///
    /// # Errors
    /// What [`Self::check`] says; the state is then unchanged.
    pub fn apply(&mut self, bytes: &[u8], tx: &Transaction, genesis: &mut Registry) -> Result<(), Refusal> {
        self.apply_named(decision_hash(&self.mesh, self.height() + 1, &self.head, bytes), tx, genesis)
    }

    /// The same where the decision hash is known.
    pub(crate) fn apply_named(&mut self, hash: Hash, tx: &Transaction, genesis: &mut Registry) -> Result<(), Refusal> {
        self.check(tx, genesis)?;
        let height = self.height() + 1;
        self.head = hash;
        self.tree.push(&hash.0);
        match tx {
            Transaction::UseGrant(order) => {
                if let Some(used) = self.used_grants.get_mut(usize::from(order.issuer)) {
                    used.insert(order.serial);
                }
            }
            Transaction::Record { endpoint, sequence, .. } => {
                if let Some(last) = self.sequences.get_mut(usize::from(*endpoint)) {
                    *last = *sequence;
                }
            }
            Transaction::Alarm { identifier, count } => {
                self.alarms.retain(|alarm| alarm.identifier != *identifier);
                if self.alarms.is_full() {
                    self.alarms.remove(0);
                }
                let _ = self.alarms.push(AlarmEntry { identifier: *identifier, height, count: *count });
            }
            Transaction::EventBlock(header) => {
                self.event =
                    EventHead { number: header.number, hash: header.hash(&self.mesh), tree_size: header.tree_size };
                self.time_ms = header.time_ms;
            }
            Transaction::Readmit { validator, nonce } => {
                if let Some(last) = self.readmissions.get_mut(usize::from(*validator)) {
                    *last = Readmission { nonce: *nonce, height };
                }
            }
            Transaction::Skip => {}
            Transaction::Suspend { validator } => self.change(*validator, self.members.without(*validator)),
            Transaction::Resume { validator } => self.change(*validator, self.members.with(*validator, genesis)),
            Transaction::Change(order) => {
                genesis.apply_order(order);
                self.follow_order(&order.change, genesis);
            }
            Transaction::Firmware { device, firmware } => {
                genesis.apply_firmware(*device, firmware);
                self.registry = *genesis.root();
            }
            Transaction::Time { ms } => self.time_ms = *ms,
            Transaction::Refresh { validator, key } => {
                if let Some(last) = self.refreshes.get_mut(usize::from(*validator)) {
                    *last = Some(Refreshed { key: *key, height });
                }
            }
        }
        Ok(())
    }

    /// What an order changes beside the registry: who comes has done nothing yet, who goes has no vote.
    fn follow_order(&mut self, change: &Change, registry: &Registry) {
        self.registry = *registry.root();
        let _ = self.used_grants.resize_default(registry.authorities());
        let _ = self.sequences.resize_default(registry.endpoints());
        match change {
            Change::Provision { device, .. } | Change::Replace { device, .. } | Change::Revoke { device } => {
                if let Device::Validator(at) = device {
                    // the pairs that it was for are no more
                    self.refreshes.get_mut(usize::from(*at)).into_iter().for_each(|last| *last = None);
                }
                match device {
                    // a new device is resumed when it is at the present
                    Device::Validator(at) if self.members.contains(*at) => self.change(*at, self.members.without(*at)),
                    Device::Validator(_) => {}
                    Device::Endpoint(at) => {
                        self.sequences.get_mut(usize::from(*at)).into_iter().for_each(|last| *last = 0)
                    }
                }
            }
            Change::Authority { at, .. } => {
                self.used_grants.get_mut(usize::from(*at)).into_iter().for_each(|used| *used = UsedSerials::default());
            }
            Change::Reset => self.alarms.clear(),
            Change::Update { .. } | Change::Rotate { .. } | Change::Transfer { .. } | Change::EndOfLife => {}
        }
    }

    /// R1: what a height changes holds from the next one on.
    fn change(&mut self, validator: ValidatorIndex, members: Members) {
        self.members = members;
        if let Some(last) = self.changes.get_mut(usize::from(validator)) {
            *last = self.tree.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::validator::tests::car;

    proptest! {
        /// The same as serde makes of it, and then what has to hold.
        #[test]
        fn a_state_is_read_in_its_place_as_it_is_decoded(at in 0..2048usize, to: u8, cut in 0..64usize, largest: bool) {
            let genesis = car::genesis(7, "STATE");
            let state = if largest { State::largest(&genesis) } else { State::new(&genesis) };
            let mut bytes = state.encode().expect("fits");
            prop_assert_eq!(State::decode(&bytes, &genesis), Some(state));
            let (at, length) = (at % bytes.len(), bytes.len().saturating_sub(cut / 8));
            bytes[at] = to;
            bytes.truncate(length);
            let expected = codec::decode::<State>(&bytes).filter(|state| state.is_sound(&genesis));
            let mut read = State::largest(&genesis);
            prop_assert_eq!(read.read(&bytes, &genesis), expected.is_some());
            prop_assert_eq!(read, expected.unwrap_or_else(|| State::new(&genesis)));
        }
    }
}
