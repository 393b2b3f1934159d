//! Somebody on the bus without keys. What its frames do to the counters is listed in [`crate::attack`].

use anyhow::{Context, Result, ensure};
use device_chain::genesis::Role;
use device_chain::types::ValidatorIndex;
use ecu_node::linux::status::Status;

use super::ignition::all_take_part;
use super::{PATIENCE, all};
use crate::attack::{Sent, forger, impersonator, replayer};
use crate::car::Car;

/// How often a forger says everything it can say, under each name.
const ROUNDS: u32 = 3;
/// Votes that are recorded.
const RECORDED: usize = 12;
/// How often the impersonator says each of its lines.
const IMPERSONATED: u32 = 4;
/// What a mesh may decide while it is attacked without an order from outside.
const HARMLESS: [&str; 5] = ["record", "alarm", "event-block", "readmit", "skip"];

/// HELLO, CONFIRM and SYNC with wrong tags.
///
/// # Errors
/// One is taken, or not counted.
pub fn forged_sessions(car: &mut Car) -> Result<String> {
    let names = [car.with_role(Role::Powertrain)?.0, car.with_role(Role::Chassis)?.0];
    let before = all(car)?;
    let mut tap = car.mesh_tap()?;
    let sent = car.block_on(forger::forge_sessions(&mut tap, car.genesis(), &names, ROUNDS))?;
    let after = count(car, &before, &sent, &["bad_tag"])?;
    for (at, rise) in rises(&before, &after) {
        let (counted, expected) = (rise.of("bad_tag"), sent.messages_to(at));
        ensure!(counted <= expected, "{}: bad_tag rose by {counted}, not {expected}", rise.name());
    }
    ensure_harmless(&before, &after)?;
    Ok(format!("{} frames: bad_tag rose by exactly what each validator received", sent.frames()))
}

/// Votes, proposals, grants and DECIDED of the current height with wrong tags.
///
/// # Errors
/// One is taken, or not counted.
pub fn forged_agreement(car: &mut Car) -> Result<String> {
    let names = [car.with_role(Role::Powertrain)?.0, car.with_role(Role::Chassis)?.0];
    let before = all(car)?;
    let mut tap = car.mesh_tap()?;
    let sent = car.block_on(forger::forge_agreement(&mut tap, car.genesis(), &names, ROUNDS))?;
    let after = count(car, &before, &sent, &["bad_tag", "stale", "held", "replayed", "segments"])?;
    ensure_harmless(&before, &after)?;
    Ok(format!("{} frames: all counted, nothing decided because of them", sent.frames()))
}

/// Recorded votes, byte for byte; then again after a reboot of one of the receivers.
///
/// # Errors
/// One is taken, or not counted.
pub fn replayed_votes(car: &mut Car) -> Result<String> {
    let names = [Role::Powertrain, Role::Chassis, Role::Adas, Role::Telematics];
    let names = names.into_iter().map(|role| Ok(car.with_role(role)?.0)).collect::<Result<Vec<_>>>()?;
    let recording = car.block_on(replayer::record(&mut car.mesh_tap()?, car.genesis(), &names, RECORDED))?;
    let before = all(car)?;
    let sent = car.block_on(replayer::replay(&mut car.mesh_tap()?, &recording))?;
    // the original of a vote that came late was never taken: then its copy is late, too
    let after = count(car, &before, &sent, &["replayed", "stale"])?;
    ensure_harmless(&before, &after)?;

    let (_, rebooted) = car.with_role(Role::Battery)?;
    car.kill(&rebooted)?;
    car.start(&rebooted)?;
    all_take_part(car)?;
    let before = all(car)?;
    let sent = car.block_on(replayer::replay(&mut car.mesh_tap()?, &recording))?;
    let after = count(car, &before, &sent, &["replayed", "stale", "bad_tag", "unknown"])?;
    ensure_harmless(&before, &after)?;
    Ok(format!("{} recorded votes counted as such by all, also after a reboot of {rebooted}", sent.frames()))
}

