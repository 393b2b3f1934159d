//! The archive takes what is proven, once, and answers from it.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use cloud_link::service::archive::{Archive, ArchiveError, register};
use cloud_link::service::trust::{Evidence, Proof, TrustPolicy, judge};
use cloud_link::wire::{Action, Finality, GrantOrder, GrantState, Mode};
use common::{Fleet, NOW_MS, VEHICLE};
use device_chain::block::Finality as Sure;
use device_chain::entry::Standing;
use device_chain::genesis::Authority;
use device_chain::grant::SignedGrant;
use device_chain::keys::Device;
use device_chain::order::{Change, Order};
use device_chain::sign::SigningKey;
use device_chain::tx::Transaction;
use device_chain::types::{Hash, PublicKey};
use event_chain::block::Block;
use event_chain::fixture::{Car, archive_key, fleet_key};
use event_chain::record::{AttestedRecord, RecordKind};

fn ingest(archive: &mut Archive, block: &Block) -> Result<event_chain::receipt::SignedReceipt, ArchiveError> {
    archive.ingest(VEHICLE, &block.encode(), NOW_MS)
}

#[test]
fn a_block_is_stored_once_and_always_gets_the_same_receipt() {
    let mut fleet = Fleet::new();
    let block = fleet.car.drive();
    let mut archive = fleet.archive();
    let first = ingest(&mut archive, &block).unwrap();
    // killed after the commit, before the checkpoint and the answer
    drop(archive);
    std::fs::remove_file(fleet.checkpoint()).unwrap();
    let mut archive = fleet.archive();
    assert_eq!(archive.ingest(VEHICLE, &block.encode(), NOW_MS + 5).unwrap(), first);
    assert!(fleet.checkpoint().exists());
    assert_eq!(archive.blocks(VEHICLE, 0).unwrap().len(), 1);
    assert_eq!(archive.blocks(&fleet.car.genesis.mesh().0.to_string(), 0).unwrap().len(), 1, "by mesh identity");
}

#[test]
fn what_is_not_the_next_block_is_refused_by_name() {
    let mut fleet = Fleet::new();
    let blocks = fleet.archive_blocks(2);
    let mut archive = fleet.archive();
    let (_, fourth) = (fleet.car.drive(), fleet.car.drive());
    assert!(matches!(ingest(&mut archive, &fourth), Err(ArchiveError::Gap { expected: 3 })));
    assert!(matches!(archive.ingest("nobody", &fourth.encode(), 0), Err(ArchiveError::UnknownVehicle(_))));
    assert!(matches!(archive.ingest(VEHICLE, b"junk", 0), Err(ArchiveError::Invalid(_))));

    // anybody can send an unsealed fork: refused, but no evidence
    let mut fork = blocks[1].clone();
    fork.header.time_ms += 1;
    let mesh = fleet.car.genesis.mesh();
    let refused = ingest(&mut archive, &fork).unwrap_err().to_string();
    assert!(refused.contains(&fork.hash(&mesh).to_string()) && refused.contains(&blocks[1].hash(&mesh).to_string()));
    assert!(archive.trust(VEHICLE, &TrustPolicy::default(), NOW_MS).unwrap().trusted);

    // sealed by f + 1 it is
    fork.seals.clear();
    for validator in 0..2 {
        assert!(fork.add_seal(fleet.car.seal(&fork, validator), &fleet.car.registry));
    }
    assert!(matches!(ingest(&mut archive, &fork), Err(ArchiveError::Conflict { number: 2, .. })));
    let trust = archive.trust(VEHICLE, &TrustPolicy::default(), NOW_MS).unwrap();
    assert!(!trust.trusted && trust.why[0].contains("forked"), "{trust:?}");
    assert_eq!(archive.blocks(VEHICLE, 0).unwrap().len(), 2);
}

