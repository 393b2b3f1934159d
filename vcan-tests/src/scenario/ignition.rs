//! From the start to trust.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use device_chain::genesis::Role;

use super::{PATIENCE, gateway, wait_for_part};
use crate::car::Car;

/// All validators are started and authenticate each other.
///
/// # Errors
/// One is not trusted, or not by all.
pub fn trust(car: &mut Car) -> Result<String> {
    let begin = Instant::now();
    car.start_validators()?;
    let names = car.validators();
    let mut slowest_ms = 0;
    for name in &names {
        let status = car.wait_for(&format!("{name} trusted by all"), PATIENCE, |car| {
            let status = car.status(name)?;
            ensure!(status.mode == "trusted", "its mode is {}", status.mode);
            let missing: Vec<_> = status.peers.iter().filter(|peer| !peer.confirmed).map(|peer| &*peer.name).collect();
            ensure!(missing.is_empty(), "no session with {}", missing.join(", "));
            Ok(status)
        })?;
        slowest_ms = slowest_ms.max(status.ignition_ms.context("trusted, but since when?")?);
    }
    let (n, pairs) = (names.len(), names.len() * (names.len() - 1) / 2);
    let all_ms = begin.elapsed().as_millis();
    Ok(format!(
        "{n} validators, {pairs} pairs; {slowest_ms} ms from start to trust at the slowest ({all_ms} ms for all)"
    ))
}

/// A record of an endpoint is agreed on.
///
/// # Errors
/// It is not.
pub fn endpoint_record(car: &mut Car) -> Result<String> {
    let (_, name) = car.with_role(Role::Gateway)?;
    let height = car.wait_for("a record of the door sensor", PATIENCE, |car| {
        let decisions = car.status(&name)?.decisions;
        let record = decisions.into_iter().rfind(|decision| decision.kind == "record");
        Ok(record.context("none was decided")?.height)
    })?;
    Ok(format!("decided at height {height}; {} has no vote", car.sensor()?))
}

/// Signals of the drive are decoded and recorded.
///
/// # Errors
/// None is.
pub fn drive_recorded(car: &mut Car) -> Result<String> {
    let recorded = car.wait_for("signals of the drive", PATIENCE, |car| {
        let recorded = gateway(car)?.recorded;
        ensure!(recorded > 0, "none was recorded");
        Ok(recorded)
    })?;
    Ok(format!("{recorded} values recorded so far"))
}

/// All validators take part again.
///
/// # Errors
/// One does not.
pub fn all_take_part(car: &mut Car) -> Result<String> {
    for name in car.validators() {
        wait_for_part(car, &name)?;
    }
    Ok("all validators take part".into())
}
