//! Agreement of final decisions: no two honest ECUs act on different decisions of one height, whatever the bus does.

use std::collections::BTreeMap;

use device_chain::types::{Hash, Height};

use super::{Invariant, World};
use crate::event::{Event, What};

/// What was decided first at each height.
#[derive(Default)]
pub struct Agreement(BTreeMap<Height, (u8, Hash)>);

impl Invariant for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        let What::Decided { ecu, decision } = &event.what else { return Ok(()) };
        if !world.is_honest(*ecu) {
            return Ok(());
        }
        let (first, hash) = *self.0.entry(decision.height).or_insert((*ecu, decision.hash));
        if hash == decision.hash {
            return Ok(());
        }
        Err(format!("height {}: ecu{first} decided {hash:?}, ecu{ecu} {:?}", decision.height, decision.hash))
    }
}
