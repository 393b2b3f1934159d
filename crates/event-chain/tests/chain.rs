//! Scenarios: what a verifier accepts, and what a lying gateway, store or archive gets.

use device_chain::block::Finality;
use device_chain::genesis::{Authority, AuthorityEntry};
use device_chain::grant::{Action, Grant};
use device_chain::limits::{MAX_TIME_STEP_MS, MIN_TIME_RISE_MS};
use device_chain::sign::SigningKey;
use device_chain::state::Refusal;
use device_chain::tx::Transaction;
use device_chain::types::Hash;
use event_chain::block::{Block, BlockError, MAX_BLOCK_BYTES, Records};
use event_chain::build::{BlockBuilder, BuildError};
use event_chain::fixture::{Car, START_MS, archive_key, fleet_key};
use event_chain::receipt::{MAX_RECEIPT, Receipt, SignedReceipt};
use event_chain::record::{AttestedRecord, RecordKind};
use event_chain::verify::{ChainVerifier, Rule};
use proptest::prelude::*;

/// A car, its first blocks, and a verifier that has accepted all but the last of them.
fn drive(blocks: usize) -> (Car, Vec<Block>, ChainVerifier) {
    let mut car = Car::new("WVWZZZ1");
    let blocks: Vec<Block> = (0..blocks).map(|_| car.drive()).collect();
    let mut verifier = ChainVerifier::new(car.genesis.clone());
    for block in &blocks[..blocks.len() - 1] {
        assert_eq!(verifier.accept(block), Ok(Finality::Final));
    }
    (car, blocks, verifier)
}

#[test]
fn a_chain_is_followed_from_the_genesis_across_restarts() {
    let (car, blocks, mut verifier) = drive(5);
    assert_eq!(verifier.accept(&blocks[4]), Ok(Finality::Final));
    assert_eq!(verifier.head().number, 5);
    // the approval of block 5 is in block 6
    assert_eq!(verifier.state().height() + 1, car.state.height());

    let mut resumed = ChainVerifier::new(car.genesis.clone());
    for block in &blocks {
        resumed = ChainVerifier::resume(car.genesis.clone(), &resumed.snapshot()).expect("own snapshot");
        assert_eq!(resumed.accept(block), Ok(Finality::Final));
    }
    assert_eq!(resumed.snapshot(), verifier.snapshot());
    assert!(ChainVerifier::resume(Car::new("another").genesis, &verifier.snapshot()).is_none());
    assert!(ChainVerifier::resume(car.genesis, &verifier.snapshot()[1..]).is_none());
}

/// S3: the set before the block's own height seals it, with f held.
#[test]
fn seals_of_a_shrunken_set_count_and_those_of_suspended_validators_do_not() {
    let mut car = Car::of_seven("SHRINKING");
    let mut verifier = ChainVerifier::new(car.genesis.clone());
    let mut block = |car: &mut Car, sealed_by: &[u8]| {
        let mut block = car.close(0);
        for validator in sealed_by {
            assert!(block.add_seal(car.seal(&block, *validator), &car.registry));
        }
        verifier.accept(&block)
    };
    assert_eq!(block(&mut car, &[0, 1, 2, 3]), Ok(Finality::Provisional), "five of seven are a quorum");
    for silent in [5, 6] {
        car.decide(&Transaction::Suspend { validator: silent });
    }
    assert_eq!(block(&mut car, &[0, 1, 2, 3]), Ok(Finality::Final), "four of five");
    assert_eq!(block(&mut car, &[2, 3, 4, 5, 6]), Ok(Finality::Provisional), "three of them count");
    assert!(matches!(block(&mut car, &[0, 1, 5, 6]), Err(fault) if fault.rule == Rule::Seals { have: 2, need: 3 }));
}

