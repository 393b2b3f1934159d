//! Fault confinement (ISO 11898-1:2015): what keeps a broken node from taking the bus with it.

use can_bus::ErrorState;

/// From here on a counter is worth a warning.
const WARNING: u16 = 96;
/// From here on a node is error passive.
const PASSIVE: u16 = 128;
/// From here on a transmit error counter means bus-off.
const BUS_OFF: u16 = 256;
/// What an error costs the transmitter, and the receiver that caused it.
const HEAVY: u16 = 8;
/// What a good frame sets a receive error counter to that was above 127; the standard allows 119 to 127.
const RECEIVE_AGAIN: u16 = 119;

/// The error counters of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    transmit: u16,
    receive: u16,
}

impl Confinement {
    /// As after power-on or recovery.
    pub const ZERO: Self = Self { transmit: 0, receive: 0 };

    /// Transmit error counter.
    #[must_use]
    pub const fn transmit_errors(self) -> u16 {
        self.transmit
    }

    /// Receive error counter.
    #[must_use]
    pub const fn receive_errors(self) -> u16 {
        self.receive
    }

    /// What the counters mean.
    #[must_use]
    pub fn state(self) -> ErrorState {
        match self.transmit.max(self.receive) {
            _ if self.transmit >= BUS_OFF => ErrorState::BusOff,
            PASSIVE.. => ErrorState::Passive,
            WARNING.. => ErrorState::Warning,
            _ => ErrorState::Active,
        }
    }

    /// Whether the node may no longer destroy frames.
    #[must_use]
    pub fn is_passive(self) -> bool {
        matches!(self.state(), ErrorState::Passive | ErrorState::BusOff)
    }

    /// A receiver found an error.
    pub const fn receiver_found(&mut self) {
        self.receive = self.receive.saturating_add(1);
    }

    /// A transmitter failed, or a node was the first to find an error, or the bus stayed dominant.
    pub const fn heavy(&mut self, transmitter: bool) {
        if transmitter {
            self.transmit = self.transmit.saturating_add(HEAVY);
        } else {
            self.receive = self.receive.saturating_add(HEAVY);
        }
    }

    /// A frame was sent.
    pub const fn transmitted(&mut self) {
        self.transmit = self.transmit.saturating_sub(1);
    }

    /// A frame was received.
    pub const fn received(&mut self) {
        self.receive = if self.receive < PASSIVE { self.receive.saturating_sub(1) } else { RECEIVE_AGAIN };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_states() {
        use ErrorState::*;
        for (transmit, receive, state) in [
            (0, 0, Active),
            (95, 95, Active),
            (96, 0, Warning),
            (0, 127, Warning),
            (128, 0, Passive),
            (0, 128, Passive),
            (255, 1000, Passive), // a receiver never goes bus-off
            (256, 0, BusOff),
        ] {
            assert_eq!(Confinement { transmit, receive }.state(), state, "{transmit} {receive}");
        }
    }

    #[test]
    fn good_frames_count_down() {
        for (receive, then) in [(0, 0), (1, 0), (127, 126), (128, RECEIVE_AGAIN), (400, RECEIVE_AGAIN)] {
            let mut counters = Confinement { transmit: 0, receive };
            counters.received();
            assert_eq!(counters, Confinement { transmit: 0, receive: then });
        }
    }
}
