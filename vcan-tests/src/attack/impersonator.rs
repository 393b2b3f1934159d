//! The impersonator: speaks on an ECU's identifiers, as a manipulated infotainment unit or a dongle would.

use anyhow::Result;
use device_chain::genesis::{Genesis, RawIdentifier};
use device_chain::types::ValidatorIndex;
use device_chain::wire::{Class, Header, Kind};

use super::forger::forge;
use super::{Sent, identifier};
use crate::bus::Tap;

/// Votes and asks in the name of `victim`, `count` times each; returns the identifier on which it asked.
///
/// # Errors
/// The bus is gone.
pub async fn impersonate(
    tap: &mut Tap,
    genesis: &Genesis,
    victim: ValidatorIndex,
    count: u32,
) -> Result<(RawIdentifier, Sent)> {
    let mut sent = Sent::default();
    for height in 0..count {
        forge(tap, genesis, victim, Header::new(Kind::Prevote, height).hint(None), &[], &mut sent).await?;
        forge(tap, genesis, victim, Header::new(Kind::Sync, height), &[], &mut sent).await?;
    }
    Ok((identifier(genesis, victim, Class::Control)?, sent))
}
