//! The answer that a ride-hailing backend wants, from proof and nothing else: fresh final blocks. The gateway's own
//! claim, a fork and an alarm can only lower it.

use device_chain::block::Finality as Sealed;
use device_chain::entry::Standing;
use device_chain::keys::Device;
use device_chain::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use device_chain::registry::Registry;
use event_chain::block::Block;
use event_chain::receipt::SignedReceipt;
use event_chain::verify::check_seals;
use rusqlite::params;

use super::archive::{Archive, ArchiveError, BlockRow, Vehicle, find, newest_final, row};
use super::history;
use crate::wire::{Claim, Finality, Mode, Trust};

/// What is asked of a car.
#[derive(Clone, Copy, Debug)]
pub struct TrustPolicy {
    /// Age of the newest final block at most, milliseconds.
    pub max_age_ms: u64,
    /// How long an alarm counts, milliseconds.
    pub alarm_ms: u64,
}

impl Default for TrustPolicy {
    /// A minute, and ten.
    fn default() -> Self {
        Self { max_age_ms: 60_000, alarm_ms: 600_000 }
    }
}

/// The newest final block of a car.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Its number.
    pub number: u32,
    /// How many validators sealed it.
    pub seals: usize,
    /// The gateway's clock, milliseconds of Unix time.
    pub block_ms: u64,
    /// The archive's clock, milliseconds of Unix time.
    pub receipt_ms: u64,
}

/// All that is known of a car.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Validators in the genesis.
    pub validators: usize,
    /// The newest block; 0 if there is none.
    pub block: u32,
    /// Its height.
    pub height: u32,
    /// The newest final block.
    pub proof: Option<Proof>,
    /// The mode that the gateway claims.
    pub claim: Option<Mode>,
    /// Proven forks.
    pub forks: u32,
    /// When the last alarm was archived, milliseconds of Unix time.
    pub alarm_ms: Option<u64>,
    /// Devices that the chain's registry does not call trusted.
    pub standings: Vec<(Device, Standing)>,
    /// The car has reached the end of its life.
    pub ended: bool,
}

/// Judges. `now_ms` is Unix time.
#[must_use]
pub fn judge(evidence: &Evidence, policy: &TrustPolicy, now_ms: u64) -> Trust {
    // Of the two clocks the one that makes it older: neither can make it young. A receipt from the future says that our
    // own clock was set back: then nobody knows.
    let known = evidence.proof.as_ref().filter(|proof| proof.receipt_ms <= now_ms);
    let age_ms = known.map(|proof| now_ms.saturating_sub(proof.block_ms.min(proof.receipt_ms)));
    let fresh = age_ms.is_some_and(|age| age <= policy.max_age_ms);
    let mut against = doubts(evidence, policy, now_ms);
    match (&evidence.proof, age_ms) {
        (Some(proof), Some(age)) if !fresh => against.push(format!(
            "The newest final block, {}, is {} old; at most {} is allowed.",
            proof.number,
            seconds(age),
            seconds(policy.max_age_ms)
        )),
        (Some(proof), None) => {
            against.push(format!(
                "The archive's clock is behind its receipt for block {}: no age is known.",
                proof.number
            ));
        }
        (None, _) => against.push("No block of this car is final yet.".to_owned()),
        _ => {}
    }
    let claimed = evidence.claim.filter(|mode| *mode != Mode::Trusted);
    let mode = match claimed {
        Some(claimed) => claimed.name(),
        None if fresh => Mode::Trusted.name(),
        None => "unknown",
    };
    let trusted = against.is_empty();
    let why = if trusted { grounds(evidence, age_ms) } else { against };
    let newest_final = evidence.proof.as_ref().map(|proof| proof.number);
    let finality: Option<Finality> = (evidence.block > 0).then(|| history::finality(evidence.block, newest_final));
    Trust { trusted, mode: mode.to_owned(), finality, height: evidence.height, block: evidence.block, age_ms, why }
}

fn doubts(evidence: &Evidence, policy: &TrustPolicy, now_ms: u64) -> Vec<String> {
    let mut against = Vec::new();
    if evidence.ended {
        against.push("The car has reached the end of its life.".to_owned());
    }
    against.extend(evidence.standings.iter().filter_map(|(device, standing)| match standing {
        Standing::Trusted => None,
        Standing::Untrusted => Some(format!("{} runs firmware that is not the chain's.", name(*device))),
        Standing::Revoked => Some(format!("{} is revoked.", name(*device))),
    }));
    match evidence.claim {
        Some(Mode::Isolated) => against.push("The gateway says that it has no quorum.".to_owned()),
        Some(Mode::Degraded) => against.push("The gateway says that only a majority is there.".to_owned()),
        Some(Mode::Trusted) | None => {}
    }
    if evidence.proof.as_ref().is_some_and(|proof| proof.number < evidence.block) {
        against.push(format!("No quorum has sealed the newest block, {}.", evidence.block));
    }
    if evidence.forks > 0 {
        against.push(format!("The chain was forked; sealed proofs: {}.", evidence.forks));
    }
    let alarm_age = evidence.alarm_ms.map(|alarm| now_ms.saturating_sub(alarm)).filter(|age| *age <= policy.alarm_ms);
    if let Some(age) = alarm_age {
        against.push(format!("An alarm was archived {} ago.", seconds(age)));
    }
    against
}

