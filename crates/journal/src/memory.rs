use core::fmt;
use core::ops::Range;
use std::collections::BTreeMap;

use crate::counter::Counter;
use crate::flash::{Flash, Geometry};
use crate::part::Part;
use crate::region::Region;

/// A NOR flash in memory for tests and simulations: strict about the rules, it counts the time that it takes, its power can
/// be cut at any byte, and it can be worn.
#[derive(Clone, Debug)]
pub struct MemFlash {
    part: Part,
    region: Region,
    bytes: Vec<u8>,
    /// For each unit, whether it was programmed since its last erase.
    programmed: Vec<bool>,
    /// Bits, by byte, that read differently each time.
    unstable: BTreeMap<usize, u8>,
    defects: Vec<(Range<u32>, Defect)>,
    /// Bytes that can still be programmed or erased before the power goes.
    power_left: Option<u64>,
    tear: Tear,
    dice: u64,
    busy_ns: u64,
    /// What was done since somebody began to watch.
    watched: Option<Vec<Operation>>,
}

/// Something that a flash does in one go, and that a cut of the power tears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A unit is programmed.
    Program {
        /// Where.
        offset: u32,
        /// With what.
        bytes: Vec<u8>,
    },
    /// A page is erased.
    Erase {
        /// Where.
        offset: u32,
        /// How much, bytes.
        length: u32,
    },
}

impl Operation {
    /// Bytes that it programs or erases.
    pub fn length(&self) -> u32 {
        match self {
            Self::Program { bytes, .. } => bytes.len() as u32,
            Self::Erase { length, .. } => *length,
        }
    }

    /// Does the same to a flash.
    ///
    /// # Errors
    /// What the flash refuses.
    pub fn redo(&self, flash: &mut impl Flash<Error = MemError>) -> Result<(), MemError> {
        match self {
            Self::Program { offset, bytes } => flash.program(*offset, bytes),
            Self::Erase { offset, length } => flash.erase(*offset, *length),
        }
    }
}

/// What a cut of the power leaves of the unit that was being programmed, or of the page that was being erased. Units and
/// pages before it are done, those behind it as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Done up to a byte.
    Prefix,
    /// Done up to a byte, of which every other bit is done.
    HalfByte,
    /// Each bit is done or not; a page also holds bits that nobody ever wrote.
    Noise,
    /// As [`Tear::Noise`], and these bits read differently each time.
    Unstable,
}

/// How a worn place misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A program changes nothing, and nothing tells.
    IgnoresProgram,
    /// A program is refused.
    RefusesProgram,
    /// An erase changes nothing, and nothing tells.
    IgnoresErase,
    /// An erase is refused.
    RefusesErase,
    /// These bits of each byte always read 0.
    StuckLow(u8),
}

/// What a [`MemFlash`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemError {
    /// The power is off.
    NoPower,
    /// A unit was to be programmed again without an erase.
    AlreadyProgrammed {
        /// Its offset.
        offset: u32,
    },
    /// An offset or length is not a multiple of the unit or page, or lies outside.
    OutOfBounds {
        /// The offset that was asked for.
        offset: u32,
    },
    /// The device says that it failed ([`Defect`]).
    Failed {
        /// The offset of the program or erase.
        offset: u32,
    },
}

impl MemFlash {
    /// An erased flash that takes no time.
    ///
    /// # Panics
    /// If `geometry` is not valid.
    pub fn new(geometry: Geometry) -> Self {
        Self::of(Part::instant(geometry))
    }

    /// An erased flash of this kind.
    ///
    /// # Panics
    /// If its geometry is not valid.
    pub fn of(part: Part) -> Self {
        let region = Region::new(0, part.geometry);
        let region = region.unwrap_or_else(|| panic!("no journal fits into {:?}", part.geometry));
        let size = part.geometry.capacity as usize;
        Self {
            part,
            region,
            bytes: vec![0xFF; size],
            programmed: vec![false; size / part.geometry.write_size as usize],
            unstable: BTreeMap::new(),
            defects: Vec::new(),
            power_left: None,
            tear: Tear::HalfByte,
            dice: 1,
            busy_ns: 0,
            watched: None,
        }
    }

    /// A flash that holds `image`; the units that are not all 0xFF count as programmed.
    ///
    /// # Panics
    /// If `geometry` is not valid or `image` is not as long as its capacity.
    pub fn from_image(geometry: Geometry, image: Vec<u8>) -> Self {
        let mut flash = Self::new(geometry);
        flash.restore(image);
        flash
    }

