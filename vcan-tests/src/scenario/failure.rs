//! ECUs that are killed, and come back with their memory or without.

use anyhow::{Context, Result, ensure};
use can_bus::frame::id_from_raw;
use cloud_link::wire::Action;
use device_chain::genesis::Role;
use device_chain::wire::Header;
use ecu_node::linux::status::unix_ms;

use super::ride::approve;
use super::{PATIENCE, wait_for_part};
use crate::car::Car;

/// Two of seven are killed; approvals go on.
///
/// # Errors
/// They do not.
pub fn two_killed(car: &mut Car) -> Result<String> {
    let victims = [car.with_role(Role::Powertrain)?.1, car.with_role(Role::Telematics)?.1];
    for name in &victims {
        car.kill(name)?;
    }
    let (_, unlock_us) = approve(car, Action::Unlock)?;
    let (_, lock_us) = approve(car, Action::Lock)?;
    Ok(format!("{} killed; the next approvals took {unlock_us} and {lock_us} us", victims.join(" and ")))
}

/// One comes back with its store and catches up.
///
/// # Errors
/// It does not.
pub fn back_with_store(car: &mut Car) -> Result<String> {
    let (_, name) = car.with_role(Role::Powertrain)?;
    let before = car.status_file::<serde_json::Value>(&name)?["height"].as_u64().context("a height")?;
    car.start(&name)?;
    let status = wait_for_part(car, &name)?;
    ensure!(status.diagnosis.starts_with("intact"), "its journal is {}", status.diagnosis);
    Ok(format!("{name} went on from height {before} to {}, with its memory", status.height))
}

/// The other comes back wiped: it does not vote until a quorum has readmitted it.
///
/// # Errors
/// It votes before, or is not readmitted.
pub fn back_wiped(car: &mut Car) -> Result<String> {
    let (at, name) = car.with_role(Role::Telematics)?;
    car.wipe(&name)?;
    let mut tap = car.mesh_tap()?;
    let vote_id = id_from_raw(car.genesis().validators[usize::from(at)].identifiers.vote).context("an identifier")?;
    let first_vote = car.runtime().spawn(async move {
        loop {
            let frame = tap.hear().await?;
            if let Some(header) = Header::parse(frame.data()).filter(|_| frame.id() == vote_id) {
                return anyhow::Ok(header.height);
            }
        }
    });
    let (_, witness) = car.with_role(Role::Body)?;
    let before = car.status_since(&witness, unix_ms())?.height;
    car.start(&name)?;
    let readmitted = car.wait_for(&format!("the readmission of {name}"), PATIENCE, |car| {
        let mut new = car.status(&witness)?.decisions.into_iter().filter(|decision| decision.height > before);
        Ok(new.find(|decision| decision.kind == "readmit").context("it was not decided")?.height)
    })?;
    let status = wait_for_part(car, &name)?;
    ensure!(status.diagnosis.starts_with("wiped"), "its journal is {}", status.diagnosis);
    for _ in 0..5 {
        approve(car, Action::Unlock)?;
        approve(car, Action::Lock)?;
        if first_vote.is_finished() {
            break;
        }
    }
    ensure!(first_vote.is_finished(), "{name} was readmitted, but does not vote");
    let first_vote = car.block_on(first_vote)??;
    ensure!(first_vote > readmitted, "{name} voted at height {first_vote}, before its readmission at {readmitted}");
    Ok(format!("{name} readmitted by a quorum at height {readmitted}; its first vote was at {first_vote}"))
}
