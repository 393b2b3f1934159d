//! The own voice of a liar: from some moment on it speaks instead of the ECU in its seat.

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

    /// Whether it has spoken: nobody would take what the ECU in its seat says, whose counters are old by now.
    #[must_use]
    pub const fn has_spoken(&self) -> bool {
        self.counter > COUNTERS
    }

    /// When it speaks next, ns.
    #[must_use]
    pub const fn due_ns(&self) -> u64 {
        self.due_ns
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
