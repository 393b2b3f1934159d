//! SHA-256 against vectors of others. What this crate hashes plainly begins with a byte that says for what (RFC 9162): here that is the first
//! byte of the vector.

use super::*;
use crate::merkle::empty_root;
use crate::vectors::array;

fn sha256(message: &[u8]) -> Hash {
    message.split_first().map_or_else(empty_root, |(first, rest)| merkle(*first, &[rest]))
}

/// FIPS 180-4's examples, as NIST publishes them, and the empty message of its SHA256ShortMsg.
#[test]
#[cfg_attr(miri, ignore = "a million bytes: minutes")]
fn sha_256_of_nist() {
    let million = [b'a'; 1_000_000];
    for (message, digest) in [
        (&b""[..], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
        ),
        (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ] {
        assert_eq!(sha256(message), Hash(array(digest)), "{} bytes", message.len());
    }
}

/// NIST CAVP, SHA256Monte: 100 times 1000 hashes, each of the three before it.
#[test]
#[cfg_attr(miri, ignore = "100 000 hashes: hours")]
fn sha_256_of_nist_at_random() {
    let mut seed = Hash(array("6d1e72ad03ddeb5de891e572e2396f8da015d899ef0e79503152d6010a3fe691"));
    for count in 0..100 {
        let mut last = [seed; 3];
        for _ in 0..1000 {
            last = [last[1], last[2], sha256(&last.map(|hash| hash.0).concat())];
        }
        seed = last[2];
        if count == 0 {
            assert_eq!(seed, Hash(array("e93c330ae5447738c8aa85d71a6c80f2a58381d05872d26bdd39f1fcd4f2b788")));
        }
    }
    assert_eq!(seed, Hash(array("6a912ba4188391a78e6f13d88ed2d14e13afce9db6f7dcbf4a48c24f3db02778")));
}

/// DC-3, byte by byte: the domain, and each part, behind its length.
#[test]
fn domain_and_parts_are_framed() {
    let framed: [&[u8]; 5] = [&[14, 0, 0, 0], b"ringfort/1/nil", &[2, 0, 0, 0], &[0xab, 0xcd], &[0, 0, 0, 0]];
    assert_eq!(hash(Domain::Nil, &[&[0xab, 0xcd], &[]]), sha256(&framed.concat()));
}
