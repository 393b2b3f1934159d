//! Values from chance: within the limits, but otherwise of any kind.

use device_chain::agreement::VoteKind;
use device_chain::block::{BlockHeader, Finality, Seal};
use device_chain::genesis::{
    Authority, AuthorityEntry, EndpointEntry, Genesis, Identifiers, Identity, Name, Policy, Role, SignedGenesis,
    Thresholds, ValidatorEntry, WIRE_VERSION,
};
use device_chain::grant::{Action, Grant, GrantUse, SignedGrant};
use device_chain::keys::Device;
use device_chain::limits::MAX_RECORD_DATA;
use device_chain::mac::Suite;
use device_chain::members::Members;
use device_chain::order::{Change, Endorsement, Order, Signer};
use device_chain::record::{Named, Record, VoteRecord};
use device_chain::registry::Registry;
use device_chain::state::State;
use device_chain::tx::{Transaction, TxBytes};
use device_chain::types::{Hash, MeshId, PublicKey, Signature};

use crate::Dice;

/// A hash.
pub fn hash(dice: &mut Dice<'_>) -> Hash {
    Hash(dice.bytes())
}

/// What looks like a signature.
pub fn signature(dice: &mut Dice<'_>) -> Signature {
    Signature::from_bytes(&dice.bytes())
}

/// How many kinds of transactions there are.
pub const TRANSACTIONS: usize = 12;

/// A transaction of a kind, by its place among them.
pub fn transaction(kind: usize, dice: &mut Dice<'_>) -> Transaction {
    match kind {
        0 => Transaction::UseGrant(GrantUse {
            digest: hash(dice),
            issuer: dice.byte(),
            serial: dice.long(),
            action: action(dice),
            not_after: dice.int(),
        }),
        1 => {
            let data = dice.up_to(MAX_RECORD_DATA).into_iter().collect();
            Transaction::Record { endpoint: dice.byte(), sequence: dice.long(), data }
        }
        2 => Transaction::Alarm { identifier: dice.int(), count: dice.int() },
        3 => Transaction::EventBlock(header(dice)),
        4 => Transaction::Readmit { validator: dice.byte(), nonce: dice.long() },
        5 => Transaction::Skip,
        6 => Transaction::Suspend { validator: dice.byte() },
        7 => Transaction::Resume { validator: dice.byte() },
        8 => Transaction::Change(order(dice)),
        9 => Transaction::Firmware { device: device(dice), firmware: hash(dice) },
        10 => Transaction::Time { ms: dice.long() },
        _ => Transaction::Refresh { validator: dice.byte(), key: hash(dice).0 },
    }
}

fn device(dice: &mut Dice<'_>) -> Device {
    if dice.flag() { Device::Validator(dice.byte()) } else { Device::Endpoint(dice.byte()) }
}

/// An order.
pub fn order(dice: &mut Dice<'_>) -> Order {
    let (device, key, firmware) = (device(dice), PublicKey(hash(dice).0), hash(dice));
    let identity = if dice.flag() { Identity::A(key) } else { Identity::S(Hash(key.0)) };
    let role = [Authority::Fleet, Authority::Archive, Authority::Maker, Authority::Workshop, Authority::Owner];
    let change = match dice.below(9) {
        0 => Change::Provision { device, identity, firmware, identifier: dice.int() },
        1 => Change::Replace { device, identity, firmware },
        2 => Change::Update { device, firmware },
        3 => Change::Rotate { device, key },
        4 => Change::Revoke { device },
        5 => Change::Authority { at: dice.byte(), role: dice.pick(&role), key },
        6 => Change::Transfer { owner: key },
        7 => Change::Reset,
        _ => Change::EndOfLife,
    };
    Order { change, generation: dice.int() as u16, not_after: dice.int() }
}

/// An order with one signature.
pub fn endorsement(dice: &mut Dice<'_>) -> Endorsement {
    let signer = match dice.below(3) {
        0 => Signer::Authority(dice.byte()),
        1 => Signer::Newcomer,
        _ => Signer::Device,
    };
    Endorsement { order: order(dice), signer, signature: signature(dice) }
}

/// Any transaction, encoded.
pub fn transaction_bytes(dice: &mut Dice<'_>) -> TxBytes {
    let kind = dice.below(TRANSACTIONS);
    transaction(kind, dice).encode().unwrap_or_default()
}

