//! How often rules were at work that nobody outside can see.

use super::Validator;
use crate::agreement::AtHeight;
use crate::keys::KeyStore;

/// Rules at work inside a node since its boot, by their numbers in `docs/protocol.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workings {
    /// Heights at which f + 1 voters took this node along to a later round (L5).
    pub taken_along: u32,
    /// Heights at which it left up to f voters alone for a while (L7).
    pub left_alone: u32,
    /// Heights at which it prevoted what others vouched for (V2).
    pub vouched: u32,
    /// Heights at which a proposal was set aside (F1, F2).
    pub set_aside: u32,
    /// Proposers who failed it (F2).
    pub failed: u32,
    /// Second proposals of round 0 (F3).
    pub second_proposals: u32,
    /// Messages that became needless before they were sealed, or were asked for once more while they waited (M6).
    pub taken_back: u32,
    /// Messages kept because they are about a later height (R2).
    pub ahead: u32,
}

impl Workings {
    pub(super) const ZERO: Self = Self {
        taken_along: 0,
        left_alone: 0,
        vouched: 0,
        set_aside: 0,
        failed: 0,
        second_proposals: 0,
        taken_back: 0,
        ahead: 0,
    };

    fn add(&mut self, height: AtHeight) {
        for (counter, was) in [
            (&mut self.taken_along, height.taken_along),
            (&mut self.left_alone, height.left_alone),
            (&mut self.vouched, height.vouched),
            (&mut self.set_aside, height.set_aside),
        ] {
            count(counter, usize::from(was));
        }
    }
}

/// Counts up; a peer must not make a counter run over.
pub(super) const fn count(counter: &mut u32, times: usize) {
    *counter = counter.saturating_add(times as u32);
}

impl<K: KeyStore> Validator<K> {
    /// The present height ends.
    pub(super) fn note_workings(&mut self) {
        self.workings.add(self.heights.current().workings());
    }
}
