//! Hash chain and order: each decision's hash is that of its content behind the one before (DC-6), and an ECU acts on
//! heights in their order.

use std::collections::BTreeMap;

use device_chain::types::Height;

use super::{Invariant, World, hashing};
use crate::event::{Event, What};

/// The last height that each ECU has acted on since its boot.
#[derive(Default)]
pub struct Chain(BTreeMap<u8, Height>);

impl Invariant for Chain {
    fn name(&self) -> &'static str {
        "hash chain and order"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        let (ecu, decision) = match &event.what {
            What::Decided { ecu, decision } if world.is_honest(*ecu) => (ecu, decision),
            What::Booted { ecu, .. } => {
                self.0.remove(ecu);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let height = decision.height;
        if let Some(last) = self.0.insert(*ecu, height).filter(|last| *last >= height) {
            return Err(format!("ecu{ecu} acts on height {height} after {last}"));
        }
        let parent =
            world.parent(height).ok_or(format!("ecu{ecu} decided {height} behind nothing that was decided"))?;
        let expected = hashing::decision(&world.mesh, height, &parent, &decision.bytes);
        if decision.hash.0 == expected {
            return Ok(());
        }
        Err(format!("ecu{ecu}: the hash of height {height} is not that of its content behind height {}", height - 1))
    }
}
