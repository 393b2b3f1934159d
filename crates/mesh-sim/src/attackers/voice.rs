//! The own voice of a liar: from some moment on it speaks instead of the ECU in its seat.

use can_bus::Frame;

/// Counters of what it says: far above what the ECU in its seat has used, so that each is new.
const COUNTERS: u32 = 1 << 24;

/// Speaks at a steady rate.
pub struct Voice {
    interval_ns: u64,
    due_ns: u64,
    counter: u32,
}

impl Voice {
    /// Speaks every `interval_ns` from `from_ns` on.
    #[must_use]
    pub const fn new(interval_ns: u64, from_ns: u64) -> Self {
        Self { interval_ns, due_ns: from_ns, counter: COUNTERS }
    }

    /// What leaves in place of a frame of the ECU in its seat ([`Liar::edit`](super::Liar::edit)): once it has spoken nobody would take that
    /// ECU's frames, whose counters are old by now.
    #[must_use]
    pub fn edit(&self, frame: Frame) -> Vec<Frame> {
        if self.counter > COUNTERS { Vec::new() } else { vec![frame] }
    }

    /// When it speaks next, ns ([`Liar::due_ns`](super::Liar::due_ns)).
    #[must_use]
    pub const fn due_ns(&self) -> Option<u64> {
        Some(self.due_ns)
    }

    /// It speaks; the counter of what it says first.
    pub const fn speak(&mut self, now_ns: u64) -> u32 {
        self.due_ns = now_ns + self.interval_ns;
        self.next()
    }

    /// The counter of what it says next.
    pub const fn next(&mut self) -> u32 {
        self.counter += 1;
        self.counter
    }
}
