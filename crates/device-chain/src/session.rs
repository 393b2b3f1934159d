//! Sessions: who of the others is really there, and which of its messages were seen before. `docs/protocol.md` ch. 4.

use heapless::Deque;

use crate::flaw::Flaw;
use crate::limits::{MAX_OFFERS, MAX_RETIRED};
use crate::types::Micros;

/// What is known of one other validator.
#[derive(Clone, Debug)]
pub struct Session {
    /// Nonce of the peer's boot that it proved to share.
    pub nonce: Option<u64>,
    /// Nonce of a HELLO that is not proven yet: it may be a replay, and replaces nothing until confirmed (DC-22).
    pub candidate: Option<u64>,
    /// Boot number of the confirmed session.
    pub boot: u32,
    /// Boot number that the candidate claims.
    pub candidate_boot: u32,
    /// When the candidate came.
    pub candidate_at: Option<Micros>,
    /// Nonces of the last sessions before this one: a HELLO with one of them is a recording.
    pub retired: Deque<u64, MAX_RETIRED>,
    /// The peer said in CONFIRM that it knows our nonce.
    pub knows_me: bool,
    /// The peer has lost its memory and does not vote (P5).
    pub amnesiac: bool,
    /// Last verified message.
    pub heard: Option<Micros>,
    /// Last verified word in this session that the peer is at the head at which this node was.
    pub present: Option<Micros>,
    /// Counters seen.
    pub window: ReplayWindow,
    /// The peer said in this session that what it has of its keys is durable: they move on (DC-23).
    pub kept: bool,
    /// This node's key with it has taken the one step that it takes in a session.
    pub stepped: bool,
    /// Offers of a refresh that are left (DC-24).
    pub offers: u8,
    /// The next CONFIRM is one.
    pub offering: bool,
}

impl Session {
    /// Nothing is known.
    pub const NONE: Self = Self {
        nonce: None,
        candidate: None,
        boot: 0,
        candidate_boot: 0,
        candidate_at: None,
        retired: Deque::new(),
        knows_me: false,
        amnesiac: false,
        heard: None,
        present: None,
        window: ReplayWindow { highest: 0, seen: 0 },
        kept: false,
        stepped: false,
        offers: 0,
        offering: false,
    };

    /// Whether the peer proved that it shares the session.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.nonce.is_some()
    }

    /// Whether CONFIRM is to show the peer the candidate's key; an offer is made once.
    pub const fn speaks_as_candidate(&mut self) -> bool {
        core::mem::replace(&mut self.offering, false) || self.candidate.is_some()
    }

    /// Whether it is confirmed, and no HELLO asks for another.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.nonce.is_some() && self.candidate.is_none()
    }

    /// Whether a HELLO, whose tag is right, may open a candidate session (DC-22). If its boot number does not rise it
    /// is a recording, or the peer's store was wiped: a peer that comes up is not being heard, and its nonce is new.
    #[must_use]
    pub fn admits(&self, boot: u32, nonce: u64, now: Micros, patience_us: u64) -> bool {
        let newest = self.candidate.map_or(self.boot, |_| self.boot.max(self.candidate_boot));
        let silent = self.heard.max(self.candidate_at).is_none_or(|last| now.since(last) > patience_us);
        let is_new = self.retired.iter().all(|retired| *retired != nonce) && (boot > newest || silent);
        is_new || Flaw::HelloReplaces.is_at_work()
    }

    /// A HELLO opens a candidate session.
    pub fn propose(&mut self, boot: u32, nonce: u64, now: Micros) {
        self.candidate = Some(nonce);
        self.candidate_boot = boot;
        self.candidate_at = Some(now);
    }

    /// The candidate proved itself.
    pub fn promote(&mut self) {
        if let Some(retired) = self.nonce {
            if self.retired.is_full() {
                self.retired.pop_front();
            }
            let _ = self.retired.push_back(retired);
        }
        self.nonce = self.candidate.take();
        self.boot = self.candidate_boot;
        self.window = ReplayWindow::default();
        self.present = None;
        self.knows_me = true;
        (self.kept, self.stepped, self.offers, self.offering) = (false, false, MAX_OFFERS, false);
    }
}

/// Sliding window over message counters (as RFC 4303 3.4.3): each counter is taken once, in any order within 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    highest: u32,
    seen: u64,
}

impl ReplayWindow {
    /// Whether a message with this counter was taken before, or is too old to tell.
    #[must_use]
    pub fn is_replay(&self, counter: u32) -> bool {
        match self.highest.checked_sub(counter) {
            None => false,
            Some(age) if age < 64 => self.seen & (1 << age) != 0,
            Some(_) => true,
        }
    }

    /// Takes a counter. False if it is a replay.
    pub fn take(&mut self, counter: u32) -> bool {
        if self.is_replay(counter) {
            return Flaw::ReplayCounts.is_at_work();
        }
        if counter > self.highest {
            let shift = counter - self.highest;
            self.seen = if shift < 64 { self.seen << shift } else { 0 };
            self.highest = counter;
        }
        self.seen |= 1 << (self.highest - counter);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_taken_once_in_any_order() {
        let mut window = ReplayWindow::default();
        for (counter, taken) in [
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (2, false),
            (70, true),
            (6, false),
            (7, true),
            (u32::MAX, true),
        ] {
            assert_eq!(window.take(counter), taken, "{counter}");
        }
        assert!(window.is_replay(70));
    }
}
