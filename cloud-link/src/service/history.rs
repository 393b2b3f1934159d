//! A car's history: its blocks, and what they say line by line, each with who stands behind it.

use device_chain::keys::Device;
use device_chain::order::{Change, Order};
use device_chain::tx::Transaction;
use device_chain::types::PublicKey;
use event_chain::block::Block;
use event_chain::receipt::SignedReceipt;
use event_chain::record::{Attestation, AttestedRecord, RecordKind};
use serde_json::{Value, json};

use super::archive::{Archive, ArchiveError, BlockRow, find, newest_final, rows};
use crate::hex;
use crate::wire::{Event, EventPage, Finality, StoredBlock};

/// Blocks of one answer.
const PAGE_BLOCKS: usize = 8;

/// How sure block `number` is: final if it or a later one was sealed by a quorum.
#[must_use]
pub fn finality(number: u32, newest_final: Option<u32>) -> Finality {
    if newest_final.is_some_and(|newest| number <= newest) { Finality::Final } else { Finality::Provisional }
}

impl Archive {
    /// Stored blocks of `vehicle`, from number `from` on.
    ///
    /// # Errors
    /// [`ArchiveError::UnknownVehicle`], or of the store.
    pub fn blocks(&self, vehicle: &str, from: u32) -> Result<Vec<StoredBlock>, ArchiveError> {
        let mesh = find(&self.db, vehicle)?.mesh;
        let newest_final = newest_final(&self.db, &mesh)?;
        let stored = |row: BlockRow| {
            let signed: Option<SignedReceipt> = device_chain::codec::decode(&row.receipt);
            let signed = signed.ok_or_else(|| ArchiveError::Damaged(format!("receipt {}", row.number)))?;
            Ok(StoredBlock {
                number: row.number,
                block: signed.receipt.block.to_string(),
                finality: finality(row.number, newest_final),
                bytes: hex::encode(&row.bytes),
                receipt: hex::encode(&row.receipt),
            })
        };
        rows(&self.db, &mesh, from, PAGE_BLOCKS)?.into_iter().map(stored).collect()
    }

    /// The events of `vehicle`, from block `from` on.
    ///
    /// # Errors
    /// [`ArchiveError::UnknownVehicle`], or of the store.
    pub fn events(&self, vehicle: &str, from: u32) -> Result<EventPage, ArchiveError> {
        let mesh = find(&self.db, vehicle)?.mesh;
        let newest_final = newest_final(&self.db, &mesh)?;
        let mut page = EventPage { events: Vec::new(), next: from };
        for row in rows(&self.db, &mesh, from, PAGE_BLOCKS)? {
            let block =
                Block::decode(&row.bytes).map_err(|e| ArchiveError::Damaged(format!("block {}: {e}", row.number)))?;
            page.events.extend(events_of(&block, finality(row.number, newest_final)));
            page.next = row.number.saturating_add(1);
        }
        Ok(page)
    }
}

/// The events of a verified block.
#[must_use]
pub fn events_of(block: &Block, finality: Finality) -> Vec<Event> {
    let header = &block.header;
    let line = |attestation, time_ms, kind: &str, detail| {
        let (attestation, height) = match attestation {
            Attestation::Quorum(height) => ("quorum", Some(height)),
            Attestation::GatewayAlone => ("gateway-alone", None),
        };
        let (attestation, kind) = (attestation.to_owned(), kind.to_owned());
        Event { block: header.number, finality, attestation, height, time_ms, kind, detail }
    };
    let decided = (block.first_height()..).zip(block.decisions.iter()).filter_map(|(height, bytes)| {
        let tx = Transaction::decode(bytes)?;
        Some(line(Attestation::Quorum(height), header.time_ms, tx.name(), describe_decision(&tx)))
    });
    let attested = block.attested.iter().flat_map(|records| records.iter()).map(|record| {
        let (kind, detail) = describe_record(record);
        line(Attestation::GatewayAlone, record.time_ms, kind, detail)
    });
    decided.chain(attested).collect()
}

fn describe_decision(tx: &Transaction) -> Value {
    match tx {
        Transaction::UseGrant(order) => json!({
            "grant": order.digest.to_string(),
            "serial": order.serial,
            "action": format!("{:?}", order.action).to_lowercase(),
            "not_after": order.not_after,
        }),
        Transaction::Record { endpoint, sequence, data } => {
            json!({ "endpoint": endpoint, "sequence": sequence, "data": hex::encode(data) })
        }
        Transaction::Alarm { identifier, count } => {
            json!({ "identifier": format!("{identifier:x}"), "count": count })
        }
        Transaction::EventBlock(header) => json!({ "number": header.number, "tree_size": header.tree_size }),
        Transaction::Readmit { validator, nonce } => json!({ "validator": validator, "nonce": nonce }),
        Transaction::Skip => Value::Null,
        Transaction::Refresh { validator, key } => json!({ "validator": validator, "key": hex::encode(key) }),
        Transaction::Suspend { validator } | Transaction::Resume { validator } => json!({ "validator": validator }),
        Transaction::Change(order) => describe_order(order),
        Transaction::Time { ms } => json!({ "time_ms": ms }),
        Transaction::Firmware { device, firmware } => {
            json!({ "device": describe_device(*device), "firmware": firmware.to_string() })
        }
    }
}

/// What changed in who belongs to the car.
fn describe_order(order: &Order) -> Value {
    let key = |key: &PublicKey| hex::encode(&key.0);
    let change = match &order.change {
        Change::Provision { identity, firmware, identifier, .. } => {
            json!({ "identity": hex::encode(identity.bytes()), "firmware": firmware.to_string(), "identifier": format!("{identifier:x}") })
        }
        Change::Replace { identity, firmware, .. } => {
            json!({ "identity": hex::encode(identity.bytes()), "firmware": firmware.to_string() })
        }
        Change::Update { firmware, .. } => json!({ "firmware": firmware.to_string() }),
        Change::Rotate { key: new, .. } => json!({ "key": key(new) }),
        Change::Authority { at, role, key: new } => {
            json!({ "at": at, "role": format!("{role:?}").to_lowercase(), "key": key(new) })
        }
        Change::Transfer { owner } => json!({ "owner": key(owner) }),
        Change::Revoke { .. } | Change::Reset | Change::EndOfLife => json!({}),
    };
    let mut described = json!({ "generation": order.generation, "not_after": order.not_after });
    described["device"] = order.change.device().map_or(Value::Null, describe_device);
    described["change"] = change;
    described
}

/// A device by kind and place.
fn describe_device(device: Device) -> Value {
    match device {
        Device::Validator(at) => json!({ "validator": at }),
        Device::Endpoint(at) => json!({ "endpoint": at }),
    }
}

fn describe_record(record: &AttestedRecord) -> (&'static str, Value) {
    match &record.kind {
        RecordKind::Signal { name, value } => ("signal", json!({ "name": name.as_str(), "value": value })),
        RecordKind::Grant(signed) => {
            ("grant", json!({ "serial": signed.grant.serial, "grant": signed.grant.digest().to_string() }))
        }
        RecordKind::SegmentAlarm { segment, identifier, frames } => (
            "segment-alarm",
            json!({ "segment": segment.as_str(), "identifier": format!("{identifier:x}"), "frames": frames }),
        ),
        RecordKind::Note(text) => ("note", json!({ "text": text.as_str() })),
    }
}
