//! What the oracle knows of a car, from what it has seen.

use std::collections::{BTreeMap, BTreeSet};

use can_bus::Frame;
use device_chain::genesis::{Genesis, RawIdentifier};
use device_chain::keys::Device;
use device_chain::order::Change;
use device_chain::quorum::Quorum;
use device_chain::record::{Named, Record};
use device_chain::tx::Transaction;
use device_chain::types::{Height, ValidatorIndex};
use device_chain::wire::{Header, Kind, Parts};

use super::hashing::{self, Bytes32};
use crate::event::{Event, Station, What};
use crate::wiretap::Wiretap;

/// Nonces of a validator's boots that are remembered: nobody has a session with an older one.
const NONCES: usize = 8;

/// Heights whose names in a journal are remembered: an image of that age may be put back.
const NAMED: Height = 4096;

/// The car so far.
pub struct World {
    /// Validators, and how many of them may lie (from the table of `docs/protocol.md`, chapter 1).
    pub thresholds: Quorum,
    /// The mesh identity.
    pub mesh: Bytes32,
    dishonest: u16,
    tag_len: usize,
    owners: BTreeMap<RawIdentifier, ValidatorIndex>,
    /// Nonces of the boots of each validator, its twins' among them, oldest first.
    nonces: Vec<Vec<u64>>,
    /// Boots that came up without their memory.
    amnesiacs: BTreeSet<(ValidatorIndex, u64)>,
    has_forgotten: BTreeSet<u8>,
    /// Hash of what was durably decided somewhere, by height.
    pub decided: BTreeMap<Height, Bytes32>,
    /// Who votes from a height on, bit per validator: changed by what was decided before (R1).
    members: BTreeMap<Height, u8>,
    gone: BTreeMap<Height, u8>,
    /// Values that the journal of an ECU has named at a height.
    named: BTreeMap<(u8, Height), Vec<Bytes32>>,
    /// The highest height that is durable at each ECU.
    heights: BTreeMap<u8, Height>,
    /// Identifiers on which their owner has heard somebody else.
    abused: BTreeSet<RawIdentifier>,
    /// How many frames of others on its own identifiers each ECU may have heard since its boot.
    impostors: BTreeMap<u8, u64>,
    /// Records that endpoints themselves have sent: which, its sequence, and what.
    pub records: BTreeSet<(u8, u64, Vec<u8>)>,
    /// Whether somebody else has sent a record of an endpoint again.
    pub has_copied_record: bool,
    /// What is readable on the wire.
    pub wiretap: Wiretap,
}

impl World {
    /// Nothing has happened yet. ECUs with a bit in `dishonest` need not keep any rule.
    #[must_use]
    pub fn new(genesis: &Genesis, dishonest: u16) -> Self {
        let owners = genesis.validators.iter().zip(0..);
        let owners = owners.flat_map(|(entry, owner)| entry.identifiers.all().map(|id| (id, owner)));
        let n = genesis.validators.len();
        Self {
            thresholds: Quorum::full(n),
            mesh: genesis.mesh().0.0,
            dishonest,
            tag_len: genesis.tag_len(),
            owners: owners.collect(),
            nonces: vec![Vec::new(); n],
            amnesiacs: BTreeSet::new(),
            has_forgotten: BTreeSet::new(),
            decided: BTreeMap::new(),
            members: BTreeMap::from([(0, u8::MAX >> (8 - n))]),
            gone: BTreeMap::new(),
            named: BTreeMap::new(),
            heights: BTreeMap::new(),
            abused: BTreeSet::new(),
            impostors: BTreeMap::new(),
            records: BTreeSet::new(),
            has_copied_record: false,
            wiretap: Wiretap::new(genesis),
        }
    }

    /// Whether an ECU must keep the rules.
    #[must_use]
    pub const fn is_honest(&self, ecu: u8) -> bool {
        self.dishonest >> ecu & 1 == 0
    }

    /// Who votes at a height, bit per validator.
    #[must_use]
    pub fn members(&self, height: Height) -> u8 {
        self.members.range(..=height).next_back().map_or(0, |(_, members)| *members)
    }

