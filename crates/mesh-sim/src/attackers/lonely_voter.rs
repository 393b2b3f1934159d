//! The lonely voter: votes at each height, where nobody else has anything to decide (L7).

use can_bus::Frame;
use device_chain::tx::nil_subject;
use device_chain::types::Height;
use device_chain::wire::{Header, Kind};

use super::voice::Voice;
use super::{Liar, Seat};

/// Votes nil at each height, once.
pub struct LonelyVoter {
    voice: Voice,
    voted: Option<Height>,
}

impl LonelyVoter {
    /// Looks for a new height at the rate of `voice`.
    #[must_use]
    pub const fn new(voice: Voice) -> Self {
        Self { voice, voted: None }
    }
}

impl Liar for LonelyVoter {
    fn edit(&mut self, _seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        self.voice.edit(frame)
    }

    fn due_ns(&self) -> Option<u64> {
        self.voice.due_ns()
    }

    fn act(&mut self, now_ns: u64, seat: &mut Seat<'_>) -> Vec<Frame> {
        let counter = self.voice.speak(now_ns);
        let height = seat.head().0 + 1;
        if self.voted.replace(height) == Some(height) {
            return Vec::new();
        }
        let vote = Header { counter, ..Header::new(Kind::Prevote, height).hint(None) };
        seat.frames(vote, &nil_subject(&seat.head().1), &[], u8::MAX)
    }
}
