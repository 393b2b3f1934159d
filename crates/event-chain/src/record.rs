//! What only the gateway saw, and how much anybody may believe of what a block holds.

use core::fmt;

use device_chain::genesis::RawIdentifier;
use device_chain::grant::SignedGrant;
use device_chain::hash::{Domain, hash_of};
use device_chain::merkle::leaf;
use device_chain::types::{Hash, Height, MeshId};
use serde::{Deserialize, Serialize};

/// Bytes of a text: two DBC names of 32 characters and what joins them.
pub const MAX_TEXT: usize = 80;
/// Bytes of an encoded record, whatever its kind (tested).
pub const MAX_RECORD_BYTES: usize = 192;

/// A short text.
pub type Text = heapless::String<MAX_TEXT>;

/// A record that the gateway alone attests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttestedRecord {
    /// The gateway's clock, milliseconds of Unix time.
    pub time_ms: u64,
    /// What it saw.
    pub kind: RecordKind,
}

/// What a gateway can attest. Append variants, never reorder: the encoding is hashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RecordKind {
    /// A decoded signal of the car's own traffic.
    Signal {
        /// Message and signal, as the DBC names them.
        name: Text,
        /// Physical value.
        value: f64,
    },
    /// A grant that came from the cloud.
    Grant(SignedGrant),
    /// Traffic on one of the car's own segments that the gateway objects to.
    SegmentAlarm {
        /// Name of the segment.
        segment: Text,
        /// The identifier.
        identifier: RawIdentifier,
        /// Frames seen so far.
        frames: u32,
    },
    /// Anything else worth a line.
    Note(Text),
}

impl AttestedRecord {
    /// The record's leaf in the tree under [`device_chain::block::BlockHeader::attested_root`].
    #[must_use]
    pub fn leaf(&self, mesh: &MeshId) -> Hash {
        leaf(&hash_of(Domain::Attested, &(mesh, self)).0)
    }
}

/// Who stands behind a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attestation {
    /// The mesh decided it at this height.
    Quorum(Height),
    /// Only the gateway says so.
    GatewayAlone,
}

impl fmt::Display for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quorum(height) => write!(f, "quorum at height {height}"),
            Self::GatewayAlone => f.write_str("gateway alone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use device_chain::grant::{Action, Grant};
    use device_chain::types::Signature;

    use super::*;
    use crate::codec::encode;

    #[test]
    fn the_largest_records_fit() {
        let text: Text = core::iter::repeat_n('x', MAX_TEXT).collect();
        let grant = Grant {
            mesh: MeshId(Hash([255; 32])),
            issuer: u8::MAX,
            serial: u64::MAX,
            action: Action::Lock,
            holder: Hash([255; 32]),
            not_before: u32::MAX,
            not_after: u32::MAX,
        };
        for kind in [
            RecordKind::Signal { name: text.clone(), value: f64::MIN },
            RecordKind::Grant(SignedGrant { grant, signature: Signature([255; 32], [255; 32]) }),
            RecordKind::SegmentAlarm { segment: text.clone(), identifier: u32::MAX, frames: u32::MAX },
            RecordKind::Note(text),
        ] {
            let bytes = encode(&AttestedRecord { time_ms: u64::MAX, kind });
            assert!(bytes.len() <= MAX_RECORD_BYTES, "{} bytes", bytes.len());
        }
    }
}
