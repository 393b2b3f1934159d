//! A ride: grants open the door, and whatever is wrong with a grant does not.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cloud_link::wire::Action;
use device_chain::genesis::{Authority, Role};
use device_chain::grant::{Grant, SignedGrant};
use device_chain::types::{Hash, Height, MeshId};
use ecu_node::linux::keyfile;
use vehicle_gateway::grants::GrantState;

use super::ignition::all_take_part;
use super::{PATIENCE, all, gateway};
use crate::attack::lying_gateway::LyingGateway;
use crate::car::Car;
use crate::cloud::{GrantInjector, signed_grant};

/// How long to watch that nothing happens: several times what an approval takes.
const NOTHING_HAPPENS: Duration = Duration::from_millis(1000);

/// The cloud's grant opens the door, and the next one locks it.
///
/// # Errors
/// It does not.
pub fn door_opens(car: &mut Car) -> Result<String> {
    let (_, latency_us) = approve(car, Action::Unlock)?;
    let (_, body) = car.with_role(Role::Body)?;
    approve(car, Action::Lock)?;
    Ok(format!("{body} opened it {latency_us} us after the mesh was asked, and locked it on the next grant"))
}

/// What many approvals cost.
///
/// # Errors
/// One is not made.
pub fn latency(car: &mut Car, count: usize) -> Result<String> {
    let before = all(car)?;
    let mut latencies = Vec::new();
    for turn in 0..count {
        let action = if turn % 2 == 0 { Action::Unlock } else { Action::Lock };
        latencies.push(approve(car, action)?.1);
    }
    if count % 2 == 1 {
        approve(car, Action::Lock)?;
    }
    let after = all(car)?;
    let frames: u64 =
        before.iter().zip(&after).map(|(before, after)| agreement_frames(after) - agreement_frames(before)).sum();
    let decisions = after.iter().zip(&before).map(|(after, before)| after.height - before.height).max().unwrap_or(0);
    latencies.sort_unstable();
    let (median, worst) = (latencies[count / 2], latencies[count - 1]);
    let frames = frames as f64 / f64::from(decisions.max(1));
    Ok(format!("{count} approvals: median {median} us, worst {worst} us, {frames:.1} frames per approval"))
}

/// Frames of proposals and votes that a validator has sent.
fn agreement_frames(status: &ecu_node::linux::status::Status) -> u64 {
    ["sent_votes", "sent_proposals"].iter().filter_map(|name| status.frames.get(*name)).sum::<u64>()
}

/// Has the cloud issue a grant and the mesh approve it; returns the grant, and the microseconds from the gateway's
/// request to the decision.
///
/// # Errors
/// The door does not move.
pub fn approve(car: &mut Car, action: Action) -> Result<(SignedGrant, u64)> {
    let answer = car.cloud().issue(action)?;
    let signed = signed_grant(&answer)?;
    let digest = signed.grant.digest().to_string();
    let latency_us = car.wait_for("the use of a grant", PATIENCE, |car| {
        let grant = gateway(car)?.grants.into_iter().find(|grant| grant.digest == digest);
        match grant.context("the gateway has not got it")?.state {
            GrantState::Used { latency_us, .. } => latency_us.context("no latency"),
            other => bail!("{other:?}"),
        }
    })?;
    let expected = match action {
        Action::Unlock => "unlocked",
        Action::Lock => "locked",
    };
    car.wait_for(&format!("the door {expected}"), PATIENCE, |car| {
        let door = door(car)?;
        ensure!(door == expected, "it is {door}");
        Ok(())
    })?;
    Ok((signed, latency_us))
}

/// A gateway in the hands of an attacker, with all its keys, says that a grant was approved.
///
/// # Errors
/// The door opens.
pub fn lying_gateway(car: &mut Car) -> Result<String> {
    let (used, _) = approve(car, Action::Unlock)?;
    approve(car, Action::Lock)?;
    let before = Door::watch(car)?;
    let (_, name) = car.with_role(Role::Gateway)?;
    let status = car.status(&name)?;
    car.stop(&name)?;
    let keys = keyfile::open(&car.paths(&name), car.genesis())?;
    let tap = car.mesh_tap()?;
    let told = car.block_on(async {
        let mut liar = LyingGateway::join(tap, car.genesis(), keys, status.boot, status.height).await?;
        liar.approve_forged_grant().await?;
        liar.stay_honest_for(NOTHING_HAPPENS).await?;
        liar.approve(&used).await?;
        liar.stay_honest_for(NOTHING_HAPPENS).await?;
        anyhow::Ok(liar.lies())
    })?;
    before.ensure_unmoved(car)?;
    car.start(&name)?;
    all_take_part(car)?;
    before.ensure_unmoved(car)?;
    Ok(format!("{told} lies with genuine tags about a forged and a used grant: the door stayed locked"))
}

