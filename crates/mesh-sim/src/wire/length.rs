//! How long a frame holds the wire, exactly, without making its bits.

use can_bus::frame::len_to_dlc;
use can_bus::timing::BitTiming;
use can_bus::{Frame, Id, Kind};
use crc::{CRC_15_CAN, Crc, Table};

use super::stuff::Counter;
use super::{CRC17_MAX_BYTES, EOF_BITS, INTERMISSION_BITS};

/// CRC delimiter, acknowledge slot and delimiter, end of frame and intermission.
const TAIL: u32 = 3 + EOF_BITS as u32 + INTERMISSION_BITS as u32;

static CRC15: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_15_CAN);

/// Bits of a frame from its start to the end of the intermission, by bit rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length {
    /// Bits at the nominal bit rate.
    pub nominal: u32,
    /// Bits at the data bit rate.
    pub data: u32,
}

impl Length {
    /// The length of a frame.
    #[must_use]
    pub fn of(frame: &Frame) -> Self {
        let mut stuff = Counter::START;
        let (header, bits) = arbitration_phase(frame);
        match frame.kind() {
            Kind::Fd { brs, esi } => {
                stuff.bits(header, bits);
                let early = stuff.count;
                stuff.bits(u64::from(esi) << 4 | dlc(frame), 5);
                frame.data().iter().for_each(|byte| stuff.byte(*byte));
                let checksum = if frame.len() <= CRC17_MAX_BYTES { 4 + 17 } else { 4 + 21 };
                // ESI and DLC, data, checksum with a fixed stuff bit before every fourth bit, CRC delimiter
                let plain = 5 + 8 * frame.len() as u32 + checksum + checksum.div_ceil(4) + 1;
                let (nominal, data) = (bits + early + TAIL - 1, plain + stuff.count - early);
                if brs { Self { nominal, data } } else { Self { nominal: nominal + data, data: 0 } }
            }
            Kind::Classic | Kind::Remote => {
                let (header, bits) = (header << 4 | dlc(frame), bits + 4);
                stuff.bits(header, bits);
                frame.data().iter().for_each(|byte| stuff.byte(*byte));
                stuff.bits(checksum(header, frame.data()).into(), 15);
                let due = u32::from(stuff.run.due().is_some());
                let data = 8 * frame.data().len() as u32;
                Self { nominal: bits + data + 15 + stuff.count + due + TAIL, data: 0 }
            }
        }
    }

    /// All bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.nominal + self.data
    }

    /// The time on the wire, in ns, rounded up to whole ns for each bit rate.
    #[must_use]
    pub fn ns(self, timing: &BitTiming) -> u64 {
        timing.ns(self.nominal.into(), self.data.into())
    }
}

fn dlc(frame: &Frame) -> u64 {
    len_to_dlc(frame.len()).unwrap_or_default().into()
}

/// From the start of frame to what comes before a change of bit rate, or before the DLC of a classic frame: bits, how many.
fn arbitration_phase(frame: &Frame) -> (u64, u32) {
    let arbitration = u64::from(frame.arbitration());
    // An 11-bit identifier is followed by RTR and IDE in the thirteen bits at the top.
    let (id, bits) = match frame.id() {
        Id::Standard(_) => (arbitration >> 19, 14),
        Id::Extended(_) => (arbitration, 33),
    };
    match (frame.kind(), frame.id()) {
        (Kind::Fd { brs, .. }, _) => (id << 3 | 0b100 | u64::from(brs), bits + 3),
        (_, Id::Standard(_)) => (id << 1, bits + 1),
        (_, Id::Extended(_)) => (id << 2, bits + 2),
    }
}

/// CRC-15 of a classic frame. It starts at zero, so the dominant bits that fill the first byte do not count.
fn checksum(header: u64, data: &[u8]) -> u16 {
    let mut digest = CRC15.digest();
    digest.update(&header.to_be_bytes());
    digest.update(data);
    digest.finalize()
}
