//! The forger: every byte of its messages is right but for the tags, which only a key could make.

use anyhow::{Context, Result};
use device_chain::codec;
use device_chain::genesis::{Authority, Genesis};
use device_chain::grant::{Action, Grant, SignedGrant};
use device_chain::tx::{Transaction, decision_hash};
use device_chain::types::{Hash, Height, Signature, ValidatorIndex};
use device_chain::wire::{Header, Kind, tags_len};

use super::{Sent, frames, overhear_head, random};
use crate::bus::Tap;

/// Votes, proposals, grants and DECIDED of the height that the mesh is at, `rounds` times under each of the names.
///
/// # Errors
/// The bus is gone.
pub async fn forge_agreement(tap: &mut Tap, genesis: &Genesis, names: &[ValidatorIndex], rounds: u32) -> Result<Sent> {
    let mut sent = Sent::default();
    for _ in 0..rounds {
        let head = overhear_head(tap, genesis).await?;
        let (grant, order) = forged_grant(genesis, head)?;
        let value = decision_hash(&genesis.mesh(), head + 1, &Hash(random()?), &order);
        for name in names {
            for kind in [Kind::Prevote, Kind::Ready, Kind::Precommit] {
                for hint in [None, Some((*name, &value))] {
                    let header = Header::new(kind, head + 1).hint(hint);
                    forge(tap, genesis, *name, header, &[], &mut sent).await?;
                }
            }
            let header = Header::new(Kind::Propose, head + 1).hint(Some((*name, &value)));
            forge(tap, genesis, *name, header, &order, &mut sent).await?;
            forge(tap, genesis, *name, Header::new(Kind::Grant, head), &grant, &mut sent).await?;
            let header = Header::new(Kind::Decided, head).hint(Some((0, &value)));
            forge(tap, genesis, *name, header, &[], &mut sent).await?;
        }
    }
    Ok(sent)
}

/// HELLO, CONFIRM and SYNC, `rounds` times under each of the names: what any of them adds to the counters does not
/// depend on what the mesh does meanwhile.
///
/// # Errors
/// The bus is gone.
pub async fn forge_sessions(tap: &mut Tap, genesis: &Genesis, names: &[ValidatorIndex], rounds: u32) -> Result<Sent> {
    let mut sent = Sent::default();
    for _ in 0..rounds {
        let head = overhear_head(tap, genesis).await?;
        for name in names {
            let hello = Header::new(Kind::Hello, u32::MAX).with_nonce(u64::from_le_bytes(random()?));
            let mut confirm = Header::new(Kind::Confirm, head);
            confirm.hint = u16::MAX; // "I know everybody"
            for header in [hello, confirm, Header::new(Kind::Sync, head)] {
                forge(tap, genesis, *name, header, &[], &mut sent).await?;
            }
        }
    }
    Ok(sent)
}

/// Sends one message with the header and body that `name` would send, and tags that nobody made.
pub(super) async fn forge(
    tap: &mut Tap,
    genesis: &Genesis,
    name: ValidatorIndex,
    header: Header,
    body: &[u8],
    sent: &mut Sent,
) -> Result<()> {
    let mut header = Header { mesh: genesis.mesh().short(), suite: genesis.suite.code(), sender: name, ..header };
    if header.kind != Kind::Hello {
        // any counter that was not used yet
        header.counter = u32::from_le_bytes(random()?) | 1 << 31;
    }
    let tags: [u8; 64] = random()?;
    let tags = tags.get(..tags_len(header.kind, genesis.validators.len(), genesis.tag_len())).context("tags")?;
    let message = [&header.to_bytes()[..], body, tags].concat();
    let frames = frames(genesis, &header, &message)?;
    sent.count(name, frames.len());
    for frame in frames {
        tap.send(frame).await?;
    }
    Ok(())
}

/// A grant that no authority signed, and the transaction that would use it.
pub(super) fn forged_grant(genesis: &Genesis, head: Height) -> Result<(Vec<u8>, Vec<u8>)> {
    let fleet = genesis.authorities.iter().position(|entry| entry.authority == Authority::Fleet);
    let grant = Grant {
        mesh: genesis.mesh(),
        issuer: fleet.context("no fleet authority")? as u8,
        serial: u64::MAX,
        action: Action::Unlock,
        holder: Hash(random()?),
        not_before: 0,
        not_after: head + 1_000_000,
    };
    let order = Transaction::UseGrant(grant.usage()).encode().context("a transaction too long")?;
    let signed = SignedGrant { grant, signature: Signature::from_bytes(&random()?) };
    let mut buffer = [0; device_chain::limits::MAX_GRANT];
    let signed = codec::encode(&signed, &mut buffer).context("a grant too long")?;
    Ok((signed.to_vec(), order.to_vec()))
}
