//! The bytes on the flash; all numbers little-endian. `tests/golden.rs` pins them.
//!
//! ```text
//! bank:   header | record | record | ... | erased (0xFF) to the end
//! header: magic 4 | version u16 | zero u16 | generation u32 | sequence u64 | identity 32 | zero 8 | crc u32
//! record: length u16 | kind u8 | sequence u64 | crc u32 | payload | 0xFF up to the next unit
//! ```

use crc::{CRC_32_ISCSI, Crc, Digest};

/// Who a journal belongs to: the hash of the car's genesis.
pub type Identity = [u8; 32];

/// Longest payload of a record, in bytes.
pub const MAX_RECORD: usize = 4096;

/// Version of the layout that this code reads and writes.
pub const VERSION: u16 = 1;

/// Largest unit of programming, in bytes.
pub(crate) const MAX_WRITE_SIZE: u32 = 64;
/// Bytes of a bank's header.
pub(crate) const BANK_HEADER: u32 = 64;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEADER: usize = 15;

const _: () = assert!(BANK_HEADER.is_multiple_of(MAX_WRITE_SIZE), "records start on a unit");
const _: () = assert!(MAX_RECORD < u16::MAX as usize, "an erased length is not a length");

const MAGIC: [u8; 4] = *b"RFJ1";
/// The CRC is the last field of a bank header and of a record header.
pub(crate) const CRC_SIZE: usize = 4;
/// What fills the last unit of a record.
static PADDING: [u8; MAX_WRITE_SIZE as usize] = [0xFF; MAX_WRITE_SIZE as usize];
/// Castagnoli's polynomial: any burst of up to 32 bits is found, and any 3 bits in a record of ours.
static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Bytes that a record with `payload` bytes of payload takes on a flash with units of `write_size` bytes.
pub const fn record_size(payload: usize, write_size: u32) -> u32 {
    ((RECORD_HEADER + payload) as u32).next_multiple_of(write_size)
}

/// What a bank's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BankHeader {
    /// The bank with the higher one counts.
    pub generation: u32,
    /// The sequence number of the header itself; the records follow without a gap.
    pub sequence: u64,
}

/// What stands where a bank's header belongs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BankState {
    Ours(BankHeader),
    Foreign,
    Unsupported(u16),
    /// Erased, torn or damaged.
    None,
}

impl BankHeader {
    pub fn encode(&self, identity: &Identity) -> [u8; BANK_HEADER as usize] {
        let mut bytes = [0; BANK_HEADER as usize];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.generation.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[20..52].copy_from_slice(identity);
        let (covered, crc) = bytes.split_at_mut(BANK_HEADER as usize - CRC_SIZE);
        crc.copy_from_slice(&CRC.checksum(covered).to_le_bytes());
        bytes
    }

    /// Magic, version and CRC keep their places in every later version, so that this one can tell it from damage.
    pub fn decode(bytes: &[u8; BANK_HEADER as usize], identity: &Identity) -> BankState {
        let (covered, crc) = bytes.split_at(BANK_HEADER as usize - CRC_SIZE);
        if covered[0..4] != MAGIC || *crc != CRC.checksum(covered).to_le_bytes() {
            return BankState::None;
        }
        let version = u16::from_le_bytes(field(bytes, 4));
        if version != VERSION {
            return BankState::Unsupported(version);
        }
        if covered[20..52] != *identity {
            return BankState::Foreign;
        }
        BankState::Ours(BankHeader {
            generation: u32::from_le_bytes(field(bytes, 8)),
            sequence: u64::from_le_bytes(field(bytes, 12)),
        })
    }
}

/// The first bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub length: u16,
    pub kind: u8,
    pub sequence: u64,
}

impl RecordHeader {
    /// The header of a record, with the CRC of the whole of it; `crc` has [begun](begin_record_crc) with what it is bound to.
    pub fn encode(&self, mut crc: Digest<'_, u32>, payload: &[u8], write_size: u32) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[0..2].copy_from_slice(&self.length.to_le_bytes());
        bytes[2] = self.kind;
        bytes[3..11].copy_from_slice(&self.sequence.to_le_bytes());
        let padding = record_size(payload.len(), write_size) as usize - RECORD_HEADER - payload.len();
        let (covered, checksum) = bytes.split_at_mut(RECORD_HEADER - CRC_SIZE);
        for part in [covered, payload, &PADDING[..padding]] {
            crc.update(part);
        }
        checksum.copy_from_slice(&crc.finalize().to_le_bytes());
        bytes
    }

    /// Reads what may be a header; only the CRC tells whether it is one.
    pub fn decode(bytes: &[u8; RECORD_HEADER]) -> Self {
        Self {
            length: u16::from_le_bytes(field(bytes, 0)),
            kind: bytes[2],
            sequence: u64::from_le_bytes(field(bytes, 3)),
        }
    }
}

/// Begins the CRC of a record with what it is bound to: the device and the generation of its bank. What of the header lies
/// before the CRC itself, the payload and the padding follow.
pub(crate) fn begin_record_crc(identity: &Identity, generation: u32) -> Digest<'static, u32> {
    let mut crc = CRC.digest();
    crc.update(identity);
    crc.update(&generation.to_le_bytes());
    crc
}

/// The `N` bytes of a number at `offset`, which lies inside `bytes`.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut number = [0; N];
    number.copy_from_slice(&bytes[offset..offset + N]);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4.
    #[test]
    fn crc_32c_of_rfc_3720() {
        let rising: [u8; 32] = core::array::from_fn(|at| at as u8);
        let falling: [u8; 32] = core::array::from_fn(|at| 31 - at as u8);
        for (bytes, crc) in
            [([0; 32], 0x8A91_36AA), ([0xFF; 32], 0x62A8_AB43), (rising, 0x46DD_794E), (falling, 0x113F_DB5C)]
        {
            assert_eq!(CRC.checksum(&bytes), crc, "{bytes:?}");
        }
    }
}
