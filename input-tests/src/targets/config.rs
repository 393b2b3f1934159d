//! The files that people and processes write beside a car: `car.toml`, and what a gateway shows of itself.

use std::fs;

use device_chain::codec;
use device_chain::genesis::Genesis;
use device_chain::types::PublicKey;
use ecu_node::linux::car::Car;
use event_chain::codec::encode;
use vehicle_gateway::chain::{ChainStatus, SealingStatus};
use vehicle_gateway::grants::{GrantState, GrantStatus};
use vehicle_gateway::status::{GatewayStatus, WindowStatus};

use crate::Dice;

const EXAMPLE: &str = include_str!("../../../car.toml");

/// Any text as a car's configuration, and the example after a few edits: one that is taken makes a sound genesis, one that is not is told by the
/// file's name.
///
/// # Panics
/// If not.
pub fn car(bytes: &[u8]) {
    load(bytes);
    let mut dice = Dice::of_bytes(bytes);
    let mut lines: Vec<String> = EXAMPLE.lines().map(String::from).collect();
    for _ in 0..dice.below(6) {
        edit(&mut lines, &mut dice);
    }
    let text = lines.join("\n").into_bytes();
    load(&if dice.once_in(4) { dice.damage(text) } else { text });
}

/// Another value, a line twice, a line less, or one from elsewhere.
fn edit(lines: &mut Vec<String>, dice: &mut Dice<'_>) {
    let at = dice.below(lines.len());
    let line = lines[at].clone();
    match (dice.below(4), line.split_once(" = ")) {
        (0 | 1, Some((key, _))) => lines[at] = format!("{key} = {}", value(dice)),
        (2, _) => drop(lines.remove(at)),
        _ => {
            let of = ["vote", "identifier", "fleet", "archive", "suite", "role", "name", "vehicle", "phase_us"];
            let new = match dice.below(4) {
                0 => line,
                1 => dice.pick(&["[[validator]]", "[[endpoint]]", "[authorities]", "[record]", "[mesh]"]).to_owned(),
                2 => {
                    let identifiers =
                        ["vote", "propose", "control", "bulk"].map(|key| format!("{key} = {}", dice.int()));
                    format!("identifiers = {{ {} }}", identifiers.join(", "))
                }
                _ => format!("{} = {}", dice.pick(&of), value(dice)),
            };
            lines.insert(at, new);
        }
    }
}

fn value(dice: &mut Dice<'_>) -> String {
    let key = cloud_link::hex::encode(&dice.bytes::<32>());
    match dice.below(6) {
        0 => format!("{:#x}", dice.int()),
        1 => dice.long().to_string(),
        2 => format!("[\"{key}\"]"),
        3 => format!("[\"{key}\", \"{}\"]", text(dice)),
        4 => format!("\"{}\"", dice.pick(&["cmac", "gateway", "other", "body", "adas", "archive.pub", ""])),
        _ => format!("\"{}\"", text(dice)),
    }
}

/// Letters, or whatever stands in a string.
fn text(dice: &mut Dice<'_>) -> String {
    let letters = dice.flag();
    let of = |byte| if letters { char::from(b'a' + byte % 26) } else { char::from(byte) };
    dice.up_to(30).into_iter().map(of).collect()
}

fn load(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("car.toml");
    fs::write(&path, bytes).expect("a file");
    let key_of = |at: usize| PublicKey([at as u8 + 1; 32]);
    match Car::load(&path) {
        Ok(car) => {
            let genesis = car.genesis(&key_of, &[]).expect("what was checked");
            assert_eq!(genesis.check(), Ok(()));
            assert_eq!(codec::decode::<Genesis>(&encode(&genesis)).as_ref(), Some(&genesis), "it fits its encoding");
            let keys = [&car.authorities.fleet, &car.authorities.archive].map(Vec::len);
            assert_eq!(genesis.authorities.len(), keys.iter().sum::<usize>());
            assert_eq!(
                (genesis.validators.len(), genesis.endpoints.len()),
                (car.validators.len(), car.endpoints.len())
            );
        }
        Err(error) => assert!(format!("{error:#}").contains("car.toml"), "{error:#}"),
    }
}

/// Any bytes as a gateway's status, and one that a gateway could have written.
///
/// # Panics
/// If what is read is not what is written.
pub fn gateway_status(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("gateway.json"), bytes).expect("a file");
    if let Ok(status) = GatewayStatus::read(folder.path()) {
        written(&status);
    }
    written(&made(&mut Dice::of_bytes(bytes)));
}

fn written(status: &GatewayStatus) {
    let folder = tempfile::tempdir().expect("a folder");
    status.write(folder.path()).expect("a file");
    let again = GatewayStatus::read(folder.path()).expect("what was written");
    assert_eq!(format!("{again:?}"), format!("{status:?}"));
    assert!(status.to_string().contains("recorded"), "shown");
}

fn made(dice: &mut Dice<'_>) -> GatewayStatus {
    let some_text = |dice: &mut Dice<'_>| dice.flag().then(|| text(dice));
    let sealing = |dice: &mut Dice<'_>| SealingStatus {
        block: dice.int(),
        seals: dice.below(9),
        quorum: dice.below(9),
        forwarded: dice.flag(),
    };
    let grant = |dice: &mut Dice<'_>| GrantStatus {
        serial: dice.long(),
        digest: text(dice),
        state: match dice.below(5) {
            0 => GrantState::Received,
            1 => GrantState::Ready,
            2 => GrantState::Asked,
            3 => GrantState::Used { height: dice.int(), latency_us: dice.flag().then(|| dice.long()) },
            _ => GrantState::Refused { reason: text(dice) },
        },
    };
    GatewayStatus {
        chain: ChainStatus {
            height: dice.int(),
            blocks: dice.int(),
            open_decisions: dice.below(1000),
            open_records: dice.below(1000),
            proposed: dice.flag(),
            sealing: dice.flag().then(|| sealing(dice)),
            bad_seals: dice.long(),
            dropped_records: dice.long(),
            broken: some_text(dice),
        },
        log: text(dice),
        window: WindowStatus {
            sealed: dice.int(),
            archived: dice.int(),
            waiting: dice.below(1000),
            thinned: dice.long(),
            damaged: dice.below(1000),
        },
        uplink: some_text(dice),
        // a gateway remembers 64
        grants: (0..dice.below(65)).map(|_| grant(dice)).collect(),
        recorded: dice.long(),
    }
}
