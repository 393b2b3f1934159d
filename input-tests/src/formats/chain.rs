//! What is decided, signed and archived.

use std::sync::LazyLock;

use device_chain::block::BlockHeader;
use device_chain::genesis::{Genesis, SignedGenesis};
use device_chain::grant::SignedGrant;
use device_chain::hash::{Domain, hash_of_encoding};
use device_chain::limits::MAX_TX;
use device_chain::order::Endorsement;
use device_chain::registry::{Devices, Registry};
use device_chain::sign::SigningKey;
use device_chain::state::State;
use device_chain::tx::Transaction;
use device_chain::types::{Hash, MeshId};
use event_chain::block::{Block, Decisions, MAX_BLOCK_BYTES, Records};
use event_chain::build::BlockBuilder;
use event_chain::codec::encode;
use event_chain::receipt::{Receipt, SignedReceipt};
use event_chain::record::{AttestedRecord, MAX_TEXT, RecordKind, Text};
use event_chain::verify::{ChainVerifier, check_seals};

use super::{Group, canonical, reading};
use crate::values;
use crate::{Dice, Format, Reading};

pub const TRANSACTIONS: Group = Group {
    name: "transaction",
    formats: &[
        Format { name: "transaction: use of a grant", make: transaction::<0>, read: read_transaction },
        Format { name: "transaction: record", make: transaction::<1>, read: read_transaction },
        Format { name: "transaction: alarm", make: transaction::<2>, read: read_transaction },
        Format { name: "transaction: event block", make: transaction::<3>, read: read_transaction },
        Format { name: "transaction: readmit", make: transaction::<4>, read: read_transaction },
        Format { name: "transaction: skip", make: transaction::<5>, read: read_transaction },
        Format { name: "transaction: suspend", make: transaction::<6>, read: read_transaction },
        Format { name: "transaction: resume", make: transaction::<7>, read: read_transaction },
        Format { name: "transaction: change", make: transaction::<8>, read: read_transaction },
        Format { name: "transaction: firmware", make: transaction::<9>, read: read_transaction },
        Format { name: "transaction: time", make: transaction::<10>, read: read_transaction },
    ],
};

pub const GRANTS: Group = Group {
    name: "grant",
    formats: &[
        Format { name: "grant", make: |dice| encode(&values::grant(dice)), read: read_grant },
        Format { name: "order, signed", make: |dice| encode(&values::endorsement(dice)), read: reading::<Endorsement> },
    ],
};

pub const GENESES: Group = Group {
    name: "genesis",
    formats: &[Format { name: "genesis", make: |dice| encode(&values::signed_genesis(dice)), read: read_genesis }],
};

pub const STATES: Group = Group {
    name: "state",
    formats: &[
        Format { name: "state", make: |dice| encode(&values::state(&SEVEN, dice)), read: read_state },
        Format { name: "snapshot of a verifier", make: snapshot, read: read_snapshot },
    ],
};

pub const BLOCKS: Group = Group {
    name: "block",
    formats: &[
        Format { name: "block", make: |dice| block(dice).encode(), read: read_block },
        Format { name: "block header", make: |dice| encode(&values::header(dice)), read: reading::<BlockHeader> },
        Format { name: "block being made", make: builder, read: read_builder },
        Format { name: "attested: signal", make: attested::<0>, read: reading::<AttestedRecord> },
        Format { name: "attested: grant", make: attested::<1>, read: reading::<AttestedRecord> },
        Format { name: "attested: alarm", make: attested::<2>, read: reading::<AttestedRecord> },
        Format { name: "attested: note", make: attested::<3>, read: reading::<AttestedRecord> },
    ],
};

pub const RECEIPTS: Group =
    Group { name: "receipt", formats: &[Format { name: "receipt", make: receipt, read: read_receipt }] };

static SEVEN: LazyLock<Genesis> = LazyLock::new(|| values::plain_genesis(7));
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::from(&*SEVEN));
const MESH: MeshId = MeshId(Hash([0x3A; 32]));

fn transaction<const KIND: usize>(dice: &mut Dice<'_>) -> Vec<u8> {
    encode(&values::transaction(KIND, dice))
}

fn read_transaction(bytes: &[u8]) -> Reading {
    let Some(tx) = Transaction::decode(bytes) else { return Err("no transaction".into()) };
    assert!(bytes.len() <= MAX_TX);
    assert_eq!(tx.encode().as_deref(), Some(bytes), "DC-4");
    Ok([tx.name().as_bytes(), bytes].concat())
}

fn read_grant(bytes: &[u8]) -> Reading {
    let signed = canonical::<SignedGrant>(bytes)?;
    assert_eq!(signed.grant.usage().digest, signed.grant.digest());
    Ok([&signed.grant.digest().0[..], bytes].concat())
}

/// A genesis, and what is wrong with it.
fn read_genesis(bytes: &[u8]) -> Reading {
    let SignedGenesis { genesis, .. } = canonical(bytes)?;
    let (checked, mesh) = (genesis.check(), genesis.mesh());
    Ok([&mesh.0.0[..], format!("{checked:?}").as_bytes(), bytes].concat())
}

/// What the maker has signed, whatever it is: processes and chips take the same, and refuse the rest for the same reason.
///
/// # Panics
/// If they differ.
pub fn open_genesis(bytes: &[u8]) {
    open_signed(bytes);
    open_signed(&encode(&values::signed_genesis(&mut Dice::of_bytes(bytes)).genesis));
}

