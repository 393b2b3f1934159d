//! Ignition: HELLO, CONFIRM and heartbeats. Symmetric operations only. `docs/protocol.md` chapter 4.

use super::outbox::Message;
use super::receive::Verdict;
use super::{Mode, Report, Validator};
use crate::keys::KeyStore;
use crate::pairing::Heard;
use crate::types::{Hash, Micros, ValidatorIndex};
use crate::wire::{self, Parts};

/// HELLOs while somebody is missing: doubling from one heartbeat up to 2^5 of them.
const MAX_HELLO_BACKOFF: u32 = 5;
/// Heartbeats without a word after which a peer counts as silent.
pub(super) const SILENCE_HEARTBEATS: u64 = 3;
/// HELLOs, and CONFIRMs, in a heartbeat because of what others say, at most.
const ANSWERS: u64 = 2;
/// Flag of CONFIRM: the sender has lost its memory.
pub(super) const FLAG_AMNESIAC: u8 = 1;
/// Flag of CONFIRM: the sender's keys move on, and are durable (DC-23).
pub(super) const FLAG_KEPT: u8 = 2;

impl<K: KeyStore> Validator<K> {
    /// Timers of sessions and heartbeats.
    pub(super) fn ignite(&mut self) {
        let due = |at: Option<Micros>, now: Micros| at.is_some_and(|at| at <= now);
        if due(self.answer_due, self.now) {
            let free = self.free_at(self.hello_sent.max(self.confirm_sent));
            if !self.has_candidate() {
                self.answer_due = None; // they had heard this node's HELLO
            } else if free > self.now {
                self.answer_due = Some(free);
            } else {
                self.say_hello();
            }
        }
        if due(self.hello_due, self.now) {
            self.say_hello();
        }
        if due(self.confirm_due, self.now) {
            self.confirm_due = None;
            self.confirm_sent = Some(self.now);
            self.send_durable(Message::Confirm);
        }
        if self.heartbeat_due <= self.now {
            self.heartbeat_due = self.now.plus(self.heartbeat_us());
            if self.others().any(|peer| self.sessions[usize::from(peer)].is_confirmed()) {
                self.send_durable(Message::Decided); // nobody else could check it
            }
            self.review_members();
            self.review_firmware();
            self.say_clock();
            self.tend_keys();
            if self.amnesiac {
                // whoever missed it, or had no room for it, hears again that this node waits to be readmitted
                self.confirm_soon();
            }
        }
    }

    /// HELLO, and behind it CONFIRM for those who need both.
    fn say_hello(&mut self) {
        self.send_durable(Message::Hello);
        self.hello_sent = Some(self.now);
        (self.answer_due, self.hello_due) = (None, None);
        if self.has_candidate() {
            self.confirm_due = Some(self.now);
        }
        if self.others().any(|peer| !self.sessions[usize::from(peer)].is_confirmed()) {
            // with a quorum there, this is for what was lost alone: whoever comes up says HELLO, and is answered
            let backoff = if self.mode == Mode::Trusted { MAX_HELLO_BACKOFF } else { self.hello_backoff };
            self.hello_backoff = (self.hello_backoff + 1).min(MAX_HELLO_BACKOFF);
            self.hello_due = Some(self.now.plus(self.heartbeat_us() << backoff));
        }
    }

    /// Whether somebody has said HELLO and not proved yet that it is no recording.
    fn has_candidate(&self) -> bool {
        self.sessions.iter().any(|session| session.candidate.is_some())
    }

    /// When what was said then may be said again because of what others say.
    fn free_at(&self, sent: Option<Micros>) -> Micros {
        sent.map_or(Micros(0), |sent| sent.plus(self.heartbeat_us() / ANSWERS))
    }

