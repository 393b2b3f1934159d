//! DC-5: one rule for signatures, and everybody who looks at one follows it.
//!
//! Libraries differ on signatures that nobody makes by accident: points with a part of small order, and encodings that are not canonical
//! (Chalkias, Garillot, Nikolaenko: *Taming the many EdDSAs*, 2020). Here they are made, each of them such that the verdict rests on nothing but
//! the rule: all fulfil the equation of RFC 8032 with the cofactor.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as BASE, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use device_chain::block::Seal;
use device_chain::genesis::{Genesis, GenesisError, SignedGenesis};
use device_chain::grant::{Action, Grant, SignedGrant};
use device_chain::hash::{Domain, hash_of};
use device_chain::registry::Registry;
use device_chain::sign::{statement, verify};
use device_chain::types::{Hash, PublicKey, Signature};
use ed25519_dalek::Verifier;
use event_chain::codec::encode;
use event_chain::fixture::{Car, archive_key, fleet_key};
use event_chain::receipt::{Receipt, SignedReceipt};
use sha2::{Digest, Sha512};

/// Somebody who signs oddly.
#[derive(Clone, Copy)]
struct Odd {
    name: &'static str,
    /// The rule's verdict.
    sound: bool,
    secret: Scalar,
    /// What is added to the key, and how it is written if not in the usual way.
    key: (EdwardsPoint, Option<[u8; 32]>),
    nonce: Scalar,
    /// The same of R.
    r: (EdwardsPoint, Option<[u8; 32]>),
    /// What is added to S before it is written, as often as this: the order of the group.
    more: u8,
}

impl Odd {
    fn key(&self) -> PublicKey {
        PublicKey(written(self.secret * BASE + self.key.0, self.key.1))
    }

    fn sign(&self, domain: Domain, digest: &Hash) -> Signature {
        let (key, r) = (self.key().0, written(self.nonce * BASE + self.r.0, self.r.1));
        let message = statement(domain, digest).0;
        let challenge = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize();
        let challenge = Scalar::from_bytes_mod_order_wide(&challenge.into());
        let s = self.nonce + challenge * self.secret;
        // what the rule's verdict does not rest on
        let rest = s * BASE - (self.nonce * BASE + self.r.0) - challenge * (self.secret * BASE + self.key.0);
        assert!(rest.mul_by_cofactor().is_identity(), "{}", self.name);
        Signature(r, (0..self.more).fold(s.to_bytes(), |s, _| plus_order(s)))
    }
}

fn written(point: EdwardsPoint, otherwise: Option<[u8; 32]>) -> [u8; 32] {
    otherwise.unwrap_or_else(|| point.compress().0)
}

/// A number and the order of the group, 2^252 + 27742317777372353535851937790883648493.
fn plus_order(s: [u8; 32]) -> [u8; 32] {
    let less_one = (-Scalar::ONE).to_bytes();
    let mut carry = 1; // the order is one above the largest scalar
    core::array::from_fn(|at| {
        let sum = u16::from(s[at]) + u16::from(less_one[at]) + carry;
        carry = sum >> 8;
        sum as u8
    })
}

/// Points of small order that are not written canonically, with what a lenient reader takes them for: y is 1 or 0 above p, or x is a negative zero.
fn not_canonical() -> Vec<(EdwardsPoint, [u8; 32])> {
    let p = {
        let mut p = [0xff; 32];
        (p[0], p[31]) = (0xed, 0x7f);
        p
    };
    let with = |low: u8, sign: u8| {
        let mut bytes = p;
        bytes[0] += low;
        bytes[31] |= sign;
        bytes
    };
    let mut negative_one = [0; 32];
    (negative_one[0], negative_one[31]) = (1, 0x80);
    let mut negative_two = with(0, 0x80);
    negative_two[0] -= 1;
    [with(0, 0), with(0, 0x80), with(1, 0), with(1, 0x80), negative_one, negative_two]
        .map(|bytes| (CompressedEdwardsY(bytes).decompress().expect("a lenient reader"), bytes))
        .to_vec()
}

fn odd() -> Vec<Odd> {
    let none = (EIGHT_TORSION[0], None);
    let honest = Odd {
        name: "as everybody signs",
        sound: true,
        secret: Scalar::from(0x5ec2e7u32),
        key: none,
        nonce: Scalar::from(0x0ddu32),
        r: none,
        more: 0,
    };
    let mut all = vec![honest];
    for torsion in &EIGHT_TORSION[1..] {
        let part = (*torsion, None);
        all.push(Odd { name: "a key with a part of small order", key: part, ..honest });
        all.push(Odd { name: "R with a part of small order", r: part, ..honest });
        all.push(Odd { name: "both with a part of small order", key: part, r: part, ..honest });
    }
    let refused = Odd { sound: false, ..honest };
    for torsion in EIGHT_TORSION {
        let part = (torsion, None);
        all.push(Odd { name: "a key of small order", secret: Scalar::ZERO, key: part, ..refused });
        all.push(Odd { name: "R of small order", nonce: Scalar::ZERO, r: part, ..refused });
        let nothing = Odd { secret: Scalar::ZERO, nonce: Scalar::ZERO, ..refused };
        all.push(Odd { name: "both of small order, S zero", key: part, r: part, ..nothing });
        all.push(Odd {
            name: "R of small order, a key with a part of it",
            nonce: Scalar::ZERO,
            r: part,
            key: part,
            ..refused
        });
    }
    for (point, bytes) in not_canonical() {
        let part = (point, Some(bytes));
        all.push(Odd { name: "a key not canonical", secret: Scalar::ZERO, key: part, ..refused });
        all.push(Odd { name: "R not canonical", nonce: Scalar::ZERO, r: part, ..refused });
    }
    // S is below 2^253, so that up to 15 times the order can be added
    all.extend((1..=14).map(|more| Odd { name: "S not below the order", more, ..refused }));
    all
}

