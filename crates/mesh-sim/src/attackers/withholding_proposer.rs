//! The withholding proposer: votes for values whose content it never sends, or serves to some only (M3).

use can_bus::Frame;
use can_bus::segment::{KIND_SEGMENT, Prefix};
use device_chain::wire::{Header, Kind};

use super::{Liar, Seat};

/// Its proposals never leave; who asks for one gets it or not.
pub struct WithholdingProposer {
    /// Bit per validator: who is served.
    pub served: u8,
}

impl Liar for WithholdingProposer {
    fn edit(&mut self, seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        let ids = &seat.genesis.validators[usize::from(seat.me)].identifiers;
        let id = frame.raw_id();
        let is_segment = Prefix::parse(frame.data()).is_some_and(|prefix| prefix.kind == KIND_SEGMENT);
        let is_served = match Header::parse(frame.data()) {
            Some(header) if header.kind == Kind::Value => self.served >> header.round & 1 == 1,
            // which of them a segment is for is not said in every one
            _ if id == ids.bulk && is_segment => seat.dice.percent(50),
            _ => true,
        };
        if id == ids.propose || !is_served { Vec::new() } else { vec![frame] }
    }
}
