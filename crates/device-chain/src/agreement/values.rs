//! What may be decided at a height: a few values, their transactions packed behind each other, for most are short.

use heapless::Vec;

use super::ValueId;
use crate::limits::{MAX_ORDER, MAX_TX, MAX_VALUES};
use crate::packed::Packed;
use crate::types::{Hash, Round, ValidatorIndex};

/// Room for as many as there may be, two of them as long as they may be: blocks, of which a height has one that counts.
const TEXT_BYTES: usize = (MAX_VALUES - 2) * (1 + MAX_ORDER) + 2 * (1 + MAX_TX);

/// Something that may be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Decision hash, the name that votes use.
    pub hash: Hash,
    /// Who proposed it first, as far as this node knows.
    pub proposer: ValidatorIndex,
    /// First round in which the chain's rules allow it at this height (V1, V3); `None` is never.
    pub allowed_from: Option<Round>,
    /// This node holds the evidence itself (grant verified, record received); else f + 1 voters must vouch (V2).
    pub evident: bool,
}

impl Value {
    /// In the place of one that had to go: a hash that nothing has.
    const GONE: Self = Self { hash: Hash::NIL, proposer: 0, allowed_from: None, evident: false };

    pub(super) fn is_gone(&self) -> bool {
        self.hash == Hash::NIL
    }
}

/// The values of a height, each in a place of its own.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Values {
    known: Vec<Value, MAX_VALUES>,
    texts: Packed<TEXT_BYTES>,
}

impl Values {
    pub(super) const NONE: Self = Self { known: Vec::new(), texts: Packed::new() };

    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.texts.clear();
    }

    pub(super) fn all(&self) -> &[Value] {
        &self.known
    }

    pub(super) fn get_mut(&mut self, id: ValueId) -> Option<&mut Value> {
        self.known.get_mut(usize::from(id))
    }

    /// Canonical transaction of a value.
    pub(super) fn text(&self, id: ValueId) -> Option<&[u8]> {
        self.texts.iter().nth(usize::from(id))
    }

    /// Adds one where there is room for it.
    pub(super) fn push(&mut self, value: Value, text: &[u8]) -> Option<ValueId> {
        if self.known.is_full() || text.len() > MAX_TX || !self.texts.push([text, &[]]) {
            return None;
        }
        let _ = self.known.push(value);
        Some((self.known.len() - 1) as ValueId)
    }

    /// Gives the place of one to another. False if it is too long even so: then the place only holds nothing any more.
    pub(super) fn replace(&mut self, id: ValueId, value: Value, text: &[u8]) -> bool {
        let fits = text.len() <= MAX_TX && self.texts.replace(usize::from(id), text);
        if !fits {
            self.texts.replace(usize::from(id), &[]);
        }
        if let Some(known) = self.get_mut(id) {
            *known = if fits { value } else { Value::GONE };
        }
        fits
    }
}
