//! The bits that a transmitter sends, from the start of frame to the end of the intermission.

use can_bus::frame::len_to_dlc;
use can_bus::{Frame, Id, Kind};

use super::crc::Crc;
use super::stuff::{Run, stuff_count};
use super::{CRC17_MAX_BYTES, EOF_BITS, INTERMISSION_BITS, RECESSIVE};

/// What a bit belongs to. A stuff bit belongs to the field of the bit before it, a fixed one to that of the bit after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Start of frame.
    Start,
    /// Identifier with RTR or RRS, SRR and IDE: here nodes may lose arbitration.
    Arbitration,
    /// FDF and reserved bits, BRS, ESI, DLC.
    Control,
    /// Data.
    Data,
    /// Stuff count of an FD frame.
    StuffCount,
    /// Checksum.
    Crc,
    /// CRC delimiter.
    CrcDelimiter,
    /// The bit in which receivers acknowledge; the transmitter sends it recessive.
    Ack,
    /// Acknowledge delimiter.
    AckDelimiter,
    /// End of frame.
    End,
    /// Intermission.
    Intermission,
}

/// One bit that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bit {
    /// True is recessive.
    pub level: bool,
    /// What it belongs to.
    pub field: Field,
    /// Whether it is a stuff bit, dynamic or fixed.
    pub stuff: bool,
    /// Whether it goes at the data bit rate. BRS itself counts as nominal and the CRC delimiter as data: each changes rate
    /// at its sample point, so that both together take as long as one bit of each where the sample points are the same.
    pub fast: bool,
}

/// The bits of a frame in the order in which they are sent.
#[must_use]
pub fn encode(frame: &Frame) -> Vec<Bit> {
    let crc = match frame.kind() {
        Kind::Classic | Kind::Remote => Crc::CRC15,
        Kind::Fd { .. } if frame.len() <= CRC17_MAX_BYTES => Crc::CRC17,
        Kind::Fd { .. } => Crc::CRC21,
    };
    let fd = frame.is_fd();
    let mut encoder = Encoder { bits: Vec::with_capacity(800), run: Run::IDLE, crc, dynamic: 0, fd, fast: false };
    encoder.header(frame);
    for byte in frame.data() {
        encoder.dynamic(Field::Data, (*byte).into(), 8);
    }
    if fd {
        encoder.fixed_checksum();
    } else {
        let checksum = encoder.crc.value();
        encoder.dynamic(Field::Crc, checksum, 15);
        encoder.stuff_if_due(Field::Crc);
    }
    encoder.plain(Field::CrcDelimiter, 1);
    encoder.fast = false;
    encoder.plain(Field::Ack, 1);
    encoder.plain(Field::AckDelimiter, 1);
    encoder.plain(Field::End, EOF_BITS);
    encoder.plain(Field::Intermission, INTERMISSION_BITS);
    encoder.bits
}

struct Encoder {
    bits: Vec<Bit>,
    run: Run,
    crc: Crc,
    /// Dynamic stuff bits so far.
    dynamic: u32,
    fd: bool,
    fast: bool,
}

impl Encoder {
    fn header(&mut self, frame: &Frame) {
        use Field::{Arbitration, Control, Start};
        let remote = u32::from(frame.kind() == Kind::Remote);
        self.dynamic(Start, 0, 1);
        match frame.id() {
            Id::Standard(id) => {
                self.dynamic(Arbitration, id.as_raw().into(), 11);
                self.dynamic(Arbitration, remote, 1);
                self.dynamic(Arbitration, 0, 1); // IDE
            }
            Id::Extended(id) => {
                self.dynamic(Arbitration, id.as_raw() >> 18, 11);
                self.dynamic(Arbitration, 0b11, 2); // SRR, IDE
                self.dynamic(Arbitration, id.as_raw() & 0x3_FFFF, 18);
                self.dynamic(Arbitration, remote, 1);
            }
        }
        let dlc = u32::from(len_to_dlc(frame.len()).unwrap_or_default());
        match frame.kind() {
            Kind::Fd { brs, esi } => {
                self.dynamic(Control, 0b10, 2); // FDF, res
                self.dynamic(Control, brs.into(), 1);
                self.fast = brs;
                self.dynamic(Control, esi.into(), 1);
            }
            Kind::Classic | Kind::Remote => {
                let reserved = if matches!(frame.id(), Id::Extended(_)) { 2 } else { 1 };
                self.dynamic(Control, 0, reserved);
            }
        }
        self.dynamic(Control, dlc, 4);
    }

    /// Bits with a stuff bit wherever the run before asks for one. A classic frame's checksum is not over stuff bits.
    fn dynamic(&mut self, field: Field, value: u32, count: u32) {
        for at in (0..count).rev() {
            self.stuff_if_due(self.bits.last().map_or(field, |bit| bit.field));
            let level = value >> at & 1 == 1;
            self.crc.push(level);
            self.send(level, field, false);
        }
    }

    fn stuff_if_due(&mut self, field: Field) {
        if let Some(level) = self.run.due() {
            if self.fd {
                self.crc.push(level);
            }
            self.dynamic += 1;
            self.send(level, field, true);
        }
    }

    /// Stuff count and checksum of an FD frame: a fixed stuff bit before every fourth bit, unlike the bit before it. A
    /// dynamic one that is due at the end of the data does not come.
    fn fixed_checksum(&mut self) {
        let count = stuff_count(self.dynamic);
        (0..4).rev().for_each(|at| self.crc.push(count >> at & 1 == 1));
        let (width, checksum) = (u32::from(self.crc.width()), self.crc.value());
        let both = u32::from(count) << width | checksum;
        for at in (0..4 + width).rev() {
            let field = if at >= width { Field::StuffCount } else { Field::Crc };
            if (3 + width - at).is_multiple_of(4) {
                let before = self.bits.last().is_some_and(|bit| bit.level);
                self.send(!before, field, true);
            }
            self.send(both >> at & 1 == 1, field, false);
        }
    }

    /// Recessive bits without stuffing.
    fn plain(&mut self, field: Field, count: usize) {
        let bit = Bit { level: RECESSIVE, field, stuff: false, fast: self.fast };
        self.bits.extend(std::iter::repeat_n(bit, count));
    }

    fn send(&mut self, level: bool, field: Field, stuff: bool) {
        self.run = self.run.then(level);
        self.bits.push(Bit { level, field, stuff, fast: self.fast });
    }
}
