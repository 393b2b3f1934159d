//! The asker: wants to be told again and again what it knows.

use can_bus::Frame;
use device_chain::limits::{HISTORY_BATCH, MAX_HISTORY};
use device_chain::types::{Hash, Height};
use device_chain::wire::{Header, Kind};

use super::voice::Voice;
use super::{Liar, Seat};

/// What it asks for.
pub enum Question {
    /// The value of the last height, of everybody (FETCH).
    Value,
    /// All decisions that somebody remembers, from the oldest to the last and over again (SYNC): the height from which it asks next.
    Decisions(Height),
    /// The state as a whole (SYNC).
    State,
}

/// Asks at a steady rate.
pub struct Asker {
    voice: Voice,
    question: Question,
}

impl Asker {
    /// Asks whenever `voice` speaks.
    #[must_use]
    pub const fn new(voice: Voice, question: Question) -> Self {
        Self { voice, question }
    }

    /// Whom it names in a SYNC, each time the same one: the others answer, too.
    const fn named(seat: &Seat<'_>) -> u8 {
        if seat.me == 0 { 1 } else { 0 }
    }
}

impl Liar for Asker {
    fn edit(&mut self, _seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        self.voice.edit(frame)
    }

    fn due_ns(&self) -> Option<u64> {
        self.voice.due_ns()
    }

    fn act(&mut self, now_ns: u64, seat: &mut Seat<'_>) -> Vec<Frame> {
        let counter = self.voice.speak(now_ns);
        let (height, head) = seat.head();
        let from = match &mut self.question {
            Question::Value => {
                let peers = (0..seat.genesis.validators.len() as u8).filter(|peer| *peer != seat.me);
                let asks = peers.flat_map(|peer| {
                    let fetch = Header { hint: head.hint(), ..Header::new(Kind::Fetch, height).round(peer) };
                    let fetch = Header { counter: self.voice.next(), ..fetch };
                    seat.frames(fetch, &Hash::NIL, &[], u8::MAX)
                });
                return asks.collect();
            }
            Question::Decisions(next) => {
                let oldest = height.saturating_sub(MAX_HISTORY as Height);
                let from = if (oldest..height).contains(next) { *next } else { oldest };
                *next = from + HISTORY_BATCH;
                from
            }
            Question::State => 0,
        };
        let sync = Header { counter, ..Header::new(Kind::Sync, from).round(Self::named(seat)) };
        seat.frames(sync, &Hash::NIL, &[], u8::MAX)
    }
}
