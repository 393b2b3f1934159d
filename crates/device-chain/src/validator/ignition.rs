//! Ignition: HELLO, CONFIRM and heartbeats. Symmetric operations only. `docs/protocol.md` chapter 4.

use super::outbox::Message;
use super::receive::Verdict;
use super::{Report, Validator};
use crate::keys::{Device, KeyHandle, KeyStore};
use crate::types::{Hash, Micros, ValidatorIndex};
use crate::wire::{self, Parts};

/// HELLOs while somebody is missing: doubling from one heartbeat up to 2^5 of them.
const MAX_HELLO_BACKOFF: u32 = 5;
/// Flag of CONFIRM: the sender has lost its memory.
const FLAG_AMNESIAC: u8 = 1;

impl<K: KeyStore> Validator<K> {
    /// Timers of sessions and heartbeats.
    pub(super) fn ignite(&mut self) {
        let due = |at: Option<Micros>, now: Micros| at.is_some_and(|at| at <= now);
        if due(self.hello_due, self.now) {
            self.send_durable(Message::Hello);
            self.hello_due = None;
            if self.others().any(|peer| !self.sessions[usize::from(peer)].is_confirmed()) {
                let wait = u64::from(self.genesis.policy.heartbeat_us) << self.hello_backoff;
                self.hello_backoff = (self.hello_backoff + 1).min(MAX_HELLO_BACKOFF);
                self.hello_due = Some(self.now.plus(wait));
            }
        }
        if due(self.confirm_due, self.now) {
            self.confirm_due = None;
            self.send_durable(Message::Confirm);
        }
        if self.heartbeat_due <= self.now {
            self.heartbeat_due = self.now.plus(u64::from(self.genesis.policy.heartbeat_us));
            self.send_durable(Message::Decided);
        }
    }

    /// DC-22: a HELLO opens a candidate session; it replaces nothing until the peer has proved that it shares it, for
    /// a HELLO may be a replay.
    pub(super) fn on_hello(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        let input = wire::tag_input(parts.head, &Hash::NIL, &Hash::NIL);
        let tag = parts.tag(wire::tag_slot(peer, self.me), self.tag_len).unwrap_or(&[]);
        if !self.keys.verify(KeyHandle::Pair(Device::Validator(peer)), &input, tag) {
            self.counters.bad_tag += 1;
            return;
        }
        let (boot, nonce) = (parts.header.height, parts.header.nonce());
        let session = &mut self.sessions[usize::from(peer)];
        if session.nonce == Some(nonce) || session.candidate == Some(nonce) {
            // the peer has not heard our CONFIRM, or this is a replay of its HELLO: answering is cheap
            self.confirm_soon();
            return;
        }
        if session.is_confirmed() && boot <= session.boot {
            self.counters.replayed += 1;
        }
        session.candidate = Some(nonce);
        session.candidate_boot = boot;
        let nonces = if self.me < peer { [self.nonce, nonce] } else { [nonce, self.nonce] };
        self.keys.derive(peer, nonces);
        self.counters.accepted += 1;
        self.confirm_soon();
    }

    /// Answers of several HELLOs go into one CONFIRM.
    fn confirm_soon(&mut self) {
        self.confirm_due.get_or_insert(self.now.plus(self.phase_us()));
    }

    /// Bit per validator whose nonce is known.
    pub(super) fn known_peers(&self) -> u16 {
        self.sessions.iter().zip(0..).filter(|(s, _)| s.nonce.or(s.candidate).is_some()).map(|(_, at)| 1 << at).sum()
    }

    pub(super) fn on_confirm(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        let knows_me = parts.header.hint & (1 << self.me) != 0;
        if !knows_me {
            if self.sessions[usize::from(peer)].is_confirmed() {
                return; // somebody pretends: a peer that had rebooted would say HELLO
            }
            // it has no tag for us; it needs our HELLO. Unverified, so at most one a phase
            let soon = self.now.plus(self.phase_us());
            self.hello_due = Some(self.hello_due.map_or(soon, |due| due.min(soon)));
            return;
        }
        if self.verify(peer, parts, &Hash::NIL, &Hash::NIL) != Verdict::New {
            return;
        }
        let session = &mut self.sessions[usize::from(peer)];
        let first = !core::mem::replace(&mut session.knows_me, true);
        session.amnesiac = parts.header.round & FLAG_AMNESIAC != 0;
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
    }
}
