//! What a status display shows of the chain.

use device_chain::types::Height;
use serde::{Deserialize, Serialize};

use super::Chain;

/// The chain, for people and machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainStatus {
    /// Decisions known.
    pub height: Height,
    /// Blocks that the mesh has approved.
    pub blocks: u32,
    /// Decisions in the open block.
    pub open_decisions: usize,
    /// Records in the open block.
    pub open_records: usize,
    /// Whether its header is waiting to be decided.
    pub proposed: bool,
    /// The newest closed block.
    pub sealing: Option<SealingStatus>,
    /// Seals that their validators did not make.
    pub bad_seals: u64,
    /// Records that found no room.
    pub dropped_records: u64,
    /// Why no block can follow any more.
    pub broken: Option<String>,
}

/// The newest closed block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealingStatus {
    /// Its number.
    pub block: u32,
    /// Valid seals.
    pub seals: usize,
    /// Seals that make it final.
    pub quorum: usize,
    /// Whether the uplink has it.
    pub forwarded: bool,
}

impl Chain {
    /// A picture of the chain.
    #[must_use]
    pub fn status(&self) -> ChainStatus {
        let kept = &self.kept;
        ChainStatus {
            height: kept.state.height(),
            blocks: kept.state.event().number,
            open_decisions: kept.builder.decisions(),
            open_records: kept.builder.attested(),
            proposed: kept.proposed.is_some(),
            sealing: kept.sealing.as_ref().map(|sealing| SealingStatus {
                block: sealing.block.header.number,
                seals: sealing.block.counted_seals(),
                quorum: sealing.block.header.members.quorum(&self.genesis).votes(),
                forwarded: sealing.forwarded.is_some(),
            }),
            bad_seals: self.bad_seals,
            dropped_records: self.dropped_records,
            broken: self.broken.as_ref().map(ToString::to_string),
        }
    }
}