/// A fork is proven by its header and f + 1 seals: that much of it is kept, and not of all there may be.
#[test]
fn proven_forks_are_kept_as_small_proofs() {
    let mut fleet = Fleet::new();
    (0..100).for_each(|_| fleet.car.attest(1.0));
    let blocks = fleet.archive_blocks(2);
    let next = fleet.car.drive();
    let mut archive = fleet.archive();
    let sealed = |mut fork: Block, seals: u8| {
        fork.seals.clear();
        for validator in 0..seals {
            assert!(fork.add_seal(fleet.car.seal(&fork, validator), &fleet.car.registry));
        }
        fork
    };
    let forks = |archive: &Archive| {
        let why = archive.trust(VEHICLE, &TrustPolicy::default(), NOW_MS).unwrap().why.join(" ");
        why.split_once("sealed proofs: ").map(|(_, count)| count.split('.').next().unwrap().to_owned())
    };
    // the next block, on another one before
    let mut other = next.clone();
    other.header.previous = device_chain::types::Hash([7; 32]);
    assert!(matches!(ingest(&mut archive, &sealed(other.clone(), 1)), Err(ArchiveError::Invalid(_))));
    assert_eq!(forks(&archive), None, "one seal proves nothing");
    assert!(matches!(ingest(&mut archive, &sealed(other, 2)), Err(ArchiveError::Invalid(_))));
    assert_eq!(forks(&archive).as_deref(), Some("1"));
    for delay in 1..40 {
        let mut fork = blocks[0].clone();
        fork.header.time_ms += delay;
        assert!(ingest(&mut archive, &sealed(fork, 2)).is_err());
    }
    assert_eq!(forks(&archive).as_deref(), Some("16"));
    let store = rusqlite::Connection::open(fleet.path("fleet.db")).unwrap();
    let bytes: u64 = store.query_row("SELECT max(length(bytes)) FROM conflict", [], |row| row.get(0)).unwrap();
    assert!(bytes < 512, "{bytes}");
    assert!(ingest(&mut archive, &next).is_ok(), "the archive goes on");
}

#[test]
fn an_alarm_counts_also_when_its_record_comes_later() {
    let mut fleet = Fleet::new();
    let kind = RecordKind::SegmentAlarm { segment: "vcan1".try_into().unwrap(), identifier: 0x7df, frames: 9 };
    fleet.car.builder.attest(AttestedRecord { time_ms: NOW_MS, kind }).unwrap();
    let block = fleet.car.close(3);
    let mut archive = fleet.archive();
    let mut trusted = |block: &Block| {
        ingest(&mut archive, block).unwrap();
        archive.trust(VEHICLE, &TrustPolicy::default(), NOW_MS).unwrap().trusted
    };
    assert!(trusted(&Block { attested: None, ..block.clone() }));
    assert!(!trusted(&block));
}

/// Whoever can write to the store can take trust away, but not make it up.
#[test]
fn trust_does_not_believe_the_store() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(1);
    let block = fleet.car.close(2);
    ingest(&mut fleet.archive(), &block).unwrap();
    let store = rusqlite::Connection::open(fleet.path("fleet.db")).unwrap();
    let trust = || fleet.archive().trust(VEHICLE, &TrustPolicy::default(), NOW_MS);
    assert!(!trust().unwrap().trusted);
    for tamper in ["UPDATE block SET final = 1", "UPDATE block SET receipt = x'00'", "UPDATE block SET bytes = x'00'"] {
        store.execute(tamper, []).unwrap();
        let opened = Archive::open(&fleet.path("fleet.db"), archive_key(), &fleet.path("checkpoints"));
        let judged = opened.and_then(|archive| archive.trust(VEHICLE, &TrustPolicy::default(), NOW_MS));
        assert!(matches!(judged, Err(ArchiveError::Damaged(_))), "{tamper}");
    }
}

/// The disk is full, or the folder not ours: no receipt goes out that the checkpoint does not know.
#[test]
fn a_checkpoint_that_cannot_be_written_is_no_receipt() {
    let mut fleet = Fleet::new();
    let blocks = fleet.archive_blocks(1);
    let before = std::fs::read(fleet.checkpoint()).unwrap();
    let second = fleet.car.drive();
    let mut archive = fleet.archive();
    let in_the_way = fleet.checkpoint().with_extension("new");
    std::fs::create_dir(&in_the_way).unwrap();
    for _ in 0..2 {
        let refused = ingest(&mut archive, &second).unwrap_err();
        assert!(refused.to_string().contains(".checkpoint"), "{refused}");
        assert_eq!(std::fs::read(fleet.checkpoint()).unwrap(), before);
    }
    std::fs::remove_dir(&in_the_way).unwrap();
    std::fs::write(&in_the_way, "killed while writing it").unwrap();
    assert_eq!(ingest(&mut archive, &second).unwrap().receipt.number, 2);
    assert_eq!(ingest(&mut archive, &blocks[0]).unwrap().receipt.number, 1);
    let kept = cloud_link::checkpoint::read(&fleet.checkpoint(), &fleet.car.genesis).unwrap().unwrap();
    assert_eq!(kept.number, 2, "it never goes back");
}

