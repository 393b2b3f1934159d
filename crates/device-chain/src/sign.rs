//! The one signature rule of the whole system (DC-5): ECU, gateway and cloud call [`verify`].
//!
//! Ed25519 (RFC 8032), cofactored verification, S canonical, public key and R canonical and not of small order. Cofactored
//! on purpose: libraries differ on torsion, and one rule everywhere is what keeps verdicts equal.

use ed25519_compact as ed;

use crate::hash::Domain;
use crate::hash::hash;
use crate::mac::Key;
use crate::types::{Hash, PublicKey, Signature};

/// What is signed: a digest that already holds domain and mesh, in a domain of its own. For whoever signs outside of this
/// crate, as an HSM does.
#[must_use]
pub fn statement(domain: Domain, digest: &Hash) -> Hash {
    hash(domain, &[b"signature", &digest.0])
}

/// Whether `signature` by `key` says `digest` in `domain`.
#[must_use]
pub fn verify(key: &PublicKey, domain: Domain, digest: &Hash, signature: &Signature) -> bool {
    let mut points = points(key, signature);
    points.as_mut().is_ok_and(|state| {
        state.absorb(statement(domain, digest).0);
        is_sum(state)
    })
}

/// First half of a verification: the points of key and signature. Each half needs much of a chip's stack, and not while
/// the other one has it.
#[inline(never)]
fn points(key: &PublicKey, signature: &Signature) -> Result<ed::VerifyingState, ed::Error> {
    ed::PublicKey::new(key.0).verify_incremental(&ed::Signature::new(signature.to_bytes()))
}

/// Second half: whether they fit the scalars.
#[inline(never)]
fn is_sum(state: &ed::VerifyingState) -> bool {
    state.verify().is_ok()
}

/// An Ed25519 key pair, made from a 32-byte seed. No `Debug`; wiped on drop.
pub struct SigningKey(ed::SecretKey); // the seed with the public half behind it: making that anew takes as long as signing

impl SigningKey {
    /// From a seed of 32 random bytes (RFC 8032 5.1.5).
    ///
    /// # Panics
    /// If they are all zeros, which no randomness is: whoever reads a seed refuses that.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed::KeyPair::from_seed(ed::Seed::new(seed)).sk)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.public_key())
    }

    /// Says `digest` in `domain`. Deterministic (RFC 8032).
    #[must_use]
    pub fn sign(&self, domain: Domain, digest: &Hash) -> Signature {
        Signature::from_bytes(&self.0.sign(statement(domain, digest).0, None))
    }

    /// The pairwise key of this device and `peer` in the mesh whose maker and vehicle `context` names: X25519 (RFC 7748)
    /// between the identities, hashed with both public keys in order. Computed once, when a device is admitted (DC-20).
    ///
    /// `None` if the peer's key is weak.
    #[must_use]
    pub fn pair_key(&self, peer: &PublicKey, context: &Hash) -> Option<Key> {
        let secret = ed::x25519::SecretKey::from_ed25519(&self.0).ok()?;
        let public = ed::x25519::PublicKey::from_ed25519(&ed::PublicKey::new(peer.0)).ok()?;
        let shared = public.dh(&secret).ok()?;
        let own = &self.public();
        let (low, high) = if own.0 < peer.0 { (own, peer) } else { (peer, own) };
        let key = hash(Domain::PairKey, &[&*shared, &context.0, &low.0, &high.0]);
        Some(Key::new(key.0))
    }
}

impl SigningKey {
    /// What this identity shares with the holder of an X25519 key (DC-24), before it is hashed. `None` if that key is weak.
    #[must_use]
    pub(crate) fn agree(&self, public: &[u8; 32]) -> Option<Key> {
        let secret = ed::x25519::SecretKey::from_ed25519(&self.0).ok()?;
        let shared = ed::x25519::PublicKey::new(*public).dh(&secret).ok()?;
        Some(Key::new(*shared))
    }
}

/// The same from the other side: what the holder of an X25519 secret shares with an identity.
pub(crate) fn agree(secret: &[u8; 32], peer: &PublicKey) -> Option<Key> {
    let public = ed::x25519::PublicKey::from_ed25519(&ed::PublicKey::new(peer.0)).ok()?;
    let shared = public.dh(&ed::x25519::SecretKey::new(*secret)).ok()?;
    Some(Key::new(*shared))
}

/// The public half of an X25519 secret (RFC 7748 6.1).
pub(crate) fn public_half(secret: &[u8; 32]) -> [u8; 32] {
    let product = ed::x25519::PublicKey::base_point().dh(&ed::x25519::SecretKey::new(*secret));
    product.map_or([0; 32], |product| *product)
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Ed25519: minutes")]
    fn a_signature_is_bound_to_key_domain_and_digest() {
        let key = SigningKey::from_seed([7; 32]);
        let other = SigningKey::from_seed([8; 32]);
        let digest = hash(Domain::Grant, &[b"x"]);
        let signature = key.sign(Domain::Grant, &digest);
        assert!(verify(&key.public(), Domain::Grant, &digest, &signature));
        assert!(!verify(&other.public(), Domain::Grant, &digest, &signature));
        assert!(!verify(&key.public(), Domain::Block, &digest, &signature));
        assert!(!verify(&key.public(), Domain::Grant, &Hash::NIL, &signature));
    }

    #[test]
    fn weak_and_malformed_keys_and_signatures_are_refused() {
        let digest = hash(Domain::Grant, &[b"x"]);
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut order_l = [0u8; 32]; // S = L: not canonical
        order_l.copy_from_slice(&[
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ]);
        for (key, signature) in [
            (identity, Signature(identity, [0; 32])),
            ([0; 32], Signature(identity, [0; 32])),
            ([0xff; 32], Signature(identity, [0; 32])),
            (SigningKey::from_seed([1; 32]).public().0, Signature(identity, order_l)),
        ] {
            assert!(!verify(&PublicKey(key), Domain::Grant, &digest, &signature));
        }
    }

    #[test]
    fn both_sides_get_the_same_pairwise_key() {
        let (a, b) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
        let (ab, ba) =
            (a.pair_key(&b.public(), &Hash::NIL).expect("sound"), b.pair_key(&a.public(), &Hash::NIL).expect("sound"));
        assert!(ab.same(&ba));
        assert!(a.pair_key(&PublicKey([0; 32]), &Hash::NIL).is_none());
    }
}
