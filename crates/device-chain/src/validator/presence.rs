//! Which endpoints are there, since this boot: they are called by name, and prove it under a nonce of this boot. `docs/protocol.md`
//! chapter 6.

use super::Validator;
use super::outbox::Message;
use crate::hash::{Domain, hash};
use crate::keys::{Device, KeyHandle, KeyStore};
use crate::limits::MAX_ENDPOINTS;
use crate::registry::Devices;
use crate::types::{Hash, Micros};
use crate::wire::{self, CALL_BODY, FIRMWARE, Header, Kind, PRESENCE, Parts};

/// Endpoints that one CALL names.
const CALLED: usize = u64::BITS as usize;
/// Heartbeats between the first two CALLs for an endpoint: by then all that were called have had their turn. Then they double.
const CALL_HEARTBEATS: u64 = 4;
/// Up to 2^5 times that.
const MAX_CALL_BACKOFF: u32 = 5;

/// A bit for each endpoint.
type Each = [u64; MAX_ENDPOINTS.div_ceil(CALLED)];

/// What is known of an endpoint since this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has not proved that it is there.
    Missing,
    /// It is there with the firmware that the chain expects.
    Present,
    /// It is there, and says that it runs another firmware.
    OtherFirmware,
}

/// What is known of all endpoints.
pub(super) struct Roll {
    present: Each,
    /// Of those that are present.
    other_firmware: Each,
    /// Of those: which run what was ordered for them.
    updated: Each,
    /// When who is missing is called next.
    pub(super) due: Option<Micros>,
    backoff: u32,
}

impl Roll {
    pub(super) const EMPTY: Self = Self {
        present: [0; MAX_ENDPOINTS.div_ceil(CALLED)],
        other_firmware: [0; MAX_ENDPOINTS.div_ceil(CALLED)],
        updated: [0; MAX_ENDPOINTS.div_ceil(CALLED)],
        due: None,
        backoff: 0,
    };
}

/// What PRESENT says of a firmware (DC-71).
///
/// The boot number is in it: who looks for another firmware about which the same would be said has to find a new one, 2^48 tries
/// away, for each boot.
#[must_use]
pub fn firmware_word(boot: u32, digest: &Hash) -> [u8; FIRMWARE] {
    let hash = hash(Domain::Present, &[&boot.to_le_bytes(), &digest.0]);
    hash.0.first_chunk().copied().unwrap_or_default()
}

/// Whether that is said of another firmware than the expected one.
pub(super) fn is_other(expected: &Hash, boot: u32, said: [u8; FIRMWARE]) -> bool {
    *expected != Hash::NIL && firmware_word(boot, expected) != said
}

/// The subject of PRESENT's tag for the validator whose boot has this nonce (DC-70).
#[must_use]
pub fn present_subject(nonce: u64) -> Hash {
    hash(Domain::Present, &[&nonce.to_le_bytes()])
}

/// The nonce of the caller in a CALL, if it calls this endpoint.
#[must_use]
pub fn called(parts: &Parts<'_>, endpoint: u8) -> Option<u64> {
    let (nonce, names) = parts.body.split_first_chunk()?;
    let names = u64::from_le_bytes(names.try_into().ok()?);
    let (window, bit) = (usize::from(endpoint) / CALLED, usize::from(endpoint) % CALLED);
    (usize::from(parts.header.round) == window && names >> bit & 1 == 1).then(|| u64::from_le_bytes(*nonce))
}

impl<K: KeyStore> Validator<K> {
    /// What is known of an endpoint since this boot.
    #[must_use]
    pub fn presence(&self, endpoint: u8) -> Presence {
        let of = |each: &Each| {
            each.get(usize::from(endpoint) / CALLED)
                .is_some_and(|bits| bits >> (usize::from(endpoint) % CALLED) & 1 == 1)
        };
        match (of(&self.roll.present), of(&self.roll.other_firmware)) {
            (false, _) => Presence::Missing,
            (true, false) => Presence::Present,
            (true, true) => Presence::OtherFirmware,
        }
    }

