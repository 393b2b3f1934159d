//! `cloud-link verify` names what was done to an archive.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use std::fs;

use common::{Fleet, NOW_MS, VEHICLE};
use event_chain::block::Block;
use event_chain::fixture::Car;
use event_chain::receipt::{Receipt, SignedReceipt};
use event_chain::verify::ChainVerifier;
use rusqlite::{Connection, params};
use serde_json::Value;

impl Fleet {
    fn store(&self) -> Connection {
        Connection::open(self.path("fleet.db")).unwrap()
    }

    /// Verifies with the checkpoint; gives the exit status and the faults.
    fn verify(&self) -> (i32, Vec<String>) {
        let checkpoint = self.checkpoint();
        let base = ["verify", "--store", "fleet.db", "--genesis", "car.genesis", "--maker-key", "maker.pub", "--json"];
        let arguments = [&base[..], &["--checkpoint", checkpoint.to_str().unwrap()]].concat();
        let output = self.run(&arguments);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let faults = report["faults"].as_array().unwrap().iter().map(|fault| fault.as_str().unwrap().to_owned());
        (output.status.code().unwrap(), faults.collect())
    }

    fn assert_wrong(&self, names: &str) {
        let (status, faults) = self.verify();
        assert_eq!(status, 1);
        assert!(faults.join(" ").contains(names), "{names:?} in {faults:?}");
    }
}

#[test]
fn a_sound_archive_holds() {
    let mut fleet = Fleet::new();
    assert_eq!(
        fleet
            .run(&["verify", "--store", "fleet.db", "--genesis", "car.genesis", "--maker-key", "maker.pub"])
            .status
            .code(),
        Some(0)
    );
    fleet.archive_blocks(4);
    assert_eq!(fleet.verify(), (0, vec![]));
}

#[test]
fn a_flipped_byte() {
    let mut fleet = Fleet::new();
    let blocks = fleet.archive_blocks(3);
    let mesh = fleet.car.genesis.mesh().0.0;
    let sound = blocks[1].encode();
    for at in (0..sound.len()).step_by(50) {
        let mut flipped = sound.clone();
        flipped[at] ^= 4;
        fleet
            .store()
            .execute("UPDATE block SET bytes = ?2 WHERE mesh = ?1 AND number = 2", params![mesh, flipped])
            .unwrap();
        fleet.assert_wrong("block 2: ");
    }
    fleet.store().execute("UPDATE block SET bytes = ?2 WHERE mesh = ?1 AND number = 2", params![mesh, sound]).unwrap();
    assert_eq!(fleet.verify().0, 0);
    fleet.store().execute("UPDATE block SET receipt = zeroblob(100) WHERE number = 3", []).unwrap();
    fleet.assert_wrong("block 3: its receipt");
}

#[test]
fn the_last_block_dropped() {
    let mut fleet = Fleet::new();
    let blocks = fleet.archive_blocks(3);
    fleet.store().execute("DELETE FROM block WHERE number = 3", []).unwrap();
    fleet.assert_wrong("ends at block 2, but block 3 was archived");
    // also if the stored state is wound back with it
    let mut verifier = ChainVerifier::new(fleet.car.genesis.clone());
    for block in &blocks[..2] {
        verifier.accept(block).unwrap();
    }
    fleet.store().execute("UPDATE vehicle SET snapshot = ?1", [verifier.snapshot()]).unwrap();
    fleet.assert_wrong("ends at block 2, but block 3 was archived");
}

#[test]
fn two_blocks_swapped() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(4);
    fleet
        .store()
        .execute_batch(
            "
        UPDATE block SET number = 99 WHERE number = 2;
        UPDATE block SET number = 2 WHERE number = 3;
        UPDATE block SET number = 3 WHERE number = 99;
    ",
        )
        .unwrap();
    fleet.assert_wrong("block 2: in its place is block 3");
}

#[test]
fn yesterdays_store_restored() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(2);
    let yesterday = fs::read(fleet.path("fleet.db")).unwrap();
    fleet.archive_blocks(2);
    fs::write(fleet.path("fleet.db"), yesterday).unwrap();
    fleet.assert_wrong("an older store restored");
}

/// Somebody with the archive's key, but without the validators', writes another history.
#[test]
fn all_of_it_rewritten_and_re_hashed() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(3);
    let mut forger = Car::new(VEHICLE);
    forger.validators = (50..54).map(|seed| device_chain::sign::SigningKey::from_seed([seed; 32])).collect();
    let (genesis, mesh) = (forger.genesis.clone(), forger.genesis.mesh());
    let store = fleet.store();
    for number in 1..=3 {
        forger.record();
        let header = forger.builder.header(&forger.state, forger.time_ms);
        let mut block: Block = forger.decide(&device_chain::tx::Transaction::EventBlock(header)).unwrap();
        for validator in 0..3 {
            block.seals.push(forger.seal(&block, validator)).unwrap();
        }
        let receipt = Receipt {
            mesh,
            number,
            block: block.hash(&mesh),
            finality: device_chain::block::Finality::Final,
            complete: true,
            time_ms: NOW_MS,
        };
        let receipt = event_chain::codec::encode(&SignedReceipt::sign(receipt, &event_chain::fixture::archive_key()));
        store
            .execute(
                "UPDATE block SET bytes = ?2, receipt = ?3 WHERE number = ?1",
                params![number, block.encode(), receipt],
            )
            .unwrap();
    }
    assert_eq!(genesis.mesh(), fleet.car.genesis.mesh());
    fleet.assert_wrong("block 1: the seal of validator 0 is not of its key");
}

/// All validators conspire: sound in itself, but not what was archived.
#[test]
fn all_of_it_rewritten_by_the_validators_themselves() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(3);
    let checkpoint = fs::read(fleet.checkpoint()).unwrap();
    fs::remove_file(fleet.path("fleet.db")).unwrap();
    fs::remove_dir_all(fleet.path("checkpoints")).unwrap();
    let mut other =
        Fleet { folder: std::mem::replace(&mut fleet.folder, tempfile::tempdir().unwrap()), car: Car::new(VEHICLE) };
    other.car.attest(1.0);
    cloud_link::service::archive::register(
        &other.path("fleet.db"),
        &other.car.signed_genesis(),
        &other.car.maker.public(),
    )
    .unwrap();
    other.archive_blocks(3);
    assert_eq!(other.verify().0, 0);
    fs::write(other.checkpoint(), checkpoint).unwrap();
    other.assert_wrong("was archived: rewritten");
}

#[test]
fn unreadable_input_is_another_exit_status() {
    let fleet = Fleet::new();
    fs::write(fleet.path("junk"), "junk").unwrap();
    for (store, genesis, maker, checkpoint) in [
        ("none.db", "car.genesis", "maker.pub", None),
        ("junk", "car.genesis", "maker.pub", None),
        ("fleet.db", "junk", "maker.pub", None),
        ("fleet.db", "car.genesis", "junk", None),
        ("fleet.db", "car.genesis", "maker.pub", Some("junk")),
        ("fleet.db", "car.genesis", "maker.pub", Some("none")),
    ] {
        let mut arguments = vec!["verify", "--store", store, "--genesis", genesis, "--maker-key", maker];
        arguments.extend(checkpoint.iter().flat_map(|file| ["--checkpoint", file]));
        let output = fleet.run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
    assert!(!fleet.path("none.db").exists());
}