fn grounds(evidence: &Evidence, age_ms: Option<u64>) -> Vec<String> {
    let (Some(proof), Some(age)) = (&evidence.proof, age_ms) else { return Vec::new() };
    let (number, seals, validators) = (proof.number, proof.seals, evidence.validators);
    vec![format!("Block {number} was sealed by {seals} of {validators} validators and is {} old.", seconds(age))]
}

fn name(device: Device) -> String {
    match device {
        Device::Validator(at) => format!("Validator {at}"),
        Device::Endpoint(at) => format!("Endpoint {at}"),
    }
}

/// The devices that `registry` does not call trusted, in the order of their places.
fn standings(registry: &Registry) -> Vec<(Device, Standing)> {
    let validators = (0..=u8::MAX).take(MAX_VALIDATORS).map(Device::Validator);
    let endpoints = (0..=u8::MAX).take(MAX_ENDPOINTS).map(Device::Endpoint);
    let standing = |device| Some((device, registry.entry(device)?.standing));
    validators.chain(endpoints).filter_map(standing).filter(|(_, standing)| *standing != Standing::Trusted).collect()
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

impl Archive {
    /// Whether `vehicle` can be trusted now. `now_ms` is Unix time.
    ///
    /// # Errors
    /// [`ArchiveError::UnknownVehicle`], or of the store.
    pub fn trust(&self, vehicle: &str, policy: &TrustPolicy, now_ms: u64) -> Result<Trust, ArchiveError> {
        let vehicle = find(&self.db, vehicle)?;
        Ok(judge(&self.evidence(&vehicle)?, policy, now_ms))
    }

    fn evidence(&self, vehicle: &Vehicle) -> Result<Evidence, ArchiveError> {
        let mesh = vehicle.mesh.0.0;
        let (alarm_ms, claim): (Option<u64>, Option<String>) =
            self.db.query_row("SELECT alarm_ms, claim FROM vehicle WHERE mesh = ?1", [mesh], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let forks = self.db.query_row("SELECT count(*) FROM conflict WHERE mesh = ?1", [mesh], |row| row.get(0))?;
        let newest = match newest_final(&self.db, &vehicle.mesh)? {
            Some(number) => row(&self.db, &vehicle.mesh, number)?,
            None => None,
        };
        Ok(Evidence {
            validators: vehicle.genesis.validators.len(),
            block: vehicle.verifier.head().number,
            height: vehicle.verifier.state().height(),
            proof: newest.map(|row| proof(&row, vehicle)).transpose()?,
            claim: claim.as_deref().and_then(Mode::from_name),
            forks,
            alarm_ms,
            standings: standings(vehicle.verifier.registry()),
            ended: vehicle.verifier.registry().vehicle().ended,
        })
    }

    /// Keeps the mode that the gateway claims. Saying the same again writes nothing.
    ///
    /// # Errors
    /// [`ArchiveError::UnknownVehicle`], or of the store.
    pub fn claim(&mut self, vehicle: &str, claim: &Claim) -> Result<(), ArchiveError> {
        let mesh = find(&self.db, vehicle)?.mesh;
        let change = "UPDATE vehicle SET claim = ?2 WHERE mesh = ?1 AND claim IS NOT ?2";
        self.db.execute(change, params![mesh.0.0, claim.mode.name()])?;
        Ok(())
    }
}

/// What a stored block proves. Seals and receipt are checked here: the store's word is not enough.
fn proof(row: &BlockRow, vehicle: &Vehicle) -> Result<Proof, ArchiveError> {
    let damaged = |what: &str| ArchiveError::Damaged(format!("{what} {}", row.number));
    let block = Block::decode(&row.bytes).map_err(|_| damaged("block"))?;
    let hash = block.hash(&vehicle.mesh);
    let receipt = SignedReceipt::open(&row.receipt, &vehicle.genesis).filter(|receipt| receipt.block == hash);
    let receipt = receipt.ok_or_else(|| damaged("receipt"))?;
    match check_seals(&block, vehicle.verifier.registry()) {
        Ok(Sealed::Final) => {}
        _ => return Err(damaged("seals of block")),
    }
    Ok(Proof {
        number: row.number,
        seals: block.counted_seals(),
        block_ms: block.header.time_ms,
        receipt_ms: receipt.time_ms,
    })
}
