//! Does a port keep its word? For the author of a port to run, on the target: `docs/porting.md` says how.
//!
//! Each function takes a port through what the ECU relies on and adds a named result for each of its promises. Those of flash, journal
//! and counter destroy what these hold.

mod bus;
mod flash;
mod keys;
mod random;

use heapless::Vec;

pub use bus::{Loopback, bus};
pub use flash::{counter, flash, journal};
pub use keys::{TEST_KEY, TEST_PEER, keys};
pub use random::{clock, random};

/// More than all functions together add.
const MAX_RESULTS: usize = 64;

/// What was looked at, and whether it was as it has to be.
#[derive(Clone, Debug, Default)]
pub struct Results {
    results: Vec<(&'static str, bool), MAX_RESULTS>,
    lost: bool,
}

impl Results {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { results: Vec::new(), lost: false }
    }

    fn add(&mut self, name: &'static str, passed: bool) {
        self.lost |= self.results.push((name, passed)).is_err();
    }

    /// Each promise, and whether it was kept.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.results.iter().copied()
    }

    /// The promises that were not kept.
    pub fn failed(&self) -> impl Iterator<Item = &'static str> {
        self.iter().filter(|(_, passed)| !passed).map(|(name, _)| name)
    }

    /// Whether something was looked at, and all of it was as it has to be.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.lost && !self.results.is_empty() && self.failed().next().is_none()
    }
}
