//! Sessions (DC-22): two validators meet once in each pair of their boots. A recorded HELLO ends no session.

use std::collections::BTreeSet;

use device_chain::validator::Report;

use super::{Invariant, World};
use crate::event::{Event, What};

/// Who has met whom, in the present boots of both.
#[derive(Default)]
pub struct OneSession(BTreeSet<(u8, u8)>);

impl Invariant for OneSession {
    fn name(&self) -> &'static str {
        "one session for two boots"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        match &event.what {
            What::Booted { ecu, .. } => self.0.retain(|(one, other)| one != ecu && other != ecu),
            What::Report { ecu, report: Report::Met(peer) }
                if world.is_honest(*ecu) && world.is_honest(*peer) && !self.0.insert((*ecu, *peer)) =>
            {
                return Err(format!("ecu{ecu} has met ecu{peer} twice"));
            }
            _ => {}
        }
        Ok(())
    }
}
