use core::ops::{Range, RangeInclusive};

use crate::flash::{Flash, Geometry};
use crate::format::{
    BANK_HEADER, BankHeader, BankState, CRC_SIZE, Identity, MAX_RECORD, MAX_WRITE_SIZE, RECORD_HEADER, RecordHeader,
    begin_record_crc, record_size,
};
use crate::journal::Error;

/// Bytes that are programmed at once, and read at once where nobody wants them. They lie on the stack; most records are no longer.
const CHUNK: usize = 256;
const _: () = assert!(CHUNK.is_multiple_of(MAX_WRITE_SIZE as usize), "whole units");

/// A bank and how far it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bank {
    /// Offset of its header on the flash.
    pub start: u32,
    pub header: BankHeader,
    /// Offset of the next record on the flash.
    pub end: u32,
    pub last_sequence: u64,
}

impl Bank {
    pub fn new(start: u32, header: BankHeader) -> Self {
        Self { start, header, end: start + BANK_HEADER, last_sequence: header.sequence }
    }
}

/// The flash, read and written in banks and records.
#[derive(Debug)]
pub(crate) struct Medium<F> {
    pub flash: F,
    pub identity: Identity,
    pub geometry: Geometry,
}

impl<F: Flash> Medium<F> {
    /// `flash` has a valid geometry.
    pub fn new(flash: F, identity: Identity) -> Self {
        let geometry = flash.geometry();
        Self { flash, identity, geometry }
    }

    /// Offset behind the bank that starts at `start`.
    pub fn limit(&self, start: u32) -> u32 {
        start + self.geometry.bank_size()
    }

    pub fn bank_state(&mut self, start: u32) -> Result<BankState, F::Error> {
        let mut bytes = [0; BANK_HEADER as usize];
        self.flash.read(start, &mut bytes)?;
        Ok(BankHeader::decode(&bytes, &self.identity))
    }

    /// Erases the page at `offset` and looks whether it is erased.
    pub fn erase_page(&mut self, offset: u32) -> Result<(), Error<F::Error>> {
        let length = self.geometry.erase_size;
        self.flash.erase(offset, length).map_err(Error::Io)?;
        let erased = self.is_erased(offset, offset + length).map_err(Error::Io)?;
        if erased { Ok(()) } else { Err(Error::Worn { offset }) }
    }

    /// Makes a bank count: everything behind the header is durable before the header is.
    pub fn commit(&mut self, bank: &Bank) -> Result<(), Error<F::Error>> {
        self.flash.sync().map_err(Error::Io)?;
        let header = bank.header.encode(&self.identity);
        program(&mut self.flash, bank.start, &header)?;
        self.flash.sync().map_err(Error::Io)
    }

    /// Programs a record at the end of `bank`; the caller makes it durable.
    pub fn write_record(&mut self, bank: &mut Bank, kind: u8, payload: &[u8]) -> Result<(), Error<F::Error>> {
        if payload.len() > MAX_RECORD {
            return Err(Error::TooLong { length: payload.len() });
        }
        let size = record_size(payload.len(), self.geometry.write_size);
        let sequence = bank.last_sequence.checked_add(1).ok_or(Error::Full)?;
        if size > self.limit(bank.start) - bank.end {
            return Err(Error::Full);
        }
        let header = RecordHeader { length: payload.len() as u16, kind, sequence };
        let crc = begin_record_crc(&self.identity, bank.header.generation);
        let header = header.encode(crc, payload, self.geometry.write_size);
        self.program_record(bank.end, &header, payload)?;
        bank.end += size;
        bank.last_sequence = sequence;
        Ok(())
    }

    /// Programs a record in chunks, from its first unit to its last: what a cut leaves is a beginning of it.
    fn program_record(
        &mut self,
        mut offset: u32,
        header: &[u8; RECORD_HEADER],
        mut payload: &[u8],
    ) -> Result<(), Error<F::Error>> {
        let mut chunk = [0xFF; CHUNK];
        chunk[..RECORD_HEADER].copy_from_slice(header);
        let mut filled = RECORD_HEADER;
        loop {
            let (now, later) = payload.split_at(payload.len().min(CHUNK - filled));
            let (part, padding) = chunk[filled..].split_at_mut(now.len());
            part.copy_from_slice(now);
            padding.fill(0xFF);
            let length = (filled + now.len()).next_multiple_of(self.geometry.write_size as usize);
            program(&mut self.flash, offset, &chunk[..length])?;
            if later.is_empty() {
                return Ok(());
            }
            (payload, filled) = (later, 0);
            offset += length as u32;
        }
    }

