//! Verified ingest. One transaction a block: block, receipt and the state after it, or nothing.
//!
//! Order: verify, commit, advance the checkpoint, answer. A kill between any two steps is harmless: the car sends the
//! block again, gets the same receipt, and the checkpoint is advanced then.

use device_chain::block::Finality;
use device_chain::sign::SigningKey;
use device_chain::tx::Transaction;
use event_chain::block::{Block, Decisions, attested_root};
use event_chain::codec::encode;
use event_chain::receipt::{Receipt, SignedReceipt};
use event_chain::record::{AttestedRecord, RecordKind};
use event_chain::verify::{Fault, Rule, check_seals};
use rusqlite::{Transaction as Store, TransactionBehavior, params};

use super::archive::{Archive, ArchiveError, BlockRow, Vehicle, find, row};
use crate::checkpoint;

/// Proven forks kept per vehicle, each a header with its seals: one is proof enough.
const MAX_CONFLICTS: u32 = 16;

impl Archive {
    /// Takes a block of `vehicle` from its canonical bytes and gives the signed receipt's. The same block again gives
    /// the same receipt, unless it brings seals or withheld records that are not stored yet. `now_ms` is Unix time.
    ///
    /// # Errors
    /// [`ArchiveError::UnknownVehicle`], [`ArchiveError::Gap`], [`ArchiveError::Conflict`], [`ArchiveError::Invalid`],
    /// or of the store.
    pub fn ingest(&mut self, vehicle: &str, bytes: &[u8], now_ms: u64) -> Result<SignedReceipt, ArchiveError> {
        let store = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut vehicle = find(&store, vehicle)?;
        let expected = vehicle.verifier.head().number + 1;
        let block = Block::decode(bytes)
            .map_err(|error| ArchiveError::Invalid(Fault { number: expected, rule: Rule::Bytes(error) }))?;
        let number = block.header.number;
        if number > expected {
            return Err(ArchiveError::Gap { expected });
        }
        let signed = match row(&store, &vehicle.mesh, number)? {
            Some(stored) => again(&store, &self.key, &vehicle, &stored, &block, now_ms),
            None => next(&store, &self.key, &mut vehicle, &block, now_ms),
        };
        store.commit()?; // a conflict is kept, too
        let signed = signed?;
        let path = checkpoint::path(&self.checkpoints, &vehicle.mesh);
        checkpoint::advance(&path, &signed.receipt, &encode(&signed), &vehicle.genesis)
            .map_err(|error| ArchiveError::Checkpoint(path, error))?;
        Ok(signed)
    }
}

fn sign(key: &SigningKey, vehicle: &Vehicle, block: &Block, finality: Finality, time_ms: u64) -> SignedReceipt {
    let receipt = Receipt {
        mesh: vehicle.mesh,
        number: block.header.number,
        block: block.hash(&vehicle.mesh),
        finality,
        complete: block.attested.is_some(),
        time_ms,
    };
    SignedReceipt::sign(receipt, key)
}

/// A block with the next number: stored if it is sound, with everything that follows from it.
fn next(
    store: &Store<'_>,
    key: &SigningKey,
    vehicle: &mut Vehicle,
    block: &Block,
    now_ms: u64,
) -> Result<SignedReceipt, ArchiveError> {
    let finality = match vehicle.verifier.accept(block) {
        Ok(finality) => finality,
        Err(fault) => {
            if matches!(fault.rule, Rule::Previous { .. }) {
                keep_conflict(store, vehicle, block, now_ms)?;
            }
            return Err(ArchiveError::Invalid(fault));
        }
    };
    let signed = sign(key, vehicle, block, finality, now_ms);
    insert(store, vehicle, block, &signed, now_ms)?;
    Ok(signed)
}

fn insert(
    store: &Store<'_>,
    vehicle: &Vehicle,
    block: &Block,
    signed: &SignedReceipt,
    now_ms: u64,
) -> Result<(), ArchiveError> {
    let (mesh, is_final) = (vehicle.mesh.0.0, signed.receipt.finality == Finality::Final);
    store.execute(
        "INSERT INTO block (mesh, number, final, bytes, receipt) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![mesh, block.header.number, is_final, block.encode(), encode(signed)],
    )?;
    store.execute("UPDATE vehicle SET snapshot = ?2 WHERE mesh = ?1", params![mesh, vehicle.verifier.snapshot()])?;
    let mut alarm = has_alarm(block);
    for (height, bytes) in (block.first_height()..).zip(block.decisions.iter()) {
        match Transaction::decode(bytes) {
            Some(Transaction::UseGrant(order)) => {
                store.execute(
                    "UPDATE issued SET used_height = ?3 WHERE mesh = ?1 AND digest = ?2",
                    params![mesh, order.digest.0, height],
                )?;
            }
            Some(Transaction::Alarm { .. }) => alarm = true,
            _ => {}
        }
    }
    if alarm { note_alarm(store, vehicle, now_ms) } else { Ok(()) }
}

