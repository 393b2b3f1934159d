//! A quiet car, without faults and attackers: nothing is dropped, forged or malformed, and no order that was accepted is lost.

use device_chain::tx::Transaction;
use device_chain::validator::{Counters, Report};
use ecu_node::pump::FrameCounters;

use super::Violation;
use crate::car::Car;
use crate::event::{Event, What};

/// An order is decided within this time, ns.
pub const DECIDED_NS: u64 = 500_000_000;

/// Orders that are not settled: when each was asked for, where, and what.
#[derive(Default)]
pub struct Quiet(Vec<(u64, u8, Transaction)>);

impl Quiet {
    /// Sees an event.
    pub fn see(&mut self, event: &Event) {
        match &event.what {
            What::Asked { ecu, tx } => {
                // the gateway's newest block stands for those before
                let is_block = |of: &Transaction| matches!(of, Transaction::EventBlock(_));
                self.0.retain(|(_, _, of)| !(is_block(tx) && is_block(of)));
                self.0.push((event.at_ns, *ecu, tx.clone()));
            }
            What::Report { ecu, report: Report::Refused(tx, _) } => self.0.retain(|(_, at, of)| (at, of) != (ecu, tx)),
            What::Decided { decision, .. } => self.0.retain(|(.., of)| *of != decision.tx),
            _ => {}
        }
    }

    /// Judges the car as it is now.
    ///
    /// # Errors
    /// What should not have been.
    pub fn judge(&self, car: &Car) -> Result<(), Violation> {
        let violation = |what| Violation { at_ns: car.now_ns(), invariant: "quiet", what };
        if let Some((_, ecu, tx)) = self.0.iter().find(|(at_ns, ..)| car.now_ns() - at_ns > DECIDED_NS) {
            return Err(violation(format!("ecu{ecu} has lost an order: {}", tx.name())));
        }
        for (at, pump) in (0..car.ecus.len() as u8).filter_map(|at| Some((at, car.ecu(at)?))) {
            let Counters { bad_tag, foreign, version, malformed, impostor, dropped, .. } = *pump.validator().counters();
            let messages = [bad_tag, foreign, version, malformed, impostor, dropped];
            let frames = *pump.counters();
            let FrameCounters { foreign, malformed, segments, dropped, overrun, .. } = frames;
            if messages.iter().any(|count| *count > 0) || [foreign, malformed, segments, dropped, overrun] != [0; 5] {
                return Err(violation(format!("ecu{at} counts {:?}, {frames:?}", pump.validator().counters())));
            }
        }
        Ok(())
    }
}
