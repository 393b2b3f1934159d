//! Records (DC-42): what is decided in the name of an endpoint is what it has sent, once and in its order; and it is told so only of what is
//! decided.

use std::collections::{BTreeMap, BTreeSet};

use device_chain::tx::Transaction;
use device_chain::types::Height;

use super::{Invariant, World};
use crate::event::{Event, What};

/// What was decided in the name of endpoints.
#[derive(Default)]
pub struct Records {
    height: Height,
    last: BTreeMap<u8, u64>,
    decided: BTreeSet<(u8, u64)>,
}

impl Records {
    fn judge(&mut self, world: &World, endpoint: u8, sequence: u64, data: &[u8]) -> Result<(), String> {
        if !world.records.contains(&(endpoint, sequence, data.to_vec())) {
            return Err(format!("record {sequence:x} of endpoint{endpoint}, which it has not sent"));
        }
        if self.last.insert(endpoint, sequence).is_some_and(|last| last >= sequence) {
            return Err(format!("record {sequence:x} of endpoint{endpoint} after a later one"));
        }
        self.decided.insert((endpoint, sequence));
        Ok(())
    }
}

impl Invariant for Records {
    fn name(&self) -> &'static str {
        "records"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        match &event.what {
            What::Decided { ecu, decision } if world.is_honest(*ecu) && decision.height > self.height => {
                self.height = decision.height;
                if let Transaction::Record { endpoint, sequence, data } = &decision.tx {
                    return self.judge(world, *endpoint, *sequence, data);
                }
                Ok(())
            }
            What::Recorded { endpoint, sequence } if !self.decided.contains(&(*endpoint, *sequence)) => {
                Err(format!("endpoint{endpoint} holds record {sequence:x} for decided"))
            }
            _ => Ok(()),
        }
    }
}
