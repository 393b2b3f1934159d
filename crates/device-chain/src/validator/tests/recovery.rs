//! What a journal gives back, and what is no journal.

use std::collections::BTreeMap;

use super::net::{HEARTBEAT_US, PHASE_US};
use super::*;
use crate::agreement::{Instance, Timeouts, Value, VoteKind};
use crate::codec;
use crate::limits::MAX_ROUNDS;
use crate::quorum::Quorum;
use crate::record::{BadRecord, Named, NamedValues, Record, RecordKind, VoteRecord};
use crate::tx::decision_hash;
use crate::types::{Hash, Round};

const HEIGHT: Height = 1;

fn content(n: u32) -> TxBytes {
    let tx = Transaction::Record { endpoint: 0, sequence: u64::from(n), data: Vec::new() };
    tx.encode().expect("short")
}

fn hash_of(net: &Net, content: &TxBytes) -> Hash {
    let mesh = net.genesis.mesh();
    decision_hash(&mesh, HEIGHT, &mesh.0, content)
}

/// Two values whose hashes begin alike.
fn twins(net: &Net) -> (TxBytes, TxBytes) {
    let mut seen = BTreeMap::new();
    let twin = |n| seen.insert(hash_of(net, &content(n)).hint(), n).map(|first| (content(first), content(n)));
    (1..).find_map(twin).expect("65,537 values have 65,536 hints")
}

fn vote(round: Round, value: Named) -> Record {
    Record::Vote(VoteRecord { height: HEIGHT, round, kind: VoteKind::Prevote, value })
}

/// The own votes at the height, after a journal of these records.
fn replayed(net: &Net, records: impl IntoIterator<Item = Record>) -> Result<StdVec<Hash>, BadRecord> {
    let mut validator = net.installed(1);
    let mut buffer = [0; 256];
    records.into_iter().try_for_each(|record| {
        validator.replay(RecordKind::Fact, codec::encode(&record, &mut buffer).expect("short"))
    })?;
    let votes = |validator: &Validator<_>| validator.own_votes(HEIGHT).map(|(.., value)| value).collect::<StdVec<_>>();
    let mut anew = net.installed(1);
    validator.live_records(&mut [0; crate::limits::MAX_MESSAGE], &mut |kind, bytes| {
        anew.replay(kind, bytes).expect("its own records");
    });
    assert_eq!(votes(&anew), votes(&validator), "in a journal begun anew");
    Ok(votes(&validator))
}

#[test]
fn votes_come_back_for_what_they_were() {
    let net = Net::dark(4);
    let (first, twin) = twins(&net);
    let (mesh, mut before) = (net.genesis.mesh(), NamedValues::NONE);
    let mut instance = Instance::new(HEIGHT, mesh.0, 1, Quorum::full(4), Timeouts { phase_us: 1 });
    let mut records = StdVec::new();
    let values = [&first, &first, &twin, &first, &twin];
    for (round, tx) in (0..).zip(values) {
        let value = Value { hash: hash_of(&net, tx), proposer: 1, allowed_from: Some(0), evident: true };
        let id = instance.add_value(value, tx).expect("room");
        let name = Named::new(&instance, id, before).expect("known");
        assert_eq!(matches!(name, Named::Hint(_)), round == 1, "two that begin alike are never told by their hint");
        before.note(id);
        records.push(vote(round, name));
    }
    records.push(vote(5, Named::Nil));
    let expected: StdVec<Hash> = values.map(|value| hash_of(&net, value)).into_iter().chain([Hash::NIL]).collect();
    assert_eq!(replayed(&net, records), Ok(expected));
}

#[test]
fn a_record_that_contradicts_those_before_it_is_none() {
    let net = Net::dark(4);
    let (first, twin) = twins(&net);
    let hint = Named::Hint(hash_of(&net, &first).hint().to_le_bytes());
    let named = |round, content: &TxBytes| vote(round, Named::Content(content.clone()));
    let hinted = || vote(2, hint.clone());
    let decided = |height, name: &Named| Record::Decided(height, name.clone());
    let cases = [
        ("a hint at nothing", std::vec![hinted()], false),
        ("a hint at one", std::vec![named(0, &first), hinted()], true),
        ("a hint at two", std::vec![named(0, &first), named(1, &twin), hinted()], false),
        ("beyond the last round", std::vec![vote(MAX_ROUNDS as Round, Named::Nil)], false),
        ("a decision", std::vec![named(0, &first), decided(1, &hint)], true),
        ("a decision at an unknown value", std::vec![decided(1, &hint)], false),
        ("a decision for nothing", std::vec![decided(1, &Named::Nil)], false),
        ("a height left out", std::vec![decided(2, &Named::Content(first.clone()))], false),
        ("no transaction", std::vec![decided(1, &Named::Content(TxBytes::from_slice(&[99]).expect("short")))], false),
        ("a parent without a past", std::vec![Record::Parent(Hash([7; 32]))], false),
    ];
    for (what, records, sound) in cases {
        assert_eq!(replayed(&net, records).is_ok(), sound, "{what}");
    }
}

/// What lies in the journal behind the damage is lost; what lies before it is no end of the history.
#[test]
fn a_journal_cut_in_its_past_gives_no_decision_another_height() {
    let mut net = Net::trusted(4);
    for serial in 1..9 {
        net.run(2 * PHASE_US);
        let height = net.top() + 1;
        net.unlock(serial, 1);
        net.run_until(5 * HEARTBEAT_US, |net| (0..4).all(|at| net.ecu(at).decisions.contains_key(&height)));
    }
    let validator = &net.ecu(1).validator;
    let mut records = StdVec::new();
    validator
        .live_records(&mut [0; crate::limits::MAX_MESSAGE], &mut |kind, bytes| records.push((kind, bytes.to_vec())));
    // the state, the boot, and then the decisions, of which the journal ends after some
    for cut in 2..=records.len() {
        let mut damaged = net.installed(1);
        for (kind, bytes) in &records[..cut] {
            damaged.replay(*kind, bytes).expect("sound");
        }
        damaged.forget();
        damaged.start(Boot { nonce: 7 }, net.now);
        for (height, tx) in damaged.history() {
            assert!(validator.history().any(|known| known == (height, tx)), "{cut} records, height {height}");
        }
    }
}
