//! The replayer: records votes and sends them again, byte for byte.

use std::time::Duration;

use anyhow::Result;
use can_bus::Frame;
use device_chain::genesis::Genesis;
use device_chain::types::ValidatorIndex;
use device_chain::wire::{Class, Header};

use super::{Sent, identifier};
use crate::bus::Tap;

/// How long nobody has spoken before a frame is sent: longer than between the frames of an approval.
const PAUSE: Duration = Duration::from_millis(5);

/// Genuine votes, as they were on the wire.
pub struct Recording(Vec<(ValidatorIndex, Frame)>);

/// Records the next `count` votes of the given validators.
///
/// # Errors
/// The bus is gone.
pub async fn record(tap: &mut Tap, genesis: &Genesis, names: &[ValidatorIndex], count: usize) -> Result<Recording> {
    let mut votes = Vec::new();
    let ids = names.iter().map(|name| Ok((identifier(genesis, *name, Class::Vote)?, *name)));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    while votes.len() < count {
        let frame = tap.hear().await?;
        let owner = ids.iter().find(|(id, _)| *id == frame.raw_id()).map(|(_, name)| *name);
        if let (Some(owner), Some(_)) = (owner, Header::parse(frame.data())) {
            votes.push((owner, frame));
        }
    }
    Ok(Recording(votes))
}

/// Sends everything that was recorded.
///
/// # Errors
/// The bus is gone.
pub async fn replay(tap: &mut Tap, recording: &Recording) -> Result<Sent> {
    let mut sent = Sent::default();
    for (owner, frame) in &recording.0 {
        // two that send one identifier at once destroy each other's frames, and an owner that is sending hears nothing
        tap.hear_silence(PAUSE).await?;
        tap.send(*frame).await?;
        sent.count(*owner, 1);
    }
    Ok(sent)
}