    /// Puts an image in the place of what it holds.
    ///
    /// # Panics
    /// If `image` is not as long as the flash.
    pub fn restore(&mut self, image: Vec<u8>) {
        assert_eq!(image.len(), self.bytes.len(), "an image is as long as the flash");
        self.bytes = image;
        self.unstable.clear();
        self.note_programmed(0..self.bytes.len());
    }

    /// All bytes as they are; bits that are unstable read here as they are not to be relied on.
    pub fn image(&self) -> &[u8] {
        &self.bytes
    }

    /// Time that it was busy since it was made, ns.
    pub fn busy_ns(&self) -> u64 {
        self.busy_ns
    }

    /// What was programmed and erased since the last call; nothing at the first one, from which on it is noted.
    pub fn watch(&mut self) -> Vec<Operation> {
        self.watched.replace(Vec::new()).unwrap_or_default()
    }

    /// Cuts the power after `bytes` more bytes have been programmed or erased; what is under way then is torn.
    pub fn cut_power_after(&mut self, bytes: u64) {
        self.power_left = Some(bytes);
    }

    /// How the next cut leaves what is under way; `seed` chooses the bits.
    pub fn tear_as(&mut self, tear: Tear, seed: u64) {
        self.tear = tear;
        self.dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    }

    /// Turns the power on again.
    pub fn restore_power(&mut self) {
        self.power_left = None;
    }

    /// From now on the bytes of `place` are worn.
    pub fn wear_out(&mut self, place: Range<u32>, defect: Defect) {
        self.defects.push((place, defect));
    }

    /// Whether the power lasts for `length` more bytes; if not, how many get done.
    fn spend(&mut self, length: usize) -> Result<(), usize> {
        let Some(left) = &mut self.power_left else { return Ok(()) };
        let done = (*left).min(length as u64);
        *left -= done;
        if done < length as u64 { Err(done as usize) } else { Ok(()) }
    }

    fn check_power(&self) -> Result<(), MemError> {
        if self.power_left == Some(0) { Err(MemError::NoPower) } else { Ok(()) }
    }

    fn has(&self, wanted: Defect, place: &Range<usize>) -> bool {
        let touches = |worn: &Range<u32>| (worn.start as usize) < place.end && place.start < worn.end as usize;
        self.defects.iter().any(|(worn, defect)| *defect == wanted && touches(worn))
    }

    /// Eight bits of noise (xorshift64*).
    fn noise(&mut self) -> u8 {
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        (self.dice.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    }

    /// Units that look programmed count as such.
    fn note_programmed(&mut self, range: Range<usize>) {
        let unit = self.part.geometry.write_size as usize;
        for at in range.start / unit..range.end.div_ceil(unit) {
            self.programmed[at] = self.bytes[at * unit..][..unit].iter().any(|&byte| byte != 0xFF);
        }
    }

    /// The power goes after `done` bytes of what should bring `range` from what it holds to `meant`. Bits of `wild` may
    /// change though they need not.
    fn tear(&mut self, range: Range<usize>, done: usize, meant: &[u8], wild: u8) {
        let mut style = 0;
        for at in range.clone() {
            let (old, meant) = (self.bytes[at], meant[at - range.start]);
            let noise = self.noise();
            if (at - range.start).is_multiple_of(16) {
                style = self.noise() % 4; // what was meant to be one piece need not be torn evenly
            }
            let astray = match style {
                0 => old ^ meant,
                1 => 0,
                2 => (old ^ meant) & noise,
                _ => (old ^ meant | wild) & noise,
            };
            let (byte, unstable) = match self.tear {
                Tear::Prefix | Tear::HalfByte if at < range.start + done => (meant, 0),
                Tear::HalfByte if at == range.start + done => (old ^ (old ^ meant) & 0xAA, 0),
                Tear::Prefix | Tear::HalfByte => (old, 0),
                Tear::Noise => (meant ^ astray, 0),
                Tear::Unstable => (meant, astray),
            };
            self.bytes[at] = byte;
            if unstable != 0 {
                self.unstable.insert(at, unstable);
            }
        }
        self.note_programmed(range);
    }

    fn program_unit(&mut self, range: Range<usize>, data: &[u8]) -> Result<(), MemError> {
        let unit = range.start / data.len();
        let offset = range.start as u32;
        if self.programmed[unit] {
            return Err(MemError::AlreadyProgrammed { offset });
        }
        if self.has(Defect::RefusesProgram, &range) {
            return Err(MemError::Failed { offset });
        }
        if let Err(done) = self.spend(data.len()) {
            self.tear(range, done, data, 0);
            return Err(MemError::NoPower);
        }
        self.busy_ns += self.part.program_ns;
        self.programmed[unit] = true;
        if let Some(watched) = &mut self.watched {
            watched.push(Operation::Program { offset, bytes: data.to_vec() });
        }
        if !self.has(Defect::IgnoresProgram, &range) {
            for (at, byte) in range.zip(data) {
                self.bytes[at] &= byte;
                // a bit driven to 0 is at rest, whatever it was before
                self.unstable.entry(at).and_modify(|mask| *mask &= byte);
            }
        }
        Ok(())
    }

    fn erase_page(&mut self, range: Range<usize>) -> Result<(), MemError> {
        if self.has(Defect::RefusesErase, &range) {
            return Err(MemError::Failed { offset: range.start as u32 });
        }
        if let Err(done) = self.spend(range.len()) {
            let erased = vec![0xFF; range.len()];
            self.tear(range, done, &erased, 0xFF); // before it erases, a flash programs
            return Err(MemError::NoPower);
        }
        self.busy_ns += self.part.erase_ns;
        if let Some(watched) = &mut self.watched {
            watched.push(Operation::Erase { offset: range.start as u32, length: range.len() as u32 });
        }
        if !self.has(Defect::IgnoresErase, &range) {
            self.bytes[range.clone()].fill(0xFF);
            self.unstable.retain(|at, _| !range.contains(at));
            self.note_programmed(range);
        }
        Ok(())
    }
}

impl Flash for MemFlash {
    type Error = MemError;