    /// Places at which nobody is any more at a height, a bit each.
    fn gone(&self, height: Height) -> u8 {
        self.gone.range(..=height).next_back().map_or(0, |(_, gone)| *gone)
    }

    /// Whose votes count at a height, one bit each (R1): its members, and of the others, in the order of their places, those
    /// that do not raise the quorum.
    #[must_use]
    pub fn voters(&self, height: Height) -> u8 {
        let quorum_of = |set: u8| (set.count_ones() as usize + self.thresholds.f) / 2 + 1;
        let others = (0..self.thresholds.n).map(|at| 1 << at).filter(|other| self.gone(height) & other == 0);
        others.fold(self.members(height), |voters, other| {
            if quorum_of(voters | other) == self.quorum(height) { voters | other } else { voters }
        })
    }

    /// Votes that lock and decide at a height; `f` stays that of the full set (R3).
    #[must_use]
    pub fn quorum(&self, height: Height) -> usize {
        (self.members(height).count_ones() as usize + self.thresholds.f) / 2 + 1
    }

    /// Nonces of a validator's last boots.
    #[must_use]
    pub fn nonces(&self, validator: ValidatorIndex) -> &[u64] {
        self.nonces.get(usize::from(validator)).map_or(&[], Vec::as_slice)
    }

    /// Whether that boot of a validator had lost its memory.
    #[must_use]
    pub fn was_amnesiac(&self, validator: ValidatorIndex, nonce: u64) -> bool {
        self.amnesiacs.contains(&(validator, nonce))
    }

    /// Owner of an identifier.
    #[must_use]
    pub fn owner(&self, identifier: RawIdentifier) -> Option<ValidatorIndex> {
        self.owners.get(&identifier).copied()
    }

    /// Whether the owner of an identifier has heard somebody else on it.
    #[must_use]
    pub fn is_abused(&self, identifier: RawIdentifier) -> bool {
        self.abused.contains(&identifier)
    }

    /// How many frames of others on its own identifiers an ECU may have heard since its boot, at most.
    #[must_use]
    pub fn impostors(&self, ecu: u8) -> u64 {
        self.impostors.get(&ecu).copied().unwrap_or(0)
    }

    /// The highest height that an ECU has durably decided.
    #[must_use]
    pub fn height(&self, ecu: u8) -> Height {
        self.heights.get(&ecu).copied().unwrap_or(0)
    }

    /// The hash that votes of a height are bound to.
    #[must_use]
    pub fn parent(&self, height: Height) -> Option<Bytes32> {
        if height <= 1 { Some(self.mesh) } else { self.decided.get(&(height - 1)).copied() }
    }

