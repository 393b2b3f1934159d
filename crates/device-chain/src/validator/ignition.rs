//! Ignition: HELLO, CONFIRM and heartbeats. Symmetric operations only. `docs/protocol.md` chapter 4.

use super::outbox::Message;
use super::receive::Verdict;
use super::{Report, Validator};
use crate::keys::KeyStore;
use crate::pairing::Heard;
use crate::types::{Hash, Micros, ValidatorIndex};
use crate::wire::{self, Parts};

/// HELLOs while somebody is missing: doubling from one heartbeat up to 2^5 of them.
const MAX_HELLO_BACKOFF: u32 = 5;
/// Heartbeats without a word after which a peer counts as silent.
pub(super) const SILENCE_HEARTBEATS: u64 = 3;
/// Flag of CONFIRM: the sender has lost its memory.
pub(super) const FLAG_AMNESIAC: u8 = 1;
/// Flag of CONFIRM: the sender's keys move on, and are durable (DC-23).
pub(super) const FLAG_KEPT: u8 = 2;

impl<K: KeyStore> Validator<K> {
    /// Timers of sessions and heartbeats.
    pub(super) fn ignite(&mut self) {
        let due = |at: Option<Micros>, now: Micros| at.is_some_and(|at| at <= now);
        if due(self.hello_due, self.now) {
            self.send_durable(Message::Hello);
            self.hello_due = None;
            self.hello_sent = Some(self.now);
            if self.others().any(|peer| !self.sessions[usize::from(peer)].is_confirmed()) {
                let wait = self.heartbeat_us() << self.hello_backoff;
                self.hello_backoff = (self.hello_backoff + 1).min(MAX_HELLO_BACKOFF);
                self.hello_due = Some(self.now.plus(wait));
            }
        }
        if due(self.confirm_due, self.now) {
            self.confirm_due = None;
            self.confirm_sent = Some(self.now);
            self.send_durable(Message::Confirm);
        }
        if self.heartbeat_due <= self.now {
            self.heartbeat_due = self.now.plus(self.heartbeat_us());
            self.send_durable(Message::Decided);
            self.review_members();
            self.tend_keys();
            if self.amnesiac {
                // whoever missed it, or had no room for it, hears again that this node waits to be readmitted
                self.confirm_soon();
            }
        }
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
                self.hello_soon(); // the peer may be a step behind, and follows when it hears this node (DC-23)
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
            // the peer has not heard our CONFIRM, or this is a replay of its HELLO: answering is cheap
            self.counters.accepted += 1;
            self.confirm_soon();
            if unproven {
                self.hello_again();
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
        self.confirm_soon();
        self.hello_again();
    }

    fn derive_candidate(&mut self, peer: ValidatorIndex, nonce: u64) {
        let nonces = if self.me < peer { [self.nonce, nonce] } else { [nonce, self.nonce] };
        self.keys.derive(peer, nonces);
    }

    /// Who says a new HELLO may have been away when this node said it; at most four times a heartbeat.
    fn hello_again(&mut self) {
        let pause = self.heartbeat_us() / 4;
        if self.hello_sent.is_some_and(|sent| self.now.since(sent) >= pause) {
            self.hello_soon();
        }
    }

    fn hello_soon(&mut self) {
        let soon = self.now.plus(self.phase_us());
        self.hello_due = Some(self.hello_due.map_or(soon, |due| due.min(soon)));
    }

    /// Answers of several HELLOs go into one CONFIRM.
    pub(super) fn confirm_soon(&mut self) {
        let pause = self.heartbeat_us() / 4;
        let free = self.confirm_sent.map_or(Micros(0), |sent| sent.plus(pause));
        self.confirm_due.get_or_insert(self.now.plus(self.phase_us()).max(free));
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
            if session.is_confirmed() && session.candidate.is_none() {
                return; // somebody pretends: a peer that had rebooted would have said HELLO
            }
            return self.hello_soon(); // it has no tag for us; it needs our HELLO. Unverified, so at most one a phase
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
        self.confirm_soon();
        self.report(Report::Met(peer));
        if peer == self.gateway {
            self.seal_newest(); // it may have lost the seal with its last boot
        }
    }
}
