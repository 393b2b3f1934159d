//! DC-52: without a gateway that closes blocks, the chain takes no more than what the history can repeat.

use heapless::Vec;

use super::car;
use crate::block::{BlockHeader, Finality};
use crate::genesis::Role;
use crate::limits::{MAX_BACKLOG, MAX_BACKLOG_ALARMS, MIN_TIME_RISE_MS};
use crate::registry::Registry;
use crate::state::{Refusal, State};
use crate::tx::Transaction;
use crate::types::Hash;

/// Alarms about the identifiers of a small car, as long as the chain takes them.
fn fill(state: &mut State, registry: &mut Registry, tx: impl Fn(u32) -> Transaction) -> Refusal {
    loop {
        let tx = tx(state.height());
        let bytes = tx.encode().expect("fits");
        if let Err(refusal) = state.apply(&bytes, &tx, registry) {
            return refusal;
        }
    }
}

#[test]
fn without_blocks_records_stop_then_alarms_but_never_blocks_and_readmissions() {
    let genesis = car::genesis(4, "BACKLOG");
    let registry = &mut Registry::from(&genesis);
    let mut state = State::new(registry);
    let record = |height| Transaction::Record { endpoint: 0, sequence: u64::from(height) + 1, data: Vec::new() };
    assert_eq!(fill(&mut state, registry, record), Refusal::Backlog);
    assert_eq!(state.height(), MAX_BACKLOG);
    let skip = |state: &mut State, registry: &mut Registry| {
        let bytes = Transaction::Skip.encode().expect("fits");
        state.apply(&bytes, &Transaction::Skip, registry).expect("always");
    };
    let alarm = Transaction::Alarm { identifier: genesis.validators[0].identifiers.vote, count: 3 };
    assert_eq!(state.check(&alarm, registry), Ok(()));
    assert_eq!(
        state.check(&Transaction::Time { ms: state.time_ms() + MIN_TIME_RISE_MS }, registry),
        Err(Refusal::Backlog)
    );
    while state.height() < MAX_BACKLOG_ALARMS {
        skip(&mut state, registry);
    }
    assert_eq!(state.check(&alarm, registry), Err(Refusal::Backlog));
    assert_eq!(state.check(&Transaction::Readmit { validator: 1, nonce: 7 }, registry), Ok(()));

    let header = BlockHeader {
        number: 1,
        previous: genesis.mesh().0,
        tree_size: state.height(),
        tree_root: state.tree().root(),
        attested_root: Hash::NIL,
        attested_count: 0,
        finality: Finality::Final,
        members: state.members(),
        time_ms: state.time_ms(),
    };
    let block = Transaction::EventBlock(header);
    state.apply(&block.encode().expect("fits"), &block, registry).expect("a block is always taken");
    assert_eq!(state.check(&record(state.height()), registry), Ok(()));
}

/// The gateway alone can close a block: it may come back as often as it must, others once.
#[test]
fn without_blocks_the_gateway_may_always_return() {
    let genesis = car::genesis(5, "RETURN");
    let gateway = genesis.with_role(Role::Gateway).expect("there is one");
    let other = (gateway + 1) % 5;
    for (validator, again) in [(gateway, Ok(())), (other, Err(Refusal::Backlog))] {
        let registry = &mut Registry::from(&genesis);
        let mut state = State::new(registry);
        let mut apply = |state: &mut State, tx: Transaction| state.apply(&tx.encode().expect("fits"), &tx, registry);
        apply(&mut state, Transaction::Suspend { validator }).expect("a member");
        apply(&mut state, Transaction::Readmit { validator, nonce: 1 }).expect("the first time");
        while state.height() < MAX_BACKLOG {
            apply(&mut state, Transaction::Skip).expect("always");
        }
        assert_eq!(state.check(&Transaction::Readmit { validator, nonce: 2 }, registry), again);
        assert_eq!(state.check(&Transaction::Resume { validator }, registry), again);
    }
}
