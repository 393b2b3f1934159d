//! A receiver: bits in, a frame or an error out.

use can_bus::frame::{EXTENDED_FLAG, MAX_CLASSIC, MAX_FD, dlc_to_len, id_from_raw};
use can_bus::{Frame, Kind};

use super::crc::Crc;
use super::stuff::{Run, stuff_count};
use super::{CRC17_MAX_BYTES, DOMINANT, EOF_BITS, RECESSIVE};

/// Places in the header, counted from the start of frame without stuff bits.
const IDE: u32 = 13;
const RTR_FDF_BASE: (u32, u32) = (12, 14);
const RTR_FDF_EXTENDED: (u32, u32) = (32, 33);

/// The first of the checksums that are over stuff bits, too.
const FIRST_FD: usize = 1;

/// What a receiver finds wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Six equal bits where bits are stuffed.
    Stuff,
    /// A bit that has a fixed level has the other one.
    Form,
    /// Checksum or stuff count do not fit. It is told after the acknowledge delimiter.
    Crc,
}

/// What a bit meant to a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The frame goes on.
    More,
    /// The frame is good so far, and the next bit is the one in which to say so.
    Acknowledge,
    /// The frame is received: its last bit but one was recessive.
    Received(Frame),
    /// The frame has ended.
    Ended,
    /// Its last bit was dominant: too late for an error, an overload condition.
    Overload,
}

/// Where a receiver is in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Data,
    Checksum,
    CrcDelimiter,
    Ack,
    AckDelimiter,
    /// With so many bits of the end of frame seen.
    End(usize),
}

/// A receiver in the middle of a frame.
#[derive(Clone, Debug)]
pub struct Decoder {
    fd_tolerant: bool,
    stage: Stage,
    run: Run,
    /// Dynamic stuff bits so far.
    dynamic: u32,
    /// One for each kind of frame until the header tells which.
    crcs: [Crc; 3],
    crc: Option<usize>,
    /// Header so far, and stuff count and checksum so far; with how many bits.
    header: (u64, u32),
    checksum: (u32, u32),
    kind: Kind,
    len: usize,
    data: [u8; MAX_FD],
    data_bits: usize,
    fast: bool,
    good: bool,
}

impl Decoder {
    /// A receiver before the start of frame. One that does not know FD frames (`fd_tolerant` false) finds a form error in
    /// a recessive FDF bit; real ones take the frame for a classic one and stumble some bits later.
    ///
    /// A recessive res bit, by which an FD frame announces a format to come, is a form error, too (protocol exceptions
    /// are disabled).
    #[must_use]
    pub const fn new(fd_tolerant: bool) -> Self {
        Self {
            fd_tolerant,
            stage: Stage::Header,
            run: Run::IDLE,
            dynamic: 0,
            crcs: [Crc::CRC15, Crc::CRC17, Crc::CRC21],
            crc: None,
            header: (0, 0),
            checksum: (0, 0),
            kind: Kind::Classic,
            len: 0,
            data: [0; MAX_FD],
            data_bits: 0,
            fast: false,
            good: false,
        }
    }

    /// Whether the next bit goes at the data bit rate.
    #[must_use]
    pub const fn fast(&self) -> bool {
        self.fast
    }

    /// Takes the next bit, from the start of frame on; nothing is to follow an error or the end.
    ///
    /// # Errors
    /// What is wrong with the frame.
    pub fn push(&mut self, bit: bool) -> Result<Step, WireError> {
        let before = self.run;
        self.run = before.then(bit);
        if let Some(stuff) = before.due().filter(|_| self.is_stuffed()) {
            self.dynamic += 1;
            self.checked(bit, FIRST_FD);
            return if bit == stuff { Ok(Step::More) } else { Err(WireError::Stuff) };
        }
        match self.stage {
            Stage::Header => self.header(bit),
            Stage::Data => {
                self.data(bit);
                Ok(Step::More)
            }
            Stage::Checksum => self.checksum(bit, before),
            Stage::CrcDelimiter => {
                (self.stage, self.fast) = (Stage::Ack, false);
                recessive(bit, if self.good { Step::Acknowledge } else { Step::More })
            }
            Stage::Ack => {
                self.stage = Stage::AckDelimiter;
                Ok(Step::More)
            }
            Stage::AckDelimiter => {
                self.stage = Stage::End(0);
                let step = recessive(bit, Step::More)?;
                if self.good { Ok(step) } else { Err(WireError::Crc) }
            }
            Stage::End(seen) => {
                self.stage = Stage::End(seen + 1);
                match seen + 1 {
                    EOF_BITS if bit == DOMINANT => Ok(Step::Overload),
                    EOF_BITS => Ok(Step::Ended),
                    nearly if nearly == EOF_BITS - 1 => recessive(bit, self.frame().map_or(Step::More, Step::Received)),
                    _ => recessive(bit, Step::More),
                }
            }
        }
    }

    /// Whether a stuff bit comes where a run asks for one. The checksum of a classic frame is stuffed to its very end.
    const fn is_stuffed(&self) -> bool {
        matches!(self.stage, Stage::Header | Stage::Data)
            || !self.fd() && matches!(self.stage, Stage::Checksum | Stage::CrcDelimiter)
    }

