//! The key and signature by which Ed25519 is known to be right on the chip.

use device_chain::types::{PublicKey, Signature};

/// RFC 8032, 7.1, test 2: the secret key.
pub fn seed() -> [u8; 32] {
    bytes([0x4ccd_089b_28ff_96da_9db6_c346_ec11_4e0f, 0x5b8a_319f_35ab_a624_da8c_f6ed_4fb8_a6fb])
}

/// RFC 8032, 7.1, test 2: its public key.
pub fn public() -> PublicKey {
    PublicKey(bytes([0x3d40_17c3_e843_895a_92b7_0aa7_4d1b_7ebc, 0x9c98_2ccf_2ec4_968c_c0cd_55f1_2af4_660c]))
}

/// What OpenSSL (`openssl pkeyutl -sign -rawin`) signs with it of a block's header whose hash is 32 zero bytes.
pub fn seal() -> Signature {
    Signature::from_bytes(&bytes([
        0x5922_a5d8_1295_f2ee_6444_816d_cd9e_e60a,
        0xf8c0_e21a_6633_caf5_58c5_4b67_cf8d_6cf7,
        0x1477_fab9_631f_ae7c_d2c4_3829_f18e_9a36,
        0x11fd_1e46_67ae_bc2b_80b7_9ca2_b256_0904,
    ]))
}

/// Bytes from numbers as they are printed.
fn bytes<const WORDS: usize, const N: usize>(words: [u128; WORDS]) -> [u8; N] {
    const { assert!(N == 16 * WORDS) };
    let mut bytes = [0; N];
    for (chunk, word) in bytes.chunks_exact_mut(16).zip(words) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}
