//! What a validator makes durable, and how it comes back from it (P1 to P5).

use serde::{Deserialize, Serialize};

use crate::agreement::{Instance, ValueId, VoteKind};
use crate::limits::{HISTORY_BYTES, MAX_HISTORY, MAX_TX, MAX_VALUES};
use crate::packed::Packed;
use crate::tx::TxBytes;
use crate::types::{Hash, Height, Round};

/// How a journal marks a record of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A [`Record`].
    Fact = 1,
    /// A whole [`State`](crate::state::State): after catching up, and first in a rewritten journal.
    State = 2,
    /// A page of the registry behind its number, where it says more than the genesis: behind the state whose registry it is.
    Page = 3,
}

impl RecordKind {
    /// From the journal's mark.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Fact),
            2 => Some(Self::State),
            3 => Some(Self::Page),
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

/// Values of a height that the journal has named: a bit for the place of each. They were voted for, and so keep it.
#[derive(Clone, Copy)]
pub(crate) struct NamedValues(u16);
const _: () = assert!(MAX_VALUES <= u16::BITS as usize);

impl NamedValues {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn note(&mut self, id: ValueId) {
        self.0 |= 1 << id;
    }

    const fn has(self, id: ValueId) -> bool {
        self.0 >> id & 1 == 1
    }
}

impl Named {
    /// The name of a value of `instance` where the journal has named those of `before`.
    pub(crate) fn new(instance: &Instance, id: ValueId, before: NamedValues) -> Option<Self> {
        let hint = instance.value(id)?.hash.hint();
        let mut alike = instance.hinted(hint).filter(|known| before.has(*known));
        if alike.next() == Some(id) && alike.next().is_none() {
            return Some(Self::Hint(hint.to_le_bytes()));
        }
        TxBytes::from_slice(instance.transaction(id)?).ok().map(Self::Content)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_marks_facts_states_and_pages() {
        let kinds = [None, Some(RecordKind::Fact), Some(RecordKind::State), Some(RecordKind::Page), None];
        assert_eq!([0, 1, 2, 3, 4].map(RecordKind::from_code), kinds);
        assert!(kinds.into_iter().flatten().all(|kind| RecordKind::from_code(kind as u8) == Some(kind)));
    }

    #[test]
    fn the_values_that_were_named_and_no_others() {
        let mut named = NamedValues::NONE;
        for id in [0, 3, MAX_VALUES as ValueId - 1, 3] {
            named.note(id);
        }
        let has = (0..MAX_VALUES as ValueId).filter(|id| named.has(*id));
        assert!(has.eq([0, 3, MAX_VALUES as ValueId - 1]));
    }
}
