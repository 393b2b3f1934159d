//! What may go wrong with a transmission on the wire.

use can_bus::Frame;

use super::INTERMISSION_BITS;
use super::length::Length;

/// Bits that nodes see inverted while one frame is sent. All bits count, stuff bits too, from the start of frame, which is
/// bit 0 and cannot be disturbed, to the intermission; after an error, those of the error frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disturbance {
    /// Who (everybody if none) and which bit.
    flips: Vec<(Option<usize>, usize)>,
}

impl Disturbance {
    /// Everybody, the sender included, sees this bit inverted.
    #[must_use]
    pub fn of_bit(bit: usize) -> Self {
        Self::default().and(None, bit)
    }

    /// The receivers see an error in the last bit but one of the frame, when they may still reject it. The sender notices
    /// and sends it again, so that all others get it twice.
    #[must_use]
    pub fn duplicate(frame: &Frame, receivers: impl IntoIterator<Item = usize>) -> Self {
        let rejects = last_bit(frame) - 1;
        receivers.into_iter().fold(Self::default(), |all, receiver| all.and(Some(receiver), rejects))
    }

    /// The same, and a second fault hides from the sender that they rejected it: they never get it, all others do, and the
    /// sender believes that everybody has (Rufino et al. 1998; Proenza and Miro-Julia 2000).
    #[must_use]
    pub fn omission(frame: &Frame, sender: usize, receivers: impl IntoIterator<Item = usize>) -> Self {
        Self::duplicate(frame, receivers).and(Some(sender), last_bit(frame))
    }

    /// One more bit that `node`, or everybody, sees inverted.
    #[must_use]
    pub fn and(mut self, node: Option<usize>, bit: usize) -> Self {
        self.flips.push((node, bit));
        self
    }

    /// Whether nothing happens.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.flips.is_empty()
    }

    /// Whether a node sees this bit inverted.
    #[must_use]
    pub fn inverts(&self, node: usize, bit: usize) -> bool {
        bit > 0 && self.flips.iter().any(|(who, at)| *at == bit && who.is_none_or(|who| who == node))
    }
}

/// The last bit of the end of frame.
fn last_bit(frame: &Frame) -> usize {
    Length::of(frame).bits() as usize - INTERMISSION_BITS - 1
}
