//! What is to be decided: grants, records, alarms, blocks, readmissions; and what follows from a decision.

use heapless::{Deque, Vec};

use super::outbox::Message;
use super::{HeldGrant, HeldRecord, Pending, Validator};
use crate::block::Seal;
use crate::codec;
use crate::genesis::RawIdentifier;
use crate::grant::{GrantRefusal, SignedGrant};
use crate::hash::{Domain, hash};
use crate::keys::{Device, KeyHandle, KeyStore};
use crate::limits::MAX_GRANT;
use crate::order::OrderRefusal;
use crate::state::Refusal;
use crate::tx::{Transaction, TxBytes};
use crate::types::{Hash, Height, Micros, Signature, ValidatorIndex};
use crate::wire::{self, Parts};

/// Frames on an own identifier by somebody else before the owner speaks of it: one may be a bit error's ghost.
const IMPOSTOR_FRAMES: u32 = 3;
/// A proposal that comes to nothing is tried again after 2, 4, .. 2^10 heartbeats.
const MAX_BACK_OFF: u32 = 10;

impl<K: KeyStore> Validator<K> {
    /// A transaction that this node wants decided.
    pub(super) fn submit(&mut self, tx: Transaction) {
        let nothing = match &tx {
            Transaction::Skip => Err(Refusal::Nothing),
            // an own order is voted for without a further look
            Transaction::Change(order) if !self.is_ordered(order) => Err(Refusal::Order(OrderRefusal::Signature)),
            _ => Ok(()),
        };
        if let Err(refusal) = nothing.and(self.state.check(&tx, &self.registry)) {
            return self.refuse(&tx, refusal);
        }
        if matches!(tx, Transaction::EventBlock(_)) {
            self.pending.retain(|pending| !matches!(pending.tx(), Some(Transaction::EventBlock(_))));
        }
        self.push_pending(&tx, 0, true);
    }

    /// A transaction that several nodes want decided: who is further back in line waits.
    pub(super) fn want(&mut self, tx: Transaction, wait_us: u64) {
        if self.state.check(&tx, &self.registry).is_ok() {
            self.push_pending(&tx, wait_us, false);
        }
    }

    fn push_pending(&mut self, tx: &Transaction, wait_us: u64, own: bool) {
        let Some(bytes) = tx.encode() else { return };
        if self.pending.iter().any(|pending| pending.bytes == bytes) {
            return;
        }
        if own && self.pending.is_full() {
            // what others want, too, must not keep this node's own orders out
            drop_first(&mut self.pending, |pending| !pending.own);
        } else if self.pending.is_full() && !matches!(tx, Transaction::Record { .. }) {
            // nor a lying endpoint who votes: its record is wanted again when it is repeated
            drop_first(&mut self.pending, |pending| {
                !pending.own && matches!(pending.tx(), Some(Transaction::Record { .. }))
            });
        }
        let pending = Pending { bytes, due: self.now.plus(wait_us), failures: 0, asked: self.now, own };
        if self.pending.push_back(pending).is_err() && own {
            self.counters.dropped += 1;
        }
    }

    /// When the next own proposal is due; `None` while this height has its proposal, or there is nothing to propose.
    pub(super) fn next_proposal(&self) -> Option<Micros> {
        let due = self.pending.iter().map(|pending| pending.due).min()?;
        let opens = self.heights.current().opens_at().filter(|_| self.may_vote())?;
        Some(due.max(opens))
    }

    /// Round 0: whoever has something to approve proposes at once (L4).
    #[inline(never)]
    pub(super) fn propose_pending(&mut self) {
        if self.next_proposal().is_none_or(|due| due > self.now) {
            return;
        }
        let Some(bytes) = self.first_pending() else { return };
        match self.learn_value(self.me, &bytes, true) {
            Some(id) => {
                self.heights.current_mut().set_own_proposal(id);
                self.send(Message::Propose(self.heights.current().height(), 0));
                self.arm_retransmit();
            }
            // no room among the values of this height
            None => self.postpone(&bytes),
        }
    }

