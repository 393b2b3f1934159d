//! A bounded share of the bus: what one honest ECU sends. Its memory is bounded by its types: nothing in it grows.

use can_bus::timing::BitTiming;

use super::{Invariant, World};
use crate::event::{Event, Station, What};

/// Time over which a share is taken, ns.
const WINDOW_NS: u64 = 1_000_000_000;
/// Largest share of the wire that one honest ECU may take in a window, percent, whatever the others do.
pub const MAX_SHARE_PERCENT: u64 = 25;

/// Wire time by ECU in the present window.
pub struct BusShare {
    timing: BitTiming,
    window: u64,
    busy_ns: [u64; 16],
    /// The largest share so far, percent.
    pub largest_percent: u64,
}

impl BusShare {
    /// On a bus of `timing`.
    #[must_use]
    pub const fn new(timing: BitTiming) -> Self {
        Self { timing, window: 0, busy_ns: [0; 16], largest_percent: 0 }
    }
}

impl Invariant for BusShare {
    fn name(&self) -> &'static str {
        "bus share"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        let What::Frame { sender: Station::Ecu(ecu), frame, .. } = &event.what else { return Ok(()) };
        if event.at_ns / WINDOW_NS != self.window {
            (self.window, self.busy_ns) = (event.at_ns / WINDOW_NS, [0; 16]);
        }
        let busy_ns = &mut self.busy_ns[usize::from(*ecu % 16)];
        *busy_ns += self.timing.worst_case_ns(frame);
        let percent = *busy_ns * 100 / WINDOW_NS;
        self.largest_percent = self.largest_percent.max(percent);
        if percent <= MAX_SHARE_PERCENT || !world.is_honest(*ecu) {
            return Ok(());
        }
        Err(format!("ecu{ecu} took {percent} % of the wire in second {}, at most {MAX_SHARE_PERCENT} %", self.window))
    }
}
