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
fn what_else_may_be_done_to_a_row() {
    let whole = |fleet: &Fleet| {
        let bytes: Vec<u8> =
            fleet.store().query_row("SELECT bytes FROM block WHERE number = 2", [], |row| row.get(0)).unwrap();
        Block::decode(&bytes).unwrap()
    };
    let put = |fleet: &Fleet, block: &Block| {
        fleet.store().execute("UPDATE block SET bytes = ?1 WHERE number = 2", [block.encode()]).unwrap();
    };
    type Deed<'a> = (&'a str, &'a dyn Fn(&Fleet), &'a str);
    let deeds: [Deed; 8] = [
        ("strip the gateway's records", &|f| put(f, &Block { attested: None, ..whole(f) }), "2: the records attested"),
        (
            "strip a seal",
            &|f| {
                let mut block = whole(f);
                block.seals.truncate(2);
                put(f, &block);
            },
            "2: it is Provisional by its seals",
        ),
        ("call it provisional", &|f| run(f, "UPDATE block SET final = 0 WHERE number = 2"), "2: it is Final by its"),
        (
            "another block's receipt",
            &|f| run(f, "UPDATE block SET receipt = (SELECT b.receipt FROM block b WHERE b.number = 3)"),
            "block 1: its receipt is for block 3",
        ),
        (
            "a number below all",
            &|f| run(f, "UPDATE block SET number = -5 WHERE number = 2"),
            "block 3: block 2 was to come",
        ),
        (
            "a number beyond all",
            &|f| run(f, "UPDATE block SET number = 1 << 40 WHERE number = 3"),
            "the store itself is damaged",
        ),
        ("another genesis", &|f| run(f, "UPDATE vehicle SET genesis = x'00'"), "the stored genesis"),
        ("another state", &|f| run(f, "UPDATE vehicle SET snapshot = x'00'"), "the stored state"),
    ];
    for (deed, tamper, names) in deeds {
        let mut fleet = Fleet::new();
        fleet.archive_blocks(3);
        tamper(&fleet);
        let (status, faults) = fleet.verify();
        assert_eq!(status, 1, "{deed}");
        assert!(faults.join(" ").contains(names), "{deed}: {names:?} in {faults:?}");
    }
}

fn run(fleet: &Fleet, sql: &str) {
    fleet.store().execute(sql, []).unwrap();
}

/// Any byte of the file: the damage is named, or is where nothing of ours is, or the file is no store any more.
#[test]
fn a_flipped_byte_of_the_file() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(2);
    let sound = fs::read(fleet.path("fleet.db")).unwrap();
    let genesis = fleet.car.genesis.clone();
    let mut named = 0;
    for at in (0..sound.len()).step_by(101) {
        let mut flipped = sound.clone();
        flipped[at] ^= 0x20;
        fs::write(fleet.path("fleet.db"), flipped).unwrap();
        let Ok(store) = cloud_link::service::archive::open_to_read(&fleet.path("fleet.db")) else { continue };
        let checkpoint = cloud_link::checkpoint::read(&fleet.checkpoint(), &genesis).unwrap();
        if let Ok(report) = cloud_link::audit::audit(&store, genesis.clone(), checkpoint.as_ref()) {
            assert!(!report.faults.is_empty() || report.blocks == 2, "byte {at}: {report:?}");
            named += usize::from(!report.faults.is_empty());
        }
    }
    assert!(named > 10, "{named}");
}

/// The service was killed in the middle of a commit: SQLite has yet to roll it back.
#[test]
fn a_half_done_commit_is_no_damage() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(2);
    let store = fleet.store();
    // a cache of one page, so that the store's file is written before the commit
    store.execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE block SET bytes = zeroblob(100000)").unwrap();
    let (half, journal) =
        (fs::read(fleet.path("fleet.db")).unwrap(), fs::read(fleet.path("fleet.db-journal")).unwrap());
    drop(store);
    assert_eq!(fleet.verify(), (0, vec![]));
    fs::write(fleet.path("fleet.db"), half).unwrap();
    fs::write(fleet.path("fleet.db-journal"), journal).unwrap();
    assert_eq!(fleet.verify(), (0, vec![]));
}

/// Verification sees one moment of a store that grows.
#[test]
fn a_service_may_archive_meanwhile() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(1);
    let blocks: Vec<Block> = (0..60).map(|_| fleet.car.drive()).collect();
    let mut archive = fleet.archive();
    std::thread::scope(|scope| {
        let archiving = scope.spawn(move || {
            for block in &blocks {
                archive.ingest(VEHICLE, &block.encode(), NOW_MS).unwrap();
            }
        });
        while !archiving.is_finished() {
            assert_eq!(fleet.verify(), (0, vec![]));
        }
    });
    assert_eq!(fleet.verify(), (0, vec![]));
}

#[test]
fn the_last_block_dropped() {
    let mut fleet = Fleet::new();
    let blocks = fleet.archive_blocks(3);
    fleet.store().execute("DELETE FROM block WHERE number = 3", []).unwrap();
    fleet.assert_wrong("ends at block 2, but block 3 was archived: its end was dropped");
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
    fleet.assert_wrong("an older store was restored");
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
    fleet.assert_wrong("block 1: no seal fits, but the next block follows it: rewritten and re-hashed");
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
