//! An archive's receipt: the only thing on which a car lets go of a block.

use device_chain::block::Finality;
use device_chain::codec;
use device_chain::genesis::{Authority, Genesis};
use device_chain::hash::{Domain, hash_of};
use device_chain::sign::{self, SigningKey};
use device_chain::types::{Hash, MeshId, Signature};
use serde::{Deserialize, Serialize};

/// Bytes of an encoded receipt at most (tested).
pub const MAX_RECEIPT: usize = 192;

/// What an archive says of a block that it has verified from the genesis and stored durably. As the hash covers the
/// chain before, it speaks for all blocks up to this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The car.
    pub mesh: MeshId,
    /// The block.
    pub number: u32,
    /// Its header's hash.
    pub block: Hash,
    /// By the seals that were there.
    pub finality: Finality,
    /// Whether the records that the gateway alone attests are stored, too.
    pub complete: bool,
    /// The archive's clock, milliseconds of Unix time.
    pub time_ms: u64,
}

/// A receipt with the archive's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// What is signed.
    pub receipt: Receipt,
    /// By an archive authority of the genesis.
    pub signature: Signature,
}

impl SignedReceipt {
    /// Signs as an archive.
    #[must_use]
    pub fn sign(receipt: Receipt, archive: &SigningKey) -> Self {
        let signature = archive.sign(Domain::Receipt, &hash_of(Domain::Receipt, &receipt));
        Self { receipt, signature }
    }

    /// From canonical bytes that an archive authority of `genesis` has signed for this car; `None` for all else.
    #[must_use]
    pub fn open(bytes: &[u8], genesis: &Genesis) -> Option<Receipt> {
        if bytes.len() > MAX_RECEIPT {
            return None;
        }
        let Self { receipt, signature } = codec::decode(bytes)?;
        let digest = hash_of(Domain::Receipt, &receipt);
        let mut archives = genesis.keys_of(Authority::Archive);
        let signed = archives.any(|key| sign::verify(key, Domain::Receipt, &digest, &signature));
        (receipt.mesh == genesis.mesh() && signed).then_some(receipt)
    }
}
