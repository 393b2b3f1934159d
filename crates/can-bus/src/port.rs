//! The bus port: what a node tells a bus and hears from it, as plain values.
//!
//! Every [`BusCommand::Transmit`] is answered exactly once, by [`BusEvent::Transmitted`] or [`BusEvent::Dropped`].
//! `Received` and `Transmitted` come in the order of the wire, so a node sees its own frames at the place among the
//! others' where every receiver sees them.

use embedded_can::Id;

use crate::frame::{self, Frame};

/// Most frames that a node may have waiting at its bus; one more is answered by [`BusEvent::Dropped`].
pub const TRANSMIT_QUEUE: usize = 64;

/// Something happened on a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusEvent {
    /// Somebody else's frame ended on the wire.
    Received {
        /// The segment it came from, as the node's configuration numbers them.
        segment: u8,
        /// End of the frame, in µs on the clock of the receiving node.
        at_us: u64,
        /// The frame.
        frame: Frame,
    },
    /// A frame of ours ended on the wire: at least one receiver acknowledged it.
    Transmitted {
        /// Names the frame, as in [`BusCommand::Transmit`].
        token: u32,
    },
    /// A frame of ours will not be sent: it was aborted, the queue was full, or the controller refused it.
    Dropped {
        /// Names the frame, as in [`BusCommand::Transmit`].
        token: u32,
    },
    /// Frames were received that nobody fetched in time.
    Overrun {
        /// How many, since the last such event.
        frames: u32,
    },
    /// The controller changed its error state.
    State(ErrorState),
}

/// Error state of a controller (ISO 11898-1, fault confinement).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorState {
    /// Takes part in everything.
    Active,
    /// An error counter reached 96.
    Warning,
    /// An error counter reached 128: it can no longer destroy a frame.
    Passive,
    /// The transmit error counter reached 256: it neither sends nor receives until it has recovered.
    BusOff,
}

/// Something a node wants from its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusCommand {
    /// Queue a frame; it goes out when it wins arbitration.
    Transmit {
        /// The node's own name for this frame; the answer carries it. Not used again before the answer.
        token: u32,
        /// The frame.
        frame: Frame,
    },
    /// Take a frame out of the queue. If it is already on the wire, its answer is `Transmitted` all the same.
    Abort {
        /// Names the frame, as in [`BusCommand::Transmit`].
        token: u32,
    },
}

/// A receive filter: lets a frame pass whose raw identifier equals `id` in the bits of `mask` (as SocketCAN does).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// [Raw](frame::raw_id) identifier.
    pub id: u32,
    /// The bits that count, [`frame::EXTENDED_FLAG`] included.
    pub mask: u32,
}

impl Filter {
    /// Lets every frame pass.
    pub const ALL: Self = Self { id: 0, mask: 0 };

    /// Whether a frame with this identifier passes.
    pub fn accepts(&self, id: Id) -> bool {
        (frame::raw_id(id) ^ self.id) & self.mask == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{EXTENDED_FLAG, id_from_raw};

    #[test]
    fn filters_compare_the_masked_bits() {
        let exact = Filter { id: 0x123, mask: EXTENDED_FLAG | 0x1FFF_FFFF };
        let range = Filter { id: 0x120, mask: EXTENDED_FLAG | 0x7F0 };
        for (filter, raw, passes) in [
            (Filter::ALL, EXTENDED_FLAG | 0x123, true),
            (exact, 0x123, true),
            (exact, 0x122, false),
            (exact, EXTENDED_FLAG | 0x123, false),
            (range, 0x12F, true),
            (range, 0x130, false),
        ] {
            assert_eq!(filter.accepts(id_from_raw(raw).unwrap()), passes, "{filter:?} {raw:#X}");
        }
    }
}
