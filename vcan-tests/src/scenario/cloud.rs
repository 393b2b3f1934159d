//! The cloud: what arrives there, what it answers, and what is wrong with an archive.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloud_link::checkpoint;
use cloud_link::wire::{Finality, Trust};
use device_chain::genesis::Role;

use super::{PATIENCE, gateway};
use crate::car::Car;
use crate::tamper::{Tampering, copy_store};

/// Blocks that are to wait in the car while the link is cut.
const WAITING: usize = 3;
/// How long a drive may be.
const DRIVE: Duration = Duration::from_secs(600);
/// How long it may take until the link is tried again.
const RECONNECT: Duration = Duration::from_secs(60);

/// Blocks arrive and are receipted; the car drops them only then.
///
/// # Errors
/// They do not.
pub fn archived(car: &mut Car) -> Result<String> {
    car.wait_for("blocks in the cloud", PATIENCE, |car| {
        let window = gateway(car)?.window;
        ensure!(window.archived >= 2, "{} blocks sealed, {} archived", window.sealed, window.archived);
        Ok(())
    })?;
    let genesis = car.genesis().clone();
    let archived = car.cloud().archived(&genesis)?;
    Ok(format!("{} blocks with {} decisions, verified from the genesis", archived.blocks, archived.decisions.len()))
}

/// The drive was played to its end, and is in the cloud's history.
///
/// # Errors
/// It is not.
pub fn signals(car: &mut Car) -> Result<String> {
    car.wait_for_drive(DRIVE)?;
    car.wait_for("signals in the cloud", PATIENCE, |car| {
        let events = car.cloud().events()?;
        let signals: Vec<_> = events.iter().filter(|event| event.kind == "signal").collect();
        let last = signals.last().context("no signal has arrived")?;
        ensure!(last.attestation == "gateway-alone", "a signal attested by {}", last.attestation);
        Ok(format!("{} values, attested by the gateway alone; the last: {}", signals.len(), last.detail))
    })
}

/// An alarm speaks against the car for a while.
///
/// # Errors
/// The cloud trusts it all the same.
pub fn alarmed(car: &mut Car) -> Result<String> {
    let trust = car.wait_for("the cloud's distrust", PATIENCE, |car| {
        let trust = car.cloud().trust()?;
        ensure!(trust.why.iter().any(|reason| reason.contains("alarm")), "it says {}", describe(&trust));
        Ok(trust)
    })?;
    ensure!(!trust.trusted, "{}", describe(&trust));
    Ok(describe(&trust))
}

/// The cloud trusts a car that works.
///
/// # Errors
/// It does not.
pub fn trusted(car: &mut Car) -> Result<String> {
    let trust = car.wait_for("the cloud's trust", PATIENCE, |car| {
        let trust = car.cloud().trust()?;
        ensure!(trust.trusted, "it says {trust:?}");
        Ok(trust)
    })?;
    ensure!(trust.mode == "trusted" && trust.finality == Some(Finality::Final), "{trust:?}");
    Ok(describe(&trust))
}

/// The link is cut: the car goes on, the cloud says that it knows nothing fresh.
///
/// # Errors
/// Blocks do not wait, or the cloud still trusts.
pub fn link_cut(car: &mut Car) -> Result<String> {
    car.cut_link();
    let waiting = car.wait_for("blocks waiting in the car", RECONNECT, |car| {
        let window = gateway(car)?.window;
        ensure!(window.waiting >= WAITING, "{} blocks wait", window.waiting);
        Ok(window.waiting)
    })?;
    let trust = car.wait_for("the end of the cloud's trust", RECONNECT, |car| {
        let trust = car.cloud().trust()?;
        ensure!(!trust.trusted && trust.mode == "unknown", "it still says {}", describe(&trust));
        Ok(trust)
    })?;
    Ok(format!("{waiting} blocks wait in the car; the cloud: {}", describe(&trust)))
}

