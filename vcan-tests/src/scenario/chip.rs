//! Validators on emulated chips.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloud_link::wire::Action;
use device_chain::genesis::Role;
use device_chain::types::Height;
use ecu_node::linux::status::unix_ms;

use super::ride::approve;
use super::{PATIENCE, wait_for_part};
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

/// The one that is a chip among processes.
const CHIP: Role = Role::Chassis;
/// Without them a quorum needs every other one.
const AWAY: [Role; 2] = [Role::Powertrain, Role::Telematics];

/// One validator is a chip, the others are processes; with two of them away, nothing is approved without the chip.
///
/// # Errors
/// It has no part in the approvals.
pub fn needed(car: &mut Car) -> Result<String> {
    let (_, chip) = car.with_role(CHIP)?;
    for name in car.validators() {
        if name == chip { car.start_chip(&name)? } else { car.start(&name)? }
    }
    trusted(car, &chip)?;
    let (height, latency_us) = approve_with_the_chip(car, &chip)?;
    Ok(format!("{} killed: height {height} needed {chip}, a chip; {latency_us} us", names(car, &AWAY)?.join(" and ")))
}

/// The chip is killed and the others come back and go on without it; it comes back from its flash, catches up and is needed again.
///
/// # Errors
/// It has forgotten something, does not catch up or takes no part.
pub fn killed_and_back(car: &mut Car) -> Result<String> {
    let (_, chip) = car.with_role(CHIP)?;
    let before = car.chip(&chip)?.height();
    car.kill(&chip)?;
    for name in names(car, &AWAY)? {
        car.start(&name)?;
        wait_for_part(car, &name)?;
    }
    for action in [Action::Lock, Action::Unlock, Action::Lock] {
        approve(car, action)?;
    }
    let missed = height(car)?;
    ensure!(missed >= before + 3, "the others are at height {missed}, it was at {before}");
    car.start_chip(&chip)?;
    let said = car.wait_for(&format!("{chip} catching up"), PATIENCE, |car| {
        let said = car.chip(&chip)?;
        ensure!(said.height() >= missed, "it is at height {}", said.height());
        Ok(said)
    })?;
    ensure!(["Intact", "TornTail"].contains(&&*said.journal), "its journal is {}", said.journal);
    ensure!(said.started_at >= before, "it went on from height {}, and had decided {before}", said.started_at);
    let taken = said.decided.iter().filter(|decided| decided.height <= missed);
    ensure!(taken.clone().all(|decided| !decided.live), "it decided what others had decided: {said:?}");
    let taken = taken.count();
    trusted(car, &chip)?;
    let (again, _) = approve_with_the_chip(car, &chip)?;
    Ok(format!(
        "{chip} went on from height {}, took over {taken} decisions, and was needed at {again}",
        said.started_at
    ))
}

/// Two of the others are killed, so that the five that are left are just a quorum; returns the height of the approval.
fn approve_with_the_chip(car: &mut Car, chip: &str) -> Result<(Height, u64)> {
    for name in names(car, &AWAY)? {
        car.kill(&name)?;
    }
    let (_, latency_us) = approve(car, Action::Unlock)?;
    let height = height(car)?;
    car.wait_for(&format!("height {height} at {chip}"), PATIENCE, |car| {
        let said = car.chip(chip)?;
        let decided = said.decided.iter().find(|decided| decided.height == height).context("it is not there")?;
        ensure!(decided.live && decided.kind == "use-grant", "{decided:?}");
        Ok((height, latency_us))
    })
}

/// The chip shares sessions with all that run, and each of them with it.
fn trusted(car: &mut Car, chip: &str) -> Result<()> {
    let others: Vec<_> = car.validators().into_iter().filter(|name| name != chip).collect();
    car.wait_for(&format!("{chip} among the others"), PATIENCE, |car| {
        let said = car.chip(chip)?;
        ensure!(said.trusted && said.met >= others.len(), "it has met {}", said.met);
        for name in &others {
            let status = car.status(name)?;
            let missing = status.peers.iter().find(|peer| !peer.confirmed);
            ensure!(missing.is_none(), "{name} has no session with {}", missing.map_or("", |peer| &peer.name));
        }
        Ok(())
    })
}

/// Height of the gateway.
fn height(car: &Car) -> Result<Height> {
    let (_, gateway) = car.with_role(Role::Gateway)?;
    Ok(car.status_since(&gateway, unix_ms())?.height)
}

fn names(car: &Car, roles: &[Role]) -> Result<Vec<String>> {
    roles.iter().map(|role| Ok(car.with_role(*role)?.1)).collect()
}