    /// Moves the end of `bank` behind its last record.
    pub fn find_end(&mut self, bank: &mut Bank) -> Result<(), F::Error> {
        let mut buffer = [0; CHUNK];
        while self.read_next(bank, &mut buffer)?.is_some() {}
        Ok(())
    }

    /// Reads the record at the end of `cursor` as [`Self::read_record`] and moves the cursor behind it; `None` if no next record
    /// stands there.
    pub fn read_next(&mut self, cursor: &mut Bank, buffer: &mut [u8]) -> Result<Option<RecordHeader>, F::Error> {
        let Some(next) = cursor.last_sequence.checked_add(1) else { return Ok(None) };
        let Some(header) = self.read_record(cursor, cursor.end, next..=next, buffer)? else { return Ok(None) };
        cursor.end += record_size(header.length.into(), self.geometry.write_size);
        cursor.last_sequence = next;
        Ok(Some(header))
    }

    /// Reads the record at `offset` of `bank`, if one with a sequence number among `sequences` stands there intact. The payload
    /// goes through `buffer`: if it fits, it stands there in the end.
    fn read_record(
        &mut self,
        bank: &Bank,
        offset: u32,
        sequences: RangeInclusive<u64>,
        buffer: &mut [u8],
    ) -> Result<Option<RecordHeader>, F::Error> {
        let room = self.limit(bank.start) - offset;
        if room < RECORD_HEADER as u32 {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_HEADER];
        self.flash.read(offset, &mut bytes)?;
        let header = RecordHeader::decode(&bytes);
        let size = record_size(header.length.into(), self.geometry.write_size);
        // The range goes first: it spares the CRC at nearly every offset when damage is looked past.
        if !sequences.contains(&header.sequence) || usize::from(header.length) > MAX_RECORD || size > room {
            return Ok(None);
        }
        let (covered, checksum) = bytes.split_at(RECORD_HEADER - CRC_SIZE);
        let mut crc = begin_record_crc(&self.identity, bank.header.generation);
        crc.update(covered);
        let payload = offset + RECORD_HEADER as u32;
        let padding = payload + u32::from(header.length);
        let mut last = [0; MAX_WRITE_SIZE as usize];
        // Each byte is read once: one that is half programmed may read differently the next time.
        for (range, buffer) in [(payload..padding, buffer), (padding..offset + size, &mut last)] {
            for (at, length) in pieces(range, buffer.len()) {
                let piece = &mut buffer[..length];
                self.flash.read(at, piece)?;
                crc.update(piece);
            }
        }
        Ok((*checksum == crc.finalize().to_le_bytes()).then_some(header))
    }

    /// Whether nothing is programmed from `offset` up to `limit`.
    pub fn is_erased(&mut self, offset: u32, limit: u32) -> Result<bool, F::Error> {
        let mut buffer = [0; CHUNK];
        for (at, length) in pieces(offset..limit, CHUNK) {
            let piece = &mut buffer[..length];
            self.flash.read(at, piece)?;
            if piece.iter().any(|&byte| byte != 0xFF) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a record of `bank` stands behind `bank.end`, where the next one should be but is not.
    pub fn has_record_behind(&mut self, bank: &Bank) -> Result<bool, F::Error> {
        // A record takes more than a byte, so no higher sequence number can lie in this bank.
        let highest = bank.last_sequence.saturating_add(self.geometry.bank_size().into());
        let sequences = bank.last_sequence.saturating_add(1)..=highest;
        let mut buffer = [0; CHUNK];
        let mut offset = bank.end + self.geometry.write_size;
        while offset < self.limit(bank.start) {
            if self.read_record(bank, offset, sequences.clone(), &mut buffer)?.is_some() {
                return Ok(true);
            }
            offset += self.geometry.write_size;
        }
        Ok(false)
    }
}

/// Offset and length of the pieces of `size` bytes, the last one perhaps shorter, that `range` consists of.
fn pieces(range: Range<u32>, size: usize) -> impl Iterator<Item = (u32, usize)> {
    let Range { start, end } = range;
    (start..end).step_by(size).map(move |at| (at, size.min((end - at) as usize)))
}

/// Programs whole units and looks whether the flash took them: a worn place may say nothing.
fn program<F: Flash>(flash: &mut F, offset: u32, bytes: &[u8]) -> Result<(), Error<F::Error>> {
    flash.program(offset, bytes).map_err(Error::Io)?;
    let mut found = [0; MAX_WRITE_SIZE as usize];
    for (at, chunk) in (offset..).step_by(found.len()).zip(bytes.chunks(found.len())) {
        let found = &mut found[..chunk.len()];
        flash.read(at, found).map_err(Error::Io)?;
        if found != chunk {
            return Err(Error::Worn { offset: at });
        }
    }
    Ok(())
}