    /// The own proposal of a height that ended with nothing could not be agreed on: too few have its evidence. Next
    /// time later, and ever more so.
    pub(super) fn back_off(&mut self) {
        let (current, heartbeat_us) = (self.heights.current(), self.heartbeat_us());
        let proposed = current.own_proposal().and_then(|id| current.transaction(id));
        let pending = proposed.and_then(|tx| self.pending.iter_mut().find(|pending| &pending.bytes[..] == tx));
        if let Some(pending) = pending {
            pending.failures = (pending.failures + 1).min(MAX_BACK_OFF);
            pending.due = self.now.plus(heartbeat_us << pending.failures);
        }
    }

    fn postpone(&mut self, bytes: &TxBytes) {
        let later = self.now.plus(self.heartbeat_us());
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.bytes == *bytes) {
            pending.due = later;
        }
    }

    /// The first that is due, own orders before what others want, too.
    pub(super) fn first_pending(&self) -> Option<TxBytes> {
        let due = self.pending.iter().filter(|pending| pending.due <= self.now);
        due.min_by_key(|pending| !pending.own).map(|pending| pending.bytes.clone())
    }

    /// The decided transaction is no longer pending; how long it was, if this node had asked for it.
    pub(super) fn settle_pending(&mut self, decided: &TxBytes) -> Option<u64> {
        let own = self.pending.iter().find(|pending| pending.bytes == *decided && pending.own);
        let latency = own.map(|pending| self.now.since(pending.asked));
        self.pending.retain(|pending| pending.bytes != *decided);
        latency
    }

    /// Drops what the new state no longer allows.
    #[inline(never)]
    pub(super) fn review_pending(&mut self) {
        for _ in 0..self.pending.len() {
            let Some(pending) = self.pending.pop_front() else { break };
            let Some(tx) = pending.tx() else { continue };
            match self.state.check(&tx, &self.registry) {
                // what only others can know must still be so: a peer may have rebooted since
                Ok(()) if pending.own || self.is_evident(&tx, self.me) => {
                    let _ = self.pending.push_back(pending);
                }
                Ok(()) => {}
                Err(refusal) if pending.own => self.refuse(&tx, refusal),
                Err(_) => {}
            }
        }
    }

    /// V2: whether this node has seen itself what the transaction claims.
    pub(super) fn is_evident(&self, tx: &Transaction, proposer: ValidatorIndex) -> bool {
        match tx {
            Transaction::UseGrant(order) => self.grants.iter().any(|held| {
                let grant = &held.signed.grant;
                held.genuine && held.usage() == *order && grant.not_before <= self.heights.current().height()
            }),
            Transaction::Record { endpoint, sequence, data } => self
                .records
                .iter()
                .any(|held| (held.endpoint, held.sequence, &held.data) == (*endpoint, *sequence, data)),
            // only the owner can tell its own frames from others'
            Transaction::Alarm { identifier, .. } => self.owns(proposer, *identifier),
            Transaction::EventBlock(header) => proposer == self.gateway && self.is_timely(header.time_ms),
            Transaction::Readmit { validator, nonce } => {
                let session = self.sessions.get(usize::from(*validator));
                session.is_some_and(|session| session.amnesiac && session.nonce == Some(*nonce))
            }
            Transaction::Skip => true,
            Transaction::Suspend { validator } => self.is_silent(*validator),
            Transaction::Resume { validator } => self.is_back(*validator),
            Transaction::Change(order) => self.is_ordered(order),
            Transaction::Firmware { device, firmware } => self.runs(*device, firmware),
            Transaction::Time { ms } => self.is_timely(*ms),
            // only who has the other half of the key gains by it
            Transaction::Refresh { validator, .. } => proposer == *validator,
        }
    }

    /// A grant from outside (`relay`) or from the gateway: off the approval path its signature is checked once.
    pub(super) fn on_grant(&mut self, signed: SignedGrant, from: Option<ValidatorIndex>) {
        let relay = from.is_none();
        let digest = signed.grant.digest();
        if let Err(refusal) = signed.check_vehicle(&self.mesh) {
            return self.report_grant(&digest, Some(refusal));
        }
        let order = Transaction::UseGrant(signed.grant.usage_named(digest));
        if let Err(Refusal::Grant(refusal)) = self.state.check(&order, &self.registry) {
            return self.report_grant(&digest, Some(refusal));
        }
        if let Some(held) = self.grants.iter_mut().find(|held| held.digest == digest) {
            held.relay |= relay;
            if held.genuine && relay {
                self.send_grant(&digest);
                self.report_grant(&digest, None);
            }
            return;
        }
        if !relay && self.grants.iter().any(|held| held.from == from && !held.genuine) {
            self.counters.dropped += 1;
            return; // one check of each sender at a time
        }
        if self.grants.is_full() {
            // a liar's unsigned grants push out each other before they push out one that may be used
            drop_first(&mut self.grants, |held| !held.genuine);
        }
        if self.grants.is_full() {
            self.grants.pop_front();
        }
        let _ = self.grants.push_back(HeldGrant { signed, digest, genuine: false, from, relay });
        self.ask_grant_check(&digest);
    }

    pub(super) fn on_grant_message(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        if self.verify_body(peer, parts) {
            match parts.header.round {
                wire::GRANT_FORM => self.take_grant(peer, parts),
                wire::ORDER_FORM => self.take_endorsement(peer, parts),
                wire::CLOCK_FORM => self.on_clock(peer, parts),
                wire::FIRMWARE_FORM => self.on_firmware(peer, parts),
                _ => self.counters.malformed += 1,
            }
        }
    }

    #[inline(never)]
    fn take_grant(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        match codec::decode(parts.body).filter(|_| parts.body.len() <= MAX_GRANT) {
            Some(signed) => self.on_grant(signed, Some(peer)),
            None => self.counters.malformed += 1,
        }
    }

    pub(super) fn on_grant_checked(&mut self, digest: &Hash, genuine: bool) {
        let Some(held) = self.grants.iter_mut().find(|held| held.digest == *digest) else { return };
        held.genuine = genuine;
        let relay = held.relay;
        if !genuine {
            self.grants.retain(|held| held.digest != *digest);
            return self.report_grant(digest, Some(GrantRefusal::Signature));
        }
        if relay {
            self.send_grant(digest);
        }
        self.report_grant(digest, None);
        self.review_values();
    }

    /// DC-42: a record counts only if its tag for this node is right and its sequence is new on the chain.
    pub(super) fn on_record(&mut self, endpoint: u8, parts: &Parts<'_>) {
        let subject = hash(Domain::Body, &[parts.body]);
        let input = wire::tag_input(parts.head, &subject);
        let tag = parts.tag(usize::from(self.me), self.tag_len).unwrap_or(&[]);
        if !self.keys.verify(KeyHandle::Pair(Device::Endpoint(endpoint)), &input, tag) {
            self.counters.bad_tag += 1;
            return;
        }
        let sequence = record_sequence(parts.header.height, parts.header.counter);
        let Ok(data) = Vec::from_slice(parts.body) else {
            self.counters.malformed += 1;
            return;
        };
        match self.state.sequence(endpoint) {
            Some(last) if sequence <= last => {
                self.counters.replayed += 1;
                if sequence == last {
                    // perhaps the endpoint has not heard that its record is decided
                    // everybody answers: of those whose turn it was, some may be silent
                    self.send_durable(Message::Ack(endpoint, self.state.height(), sequence.to_le_bytes()));
                }
            }
            _ => self.keep_record(HeldRecord { endpoint, sequence, data }),
        }
    }

    fn keep_record(&mut self, record: HeldRecord) {
        let tx =
            Transaction::Record { endpoint: record.endpoint, sequence: record.sequence, data: record.data.clone() };
        let is_known = self.records.iter().any(|held| *held == record);
        if is_known {
            self.counters.replayed += 1;
        } else {
            self.counters.accepted += 1;
            if self.records.is_full() {
                self.records.pop_front();
            }
            let _ = self.records.push_back(record);
        }
        // also when it is repeated: the chain may have refused it for a while (DC-52), or there was no room
        if let Some(place) = self.turn(self.gateway) {
            self.want(tx, place as u64 * 8 * self.phase_us());
        }
        if !is_known {
            self.review_values();
        }
    }

    /// f + 1 validators tell the endpoint, others with each height: one of them is correct.
    fn acknowledge(&mut self, endpoint: u8, height: Height, sequence: u64) {
        let first = (height % self.full.n as Height) as ValidatorIndex;
        if self.turn(first).is_some_and(|place| place < self.full.one_correct()) {
            self.send_durable(Message::Ack(endpoint, height, sequence.to_le_bytes()));
        }
    }

    fn owns(&self, validator: ValidatorIndex, identifier: RawIdentifier) -> bool {
        self.registry.identifiers(validator).is_some_and(|owned| owned.all().contains(&identifier))
    }

    /// DC-44: the owner of an identifier says that somebody else sends on it. No device is accused.
    pub(super) fn on_impostor(&mut self, identifier: RawIdentifier) {
        self.counters.impostor += 1;
        if !self.owns(self.me, identifier) {
            return;
        }
        let count = match self.impostors.iter_mut().find(|(known, _)| *known == identifier) {
            Some((_, count)) => {
                *count = count.saturating_add(1);
                *count
            }
            None => {
                let _ = self.impostors.push((identifier, 1));
                1
            }
        };
        let is_its_alarm = |tx: Transaction| matches!(tx, Transaction::Alarm { identifier: i, .. } if i == identifier);
        let pending = self.pending.iter().filter_map(Pending::tx).any(is_its_alarm);
        if count >= IMPOSTOR_FRAMES && !pending {
            self.want(Transaction::Alarm { identifier, count }, 0);
        }
    }

    /// What a decision asks of this node.
    pub(super) fn follow_up(&mut self, height: Height, tx: &Transaction) {
        match tx {
            Transaction::EventBlock(_) => self.seal_newest(),
            Transaction::Record { endpoint, sequence, .. } => {
                self.records.retain(|held| held.endpoint != *endpoint || held.sequence > *sequence);
                self.acknowledge(*endpoint, height, *sequence);
            }
            Transaction::UseGrant(order) => self.grants.retain(|held| held.digest != order.digest),
            Transaction::Readmit { .. } => self.remember(),
            Transaction::Change(order) => self.follow_order(&order.change),
            _ => {}
        }
    }

    /// S1: asks for the own seal of the newest block. Who is suspended seals nothing (S3).
    pub(super) fn seal_newest(&mut self) {
        if self.state.event().number > 0 && self.may_vote() {
            self.ask_signature();
        }
    }

    /// S1: the own seal of the newest block goes to the gateway.
    pub(super) fn on_signed(&mut self, digest: &Hash, signature: &Signature) {
        let event = self.state.event();
        if event.hash != *digest {
            return; // a newer block has been approved: its tree holds this one's
        }
        let number = event.number;
        if self.me == self.gateway {
            self.hand_seal(number, &Seal { validator: self.me, signature: *signature });
        } else {
            self.seal = Some((number, *signature));
            self.send_durable(Message::Seal(number));
        }
    }

    pub(super) fn on_seal(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        let Some((number, signature)) = parts.body.split_first_chunk::<4>() else { return };
        if let (true, Ok(signature)) = (self.verify_body(peer, parts), <&[u8; 64]>::try_from(signature)) {
            let seal = Seal { validator: peer, signature: Signature::from_bytes(signature) };
            self.hand_seal(u32::from_le_bytes(*number), &seal);
        }
    }

    /// Why a grant cannot be used now, as far as this node can tell.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn use_of(&self, digest: &Hash) -> Result<Transaction, GrantRefusal> {
        let held =
            self.grants.iter().find(|held| held.digest == *digest && held.genuine).ok_or(GrantRefusal::Signature)?;
        let grant = &held.signed.grant;
        if grant.not_before > self.heights.current().height() {
            return Err(GrantRefusal::Early);
        }
        let tx = Transaction::UseGrant(held.usage());
        match self.state.check(&tx, &self.registry) {
            Err(Refusal::Grant(refusal)) => Err(refusal),
            _ => Ok(tx),
        }
    }
}

/// Drops the first that may go, if one may.
pub(super) fn drop_first<T, const N: usize>(queue: &mut Deque<T, N>, may_go: impl Fn(&T) -> bool) {
    let mut gone = false;
    queue.retain(|item| gone || !may_go(item) || core::mem::replace(&mut gone, true));
}

/// An endpoint's sequence: boot number and count within it, so that it rises across reboots.
#[must_use]
pub const fn record_sequence(boot: u32, count: u32) -> u64 {
    (boot as u64) << 32 | count as u64
}