/// Who names other members than those of the chain cannot have had its approval.
#[test]
fn a_header_names_the_members_that_the_chain_knows() {
    let mut car = Car::of_seven("NAMING");
    let mut header = car.builder.header(&car.state, car.time_ms);
    header.members = header.members.without(6).without(5);
    let refusal = car.state.check(&Transaction::EventBlock(header.clone()), &car.registry);
    assert_eq!(refusal, Err(Refusal::Block("does not name the members that seal it")));
    let mut block = car.close(0);
    block.header = header;
    for liar in 0..5 {
        assert!(block.add_seal(car.seal(&block, liar), &car.registry));
    }
    let refused = ChainVerifier::new(car.genesis.clone()).accept(&block);
    assert!(matches!(refused, Err(fault) if fault.rule == Rule::Header(refusal.unwrap_err())), "even sealed by all");
}

/// DC-61: by the very rule of the validators.
#[test]
fn an_audit_follows_the_agreed_time() {
    let mut car = Car::new("TIME");
    let mut verifier = ChainVerifier::new(car.genesis.clone());
    car.record();
    car.decide(&Transaction::Time { ms: START_MS + MIN_TIME_RISE_MS });
    let block = car.close(3);
    assert_eq!(block.header.time_ms, START_MS + MIN_TIME_RISE_MS, "not before what was agreed on");
    let earlier = {
        let mut block = block.clone();
        block.header.time_ms -= 1;
        block.seals.clear();
        (0..3).for_each(|liar| assert!(block.add_seal(car.seal(&block, liar), &car.registry)));
        block
    };
    assert!(matches!(verifier.accept(&earlier), Err(fault) if matches!(fault.rule, Rule::Header(_))), "even sealed");
    assert_eq!(verifier.accept(&block), Ok(Finality::Final));
    for ms in [0, START_MS + MIN_TIME_RISE_MS, START_MS + 2 * MAX_TIME_STEP_MS] {
        assert_eq!(car.state.check(&Transaction::Time { ms }, &car.registry), Err(Refusal::Time), "{ms}");
    }
}