    /// Forgets an endpoint: another device may be there now.
    pub(super) fn forget_presence(&mut self, endpoint: u8) {
        let (window, bit) = (usize::from(endpoint) / CALLED, 1 << (usize::from(endpoint) % CALLED));
        let Roll { present, other_firmware, updated, .. } = &mut self.roll;
        [present, other_firmware, updated]
            .into_iter()
            .filter_map(|each| each.get_mut(window))
            .for_each(|bits| *bits &= !bit);
    }

    /// Whether an endpoint has told this node that it runs the firmware that was ordered for it.
    pub(super) fn runs_update(&self, endpoint: u8) -> bool {
        let window = self.roll.updated.get(usize::from(endpoint) / CALLED);
        window.is_some_and(|bits| bits >> (usize::from(endpoint) % CALLED) & 1 == 1)
    }

    /// Bit per endpoint of a window that is not there.
    fn missing(&self, window: usize) -> u64 {
        let count = self.registry.endpoints().saturating_sub(window * CALLED).min(CALLED);
        let all = if count == CALLED { u64::MAX } else { (1 << count) - 1 };
        all & !self.roll.present.get(window).copied().unwrap_or_default()
    }

    /// Calls begin a heartbeat after the first quorum: ignition goes first.
    pub(super) fn begin_calls(&mut self) {
        if self.roll.due.is_none() && self.roll.backoff == 0 {
            self.roll.due = Some(self.now.plus(self.heartbeat_us()));
        }
    }

    /// DC-71: calls who is missing, ever more seldom.
    pub(super) fn call(&mut self) {
        if self.roll.due.is_none_or(|due| due > self.now) {
            return;
        }
        let mut waits = false;
        for window in 0..self.roll.present.len() {
            if self.missing(window) != 0 {
                self.send(Message::Call(window as u8));
                waits = true;
            }
        }
        let wait = (CALL_HEARTBEATS * self.heartbeat_us()) << self.roll.backoff;
        self.roll.due = waits.then(|| self.now.plus(wait));
        self.roll.backoff = (self.roll.backoff + 1).min(MAX_CALL_BACKOFF);
    }

    /// Header and body of a CALL; `None` if nobody of the window is missing any more.
    pub(super) fn call_message(&self, window: u8) -> Option<(Header, [u8; CALL_BODY])> {
        let missing = self.missing(window.into());
        let mut body = [0; CALL_BODY];
        body[..8].copy_from_slice(&self.nonce.to_le_bytes());
        body[8..].copy_from_slice(&missing.to_le_bytes());
        let header = Header { hint_proposer: PRESENCE, ..Header::new(Kind::Ack, self.state.height()).round(window) };
        (missing != 0).then_some((header, body))
    }

    /// DC-70: an endpoint is present if its tag for this node covers the nonce of this boot.
    pub(super) fn on_present(&mut self, endpoint: u8, parts: &Parts<'_>) {
        let tag_len = wire::present_tag_len(self.full.n, self.tag_len);
        let tag = parts.tag(usize::from(self.me), tag_len).unwrap_or(&[]);
        if tag.iter().all(|byte| *byte == 0) {
            self.counters.unknown += 1; // it has not heard this node's call
            return;
        }
        let input = wire::tag_input(parts.head, &present_subject(self.nonce));
        if !self.keys.verify(KeyHandle::Pair(Device::Endpoint(endpoint)), &input, tag) {
            self.counters.bad_tag += 1;
            return;
        }
        self.counters.accepted += 1;
        let device = Device::Endpoint(endpoint);
        let differs = |expected: &Hash| is_other(expected, parts.header.height, parts.header.firmware());
        let other = self.registry.entry(device).is_some_and(|entry| differs(&entry.firmware));
        let update = self.registry.updates().iter().find(|update| update.device == device);
        let updated = update.is_some_and(|update| !differs(&update.firmware));
        let (window, bit) = (usize::from(endpoint) / CALLED, 1 << (usize::from(endpoint) % CALLED));
        let Roll { present, other_firmware, updated: updates, .. } = &mut self.roll;
        for (each, set) in [(present, true), (other_firmware, other && !updated), (updates, updated)] {
            if let Some(bits) = each.get_mut(window) {
                *bits = *bits & !bit | if set { bit } else { 0 };
            }
        }
        if updated {
            self.review_values();
        }
    }
}
