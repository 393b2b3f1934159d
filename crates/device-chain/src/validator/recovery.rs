//! A validator before it starts: its place in a car, and what its journal gives back (P1 to P5).

use super::heights::Which;
use super::{Boot, Validator};
use crate::agreement::{Instance, Value, ValueId};
use crate::codec;
use crate::flaw::Flaw;
use crate::genesis::{GenesisError, Role};
use crate::keys::KeyStore;
use crate::limits::MAX_ROUNDS;
use crate::record::{BadRecord, Named, Record, RecordKind, VoteRecord, push_newest};
use crate::registry::{Devices, Registry};
use crate::tx::{Transaction, TxBytes, decision_hash};
use crate::types::{Hash, Height, Micros, PublicKey, ValidatorIndex};

/// The genesis has no such place, or no gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAValidator;

impl<K: KeyStore> Validator<K> {
    /// Gives it its place in a car that has decided nothing yet.
    ///
    /// # Errors
    /// [`NotAValidator`] if `me` is no place in the genesis.
    pub fn install(&mut self, registry: impl Into<Registry>, me: ValidatorIndex) -> Result<(), NotAValidator> {
        self.registry = registry.into();
        self.take_place(me)
    }

    /// Reads a signed genesis as it lies in the flash, as [`Registry::open`] does. What is to do besides is to give it its
    /// [place](Self::take_place).
    ///
    /// # Errors
    /// What is wrong, for a person to read.
    pub fn read_genesis(&mut self, bytes: &[u8], maker: &PublicKey) -> Result<&Registry, GenesisError> {
        self.registry.read(bytes, maker)?;
        Ok(&self.registry)
    }

