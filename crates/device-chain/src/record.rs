//! What a validator makes durable, and how it comes back from it (P1 to P5).

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::agreement::VoteKind;
use crate::codec;
use crate::limits::{HISTORY_BYTES, MAX_HISTORY, MAX_ROUNDS, MAX_TX, MAX_VALUES};
use crate::packed::Packed;
use crate::registry::Devices;
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
    Decided(Height, Named),
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
    /// What for.
    pub value: Named,
}

/// A value as the journal of one height names it: in as few bytes as tell it from those named before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Named {
    /// Nothing: of a nil vote.
    Nil,
    /// By its content, the first time.
    Content(TxBytes),
    /// By the first two bytes of its hash, which no other value has that was named at this height.
    Hint([u8; 2]),
}

/// Longest encoding of a vote or a decision that names nothing new: kind of record, height, round, kind of vote, kind of
/// name, hint.
pub const MAX_VOTE_RECORD: usize = 1 + MAX_VARINT_U32 + 1 + 1 + 1 + 2;
/// Longest encoding of any [`Record`]: a vote with the content of its value, behind its length.
pub const MAX_RECORD: usize = 1 + MAX_VARINT_U32 + 1 + 1 + 1 + 2 + MAX_TX;
/// postcard encodes a `u32` in up to 5 bytes.
const MAX_VARINT_U32: usize = 5;

impl Named {
    /// The name of a value where those of `before` have been named.
    pub(crate) fn new(hash: &Hash, content: &TxBytes, before: &[Hash]) -> Self {
        let mut alike = before.iter().filter(|known| known.hint() == hash.hint());
        if alike.next() == Some(hash) && alike.next().is_none() {
            Self::Hint(hash.hint().to_le_bytes())
        } else {
            Self::Content(content.clone())
        }
    }
}

/// Why a journal's record cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord;

/// The last decisions, up to the state's height: up to [`MAX_HISTORY`], oldest first.
pub type History = Packed<HISTORY_BYTES>;

/// Adds the newest; the oldest give way.
pub(crate) fn push_newest(history: &mut History, tx: &[u8]) {
    history.push_newest([tx, &[]], MAX_HISTORY);
}

/// Own votes of one height, and the values that they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnVotes {
    /// The values.
    pub values: Vec<TxBytes, MAX_VALUES>,
    /// The votes: round, kind and the place of the value; `None` is nil.
    pub votes: Vec<(Round, VoteKind, Option<u8>), { 3 * MAX_ROUNDS }>,
}

impl OwnVotes {
    /// The records that [`Self::take`] was given, each value with the first vote that names it.
    fn records(&self, mesh: MeshId, height: Height, parent: Hash) -> impl Iterator<Item = Record> {
        let mut before: Vec<Hash, MAX_VALUES> = Vec::new();
        self.votes.iter().map(move |&(round, kind, value)| {
            let content = value.and_then(|at| self.values.get(usize::from(at)));
            let name = content.map_or(Named::Nil, |content| {
                let hash = decision_hash(&mesh, height, &parent, content);
                let name = Named::new(&hash, content, &before);
                note_named(&mut before, hash);
                name
            });
            Record::Vote(VoteRecord { height, round, kind, value: name })
        })
    }

    /// A rewritten journal may already hold what is appended behind it.
    fn take(&mut self, vote: VoteRecord, mesh: &MeshId, parent: &Hash) -> Result<(), BadRecord> {
        let value = match &vote.value {
            Named::Nil => None,
            Named::Content(content) => match self.values.iter().position(|known| known == content) {
                Some(at) => Some(at),
                None => {
                    self.values.push(content.clone()).map_err(|_| BadRecord)?;
                    Some(self.values.len() - 1)
                }
            },
            // a vote for something unknown would be forgotten, and could be contradicted (P1)
            Named::Hint(hint) => Some(self.hinted(*hint, mesh, vote.height, parent).ok_or(BadRecord)?),
        };
        if usize::from(vote.round) >= MAX_ROUNDS {
            return Err(BadRecord);
        }
        let own = (vote.round, vote.kind, value.map(|at| at as u8));
        if self.votes.contains(&own) {
            return Ok(());
        }
        self.votes.push(own).map_err(|_| BadRecord)
    }

    /// The place of the one value that a hint means.
    fn hinted(&self, hint: [u8; 2], mesh: &MeshId, height: Height, parent: &Hash) -> Option<usize> {
        let hashes = self.values.iter().map(|tx| decision_hash(mesh, height, parent, tx));
        let mut alike = hashes.enumerate().filter(|(_, hash)| hash.hint().to_le_bytes() == hint);
        alike.next().filter(|_| alike.next().is_none()).map(|(at, _)| at)
    }
}

