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
    /// Start of the bank that the next rewrite fills.
    next: u32,
    /// Bytes from there on that are known to be erased.
    prepared: u32,
}

/// What [`Journal::open`] found besides the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The end holds something that is no record, and no record behind it: after a power cut the append that was under
    /// way. It was dropped.
    pub torn_tail: bool,
    /// The last step was never acknowledged: the power went between writing and counting. What it wrote may not be there
    /// the next time; it counts only after a rewrite.
    pub unconfirmed: bool,
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
        self.torn_tail || self.unconfirmed || !self.is_complete()
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
    /// The flash does not take what is written any more.
    Worn {
        /// Its offset.
        offset: u32,
    },
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
    /// The flash does not hold what was just programmed, or is not erased by an erase. It may hold elsewhere: a rewrite
    /// uses the other bank.
    Worn {
        /// Its offset.
        offset: u32,
    },
    /// Flash or counter failed. What was to be written may or may not be found at the next open.
    Io(E),
}

impl<E> From<Error<E>> for OpenError<E> {
    /// What keeps a journal from being begun keeps it from being opened.
    fn from(error: Error<E>) -> Self {
        match error {
            Error::Full | Error::TooLong { .. } | Error::NeedsRewrite => Self::Geometry, // too small for a beginning
            Error::Damaged { offset } | Error::Worn { offset } => Self::Worn { offset },
            Error::Io(error) => Self::Io(error),
        }
    }
}

impl<F: Flash, C: Counter<Error = F::Error>> Journal<F, C> {
    /// Erases the flash and begins an empty journal of the device `identity`. Only provisioning does this.
    ///
    /// The counter stays as it is: a device that formats a flash after its journal was lost finds the new one stale.
    ///
    /// # Errors
    /// [`OpenError::Geometry`], [`OpenError::Worn`] or [`OpenError::Io`].
    pub fn format(flash: &mut F, identity: Identity) -> Result<(), OpenError<F::Error>> {
        if !flash.geometry().is_valid() {
            return Err(OpenError::Geometry);
        }
        let mut medium = Medium::new(flash, identity);
        let mut format = || {
            (0..medium.geometry.capacity)
                .step_by(medium.geometry.erase_size as usize)
                .try_for_each(|page| medium.erase_page(page))?;
            medium.commit(&Bank::new(0, BankHeader { generation: 0, sequence: 0 }))
        };
        Ok(format()?)
    }

    /// Opens the journal of the device `identity` and tells what was found; writes nothing.
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
        let value = counter.value();
        let (bank, next) = find_bank(&mut medium, value)?;