    /// DC-22: a HELLO opens a candidate session; it replaces nothing until the peer has proved that it shares it, for
    /// a HELLO may be a replay.
    #[inline(never)]
    pub(super) fn on_hello(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        let input = wire::tag_input(parts.head, &Hash::NIL);
        let tag = parts.tag(wire::tag_slot(peer, self.me), self.tag_len).unwrap_or(&[]);
        let heard = self.keys.hear(peer, &input, tag);
        if heard == Heard::No {
            self.counters.bad_tag += 1;
            if self.keys.keeps() && self.hello_sent.is_some_and(|sent| self.now.since(sent) >= self.heartbeat_us()) {
                // the peer may be a step behind, and follows when it hears this node (DC-23)
                self.hello_due = earlier(self.hello_due, self.soon());
            }
            return;
        }
        let (boot, nonce) = (parts.header.height, parts.header.nonce());
        let patience = SILENCE_HEARTBEATS * self.heartbeat_us();
        let session = &mut self.sessions[usize::from(peer)];
        let unproven = session.candidate == Some(nonce);
        if heard == Heard::Ahead {
            self.keeping.changed = true;
            session.stepped = true;
            if unproven {
                self.derive_candidate(peer, nonce); // the one that was there comes from the key before
            }
        }
        let session = &mut self.sessions[usize::from(peer)];
        if unproven || session.nonce == Some(nonce) {
            // a repetition, or a replay; to whom has proved that it shares the session the heartbeat proves as much
            self.counters.accepted += 1;
            if unproven {
                self.answer(peer);
            }
            return;
        }
        if !session.admits(boot, nonce, self.now, patience) {
            self.counters.replayed += 1;
            return;
        }
        session.propose(boot, nonce, self.now);
        self.derive_candidate(peer, nonce);
        self.counters.accepted += 1;
        self.answer(peer);
    }

    /// Who says a new HELLO may have been away when this node said its own.
    fn answer(&mut self, peer: ValidatorIndex) {
        let at = self.soon().max(self.free_at(self.hello_sent.max(self.confirm_sent)));
        self.answer_due = earlier(self.answer_due, at);
        if self.owes_confirm(peer) {
            self.confirm_soon();
        }
    }

    fn derive_candidate(&mut self, peer: ValidatorIndex, nonce: u64) {
        let nonces = if self.me < peer { [self.nonce, nonce] } else { [nonce, self.nonce] };
        self.keys.derive(peer, nonces);
    }

    /// Whether nothing was said yet under the peer's latest key. What is lost is said again behind HELLO, or by the heartbeat.
    fn owes_confirm(&self, peer: ValidatorIndex) -> bool {
        self.confirm_sent < self.sessions[usize::from(peer)].candidate_at
    }

    /// A phase, in which others say the same. While fewer than a quorum are known, a heartbeat: nothing is gained by haste, and what
    /// is said later serves those who come next, too.
    fn soon(&self) -> Micros {
        let quorum = self.voters().quorum(&self.registry).votes();
        let known = 1 + self.known_peers().count_ones() as usize;
        self.now.plus(if known < quorum { self.heartbeat_us() } else { self.phase_us() })
    }

    /// Answers of several HELLOs go into one CONFIRM.
    pub(super) fn confirm_soon(&mut self) {
        let at = self.soon().max(self.free_at(self.confirm_sent));
        self.confirm_due = earlier(self.confirm_due, at);
    }

    /// Bit per validator whose nonce is known.
    pub(super) fn known_peers(&self) -> u16 {
        self.sessions.iter().zip(0..).filter(|(s, _)| s.nonce.or(s.candidate).is_some()).map(|(_, at)| 1 << at).sum()
    }

    pub(super) fn on_confirm(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        let knows_me = parts.header.hint & (1 << self.me) != 0;
        if !knows_me {
            self.counters.unknown += 1;
            let session = &self.sessions[usize::from(peer)];
            if session.candidate.is_some() {
                self.answer(peer);
            } else if !session.is_confirmed() {
                self.hello_due = earlier(self.hello_due, self.soon()); // unverified, so at most one a phase
            } // else somebody pretends: a peer that had rebooted would have said HELLO
            return;
        }
        if self.verify(peer, parts, &Hash::NIL) != Verdict::New {
            return;
        }
        let session = &mut self.sessions[usize::from(peer)];
        let first = !core::mem::replace(&mut session.knows_me, true);
        session.amnesiac = parts.header.round & FLAG_AMNESIAC != 0;
        session.kept |= parts.header.round & FLAG_KEPT != 0;
        if first {
            self.confirm_soon();
        }
        if self.sessions[usize::from(peer)].amnesiac {
            self.vouch_for(peer);
        }
    }

    /// A session is confirmed.
    pub(super) fn met(&mut self, peer: ValidatorIndex) {
        self.sessions[usize::from(peer)].amnesiac = false;
        self.hello_backoff = 0;
        if self.owes_confirm(peer) {
            self.confirm_soon();
        }
        self.report(Report::Met(peer));
        self.say_firmware();
        self.say_clock_soon();
        if peer == self.gateway {
            self.seal_newest(); // it may have lost the seal with its last boot
        }
    }
}

fn earlier(due: Option<Micros>, at: Micros) -> Option<Micros> {
    Some(due.map_or(at, |due| due.min(at)))
}
