//! What an SHE does with AES-128 (AUTOSAR Specification of Secure Hardware Extensions, 3.3).

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt};
use cmac::{Cmac, KeyInit, Mac};

/// A block of AES.
pub type Block = [u8; 16];

/// What keys are derived with; the padding of the compression function is a part of each.
pub const KEY_UPDATE_ENC_C: Block = constant(1);
pub const KEY_UPDATE_MAC_C: Block = constant(2);
pub const PRNG_KEY_C: Block = constant(4);
pub const PRNG_SEED_KEY_C: Block = constant(5);

/// `01`, the number, `SHE`, one bit, and the length of what is compressed.
const fn constant(number: u8) -> Block {
    [1, number, b'S', b'H', b'E', 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0xB0]
}

/// One block.
pub fn encrypt(key: &Block, block: &Block) -> Block {
    let mut out = (*block).into();
    Aes128::new(&(*key).into()).encrypt_block(&mut out);
    out.into()
}

fn decrypt(key: &Block, block: &Block) -> Block {
    let mut out = (*block).into();
    Aes128::new(&(*key).into()).decrypt_block(&mut out);
    out.into()
}

/// Two blocks in CBC mode, the initial vector zero.
pub fn encrypt_cbc(key: &Block, blocks: &[Block; 2]) -> [Block; 2] {
    let first = encrypt(key, &blocks[0]);
    [first, encrypt(key, &xor(&first, &blocks[1]))]
}

/// The reverse.
pub fn decrypt_cbc(key: &Block, blocks: &[Block; 2]) -> [Block; 2] {
    [decrypt(key, &blocks[0]), xor(&blocks[0], &decrypt(key, &blocks[1]))]
}

/// NIST SP 800-38B.
pub fn cmac(key: &Block, message: &[u8]) -> Block {
    let mut mac = Cmac::<Aes128>::new(&(*key).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Miyaguchi and Preneel's compression function over whole blocks.
pub fn compress(blocks: &[&Block]) -> Block {
    blocks.iter().fold([0; 16], |key, block| xor(&xor(&encrypt(&key, block), block), &key))
}

/// KDF of the specification: a key for `constant` from another key.
pub fn derive(key: &Block, constant: &Block) -> Block {
    compress(&[key, constant])
}

fn xor(one: &Block, other: &Block) -> Block {
    core::array::from_fn(|at| one[at] ^ other[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(hex: u128) -> Block {
        hex.to_be_bytes()
    }

    /// The example of the specification for the compression function, and the keys of its memory update.
    #[test]
    fn the_specifications_examples_of_compression() {
        let [one, two] =
            [0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a, 0xae2d_8a57_1e03_ac9c_9eb7_6fac_45af_8e51].map(block);
        let padding = block(0x8000_0000_0000_0000_0000_0000_0000_0100);
        assert_eq!(compress(&[&one, &two, &padding]), block(0xc727_7a0d_c1fb_853b_5f4d_9cbd_26be_40c6));
        let (old, new) =
            (block(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f), block(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100));
        for (key, constant, derived) in [
            (old, KEY_UPDATE_ENC_C, 0x118a_4644_7a77_0d87_828a_69c2_22e2_d17e),
            (old, KEY_UPDATE_MAC_C, 0x2ebb_2a3d_a62d_bd64_b18b_a649_3e9f_be22),
            (new, KEY_UPDATE_ENC_C, 0xed2d_e786_4a47_f6ba_c319_a9dc_496a_788f),
            (new, KEY_UPDATE_MAC_C, 0xec93_86fe_faa1_c598_2461_4434_3de5_f26a),
        ] {
            assert_eq!(derive(&key, &constant), block(derived));
        }
    }

    #[test]
    fn cbc_is_undone() {
        let (key, blocks) = ([7; 16], [[1; 16], [2; 16]]);
        assert_eq!(decrypt_cbc(&key, &encrypt_cbc(&key, &blocks)), blocks);
    }
}
