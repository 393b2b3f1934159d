//! Golden vectors: bytes that are hashed, signed, stored or sent. They change only by a deliberate act, with the wire
//! version.

use std::string::String;
use std::vec::Vec as StdVec;

use heapless::Vec;

use crate::agreement::VoteKind;
use crate::block::{BlockHeader, Finality};
use crate::codec;
use crate::genesis::{
    Authority, AuthorityEntry, EndpointEntry, Genesis, Identifiers, Identity, Name, Policy, Role, SignedGenesis,
    Thresholds, ValidatorEntry,
};
use crate::grant::{Action, Grant, GrantUse, SignedGrant};
use crate::hash::{Domain, hash};
use crate::limits::{MAX_ALARMS, MAX_AUTHORITIES, MAX_ENDPOINTS, MAX_STATE, MAX_TX, MAX_VALIDATORS};
use crate::mac::{Key, Suite};
use crate::members::Members;
use crate::record::{MAX_RECORD, MAX_VOTE_RECORD, Named, Record, VoteRecord};
use crate::sign::SigningKey;
use crate::state::State;
use crate::tx::{Transaction, TxBytes, decision_hash, nil_subject};
use crate::types::{Hash, MeshId};
use crate::wire::{self, Header, Kind};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}

fn encoded<T: serde::Serialize>(value: &T) -> String {
    let mut bytes = StdVec::new();
    codec::feed(value, |part| bytes.extend_from_slice(part));
    hex(&bytes)
}

fn name(text: &str) -> Name {
    Name::try_from(text).expect("short")
}

/// A mesh with `n` validators, `endpoints` endpoints and `authorities` authorities.
fn genesis(n: u32, endpoints: u32, authorities: u8) -> Genesis {
    let public =
        |kind: u8, at: u32| SigningKey::from_seed(hash(Domain::Body, &[&[kind], &at.to_le_bytes()]).0).public();
    let validators = (0..n).map(|at| ValidatorEntry {
        name: name(&std::format!("ecu{at}")),
        role: if at == 0 { Role::Gateway } else { Role::Other },
        key: public(1, at),
        firmware: Hash([at as u8; 32]),
        identifiers: Identifiers { vote: 0x10 + at, propose: 0x20 + at, control: 0x30 + at, bulk: 0x40 + at },
    });
    let endpoints = (0..endpoints).map(|at| EndpointEntry {
        name: name(&std::format!("door{at}")),
        identity: Identity::A(public(2, at)),
        firmware: Hash::NIL,
        identifier: 0x100 + at,
    });
    let authorities =
        (0..authorities).map(|at| AuthorityEntry { authority: Authority::Fleet, key: public(3, at.into()) });
    let genesis = Genesis {
        version: 1,
        suite: Suite::Cmac,
        vehicle: name("GOLDEN"),
        made_ms: 1_690_000_000_000,
        validators: validators.collect(),
        endpoints: endpoints.collect(),
        authorities: authorities.collect(),
        policy: Policy { phase_us: 10_000, heartbeat_us: 250_000, thresholds: Thresholds::ONE },
    };
    genesis.check().expect("sound");
    genesis
}

fn block() -> BlockHeader {
    BlockHeader {
        number: 1,
        previous: Hash([2; 32]),
        tree_size: 300,
        tree_root: Hash([4; 32]),
        attested_root: Hash([5; 32]),
        attested_count: 6,
        finality: Finality::Final,
        members: Members::all(7),
        time_ms: 1_700_000_000_000,
    }
}

fn order() -> GrantUse {
    GrantUse { digest: Hash([7; 32]), issuer: 1, serial: 300, action: Action::Unlock, not_after: 1_000 }
}

#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn signed_genesis() {
    let genesis = genesis(4, 1, 1);
    let signed = SignedGenesis::sign(genesis.clone(), &SigningKey::from_seed([0x4d; 32]));
    assert_eq!(hex(&genesis.mesh().0.0), "6cd8ae4f91d5208ab34362c9d72ebe09ed86c12412305c8c8e1667ff5976acb5");
    assert_eq!(
        hex(&signed.signature.to_bytes()),
        "419feb179fe338e76f3638d824622c1eaafbe3722628c99ad301d6776dd7074a0641ffc5bbe4b3e1e2db326bebafae1048462ce446a34a53edf06a757567e108"
    );
}

#[test]
fn decision() {
    let hash = decision_hash(&MeshId(Hash([1; 32])), 0x0102_0304, &Hash([2; 32]), &[5]);
    assert_eq!(hex(&hash.0), "2eaeb43ff630c8adc846971cb091f7ab4a58eb39a8cdc7a84b4eea09624424a7");
}

#[test]
fn subject_of_a_vote_for_nil() {
    assert_eq!(hex(&nil_subject(&Hash([2; 32])).0), "cf9312ac973caa1ae8d4464dd640a28424a373edc1970000117c79df86dbf182");
}

#[test]
fn tag_of_a_vote() {
    let mut header = Header::new(Kind::Precommit, 7).round(1).hint(Some((2, &Hash([0xab; 32]))));
    (header.mesh, header.suite, header.sender, header.counter) = (0xbeef, 1, 3, 9);
    let input = wire::tag_input(&header.to_bytes(), &Hash([0xab; 32]));
    for (suite, tag) in
        [(Suite::Cmac, "ce75f3d0c10b2730dc86e046979ee9d5"), (Suite::Blake2s, "2fb2ec911224d2056df6401fbdb0d650")]
    {
        let session = Key::new([1; 32]).derive(suite, Domain::SessionKey, [2, 3]);
        assert_eq!(hex(&session.for_tags(suite).tag(&input)), tag, "{suite:?}");
    }
}