    /// The message of one frame on the wire.
    #[must_use]
    pub fn message<'m>(&self, data: &'m [u8]) -> Option<Parts<'m>> {
        Parts::split(data, self.thresholds.n, self.tag_len)
    }

    /// The vote in a frame that an honest validator itself has sent.
    #[must_use]
    pub fn honest_vote(&self, event: &Event) -> Option<(ValidatorIndex, Header)> {
        let What::Frame { sender: Station::Ecu(ecu), frame, .. } = &event.what else { return None };
        let header = self.message(frame.data())?.header;
        (self.is_honest(*ecu) && header.kind.vote().is_some()).then_some((*ecu, header))
    }

    pub(super) fn learn(&mut self, event: &Event) {
        match &event.what {
            What::Booted { ecu, nonce, diagnosis, height } => {
                if diagnosis.is_amnesia() {
                    self.has_forgotten.insert(*ecu);
                }
                self.heights.insert(*ecu, *height);
                self.impostors.remove(ecu);
                // a twin is an ECU behind the validators: its nonces are those of whoever it is a twin of
                let place = if usize::from(*ecu) < self.nonces.len() { *ecu } else { self.twin_of() };
                if self.has_forgotten.contains(ecu) {
                    self.amnesiacs.insert((place, *nonce));
                }
                let nonces = &mut self.nonces[usize::from(place)];
                nonces.push(*nonce);
                if nonces.len() > NONCES {
                    nonces.remove(0);
                }
            }
            // an owner does not hear what it sends
            What::Frame { sender, heard, frame } => {
                let abused = self.owner(frame.raw_id()).is_some_and(|owner| heard >> owner & 1 == 1);
                self.abused.extend(abused.then_some(frame.raw_id()));
                self.note_impostor(frame, abused);
                self.hear(*sender, frame);
            }
            What::Corrupted { ecu, frame } => {
                self.abused.extend(Some(frame.raw_id()).filter(|id| self.owner(*id) == Some(*ecu)));
                self.note_impostor(frame, self.owner(frame.raw_id()) == Some(*ecu));
            }
            What::Decided { ecu, decision } if self.is_honest(*ecu) => {
                let members = self.members(decision.height);
                let changed = match &decision.tx {
                    Transaction::Suspend { validator } => members & !(1 << validator),
                    Transaction::Resume { validator } => members | 1 << validator,
                    Transaction::Change(order) => match order.change {
                        Change::Revoke { device: Device::Validator(at) } => {
                            let gone = self.gone(decision.height) | 1 << at;
                            self.gone.entry(decision.height + 1).or_insert(gone);
                            members & !(1 << at)
                        }
                        Change::Provision { device: Device::Validator(at), .. } => {
                            let gone = self.gone(decision.height) & !(1 << at);
                            self.gone.entry(decision.height + 1).or_insert(gone);
                            return;
                        }
                        Change::Replace { device: Device::Validator(at), .. } => members & !(1 << at),
                        _ => return,
                    },
                    _ => return,
                };
                self.members.entry(decision.height + 1).or_insert(changed);
            }
            What::Durable { ecu, record, torn } if self.is_honest(*ecu) => self.learn_fact(*ecu, record, *torn),
            _ => {}
        }
    }

    /// The hash of a value as the journal of an ECU names it; `None` is nil, or a name that means nothing.
    #[must_use]
    pub fn value(&self, ecu: u8, height: Height, name: &Named) -> Option<Bytes32> {
        match name {
            Named::Nil => None,
            Named::Content(tx) => Some(hashing::decision(&self.mesh, height, &self.parent(height)?, tx)),
            Named::Hint(hint) => self.named.get(&(ecu, height))?.iter().find(|hash| hash[..2] == *hint).copied(),
        }
    }

    fn learn_fact(&mut self, ecu: u8, record: &Record, torn: bool) {
        match record {
            Record::Decided(height, name) => {
                if let Some(hash) = self.value(ecu, *height, name) {
                    self.decided.entry(*height).or_insert(hash);
                }
                self.heights.insert(ecu, *height);
                if let Some(old) = height.checked_sub(NAMED) {
                    self.named.remove(&(ecu, old));
                }
            }
            Record::Vote(vote) => {
                if let (Named::Content(_), Some(hash)) = (&vote.value, self.value(ecu, vote.height, &vote.value)) {
                    self.named.entry((ecu, vote.height)).or_default().push(hash);
                }
            }
            Record::Readmitted if !torn => {
                self.has_forgotten.remove(&ecu);
            }
            _ => {}
        }
    }

    fn note_impostor(&mut self, frame: &Frame, heard: bool) {
        if let Some(owner) = self.owner(frame.raw_id()).filter(|_| heard) {
            // what its receiver gets twice is one frame here
            *self.impostors.entry(owner).or_default() += 2;
        }
    }

    fn hear(&mut self, sender: Station, frame: &Frame) {
        if sender == Station::Router {
            return; // it has been heard
        }
        let Some(parts) = self.wiretap.hear(frame).filter(|parts| parts.header.kind == Kind::Record) else { return };
        let sequence = u64::from(parts.header.height) << 32 | u64::from(parts.header.counter);
        let record = (parts.header.round, sequence, parts.body.to_vec());
        if sender == Station::Endpoint(parts.header.round) {
            self.records.insert(record);
        } else {
            self.has_copied_record |= self.records.contains(&record);
        }
    }

    /// There is at most one twin, and it and its original are dishonest: the first that is.
    fn twin_of(&self) -> ValidatorIndex {
        (self.dishonest.trailing_zeros() as u8).min(self.nonces.len() as u8 - 1)
    }
}