/// Adds a value to those that were named.
pub(crate) fn note_named(named: &mut Vec<Hash, MAX_VALUES>, hash: Hash) {
    if hash != Hash::NIL && !named.contains(&hash) {
        let _ = named.push(hash);
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
    pub history: History,
    /// Own votes of the height after the state's.
    pub current: OwnVotes,
    /// The head before the state's, and own votes of the state's height: others may still need them (L6).
    pub previous: Option<(Hash, OwnVotes)>,
}

impl Recovered {
    /// A car that has decided nothing yet.
    #[must_use]
    pub fn new(genesis: &impl Devices) -> Self {
        Self {
            state: State::new(genesis),
            boot: 0,
            amnesiac: false,
            history: History::new(),
            current: OwnVotes::default(),
            previous: None,
        }
    }

    /// Takes the next record of the journal.
    ///
    /// # Errors
    /// [`BadRecord`]: the record is no record or contradicts those before it. The caller gives up the store and starts
    /// as an amnesiac.
    pub fn replay(&mut self, kind: RecordKind, bytes: &[u8], genesis: &impl Devices) -> Result<(), BadRecord> {
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
                Record::Past(tx) => push_newest(&mut self.history, &tx),
                Record::Parent(parent) => self.previous = Some((parent, OwnVotes::default())),
                Record::Vote(vote) => self.replay_vote(vote, genesis)?,
                Record::Decided(height, name) => self.replay_decision(height, &name, genesis)?,
            },
        }
        Ok(())
    }

    /// What a journal that is begun anew must hold behind the state, in order.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let (mesh, height) = (*self.state.mesh(), self.state.height());
        let facts = [Some(Record::Boot(self.boot)), self.amnesiac.then_some(Record::Amnesiac)];
        let past = self.history.iter().filter_map(|tx| Some(Record::Past(TxBytes::from_slice(tx).ok()?)));
        let previous = self.previous.iter().flat_map(move |(parent, votes)| {
            [Record::Parent(*parent)].into_iter().chain(votes.records(mesh, height, *parent))
        });
        let current = self.current.records(mesh, height + 1, *self.state.head());
        facts.into_iter().flatten().chain(past).chain(previous).chain(current)
    }

    fn replay_vote(&mut self, vote: VoteRecord, genesis: &impl Devices) -> Result<(), BadRecord> {
        let (head, height) = (*self.state.head(), self.state.height());
        if vote.height == height + 1 {
            return self.current.take(vote, &genesis.mesh(), &head);
        }
        match &mut self.previous {
            Some((parent, previous)) if vote.height == height => previous.take(vote, &genesis.mesh(), parent),
            _ => Ok(()), // of no more use
        }
    }

    fn replay_decision(&mut self, height: Height, name: &Named, genesis: &impl Devices) -> Result<(), BadRecord> {
        if height <= self.state.height() {
            return Ok(()); // a rewritten journal holds it already
        }
        if height != self.state.height() + 1 {
            return Err(BadRecord);
        }
        let parent = *self.state.head();
        let bytes = match name {
            Named::Nil => return Err(BadRecord),
            Named::Content(content) => content,
            Named::Hint(hint) => {
                let at = self.current.hinted(*hint, &genesis.mesh(), height, &parent).ok_or(BadRecord)?;
                &self.current.values[at]
            }
        };
        let bytes = bytes.clone();
        let tx = Transaction::decode(&bytes).ok_or(BadRecord)?;
        self.state.apply(&bytes, &tx, genesis).map_err(|_| BadRecord)?;
        push_newest(&mut self.history, &bytes);
        self.previous = Some((parent, core::mem::take(&mut self.current)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MESH: MeshId = MeshId(Hash([1; 32]));
    const PARENT: Hash = Hash([2; 32]);
    const HEIGHT: Height = 7;

    fn hash_of(content: &TxBytes) -> Hash {
        decision_hash(&MESH, HEIGHT, &PARENT, content)
    }

    fn content(n: u32) -> TxBytes {
        TxBytes::from_slice(&n.to_le_bytes()).expect("short")
    }

    /// Two values whose hashes begin alike.
    fn twins() -> (TxBytes, TxBytes) {
        let mut seen = BTreeMap::new();
        let twin = |n| seen.insert(hash_of(&content(n)).hint(), n).map(|first| (content(first), content(n)));
        (0..).find_map(twin).expect("65,537 values have 65,536 hints")
    }

    fn vote(round: Round, value: Named) -> VoteRecord {
        VoteRecord { height: HEIGHT, round, kind: VoteKind::Prevote, value }
    }

    fn replayed(records: impl IntoIterator<Item = Record>) -> Result<OwnVotes, BadRecord> {
        let mut votes = OwnVotes::default();
        records.into_iter().try_for_each(|record| match record {
            Record::Vote(vote) => votes.take(vote, &MESH, &PARENT),
            other => panic!("{other:?}"),
        })?;
        Ok(votes)
    }

    #[test]
    fn votes_come_back_for_what_they_were() {
        let (first, twin) = twins();
        let mut before: Vec<Hash, MAX_VALUES> = Vec::new();
        let mut records = std::vec::Vec::new();
        for (round, value) in [&first, &first, &twin, &first, &twin].into_iter().enumerate() {
            let name = Named::new(&hash_of(value), value, &before);
            assert_eq!(matches!(name, Named::Hint(_)), round == 1, "two that begin alike are never told by their hint");
            note_named(&mut before, hash_of(value));
            records.push(Record::Vote(vote(round as Round, name)));
        }
        records.push(Record::Vote(vote(5, Named::Nil)));
        let votes = replayed(records).expect("own records");
        let named: std::vec::Vec<_> =
            votes.votes.iter().map(|(.., value)| value.map(|at| &votes.values[usize::from(at)])).collect();
        assert_eq!(named, [Some(&first), Some(&first), Some(&twin), Some(&first), Some(&twin), None]);
        assert_eq!(replayed(votes.records(MESH, HEIGHT, PARENT)).as_ref(), Ok(&votes), "in a journal begun anew");
    }

    #[test]
    fn a_name_that_means_nothing_or_two_things_is_no_record() {
        let (first, twin) = twins();
        let hint = Named::Hint(hash_of(&first).hint().to_le_bytes());
        let named = |content: &TxBytes| Record::Vote(vote(0, Named::Content(content.clone())));
        let hinted = || Record::Vote(vote(1, hint.clone()));
        assert_eq!(replayed([hinted()]), Err(BadRecord));
        assert!(replayed([named(&first), hinted()]).is_ok());
        assert_eq!(replayed([named(&first), named(&twin), hinted()]), Err(BadRecord));
    }
}
