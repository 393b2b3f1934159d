//! No honest device is accused, whatever is sent in its name (C1, DC-44).

use device_chain::validator::Report;

use super::{Invariant, World};
use crate::event::{Event, What};

/// Nothing to remember.
pub struct NobodyAccused;

impl Invariant for NobodyAccused {
    fn name(&self) -> &'static str {
        "no honest device accused"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        match &event.what {
            What::Report { ecu, report: Report::Equivocation(peer) }
                if world.is_honest(*ecu) && world.is_honest(*peer) =>
            {
                Err(format!("ecu{ecu} says that ecu{peer} votes twice"))
            }
            _ => Ok(()),
        }
    }
}
