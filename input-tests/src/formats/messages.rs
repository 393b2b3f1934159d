//! Messages between nodes, of each kind, in meshes of each size.

use std::sync::LazyLock;

use device_chain::codec;
use device_chain::genesis::Genesis;
use device_chain::grant::SignedGrant;
use device_chain::limits::{MAX_RECORD_DATA, MAX_VALIDATORS, MIN_VALIDATORS};
use device_chain::registry::{Devices, Registry};
use device_chain::state::State;
use device_chain::tx::Transaction;
use device_chain::wire::{CALL_BODY, CLOCK_FORM, HEADER, Header, Kind, PRESENCE, Parts, present_tag_len, tags_len};
use event_chain::codec::encode;

use super::Group;
use crate::values;
use crate::{Dice, Format, Reading};

pub const MESSAGES: Group = Group {
    name: "message",
    formats: &[
        Format { name: "message: propose", make: make::<0>, read },
        Format { name: "message: prevote", make: make::<1>, read },
        Format { name: "message: ready", make: make::<2>, read },
        Format { name: "message: precommit", make: make::<3>, read },
        Format { name: "message: decided", make: make::<4>, read },
        Format { name: "message: hello", make: make::<5>, read },
        Format { name: "message: confirm", make: make::<6>, read },
        Format { name: "message: fetch", make: make::<7>, read },
        Format { name: "message: sync", make: make::<8>, read },
        Format { name: "message: grant", make: make::<9>, read },
        Format { name: "message: clock", make: clock, read },
        Format { name: "message: record", make: make::<10>, read },
        Format { name: "message: ack", make: make::<11>, read },
        Format { name: "message: seal", make: make::<12>, read },
        Format { name: "message: state", make: make::<13>, read },
        Format { name: "message: value", make: make::<14>, read },
        Format { name: "message: present", make: presence::<10>, read },
        Format { name: "message: call", make: presence::<11>, read },
    ],
};

/// A genesis of each size, and its registry, which has the mesh identity at hand.
static MESHES: LazyLock<Vec<(Genesis, Registry)>> = LazyLock::new(|| {
    let sizes = MIN_VALIDATORS..=MAX_VALIDATORS;
    sizes.map(values::plain_genesis).map(|genesis| (genesis.clone(), Registry::from(genesis))).collect()
});

fn make<const KIND: u8>(dice: &mut Dice<'_>) -> Vec<u8> {
    let (genesis, registry) = &MESHES[dice.below(MESHES.len())];
    let Some(kind) = Kind::from_code(KIND) else { return Vec::new() };
    let header = Header {
        mesh: registry.mesh().short(),
        suite: genesis.suite.code(),
        sender: dice.byte() & 15,
        round: dice.byte(),
        hint_proposer: dice.byte(),
        hint: dice.int() as u16,
        counter: dice.int(),
        ..Header::new(kind, dice.int())
    };
    let body = match kind {
        Kind::Propose | Kind::Value => values::transaction_bytes(dice).to_vec(),
        Kind::Grant => encode(&values::grant(dice)),
        Kind::Record => dice.up_to(MAX_RECORD_DATA),
        Kind::State => encode(&values::state(genesis, dice)),
        other => dice.exactly(other.body_len().unwrap_or(0)),
    };
    let tags = tags_len(kind, genesis.validators.len(), genesis.tag_len());
    let mut message = [&header.to_bytes()[..], &body].concat();
    message.extend(dice.exactly(tags));
    if kind.body_len().is_some() {
        message.resize(message.len() + dice.below(5), 0); // of its frame
    }
    message
}

/// A GRANT that is a reading of a clock.
fn clock(dice: &mut Dice<'_>) -> Vec<u8> {
    let (genesis, registry) = &MESHES[dice.below(MESHES.len())];
    let header = Header {
        mesh: registry.mesh().short(),
        suite: genesis.suite.code(),
        sender: dice.byte() & 15,
        counter: dice.int(),
        ..Header::new(Kind::Grant, dice.int()).round(CLOCK_FORM)
    };
    let tags = dice.exactly(tags_len(Kind::Grant, genesis.validators.len(), genesis.tag_len()));
    [&header.to_bytes()[..], &dice.long().to_le_bytes(), &tags].concat()
}

/// A RECORD or an ACK that is about presence.
fn presence<const KIND: u8>(dice: &mut Dice<'_>) -> Vec<u8> {
    let (genesis, registry) = &MESHES[dice.below(MESHES.len())];
    let Some(kind) = Kind::from_code(KIND) else { return Vec::new() };
    let header = Header {
        mesh: registry.mesh().short(),
        suite: genesis.suite.code(),
        sender: dice.byte() & 15,
        round: dice.byte(),
        hint_proposer: PRESENCE,
        hint: dice.int() as u16,
        counter: dice.int(),
        ..Header::new(kind, dice.int())
    };
    let n = genesis.validators.len();
    let length = if kind == Kind::Ack { CALL_BODY } else { n * present_tag_len(n, genesis.tag_len()) };
    [&header.to_bytes()[..], &dice.exactly(length), &vec![0; dice.below(5)]].concat()
}

/// What each mesh takes it for.
fn read(bytes: &[u8]) -> Reading {
    let mut all = Vec::new();
    for (genesis, registry) in MESHES.iter() {
        let (n, tag_len) = (genesis.validators.len(), genesis.tag_len());
        let Some(parts) = Parts::split(bytes, n, tag_len) else { continue };
        assert_eq!(&parts.header.to_bytes(), parts.head, "a header has one encoding");
        let whole = [&parts.head[..], parts.body, parts.tags].concat();
        assert!(bytes.starts_with(&whole) && bytes[whole.len()..].iter().all(|byte| *byte == 0));
        let tags = match parts.header.kind {
            Kind::Record if parts.header.is_presence() => n * present_tag_len(n, tag_len),
            Kind::Ack if parts.header.is_presence() => 0,
            kind => tags_len(kind, n, tag_len),
        };
        assert_eq!(parts.tags.len(), tags);
        all.extend([n as u8, body(&parts, registry).into()]);
        all.extend(whole.len().to_le_bytes());
        all.extend(whole);
    }
    if all.is_empty() { Err(format!("none of {} bytes", bytes.len().min(HEADER))) } else { Ok(all) }
}

/// Whether the body is what the kind says.
fn body(parts: &Parts<'_>, registry: &Registry) -> bool {
    match parts.header.kind {
        Kind::Propose | Kind::Value => {
            let tx = Transaction::decode(parts.body);
            tx.inspect(|tx| assert_eq!(encode(tx), parts.body, "DC-4")).is_some()
        }
        Kind::Grant if parts.header.round == CLOCK_FORM => parts.body.len() == 8,
        Kind::Grant => codec::decode::<SignedGrant>(parts.body).is_some(),
        Kind::State => {
            let of_this_car = parts.body.starts_with(&registry.mesh().0.0); // before what takes long
            let state = of_this_car.then(|| State::decode(parts.body, registry)).flatten();
            state.inspect(|state| assert_eq!(encode(state), parts.body, "DC-4")).is_some()
        }
        _ if parts.header.is_presence() => true,
        other => other.body_len().is_none_or(|length| length == parts.body.len()),
    }
}