fn action(dice: &mut Dice<'_>) -> Action {
    if dice.flag() { Action::Unlock } else { Action::Lock }
}

/// How sure a block is.
pub fn finality(dice: &mut Dice<'_>) -> Finality {
    if dice.flag() { Finality::Final } else { Finality::Provisional }
}

/// The header of a block.
pub fn header(dice: &mut Dice<'_>) -> BlockHeader {
    BlockHeader {
        number: dice.int(),
        previous: hash(dice),
        tree_size: dice.int(),
        tree_root: hash(dice),
        attested_root: hash(dice),
        attested_count: dice.int(),
        finality: finality(dice),
        members: Members::all(dice.below(9)).without(dice.byte()),
        time_ms: dice.long(),
    }
}

/// A seal.
pub fn seal(dice: &mut Dice<'_>) -> Seal {
    Seal { validator: dice.byte(), signature: signature(dice) }
}

/// A grant.
pub fn grant(dice: &mut Dice<'_>) -> SignedGrant {
    let grant = Grant {
        mesh: MeshId(hash(dice)),
        issuer: dice.byte(),
        serial: dice.long(),
        action: action(dice),
        holder: hash(dice),
        not_before: dice.int(),
        not_after: dice.int(),
    };
    SignedGrant { grant, signature: signature(dice) }
}

/// How many kinds of durable facts there are.
pub const FACTS: usize = 7;

/// A durable fact of a kind, by its place among them.
pub fn fact(kind: usize, dice: &mut Dice<'_>) -> Record {
    match kind {
        0 => Record::Boot(dice.int()),
        1 => Record::Vote(VoteRecord {
            height: dice.int(),
            round: dice.byte(),
            kind: dice.pick(&[VoteKind::Prevote, VoteKind::Ready, VoteKind::Precommit]),
            value: named(dice),
        }),
        2 => Record::Decided(dice.int(), named(dice)),
        3 => Record::Amnesiac,
        4 => Record::Readmitted,
        5 => Record::Past(transaction_bytes(dice)),
        _ => Record::Parent(hash(dice)),
    }
}

fn named(dice: &mut Dice<'_>) -> Named {
    match dice.below(3) {
        0 => Named::Nil,
        1 => Named::Content(transaction_bytes(dice)),
        _ => Named::Hint(dice.bytes()),
    }
}

fn name(text: &str) -> Name {
    text.chars().take(24).collect()
}

/// A sound genesis of a mesh of `n`; `key` gives the keys of devices by their places.
pub fn genesis(n: usize, endpoints: usize, suite: Suite, key: impl Fn(usize) -> PublicKey) -> Genesis {
    let validators = (0..n).map(|at| {
        let id = at as u32;
        ValidatorEntry {
            name: name(&format!("ecu{at}")),
            role: if at == 0 { Role::Gateway } else { Role::Body },
            key: key(at),
            firmware: Hash([at as u8; 32]),
            identifiers: Identifiers { vote: 0x90 + id, propose: 0x98 + id, control: 0xA0 + id, bulk: 0x4E8 + id },
        }
    });
    let endpoint = |at| EndpointEntry {
        name: name(&format!("door{at}")),
        identity: Identity::A(key(n + at)),
        firmware: Hash::NIL,
        identifier: 0x8000_05C0 + at as u32,
    };
    let authority = |authority, at| AuthorityEntry { authority, key: key(at) };
    Genesis {
        version: WIRE_VERSION,
        suite,
        vehicle: name("INPUT"),
        made_ms: 1_790_000_000_000,
        validators: validators.collect(),
        endpoints: (0..endpoints).map(endpoint).collect(),
        authorities: [authority(Authority::Fleet, 250), authority(Authority::Archive, 251)].into_iter().collect(),
        policy: Policy { phase_us: 10_000, heartbeat_us: 250_000, thresholds: Thresholds::ONE },
    }
}

/// The same with keys that nobody has.
pub fn plain_genesis(n: usize) -> Genesis {
    genesis(n, 2, Suite::Blake2s, |at| PublicKey([at as u8; 32]))
}

