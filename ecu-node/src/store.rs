//! The ECU's journal: what it must not forget, and how it knows that it has.

use device_chain::keys::KeyStore;
use device_chain::limits::{MAX_MESSAGE, MAX_STATE, MAX_VALIDATORS};
use device_chain::record::{MAX_RECORD, MAX_VOTE_RECORD, RecordKind};
use device_chain::registry::Devices;
use device_chain::types::{Height, ValidatorIndex};
use device_chain::validator::Validator;
use journal::{Counter, Error, Flash, Journal, OpenError, record_size};

/// Most bytes on a flash with units of 8 bytes of a vote, a lock or a decision whose value this ECU has named before at that
/// height. A lock is the PRECOMMIT that stands for it (P2).
pub const VOTE_BYTES: u32 = 32;
/// Most bytes there of the first vote that names a value, with the value's content (P1), and of any other fact.
pub const FACT_BYTES: u32 = 192;
const _: () = assert!(record_size(MAX_VOTE_RECORD, 8) <= VOTE_BYTES && record_size(MAX_RECORD, 8) <= FACT_BYTES);

/// Room that is left when the journal is rewritten at the latest: a state and the largest few records.
const RESERVE: u32 = 6 * 1024;
const _: () = assert!(record_size(MAX_STATE, 64) + 8 * FACT_BYTES < RESERVE);
/// Heights for which it is a validator's turn to look after its journal.
const TURN: Height = 8;
/// Room that is left when it is rewritten in a quiet moment: beside the reserve what a node writes while it is the turn of
/// the others. A bank should be three times that.
const EARLY: u32 = RESERVE + TURN * (MAX_VALIDATORS as u32 - 1) * (FACT_BYTES + 2 * VOTE_BYTES);

/// What opening the journal found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// Everything is there.
    Intact,
    /// The last append or rewrite was cut off by a loss of power; it had not been acted on.
    TornTail,
    /// There is no journal: wiped. The node listens until a quorum readmits it.
    Wiped,
    /// Older than what this ECU has said: an old image was put back, or its end was lost.
    Stale {
        /// Records behind the monotonic counter.
        missing: u64,
    },
    /// A record in the middle is damaged or contradicts the others.
    Damaged,
    /// The journal of another ECU or car.
    Foreign,
}

impl Diagnosis {
    /// Whether the node must listen only, until it is readmitted (P5).
    #[must_use]
    pub const fn is_amnesia(self) -> bool {
        !matches!(self, Self::Intact | Self::TornTail)
    }
}

/// What a journal needs besides appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// [`Store::prepare`], which takes as long as erasing a page.
    Prepare,
    /// [`Store::rewrite`], which takes as long as writing all that counts.
    Rewrite,
}

/// Whether it is the turn of validator `index` of `n` to look after its journal, which keeps it from voting meanwhile. Turns
/// go by height, so that those who decide the same heights are not away at the same time.
pub(crate) fn is_turn(height: Height, index: ValidatorIndex, n: usize) -> bool {
    (height / TURN) as usize % n == usize::from(index)
}

/// An open journal.
pub struct Store<F, C> {
    journal: Journal<F, C>,
    /// The other bank could not be erased or written: what is in this one still counts and can be added to.
    alone: bool,
}

/// What [`open`] gives back.
pub struct Opened<F, C> {
    /// The journal, ready for appending.
    pub store: Store<F, C>,
    /// What was found.
    pub diagnosis: Diagnosis,
}

/// Makes the journal of a new ECU, as provisioning does.
///
/// # Errors
/// As [`Journal::format`].
pub fn format<F: Flash, C: Counter<Error = F::Error>>(
    flash: &mut F,
    genesis: &impl Devices,
) -> Result<(), OpenError<F::Error>> {
    Journal::<_, C>::format(flash, genesis.mesh().0.0)
}

