//! The Event Chain as the gateway makes it: inputs in, effects out, no clock and no file.
//!
//! 1. Every decision of the mesh goes in, in order, and every record that the gateway alone attests. Both are made
//!    durable ([`Effect::Persist`]) and put into the open block.
//! 2. When a block is due, its header is made durable and submitted. If the mesh decides something else first, the
//!    header does not fit any more: a new one is made at once.
//! 3. The decision of the header closes the block. Its seals are collected; with a quorum of them, or after a bounded
//!    time with f + 1, the block goes to the uplink. Later seals go after it.
//!
//! One block is being sealed at a time: validators seal the newest block only, so the next one waits for its f + 1.

mod log;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use device_chain::block::{BlockHeader, Finality, Seal};
use device_chain::genesis::Genesis;
use device_chain::grant::{GrantRefusal, GrantUse};
use device_chain::limits::{MAX_BACKLOG, TIME_TOLERANCE_MS};
use device_chain::registry::Registry;
use device_chain::state::{Refusal, State};
use device_chain::tx::{Transaction, TxBytes};
use device_chain::types::{Height, Micros, ValidatorIndex};
use event_chain::block::{Block, MAX_ATTESTED, MAX_DECISIONS};
use event_chain::build::{BlockBuilder, BuildError};
use event_chain::record::{AttestedRecord, RecordKind};
use event_chain::verify::{Pages, pages_of, registry_of};
use serde::{Deserialize, Serialize};

pub use log::{Found, Log, LogError};
pub use status::{ChainStatus, SealingStatus};

/// A block with so many decisions is closed at once: half of what the mesh lets wait is left for the time it takes (DC-52).
const MANY_DECISIONS: usize = MAX_BACKLOG as usize / 2;
/// A block with so many records is closed at once.
const MANY_ATTESTED: usize = MAX_ATTESTED / 2;
const _: () = assert!(MANY_DECISIONS < MAX_BACKLOG as usize && (MAX_BACKLOG as usize) < MAX_DECISIONS);
/// When a header without an answer is submitted again, microseconds.
const RESUBMIT_US: u64 = 5_000_000;
/// When a block that the uplink could not take is given to it again, microseconds.
const FORWARD_AGAIN_US: u64 = 1_000_000;

/// When blocks are closed and forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From block to block while there is something new, microseconds.
    pub close_us: u64,
    /// From block to block as a sign of life, microseconds.
    pub idle_us: u64,
    /// How long a block waits for its quorum of seals before f + 1 are enough, microseconds.
    pub seal_us: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { close_us: 2_000_000, idle_us: 15_000_000, seal_us: 3_000_000 }
    }
}

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since boot, for timers.
    pub at: Micros,
    /// Unix time in milliseconds, for what the gateway alone attests.
    pub unix_ms: u64,
    /// What the clocks of the mesh say, as far as the own node can tell: for blocks.
    pub estimate_ms: Option<u64>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// The mesh decided. What is known already is passed over.
    Decided(Height, TxBytes),
    /// The node has taken over a state of this height: all decisions up to it should have come before.
    CaughtUp(Height),
    /// The gateway alone saw something.
    Attest(RecordKind),
    /// A seal of a block, not checked yet.
    Seal(u32, Seal),
    /// Answer to [`Effect::Forward`], if it could be carried out.
    Forwarded(u32, Finality),
}

/// Something to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append to the log; durable before any effect behind it is carried out.
    Persist(Entry),
    /// Ask the mesh to decide this.
    Submit(Transaction),
    /// Give the block to the uplink, or its additional seals. Once that is durable, say [`Input::Forwarded`].
    Forward(Box<Block>, Finality),
    /// From here on the chain cannot be continued.
    Broken(Broken),
}

/// What the log holds. Append variants, never reorder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// Everything up to here: the first entry of a log.
    Snapshot(Box<Snapshot>),
    /// The next decision.
    Decided(TxBytes),
    /// A record for the open block.
    Attested(AttestedRecord),
    /// The header of the open block, before it is submitted: the same one is submitted after a restart.
    Proposed(BlockHeader),
    /// A valid seal of the closed block.
    Sealed(Seal),
    /// The uplink has the closed block with so many seals.
    Forwarded(Finality),
}