fn open_signed(genesis: &[u8]) {
    static MAKER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed([77; 32]));
    let signature = MAKER.sign(Domain::Genesis, &hash_of_encoding(Domain::Genesis, genesis));
    let signed = [genesis, &signature.to_bytes()].concat();
    let maker = MAKER.public();
    match (SignedGenesis::open(&signed, &maker), Registry::open(&signed, &maker)) {
        (Ok(whole), Ok(registry)) => {
            assert_eq!(encode(&whole), genesis, "DC-4");
            assert_eq!((whole.validators(), whole.endpoints()), (registry.validators(), registry.endpoints()));
            assert_eq!((whole.mesh(), whole.authorities()), (registry.mesh(), registry.authorities()));
            assert!(whole.identifiers().all(|(_, identifier)| registry.has_identifier(identifier)));
        }
        (whole, registry) => assert_eq!(whole.err(), registry.err()),
    }
}

fn read_state(bytes: &[u8]) -> Reading {
    let state = State::decode(bytes, &*REGISTRY).ok_or("no state of this car")?;
    assert_eq!(state.encode().as_deref(), Some(bytes), "DC-4");
    assert!(state.tree().is_sound() && state.members().is_sound(&*REGISTRY));
    assert!(state.event().tree_size <= state.height());
    Ok([&state.digest().0[..], &state.tree().root().0, bytes].concat())
}

fn snapshot(dice: &mut Dice<'_>) -> Vec<u8> {
    let state = values::state(&SEVEN, dice);
    let head = device_chain::state::EventHead { tree_size: state.height(), ..state.event().clone() };
    encode(&(head, encode(&state)))
}

fn read_snapshot(bytes: &[u8]) -> Reading {
    let verifier = ChainVerifier::resume(SEVEN.clone(), bytes).ok_or("no snapshot of this car")?;
    assert_eq!(verifier.snapshot(), bytes, "DC-4");
    Ok(bytes.to_vec())
}

fn text(dice: &mut Dice<'_>) -> Text {
    (0..dice.below(MAX_TEXT + 1)).map(|_| char::from(b' ' + dice.byte() % 95)).collect()
}

fn attested_of(kind: usize, dice: &mut Dice<'_>) -> AttestedRecord {
    let time_ms = dice.long();
    let kind = match kind {
        0 => RecordKind::Signal { name: text(dice), value: f64::from_bits(dice.long()) },
        1 => RecordKind::Grant(values::grant(dice)),
        2 => RecordKind::SegmentAlarm { segment: text(dice), identifier: dice.int(), frames: dice.int() },
        _ => RecordKind::Note(text(dice)),
    };
    AttestedRecord { time_ms, kind }
}

fn attested<const KIND: usize>(dice: &mut Dice<'_>) -> Vec<u8> {
    encode(&attested_of(KIND, dice))
}

fn records(dice: &mut Dice<'_>) -> Records {
    let mut records = Records::new();
    for _ in 0..dice.below(4) {
        let kind = dice.below(4);
        let _ = records.push(attested_of(kind, dice));
    }
    records
}

fn decisions(dice: &mut Dice<'_>) -> Decisions {
    let mut decisions = Decisions::new();
    for _ in 0..dice.below(6) {
        let _ = decisions.push(values::transaction_bytes(dice));
    }
    decisions
}

/// A block that looks well, sealed by nobody whose seal would count.
pub fn block(dice: &mut Dice<'_>) -> Block {
    Block {
        header: values::header(dice),
        decisions: decisions(dice),
        attested: dice.flag().then(|| records(dice)),
        seals: (0..dice.below(9)).map(|_| values::seal(dice)).collect(),
    }
}

fn read_block(bytes: &[u8]) -> Reading {
    let block = Block::decode(bytes).map_err(|error| error.to_string())?;
    assert!(block.encode() == bytes && bytes.len() <= MAX_BLOCK_BYTES, "DC-4");
    let sealed = check_seals(&block, &REGISTRY);
    assert!(sealed.is_err(), "nobody has sealed it");
    Ok([&block.hash(&MESH).0[..], format!("{sealed:?}").as_bytes(), bytes].concat())
}

fn builder(dice: &mut Dice<'_>) -> Vec<u8> {
    encode(&(MESH, decisions(dice), records(dice)))
}

fn read_builder(bytes: &[u8]) -> Reading {
    let builder = BlockBuilder::decode(bytes, &MESH).ok_or("no block of this car in the making")?;
    assert_eq!(builder.encode(), bytes, "DC-4");
    Ok([&[builder.decisions() as u8, builder.attested() as u8], bytes].concat())
}

fn receipt(dice: &mut Dice<'_>) -> Vec<u8> {
    let receipt = Receipt {
        mesh: MeshId(values::hash(dice)),
        number: dice.int(),
        block: values::hash(dice),
        finality: values::finality(dice),
        complete: dice.flag(),
        time_ms: dice.long(),
    };
    encode(&SignedReceipt { receipt, signature: values::signature(dice) })
}

fn read_receipt(bytes: &[u8]) -> Reading {
    assert!(SignedReceipt::open(bytes, &SEVEN).is_none(), "no archive has signed it");
    reading::<SignedReceipt>(bytes)
}
