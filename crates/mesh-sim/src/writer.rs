//! The journal of a simulated ECU: what it writes takes the time that its flash takes.
//!
//! One job at a time, as in the Linux process: everything that was queued while it wrote makes the next one.

use device_chain::keys::KeyStore;
use device_chain::limits::MAX_MESSAGE;
use device_chain::record::RecordKind;
use device_chain::types::Micros;
use ecu_node::Ecu;
use ecu_node::store::{Store, Upkeep};
use journal::{Error, MemError};

use crate::flash::{SharedCounter, SharedFlash};

/// When a job is done, µs, and the token up to which everything is durable then.
pub type Done = (u64, u64);

/// What a journal did since its ECU was powered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Appends, of one record or more.
    pub appends: u32,
    /// Pages erased beforehand.
    pub pages: u32,
    /// Rewrites.
    pub rewrites: u32,
    /// The longest of them, µs.
    pub longest_rewrite_us: u64,
}

/// The journal of a powered ECU.
pub struct Writer {
    store: Store<SharedFlash, SharedCounter>,
    flash: SharedFlash,
    queue: Vec<(RecordKind, Vec<u8>)>,
    /// Last token handed to [`Self::push`].
    token: u64,
    busy_until_us: u64,
    jobs: Jobs,
    failure: Option<Error<MemError>>,
    abstains: bool,
}

impl Writer {
    /// The writer of an open store on `flash`.
    #[must_use]
    pub fn new(store: Store<SharedFlash, SharedCounter>, flash: SharedFlash) -> Self {
        Self {
            store,
            flash,
            queue: Vec::new(),
            token: 0,
            busy_until_us: 0,
            jobs: Jobs::default(),
            failure: None,
            abstains: false,
        }
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store<SharedFlash, SharedCounter> {
        &self.store
    }

    /// What it did.
    #[must_use]
    pub const fn jobs(&self) -> Jobs {
        self.jobs
    }

    /// What failed last on the flash, if anything did.
    #[must_use]
    pub const fn failure(&self) -> Option<Error<MemError>> {
        self.failure
    }

    /// Whether nothing can be made durable any more: the ECU is silent about all that would have to be (P6).
    #[must_use]
    pub const fn abstains(&self) -> bool {
        self.abstains
    }

    /// Whether it has nothing to write and is not writing.
    #[must_use]
    pub fn is_idle(&self, now: Micros) -> bool {
        self.queue.is_empty() && self.busy_until_us <= now.0
    }

    /// Takes a record, unless it [abstains](Self::abstains): the ECU then waits for ever.
    pub fn push(&mut self, token: u64, kind: RecordKind, bytes: &[u8]) {
        if !self.abstains {
            self.token = token;
            self.queue.push((kind, bytes.to_vec()));
        }
    }

    /// Begins the next job if none is under way. All effects of `ecu` must have been polled, for a rewrite stands for
    /// everything that it has handed out.
    ///
    /// # Errors
    /// [`MemError::NoPower`]: the power went in the middle of it.
    pub fn next_job<K: KeyStore>(&mut self, now_us: u64, ecu: &Ecu<K>) -> Result<Option<Done>, MemError> {
        if self.abstains || now_us < self.busy_until_us {
            return Ok(None);
        }
        let before_ns = self.flash.0.borrow().busy_ns();
        let quiet = self.queue.is_empty() && ecu.is_quiet(Micros(now_us));
        // what does not go into one bank may go into the other
        let upkeep = self.store.upkeep(quiet);
        let written = match upkeep {
            None if self.queue.is_empty() => return Ok(None),
            None => self.append().or_else(|error| self.note(error).rewrite(ecu)),
            Some(Upkeep::Rewrite) => self.rewrite(ecu).or_else(|error| self.note(error).append()),
            Some(Upkeep::Prepare) => self.store.prepare().or_else(|error| self.note(error).append()),
        };
        if let Err(error) = written {
            self.abstains = true;
            return if error == Error::Io(MemError::NoPower) { Err(MemError::NoPower) } else { Ok(None) };
        }
        self.queue.clear();
        let took_us = (self.flash.0.borrow().busy_ns() - before_ns).div_ceil(1000);
        self.busy_until_us = now_us + took_us;
        match upkeep {
            None => self.jobs.appends += 1,
            Some(Upkeep::Prepare) => self.jobs.pages += 1,
            Some(Upkeep::Rewrite) => {
                self.jobs.rewrites += 1;
                self.jobs.longest_rewrite_us = self.jobs.longest_rewrite_us.max(took_us);
            }
        }
        Ok(Some((self.busy_until_us, self.token)))
    }

    fn append(&mut self) -> Result<(), Error<MemError>> {
        self.store.append(self.queue.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())))
    }

    fn rewrite<K: KeyStore>(&mut self, ecu: &Ecu<K>) -> Result<(), Error<MemError>> {
        let mut buffer = [0; MAX_MESSAGE];
        self.store.rewrite(|keep| ecu.validator().live_records(&mut buffer, keep))
    }

    fn note(&mut self, error: Error<MemError>) -> &mut Self {
        self.failure = Some(error);
        self
    }
}
