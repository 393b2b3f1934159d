//! Clocks of the ECUs: each has its own rate and its own idea of zero. And wall clocks, which some have besides.

use crate::genesis::MADE_MS;

/// What it is at a virtual time, milliseconds of Unix time.
#[must_use]
pub const fn true_ms(now_ns: u64) -> u64 {
    MADE_MS + now_ns / 1_000_000
}

/// How often an application reads its wall clock, ns.
pub const READ_EVERY_NS: u64 = 1_000_000_000;

/// The wall clock of one ECU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallClock {
    /// It goes, and is ahead of true time by so many ms, or behind.
    Ahead(i64),
    /// It has stopped there, milliseconds of Unix time.
    Stuck(u64),
}

impl WallClock {
    /// What it shows, milliseconds of Unix time.
    #[must_use]
    pub const fn reads(self, now_ns: u64) -> u64 {
        match self {
            Self::Ahead(ms) => true_ms(now_ns).saturating_add_signed(ms),
            Self::Stuck(ms) => ms,
        }
    }
}

const PPM: i128 = 1_000_000;

/// The clock of one ECU, read against virtual time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base_ns: u64,
    base_local_ns: u64,
    ppm: i32,
}

impl Clock {
    /// A clock that shows virtual time.
    pub const TRUE: Self = Self { base_ns: 0, base_local_ns: 0, ppm: 0 };

    /// From `now_ns` on the clock gains `ppm` µs a second (loses, below zero); it does not jump.
    #[must_use]
    pub fn with_rate(self, now_ns: u64, ppm: i32) -> Self {
        Self { base_ns: now_ns, base_local_ns: self.local_ns(now_ns), ppm }
    }

    /// The clock jumps by `step_us` at `now_ns`; it stops at zero.
    #[must_use]
    pub fn stepped(self, now_ns: u64, step_us: i64) -> Self {
        let base_local_ns = self.local_ns(now_ns).saturating_add_signed(step_us.saturating_mul(1000));
        Self { base_ns: now_ns, base_local_ns, ppm: self.ppm }
    }

    fn local_ns(&self, now_ns: u64) -> u64 {
        let passed = i128::from(now_ns.saturating_sub(self.base_ns)) * (PPM + i128::from(self.ppm)) / PPM;
        self.base_local_ns.saturating_add(passed as u64)
    }

    /// What it shows, µs.
    #[must_use]
    pub fn local_us(&self, now_ns: u64) -> u64 {
        self.local_ns(now_ns) / 1000
    }

    /// The first virtual time, ns, at which it shows `local_us` or more.
    #[must_use]
    pub fn when_ns(&self, local_us: u64) -> u64 {
        let ahead = i128::from(local_us.saturating_mul(1000).saturating_sub(self.base_local_ns));
        let rate = PPM + i128::from(self.ppm);
        self.base_ns.saturating_add(((ahead * PPM + rate - 1) / rate) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_comes_when_the_clock_shows_it() {
        for ppm in [-200, 0, 137, 5_000] {
            let clock = Clock::TRUE.stepped(0, 12_345).with_rate(0, ppm).stepped(1_000_000, -7);
            for local_us in [20_000, 20_001, 1_000_000, 86_400_000_000] {
                let at = clock.when_ns(local_us);
                assert!(clock.local_us(at) >= local_us && clock.local_us(at - 1) < local_us, "{ppm} {local_us}");
            }
        }
    }

    #[test]
    fn a_fast_clock_gains() {
        let clock = Clock::TRUE.with_rate(0, 100);
        assert_eq!(clock.local_us(10_000_000_000), 10_001_000);
        assert_eq!(clock.stepped(0, 500).local_us(0), 500);
    }
}
