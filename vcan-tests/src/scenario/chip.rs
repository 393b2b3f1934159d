//! Validators on emulated chips.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::PATIENCE;
use crate::car::Car;

/// How often the door sensor says something.
const SENSOR: Duration = Duration::from_secs(2);
/// Records that all have to decide.
const RECORDS: usize = 3;

/// All validators are chips: they authenticate each other, and decide what the door sensor says.
///
/// # Errors
/// They do not, or not all the same.
pub fn all_chips(car: &mut Car) -> Result<String> {
    let names = car.validators();
    names.iter().try_for_each(|name| car.start_chip(name))?;
    for name in &names {
        car.wait_for(&format!("{name} trusted, with all others"), PATIENCE, |car| {
            let said = car.chip(name)?;
            ensure!(said.trusted && said.met + 1 >= names.len(), "it has met {}", said.met);
            Ok(())
        })?;
    }
    car.start_sensor(SENSOR)?;
    let mut chains = Vec::new();
    for name in &names {
        chains.push(car.wait_for(&format!("records decided by {name}"), PATIENCE, |car| {
            let mut decided = car.chip(name)?.decided;
            decided.retain(|decided| decided.kind == "record");
            ensure!(decided.len() >= RECORDS, "it has decided {}", decided.len());
            decided.truncate(RECORDS);
            Ok(decided)
        })?);
    }
    let first = chains.first().context("no validator")?;
    ensure!(chains.iter().all(|chain| chain == first), "they differ: {chains:?}");
    ensure!(first.iter().all(|decided| decided.live), "not by their own quorum: {first:?}");
    Ok(format!("{} emulated chips decided {RECORDS} records of the sensor", names.len()))
}
