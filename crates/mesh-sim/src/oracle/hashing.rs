//! The hashes of `docs/protocol.md` (DC-3, DC-6, RFC 9162), written from there once more.

use device_chain::block::{BlockHeader, Finality};
use sha2::{Digest, Sha256};

pub type Bytes32 = [u8; 32];

fn domain(name: &str) -> Sha256 {
    let mut sha = Sha256::new();
    part(&mut sha, format!("ringfort/1/{name}").as_bytes());
    sha
}

fn part(sha: &mut Sha256, bytes: &[u8]) {
    sha.update((bytes.len() as u32).to_le_bytes());
    sha.update(bytes);
}

/// DC-6.
pub fn decision(mesh: &Bytes32, height: u32, parent: &Bytes32, tx: &[u8]) -> Bytes32 {
    let mut sha = domain("decision");
    for bytes in [&mesh[..], &height.to_le_bytes(), parent, tx] {
        part(&mut sha, bytes);
    }
    sha.finalize().into()
}

/// The hash of a block header: its postcard encoding behind the mesh.
pub fn block(mesh: &Bytes32, header: &BlockHeader) -> Bytes32 {
    let mut sha = domain("block");
    sha.update(mesh);
    sha.update(varint(header.number.into()));
    sha.update(header.previous.0);
    sha.update(varint(header.tree_size.into()));
    sha.update(header.tree_root.0);
    sha.update(header.attested_root.0);
    sha.update(varint(header.attested_count.into()));
    sha.update([u8::from(header.finality == Finality::Final)]);
    sha.update([header.members.iter().fold(0, |set, member| set | 1 << member)]);
    sha.update(varint(header.time_ms));
    sha.finalize().into()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A Merkle tree (RFC 9162, 2.1.1) that grows: the roots of its full subtrees, largest first.
#[derive(Default)]
pub struct Tree {
    subtrees: Vec<(u32, Bytes32)>,
}

impl Tree {
    pub fn push(&mut self, leaf: &Bytes32) {
        let mut sha = Sha256::new();
        sha.update([0]);
        sha.update(leaf);
        self.subtrees.push((1, sha.finalize().into()));
        while let [.., (left_size, left), (right_size, right)] = self.subtrees[..]
            && left_size == right_size
        {
            self.subtrees.truncate(self.subtrees.len() - 2);
            self.subtrees.push((2 * left_size, node(&left, &right)));
        }
    }

    pub fn root(&self) -> Bytes32 {
        let mut roots = self.subtrees.iter().rev().map(|(_, root)| *root);
        match roots.next() {
            None => Sha256::digest([]).into(),
            Some(last) => roots.fold(last, |right, left| node(&left, &right)),
        }
    }
}

fn node(left: &Bytes32, right: &Bytes32) -> Bytes32 {
    let mut sha = Sha256::new();
    sha.update([1]);
    sha.update(left);
    sha.update(right);
    sha.finalize().into()
}

#[cfg(test)]
mod tests {
    use device_chain::hash;
    use device_chain::merkle::Frontier;
    use device_chain::tx::decision_hash;
    use device_chain::types::{Hash, MeshId};

    use super::*;

    #[test]
    fn both_readings_of_the_specification_agree() {
        let mesh = MeshId(Hash([3; 32]));
        assert_eq!(decision_hash(&mesh, 300, &Hash([4; 32]), b"tx").0, decision(&[3; 32], 300, &[4; 32], b"tx"));
        let header = BlockHeader {
            number: 300,
            previous: Hash([1; 32]),
            tree_size: 70_000,
            tree_root: Hash([2; 32]),
            attested_root: hash::hash(hash::Domain::Attested, &[]),
            attested_count: 0,
            finality: Finality::Final,
            members: device_chain::members::Members::all(7).without(2),
            time_ms: 1_800_000_000_000,
        };
        assert_eq!(header.hash(&mesh).0, block(&[3; 32], &header));
        let (mut frontier, mut tree) = (Frontier::default(), Tree::default());
        for leaf in 0..40 {
            assert_eq!(frontier.root().0, tree.root(), "{leaf} leaves");
            frontier.push(&[leaf; 32]);
            tree.push(&[leaf; 32]);
        }
    }
}
