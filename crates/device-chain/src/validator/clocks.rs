//! Clocks: what the validators' clocks say, what a node makes of it, and when it asks for a later agreed time.
//! `docs/protocol.md` DC-60 to DC-62.

use core::num::NonZeroI64;

use heapless::Vec;

use super::Validator;
use super::outbox::Message;
use crate::flaw::Flaw;
use crate::keys::KeyStore;
use crate::limits::{LATE_DECISIONS, MAX_CLOCK_MS, MAX_VALIDATORS, TIME_TOLERANCE_MS};
use crate::tx::Transaction;
use crate::types::{Height, Micros, ValidatorIndex};
use crate::wire::Parts;

/// Heartbeats from one CLOCK to the next.
const CLOCK_HEARTBEATS: u8 = 64;
/// Heartbeats until it is said to a peer that has just been met.
const MET_HEARTBEATS: u8 = 4;

/// What a node knows of time.
pub(super) struct Clocks {
    /// Of each validator, this node among them: Unix time at this node's local time zero, so that a reading ages by itself.
    /// (Exactly zero is a clock that said 1970 when this node came up: no reading either.)
    zeros: [Option<NonZeroI64>; MAX_VALIDATORS],
    /// Heartbeats until the own reading is said.
    due: u8,
    /// Decisions made while the agreed time was late.
    late: u8,
}

impl Clocks {
    pub(super) const NONE: Self = Self { zeros: [None; MAX_VALIDATORS], due: 0, late: 0 };

    fn take(&mut self, of: ValidatorIndex, ms: u64, now: Micros) {
        if let Some(zero) = self.zeros.get_mut(usize::from(of)) {
            *zero = NonZeroI64::new(ms.min(MAX_CLOCK_MS) as i64 - local_ms(now));
        }
    }

    fn reading(&self, of: ValidatorIndex, now: Micros) -> Option<u64> {
        let zero = (*self.zeros.get(usize::from(of))?)?;
        u64::try_from(zero.get() + local_ms(now)).ok()
    }
}

const fn local_ms(now: Micros) -> i64 {
    (now.0 / 1000) as i64
}

impl<K: KeyStore> Validator<K> {
    /// The application's clock was read.
    pub(super) fn on_own_clock(&mut self, ms: u64) {
        self.clocks.take(self.me, ms, self.now);
        self.review_values();
    }

    /// CLOCK: what a peer's clock says.
    pub(super) fn on_clock(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        match parts.body.try_into().map(u64::from_le_bytes) {
            Ok(ms) => {
                self.clocks.take(peer, ms, self.now);
                self.review_values();
            }
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// What the own clock says now, if there is one.
    pub(super) fn own_clock(&self) -> Option<u64> {
        self.clocks.reading(self.me, self.now)
    }

    /// Each heartbeat.
    pub(super) fn say_clock(&mut self) {
        if self.own_clock().is_none() {
            return;
        }
        match self.clocks.due.checked_sub(1) {
            Some(rest) => self.clocks.due = rest,
            None => {
                self.clocks.due = CLOCK_HEARTBEATS - 1;
                self.send(Message::Clock);
            }
        }
    }

    /// A peer was met that has not heard it.
    pub(super) fn say_clock_soon(&mut self) {
        self.clocks.due = self.clocks.due.min(MET_HEARTBEATS);
    }

    /// DC-60: what the clocks say, milliseconds of Unix time: the lower median of the readings of all validators that are heard, this
    /// node among them. What lies before the agreed time does not count. `None` if fewer than 2f + 1 have a clock, or fewer
    /// than 2f readings count.
    #[must_use]
    pub fn estimate(&self) -> Option<u64> {
        if Flaw::OneClock.is_at_work() {
            return self.own_clock();
        }
        let f = self.full.f;
        let heard = (0..self.full.n as ValidatorIndex).filter(|peer| *peer == self.me || self.is_heard(*peer));
        let mut readings: Vec<u64, MAX_VALIDATORS> =
            heard.filter_map(|peer| self.clocks.reading(peer, self.now)).collect();
        let clocks = readings.len();
        let oldest = self.state.time_ms().saturating_sub(2 * TIME_TOLERANCE_MS);
        readings.retain(|ms| *ms >= oldest);
        let rank = readings.len().saturating_sub(1) / 2;
        let is_median = |ms: &u64| {
            let earlier = readings.iter().filter(|other| *other < ms).count();
            let not_later = readings.iter().filter(|other| *other <= ms).count();
            earlier <= rank && rank < not_later
        };
        readings.iter().copied().find(is_median).filter(|_| clocks > 2 * f && readings.len() >= 2 * f)
    }

    /// The time that a decision of this node's would have now: what the clocks say, as near as the chain allows.
    #[must_use]
    pub fn time_to_give(&self) -> u64 {
        self.estimate().map_or(self.state.time_ms(), |estimate| self.state.time_near(estimate))
    }

    /// DC-62: whether a time that the chain allows is what the clocks say, on the way there, or nothing new.
    pub(super) fn is_timely(&self, ms: u64) -> bool {
        let last = self.state.time_ms();
        ms == last
            || self.estimate().is_some_and(|estimate| {
                ms.abs_diff(estimate) <= TIME_TOLERANCE_MS || ms == self.state.time_near(u64::MAX) && ms <= estimate
            })
    }

    /// DC-62: after a decision a node asks for a later time, if it has been late for some decisions. Where nothing is decided nothing needs a time.
    #[inline(never)]
    pub(super) fn review_time(&mut self, height: Height, decided: &Transaction) {
        self.pending.retain(|pending| pending.own || !matches!(pending.tx(), Some(Transaction::Time { .. })));
        let later = Transaction::Time { ms: self.time_to_give() };
        // one that came to nothing is not asked for again at once
        let is_late = self.state.check(&later, &self.registry).is_ok() && *decided != Transaction::Skip;
        self.clocks.late = if is_late { self.clocks.late.saturating_add(1) } else { 0 };
        if self.clocks.late >= LATE_DECISIONS && self.may_vote() {
            let first = (height % self.full.n as Height) as ValidatorIndex;
            self.want(later, self.turn(first).unwrap_or_default() as u64 * 4 * self.phase_us());
        }
    }
}
