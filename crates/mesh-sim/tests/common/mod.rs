//! What a car is asked for in more than one test.

use device_chain::grant::{Action, Grant, SignedGrant};
use device_chain::types::Hash;
use ecu_node::Input;
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;

pub const GATEWAY: u8 = 0;
pub const SECOND_US: u64 = 1_000_000;

/// The fleet grants, the gateway uses it; how long that took until every powered ECU had decided it, microseconds.
pub fn approve(car: &mut Car, serial: u64) -> Option<u64> {
    let grant = Grant {
        mesh: car.genesis.mesh(),
        issuer: 0,
        serial,
        action: Action::Unlock,
        holder: Hash::NIL,
        not_before: 1,
        not_after: 10_000,
    };
    let digest = grant.digest();
    car.give(GATEWAY, Input::Grant(SignedGrant::sign(grant, &Plan::default().fleet_key())));
    car.run_for(50_000);
    let validator = car.ecu(GATEWAY)?.validator();
    let (tx, before, asked) = (validator.use_of(&digest).ok()?, validator.state().height(), car.now_us());
    car.give(GATEWAY, Input::Submit(tx));
    let all = |car: &Car| (0..7).filter_map(|at| car.ecu(at)).all(|ecu| ecu.validator().state().height() > before);
    car.run_until(asked + SECOND_US, all).then(|| car.now_us() - asked)
}
