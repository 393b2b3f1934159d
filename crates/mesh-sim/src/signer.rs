//! Ed25519 made faster than on a chip: a signature is a function of key and statement (RFC 8032), so that another library
//! makes the bytes that the product's own signer makes. Checking is left to the one rule of the product (DC-5).

use device_chain::hash::Domain;
use device_chain::sign::statement;
use device_chain::types::{Hash, Signature};
use ed25519_dalek::Signer as _;

/// A key that signs.
pub struct Signer(ed25519_dalek::SigningKey);

impl Signer {
    /// From a seed, as [`device_chain::sign::SigningKey::from_seed`].
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// Says `digest` in `domain`.
    #[must_use]
    pub fn sign(&self, domain: Domain, digest: &Hash) -> Signature {
        Signature::from_bytes(&self.0.sign(&statement(domain, digest).0).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use device_chain::sign::SigningKey;

    use super::*;

    #[test]
    fn it_signs_as_the_product_does() {
        for at in 1..32 {
            let (seed, digest) = ([at; 32], Hash([at ^ 0x55; 32]));
            for domain in [Domain::Block, Domain::Grant] {
                let (fast, product) = (Signer::from_seed(seed), SigningKey::from_seed(seed));
                assert_eq!(fast.sign(domain, &digest), product.sign(domain, &digest));
            }
        }
    }
}
