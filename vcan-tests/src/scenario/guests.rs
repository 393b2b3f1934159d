//! What else is on the car's buses: other traffic, other tools' frames, diagnostics.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use can_bus::Frame;
use cloud_link::wire::Action;
use device_chain::genesis::Role;
use tokio::time::timeout;
use vehicle_gateway::doctor::{Check, Options, Verdict, examine};

use super::ride::approve;
use super::{PATIENCE, all};
use crate::args;
use crate::bus::frame;
use crate::car::{BusKind, Car};
use crate::process::run;

/// Frames of each kind in the flood.
const FLOOD: u64 = 200;
/// Milliseconds between them: a flood, but one that seven processes on one processor can keep up with.
const PAUSE_MS: u32 = 3;
/// How long to listen for answers that nobody may give.
const SILENCE: Duration = Duration::from_millis(500);

/// can-utils flood the mesh with frames that are none of its own: counted by kind, and without effect.
///
/// # Errors
/// One is not counted, or approvals stop.
pub fn flood(car: &mut Car) -> Result<String> {
    let (at, _) = car.with_role(Role::Chassis)?;
    let vote_id = format!("{:03X}", car.genesis().validators[usize::from(at)].identifiers.vote);
    let bus = car.config().mesh().to_owned();
    let before = all(car)?;
    let count = FLOOD.to_string();
    for (what, id) in [(args![], &*vote_id), (args!["-f", "-L", "64"], &*vote_id), (args![], "7A5")] {
        let cangen = [args![bus, "-g", PAUSE_MS, "-n", count, "-I", id, "-D", "r"], what].concat();
        run(Path::new("cangen"), &cangen)?;
    }
    let kinds = [("malformed", "classic"), ("foreign", "random CAN FD"), ("other", "other")];
    car.wait_for("all frames counted", PATIENCE, |car| {
        for before in &before {
            let after = car.status(&before.name)?;
            for (counter, what) in kinds {
                let rise = after.frames[counter] - before.frames[counter];
                ensure!(rise >= FLOOD, "{}: {rise} {what} frames of {FLOOD} counted as {counter}", after.name);
            }
        }
        Ok(())
    })?;
    let (_, latency_us) = approve(car, Action::Unlock)?;
    approve(car, Action::Lock)?;
    Ok(format!("{} frames counted by kind at every validator; the next approval took {latency_us} us", 3 * FLOOD))
}

/// A diagnostic request and its answer pass untouched, and the mesh takes no part.
///
/// # Errors
/// They are changed, or somebody answers.
pub fn diagnostics(car: &mut Car) -> Result<String> {
    let talk = ["7DF#02010C0000000000", "7E8#04410C1AF8000000"];
    for bus in car.config().interfaces() {
        let mut tap = car.tap(&bus)?;
        for line in talk {
            run(Path::new("cansend"), args![bus, line])?;
        }
        let heard = car.block_on(async {
            let mut heard = Vec::new();
            let listen = async {
                loop {
                    heard.push(tap.hear().await?);
                }
            };
            let ended: Result<Result<()>, _> = timeout(SILENCE, listen).await;
            ended.unwrap_or(Ok(())).map(|()| heard)
        })?;
        let diagnostic = |frame: &&Frame| (0x7DF..=0x7EF).contains(&frame.raw_id());
        let heard: Vec<_> = heard.iter().filter(diagnostic).copied().collect();
        let expected = talk.iter().map(|line| frame(line)).collect::<Result<Vec<_>>>()?;
        ensure!(heard == expected, "{bus}: {heard:?} instead of {expected:?}");
    }
    Ok("request and answer unchanged on both buses, and nobody else speaks on these identifiers".into())
}

/// The mesh's identifiers collide neither with the car's matrix nor with diagnostics, and its buses are fit for it.
///
/// # Errors
/// A check fails.
pub fn doctor(car: &mut Car) -> Result<String> {
    let paths = car.cloud().paths();
    let genesis = Some((paths.genesis.clone(), paths.maker_key.clone()));
    let checks = examine(&Options { config: car.config().path().to_owned(), dbc: None, genesis })?;
    // the doctor knows nothing of simulated buses
    let concerns = |check: &&Check| car.bus() == BusKind::Vcan || !check.what.contains("segment");
    let checks: Vec<_> = checks.iter().filter(concerns).collect();
    let failed: Vec<_> =
        checks.iter().filter(|check| check.verdict == Verdict::Failed).map(ToString::to_string).collect();
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    let names: Vec<_> = checks.iter().map(|check| &*check.what).collect();
    Ok(format!("checked by the gateway's doctor: {}", names.join(", ")))
}