/// All that a [`Chain`] must not forget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    state: State,
    /// What the registry says that the genesis does not.
    pages: Pages,
    builder: BlockBuilder,
    proposed: Option<BlockHeader>,
    sealing: Option<Sealing>,
}

/// The newest closed block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sealing {
    block: Block,
    forwarded: Option<Finality>,
}

/// Why no block can follow any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Decisions are missing and no node has kept them.
    Gap {
        /// The last one known.
        after: Height,
        /// The next one known.
        to: Height,
    },
    /// A decision that does not follow from those before.
    Decision(Height, Option<Refusal>),
    /// The mesh closed a block whose attested records are not here.
    Records(Height),
    /// What the log says of who belongs to the car is damaged.
    Registry,
    /// So many decisions were made without a block being sealed that none could hold them.
    Full(Height),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { after, to } => write!(
                f,
                "the decisions after height {after} and before {to} are lost: the gateway was away for longer than the \
                 mesh remembers, or its chain.log was removed or replaced by an older one"
            )?,
            Self::Decision(height, _) => {
                write!(f, "the decision at height {height} does not follow from those in chain.log")?;
            }
            Self::Registry => {
                f.write_str("what chain.log says of who belongs to the car is damaged")?;
            }
            Self::Records(height) => write!(
                f,
                "the mesh closed a block at height {height} whose records are not in chain.log: an older one was put back"
            )?,
            Self::Full(height) => {
                write!(f, "at height {height} there are more decisions than a block holds, and none was sealed")?;
            }
        }
        write!(
            f,
            "; blocks made so far stay valid, but no more can follow, and grants and records end {MAX_BACKLOG} "
        )?;
        f.write_str("decisions after the last one (DC-52): provision the car anew")
    }
}

/// The Event Chain in the making.
pub struct Chain {
    genesis: Genesis,
    /// Who belongs to the car after the state's decisions.
    registry: Box<Registry>,
    policy: Policy,
    kept: Snapshot,
    broken: Option<Broken>,
    /// The newest block was closed, or this process began.
    closed_at: Micros,
    submitted_at: Option<Micros>,
    /// When the closed block was last given to the uplink, and with what finality.
    offered: Option<(Micros, Finality)>,
    /// Seals of the next block by their validators: others may be faster than the own node.
    early: BTreeMap<ValidatorIndex, Seal>,
    bad_seals: u64,
    dropped_records: u64,
    effects: VecDeque<Effect>,
}

impl Chain {
    /// The chain of a car that has decided nothing yet.
    #[must_use]
    pub fn new(genesis: Genesis, policy: Policy, now: Micros) -> Self {
        let kept = Snapshot {
            state: State::new(&genesis),
            pages: Pages::new(),
            builder: BlockBuilder::new(genesis.mesh()),
            proposed: None,
            sealing: None,
        };
        Self {
            registry: Box::new(Registry::from(&genesis)),
            genesis,
            policy,
            kept,
            broken: None,
            closed_at: now,
            submitted_at: None,
            offered: None,
            early: BTreeMap::new(),
            bad_seals: 0,
            dropped_records: 0,
            effects: VecDeque::new(),
        }
    }

    /// Takes the next entry of the log, before any input.
    fn replay(&mut self, entry: Entry) {
        if let Err(broken) = self.apply(entry) {
            self.give_up(broken);
        }
    }

    /// All of it, as the first entry of a new log.
    fn snapshot(&self) -> Entry {
        Entry::Snapshot(Box::new(self.kept.clone()))
    }

    /// Whether a grant opens nothing any more, as far as this chain knows.
    #[must_use]
    pub fn is_used(&self, usage: &GrantUse) -> bool {
        let refusal = self.state().check(&Transaction::UseGrant(*usage), &self.registry);
        refusal == Err(Refusal::Grant(GrantRefusal::Used))
    }

