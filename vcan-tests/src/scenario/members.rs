//! ECUs that fall silent for good are suspended (DC-35), and resumed when they are back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cloud_link::wire::Action;
use device_chain::genesis::Role;

use super::ride::approve;
use super::{PATIENCE, wait_for_part};
use crate::args;
use crate::car::{BusKind, Car};
use crate::process::{program, run};

/// Roles in the order in which they fall silent: neither the gateway nor the one with the door.
const VICTIMS: [Role; 3] = [Role::Battery, Role::Telematics, Role::Adas];

/// One is killed, the rest suspend it, and approvals go on; then a second one.
///
/// # Errors
/// It is not suspended by all, status does not show it, or nothing is approved.
pub fn two_suspended(car: &mut Car) -> Result<String> {
    let mut seen = Vec::new();
    for count in 1..=2 {
        let silent = names(car, count)?;
        let victim = &silent[count - 1];
        car.kill(victim)?;
        let begin = Instant::now();
        wait_for_suspended(car, &silent, &silent)?;
        let (_, latency_us) = approve(car, if count == 1 { Action::Unlock } else { Action::Lock })?;
        seen.push(format!(
            "{victim} after {:.1} s (the next approval: {latency_us} us)",
            begin.elapsed().as_secs_f32()
        ));
    }
    Ok(format!("suspended: {}", seen.join(", then ")))
}

/// A third one falls silent: four of seven carry the car.
///
/// # Errors
/// Nothing is approved.
pub fn four_carry_the_car(car: &mut Car) -> Result<String> {
    let silent = names(car, 3)?;
    car.kill(&silent[2])?;
    let (_, unlock_us) = approve(car, Action::Unlock)?;
    let (_, lock_us) = approve(car, Action::Lock)?;
    for name in heard(car, &silent) {
        let status = car.status(&name)?;
        ensure!(status.mode == "trusted", "the mode of {name} is {}", status.mode);
    }
    Ok(format!("{} is silent, too; approvals by the other four took {unlock_us} and {lock_us} us", silent[2]))
}

/// They come back and are resumed: all that were suspended can be needed again.
///
/// # Errors
/// One is not resumed, or nothing is approved without others.
pub fn resumed(car: &mut Car) -> Result<String> {
    let back = names(car, VICTIMS.len())?;
    for name in &back {
        car.start(name)?;
    }
    for name in &back {
        wait_for_part(car, name)?;
    }
    wait_for_suspended(car, &[], &[])?;
    let others = [car.with_role(Role::Powertrain)?.1, car.with_role(Role::Chassis)?.1];
    for name in &others {
        car.kill(name)?;
    }
    let (_, latency_us) = approve(car, Action::Unlock)?;
    approve(car, Action::Lock)?;
    for name in &others {
        car.start(name)?;
    }
    Ok(format!(
        "{} resumed; with them, and without {}, an approval took {latency_us} us",
        back.join(", "),
        others.join(" and ")
    ))
}

/// The first `count` victims.
fn names(car: &Car, count: usize) -> Result<Vec<String>> {
    VICTIMS[..count].iter().map(|role| Ok(car.with_role(*role)?.1)).collect()
}

fn heard(car: &Car, silent: &[String]) -> Vec<String> {
    car.validators().into_iter().filter(|name| !silent.contains(name)).collect()
}

/// Waits until everybody but the silent ones has exactly these suspended, and `ecu-node status` says so.
fn wait_for_suspended(car: &mut Car, suspended: &[String], silent: &[String]) -> Result<()> {
    for name in heard(car, silent) {
        car.wait_for(&format!("{suspended:?} suspended at {name}"), PATIENCE, |car| {
            let peers = car.status(&name)?.peers.into_iter().filter(|peer| peer.suspended).map(|peer| peer.name);
            let mut known: Vec<_> = peers.collect();
            let mut wanted = suspended.to_vec();
            known.sort();
            wanted.sort();
            ensure!(known == wanted, "it has {known:?}");
            Ok(())
        })?;
        if car.bus() == BusKind::Vcan {
            let shown = run(&program("ecu-node")?, args!["status", "--state", car.paths(&name).state.display()])?;
            for peer in suspended {
                let line = shown.lines().find(|line| line.starts_with(&**peer)).context("status leaves a peer out")?;
                ensure!(line.trim_end().ends_with("yes"), "status of {name} does not show who is suspended: {line:?}");
            }
        }
    }
    Ok(())
}