/// Whether the gateway attests an alarm.
fn has_alarm(block: &Block) -> bool {
    let is_alarm = |record: &AttestedRecord| matches!(record.kind, RecordKind::SegmentAlarm { .. });
    block.attested.iter().flat_map(|records| records.iter()).any(is_alarm)
}

fn note_alarm(store: &Store<'_>, vehicle: &Vehicle, now_ms: u64) -> Result<(), ArchiveError> {
    store.execute("UPDATE vehicle SET alarm_ms = ?2 WHERE mesh = ?1", params![vehicle.mesh.0.0, now_ms])?;
    Ok(())
}

/// A block with a number that is stored: the same one, perhaps with more seals or records, or a fork.
fn again(
    store: &Store<'_>,
    key: &SigningKey,
    vehicle: &Vehicle,
    stored: &BlockRow,
    sent: &Block,
    now_ms: u64,
) -> Result<SignedReceipt, ArchiveError> {
    let damaged = || ArchiveError::Damaged(format!("block {}", stored.number));
    let mut block = Block::decode(&stored.bytes).map_err(|_| damaged())?;
    let (mine, other) = (block.hash(&vehicle.mesh), sent.hash(&vehicle.mesh));
    if mine != other {
        keep_conflict(store, vehicle, sent, now_ms)?;
        return Err(ArchiveError::Conflict { number: stored.number, stored: mine, sent: other });
    }
    let withheld = block.attested.is_none();
    if !complete(&mut block, sent, vehicle) {
        return device_chain::codec::decode(&stored.receipt).ok_or_else(damaged);
    }
    let finality = check_seals(&block, vehicle.verifier.registry()).map_err(|_| damaged())?;
    if withheld && has_alarm(&block) {
        note_alarm(store, vehicle, now_ms)?;
    }
    let signed = sign(key, vehicle, &block, finality, now_ms);
    store.execute(
        "UPDATE block SET final = ?3, bytes = ?4, receipt = ?5 WHERE mesh = ?1 AND number = ?2",
        params![vehicle.mesh.0.0, stored.number, finality == Finality::Final, block.encode(), encode(&signed)],
    )?;
    Ok(signed)
}

/// Adds what `sent`, a block with the same header, has and `block` lacks. Returns whether there was anything.
fn complete(block: &mut Block, sent: &Block, vehicle: &Vehicle) -> bool {
    let mut grown = false;
    for seal in &sent.seals {
        grown |= block.add_seal(*seal, vehicle.verifier.registry());
    }
    if let (None, Some(records)) = (&block.attested, &sent.attested)
        && attested_root(&vehicle.mesh, records) == block.header.attested_root
    {
        block.attested = Some(records.clone());
        grown = true;
    }
    grown
}

/// Keeps a block that contradicts the chain, if that is proven: anybody can send any block, but seals of f + 1 hold one
/// of a correct validator, which decided another chain. Header and seals are the proof; the content proves nothing.
fn keep_conflict(store: &Store<'_>, vehicle: &Vehicle, block: &Block, now_ms: u64) -> Result<(), ArchiveError> {
    let hash = block.hash(&vehicle.mesh);
    if check_seals(block, vehicle.verifier.registry()).is_err() {
        return Ok(());
    }
    let (header, seals) = (block.header.clone(), block.seals.clone());
    let proof = Block { header, decisions: Decisions::new(), attested: None, seals };
    store.execute(
        "INSERT OR IGNORE INTO conflict (mesh, hash, bytes, seen_ms)
         SELECT ?1, ?2, ?3, ?4 WHERE (SELECT count(*) FROM conflict WHERE mesh = ?1) < ?5",
        params![vehicle.mesh.0.0, hash.0, proof.encode(), now_ms, MAX_CONFLICTS],
    )?;
    Ok(())
}
