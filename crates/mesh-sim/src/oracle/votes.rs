//! One vote in a slot, also across power cuts (C1), and durable before it leaves (P1).

use std::collections::{BTreeMap, BTreeSet};

use device_chain::agreement::VoteKind;
use device_chain::record::Record;
use device_chain::types::{Height, Round};
use device_chain::wire::{Header, NIL_PROPOSER};

use super::{Invariant, World};
use crate::event::{Event, What};

/// Who, where, which vote.
type Slot = (u8, Height, Round, u8);
/// What for, as the wire tells: the first bytes of the hash; nothing for nil.
type For = Option<u16>;

/// Heights whose votes are remembered.
const HEIGHTS: Height = 64;

/// Votes seen and votes durable.
#[derive(Default)]
pub struct OneVote {
    sent: BTreeMap<Slot, For>,
    durable: BTreeSet<(Slot, For)>,
}

impl Invariant for OneVote {
    fn name(&self) -> &'static str {
        "one vote per slot"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        if let What::Durable { ecu, record: Record::Vote(vote), .. } = &event.what {
            let value = world.value(*ecu, vote.height, &vote.value).map(|hash| u16::from_le_bytes([hash[0], hash[1]]));
            self.durable.insert(((*ecu, vote.height, vote.round, code(vote.kind)), value));
        }
        let Some((ecu, vote)) = world.honest_vote(event) else { return Ok(()) };
        self.check(world, ecu, &vote)
    }
}

impl OneVote {
    fn check(&mut self, world: &World, ecu: u8, vote: &Header) -> Result<(), String> {
        let Some(kind) = vote.kind.vote() else { return Ok(()) };
        let slot = (ecu, vote.height, vote.round, code(kind));
        let value = (vote.hint_proposer != NIL_PROPOSER).then_some(vote.hint);
        let first = *self.sent.entry(slot).or_insert(value);
        let place = format!("ecu{ecu}, height {}, round {}, {kind:?}", vote.height, vote.round);
        if first != value {
            return Err(format!("{place}: {first:04x?}, then {value:04x?}"));
        }
        // votes that help others along at a height that is decided here (L6) need not be remembered
        if vote.height > world.height(ecu) && !self.durable.contains(&(slot, value)) {
            return Err(format!("{place}: on the wire before it was durable"));
        }
        self.forget_before(vote.height.saturating_sub(HEIGHTS));
        Ok(())
    }

    fn forget_before(&mut self, height: Height) {
        if self.sent.len() > 1 << 14 {
            self.sent.retain(|(_, at, ..), _| *at >= height);
            self.durable.retain(|((_, at, ..), _)| *at >= height);
        }
    }
}

const fn code(kind: VoteKind) -> u8 {
    kind as u8
}
