//! The append-only Merkle tree of RFC 9162 section 2.1, as its frontier: O(log n) hashes from which any later root
//! follows. Any validator can so check any Event Chain block against all decisions that it has ever made.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::hash::merkle;
use crate::limits::MAX_FRONTIER;
use crate::types::Hash;

/// Leaf hash: SHA-256(0x00 ‖ data), RFC 9162 2.1.1.
#[must_use]
pub fn leaf(data: &[u8]) -> Hash {
    merkle(0, &[data])
}

/// Inner node: SHA-256(0x01 ‖ left ‖ right), RFC 9162 2.1.1.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    merkle(1, &[&left.0, &right.0])
}

/// The root over the leaves from one place up to another (RFC 9162 2.1.1, MTH), whose hashes `leaf` tells.
pub fn root(leaf: &impl Fn(usize) -> Hash, from: usize, to: usize) -> Hash {
    match to - from {
        0 => empty_root(),
        1 => leaf(from),
        count => {
            let middle = from + count.next_power_of_two() / 2;
            node(&root(leaf, from, middle), &root(leaf, middle, to))
        }
    }
}

/// What is beside the way from leaf `at` to that root, the lowest first (RFC 9162 2.1.3.1), for `beside` to keep.
pub fn path(leaf: &impl Fn(usize) -> Hash, at: usize, (from, to): (usize, usize), beside: &mut impl FnMut(Side, Hash)) {
    if to - from < 2 {
        return;
    }
    let middle = from + (to - from).next_power_of_two() / 2;
    if at < middle {
        path(leaf, at, (from, middle), beside);
        beside(Side::Right, root(leaf, middle, to));
    } else {
        path(leaf, at, (middle, to), beside);
        beside(Side::Left, root(leaf, from, middle));
    }
}

/// On which side of the way to the root a node lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Before it.
    Left,
    /// Behind it.
    Right,
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    use sha2::Digest;
    Hash(sha2::Sha256::digest([]).into())
}

/// The complete subtrees of a tree, largest first: one for each bit set in its size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    size: u32,
    peaks: Vec<Hash, MAX_FRONTIER>,
}

impl Frontier {
    /// No leaves.
    pub(crate) const EMPTY: Self = Self { size: 0, peaks: Vec::new() };

    /// Drops all leaves.
    pub(crate) fn clear(&mut self) {
        self.size = 0;
        self.peaks.clear();
    }

    /// Takes one in its canonical encoding from the front, into its place. Whether it [is sound](Self::is_sound) is left to ask.
    pub(crate) fn take(&mut self, bytes: &mut &[u8]) -> Option<()> {
        self.size = codec::take(bytes)?;
        codec::take_list(bytes, &mut self.peaks)
    }

    /// As many leaves, and as many peaks, as there can be.
    #[cfg(test)]
    pub(crate) fn largest() -> Self {
        let mut peaks = Vec::new();
        let _ = peaks.resize(MAX_FRONTIER, Hash([255; 32]));
        Self { size: u32::MAX, peaks }
    }

    /// Leaves so far.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Whether the peaks fit the size: what a decoded frontier must satisfy before it is used.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.peaks.len() == self.size.count_ones() as usize
    }

    /// Appends a leaf. False, and nothing done, when the tree is full (2^32 − 1 leaves).
    pub fn push(&mut self, data: &[u8]) -> bool {
        if self.size == u32::MAX {
            return false;
        }
        let mut hash = leaf(data);
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { return false };
            hash = node(&left, &hash);
        }
        self.size += 1;
        self.peaks.push(hash).is_ok()
    }

    /// The root over all leaves (RFC 9162 2.1.1, MTH).
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MTH as the RFC defines it, recursively.
    fn mth(leaves: &[&[u8]]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => leaf(one),
            more => {
                let split = more.len().next_power_of_two() / 2;
                node(&mth(&more[..split]), &mth(&more[split..]))
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_rfc() {
        const LEAVES: u8 = if cfg!(miri) { 10 } else { 200 }; // Miri takes a tenth of a second for a hash
        let data: std::vec::Vec<[u8; 1]> = (0..LEAVES).map(|i| [i]).collect();
        let leaves: std::vec::Vec<&[u8]> = data.iter().map(|d| &d[..]).collect();
        let mut frontier = Frontier::default();
        for size in 0..=leaves.len() {
            assert_eq!(frontier.root(), mth(&leaves[..size]), "{size} leaves");
            assert!(frontier.is_sound());
            if let Some(next) = leaves.get(size) {
                assert!(frontier.push(next));
            }
        }
    }
}