/// A grant that was used is handed out again, also after a reboot of the gateway.
///
/// # Errors
/// The door opens.
pub fn replayed_grant(car: &mut Car) -> Result<String> {
    let (used, _) = approve(car, Action::Unlock)?;
    approve(car, Action::Lock)?;
    let before = Door::watch(car)?;
    let (_, name) = car.with_role(Role::Gateway)?;
    for reboot in [false, true] {
        let injector = GrantInjector::start(car.runtime(), [used.clone()])?;
        car.divert_link(injector.address());
        if reboot {
            car.stop(&name)?;
            car.start(&name)?;
        }
        car.wait_for("the gateway fetching the grant again", PATIENCE, |_| injector.all_fetched())?;
        all_take_part(car)?;
        sleep(NOTHING_HAPPENS);
        before.ensure_unmoved(car)?;
    }
    car.join_link();
    Ok("fetched twice more, before and after a reboot of the gateway: the door stayed locked".into())
}

/// A grant whose last height has passed.
///
/// # Errors
/// The door opens.
pub fn expired_grant(car: &mut Car) -> Result<String> {
    let (_, name) = car.with_role(Role::Gateway)?;
    let height = car.status(&name)?.height;
    let mesh = car.genesis().mesh();
    let signed = issue(car, mesh, height - 1)?;
    Ok(format!("refused: {}", refusal(car, signed)?))
}

/// A grant for another car of the same fleet.
///
/// # Errors
/// The door opens.
pub fn foreign_grant(car: &mut Car) -> Result<String> {
    let signed = issue(car, MeshId(Hash([0xca; 32])), Height::MAX)?;
    Ok(format!("refused: {}", refusal(car, signed)?))
}

/// Signs a grant with the fleet's own key.
fn issue(car: &mut Car, mesh: MeshId, not_after: Height) -> Result<SignedGrant> {
    let fleet = car.cloud().keys()?.fleet;
    let issuer = car.genesis().authorities.iter().position(|entry| entry.authority == Authority::Fleet);
    let grant = Grant {
        mesh,
        issuer: issuer.context("no fleet authority")? as u8,
        serial: u64::MAX,
        action: Action::Unlock.into(),
        holder: Hash::NIL,
        not_before: 0,
        not_after,
    };
    Ok(SignedGrant::sign(grant, &fleet))
}

/// Hands a grant to the gateway; returns why it is refused.
fn refusal(car: &mut Car, signed: SignedGrant) -> Result<String> {
    let before = Door::watch(car)?;
    let digest = signed.grant.digest().to_string();
    let injector = GrantInjector::start(car.runtime(), [signed])?;
    car.divert_link(injector.address());
    let reason = car.wait_for("a refusal", PATIENCE, |car| {
        let grant = gateway(car)?.grants.into_iter().find(|grant| grant.digest == digest);
        match grant.context("the gateway has not got the grant")?.state {
            GrantState::Refused { reason } => Ok(reason),
            other => bail!("{other:?}"),
        }
    })?;
    sleep(NOTHING_HAPPENS);
    car.join_link();
    before.ensure_unmoved(car)?;
    Ok(reason)
}

/// The position of the door.
fn door(car: &Car) -> Result<String> {
    let (_, body) = car.with_role(Role::Body)?;
    car.status(&body)?.door.context("the body ECU has no door")
}

/// The door, locked, and how often it has moved.
struct Door {
    moves: usize,
}

impl Door {
    fn watch(car: &Car) -> Result<Self> {
        let door = door(car)?;
        ensure!(door == "locked", "the door is {door} already");
        Ok(Self { moves: Self::moves(car)? })
    }

    fn ensure_unmoved(&self, car: &Car) -> Result<()> {
        let (door, moves) = (door(car)?, Self::moves(car)?);
        ensure!(
            door == "locked" && moves == self.moves,
            "the door is {door} after {moves} moves instead of {}",
            self.moves
        );
        Ok(())
    }

    /// Lines of what the body ECU has written down before it moved the door.
    fn moves(car: &Car) -> Result<usize> {
        let (_, body) = car.with_role(Role::Body)?;
        let log = fs::read_to_string(car.paths(&body).state.join("actions.log"))?;
        Ok(log.lines().count())
    }
}