/// The link is joined; gateway and cloud are killed while the blocks that have waited are being sent.
///
/// # Errors
/// They do not all arrive.
pub fn killed_in_mid_batch(car: &mut Car) -> Result<String> {
    let (_, name) = car.with_role(Role::Gateway)?;
    let sealed = gateway(car)?.window.sealed;
    let before = car.cloud().trust()?.block;
    // a gateway that has just started tries at once
    car.kill(&name)?;
    car.join_link();
    car.start(&name)?;
    let during = car.wait_for("the first of the blocks that have waited", RECONNECT, |car| {
        let block = car.cloud().trust()?.block;
        ensure!(block > before, "none has arrived");
        Ok(block)
    })?;
    car.cloud_mut().kill()?;
    car.kill(&name)?;
    car.cloud_mut().restart()?;
    car.start(&name)?;
    car.wait_for("all blocks in the cloud", RECONNECT, |car| {
        let archived = car.cloud().trust()?.block;
        ensure!(archived > sealed, "block {archived} of {sealed} and those after it");
        Ok(())
    })?;
    super::ignition::all_take_part(car)?;
    Ok(format!("both killed at block {during}; blocks {} to {sealed} and newer arrived after the restart", before + 1))
}

/// The car's chain and the cloud's are the same: nothing was lost, nothing stored twice.
///
/// # Errors
/// They differ.
pub fn nothing_lost(car: &mut Car) -> Result<String> {
    let genesis = car.genesis().clone();
    let archived = car.cloud().archived(&genesis)?;
    let mut compared = 0;
    for name in car.validators() {
        for decision in car.status(&name)?.decisions {
            let Some(stored) = archived.decisions.get(decision.height as usize - 1) else { continue };
            let (height, stored) = (decision.height, stored.to_string());
            ensure!(stored == decision.hash, "height {height}: {name} has {}, the cloud has {stored}", decision.hash);
            compared += 1;
        }
    }
    ensure!(compared > 0, "the archive ends before what the car still remembers");
    let (blocks, heights) = (archived.blocks, archived.decisions.len());
    Ok(format!(
        "{blocks} blocks without a gap, heights 1 to {heights} once each; {compared} hashes compared with the car's"
    ))
}

/// A copy of the store as it is now, to be restored later as an old one.
///
/// # Errors
/// It cannot be made.
pub fn keep_old_store(car: &mut Car) -> Result<PathBuf> {
    let old = car.folder().join("cloud").join("yesterday.db");
    copy_store(&car.cloud().paths().store.clone(), &old)?;
    Ok(old)
}

/// The archive as it is verifies.
///
/// # Errors
/// It does not.
pub fn sound(car: &mut Car) -> Result<String> {
    let (store, checkpoint) = copies(car, "sound")?;
    let output = car.cloud().verify(&store, &checkpoint)?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(0), "{}: {said}", output.status);
    Ok(said.lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A manipulated archive does not, and what is wrong is named.
///
/// # Errors
/// It verifies, or another thing is named.
pub fn tampered(car: &mut Car, tampering: Tampering, old: &std::path::Path) -> Result<String> {
    let (store, checkpoint) = copies(car, &format!("{tampering:?}"))?;
    tampering.apply(&store, old, car.genesis())?;
    let output = car.cloud().verify(&store, &checkpoint)?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    let named = said.lines().find(|line| line.contains(tampering.is_named()));
    let named = named.with_context(|| format!("{:?} is not named in: {said}", tampering.is_named()))?;
    Ok(named.trim_start_matches("WRONG").trim().to_owned())
}

/// Copies of store and checkpoint that agree.
fn copies(car: &mut Car, name: &str) -> Result<(PathBuf, PathBuf)> {
    let folder = car.folder().join("cloud").join("copies");
    fs::create_dir_all(&folder)?;
    let (store, checkpoint) = (folder.join(format!("{name}.db")), folder.join(format!("{name}.checkpoint")));
    let paths = car.cloud().paths().clone();
    // the checkpoint first: a block that is archived in between makes the store newer, which is no fault
    fs::copy(checkpoint::path(&paths.checkpoints, &car.genesis().mesh()), &checkpoint).context("no checkpoint")?;
    copy_store(&paths.store, &store)?;
    Ok((store, checkpoint))
}

fn describe(trust: &Trust) -> String {
    let verdict = if trust.trusted { "trusted" } else { "not trusted" };
    let age = trust.age_ms.map_or("no".into(), |ms| format!("{ms} ms"));
    let finality = trust.finality.map_or("none".into(), |finality| format!("{finality:?}").to_lowercase());
    let why = trust.why.join("; ");
    format!("{verdict}, mode {}, finality {finality}, height {}, age {age}: {why}", trust.mode, trust.height)
}
