use core::fmt;

use crate::counter::Counter;
use crate::flash::Flash;
use crate::format::{BankHeader, BankState, Identity, MAX_RECORD, VERSION};
use crate::medium::{Bank, Medium};

/// An open journal; see the [crate's front page](crate).
#[derive(Debug)]
pub struct Journal<F, C> {
    medium: Medium<F>,
    counter: C,
    bank: Bank,
    needs_rewrite: bool,
}

/// What [`Journal::open`] found besides the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The end holds something that is no record, and no record behind it: after a power cut the append that was under
    /// way. It was dropped.
    pub torn_tail: bool,
    /// Offset on the flash of something that is no record although records stand behind it. It and they were dropped.
    pub damaged: Option<u32>,
    /// Acknowledged records are missing, or an older image was put back.
    pub stale: Option<Stale>,
    /// Sequence number of the last record (or of the bank, while it has none).
    pub last_sequence: u64,
}

/// How far a journal is behind its [`Counter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The last sequence number in the journal.
    pub journal: u64,
    /// What the counter says it was.
    pub counter: u64,
}

impl Recovery {
    /// Whether every acknowledged record is there. If not, the owner must act as one who has forgotten.
    pub fn is_complete(&self) -> bool {
        self.damaged.is_none() && self.stale.is_none()
    }

    /// Whether a [rewrite](Journal::rewrite) has to come before the first append.
    pub fn needs_rewrite(&self) -> bool {
        self.torn_tail || !self.is_complete()
    }
}

/// Why a journal could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError<E> {
    /// Neither bank has a valid header: never formatted, wiped, or damaged beyond use.
    Blank,
    /// It belongs to another device.
    Foreign,
    /// It was written by another version of this crate.
    Unsupported {
        /// The version it was written in.
        version: u16,
    },
    /// The flash's sizes do not suit a journal ([`Geometry::is_valid`](crate::Geometry::is_valid)).
    Geometry,
    /// Flash or counter failed.
    Io(E),
}

/// Why something could not be written or replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The bank has no room for it: rewrite, with less.
    Full,
    /// The payload is longer than [`MAX_RECORD`].
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The end is not clean ([`Recovery::needs_rewrite`], or an earlier write failed): only a rewrite is possible.
    NeedsRewrite,
    /// A record that was intact when the journal was opened is not any more.
    Damaged {
        /// Its offset on the flash.
        offset: u32,
    },
    /// Flash or counter failed. What was to be written may or may not be found at the next open.
    Io(E),
}

impl<F: Flash, C: Counter<Error = F::Error>> Journal<F, C> {
    /// Erases the flash and begins an empty journal of the device `identity`. Only provisioning does this.
    ///
    /// The counter stays as it is: a device that formats a flash after its journal was lost finds the new one stale.
    ///
    /// # Errors
    /// [`OpenError::Geometry`] or [`OpenError::Io`].
    pub fn format(flash: &mut F, identity: Identity) -> Result<(), OpenError<F::Error>> {
        if !flash.geometry().is_valid() {
            return Err(OpenError::Geometry);
        }
        let mut medium = Medium::new(flash, identity);
        medium.erase_bank(0).map_err(OpenError::Io)?;
        medium.erase_bank(medium.geometry.bank_size()).map_err(OpenError::Io)?;
        medium.commit(&Bank::new(0, BankHeader { generation: 0, sequence: 0 })).map_err(OpenError::Io)
    }

    /// Opens the journal of the device `identity` and tells what was found; writes nothing to the flash.
    ///
    /// # Errors
    /// See [`OpenError`]. A `&mut` to a flash is a flash, too, so that it need not be lost by an error.
    pub fn open(flash: F, counter: C, identity: Identity) -> Result<(Self, Recovery), OpenError<F::Error>> {
        if !flash.geometry().is_valid() {
            return Err(OpenError::Geometry);
        }
        let mut medium = Medium::new(flash, identity);
        // What a killed process wrote may be readable and yet not durable.
        medium.flash.sync().map_err(OpenError::Io)?;
        let mut bank = find_bank(&mut medium)?;
        while medium.read_next(&mut bank).map_err(OpenError::Io)?.is_some() {}

        let dirty = !medium.is_erased(bank.start, bank.end).map_err(OpenError::Io)?;
        let behind = dirty && medium.has_record_behind(&bank).map_err(OpenError::Io)?;
        let (journal, value) = (bank.last_sequence, counter.value());
        let recovery = Recovery {
            torn_tail: dirty && !behind,
            damaged: behind.then_some(bank.end),
            stale: (journal < value).then_some(Stale { journal, counter: value }),
            last_sequence: journal,
        };
        let mut journal = Self { medium, counter, bank, needs_rewrite: recovery.needs_rewrite() };
        // A cut between a write and its counter leaves the counter behind; from now on that record counts.
        journal.counter.raise(journal.bank.last_sequence).map_err(OpenError::Io)?;
        Ok((journal, recovery))
    }

    /// Calls `visit(sequence, kind, payload)` for every record, oldest first.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`]; what was visited before stands.
    pub fn for_each(&mut self, mut visit: impl FnMut(u64, u8, &[u8])) -> Result<(), Error<F::Error>> {
        let mut cursor = Bank::new(self.bank.start, self.bank.header);
        while cursor.end < self.bank.end {
            let offset = cursor.end;
            let found = self.medium.read_next(&mut cursor).map_err(Error::Io)?;
            let Some((header, payload)) = found else { return Err(Error::Damaged { offset }) };
            visit(header.sequence, header.kind, payload);
        }
        Ok(())
    }

