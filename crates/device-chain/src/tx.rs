//! What the mesh decides: one transaction a height.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::block::BlockHeader;
use crate::codec;
use crate::flaw::Flaw;
use crate::genesis::RawIdentifier;
use crate::grant::GrantUse;
use crate::hash::{Domain, hash};
use crate::keys::Device;
use crate::limits::{MAX_RECORD_DATA, MAX_TX};
use crate::order::Order;
use crate::types::{Hash, Height, MeshId, ValidatorIndex};

/// Encoded transaction.
pub type TxBytes = Vec<u8, MAX_TX>;

/// A transaction. Append variants, never reorder: the encoding is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transaction {
    /// Uses a grant that every voter has verified before (DC-40).
    UseGrant(GrantUse),
    /// A record of an endpoint that every voter has verified itself (DC-42).
    Record {
        /// Place in the genesis.
        endpoint: u8,
        /// Rises with every record of the endpoint, across its reboots.
        sequence: u64,
        /// What it says.
        data: Vec<u8, MAX_RECORD_DATA>,
    },
    /// An identifier is sent by somebody who is not its owner. Accuses no device (DC-44).
    Alarm {
        /// The abused identifier.
        identifier: RawIdentifier,
        /// Frames seen so far by the owner.
        count: u32,
    },
    /// Closes a block of the Event Chain (DC-50).
    EventBlock(BlockHeader),
    /// Lets a validator vote again that had lost its memory (DC-34).
    Readmit {
        /// Who comes back.
        validator: ValidatorIndex,
        /// The nonce of its present boot.
        nonce: u64,
    },
    /// Nothing. Lets a height end on which no proposal can be agreed on; only in rounds from 1 on (V3).
    Skip,
    /// A member is silent: from the next height on its vote is not needed (R1 to R4).
    Suspend {
        /// Who.
        validator: ValidatorIndex,
    },
    /// A suspended one is back and at the present: from the next height on its vote counts again.
    Resume {
        /// Who.
        validator: ValidatorIndex,
    },
    /// Who belongs to the car changes, by an order whose signatures every voter has checked before (DC-46).
    Change(Order),
    /// A device has said which firmware it runs, and the chain did not know (DC-47).
    Firmware {
        /// Which.
        device: Device,
        /// Digest of what it runs.
        firmware: Hash,
    },
    /// It is later than what was agreed on last (DC-61, DC-62).
    Time {
        /// Milliseconds of Unix time.
        ms: u64,
    },
    /// A validator brings a new key, by which every other one makes its pairwise key with it anew (DC-24).
    Refresh {
        /// Whose.
        validator: ValidatorIndex,
        /// X25519 (RFC 7748), public.
        key: [u8; 32],
    },
}

impl Transaction {
    /// Canonical bytes. `None` only if they exceed [`MAX_TX`], which no variant does (tested).
    #[must_use]
    pub fn encode(&self) -> Option<TxBytes> {
        codec::encode_vec(self)
    }

    /// From canonical bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_TX { None } else { codec::decode(bytes) }
    }

    /// One word for logs and status.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UseGrant(_) => "use-grant",
            Self::Record { .. } => "record",
            Self::Alarm { .. } => "alarm",
            Self::EventBlock(_) => "event-block",
            Self::Readmit { .. } => "readmit",
            Self::Skip => "skip",
            Self::Suspend { .. } => "suspend",
            Self::Resume { .. } => "resume",
            Self::Change(order) => order.change.name(),
            Self::Firmware { .. } => "firmware",
            Self::Time { .. } => "time",
            Self::Refresh { .. } => "refresh",
        }
    }
}

/// The hash of a decision: what votes name, and the leaf of the tree of decisions (DC-6).
#[must_use]
pub fn decision_hash(mesh: &MeshId, height: Height, parent: &Hash, tx: &[u8]) -> Hash {
    let parent = if Flaw::UnboundParent.is_at_work() { &Hash::NIL } else { parent };
    hash(Domain::Decision, &[&mesh.0.0, &height.to_le_bytes(), &parent.0, tx])
}

/// What the tags of votes for nil cover in place of a decision's hash, so that they, too, are of one history only (M2).
#[must_use]
pub fn nil_subject(parent: &Hash) -> Hash {
    hash(Domain::Nil, &[&parent.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Finality;
    use crate::genesis::Identity;
    use crate::grant::Action;
    use crate::members::Members;
    use crate::order::Change;
    use crate::types::PublicKey;

    #[test]
    fn the_largest_transactions_fit() {
        let header = BlockHeader {
            number: u32::MAX,
            previous: Hash([255; 32]),
            tree_size: u32::MAX,
            tree_root: Hash([255; 32]),
            attested_root: Hash([255; 32]),
            attested_count: u32::MAX,
            finality: Finality::Final,
            members: Members::all(8),
            time_ms: u64::MAX,
        };
        let largest = [
            Transaction::EventBlock(header),
            Transaction::UseGrant(GrantUse {
                digest: Hash([255; 32]),
                issuer: 255,
                serial: u64::MAX,
                action: Action::Lock,
                not_after: u32::MAX,
            }),
            Transaction::Record { endpoint: 255, sequence: u64::MAX, data: [255; MAX_RECORD_DATA].into() },
            Transaction::Alarm { identifier: u32::MAX, count: u32::MAX },
            Transaction::Readmit { validator: 255, nonce: u64::MAX },
            Transaction::Skip,
            Transaction::Suspend { validator: 255 },
            Transaction::Resume { validator: 255 },
            Transaction::Change(Order {
                change: Change::Provision {
                    device: Device::Endpoint(255),
                    identity: Identity::A(PublicKey([255; 32])),
                    firmware: Hash([255; 32]),
                    identifier: u32::MAX,
                },
                generation: u16::MAX,
                not_after: u32::MAX,
            }),
            Transaction::Firmware { device: Device::Endpoint(255), firmware: Hash([255; 32]) },
            Transaction::Time { ms: u64::MAX },
            Transaction::Refresh { validator: 255, key: [255; 32] },
        ];
        for tx in largest {
            let bytes = tx.encode().expect("fits");
            assert_eq!(Transaction::decode(&bytes), Some(tx));
        }
    }
}