    const fn state(&self) -> &State {
        &self.kept.state
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Tick => {}
            Input::Decided(height, bytes) => self.on_decided(now.at, height, bytes),
            Input::CaughtUp(height) => self.on_height(height),
            Input::Attest(kind) => self.attest(AttestedRecord { time_ms: now.unix_ms, kind }),
            Input::Seal(number, seal) => self.on_seal(number, seal),
            Input::Forwarded(number, finality) => self.on_forwarded(number, finality),
        }
        self.forward(now.at);
        self.close(now);
    }

    /// The next effect; `None` when there is nothing to do before the next input.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        [self.forward_due().map(|(due, _)| due), self.close_due()].into_iter().flatten().min()
    }

    fn on_decided(&mut self, now: Micros, height: Height, bytes: TxBytes) {
        if height <= self.state().height() {
            return;
        }
        self.on_height(height - 1);
        if self.broken.is_some() {
            return;
        }
        let before = self.state().event().number;
        if let Err(broken) = self.record(Entry::Decided(bytes)) {
            return self.give_up(broken);
        }
        self.submitted_at = None;
        let number = self.state().event().number;
        if number > before {
            (self.closed_at, self.offered) = (now, None);
            for seal in std::mem::take(&mut self.early).into_values() {
                self.on_seal(number, seal);
            }
        }
    }

    /// Everything up to `height` must be known.
    fn on_height(&mut self, height: Height) {
        let after = self.state().height();
        if height > after {
            self.give_up(Broken::Gap { after, to: height + 1 });
        }
    }

    fn give_up(&mut self, broken: Broken) {
        if self.broken.is_none() {
            self.effects.push_back(Effect::Broken(broken.clone()));
            self.broken = Some(broken);
        }
    }

    fn attest(&mut self, record: AttestedRecord) {
        let full = self.kept.builder.attested() == MAX_ATTESTED;
        if full || self.broken.is_some() || self.record(Entry::Attested(record)).is_err() {
            self.dropped_records += 1;
        }
    }

    /// The signature is checked here: in the gateway's own loop, which no approval waits for.
    fn on_seal(&mut self, number: u32, seal: Seal) {
        if number == self.state().event().number + 1 && usize::from(seal.validator) < self.genesis.validators.len() {
            self.early.insert(seal.validator, seal);
            return;
        }
        let Some(sealing) = &mut self.kept.sealing else { return };
        if sealing.block.header.number != number || sealing.block.seals.iter().any(|s| s.validator == seal.validator) {
            return;
        }
        if sealing.block.add_seal(seal, &self.registry) {
            self.effects.push_back(Effect::Persist(Entry::Sealed(seal)));
        } else {
            self.bad_seals += 1;
        }
    }

    fn on_forwarded(&mut self, number: u32, finality: Finality) {
        let newest = self.kept.sealing.as_ref().is_some_and(|sealing| sealing.block.header.number == number);
        if newest {
            let _ = self.record(Entry::Forwarded(finality)); // cannot break anything
        }
    }

    /// When the closed block is to be given to the uplink, and as what: final at once, provisional when the quorum was
    /// waited for in vain.
    fn forward_due(&self) -> Option<(Micros, Finality)> {
        let sealing = self.kept.sealing.as_ref()?;
        let quorum = sealing.block.header.members.quorum(&self.genesis);
        let (due, finality) = match sealing.block.counted_seals() {
            seals if seals >= quorum.votes() => (self.closed_at, Finality::Final),
            seals if seals >= quorum.one_correct() => (self.closed_at.plus(self.policy.seal_us), Finality::Provisional),
            _ => return None,
        };
        let again = self.offered.filter(|(_, offered)| *offered == finality).map(|(at, _)| at.plus(FORWARD_AGAIN_US));
        (Some(finality) > sealing.forwarded).then_some((again.unwrap_or(due), finality))
    }

    fn forward(&mut self, now: Micros) {
        let due = self.forward_due().filter(|(due, _)| *due <= now);
        if let (Some((_, finality)), Some(sealing)) = (due, &self.kept.sealing) {
            self.offered = Some((now, finality));
            self.effects.push_back(Effect::Forward(Box::new(sealing.block.clone()), finality));
        }
    }

    /// When a block is to be closed, or its header to be submitted again.
    fn close_due(&self) -> Option<Micros> {
        let builder = &self.kept.builder;
        let sealed = self.kept.sealing.as_ref().is_none_or(|sealing| sealing.forwarded.is_some());
        if self.broken.is_some() || !sealed {
            return None;
        }
        if self.kept.proposed.is_some() {
            return Some(self.submitted_at.map_or(self.closed_at, |at| at.plus(RESUBMIT_US)));
        }
        // the first decision of a block is the approval of the block before: no news
        let known = usize::from(self.state().event().number > 0);
        let wait = if builder.decisions() >= MANY_DECISIONS || builder.attested() >= MANY_ATTESTED {
            0
        } else if builder.decisions() > known || builder.attested() > 0 {
            self.policy.close_us
        } else {
            self.policy.idle_us
        };
        Some(self.closed_at.plus(wait))
    }

    fn close(&mut self, now: Now) {
        if self.close_due().is_none_or(|due| due > now.at) {
            return;
        }
        // never the own clock alone; where nobody knows the time it stays (DC-62)
        let time_ms = now.estimate_ms.map_or(self.state().time_ms(), |estimate| self.state().time_near(estimate));
        let is_timely = |header: &BlockHeader| header.time_ms.abs_diff(time_ms) <= TIME_TOLERANCE_MS / 2;
        let header = self.kept.proposed.clone().filter(is_timely).unwrap_or_else(|| {
            let header = self.kept.builder.header(&self.kept.state, time_ms);
            let _ = self.record(Entry::Proposed(header.clone())); // cannot break anything
            header
        });
        self.submitted_at = Some(now.at);
        self.effects.push_back(Effect::Submit(Transaction::EventBlock(header)));
    }

    /// Changes what is kept, now and at the next start.
    fn record(&mut self, entry: Entry) -> Result<(), Broken> {
        self.apply(entry.clone())?;
        self.effects.push_back(Effect::Persist(entry));
        Ok(())
    }

    fn apply(&mut self, entry: Entry) -> Result<(), Broken> {
        let kept = &mut self.kept;
        match entry {
            Entry::Snapshot(snapshot) => {
                *kept = *snapshot;
                *self.registry = registry_of(&self.genesis, &kept.pages).ok_or(Broken::Registry)?;
            }
            Entry::Decided(bytes) => return self.apply_decision(bytes),
            Entry::Attested(record) => {
                kept.builder.attest(record).map_err(|_| Broken::Full(kept.state.height()))?;
            }
            Entry::Proposed(header) => kept.proposed = Some(header),
            Entry::Sealed(seal) => {
                if let Some(sealing) = &mut kept.sealing {
                    sealing.block.add_seal(seal, &self.registry);
                }
            }
            Entry::Forwarded(finality) => {
                if let Some(sealing) = &mut kept.sealing {
                    sealing.forwarded = Some(finality);
                }
            }
        }
        Ok(())
    }

    fn apply_decision(&mut self, bytes: TxBytes) -> Result<(), Broken> {
        let kept = &mut self.kept;
        let height = kept.state.height() + 1;
        let tx = Transaction::decode(&bytes).ok_or(Broken::Decision(height, None))?;
        kept.state.check(&tx, &self.registry).map_err(|refusal| Broken::Decision(height, Some(refusal)))?;
        let closed = kept.builder.decide(bytes.clone()).map_err(|error| match error {
            BuildError::Full => Broken::Full(height),
            BuildError::UnknownHeader => Broken::Records(height),
        })?;
        kept.state.apply(&bytes, &tx, &mut self.registry).map_err(|refusal| Broken::Decision(height, Some(refusal)))?;
        if matches!(tx, Transaction::Change(_) | Transaction::Firmware { .. }) {
            kept.pages = pages_of(&self.registry);
        }
        kept.proposed = None;
        if let Some(block) = closed {
            kept.sealing = Some(Sealing { block, forwarded: None });
        }
        Ok(())
    }
}
