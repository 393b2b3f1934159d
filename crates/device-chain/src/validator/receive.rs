//! What comes in: split, attributed, verified, counted; then handed to whom it concerns.

use super::{MAX_HELD_MESSAGE, Validator};
use crate::agreement::Instance;
use crate::flaw::Flaw;
use crate::genesis::WIRE_VERSION;
use crate::hash::{Domain, hash};
use crate::keys::{Device, KeyHandle, KeyStore};
use crate::limits::{HISTORY_BATCH, MAX_HELD};
use crate::registry::Devices;
use crate::types::{Hash, Height, Micros, ValidatorIndex};
use crate::wire::{self, Class, ENDPOINT_SENDER, HEADER, Kind, Parts};

/// Phases for which a message is kept that cannot be checked yet.
const HELD_PHASES: u64 = 64;

/// Whose identifier carried a message, and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The identifier's owner.
    pub device: Device,
    /// The identifier's use.
    pub class: Class,
}

/// What checking a tag said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Genuine and new; entered into the session.
    New,
    /// Genuine but seen before.
    Replay,
    /// No key of the sender made this tag.
    Bad,
}

impl<K: KeyStore> Validator<K> {
    #[inline(never)]
    pub(super) fn on_message(&mut self, source: Source, bytes: &[u8]) {
        let Some(parts) = Parts::split(bytes, self.full.n, self.tag_len) else {
            self.counters.malformed += 1;
            return;
        };
        let header = &parts.header;
        if header.mesh != self.mesh.short() {
            self.counters.foreign += 1;
        } else if header.version != WIRE_VERSION || header.suite != self.registry.suite().code() {
            self.counters.version += 1;
        } else if header.kind.class() != source.class || !self.is_from(&parts, source.device) {
            self.counters.malformed += 1;
        } else if !self.registry.is_active(source.device) {
            self.counters.unknown += 1; // it belongs to the car no more
        } else if let Device::Endpoint(endpoint) = source.device {
            if header.is_presence() { self.on_present(endpoint, &parts) } else { self.on_record(endpoint, &parts) }
        } else if header.kind == Kind::Hello {
            self.on_hello(header.sender, &parts);
        } else if !self.has_session(header.sender) {
            // it lacks this node's HELLO, or this node its: a CONFIRM without its bit asks for it
            self.counters.unknown += 1;
            self.confirm_soon();
        } else {
            self.dispatch(header.sender, &parts, bytes);
        }
    }

    /// Whether the header names the identifier's owner.
    fn is_from(&self, parts: &Parts<'_>, device: Device) -> bool {
        match device {
            Device::Validator(owner) => {
                parts.header.sender == owner && owner != self.me && usize::from(owner) < self.full.n
            }
            Device::Endpoint(owner) => {
                parts.header.sender == ENDPOINT_SENDER
                    && parts.header.round == owner
                    && usize::from(owner) < self.registry.endpoints()
            }
        }
    }

    fn has_session(&self, peer: ValidatorIndex) -> bool {
        let session = &self.sessions[usize::from(peer)];
        session.nonce.is_some() || session.candidate.is_some()
    }

    fn dispatch(&mut self, peer: ValidatorIndex, parts: &Parts<'_>, bytes: &[u8]) {
        if parts.header.kind.is_addressed() && parts.header.round != self.me {
            return; // somebody else's
        }
        match parts.header.kind {
            Kind::Prevote | Kind::Ready | Kind::Precommit => self.on_vote(peer, parts, bytes),
            Kind::Propose => self.on_propose(peer, parts, bytes),
            Kind::Value => self.on_value(peer, parts, bytes),
            Kind::Fetch => self.on_fetch(peer, parts),
            Kind::Decided => self.on_decided(peer, parts),
            Kind::Confirm => self.on_confirm(peer, parts),
            Kind::Sync => self.on_sync(peer, parts),
            Kind::State => self.on_state(peer, parts),
            Kind::Grant => self.on_grant_message(peer, parts),
            Kind::Seal => self.on_seal(peer, parts),
            Kind::Ack => {} // to an endpoint, whose place may be the same number as ours
            Kind::Hello | Kind::Record => self.counters.malformed += 1,
        }
    }

    /// The key that made this message's tag for this node, if one did. Changes nothing.
    pub(super) fn authentic(&self, peer: ValidatorIndex, parts: &Parts<'_>, subject: &Hash) -> Option<KeyHandle> {
        let slot = if parts.header.kind.is_addressed() { 0 } else { wire::tag_slot(peer, self.me) };
        let believed = Flaw::Hearsay.is_at_work() && parts.header.kind.vote().is_some();
        let tag = parts.tag(slot, self.tag_len)?;
        if believed { Some(KeyHandle::Session(peer)) } else { self.key_of(peer, parts.head, subject, tag) }
    }

    /// The key shared with `peer` that made a tag, if one did.
    pub(super) fn key_of(
        &self,
        peer: ValidatorIndex,
        head: &[u8; HEADER],
        subject: &Hash,
        tag: &[u8],
    ) -> Option<KeyHandle> {
        let input = wire::tag_input(head, subject);
        [KeyHandle::Session(peer), KeyHandle::Candidate(peer)]
            .into_iter()
            .find(|key| self.keys.verify(*key, &input, tag))
    }