/// What a car reads with keys of others in its genesis.
fn genesis_with(fleet: PublicKey, archive: PublicKey) -> Genesis {
    Car::with_authorities("ODD", fleet, archive).genesis
}

fn grant(genesis: &Genesis) -> Grant {
    let mesh = genesis.mesh();
    Grant { mesh, issuer: 0, serial: 1, action: Action::Unlock, holder: Hash::NIL, not_before: 1, not_after: 9 }
}

/// Each validator, when a grant is passed on.
fn a_grant(odd: &Odd) -> bool {
    let genesis = genesis_with(odd.key(), archive_key().public());
    let grant = grant(&genesis);
    let signed = SignedGrant { signature: odd.sign(Domain::Grant, &grant.digest()), grant };
    let [in_cloud, in_ecu] = [signed.is_genuine(&genesis), signed.is_genuine(&Registry::from(&genesis))];
    assert_eq!(in_cloud, in_ecu);
    in_ecu
}

/// The gateway as seals come, and whoever verifies a block.
fn a_seal(odd: &Odd) -> bool {
    let header = Hash([7; 32]);
    Seal { validator: 0, signature: odd.sign(Domain::Block, &header) }.is_valid(&odd.key(), &header)
}

/// Each device at its start, the processes and the chips, and the cloud.
fn a_genesis(odd: &Odd) -> bool {
    let genesis = genesis_with(fleet_key().public(), archive_key().public());
    let signature = odd.sign(Domain::Genesis, &genesis.mesh().0);
    let bytes = encode(&SignedGenesis { genesis, signature });
    let opened = SignedGenesis::open(&bytes, &odd.key()).map(|_| ());
    assert_eq!(Registry::open(&bytes, &odd.key()).map(|_| ()), opened, "process and chip");
    assert!(matches!(opened, Ok(()) | Err(GenesisError::Signature)), "{opened:?}");
    opened.is_ok()
}

/// The gateway, before it lets a block go, and the archive's checkpoint.
fn a_receipt(odd: &Odd) -> bool {
    let genesis = genesis_with(fleet_key().public(), odd.key());
    let (mesh, finality) = (genesis.mesh(), device_chain::block::Finality::Final);
    let receipt = Receipt { mesh, number: 1, block: Hash([8; 32]), finality, complete: true, time_ms: 2 };
    let signature = odd.sign(Domain::Receipt, &hash_of(Domain::Receipt, &receipt));
    SignedReceipt::open(&encode(&SignedReceipt { receipt, signature }), &genesis).is_some()
}

fn the_rule_itself(odd: &Odd) -> bool {
    let digest = Hash([9; 32]);
    verify(&odd.key(), Domain::Attested, &digest, &odd.sign(Domain::Attested, &digest))
}

#[test]
fn odd_signatures_get_one_verdict_everywhere() {
    type Way = (&'static str, fn(&Odd) -> bool);
    let ways: [Way; 5] = [
        ("the rule itself", the_rule_itself),
        ("a grant", a_grant),
        ("a seal", a_seal),
        ("a genesis", a_genesis),
        ("a receipt", a_receipt),
    ];
    for odd in odd() {
        for (way, accepts) in ways {
            assert_eq!(accepts(&odd), odd.sound, "{way}, {}, key {:02x?}", odd.name, odd.key().0);
        }
    }
}

/// What the rule is for: without the cofactor, as other libraries check, most of the sound ones are refused.
#[test]
fn without_the_cofactor_verdicts_differ() {
    let digest = Hash([9; 32]);
    let accepts = |odd: &Odd| {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&odd.key().0).expect("a point");
        let signature = ed25519_dalek::Signature::from_bytes(&odd.sign(Domain::Attested, &digest).to_bytes());
        key.verify(&statement(Domain::Attested, &digest).0, &signature).is_ok()
    };
    let odd = odd();
    let sound: Vec<&Odd> = odd.iter().filter(|odd| odd.sound).collect();
    assert!(accepts(sound[0]), "{}", sound[0].name);
    assert!(sound[1..].iter().filter(|odd| !accepts(odd)).count() > sound.len() / 2);
}