#[test]
fn seals_and_records_that_come_later_complete_a_block() {
    let mut fleet = Fleet::new();
    fleet.car.attest(1.0);
    let whole = fleet.car.close(3);
    let mut poor = Block { attested: None, ..whole.clone() };
    poor.seals.truncate(2);
    let mut archive = fleet.archive();

    let receipt = ingest(&mut archive, &poor).unwrap().receipt;
    assert_eq!((receipt.finality, receipt.complete), (Sure::Provisional, false));
    assert_eq!(archive.blocks(VEHICLE, 1).unwrap()[0].finality, Finality::Provisional);
    let trust = archive.trust(VEHICLE, &TrustPolicy::default(), NOW_MS).unwrap();
    assert_eq!((trust.trusted, trust.finality), (false, Some(Finality::Provisional)));

    let receipt = ingest(&mut archive, &whole).unwrap().receipt;
    assert_eq!((receipt.finality, receipt.complete), (Sure::Final, true));
    assert!(archive.trust(VEHICLE, &TrustPolicy::default(), NOW_MS).unwrap().trusted);
    // less does not undo more
    assert_eq!(ingest(&mut archive, &poor).unwrap().receipt, receipt);
}

#[test]
fn a_block_is_final_if_a_later_one_is() {
    let mut fleet = Fleet::new();
    let (early, late) = (fleet.car.close(2), fleet.car.close(3));
    let mut archive = fleet.archive();
    ingest(&mut archive, &early).unwrap();
    ingest(&mut archive, &late).unwrap();
    assert!(archive.blocks(VEHICLE, 0).unwrap().iter().all(|block| block.finality == Finality::Final));
}

#[test]
fn registration_is_out_of_band_and_once() {
    let fleet = Fleet::new();
    let (store, genesis, maker) = (fleet.path("fleet.db"), fleet.car.signed_genesis(), fleet.car.maker.public());
    assert!(register(&store, &genesis, &maker).is_ok(), "again");
    assert!(matches!(register(&store, &genesis, &fleet_key().public()), Err(ArchiveError::Genesis(_))));
    let other = Car::with_keys(VEHICLE, fleet_key().public(), archive_key().public(), 40);
    assert!(matches!(register(&store, &other.signed_genesis(), &maker), Err(ArchiveError::NameTaken(_))));
}

#[test]
fn a_store_behind_its_checkpoint_does_not_go_on() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(1);
    let yesterday = std::fs::read(fleet.path("fleet.db")).unwrap();
    fleet.archive_blocks(1);
    std::fs::write(fleet.path("fleet.db"), yesterday).unwrap();
    let opened = Archive::open(&fleet.path("fleet.db"), archive_key(), &fleet.path("checkpoints"));
    assert!(matches!(opened.err().unwrap(), ArchiveError::Damaged(_)));
}

fn order(valid_heights: Option<u32>, not_after: Option<u32>) -> GrantOrder {
    GrantOrder { action: Action::Unlock, holder: "0".repeat(64), valid_heights, not_after }
}

