//! Attackers, one file each. All but the last have no keys.
//!
//! What a frame of theirs adds to the counters of a validator that receives it:
//!
//! | frame | counter |
//! |---|---|
//! | HELLO, CONFIRM, SYNC with wrong tags | `bad_tag`, one each |
//! | the same with votes, PROPOSE, DECIDED, GRANT | `bad_tag`; `stale` or `held` where the mesh has moved on meanwhile; `segments` where it met a genuine message of that identifier |
//! | a recorded vote | `replayed`; after the receiver's reboot `stale` or `bad_tag` |
//! | anything on an own identifier | `impostor`, one for each frame, and none of the others |

pub mod forger;
pub mod impersonator;
pub mod lying_gateway;
pub mod replayer;

use anyhow::{Context, Result};
use can_bus::Frame;
use can_bus::frame::{MAX_FD, id_from_raw};
use can_bus::segment::{Prefix, segments};
use device_chain::genesis::{Genesis, RawIdentifier};
use device_chain::limits::MAX_VALIDATORS;
use device_chain::types::{Height, ValidatorIndex};
use device_chain::wire::{Class, Header, Kind};

use crate::bus::Tap;

/// What was sent under the name of each validator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    messages: [u64; MAX_VALIDATORS],
    frames: [u64; MAX_VALIDATORS],
}

impl Sent {
    fn count(&mut self, owner: ValidatorIndex, frames: usize) {
        self.messages[usize::from(owner)] += 1;
        self.frames[usize::from(owner)] += frames as u64;
    }

    /// Messages under the names of others than `receiver`.
    #[must_use]
    pub fn messages_to(&self, receiver: ValidatorIndex) -> u64 {
        self.messages.iter().sum::<u64>() - self.messages[usize::from(receiver)]
    }

    /// Frames on the identifiers of `owner`.
    #[must_use]
    pub const fn frames_as(&self, owner: ValidatorIndex) -> u64 {
        self.frames[owner as usize]
    }

    /// All frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames.iter().sum()
    }
}

/// The identifier of a validator for a class of messages.
fn identifier(genesis: &Genesis, owner: ValidatorIndex, class: Class) -> Result<RawIdentifier> {
    let owner = genesis.validators.get(usize::from(owner)).context("no such validator")?;
    Ok(owner.identifiers.of(class))
}

/// A message as the frames in which its sender would send it.
fn frames(genesis: &Genesis, header: &Header, message: &[u8]) -> Result<Vec<Frame>> {
    let id = id_from_raw(identifier(genesis, header.sender, header.kind.class())?).context("no identifier")?;
    if header.kind.body_len().is_some() && message.len() <= MAX_FD {
        return Ok(vec![Frame::fd_padded(id, message)?]);
    }
    let prefix = Prefix::parse(message).context("a message without a header")?;
    let transfer = header.counter as u8;
    segments(prefix, transfer, message)?.map(|payload| Ok(Frame::fd(id, &payload)?)).collect()
}

/// Learns the height of the mesh by listening, as anybody on the bus can.
///
/// # Errors
/// The bus is gone.
async fn overhear_head(tap: &mut Tap, genesis: &Genesis) -> Result<Height> {
    loop {
        let heard = tap.hear().await?;
        let header = Header::parse(heard.data()).filter(|header| header.mesh == genesis.mesh().short());
        if let Some(header) = header.filter(|header| header.kind == Kind::Decided) {
            return Ok(header.height);
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system has no randomness")?;
    Ok(bytes)
}
