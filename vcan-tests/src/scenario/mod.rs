//! What a car must do. A scenario does something to a car and says what it saw; its error says what it missed. Tests
//! and demo share them.

pub mod chip;
pub mod cloud;
pub mod failure;
pub mod guests;
pub mod ignition;
pub mod life;
pub mod members;
pub mod ride;
pub mod rogue;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use device_chain::genesis::Role;
use ecu_node::linux::status::{Status, unix_ms};
use vehicle_gateway::status::GatewayStatus;

use crate::car::Car;

/// How long anything may take that a car does by itself within a second, on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The status of the gateway, beyond its node's.
///
/// # Errors
/// There is none.
pub fn gateway(car: &Car) -> Result<GatewayStatus> {
    let (_, name) = car.with_role(Role::Gateway)?;
    GatewayStatus::read(&car.paths(&name).state)
}

/// The status of all validators, each made after this call.
///
/// # Errors
/// One does not run.
pub fn all(car: &Car) -> Result<Vec<Status>> {
    let now = unix_ms();
    car.validators().iter().map(|name| car.status_since(name, now)).collect()
}

/// Waits until a validator takes part: trusted, at the height of the others, with its memory, not suspended.
///
/// # Errors
/// It does not.
pub fn wait_for_part(car: &mut Car, name: &str) -> Result<Status> {
    car.wait_for(&format!("{name} taking part"), PATIENCE, |car| {
        let status = car.status(name)?;
        ensure!(status.mode == "trusted", "its mode is {}", status.mode);
        ensure!(!status.amnesiac, "it has lost its memory");
        ensure!(!status.suspended, "it is suspended");
        let highest = car.validators().iter().filter_map(|other| Some(car.status(other).ok()?.height)).max();
        // a decision may just be on its way
        ensure!(status.height + 1 >= highest.context("nobody runs")?, "it is at height {}", status.height);
        Ok(status)
    })
}
