//! The voter for unknown values: fills what receivers keep of each sender with votes for values that do not exist (M3).

use can_bus::Frame;
use can_bus::frame::{MAX_FD, id_from_raw};
use device_chain::wire::{HEADER, Header, Kind};

use super::Rogue;
use crate::dice::Dice;

/// Votes under every name in turn, at a steady rate, ever new.
pub struct UnknownVoter {
    /// Vote identifiers, in the order of the genesis.
    identifiers: Vec<u32>,
    interval_ns: u64,
    due_ns: u64,
    /// A message of the height being agreed on.
    template: Option<Header>,
    turn: usize,
}

impl UnknownVoter {
    /// A vote every `interval_ns` from `from_ns` on.
    #[must_use]
    pub const fn new(identifiers: Vec<u32>, interval_ns: u64, from_ns: u64) -> Self {
        Self { identifiers, interval_ns, due_ns: from_ns, template: None, turn: 0 }
    }
}

impl Rogue for UnknownVoter {
    /// The head that heartbeats tell: the next height is being agreed on.
    fn hear(&mut self, _now_ns: u64, frame: &Frame, _dice: &mut Dice) -> Vec<Frame> {
        let decided = Header::parse(frame.data()).filter(|header| header.kind == Kind::Decided);
        self.template = decided.map(|head| Header { height: head.height + 1, round: 0, ..head }).or(self.template);
        Vec::new()
    }

    fn due_ns(&self) -> Option<u64> {
        Some(self.due_ns)
    }

    fn act(&mut self, now_ns: u64, dice: &mut Dice) -> Vec<Frame> {
        self.due_ns = now_ns + self.interval_ns;
        self.turn = (self.turn + 1) % self.identifiers.len();
        let (Some(template), Some(id)) = (self.template, id_from_raw(self.identifiers[self.turn])) else {
            return Vec::new();
        };
        let (sender, hint) = (self.turn as u8, dice.roll(1 << 16) as u16);
        let vote = Header {
            kind: Kind::Prevote,
            sender,
            hint_proposer: sender,
            hint,
            counter: dice.roll(1 << 32) as u32,
            ..template
        };
        let mut data = [0x5a; MAX_FD];
        data[..HEADER].copy_from_slice(&vote.to_bytes());
        Frame::fd(id, &data).into_iter().collect()
    }
}