#[test]
fn a_grant_is_issued_used_or_expires() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(2); // up to height 5
    let mut archive = fleet.archive();
    let used = archive.issue(VEHICLE, &order(Some(100), None), &fleet_key(), NOW_MS).unwrap();
    let expired = archive.issue(VEHICLE, &order(None, Some(3)), &fleet_key(), NOW_MS).unwrap();
    assert_eq!((used.serial, used.not_before, used.not_after, used.state), (1, 5, 105, GrantState::Issued));
    assert_eq!((expired.serial, expired.state), (2, GrantState::Expired));
    assert_eq!(archive.open_grants(VEHICLE, 0, NOW_MS).unwrap().len(), 2, "the car is to refuse the second itself");
    assert_eq!(archive.open_grants(VEHICLE, 0, NOW_MS + 3_600_000).unwrap(), std::slice::from_ref(&used));
    assert_eq!(archive.open_grants(VEHICLE, 1, NOW_MS).unwrap(), [expired]);

    let signed: SignedGrant = device_chain::codec::decode(&cloud_link::hex::decode(&used.grant).unwrap()).unwrap();
    assert_eq!(signed.check(&fleet.car.genesis), Ok(()));
    fleet.car.use_grant(&signed.grant);
    let height = fleet.car.state.height();
    ingest(&mut archive, &fleet.car.close(3)).unwrap();
    let answer = archive.grant(VEHICLE, 1).unwrap();
    assert_eq!((answer.state, answer.used_height), (GrantState::Used, Some(height)));
    assert!(archive.open_grants(VEHICLE, 0, NOW_MS + 3_600_000).unwrap().is_empty());
    let page = archive.events(VEHICLE, 3).unwrap();
    let event = page.events.iter().find(|event| event.kind == "use-grant").unwrap();
    assert_eq!((event.attestation.as_str(), event.height), ("quorum", Some(height)));
    assert_eq!(page.next, 4);
    let alone = archive.events(VEHICLE, 1).unwrap();
    assert!(alone.events.iter().any(|event| event.kind == "signal" && event.attestation == "gateway-alone"));

    for (wrong, key) in [
        (order(None, None), fleet_key()),
        (order(Some(1), Some(1)), fleet_key()),
        (GrantOrder { holder: "me".to_owned(), ..order(Some(1), None) }, fleet_key()),
        (order(Some(1), None), SigningKey::from_seed([1; 32])),
    ] {
        assert!(matches!(archive.issue(VEHICLE, &wrong, &key, NOW_MS), Err(ArchiveError::Order(_))), "{wrong:?}");
    }
    assert!(matches!(archive.grant(VEHICLE, 9), Err(ArchiveError::UnknownGrant(9))));
}

#[test]
fn an_alarm_on_the_chain_speaks_against_the_car_for_a_while() {
    let mut fleet = Fleet::new();
    fleet.car.decide(&Transaction::Alarm { identifier: 0x100, count: 3 });
    let mut archive = fleet.archive();
    let block = fleet.car.close(3);
    ingest(&mut archive, &block).unwrap();
    let policy = TrustPolicy { max_age_ms: 1 << 50, ..TrustPolicy::default() };
    let trust = archive.trust(VEHICLE, &policy, NOW_MS).unwrap();
    assert!(!trust.trusted && trust.why[0].contains("alarm"), "{trust:?}");
    assert!(archive.trust(VEHICLE, &policy, NOW_MS + policy.alarm_ms + 1).unwrap().trusted);
}