    fn geometry(&self) -> Geometry {
        self.part.geometry
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MemError> {
        self.check_power()?;
        let range = bytes_of(self.region.to_read(offset, bytes.len()), offset)?;
        bytes.copy_from_slice(&self.bytes[range.clone()]);
        let unstable: Vec<_> = self.unstable.range(range.clone()).map(|(at, mask)| (*at, *mask)).collect();
        for (at, mask) in unstable {
            bytes[at - range.start] ^= mask & self.noise();
        }
        for (worn, defect) in &self.defects {
            if let Defect::StuckLow(mask) = defect {
                let worn = range.start.max(worn.start as usize)..range.end.min(worn.end as usize);
                worn.for_each(|at| bytes[at - range.start] &= !mask);
            }
        }
        Ok(())
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MemError> {
        self.check_power()?;
        let unit = self.part.geometry.write_size;
        let range = bytes_of(self.region.to_program(offset, bytes.len()), offset)?;
        let units = range.step_by(unit as usize).zip(bytes.chunks(unit as usize));
        units.into_iter().try_for_each(|(start, data)| self.program_unit(start..start + data.len(), data))
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), MemError> {
        self.check_power()?;
        let page = self.part.geometry.erase_size;
        let range = bytes_of(self.region.to_erase(offset, length), offset)?;
        range.step_by(page as usize).try_for_each(|start| self.erase_page(start..start + page as usize))
    }

    fn sync(&mut self) -> Result<(), MemError> {
        self.check_power()?;
        self.busy_ns += self.part.sync_ns;
        Ok(())
    }
}

/// Where in `bytes` that is.
fn bytes_of(addresses: Option<Range<u32>>, offset: u32) -> Result<Range<usize>, MemError> {
    let range = addresses.ok_or(MemError::OutOfBounds { offset })?;
    Ok(range.start as usize..range.end as usize)
}

impl fmt::Display for MemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPower => write!(f, "the power is off"),
            Self::AlreadyProgrammed { offset } => write!(f, "unit {offset} was programmed already"),
            Self::OutOfBounds { offset } => write!(f, "an access at {offset} is misaligned or outside"),
            Self::Failed { offset } => write!(f, "the device failed at {offset}"),
        }
    }
}

impl core::error::Error for MemError {}

/// A counter in memory for tests and simulations; it outlives the journal by [`Journal::into_ports`] or a `&mut`.
///
/// [`Journal::into_ports`]: crate::Journal::into_ports
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemCounter(u64);

impl Counter for MemCounter {
    type Error = MemError;

    fn value(&self) -> u64 {
        self.0
    }

    fn raise(&mut self, to: u64) -> Result<(), MemError> {
        self.0 = self.0.max(to);
        Ok(())
    }
}