#[test]
fn transactions() {
    let data = Vec::from_slice(b"open").expect("short");
    for (tx, bytes) in [
        (
            Transaction::UseGrant(order()),
            "00070707070707070707070707070707070707070707070707070707070707070701ac0200e807",
        ),
        (Transaction::Record { endpoint: 3, sequence: 1 << 32 | 2, data }, "01038280808010046f70656e"),
        (Transaction::Alarm { identifier: 0x123, count: 3 }, "02a30203"),
        (
            Transaction::EventBlock(block()),
            "03010202020202020202020202020202020202020202020202020202020202020202ac020404040404040404040404040404040404040404040404040404040404040404050505050505050505050505050505050505050505050505050505050505050506017f80d095ffbc31",
        ),
        (Transaction::Readmit { validator: 6, nonce: 0x0102_0304_0506_0708 }, "0406888e98a8c0e0808101"),
        (Transaction::Skip, "05"),
        (Transaction::Suspend { validator: 6 }, "0606"),
        (Transaction::Resume { validator: 6 }, "0706"),
        (Transaction::Time { ms: 1_700_000_000_000 }, "0a80d095ffbc31"),
        (
            Transaction::Refresh { validator: 6, key: [0xab; 32] },
            "0b06abababababababababababababababababababababababababababababababab",
        ),
    ] {
        assert_eq!(encoded(&tx), bytes, "{}", tx.name());
    }
}

#[test]
fn records() {
    let tx = TxBytes::from_slice(&[5]).expect("short");
    let vote = |value| Record::Vote(VoteRecord { height: 300, round: 1, kind: VoteKind::Ready, value });
    for (record, bytes) in [
        (Record::Boot(5), "0005"),
        (vote(Named::Nil), "01ac02010100"),
        (vote(Named::Content(tx.clone())), "01ac020101010105"),
        (vote(Named::Hint([0xab, 0xcd])), "01ac02010102abcd"),
        (Record::Decided(300, Named::Content(tx.clone())), "02ac02010105"),
        (Record::Decided(300, Named::Hint([0xab, 0xcd])), "02ac0202abcd"),
        (Record::Amnesiac, "03"),
        (Record::Readmitted, "04"),
        (Record::Past(tx), "050105"),
        (Record::Parent(Hash([0xab; 32])), "06abababababababababababababababababababababababababababababababab"),
    ] {
        assert_eq!(encoded(&record), bytes, "{record:?}");
    }
}

/// What a vote may take, at its longest, is what the names say.
#[test]
fn the_largest_records() {
    let longest = TxBytes::from_slice(&[0xff; MAX_TX]).expect("just fits");
    let (height, hint) = (u32::MAX, Named::Hint([0xff; 2]));
    for kind in [VoteKind::Prevote, VoteKind::Ready, VoteKind::Precommit] {
        let vote = |value| Record::Vote(VoteRecord { height, round: u8::MAX, kind, value });
        assert_eq!(encoded(&vote(hint.clone())).len() / 2, MAX_VOTE_RECORD, "{kind:?}");
        assert_eq!(encoded(&vote(Named::Content(longest.clone()))).len() / 2, MAX_RECORD, "{kind:?}");
        assert!(encoded(&vote(Named::Nil)).len() / 2 < MAX_VOTE_RECORD, "{kind:?}");
    }
    assert!(encoded(&Record::Decided(height, hint)).len() / 2 < MAX_VOTE_RECORD);
    for record in [
        Record::Boot(u32::MAX),
        Record::Decided(height, Named::Content(longest.clone())),
        Record::Past(longest),
        Record::Parent(Hash([0xff; 32])),
    ] {
        assert!(encoded(&record).len() / 2 < MAX_RECORD, "{record:?}");
    }
}

#[test]
fn grant() {
    let grant = Grant {
        mesh: MeshId(Hash([1; 32])),
        issuer: 1,
        serial: 300,
        action: Action::Unlock,
        holder: Hash([3; 32]),
        not_before: 2,
        not_after: 1_000,
    };
    assert_eq!(hex(&grant.digest().0), "587b6bcb0bb5b1b51250d145de16c262cd040eaa21f25950001e8dae094c8fb7");
    assert_eq!(
        encoded(&SignedGrant::sign(grant, &SigningKey::from_seed([0x46; 32]))),
        "010101010101010101010101010101010101010101010101010101010101010101ac0200030303030303030303030303030303030303030303030303030303030303030302e8070b6c406da515680f3fa653f27f96cd9d899e13dbd395c90e49aee498abf7211d2e81a8eb2e464e2dc65916876d4aa364e51c50f7981a9a726b925793af0bf907"
    );
}

/// All that is remembered, at its longest, fits one message to somebody who was away.
#[test]
#[cfg_attr(miri, ignore = "Ed25519: minutes")]
fn the_largest_state_fits() {
    let genesis = genesis(MAX_VALIDATORS as u32, MAX_ENDPOINTS as u32, MAX_AUTHORITIES as u8);
    let state = State::largest(&genesis);
    let bytes = state.encode().expect("fits MAX_STATE");
    assert!(bytes.len() <= MAX_STATE, "{} bytes", bytes.len());
    assert_eq!(State::decode(&bytes, &genesis), Some(state.clone()));
    assert_eq!(state.alarms().len(), MAX_ALARMS);
}