    /// Appends a record and returns its sequence number. Durable on return.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLong`] and [`Error::NeedsRewrite`] change nothing; after [`Error::Io`] a rewrite is
    /// needed.
    pub fn append(&mut self, kind: u8, payload: &[u8]) -> Result<u64, Error<F::Error>> {
        if self.needs_rewrite {
            return Err(Error::NeedsRewrite);
        }
        let written = self
            .medium
            .write_record(&mut self.bank, kind, payload)
            .and_then(|()| self.medium.flash.sync().map_err(Error::Io))
            .and_then(|()| self.counter.raise(self.bank.last_sequence).map_err(Error::Io));
        self.needs_rewrite = matches!(written, Err(Error::Io(_)));
        written.map(|()| self.bank.last_sequence)
    }

    /// Replaces all records by those that `write` appends, in one atomic step, durable on return.
    ///
    /// The new records get new sequence numbers, above the counter's value.
    ///
    /// # Errors
    /// What `write` returned, or [`Error::Io`]. The old records then still count, or, if the last step failed, the new
    /// ones may at the next open.
    pub fn rewrite(
        &mut self,
        write: impl FnOnce(&mut Rewriter<'_, F>) -> Result<(), Error<F::Error>>,
    ) -> Result<(), Error<F::Error>> {
        // The header takes a sequence number: falling back to the old bank is noticed even if no record is written.
        let last = self.bank.last_sequence.max(self.counter.value());
        let header = BankHeader {
            generation: self.bank.header.generation.checked_add(1).ok_or(Error::Full)?,
            sequence: last.checked_add(1).ok_or(Error::Full)?,
        };
        let start = self.medium.geometry.bank_size() - self.bank.start;
        self.medium.erase_bank(start).map_err(Error::Io)?;
        let mut rewriter = Rewriter { medium: &mut self.medium, bank: Bank::new(start, header) };
        write(&mut rewriter)?;

        let bank = rewriter.bank;
        // From here on the new bank may count at the next open: an append to the old one could be lost.
        self.needs_rewrite = true;
        self.medium.commit(&bank).map_err(Error::Io)?;
        self.bank = bank;
        self.counter.raise(bank.last_sequence).map_err(Error::Io)?;
        self.needs_rewrite = false;
        Ok(())
    }

    /// Bytes left in the bank; an append takes [`record_size`](crate::record_size) of them.
    pub fn remaining(&self) -> u32 {
        self.medium.limit(self.bank.start) - self.bank.end
    }

    /// Sequence number of the last record (or of the bank, while it has none).
    pub fn last_sequence(&self) -> u64 {
        self.bank.last_sequence
    }

    /// Gives flash and counter back.
    pub fn into_ports(self) -> (F, C) {
        (self.medium.flash, self.counter)
    }
}

/// Writes the records of a [rewrite](Journal::rewrite).
#[derive(Debug)]
pub struct Rewriter<'a, F> {
    medium: &'a mut Medium<F>,
    bank: Bank,
}

impl<F: Flash> Rewriter<'_, F> {
    /// Appends a record; it counts once the whole rewrite does.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLong`] or [`Error::Io`].
    pub fn append(&mut self, kind: u8, payload: &[u8]) -> Result<(), Error<F::Error>> {
        self.medium.write_record(&mut self.bank, kind, payload)
    }
}

/// The bank that counts: the one of ours with the higher generation.
fn find_bank<F: Flash>(medium: &mut Medium<F>) -> Result<Bank, OpenError<F::Error>> {
    let mut newest: Option<Bank> = None;
    let mut foreign = false;
    for start in [0, medium.geometry.bank_size()] {
        match medium.bank_state(start).map_err(OpenError::Io)? {
            BankState::Ours(header) => {
                if newest.is_none_or(|bank| bank.header.generation < header.generation) {
                    newest = Some(Bank::new(start, header));
                }
            }
            BankState::Foreign => foreign = true,
            // Even beside a bank of ours: after a downgrade ours is the older one.
            BankState::Unsupported(version) => return Err(OpenError::Unsupported { version }),
            BankState::None => {}
        }
    }
    newest.ok_or(if foreign { OpenError::Foreign } else { OpenError::Blank })
}

impl<E: fmt::Display> fmt::Display for OpenError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => write!(f, "there is no journal: never provisioned, wiped, or damaged beyond use"),
            Self::Foreign => write!(f, "the journal belongs to another device or car"),
            Self::Unsupported { version } => {
                write!(f, "the journal is of version {version}, this software reads {VERSION}")
            }
            Self::Geometry => write!(f, "the flash's sizes do not suit a journal"),
            Self::Io(error) => write!(f, "flash or counter failed: {error}"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "the journal is full"),
            Self::TooLong { length } => write!(f, "a record of {length} bytes is longer than {MAX_RECORD}"),
            Self::NeedsRewrite => write!(f, "the journal has to be rewritten before anything is appended"),
            Self::Damaged { offset } => write!(f, "the record at offset {offset} of the journal is damaged"),
            Self::Io(error) => write!(f, "flash or counter failed: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for OpenError<E> {}
impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