    /// Adds a bit to the checksum, or to those of them from `first` on while it is not known which counts.
    fn checked(&mut self, bit: bool, first: usize) {
        match self.crc {
            Some(at) if at >= first => self.crcs[at].push(bit),
            Some(_) => {}
            None => self.crcs[first..].iter_mut().for_each(|crc| crc.push(bit)),
        }
    }

    fn header(&mut self, bit: bool) -> Result<Step, WireError> {
        self.checked(bit, 0);
        self.header = (self.header.0 << 1 | u64::from(bit), self.header.1 + 1);
        let count = self.header.1;
        if count <= IDE {
            return Ok(Step::More);
        }
        let extended = self.header_bit(IDE);
        let (rtr, fdf) = if extended { RTR_FDF_EXTENDED } else { RTR_FDF_BASE };
        let (res, brs, esi) = (fdf + 1, fdf + 2, fdf + 3);
        let fd = count > fdf && self.header_bit(fdf);
        // A classic frame has another reserved bit behind a 29-bit identifier.
        let end = if fd { esi + 5 } else { fdf + 5 + u32::from(extended) };
        if fd {
            if count == fdf + 1 && !self.fd_tolerant || count == res + 1 && bit == RECESSIVE {
                return Err(WireError::Form);
            }
            let [brs, esi] = [brs, esi].map(|at| count > at && self.header_bit(at));
            self.kind = Kind::Fd { brs, esi };
            self.fast = brs;
        }
        if count == end {
            self.header_ends(rtr);
        }
        Ok(Step::More)
    }

    /// Takes what the header says of the rest; RTR is its bit `rtr`.
    fn header_ends(&mut self, rtr: u32) {
        let dlc = (self.header.0 & 0xF) as u8;
        let len = dlc_to_len(dlc).unwrap_or_default();
        self.stage = Stage::Data;
        if self.fd() {
            self.len = len;
            self.crc = Some(if len <= CRC17_MAX_BYTES { 1 } else { 2 });
        } else {
            self.len = len.min(MAX_CLASSIC);
            self.kind = if self.header_bit(rtr) { Kind::Remote } else { Kind::Classic };
            self.crc = Some(0);
        }
        if self.data_len() == 0 {
            self.stage = Stage::Checksum;
        }
    }

    fn data(&mut self, bit: bool) {
        self.checked(bit, 0);
        self.data[self.data_bits / 8] |= u8::from(bit) << (7 - self.data_bits % 8);
        self.data_bits += 1;
        if self.data_bits == 8 * self.data_len() {
            self.stage = Stage::Checksum;
        }
    }

    /// Stuff count and checksum of an FD frame, with a fixed stuff bit before every fourth bit, or a classic checksum.
    fn checksum(&mut self, bit: bool, before: Run) -> Result<Step, WireError> {
        let crc = self.crcs[self.crc.unwrap_or_default()];
        let width = u32::from(crc.width());
        let (value, count) = self.checksum;
        if !self.fd() {
            self.checksum = (value << 1 | u32::from(bit), count + 1);
            if count + 1 == width {
                (self.stage, self.good) = (Stage::CrcDelimiter, self.checksum.0 == crc.value());
            }
            return Ok(Step::More);
        }
        // `count` has the fixed stuff bits in it.
        self.checksum.1 += 1;
        if count % 5 == 0 {
            return if bit == before.level() { Err(WireError::Form) } else { Ok(Step::More) };
        }
        self.checksum.0 = value << 1 | u32::from(bit);
        if count < 5 {
            self.checked(bit, 0);
        }
        if count + 1 == 4 + width + (4 + width).div_ceil(4) {
            let expected = u32::from(stuff_count(self.dynamic)) << width | crc.value();
            (self.stage, self.good) = (Stage::CrcDelimiter, self.checksum.0 == expected);
        }
        Ok(Step::More)
    }

    const fn header_bit(&self, at: u32) -> bool {
        self.header.0 >> (self.header.1 - 1 - at) & 1 == 1
    }

    const fn fd(&self) -> bool {
        matches!(self.kind, Kind::Fd { .. })
    }

    fn data_len(&self) -> usize {
        if self.kind == Kind::Remote { 0 } else { self.len }
    }

    fn frame(&self) -> Option<Frame> {
        let extended = self.header_bit(IDE);
        let base = self.header.0 >> (self.header.1 - 12) & 0x7FF;
        let raw = if extended {
            let rest = self.header.0 >> (self.header.1 - 32) & 0x3_FFFF;
            (base << 18 | rest) as u32 | EXTENDED_FLAG
        } else {
            base as u32
        };
        let (id, data) = (id_from_raw(raw)?, &self.data[..self.data_len()]);
        match self.kind {
            Kind::Classic => Frame::classic(id, data),
            Kind::Remote => Frame::remote(id, self.len),
            Kind::Fd { brs, esi } => Frame::fd_with_flags(id, data, brs, esi),
        }
        .ok()
    }
}

fn recessive(bit: bool, step: Step) -> Result<Step, WireError> {
    if bit == RECESSIVE { Ok(step) } else { Err(WireError::Form) }
}
