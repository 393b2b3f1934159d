//! Which identifiers of a plan the car or its diagnostics already use.

use std::collections::HashMap;
use std::fmt;

use crate::model::{Database, EXTENDED_FLAG, id_text};

/// An identifier that somebody intends to send on the car's bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedIdentifier {
    /// The identifier; bit 31 ([`EXTENDED_FLAG`]) is set for a 29-bit one.
    pub raw_id: u32,
    /// What it is for, as in "votes of validator 3".
    pub what: String,
}

/// A planned identifier that is already in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The planned identifier.
    pub planned: PlannedIdentifier,
    /// Who has it already, as in "message ENGINE of car.dbc".
    pub taken_by: String,
}

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { planned, taken_by } = self;
        let id = id_text(planned.raw_id);
        write!(f, "{id}, planned for {}, is taken by {taken_by}; plan another identifier", planned.what)
    }
}

/// All collisions of a plan: with messages of the database, with diagnostics, and within the plan.
pub fn collisions(plan: &[PlannedIdentifier], database: &Database) -> Vec<Collision> {
    let mut found = Vec::new();
    let mut first_use = HashMap::new();
    for planned in plan {
        let message =
            database.message(planned.raw_id).map(|message| format!("message {} of {}", message.name, database.name));
        let diagnostic = diagnostic_use(planned.raw_id).map(str::to_owned);
        let earlier =
            first_use.insert(planned.raw_id, planned).map(|earlier| format!("{} of the same plan", earlier.what));
        let takers = [message, diagnostic, earlier].into_iter().flatten();
        found.extend(takers.map(|taken_by| Collision { planned: planned.clone(), taken_by }));
    }
    found
}

/// What diagnostics use an identifier for, by ISO 15765-4 (OBD, section on identifiers) and the normal fixed addressing
/// of ISO 15765-2, whose 29-bit identifiers hold target and source in the two low bytes.
fn diagnostic_use(raw_id: u32) -> Option<&'static str> {
    const PHYSICAL: u32 = EXTENDED_FLAG | 0x18DA_0000;
    const FUNCTIONAL: u32 = EXTENDED_FLAG | 0x18DB_0000;
    match raw_id {
        0x7DF => Some("diagnostic requests to all ECUs (ISO 15765-4)"),
        0x7E0..=0x7E7 => Some("diagnostic requests to one ECU (ISO 15765-4)"),
        0x7E8..=0x7EF => Some("diagnostic responses (ISO 15765-4)"),
        _ => match raw_id & 0xFFFF_0000 {
            PHYSICAL => Some("diagnostics with one ECU (ISO 15765-4, 18DAxxxx)"),
            FUNCTIONAL => Some("diagnostic requests to all ECUs (ISO 15765-4, 18DBxxxx)"),
            _ => None,
        },
    }
}
