//! DC-52: without a gateway that closes blocks, the chain takes no more than what the history can repeat.

use heapless::Vec;

use super::car;
use crate::block::{BlockHeader, Finality};
use crate::genesis::Genesis;
use crate::limits::{MAX_BACKLOG, MAX_BACKLOG_ALARMS};
use crate::state::{Refusal, State};
use crate::tx::Transaction;
use crate::types::Hash;

/// Alarms about the identifiers of a small car, as long as the chain takes them.
fn fill(state: &mut State, genesis: &Genesis, tx: impl Fn(u32) -> Transaction) -> Refusal {
    loop {
        let tx = tx(state.height());
        let bytes = tx.encode().expect("fits");
        if let Err(refusal) = state.apply(&bytes, &tx, genesis) {
            return refusal;
        }
    }
}

#[test]
fn without_blocks_records_stop_then_alarms_but_never_blocks_and_readmissions() {
    let genesis = car::genesis(4, "BACKLOG");
    let mut state = State::new(&genesis);
    let record = |height| Transaction::Record { endpoint: 0, sequence: u64::from(height) + 1, data: Vec::new() };
    assert_eq!(fill(&mut state, &genesis, record), Refusal::Backlog);
    assert_eq!(state.height(), MAX_BACKLOG);
    let skip = |state: &mut State| {
        let bytes = Transaction::Skip.encode().expect("fits");
        state.apply(&bytes, &Transaction::Skip, &genesis).expect("always");
    };
    let alarm = Transaction::Alarm { identifier: genesis.validators[0].identifiers.vote, count: 3 };
    assert_eq!(state.check(&alarm, &genesis), Ok(()));
    while state.height() < MAX_BACKLOG_ALARMS {
        skip(&mut state);
    }
    assert_eq!(state.check(&alarm, &genesis), Err(Refusal::Backlog));
    assert_eq!(state.check(&Transaction::Readmit { validator: 1, nonce: 7 }, &genesis), Ok(()));

    let header = BlockHeader {
        number: 1,
        previous: genesis.mesh().0,
        tree_size: state.height(),
        tree_root: state.tree().root(),
        attested_root: Hash::NIL,
        attested_count: 0,
        finality: Finality::Final,
        members: state.members(),
        time_ms: 1,
    };
    let block = Transaction::EventBlock(header);
    state.apply(&block.encode().expect("fits"), &block, &genesis).expect("a block is always taken");
    assert_eq!(state.check(&record(state.height()), &genesis), Ok(()));
}