    /// Gives it its place in the car whose genesis it has read.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub fn take_place(&mut self, me: ValidatorIndex) -> Result<(), NotAValidator> {
        let (registry, full) = (&self.registry, self.registry.quorum());
        self.gateway = registry.with_role(Role::Gateway).ok_or(NotAValidator)?;
        registry.identifiers(me).ok_or(NotAValidator)?;
        (self.me, self.full, self.mesh, self.tag_len) = (me, full, registry.mesh(), registry.tag_len());
        self.state.begin(registry);
        self.begin_next();
        Ok(())
    }

    /// Takes the next record of the journal.
    ///
    /// # Errors
    /// [`BadRecord`]: the record is no record or contradicts those before it. What was taken before stands, unless it was a
    /// state; the caller gives up the journal and [lets it forget](Self::forget).
    pub fn replay(&mut self, kind: RecordKind, bytes: &[u8]) -> Result<(), BadRecord> {
        match kind {
            RecordKind::State => {
                let sound = self.state.read(bytes, &self.registry);
                self.history.clear();
                self.heights.forget_previous();
                self.begin_next();
                if !sound {
                    return Err(BadRecord);
                }
            }
            RecordKind::Page => {
                let (page, content) = bytes.split_first().ok_or(BadRecord)?;
                if !self.registry.read_page(*page, content, None) {
                    return Err(BadRecord);
                }
                self.begin_next(); // whose votes count may depend on it
            }
            RecordKind::Fact => match codec::decode(bytes).ok_or(BadRecord)? {
                Record::Boot(boot) => self.boot = boot,
                Record::Amnesiac => self.amnesiac = true,
                Record::Readmitted => self.amnesiac = false,
                Record::Past(tx) => push_newest(&mut self.history, &tx),
                Record::Parent(parent) => {
                    let (decided, height) = (self.newest().ok_or(BadRecord)?, self.state.height());
                    let members = self.state.members_before(&decided.1, &self.registry);
                    self.begin(Which::Previous, members, height, parent);
                }
                Record::Vote(vote) => self.replay_vote(&vote)?,
                Record::Decided(height, name) => self.replay_decision(height, &name)?,
            },
        }
        Ok(())
    }

    /// The journal is lost, or older than what this node has said: it listens only, until it is readmitted (P5).
    pub fn forget(&mut self) {
        self.amnesiac = !Flaw::AmnesiacVotes.is_at_work();
        // of what may end too early nobody knows the heights
        self.history.clear();
        self.heights.forget_previous();
    }

    /// It comes up. Its first effects make the boot durable and say HELLO.
    pub fn start(&mut self, boot: Boot, now: Micros) {
        let nonce = if Flaw::NonceStays.is_at_work() { u64::from(self.me) } else { boot.nonce };
        (self.nonce, self.boot) = (nonce, self.boot.wrapping_add(1));
        (self.started, self.now, self.decided_at, self.helped_at) = (now, now, now, now);
        self.hello_due = Some(now);
        self.heartbeat_due = now.plus(self.heartbeat_us());
        self.digest.take();
        self.restore_previous();
        self.restore_current();
        if self.amnesiac {
            // whoever starts once more before it is readmitted still is one
            self.persist(Record::Amnesiac);
        }
        self.persist(Record::Boot(self.boot));
        if self.me == self.gateway {
            self.seal_newest();
        }
    }

    fn restore_current(&mut self) {
        let (me, amnesiac) = (self.me, self.amnesiac);
        let current = self.heights.current_mut();
        current.set_may_vote(!amnesiac && current.members().contains(me));
        if !current.values().is_empty() {
            current.set_own_proposal(0);
        }
        if current.has_restored() {
            self.arm_retransmit();
        }
    }

    /// The height that was decided last: others may still need this node's votes there (L6).
    fn restore_previous(&mut self) {
        let (me, amnesiac) = (self.me, self.amnesiac);
        let newest = self.newest();
        let (mesh, height) = (self.mesh, self.state.height());
        let Some(previous) = self.heights.previous_mut() else { return };
        previous.set_may_vote(!amnesiac && previous.members().contains(me));
        let decided = newest.filter(|_| previous.height() == height).and_then(|(tx, _)| {
            let hash = decision_hash(&mesh, height, previous.parent(), &tx);
            previous.add_value(past_value(hash, me), &tx)
        });
        match decided {
            Some(id) => previous.adopt(id),
            None => self.heights.forget_previous(),
        }
    }

    /// The last decision that is remembered, and its meaning.
    fn newest(&self) -> Option<(TxBytes, Transaction)> {
        let bytes = TxBytes::from_slice(self.history.newest()?).ok()?;
        let tx = Transaction::decode(&bytes)?;
        Some((bytes, tx))
    }

    /// An own vote. A rewritten journal may already hold what is appended behind it, and votes that are of no more use.
    fn replay_vote(&mut self, vote: &VoteRecord) -> Result<(), BadRecord> {
        if usize::from(vote.round) >= MAX_ROUNDS {
            return Err(BadRecord);
        }
        let is_present = vote.height == self.heights.current().height();
        let Some(instance) = self.heights.at(vote.height) else { return Ok(()) };
        let value = match &vote.value {
            Named::Nil => None,
            // a vote for something unknown would be forgotten, and could be contradicted (P1)
            Named::Hint(hint) => Some(hinted(instance, *hint).ok_or(BadRecord)?),
            Named::Content(content) => {
                let hash = decision_hash(&self.mesh, vote.height, instance.parent(), content);
                let id = if is_present {
                    let id = self.learn_named(self.me, hash, content, true);
                    id.into_iter().for_each(|id| self.stored.note(id));
                    id
                } else {
                    Transaction::decode(content).ok_or(BadRecord)?;
                    let past = past_value(hash, self.me);
                    self.heights.at_mut(vote.height).and_then(|instance| instance.add_value(past, content))
                };
                Some(id.ok_or(BadRecord)?)
            }
        };
        if let Some(instance) = self.heights.at_mut(vote.height) {
            instance.restore_vote(vote.kind, vote.round, value);
        }
        Ok(())
    }

    fn replay_decision(&mut self, height: Height, name: &Named) -> Result<(), BadRecord> {
        if height <= self.state.height() {
            return Ok(()); // a rewritten journal holds it already
        }
        if height != self.state.height() + 1 {
            return Err(BadRecord);
        }
        let current = self.heights.current();
        let bytes = match name {
            Named::Nil => return Err(BadRecord),
            Named::Content(content) => content.clone(),
            Named::Hint(hint) => {
                let tx = hinted(current, *hint).and_then(|id| current.transaction(id)).ok_or(BadRecord)?;
                TxBytes::from_slice(tx).map_err(|_| BadRecord)?
            }
        };
        let tx = Transaction::decode(&bytes).ok_or(BadRecord)?;
        self.state.apply(&bytes, &tx, &mut self.registry).map_err(|_| BadRecord)?;
        push_newest(&mut self.history, &bytes);
        self.heights.turn();
        self.begin_next();
        Ok(())
    }
}

/// A value of the height that was decided last, of which nothing is judged any more.
const fn past_value(hash: Hash, proposer: ValidatorIndex) -> Value {
    Value { hash, proposer, allowed_from: Some(0), evident: true }
}

/// The one value that a hint means.
fn hinted(instance: &Instance, hint: [u8; 2]) -> Option<ValueId> {
    let mut alike = instance.hinted(u16::from_le_bytes(hint));
    alike.next().filter(|_| alike.next().is_none())
}