type Lie = (&'static str, fn(&mut Block), fn(&Rule) -> bool);

/// Tells each lie in the third block of a car; all validators seal it if they are `bribed`.
fn assert_refused(lies: &[Lie], bribed: bool) {
    for (lie, tell, names) in lies {
        let (car, mut blocks, mut verifier) = drive(3);
        let before = verifier.snapshot();
        tell(&mut blocks[2]);
        if bribed {
            blocks[2].seals.clear();
            for validator in 0..4 {
                let seal = car.seal(&blocks[2], validator);
                assert!(blocks[2].add_seal(seal, &car.registry));
            }
        }
        let fault = verifier.accept(&blocks[2]).expect_err(lie);
        assert!(names(&fault.rule), "{lie}: {fault}");
        assert_eq!(verifier.snapshot(), before, "{lie}");
    }
}

#[test]
fn what_a_gateway_cannot_do_even_if_all_seal_it() {
    let lies: &[Lie] = &[
        ("skip a number", |b| b.header.number += 1, |r| matches!(r, Rule::Number { expected: 3 })),
        ("fork", |b| b.header.previous = Hash([1; 32]), |r| matches!(r, Rule::Previous { .. })),
        ("drop the last decision", |b| drop(b.decisions.split_off(2)), |r| matches!(r, Rule::Header(_))),
        ("hide the approval of block 2", |b| b.decisions = b.decisions.split_off(1), |r| matches!(r, Rule::Approval)),
        (
            "reorder decisions",
            |b| {
                let mut rest = b.decisions.split_off(1);
                let last = rest.split_off(1);
                for tx in last.iter().chain(rest.iter()) {
                    b.decisions.push(tx.clone()).expect("room");
                }
            },
            |r| matches!(r, Rule::Decision { height: 8, refusal: Some(Refusal::OldSequence) }),
        ),
        (
            "alter a decision",
            |b| {
                let rest = b.decisions.split_off(2);
                let mut tx = rest[0].clone();
                *tx.last_mut().expect("bytes") ^= 1;
                b.decisions.push(tx).expect("room");
            },
            |r| matches!(r, Rule::Header(_)),
        ),
        (
            "add a decision that is none",
            |b| b.decisions.push(heapless::Vec::from_iter([255])).expect("room"),
            |r| matches!(r, Rule::Decision { height: 9, refusal: None }),
        ),
        ("set the clock back", |b| b.header.time_ms = 1, |r| matches!(r, Rule::Header(_))),
        ("let time leap", |b| b.header.time_ms += MAX_TIME_STEP_MS, |r| matches!(r, Rule::Header(_))),
        ("alter a record of its own", |b| b.attested = Some(Records::new()), |r| matches!(r, Rule::Attested)),
        (
            "withhold what is not",
            |b| {
                b.attested = None;
                b.header.attested_count = 0;
            },
            |r| matches!(r, Rule::Attested),
        ),
    ];
    assert_refused(lies, true);
}

#[test]
fn what_a_gateway_cannot_do_with_seals() {
    let lies: &[Lie] = &[
        ("alter the header", |b| b.header.time_ms += 1, |r| matches!(r, Rule::Seal(0))),
        ("count a seal twice", |b| b.seals[1] = b.seals[0], |r| matches!(r, Rule::SealOrder)),
        ("invent a validator", |b| b.seals[2].validator = 9, |r| matches!(r, Rule::Seal(9))),
        ("invent decisions nobody sealed", |b| b.header.tree_size += 1, |r| matches!(r, Rule::Seal(0))),
        ("do without seals", |b| b.seals.truncate(1), |r| matches!(r, Rule::Seals { have: 1, need: 2 })),
    ];
    assert_refused(lies, false);
}

#[test]
fn a_block_forked_by_two_liars_is_noticed_by_the_next() {
    let (mut car, blocks, mut verifier) = drive(2);
    // Two liars of four seal another block 2: more than the one that four validators tolerate.
    let mut other = blocks[1].clone();
    other.header.time_ms += 1;
    other.seals.clear();
    for validator in 0..2 {
        assert!(other.add_seal(car.seal(&other, validator), &car.registry));
    }
    assert_eq!(verifier.accept(&other), Ok(Finality::Provisional));
    let next = car.drive();
    assert!(matches!(verifier.accept(&next).expect_err("forked").rule, Rule::Previous { .. }));
}

#[test]
fn another_car_and_a_chain_rewritten_with_other_keys() {
    let (_, blocks, _) = drive(2);
    let strangers = [Car::new("WVWZZZ2"), Car::with_keys("WVWZZZ1", fleet_key().public(), archive_key().public(), 30)];
    for stranger in strangers {
        let fault = ChainVerifier::new(stranger.genesis.clone()).accept(&blocks[0]).expect_err("foreign");
        assert!(matches!(fault.rule, Rule::Previous { .. }), "{fault}");
        // re-hashed so that it links, sealed with the wrong keys
        let mut rewritten = blocks[0].clone();
        rewritten.header.previous = stranger.genesis.mesh().0;
        assert!(ChainVerifier::new(stranger.genesis).accept(&rewritten).is_err());
    }
}

#[test]
fn seals_make_a_block_provisional_then_final() {
    let mut car = Car::new("WVWZZZ1");
    for (seals, expected) in [(2, Ok(Finality::Provisional)), (3, Ok(Finality::Final)), (4, Ok(Finality::Final))] {
        let block = car.close(seals);
        let mut verifier = ChainVerifier::resume(car.genesis.clone(), &snapshot_before(&car, &block)).expect("sound");
        assert_eq!(verifier.accept(&block), expected, "{seals} seals");
    }
    let mut block = car.close(1);
    let seal = car.seal(&block, 1);
    assert!(block.add_seal(seal, &car.registry));
    assert!(!block.add_seal(seal, &car.registry), "one each");
    let other = car.close(0);
    assert!(!block.add_seal(car.seal(&other, 2), &car.registry), "of another block");
}

/// The snapshot of a verifier that has accepted all blocks before `block`.
fn snapshot_before(car: &Car, block: &Block) -> Vec<u8> {
    let mut again = Car::new(&car.genesis.vehicle);
    let mut verifier = ChainVerifier::new(car.genesis.clone());
    while verifier.head().number + 1 < block.header.number {
        verifier.accept(&again.close(4)).expect("the same chain");
    }
    verifier.snapshot()
}

#[test]
fn records_may_be_withheld_but_not_changed() {
    let (_, mut blocks, mut verifier) = drive(2);
    blocks[1].attested = None;
    assert_eq!(verifier.accept(&blocks[1]), Ok(Finality::Final));
}

#[test]
fn a_used_grant_is_on_the_chain_once() {
    let mut car = Car::new("WVWZZZ1");
    let grant = Grant {
        mesh: car.genesis.mesh(),
        issuer: 0,
        serial: 1,
        action: Action::Unlock,
        holder: Hash::NIL,
        not_before: 0,
        not_after: 50,
    };
    car.use_grant(&grant);
    let mut block = car.close(4);
    let again = block.decisions[0].clone();
    block.decisions.push(again).expect("room");
    let fault = ChainVerifier::new(car.genesis).accept(&block).expect_err("replayed");
    assert!(matches!(fault.rule, Rule::Decision { height: 2, refusal: Some(Refusal::Grant(_)) }), "{fault}");
}

#[test]
fn what_is_attested_after_the_proposal_goes_to_the_next_block() {
    let mut car = Car::new("WVWZZZ1");
    car.attest(1.0);
    let header = car.builder.header(&car.state, car.time_ms);
    car.attest(2.0);
    let stored = car.builder.encode();
    assert_eq!(BlockBuilder::decode(&stored, &car.genesis.mesh()), Some(car.builder.clone()));
    assert_eq!(BlockBuilder::decode(&stored, &Car::new("another").genesis.mesh()), None);

    let block = car.decide(&Transaction::EventBlock(header.clone())).expect("closed");
    let values = |records: &[AttestedRecord]| -> Vec<f64> {
        records.iter().map(|r| if let RecordKind::Signal { value, .. } = r.kind { value } else { f64::NAN }).collect()
    };
    assert_eq!(values(&block.attested.expect("here")), [1.0]);
    assert_eq!((car.builder.decisions(), car.builder.attested()), (1, 1));
    assert_eq!(values(&car.close(4).attested.expect("here")), [2.0]);

    // a gateway that lost what it had stored cannot pretend
    let bytes = Transaction::EventBlock(header).encode().expect("fits");
    assert_eq!(BlockBuilder::new(car.genesis.mesh()).decide(bytes), Err(BuildError::UnknownHeader));
}

#[test]
fn a_receipt_is_of_an_archive_of_the_genesis_for_this_car() {
    let mut car = Car::new("WVWZZZ1");
    let block = car.drive();
    let receipt = Receipt {
        mesh: car.genesis.mesh(),
        number: u32::MAX,
        block: block.hash(&car.genesis.mesh()),
        finality: Finality::Final,
        complete: true,
        time_ms: u64::MAX,
    };
    let bytes =
        |receipt: &Receipt, key: &SigningKey| event_chain::codec::encode(&SignedReceipt::sign(receipt.clone(), key));
    let good = bytes(&receipt, &archive_key());
    assert!(good.len() <= MAX_RECEIPT);
    assert_eq!(SignedReceipt::open(&good, &car.genesis), Some(receipt.clone()));
    assert_eq!(SignedReceipt::open(&bytes(&receipt, &fleet_key()), &car.genesis), None, "a fleet key is no archive");
    assert_eq!(SignedReceipt::open(&good, &Car::new("another").genesis), None);
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        assert_eq!(SignedReceipt::open(&flipped, &car.genesis), None, "byte {at}");
    }
    car.genesis.authorities.clear();
    let _ = car.genesis.authorities.push(AuthorityEntry { authority: Authority::Fleet, key: archive_key().public() });
    assert_eq!(SignedReceipt::open(&good, &car.genesis), None);
}

