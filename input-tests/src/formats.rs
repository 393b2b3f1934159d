//! Every format, by the boundary that it crosses.

mod bus;
mod chain;
mod cloud;
mod messages;
mod stored;

use device_chain::codec;
use event_chain::codec::encode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Format, Reading};

pub use bus::frame;
pub use chain::{block, open_genesis};
pub use stored::{IDENTITY, car, chain_log, forged_key_file};

/// Formats that are read by the same function, under the name of what reads them.
pub struct Group {
    /// The name.
    pub name: &'static str,
    /// Its formats.
    pub formats: &'static [Format],
}

/// All of them.
pub const GROUPS: [&Group; 14] = [
    &messages::MESSAGES,
    &chain::TRANSACTIONS,
    &chain::GRANTS,
    &chain::GENESES,
    &chain::STATES,
    &chain::BLOCKS,
    &chain::RECEIPTS,
    &stored::FACTS,
    &stored::JOURNALS,
    &stored::FILES,
    &bus::FRAMES,
    &bus::LOGS,
    &bus::DATABASES,
    &cloud::BODIES,
];

/// Reads what has one encoding only (DC-4).
fn canonical<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let value = codec::decode::<T>(bytes).ok_or("not canonical")?;
    assert!(encode(&value) == bytes, "two encodings of one value (DC-4)");
    Ok(value)
}

/// The same where the value itself is of no interest.
fn reading<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Reading {
    canonical::<T>(bytes).map(|value| encode(&value))
}
