//! What the end of the line gives a device, in one piece of flash (`scripts/firmware` makes it):
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `RINGDEV` and the version, 1 |
//! | 32 | the maker's public key |
//! | 4, 4 | lengths of what follows, little-endian |
//! | .. | the signed genesis |
//! | .. | the key file ([`crate::keyfile`]) |
//!
//! Genesis and key file find damage themselves. What follows them is not looked at. Nobody but the firmware may read this, and nobody write
//! it: protection against that is the chip's.

use device_chain::types::PublicKey;

const MAGIC: &[u8; 8] = b"RINGDEV\x01";

/// The parts.
#[derive(Clone, Copy)]
pub struct Provision<'a> {
    /// Whose signature the genesis must have.
    pub maker: PublicKey,
    /// The signed genesis.
    pub genesis: &'a [u8],
    /// The key file.
    pub keys: &'a [u8],
}

/// Takes it apart; `None` if it is not there.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Provision<'_>> {
    let (maker, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    let (genesis_length, rest) = rest.split_first_chunk::<4>()?;
    let (keys_length, rest) = rest.split_first_chunk::<4>()?;
    let length = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).ok();
    let (genesis, rest) = rest.split_at_checked(length(genesis_length)?)?;
    let keys = rest.get(..length(keys_length)?)?;
    Some(Provision { maker: PublicKey(*maker), genesis, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_parts_are_found_and_nothing_in_what_is_erased_or_cut_off() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([7; 32]);
        bytes.extend([3, 0, 0, 0, 2, 0, 0, 0]);
        bytes.extend(b"genes");
        let whole = bytes.len();
        bytes.extend([0xFF; 9]);
        let parts = parse(&bytes).unwrap();
        assert_eq!((parts.maker, parts.genesis, parts.keys), (PublicKey([7; 32]), &b"gen"[..], &b"es"[..]));
        assert!((0..whole).all(|end| parse(&bytes[..end]).is_none()));
        assert!(parse(&[0xFF; 4096]).is_none());
        bytes[40..44].fill(0xFF);
        assert!(parse(&bytes).is_none(), "longer than there is");
    }
}
