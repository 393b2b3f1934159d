//! The file of an order.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `RINGORD` and the version, 1 |
//! | 32 | mesh identity |
//! | … | the order, the signatures with whose they are (postcard) |

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use device_chain::codec;
use device_chain::limits::MAX_AUTHORITIES;
use device_chain::order::{Endorsement, Order, Signer};
use device_chain::sign::SigningKey;
use device_chain::types::{Hash, MeshId, Signature};

use super::super::files;

const MAGIC: &[u8; 8] = b"RINGORD\x01";
/// Longest file.
pub const MAX_LENGTH: u64 = 2048;
/// Everybody who can sign: keys outside the car, the device that comes, the device that is there.
const MAX_SIGNATURES: usize = MAX_AUTHORITIES + 2;

/// An order with the signatures that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderFile {
    /// The car that it is for.
    pub mesh: MeshId,
    /// The order.
    pub order: Order,
    /// Who has signed.
    pub signatures: Vec<(Signer, Signature)>,
}

impl OrderFile {
    /// Reads an order.
    ///
    /// # Errors
    /// The file cannot be read or is no order.
    pub fn read(path: &Path) -> Result<Self> {
        Self::decode(&files::read(path, MAX_LENGTH)?).with_context(|| path.display().to_string())
    }

    /// From the bytes of a file.
    ///
    /// # Errors
    /// They are no order.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let rest = bytes.strip_prefix(MAGIC).context("no order: it does not begin as one")?;
        let (mesh, mut rest) = rest.split_first_chunk().context("no order: cut short")?;
        let order = codec::take(&mut rest).context("no order, or of another version")?;
        let mut signatures = heapless::Vec::<_, MAX_SIGNATURES>::new();
        codec::take_list(&mut rest, &mut signatures).context("no list of signatures, or a damaged one")?;
        ensure!(rest.is_empty(), "something follows the signatures");
        Ok(Self { mesh: MeshId(Hash(*mesh)), order, signatures: signatures.to_vec() })
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &self.mesh.0.0].concat();
        codec::feed(&self.order, |part| bytes.extend_from_slice(part));
        codec::feed(&self.signatures, |part| bytes.extend_from_slice(part));
        bytes
    }

    /// Signs it, once for each signer.
    ///
    /// # Errors
    /// That one has signed it already.
    pub fn sign(&mut self, signer: Signer, key: &SigningKey) -> Result<()> {
        if self.signatures.iter().any(|(known, _)| *known == signer) {
            bail!("{signer:?} has signed it already");
        }
        self.signatures.push((signer, Endorsement::sign(&self.mesh, self.order, signer, key).signature));
        Ok(())
    }

    /// What a validator is given, one signature at a time.
    pub fn endorsements(&self) -> impl Iterator<Item = Endorsement> + '_ {
        self.signatures.iter().map(|(signer, signature)| Endorsement {
            order: self.order,
            signer: *signer,
            signature: *signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use device_chain::keys::Device;
    use device_chain::order::Change;

    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_written_and_nothing_else_is() {
        let order = Order { change: Change::Revoke { device: Device::Endpoint(7) }, generation: 3, not_after: 900 };
        let mut file = OrderFile { mesh: MeshId(Hash([5; 32])), order, signatures: Vec::new() };
        let key = SigningKey::from_seed([9; 32]);
        file.sign(Signer::Authority(1), &key).unwrap();
        assert!(file.sign(Signer::Authority(1), &key).is_err(), "twice");
        file.sign(Signer::Newcomer, &key).unwrap();
        let bytes = file.encode();
        assert_eq!(OrderFile::decode(&bytes).unwrap(), file);
        assert!(file.endorsements().all(|endorsement| endorsement.is_genuine(&file.mesh, &key.public())));
        for cut in 0..bytes.len() {
            assert!(OrderFile::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(OrderFile::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
