//! Roots and proofs of the Merkle tree of RFC 9162 section 2.1, over leaf hashes.
//!
//! [`device_chain::merkle`] holds the hash functions and the frontier by which an ECU follows the root; here is what
//! needs all leaves, and what needs nothing but a proof.

use alloc::vec::Vec;

use device_chain::merkle::{empty_root, node};
use device_chain::types::Hash;

/// Longest proof accepted: two paths through a tree of 2^32 leaves.
pub const MAX_PROOF: usize = 64;

/// The largest power of two below `size`, which is above 1.
const fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// The root over `leaves` (2.1.1, MTH).
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        more => {
            let (left, right) = more.split_at(split(more.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The proof that leaf `index` is under the root of `leaves` (2.1.3.1, PATH). `None` if there is no such leaf.
#[must_use]
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, other) = if index < left.len() {
        (inclusion_proof(left, index)?, root(right))
    } else {
        (inclusion_proof(right, index - left.len())?, root(left))
    };
    proof.push(other);
    Some(proof)
}

/// Whether `proof` shows that `leaf` is leaf `index` of the `size` leaves under `root` (2.1.3.2).
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u32, size: u32, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for other in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(other, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// The proof that the first `first` leaves are the beginning of `leaves` (2.1.4.1, PROOF). `None` unless
/// `first` is between 1 and the number of leaves.
#[must_use]
pub fn consistency_proof(leaves: &[Hash], first: usize) -> Option<Vec<Hash>> {
    (1..=leaves.len()).contains(&first).then(|| subproof(leaves, first, true))
}

fn subproof(leaves: &[Hash], first: usize, whole: bool) -> Vec<Hash> {
    if first == leaves.len() {
        return if whole { Vec::new() } else { alloc::vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, other) = if first <= left.len() {
        (subproof(left, first, whole), root(right))
    } else {
        (subproof(right, first - left.len(), false), root(left))
    };
    proof.push(other);
    proof
}

/// Whether `proof` shows that the tree of `second` leaves under `second_root` begins with the `first` leaves under
/// `first_root` (2.1.4.2).
#[must_use]
pub fn verify_consistency(first: u32, second: u32, first_root: &Hash, second_root: &Hash, proof: &[Hash]) -> bool {
    if first == 0 || first > second || proof.len() > MAX_PROOF {
        return false;
    }
    if first == second {
        return proof.is_empty() && first_root == second_root;
    }
    // A complete first tree is itself the first node of the path.
    let mut path = first.is_power_of_two().then_some(first_root).into_iter().chain(proof);
    let Some(start) = path.next() else { return false };
    let shift = (first - 1).trailing_ones();
    let (mut at, mut last) = ((first - 1) >> shift, (second - 1) >> shift);
    let (mut old, mut new) = (*start, *start);
    for other in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            (old, new) = (node(other, &old), node(other, &new));
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new = node(&new, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old == *first_root && new == *second_root
}

#[cfg(test)]
mod tests {
    use device_chain::merkle::{Frontier, leaf};

    use super::*;

    /// Miri takes a tenth of a second for a hash.
    const SIZES: usize = if cfg!(miri) { 6 } else { 130 };

    fn leaves(size: usize) -> Vec<Hash> {
        (0..size).map(|i| leaf(&[i as u8])).collect()
    }

    /// The eight leaves that implementations of Certificate Transparency share for their tests, and below what they publish of them.
    fn transparency_leaves() -> Vec<Hash> {
        let data: [&[u8]; 8] = [
            b"",
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        data.iter().map(|data| leaf(data)).collect()
    }

    const TRANSPARENCY_ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_of_the_certificate_transparency_vectors() {
        let leaves = transparency_leaves();
        for (size, expected) in TRANSPARENCY_ROOTS.iter().enumerate() {
            assert_eq!(std::format!("{}", root(&leaves[..size])), *expected, "{size} leaves");
        }
    }

    #[test]
    fn proofs_of_the_certificate_transparency_vectors() {
        let leaves = transparency_leaves();
        let text = |proof: Option<Vec<Hash>>| -> Vec<std::string::String> {
            proof.expect("in the tree").iter().map(|hash| std::format!("{hash}")).collect()
        };
        let left = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        let second = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
        let third_fourth = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
        let upper_four = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
        let fifth = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
        let upper_two = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
        let (first_two, first_four) = (TRANSPARENCY_ROOTS[2], TRANSPARENCY_ROOTS[4]);
        for (index, size, proof) in [
            (0, 1, &[][..]),
            (0, 8, &[second, third_fourth, upper_four]),
            (5, 8, &[fifth, upper_two, first_four]),
            (2, 3, &[first_two]),
            (1, 5, &[left, third_fourth, fifth]),
        ] {
            assert_eq!(text(inclusion_proof(&leaves[..size], index)), proof, "leaf {index} of {size}");
        }
        let fifth_sixth = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
        for (first, size, proof) in [
            (1, 1, &[][..]),
            (1, 8, &[second, third_fourth, upper_four]),
            (6, 8, &[fifth_sixth, upper_two, first_four]),
            (2, 5, &[third_fourth, fifth]),
        ] {
            assert_eq!(text(consistency_proof(&leaves[..size], first)), proof, "{first} of {size}");
        }
    }

    #[test]
    fn roots_are_those_of_the_frontier() {
        let mut frontier = Frontier::default();
        for size in 0..SIZES {
            assert_eq!(root(&leaves(size)), frontier.root(), "{size} leaves");
            assert!(frontier.push(&[size as u8]));
        }
    }

    #[test]
    fn every_inclusion_is_proved_and_nothing_else() {
        for size in 1..=SIZES {
            let leaves = leaves(size);
            let root = root(&leaves);
            for index in 0..size {
                let proof = inclusion_proof(&leaves, index).expect("in the tree");
                let holds = |leaf: &Hash, index: usize, size: usize, proof: &[Hash]| {
                    verify_inclusion(leaf, index as u32, size as u32, proof, &root)
                };
                assert!(holds(&leaves[index], index, size, &proof), "leaf {index} of {size}");
                assert!(!holds(&leaves[(index + 1) % size], index, size, &proof) || size == 1);
                assert!(!holds(&leaves[index], (index + 1) % size, size, &proof) || size == 1);
                assert!(!holds(&leaves[index], size, size, &proof));
                let longer: Vec<Hash> = proof.iter().chain([&root]).copied().collect();
                assert!(!holds(&leaves[index], index, size, &longer));
                assert!(proof.is_empty() || !holds(&leaves[index], index, size, &proof[1..]));
            }
            assert_eq!(inclusion_proof(&leaves, size), None);
        }
    }

    #[test]
    fn every_growth_is_proved_and_nothing_else() {
        let all = leaves(SIZES);
        let roots: Vec<Hash> = (0..=SIZES).map(|size| root(&all[..size])).collect();
        for second in 1..=SIZES {
            for first in 1..=second {
                let proof = consistency_proof(&all[..second], first).expect("a beginning");
                let holds = |old: &Hash, new: &Hash, proof: &[Hash]| {
                    verify_consistency(first as u32, second as u32, old, new, proof)
                };
                let (old, new) = (&roots[first], &roots[second]);
                assert!(holds(old, new, &proof), "{first} of {second}");
                assert!(!holds(&Hash::NIL, new, &proof));
                assert!(!holds(old, &Hash::NIL, &proof));
                let longer: Vec<Hash> = proof.iter().chain([new]).copied().collect();
                assert!(!holds(old, new, &longer));
                assert!(proof.is_empty() || !holds(old, new, &proof[1..]));
            }
            assert_eq!(consistency_proof(&all[..second], 0), None);
            assert_eq!(consistency_proof(&all[..second], second + 1), None);
        }
    }
}
