//! The hostile proposer: valid values of its own, more than one at a height, or each for one receiver only.

use can_bus::Frame;
use device_chain::codec;
use device_chain::limits::MAX_TX;
use device_chain::tx::{Transaction, decision_hash};
use device_chain::types::Height;
use device_chain::wire::{Header, Kind};

use super::voice::Voice;
use super::{Liar, Seat};

/// To whom it proposes.
pub enum Proposes {
    /// To everybody, whenever it speaks, something else each time.
    ToAll,
    /// Once at a height to one alone, at the next height to the next one: a vote is misled that the rest needs.
    ToOne(Option<Height>),
}

/// Proposes alarms about its own identifiers, for which nobody needs anybody else.
pub struct Proposer {
    voice: Voice,
    proposes: Proposes,
}

impl Proposer {
    /// Proposes when `voice` speaks.
    #[must_use]
    pub const fn new(voice: Voice, proposes: Proposes) -> Self {
        Self { voice, proposes }
    }
}

impl Liar for Proposer {
    fn edit(&mut self, _seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        self.voice.edit(frame)
    }

    fn due_ns(&self) -> Option<u64> {
        self.voice.due_ns()
    }

    fn act(&mut self, now_ns: u64, seat: &mut Seat<'_>) -> Vec<Frame> {
        let counter = self.voice.speak(now_ns);
        let (height, parent) = (seat.head().0 + 1, seat.head().1);
        let receivers = match &mut self.proposes {
            Proposes::ToAll => u8::MAX,
            Proposes::ToOne(last) => {
                if last.replace(height) == Some(height) {
                    return Vec::new();
                }
                1 << (height % seat.genesis.validators.len() as Height)
            }
        };
        let identifiers = seat.genesis.validators[usize::from(seat.me)].identifiers.all();
        let alarm = Transaction::Alarm { identifier: identifiers[height as usize % identifiers.len()], count: counter };
        let mut buffer = [0; MAX_TX];
        let Some(tx) = codec::encode(&alarm, &mut buffer) else { return Vec::new() };
        let value = decision_hash(&seat.genesis.mesh(), height, &parent, tx);
        let proposal = Header { counter, ..Header::new(Kind::Propose, height).hint(Some((seat.me, &value))) };
        seat.frames(proposal, &value, tx, receivers)
    }
}