#[test]
fn trust_follows_from_proof() {
    let proof = |block_ms, receipt_ms| Some(Proof { number: 7, seals: 3, block_ms, receipt_ms });
    let good = Evidence { validators: 4, block: 7, height: 30, proof: proof(NOW_MS, NOW_MS), ..Evidence::default() };
    let old = NOW_MS - 61_000;
    let cases = [
        ("fresh and final", good.clone(), true, "trusted", "sealed by 3 of 4"),
        ("nothing yet", Evidence { proof: None, block: 0, ..good.clone() }, false, "unknown", "No block"),
        ("old by the car's clock", Evidence { proof: proof(old, NOW_MS), ..good.clone() }, false, "unknown", "61.0 s"),
        ("old by ours", Evidence { proof: proof(NOW_MS, old), ..good.clone() }, false, "unknown", "61.0 s"),
        ("isolated", Evidence { claim: Some(Mode::Isolated), ..good.clone() }, false, "isolated", "no quorum"),
        ("degraded", Evidence { claim: Some(Mode::Degraded), ..good.clone() }, false, "degraded", "majority"),
        (
            "a claim does not help",
            Evidence { claim: Some(Mode::Trusted), proof: None, ..good.clone() },
            false,
            "unknown",
            "No block",
        ),
        ("provisional since", Evidence { block: 8, ..good.clone() }, false, "trusted", "No quorum has sealed"),
        (
            "our clock set back",
            Evidence { proof: proof(NOW_MS, NOW_MS + 1), ..good.clone() },
            false,
            "unknown",
            "clock",
        ),
        (
            "the car's clock ahead",
            Evidence { proof: proof(NOW_MS + 99_000, NOW_MS), ..good.clone() },
            true,
            "trusted",
            "sealed",
        ),
        (
            "the car's clock ahead, and old",
            Evidence { proof: proof(NOW_MS + 99_000, old), ..good.clone() },
            false,
            "unknown",
            "61.0 s",
        ),
        ("end of life", Evidence { ended: true, ..good.clone() }, false, "trusted", "end of its life"),
        (
            "a revoked validator",
            Evidence { standings: vec![(Device::Validator(2), Standing::Revoked)], ..good.clone() },
            false,
            "trusted",
            "Validator 2 is revoked",
        ),
        (
            "an endpoint with other firmware",
            Evidence { standings: vec![(Device::Endpoint(3), Standing::Untrusted)], ..good.clone() },
            false,
            "trusted",
            "Endpoint 3 runs firmware that is not the chain's",
        ),
        ("forked", Evidence { forks: 1, ..good }, false, "trusted", "forked"),
    ];
    for (case, evidence, trusted, mode, why) in cases {
        let trust = judge(&evidence, &TrustPolicy::default(), NOW_MS);
        assert_eq!((trust.trusted, trust.mode.as_str()), (trusted, mode), "{case}: {trust:?}");
        assert!(trust.why.join(" ").contains(why), "{case}: {trust:?}");
    }
}

/// DC-46, DC-47: what the sealed decisions say of devices and of the car counts, and outlives the service.
#[test]
fn trust_follows_the_registry() {
    let revoke = Change::Revoke { device: Device::Endpoint(0) };
    let order = |change| Transaction::Change(Order { change, generation: 0, not_after: 1000 });
    let firmware = |digest| Transaction::Firmware { device: Device::Validator(3), firmware: Hash([digest; 32]) };
    for (decision, why) in [
        (firmware(7), "Validator 3 runs firmware that is not the chain's."),
        (order(revoke), "Endpoint 0 is revoked."),
        (order(Change::EndOfLife), "The car has reached the end of its life."),
    ] {
        let mut fleet = Fleet::new();
        let mut archive = fleet.archive();
        ingest(&mut archive, &fleet.car.drive()).unwrap();
        assert!(archive.trust(VEHICLE, &TrustPolicy::default(), NOW_MS).unwrap().trusted);
        fleet.car.decide(&decision);
        let block = fleet.car.close(3);
        ingest(&mut archive, &block).unwrap();
        drop(archive);
        let trust = fleet.archive().trust(VEHICLE, &TrustPolicy::default(), NOW_MS).unwrap();
        assert_eq!((trust.trusted, trust.why), (false, vec![why.to_owned()]));
    }
}

/// DC-46: a fleet key that the chain took away, or a scrapped car, gets no grant any more.
#[test]
fn grants_need_a_fleet_key_of_the_present() {
    let gone = Change::Authority { at: 0, role: Authority::Fleet, key: PublicKey::NONE };
    for change in [gone, Change::EndOfLife] {
        let mut fleet = Fleet::new();
        let mut archive = fleet.archive();
        let order = || GrantOrder {
            action: Action::Unlock,
            holder: "11".repeat(32),
            valid_heights: Some(100),
            not_after: None,
        };
        ingest(&mut archive, &fleet.car.drive()).unwrap();
        archive.issue(VEHICLE, &order(), &fleet_key(), NOW_MS).unwrap();
        fleet.car.decide(&Transaction::Change(Order { change, generation: 0, not_after: 1000 }));
        let block = fleet.car.close(3);
        ingest(&mut archive, &block).unwrap();
        let refused = archive.issue(VEHICLE, &order(), &fleet_key(), NOW_MS);
        assert!(matches!(refused, Err(ArchiveError::Order(_))), "{change:?}: {refused:?}");
    }
}