    /// Enters a genuine message into its session: the candidate proves itself by it, each counter counts once.
    pub(super) fn accept(&mut self, peer: ValidatorIndex, key: KeyHandle, counter: u32) -> Verdict {
        if matches!(key, KeyHandle::Candidate(_)) {
            self.keys.promote(peer);
            let session = &mut self.sessions[usize::from(peer)];
            if session.candidate.is_some() {
                session.promote();
                self.met(peer);
            } else {
                self.renewed(peer);
            }
        }
        let session = &mut self.sessions[usize::from(peer)];
        if !session.window.take(counter) {
            self.counters.replayed += 1;
            return Verdict::Replay;
        }
        session.heard = Some(self.now);
        self.counters.accepted += 1;
        Verdict::New
    }

    /// Checks a tag and enters the message into its session, or counts what is wrong.
    pub(super) fn verify(&mut self, peer: ValidatorIndex, parts: &Parts<'_>, subject: &Hash) -> Verdict {
        match self.authentic(peer, parts, subject) {
            Some(key) => self.accept(peer, key, parts.header.counter),
            None => {
                self.count_bad_tag(peer, parts);
                Verdict::Bad
            }
        }
    }

    /// A sender that shares no session with this node yet leaves its tag empty.
    pub(super) fn count_bad_tag(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        let slot = if parts.header.kind.is_addressed() { 0 } else { wire::tag_slot(peer, self.me) };
        if parts.tag(slot, self.tag_len).is_some_and(|tag| tag.iter().all(|byte| *byte == 0)) {
            self.counters.unknown += 1;
        } else {
            self.counters.bad_tag += 1;
        }
    }

    /// The same for a message whose subject is its body.
    pub(super) fn verify_body(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) -> bool {
        let subject = hash(Domain::Body, &[parts.body]);
        self.verify(peer, parts, &subject) == Verdict::New
    }

    /// Counts a message that cannot be checked any more: seen before, or just about the past.
    pub(super) fn count_stale(&mut self, peer: ValidatorIndex, counter: u32) {
        if self.sessions[usize::from(peer)].window.is_replay(counter) {
            self.counters.replayed += 1;
        } else {
            self.counters.stale += 1;
        }
    }

    /// Keeps a message that cannot be checked yet; of each sender the newest few, for a while. A copy of one that is
    /// kept is a replay.
    pub(super) fn hold(&mut self, peer: ValidatorIndex, bytes: &[u8]) {
        let held = &mut self.held[usize::from(peer)];
        if held.iter().any(|known| timed(known).1 == bytes) {
            self.counters.replayed += 1;
        } else if bytes.len() <= MAX_HELD_MESSAGE && held.push_newest([&self.now.0.to_le_bytes(), bytes], MAX_HELD) {
            self.counters.held += 1;
        } else {
            self.counters.malformed += 1;
        }
    }

    /// Keeps a message about a height to come, if it comes soon: what is said of later ones must not push out the decisions by
    /// which this node gets there.
    pub(super) fn hold_ahead(&mut self, peer: ValidatorIndex, parts: &Parts<'_>, bytes: &[u8]) {
        if parts.header.height.saturating_sub(self.heights.current().height()) <= HISTORY_BATCH {
            self.hold(peer, bytes);
        } else {
            self.count_stale(peer, parts.header.counter);
        }
    }

    /// Tries everything that was kept again, if the height or the known values have changed; and once more if they change
    /// by that. Not from within a message's handling: what is kept could call itself again as often as there are messages.
    pub(super) fn release_held(&mut self) {
        while core::mem::take(&mut self.release) {
            self.expire_held();
            for peer in self.others() {
                for _ in 0..self.held[usize::from(peer)].len() {
                    self.release_oldest(peer);
                }
            }
        }
    }

    #[inline(never)]
    fn release_oldest(&mut self, peer: ValidatorIndex) {
        let held = &mut self.held[usize::from(peer)];
        let Some((since, oldest)) = held.oldest().map(timed) else { return };
        let mut message = heapless::Vec::<u8, MAX_HELD_MESSAGE>::new(); // filled in its place: `from_slice` takes a copy
        if message.extend_from_slice(oldest).is_err() {
            return;
        }
        held.drop_oldest(); // it is put back if it still cannot be checked
        if let Some(parts) = Parts::split(&message, self.full.n, self.tag_len) {
            self.dispatch(peer, &parts, &message);
        }
        let again = self.held[usize::from(peer)].newest_mut().filter(|held| timed(held).1 == message);
        if let Some((time, _)) = again.and_then(|held| held.split_first_chunk_mut()) {
            *time = since.0.to_le_bytes();
        }
    }

    /// Nobody has vouched for it for so long that it was forged, or is said again anyway (M4).
    pub(super) fn expire_held(&mut self) {
        let limit = HELD_PHASES * self.phase_us();
        for held in &mut self.held {
            while held.oldest().is_some_and(|message| self.now.since(timed(message).0) > limit) {
                held.drop_oldest();
            }
        }
    }

    /// The instance of a height, where this node still has one.
    pub(super) fn instance(&self, height: Height) -> Option<&Instance> {
        self.heights.at(height)
    }

    pub(super) fn instance_mut(&mut self, height: Height) -> Option<&mut Instance> {
        self.heights.at_mut(height)
    }
}

/// A message that is kept, behind the time since when.
pub(super) fn timed(held: &[u8]) -> (Micros, &[u8]) {
    held.split_first_chunk().map_or((Micros(0), held), |(time, message)| (Micros(u64::from_le_bytes(*time)), message))
}