/// The identifiers of an ECU are abused: its owner sees it, the mesh agrees on an alarm, nobody is accused.
///
/// # Errors
/// No alarm, or more than that.
pub fn impersonated(car: &mut Car) -> Result<String> {
    let (victim, name) = car.with_role(Role::Battery)?;
    let before = all(car)?;
    let mut tap = car.mesh_tap()?;
    let (identifier, sent) = car.block_on(impersonator::impersonate(&mut tap, car.genesis(), victim, IMPERSONATED))?;
    let validators = car.validators();
    for (name, before) in validators.iter().zip(&before) {
        car.wait_for(&format!("the alarm at {name}"), PATIENCE, |car| {
            let new = car.status(name)?.decisions.into_iter().filter(|decision| decision.height > before.height);
            new.map(|decision| decision.kind).find(|kind| kind == "alarm").context("none was decided")
        })?;
    }
    let after = count(car, &before, &sent, &["bad_tag", "stale"])?;
    for name in &validators {
        car.wait_for(&format!("{name} trusting all others"), PATIENCE, |car| {
            let unheard: Vec<_> =
                car.status(name)?.peers.into_iter().filter(|peer| !peer.heard || !peer.confirmed).collect();
            ensure!(unheard.is_empty(), "it has turned away from {unheard:?}");
            Ok(())
        })?;
    }
    ensure_harmless(&before, &after)?;
    let recorded = |car: &Car| {
        let events = car.cloud().events()?;
        let alarm = events.iter().find(|event| {
            event.kind == "alarm"
                && event.detail.get("identifier").and_then(|id| id.as_str()) == Some(&format!("{identifier:x}"))
        });
        Ok(alarm
            .with_context(|| format!("no alarm about {identifier:03X} in the cloud's history"))?
            .attestation
            .clone())
    };
    let attestation = car.wait_for("the alarm in the cloud", PATIENCE, recorded)?;
    ensure!(attestation == "quorum", "the alarm is attested by {attestation}");
    Ok(format!(
        "{} frames on {identifier:03X} seen by {name}; alarm agreed on and archived, no ECU accused",
        sent.frames()
    ))
}

/// Two pictures of one validator.
struct Rise<'a> {
    before: &'a Status,
    after: &'a Status,
}

impl Rise<'_> {
    fn name(&self) -> &str {
        &self.after.name
    }

    /// By how much a counter of messages or frames has risen.
    fn of(&self, counter: &str) -> u64 {
        let count = |status: &Status| {
            let counters = if status.messages.contains_key(counter) { &status.messages } else { &status.frames };
            counters.get(counter).map_or(0, |count| *count)
        };
        count(self.after) - count(self.before)
    }
}

/// Waits until what was sent is counted: at each receiver in one of `counters`, and every frame by the owner of its
/// identifier as an impostor's. What the machine lost because it was too slow is counted as that, too.
fn count(car: &mut Car, before: &[Status], sent: &Sent, counters: &[&str]) -> Result<Vec<Status>> {
    car.wait_for("all frames counted", PATIENCE, |car| {
        let after: Vec<_> = car.validators().iter().map(|name| car.status(name)).collect::<Result<_>>()?;
        for (at, rise) in rises(before, &after) {
            let counted: u64 = counters.iter().map(|name| rise.of(name)).sum();
            let (impostors, lost) = (rise.of("impostor"), rise.of("overrun"));
            let (messages, frames) = (sent.messages_to(at), sent.frames_as(at));
            ensure!(counted + lost >= messages, "{}: {counted} messages in {counters:?} of {messages}", rise.name());
            ensure!(impostors + lost >= frames, "{}: {impostors} frames of an impostor of {frames}", rise.name());
            ensure!(
                impostors <= frames,
                "{}: {impostors} frames of an impostor, but only {frames} were sent",
                rise.name()
            );
        }
        Ok(after)
    })
}

fn rises<'a>(before: &'a [Status], after: &'a [Status]) -> impl Iterator<Item = (ValidatorIndex, Rise<'a>)> {
    (0..).zip(before.iter().zip(after).map(|(before, after)| Rise { before, after }))
}

/// Nothing was decided that only an order from outside may bring about.
fn ensure_harmless(before: &[Status], after: &[Status]) -> Result<()> {
    for (before, after) in before.iter().zip(after) {
        let mut new = after.decisions.iter().filter(|decision| decision.height > before.height);
        let false_one = new.find(|decision| !HARMLESS.contains(&decision.kind.as_str()));
        ensure!(false_one.is_none(), "{} has decided {false_one:?}", after.name);
    }
    Ok(())
}
