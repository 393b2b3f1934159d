//! What a validator makes durable, and how it comes back from it (P1 to P5).

use heapless::{Deque, Vec};
use serde::{Deserialize, Serialize};

use crate::agreement::VoteKind;
use crate::codec;
use crate::genesis::Genesis;
use crate::limits::{MAX_HISTORY, MAX_ROUNDS, MAX_VALUES};
use crate::state::State;
use crate::tx::{Transaction, TxBytes, decision_hash};
use crate::types::{Hash, Height, MeshId, Round};

/// How a journal marks a record of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A [`Record`].
    Fact = 1,
    /// A whole [`State`]: after catching up, and first in a rewritten journal.
    State = 2,
}

impl RecordKind {
    /// From the journal's mark.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Fact),
            2 => Some(Self::State),
            _ => None,
        }
    }
}

/// A durable fact. Append variants, never reorder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// This node has started for the n-th time.
    Boot(u32),
    /// An own vote, before it leaves (P1).
    Vote(VoteRecord),
    /// The decision of a height, before anything that follows from it (P4).
    Decided(Height, TxBytes),
    /// The store was lost or is older than what this node has said: listen only (P5).
    Amnesiac,
    /// A quorum readmitted this node (DC-34).
    Readmitted,
    /// A decision at or before the state's height, oldest first, behind the state of a rewritten journal.
    Past(TxBytes),
    /// The head before the state's, behind the state of a rewritten journal: what own votes of the state's height are
    /// bound to.
    Parent(Hash),
}

/// An own vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteRecord {
    /// Height voted at.
    pub height: Height,
    /// Round voted in.
    pub round: Round,
    /// Which vote.
    pub kind: VoteKind,
    /// What for; [`Hash::NIL`] for nothing.
    pub value: Hash,
    /// The value's content, in the first vote that names it.
    pub content: Option<TxBytes>,
}

/// Why a journal's record cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord;

/// Adds the newest; the oldest gives way.
pub(crate) fn push_newest(history: &mut Deque<TxBytes, MAX_HISTORY>, tx: TxBytes) {
    if history.is_full() {
        history.pop_front();
    }
    let _ = history.push_back(tx);
}

/// Own votes of one height, and the values that they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnVotes {
    /// The values.
    pub values: Vec<TxBytes, MAX_VALUES>,
    /// The votes: round, kind and value.
    pub votes: Vec<(Round, VoteKind, Hash), { 3 * MAX_ROUNDS }>,
}

impl OwnVotes {
    /// The records that [`Self::take`] was given, each value with the first vote that names it.
    fn records(&self, mesh: MeshId, height: Height, parent: Hash) -> impl Iterator<Item = Record> {
        self.votes.iter().enumerate().map(move |(at, &(round, kind, value))| {
            let first = !self.votes[..at].iter().any(|(.., earlier)| *earlier == value);
            let named = |content: &&TxBytes| decision_hash(&mesh, height, &parent, content) == value;
            let content = if first { self.values.iter().find(named).cloned() } else { None };
            Record::Vote(VoteRecord { height, round, kind, value, content })
        })
    }

    /// A rewritten journal may already hold what is appended behind it.
    fn take(&mut self, vote: VoteRecord, mesh: &MeshId, parent: &Hash) -> Result<(), BadRecord> {
        let own = (vote.round, vote.kind, vote.value);
        if self.votes.contains(&own) {
            return Ok(());
        }
        if let Some(content) = vote.content.filter(|content| !self.values.contains(content)) {
            self.values.push(content).map_err(|_| BadRecord)?;
        }
        // a vote for something unknown would be forgotten, and could be contradicted (P1)
        let is_named = |content: &TxBytes| decision_hash(mesh, vote.height, parent, content) == vote.value;
        if usize::from(vote.round) >= MAX_ROUNDS || vote.value != Hash::NIL && !self.values.iter().any(is_named) {
            return Err(BadRecord);
        }
        self.votes.push(own).map_err(|_| BadRecord)
    }
}

/// What a journal gives back.
pub struct Recovered {
    /// State after the last decision.
    pub state: State,
    /// Number of the last boot.
    pub boot: u32,
    /// Listen only until readmitted.
    pub amnesiac: bool,
    /// The last decisions, up to the state's height.
    pub history: Deque<TxBytes, MAX_HISTORY>,
    /// Own votes of the height after the state's.
    pub current: OwnVotes,
    /// The head before the state's, and own votes of the state's height: others may still need them (L6).
    pub previous: Option<(Hash, OwnVotes)>,
}

impl Recovered {
    /// A car that has decided nothing yet.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self {
            state: State::new(genesis),
            boot: 0,
            amnesiac: false,
            history: Deque::new(),
            current: OwnVotes::default(),
            previous: None,
        }
    }

    /// Takes the next record of the journal.
    ///
    /// # Errors
    /// [`BadRecord`]: the record is no record or contradicts those before it. The caller gives up the store and starts
    /// as an amnesiac.
    pub fn replay(&mut self, kind: RecordKind, bytes: &[u8], genesis: &Genesis) -> Result<(), BadRecord> {
        match kind {
            RecordKind::State => {
                self.state = State::decode(bytes, genesis).ok_or(BadRecord)?;
                self.history.clear();
                (self.current, self.previous) = (OwnVotes::default(), None);
            }
            RecordKind::Fact => match codec::decode(bytes).ok_or(BadRecord)? {
                Record::Boot(boot) => self.boot = boot,
                Record::Amnesiac => self.amnesiac = true,
                Record::Readmitted => self.amnesiac = false,
                Record::Past(tx) => push_newest(&mut self.history, tx),
                Record::Parent(parent) => self.previous = Some((parent, OwnVotes::default())),
                Record::Vote(vote) => self.replay_vote(vote, genesis)?,
                Record::Decided(height, tx) => self.replay_decision(height, &tx, genesis)?,
            },
        }
        Ok(())
    }

    /// What a journal that is begun anew must hold behind the state, in order.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let (mesh, height) = (*self.state.mesh(), self.state.height());
        let facts = [Some(Record::Boot(self.boot)), self.amnesiac.then_some(Record::Amnesiac)];
        let past = self.history.iter().cloned().map(Record::Past);
        let previous = self.previous.iter().flat_map(move |(parent, votes)| {
            [Record::Parent(*parent)].into_iter().chain(votes.records(mesh, height, *parent))
        });
        let current = self.current.records(mesh, height + 1, *self.state.head());
        facts.into_iter().flatten().chain(past).chain(previous).chain(current)
    }

    fn replay_vote(&mut self, vote: VoteRecord, genesis: &Genesis) -> Result<(), BadRecord> {
        let (head, height) = (*self.state.head(), self.state.height());
        if vote.height == height + 1 {
            return self.current.take(vote, &genesis.mesh(), &head);
        }
        match &mut self.previous {
            Some((parent, previous)) if vote.height == height => previous.take(vote, &genesis.mesh(), parent),
            _ => Ok(()), // of no more use
        }
    }

    fn replay_decision(&mut self, height: Height, bytes: &TxBytes, genesis: &Genesis) -> Result<(), BadRecord> {
        if height <= self.state.height() {
            return Ok(()); // a rewritten journal holds it already
        }
        if height != self.state.height() + 1 {
            return Err(BadRecord);
        }
        let tx = Transaction::decode(bytes).ok_or(BadRecord)?;
        let parent = *self.state.head();
        self.state.apply(bytes, &tx, genesis).map_err(|_| BadRecord)?;
        push_newest(&mut self.history, bytes.clone());
        self.previous = Some((parent, core::mem::take(&mut self.current)));
        Ok(())
    }
}
