//! A session is for two boots: no HELLO, recorded or not, ends or replaces it while both go on (DC-22). Who missed a boot of a peer may
//! still meet it, by frames that were held back, when the next one has begun; but nobody meets more boots than there were.

use std::collections::BTreeMap;

use device_chain::validator::Report;

use super::{Invariant, World};
use crate::event::{Event, What};

/// How often each ECU has booted.
type Boots = BTreeMap<u8, usize>;

/// Who has met whom how often, in the present boot of the first.
#[derive(Default)]
pub struct OneSession {
    boots: Boots,
    /// What was before the last boot of each.
    before: BTreeMap<u8, Boots>,
    met: BTreeMap<(u8, u8), usize>,
}

impl OneSession {
    /// Boots of `peer` that `ecu` can have met: the one that it found, and those since.
    fn possible(&self, ecu: u8, peer: u8) -> usize {
        let before = self.before.get(&ecu).and_then(|boots| boots.get(&peer)).copied().unwrap_or(0);
        self.boots.get(&peer).copied().unwrap_or(0) - before.saturating_sub(1)
    }
}

impl Invariant for OneSession {
    fn name(&self) -> &'static str {
        "one session for two boots"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        match &event.what {
            What::Booted { ecu, .. } => {
                self.before.insert(*ecu, self.boots.clone());
                *self.boots.entry(*ecu).or_default() += 1;
                self.met.retain(|(one, _), _| one != ecu);
            }
            What::Report { ecu, report: Report::Met(peer) } if world.is_honest(*ecu) && world.is_honest(*peer) => {
                let met = self.met.entry((*ecu, *peer)).or_default();
                *met += 1;
                let (met, possible) = (*met, self.possible(*ecu, *peer));
                if met > possible {
                    return Err(format!("ecu{ecu} has met ecu{peer} {met} times, who had {possible} boots"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