        let dirty = !medium.is_erased(bank.end, medium.limit(bank.start)).map_err(OpenError::Io)?;
        let behind = dirty && medium.has_record_behind(&bank).map_err(OpenError::Io)?;
        let journal = bank.last_sequence;
        let recovery = Recovery {
            torn_tail: dirty && !behind,
            unconfirmed: journal > value,
            damaged: behind.then_some(bank.end),
            stale: (journal < value).then_some(Stale { journal, counter: value }),
            last_sequence: journal,
        };
        let needs_rewrite = recovery.needs_rewrite();
        Ok((Self { medium, counter, bank, needs_rewrite, next, prepared: 0 }, recovery))
    }

    /// Calls `visit(sequence, kind, payload)` for every record, oldest first; the payload lies in `buffer`. A record that was never
    /// acknowledged and cannot be read any more ends them.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`]; what was visited before stands.
    pub fn for_each(
        &mut self,
        buffer: &mut [u8; MAX_RECORD],
        mut visit: impl FnMut(u64, u8, &[u8]),
    ) -> Result<(), Error<F::Error>> {
        let mut cursor = Bank::new(self.bank.start, self.bank.header);
        while cursor.end < self.bank.end {
            let (offset, read) = (cursor.end, cursor.last_sequence);
            match self.medium.read_next(&mut cursor, buffer).map_err(Error::Io)? {
                Some(header) => visit(header.sequence, header.kind, &buffer[..header.length.into()]),
                None if read >= self.counter.value() => break,
                None => return Err(Error::Damaged { offset }),
            }
        }
        Ok(())
    }

    /// Appends a record and returns its sequence number. Durable on return.
    ///
    /// # Errors
    /// As [`Self::append_batch`].
    pub fn append(&mut self, kind: u8, payload: &[u8]) -> Result<u64, Error<F::Error>> {
        self.append_batch(|batch| batch.append(kind, payload))
    }

    /// Appends the records that `write` hands over, durable on return, with one step of the counter for all. Returns the
    /// sequence number of the last. After a power cut any number of them may be found, from the first on.
    ///
    /// # Errors
    /// What `write` returned, [`Error::NeedsRewrite`], [`Error::Worn`] or [`Error::Io`]. After the last two, and if some of
    /// the records were written, a rewrite is needed.
    pub fn append_batch(
        &mut self,
        write: impl FnOnce(&mut Batch<'_, F>) -> Result<(), Error<F::Error>>,
    ) -> Result<u64, Error<F::Error>> {
        if self.needs_rewrite {
            return Err(Error::NeedsRewrite);
        }
        let mut batch = Batch { medium: &mut self.medium, bank: self.bank };
        let written = write(&mut batch);
        let bank = batch.bank;
        let durable = written.and_then(|()| {
            self.medium.flash.sync().map_err(Error::Io)?;
            self.counter.raise(bank.last_sequence).map_err(Error::Io)
        });
        let untouched = bank.end == self.bank.end && matches!(durable, Err(Error::Full | Error::TooLong { .. }));
        self.needs_rewrite = durable.is_err() && !untouched;
        durable?;
        self.bank = bank;
        Ok(bank.last_sequence)
    }

    /// Erases one page of the bank that is filled next; whether there was one to erase. A rewrite that comes after all of them
    /// are erased need not wait for that.
    ///
    /// # Errors
    /// [`Error::Worn`] or [`Error::Io`]; the journal goes on in its bank.
    pub fn prepare(&mut self) -> Result<bool, Error<F::Error>> {
        if self.needs_rewrite {
            return Ok(false); // after a rewrite that failed the other bank may be the one that counts
        }
        self.erase_next()
    }

    /// Whether a rewrite finds its bank erased.
    pub fn is_prepared(&self) -> bool {
        self.prepared == self.medium.geometry.bank_size()
    }

    fn erase_next(&mut self) -> Result<bool, Error<F::Error>> {
        let (page, bank_size) = (self.medium.geometry.erase_size, self.medium.geometry.bank_size());
        while self.prepared < bank_size {
            let offset = self.next + self.prepared;
            let erased = self.medium.is_erased(offset, offset + page).map_err(Error::Io)?;
            if !erased {
                self.medium.erase_page(offset)?;
            }
            self.prepared += page;
            if !erased {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Replaces all records by those that `write` appends, in one atomic step, durable on return. What they are made of has been
    /// read before: while `write` runs the old ones may be gone.
    ///
    /// The new records get new sequence numbers, above the counter's value.
    ///
    /// # Errors
    /// What `write` returned, [`Error::Worn`] or [`Error::Io`]. What was acknowledged then still counts, or, if the last step
    /// failed, the new records may at the next open.
    pub fn rewrite(
        &mut self,
        write: impl FnOnce(&mut Batch<'_, F>) -> Result<(), Error<F::Error>>,
    ) -> Result<(), Error<F::Error>> {
        // The header takes a sequence number: falling back to the old bank is noticed even if no record is written.
        let last = self.bank.last_sequence.max(self.counter.value());
        let header = BankHeader {
            generation: self.bank.header.generation.checked_add(1).ok_or(Error::Full)?,
            sequence: last.checked_add(1).ok_or(Error::Full)?,
        };
        while self.erase_next()? {}
        self.prepared = 0;
        let mut batch = Batch { medium: &mut self.medium, bank: Bank::new(self.next, header) };
        write(&mut batch)?;

        let bank = batch.bank;
        // From here on the new bank may count at the next open: an append to the old one could be lost.
        self.needs_rewrite = true;
        self.medium.commit(&bank)?;
        self.counter.raise(bank.last_sequence).map_err(Error::Io)?;
        self.bank = bank;
        self.next = self.medium.geometry.bank_size() - bank.start;
        self.needs_rewrite = false;
        Ok(())
    }

    /// Bytes left in the bank; an append takes [`record_size`](crate::record_size) of them.
    pub fn remaining(&self) -> u32 {
        self.medium.limit(self.bank.start) - self.bank.end
    }

    /// Whether only a [rewrite](Self::rewrite) is possible.
    pub fn needs_rewrite(&self) -> bool {
        self.needs_rewrite
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

/// Takes the records of one step: of an [append](Journal::append_batch) or a [rewrite](Journal::rewrite).
#[derive(Debug)]
pub struct Batch<'a, F> {
    medium: &'a mut Medium<F>,
    bank: Bank,
}

impl<F: Flash> Batch<'_, F> {
    /// Adds a record; it counts once the whole step does.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLong`], [`Error::Worn`] or [`Error::Io`].
    pub fn append(&mut self, kind: u8, payload: &[u8]) -> Result<(), Error<F::Error>> {
        self.medium.write_record(&mut self.bank, kind, payload)
    }
}

/// The bank that counts, the newest, and the start of the one to fill next: the other. But the newest of a rewrite that was never
/// acknowledged may not be there the next time, so it is filled anew itself while the other one holds all that was.
fn find_bank<F: Flash>(medium: &mut Medium<F>, counter: u64) -> Result<(Bank, u32), OpenError<F::Error>> {
    let (mut newest, mut older): (Option<Bank>, Option<Bank>) = (None, None);
    let mut foreign = false;
    for start in [0, medium.geometry.bank_size()] {
        match medium.bank_state(start).map_err(OpenError::Io)? {
            BankState::Ours(header) => {
                let mut bank = Bank::new(start, header);
                medium.find_end(&mut bank).map_err(OpenError::Io)?;
                if newest.is_none_or(|newest| newest.header.generation < header.generation) {
                    (newest, older) = (Some(bank), newest);
                } else {
                    older = Some(bank);
                }
            }
            BankState::Foreign => foreign = true,
            // Even beside a bank of ours: after a downgrade ours is the older one.
            BankState::Unsupported(version) => return Err(OpenError::Unsupported { version }),
            BankState::None => {}
        }
    }
    let newest = newest.ok_or(if foreign { OpenError::Foreign } else { OpenError::Blank })?;
    // every rewrite begins above the records before it: where those reach up to the counter, it has not been raised since
    let keeps_other = older.is_some_and(|older| older.last_sequence >= counter);
    let next = if keeps_other { newest.start } else { medium.geometry.bank_size() - newest.start };
    Ok((newest, next))
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
            Self::Worn { offset } => write!(f, "the flash is worn out at offset {offset}"),
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
            Self::Worn { offset } => write!(f, "the flash is worn out at offset {offset}"),
            Self::Damaged { offset } => write!(f, "the record at offset {offset} of the journal is damaged"),
            Self::Io(error) => write!(f, "flash or counter failed: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for OpenError<E> {}
impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
