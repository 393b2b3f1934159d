//! What a car is asked for in more than one test.

// each test uses its own part of it
#![allow(dead_code)]

use device_chain::block::{BlockHeader, Finality};
use device_chain::tx::Transaction;
use device_chain::types::Hash;
use ecu_node::Input;
use mesh_sim::car::Car;
use mesh_sim::workload::grant;

pub const GATEWAY: u8 = 0;
pub const SECOND_US: u64 = 1_000_000;

/// The fleet grants, the gateway uses it; how long that took until every powered ECU had decided it, microseconds.
pub fn approve(car: &mut Car, serial: u64) -> Option<u64> {
    let signed = grant(car, serial);
    let digest = signed.grant.digest();
    car.give(GATEWAY, Input::Grant(signed));
    car.run_for(50_000);
    let validator = car.ecu(GATEWAY)?.validator();
    let (tx, before, asked) = (validator.use_of(&digest).ok()?, validator.state().height(), car.now_us());
    car.give(GATEWAY, Input::Submit(tx));
    let all = |car: &Car| (0..7).filter_map(|at| car.ecu(at)).all(|ecu| ecu.validator().state().height() > before);
    car.run_until(asked + SECOND_US, all).then(|| car.now_us() - asked)
}

/// The block that an honest gateway would close now.
pub fn next_block(car: &Car) -> Transaction {
    let validator = car.ecu(GATEWAY).expect("powered").validator();
    let state = validator.state();
    Transaction::EventBlock(BlockHeader {
        number: state.event().number + 1,
        previous: state.event().hash,
        tree_size: state.height(),
        tree_root: state.tree().root(),
        attested_root: Hash([5; 32]),
        attested_count: 0,
        finality: Finality::Final,
        time_ms: validator.time_to_give(),
        members: state.members(),
    })
}
