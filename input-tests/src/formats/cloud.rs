//! What goes over HTTP as text, and what processes show each other in files.

use std::collections::BTreeMap;

use cloud_link::hex;
use cloud_link::wire::{
    Action, Claim, ErrorAnswer, Finality, GrantAnswer, GrantOrder, GrantState, Mode, ReceiptAnswer, StoredBlock,
};
use ecu_node::linux::status::{ApprovalStatus, DecisionStatus, EndpointStatus, Peer, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Group;
use crate::{Dice, Format, Reading};

pub const BODIES: Group = Group {
    name: "body",
    formats: &[
        Format { name: "hexadecimal text", make: |dice| hex::encode(&dice.up_to(80)).into_bytes(), read: read_hex },
        Format { name: "body: order of a grant", make: |dice| json(&order(dice)), read: read_json::<GrantOrder> },
        Format { name: "body: grants", make: |dice| json(&grants(dice)), read: read_json::<Vec<GrantAnswer>> },
        Format { name: "body: receipt", make: |dice| json(&receipt(dice)), read: read_json::<ReceiptAnswer> },
        Format { name: "body: stored block", make: |dice| json(&stored(dice)), read: read_json::<StoredBlock> },
        Format { name: "body: claim", make: |dice| json(&claim(dice)), read: read_json::<Claim> },
        Format { name: "body: error", make: |dice| json(&error(dice)), read: read_json::<ErrorAnswer> },
        Format { name: "status of a node", make: |dice| json(&status(dice)), read: read_json::<Status> },
    ],
};

fn read_hex(bytes: &[u8]) -> Reading {
    let text = std::str::from_utf8(bytes).map_err(|_| "no text")?;
    if let Some(key) = ecu_node::hex::from_hex(text) {
        assert_eq!(hex::decode32(text.trim()), Some(key), "one alphabet");
    }
    let read = hex::decode(text).ok_or("not hexadecimal")?;
    assert_eq!(hex::encode(&read), text.to_ascii_lowercase());
    Ok(read)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("has a JSON form")
}

/// What is wrong is told in the library's words, so it is not told here.
fn read_json<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Reading {
    let value: T = serde_json::from_slice(bytes).map_err(|_| "not in this form")?;
    let again = json(&value);
    let same = serde_json::from_slice::<T>(&again).map(|value| json(&value));
    assert_eq!(same.ok().as_ref(), Some(&again), "what is read and written again is read as the same");
    Ok(again)
}

fn text(dice: &mut Dice<'_>) -> String {
    dice.up_to(12).into_iter().map(char::from).collect()
}

fn sometimes<T>(dice: &mut Dice<'_>, value: impl FnOnce(&mut Dice<'_>) -> T) -> Option<T> {
    dice.flag().then(|| value(dice))
}

fn order(dice: &mut Dice<'_>) -> GrantOrder {
    GrantOrder {
        action: dice.pick(&[Action::Unlock, Action::Lock]),
        holder: hex::encode(&dice.bytes::<32>()),
        valid_heights: sometimes(dice, |dice| dice.int()),
        not_after: sometimes(dice, |dice| dice.int()),
    }
}

fn grants(dice: &mut Dice<'_>) -> Vec<GrantAnswer> {
    let grant = |dice: &mut Dice<'_>| GrantAnswer {
        serial: dice.long(),
        not_before: dice.int(),
        not_after: dice.int(),
        state: dice.pick(&[GrantState::Issued, GrantState::Used, GrantState::Expired]),
        used_height: sometimes(dice, |dice| dice.int()),
        grant: hex::encode(&dice.up_to(40)),
    };
    (0..dice.below(3)).map(|_| grant(dice)).collect()
}

fn finality(dice: &mut Dice<'_>) -> Finality {
    dice.pick(&[Finality::Provisional, Finality::Final])
}

fn receipt(dice: &mut Dice<'_>) -> ReceiptAnswer {
    let (number, block) = (dice.int(), hex::encode(&dice.bytes::<32>()));
    ReceiptAnswer { number, block, finality: finality(dice), receipt: hex::encode(&dice.up_to(40)) }
}

fn stored(dice: &mut Dice<'_>) -> StoredBlock {
    let ReceiptAnswer { number, block, finality, receipt } = receipt(dice);
    StoredBlock { number, block, finality, bytes: hex::encode(&dice.up_to(60)), receipt }
}

fn claim(dice: &mut Dice<'_>) -> Claim {
    Claim { mode: dice.pick(&[Mode::Trusted, Mode::Degraded, Mode::Isolated]), height: dice.int(), peers: dice.byte() }
}

fn error(dice: &mut Dice<'_>) -> ErrorAnswer {
    ErrorAnswer {
        error: text(dice),
        expected: sometimes(dice, |dice| dice.int()),
        stored: sometimes(dice, text),
        sent: sometimes(dice, text),
    }
}

fn status(dice: &mut Dice<'_>) -> Status {
    let peer = |dice: &mut Dice<'_>| Peer {
        name: text(dice),
        heard: dice.flag(),
        confirmed: dice.flag(),
        amnesiac: dice.flag(),
        suspended: dice.flag(),
    };
    let decision = |dice: &mut Dice<'_>| DecisionStatus {
        height: dice.int(),
        kind: text(dice),
        hash: hex::encode(&dice.bytes::<32>()),
        round: dice.byte(),
        live: dice.flag(),
        latency_us: sometimes(dice, |dice| dice.long()),
    };
    let counts = |dice: &mut Dice<'_>| -> BTreeMap<String, u64> {
        (0..dice.below(3)).map(|_| (text(dice), dice.long())).collect()
    };
    Status {
        vehicle: text(dice),
        name: text(dice),
        role: text(dice),
        mesh: text(dice),
        mode: text(dice),
        height: dice.int(),
        round: dice.byte(),
        head: text(dice),
        time_ms: dice.long(),
        clocks_ms: sometimes(dice, |dice| dice.long()),
        boot: dice.int(),
        amnesiac: dice.flag(),
        suspended: dice.flag(),
        diagnosis: text(dice),
        peers: (0..dice.below(3)).map(|_| peer(dice)).collect(),
        endpoints: EndpointStatus {
            present: dice.below(9),
            missing: (0..dice.below(3)).map(|_| text(dice)).collect(),
            other_firmware: (0..dice.below(3)).map(|_| text(dice)).collect(),
        },
        messages: counts(dice),
        rules: counts(dice),
        frames: counts(dice),
        bus: text(dice),
        approvals: ApprovalStatus {
            count: dice.long(),
            median_us: sometimes(dice, |dice| dice.long()),
            worst_us: sometimes(dice, |dice| dice.long()),
        },
        decisions: (0..dice.below(3)).map(|_| decision(dice)).collect(),
        reports_dropped: dice.long(),
        ignition_ms: sometimes(dice, |dice| dice.long()),
        door: sometimes(dice, text),
        pid: dice.int(),
        written_at_ms: dice.long(),
    }
}
