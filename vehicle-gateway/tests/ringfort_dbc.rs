//! `dbc/ringfort.dbc` says what the code does: every frame of a simulated car is decoded by both and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use can_bus::Frame;
use can_bus::timing::BitTiming;
use dbc::{Absent, Database, Message, Raw};
use device_chain::wire::{HEADER, Header, Kind};
use ecu_node::Input;
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;
use mesh_sim::workload::grant;

const SECOND_US: u64 = 1_000_000;

fn database() -> Database {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dbc/ringfort.dbc");
    Database::load(&path).expect("it is ours")
}

/// Ignition, an approval, a validator that catches up and one that comes back wiped.
fn trace() -> Vec<Frame> {
    let mut car = Car::started(Plan::default(), BitTiming::FD_500K_2M);
    car.run_for(SECOND_US / 2);
    for serial in 1..=4 {
        let signed = grant(&car, serial);
        let usage = signed.grant.usage();
        car.give(0, Input::Grant(signed));
        car.run_for(SECOND_US / 10);
        car.give(0, Input::Submit(device_chain::tx::Transaction::UseGrant(usage)));
        car.run_for(SECOND_US / 10);
        if serial == 2 {
            car.crash(5);
            car.crash(6);
            car.wipe(6);
        }
    }
    car.boot(5);
    car.boot(6);
    car.run_for(3 * SECOND_US);
    car.frames().collect()
}

fn integer(data: &[u8]) -> u64 {
    data.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Name and value of every field, as the code reads the frame.
fn fields(frame: &Frame) -> BTreeMap<String, u64> {
    let data = frame.data();
    let kind = u64::from(data[3] >> 4);
    let mut fields = BTreeMap::from(
        [
            ("MeshId", integer(&data[..2])),
            ("MacSuite", u64::from(data[2] & 15)),
            ("WireVersion", u64::from(data[2] >> 4)),
            ("Sender", u64::from(data[3] & 15)),
            ("Kind", kind),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let mut put = |name: &str, value: u64| fields.insert(name.to_owned(), value);
    let Some(header) = Header::parse(data) else {
        put("Transfer", u64::from(data[4]));
        put("Index", u64::from(data[5]));
        put("Length", integer(&data[6..8]));
        for (at, chunk) in data[8..].chunks_exact(8).enumerate() {
            put(&format!("Payload{at}"), integer(chunk));
        }
        return fields;
    };
    let round = u64::from(header.round);
    match header.kind {
        Kind::Hello => {
            put("Boot", header.height.into());
            put("Nonce", header.nonce());
        }
        kind => {
            put("Height", header.height.into());
            put("Counter", header.counter.into());
            let bytes8_to_11 = match kind {
                Kind::Confirm => [("ConfirmFlags", round), ("ConfirmPeers", header.hint.into())].to_vec(),
                Kind::Sync => [("Round", round)].to_vec(),
                Kind::Ack | Kind::Seal | Kind::State => [("Addressee", round)].to_vec(),
                Kind::Record => [("Endpoint", round)].to_vec(),
                Kind::Grant => Vec::new(),
                Kind::Fetch | Kind::Value => {
                    [("Addressee", round), ("HintProposer", header.hint_proposer.into()), ("Hint", header.hint.into())]
                        .to_vec()
                }
                _ => [("Round", round), ("HintProposer", header.hint_proposer.into()), ("Hint", header.hint.into())]
                    .to_vec(),
            };
            for (name, value) in bytes8_to_11 {
                put(name, value);
            }
        }
    }
    let tags = header.kind.body_len() == Some(0);
    for (at, chunk) in data[HEADER..].chunks_exact(8).enumerate() {
        if header.kind == Kind::Ack {
            put(["AckSequence", "AckTag"].get(at).copied().unwrap_or("padding"), integer(chunk));
        } else if !header.kind.is_addressed() || !tags || at == 0 {
            put(&format!("{}{at}", if tags { "Tag" } else { "Content" }), integer(chunk));
        }
    }
    fields
}

fn decoded(message: &Message, frame: &Frame) -> BTreeMap<String, u64> {
    let values = message.decode(frame.data()).filter_map(|decoded| match decoded.value {
        Ok(value) => match value.raw {
            Raw::Unsigned(raw) => Some((decoded.signal.name.clone(), raw)),
            other => panic!("{}: {other:?}", decoded.signal.name),
        },
        Err(Absent::NotSelected | Absent::FrameTooShort) => None,
    });
    values.collect()
}

#[test]
fn every_frame_of_a_car_means_the_same_to_the_code_and_to_the_dbc() {
    let (database, mut kinds) = (database(), BTreeSet::new());
    for frame in trace() {
        let message = database.message(frame.raw_id()).unwrap_or_else(|| panic!("{:03X} is missing", frame.raw_id()));
        assert_eq!(decoded(message, &frame), fields(&frame), "{} {frame:?}", message.name);
        kinds.insert(frame.data()[3] >> 4);
    }
    for kind in [Kind::Prevote, Kind::Precommit, Kind::Decided, Kind::Hello, Kind::Confirm, Kind::Sync] {
        assert!(kinds.contains(&(kind as u8)), "no {kind:?} in the trace");
    }
    assert!(kinds.contains(&15), "no segment in the trace");
}

#[test]
fn the_dbc_names_every_kind_as_the_code_does() {
    for message in database().messages() {
        let kind = message.signal("Kind").expect("every message has one");
        for code in 0..15 {
            let name = format!("{:?}", Kind::from_code(code).expect("a kind")).to_uppercase();
            assert_eq!(kind.text(code.into()), Some(name.as_str()), "{}", message.name);
        }
        assert_eq!((Kind::from_code(15), kind.text(15)), (None, Some("SEGMENT")));
        assert_eq!(kind.texts.len(), 16);
    }
}

#[test]
fn all_default_identifiers_are_in_the_dbc() {
    let (database, eight) = (database(), Plan { validators: 8, ..Plan::default() }.genesis());
    let planned: BTreeSet<_> = eight.identifiers().map(|(_, identifier)| identifier).collect();
    let described: BTreeSet<_> = database.messages().iter().map(|message| message.raw_id).collect();
    assert_eq!(planned, described);
}