/// A signed genesis: sound, or nearly so.
pub fn signed_genesis(dice: &mut Dice<'_>) -> SignedGenesis {
    let (n, endpoints) = (4 + dice.below(5), dice.below(6));
    let suite = if dice.flag() { Suite::Cmac } else { Suite::Blake2s };
    let salt = dice.byte();
    let mut genesis = genesis(n, endpoints, suite, |at| PublicKey([at as u8 ^ salt; 32]));
    let at = dice.below(n);
    match dice.below(16) {
        0 => genesis.version = dice.byte(),
        1 => genesis.policy.phase_us = dice.int(),
        2 => genesis.policy.heartbeat_us = dice.int(),
        3 => genesis.validators[at].role = dice.pick(&[Role::Gateway, Role::Chassis, Role::Other]),
        4 => genesis.validators[at].identifiers.vote = dice.int(),
        5 => genesis.validators[at].identifiers.bulk = 0x90 + dice.int() % 0x100,
        6 => genesis.validators[at].key = PublicKey([dice.byte(); 32]),
        7 => genesis.validators[at].name = name(&String::from_utf8_lossy(&dice.up_to(8))),
        8 => genesis.vehicle = name(&"x".repeat(dice.below(25))),
        9 => genesis.validators.truncate(at),
        10 => genesis.made_ms = dice.byte().into(),
        11 => genesis.endpoints.iter_mut().for_each(|endpoint| endpoint.identifier = dice.int()),
        12 => genesis.endpoints.iter_mut().for_each(|of| of.identity = Identity::S(Hash(dice.bytes()))),
        _ => {}
    }
    SignedGenesis { genesis, signature: signature(dice) }
}

/// A state that a car of this genesis can have: of up to four decisions, most of them such that the chain allows them.
pub fn state(genesis: &Genesis, dice: &mut Dice<'_>) -> State {
    state_and_registry(genesis, dice).0
}

/// The same with who belongs to the car then.
pub fn state_and_registry(genesis: &Genesis, dice: &mut Dice<'_>) -> (State, Registry) {
    let mut registry = Registry::from(genesis);
    let mut state = State::new(genesis);
    for _ in 0..dice.below(5) {
        let tx = likely(&state, genesis, dice);
        if let Some(bytes) = tx.encode() {
            let _ = state.apply(&bytes, &tx, &mut registry);
        }
    }
    (state, registry)
}

/// A transaction that the state most likely allows.
pub fn likely(state: &State, genesis: &Genesis, dice: &mut Dice<'_>) -> Transaction {
    let validator = dice.below(genesis.validators.len()) as u8;
    match dice.below(TRANSACTIONS + 1) {
        0 => Transaction::UseGrant(GrantUse {
            digest: hash(dice),
            issuer: 0,
            serial: dice.below(200) as u64,
            action: action(dice),
            not_after: u32::MAX,
        }),
        1 => {
            let endpoint = dice.below(genesis.endpoints.len().max(1)) as u8;
            let sequence = state.sequence(endpoint).unwrap_or_default().saturating_add(1 + dice.byte() as u64);
            Transaction::Record { endpoint, sequence, data: dice.up_to(4).into_iter().collect() }
        }
        2 => {
            let identifier = dice.pick(&genesis.validators[usize::from(validator)].identifiers.all());
            Transaction::Alarm { identifier, count: dice.int() }
        }
        3 => {
            let before = state.event();
            Transaction::EventBlock(BlockHeader {
                number: before.number.wrapping_add(1),
                previous: before.hash,
                tree_size: state.height(),
                tree_root: state.tree().root(),
                attested_root: hash(dice),
                attested_count: dice.int(),
                finality: Finality::Final,
                members: state.members(),
                time_ms: state.time_ms().saturating_add(dice.byte().into()),
            })
        }
        4 => Transaction::Readmit { validator, nonce: dice.long() },
        5 => Transaction::Skip,
        6 => Transaction::Suspend { validator },
        7 => Transaction::Resume { validator },
        8 => {
            let change = Change::Update { device: Device::Validator(validator), firmware: hash(dice) };
            Transaction::Change(Order { change, generation: 0, not_after: u32::MAX })
        }
        9 => Transaction::Firmware { device: Device::Validator(validator), firmware: hash(dice) },
        10 => Transaction::Time { ms: state.time_near(dice.long()) },
        11 => Transaction::Refresh { validator, key: hash(dice).0 },
        _ => {
            let kind = dice.below(TRANSACTIONS);
            transaction(kind, dice)
        }
    }
}