/// Opens the journal and gives a validator that has its place what it holds. Whatever cannot be trusted makes the node an
/// amnesiac, never a boot loop: the journal is then begun anew with that fact. `buffer` is for its records, one at a time.
///
/// # Errors
/// [`OpenError::Io`], [`OpenError::Worn`], [`OpenError::Geometry`] and [`OpenError::Unsupported`] only: nothing that a node
/// could heal. The ECU then takes no part in the mesh, and goes on with everything else that it does (P6).
pub fn open<K: KeyStore, F: Flash, C: Counter<Error = F::Error>>(
    reopen: &mut dyn FnMut() -> Result<(F, C), F::Error>,
    validator: &mut Validator<K>,
    buffer: &mut [u8; MAX_MESSAGE],
) -> Result<Opened<F, C>, OpenError<F::Error>> {
    let identity = validator.mesh().0.0;
    let (flash, counter) = reopen().map_err(OpenError::Io)?;
    let (mut journal, mut diagnosis) = match Journal::open(flash, counter, identity) {
        Ok((journal, recovery)) => {
            let diagnosis = match (recovery.stale, recovery.damaged) {
                (Some(stale), _) => Diagnosis::Stale { missing: stale.counter - stale.journal },
                (None, Some(_)) => Diagnosis::Damaged,
                (None, None) if recovery.needs_rewrite() => Diagnosis::TornTail,
                (None, None) => Diagnosis::Intact,
            };
            (journal, diagnosis)
        }
        Err(unusable @ (OpenError::Blank | OpenError::Foreign)) => {
            let diagnosis = if matches!(unusable, OpenError::Blank) { Diagnosis::Wiped } else { Diagnosis::Foreign };
            let (mut flash, counter) = reopen().map_err(OpenError::Io)?;
            Journal::<_, C>::format(&mut flash, identity)?;
            (Journal::open(flash, counter, identity)?.0, diagnosis)
        }
        Err(other) => return Err(other),
    };

    let mut sound = true;
    let replayed = journal.for_each(buffer, |_, kind, payload| {
        sound = sound && RecordKind::from_code(kind).is_some_and(|kind| validator.replay(kind, payload).is_ok());
    });
    if (replayed.is_err() || !sound) && !diagnosis.is_amnesia() {
        diagnosis = Diagnosis::Damaged;
    }
    if diagnosis.is_amnesia() {
        validator.forget();
    }
    let mut store = Store { journal, alone: false };
    if diagnosis != Diagnosis::Intact {
        store.rewrite(|keep| validator.live_records(buffer, keep))?;
    }
    Ok(Opened { store, diagnosis })
}

impl<F: Flash, C: Counter<Error = F::Error>> Store<F, C> {
    /// Appends records in one durable step.
    ///
    /// # Errors
    /// The flash failed or is full: the ECU must stay silent about what it could not write (P6), unless a
    /// [rewrite](Self::rewrite) takes it.
    pub fn append<'r>(
        &mut self,
        records: impl IntoIterator<Item = (RecordKind, &'r [u8])>,
    ) -> Result<(), Error<F::Error>> {
        let mut records = records.into_iter();
        let appended =
            self.journal.append_batch(|batch| records.try_for_each(|(kind, bytes)| batch.append(kind as u8, bytes)));
        appended.map(|_| ())
    }

    /// Bytes that can be appended before the store is full.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.journal.remaining()
    }

    /// What is due now; in a quiet moment ([`Ecu::is_quiet`](crate::Ecu::is_quiet)) also what can wait. What one input makes
    /// durable still fits before a rewrite.
    #[must_use]
    pub fn upkeep(&self, quiet: bool) -> Option<Upkeep> {
        let (journal, room) = (&self.journal, self.remaining());
        if journal.needs_rewrite() || room < RESERVE && !self.alone {
            Some(Upkeep::Rewrite)
        } else if !quiet || self.alone {
            None
        } else if !journal.is_prepared() {
            Some(Upkeep::Prepare)
        } else {
            (room < EARLY).then_some(Upkeep::Rewrite)
        }
    }

    /// Erases a page of the bank that is written next.
    ///
    /// # Errors
    /// The flash failed there; the store goes on in its bank until that is full.
    pub fn prepare(&mut self) -> Result<(), Error<F::Error>> {
        let prepared = self.journal.prepare();
        self.alone = prepared.is_err();
        prepared.map(|_| ())
    }

    /// Replaces everything by the records that `write` hands to its argument, in one atomic step, durable on return.
    /// They are those of `Validator::live_records` when every effect has been polled: what was handed out but not
    /// appended yet is then among them.
    ///
    /// # Errors
    /// As [`Self::append`]; what was acknowledged then still counts, and if nothing else failed it can be appended to until the
    /// store is full.
    pub fn rewrite(&mut self, write: impl FnOnce(&mut dyn FnMut(RecordKind, &[u8]))) -> Result<(), Error<F::Error>> {
        let rewritten = self.journal.rewrite(|writer| {
            let mut written = Ok(());
            write(&mut |kind, bytes| {
                if written.is_ok() {
                    written = writer.append(kind as u8, bytes);
                }
            });
            written
        });
        self.alone = rewritten.is_err();
        rewritten
    }
}