#[test]
fn every_flipped_byte_of_a_block_is_noticed() {
    let (_, blocks, verifier) = drive(3);
    let bytes = blocks[2].encode();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let noticed = Block::decode(&flipped).is_err_and(|e| e == BlockError::Malformed)
            || Block::decode(&flipped).is_ok_and(|block| verifier.clone().accept(&block).is_err());
        assert!(noticed, "byte {at}");
    }
}

#[test]
fn an_oversized_block_is_refused_unread() {
    let bytes = vec![0; MAX_BLOCK_BYTES + 1];
    assert_eq!(Block::decode(&bytes), Err(BlockError::TooLarge(MAX_BLOCK_BYTES + 1)));
}

/// Bytes pinned for ever: what is archived today must verify in fifteen years.
#[test]
fn golden_bytes() {
    let mut car = Car::new("WVWZZZ1");
    car.record();
    car.attest(13.5);
    let block = car.close(2);
    let (mesh, hash) = (car.genesis.mesh(), block.hash(&car.genesis.mesh()));
    let receipt =
        Receipt { mesh, number: 1, block: hash, finality: Finality::Final, complete: true, time_ms: 1_800_000_000_500 };
    let receipt = event_chain::codec::encode(&SignedReceipt::sign(receipt, &archive_key()));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hash.to_string(), include_str!("golden/block-hash.txt").trim());
    assert_eq!(hex(&block.encode()), include_str!("golden/block.hex").trim());
    assert_eq!(hex(&receipt), include_str!("golden/receipt.hex").trim());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_block_and_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(block) = Block::decode(&bytes) {
            prop_assert_eq!(block.encode(), bytes.clone());
            prop_assert!(ChainVerifier::new(Car::new("WVWZZZ1").genesis).accept(&block).is_err());
        }
        prop_assert!(ChainVerifier::resume(Car::new("WVWZZZ1").genesis, &bytes).is_none());
        prop_assert_eq!(SignedReceipt::open(&bytes, &Car::new("WVWZZZ1").genesis), None);
        prop_assert_eq!(BlockBuilder::decode(&bytes, &Car::new("WVWZZZ1").genesis.mesh()), None);
    }

    /// Most arbitrary bytes fail early: these are almost a block, a snapshot, a builder.
    #[test]
    fn damaged_bytes_do_no_harm(at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (car, blocks, mut verifier) = drive(2);
        for mut bytes in [blocks[1].encode(), verifier.snapshot(), car.builder.encode()] {
            let at = at.index(bytes.len());
            bytes[at] = bytes[at].wrapping_add(byte);
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = BlockBuilder::decode(&bytes, &car.genesis.mesh());
            if let Some(mut resumed) = ChainVerifier::resume(car.genesis.clone(), &bytes) {
                let _ = resumed.accept(&blocks[1]);
            }
            if let Ok(block) = Block::decode(&bytes) {
                prop_assert!(block == blocks[1] || verifier.accept(&block).is_err());
            }
        }
    }

    #[test]
    fn any_drive_is_accepted_and_comes_back_from_its_bytes(blocks in prop::collection::vec((0usize..5, 0usize..5, 2usize..=4), 1..6)) {
        let mut car = Car::new("WVWZZZ1");
        let mut verifier = ChainVerifier::new(car.genesis.clone());
        for (records, speeds, seals) in blocks {
            (0..records).for_each(|_| car.record());
            (0..speeds).for_each(|speed| car.attest(speed as f64));
            let block = car.close(seals);
            prop_assert_eq!(Block::decode(&block.encode()), Ok(block.clone()));
            let expected = if seals < 3 { Finality::Provisional } else { Finality::Final };
            prop_assert_eq!(verifier.accept(&block), Ok(expected));
        }
        prop_assert_eq!(verifier.head(), car.state.event());
    }
}
