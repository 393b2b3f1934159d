//! The bytes of version 1. Stores in the field hold them: they change only with the version.

mod common;

use common::{OURS, formatted, open};
use journal::MemCounter;

#[test]
fn the_bytes_of_a_header_and_of_a_record() {
    let (mut flash, mut counter) = (formatted(), MemCounter::default());
    open(&mut flash, &mut counter).unwrap().0.append(0x2A, b"ringfort").unwrap();

    let mut header = b"RFJ1\x01\x00\x00\x00".to_vec(); // magic, version, zero
    header.extend([0; 4]); // generation
    header.extend([0; 8]); // sequence number
    header.extend(OURS);
    header.extend([0; 8]);
    assert_eq!(flash.image()[..60], header);
    assert_eq!(flash.image()[60..64], HEADER_CRC);

    let mut record = vec![8, 0, 0x2A, 1, 0, 0, 0, 0, 0, 0, 0]; // length, kind, sequence number
    record.extend(RECORD_CRC);
    record.extend(b"ringfort\xFF"); // padded to a unit of 8
    assert_eq!(flash.image()[64..88], record);
    assert!(flash.image()[88..].iter().all(|&byte| byte == 0xFF));
}

// CRC-32C, computed bit by bit outside this code base.
const HEADER_CRC: [u8; 4] = [0xD0, 0xCD, 0x36, 0x2C];
const RECORD_CRC: [u8; 4] = [0x83, 0xCB, 0x2A, 0x0C];
