//! Grants: issued to a vehicle, handed to its gateway, and what became of them.

use device_chain::entry::Holder;
use device_chain::genesis::Authority;
use device_chain::grant::{Grant, SignedGrant};
use device_chain::registry::Registry;
use device_chain::sign::SigningKey;
use device_chain::types::Hash;
use event_chain::codec::encode;
use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};

use super::archive::{Archive, ArchiveError, find};
use crate::hex;
use crate::wire::{GrantAnswer, GrantOrder, GrantState};

/// Grants of one answer.
const PAGE: u32 = 64;
/// Expired grants are still handed out for an hour, so that the car's own refusal is on record.
const EXPIRED_MS: u64 = 3_600_000;

impl Archive {
    /// Issues a grant, signed by `fleet`. Its heights count from the last archived one. `now_ms` is Unix time.
    ///
    /// # Errors
    /// [`ArchiveError::UnknownVehicle`], [`ArchiveError::Order`], or of the store.
    pub fn issue(
        &mut self,
        vehicle: &str,
        order: &GrantOrder,
        fleet: &SigningKey,
        now_ms: u64,
    ) -> Result<GrantAnswer, ArchiveError> {
        let holder = hex::decode32(&order.holder)
            .ok_or_else(|| ArchiveError::Order("holder: 64 hexadecimal digits expected".to_owned()))?;
        let store = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let vehicle = find(&store, vehicle)?;
        let height = vehicle.verifier.state().height();
        let not_after = last_height(order, height)?;
        let mesh = vehicle.mesh.0.0;
        let serial: u64 =
            store.query_row("SELECT coalesce(max(serial), 0) + 1 FROM issued WHERE mesh = ?1", [mesh], |r| r.get(0))?;
        let grant = Grant {
            mesh: vehicle.mesh,
            issuer: issuer(vehicle.verifier.registry(), fleet)?,
            serial,
            action: order.action.into(),
            holder: Hash(holder),
            not_before: height.min(not_after),
            not_after,
        };
        let signed = SignedGrant::sign(grant, fleet);
        store.execute(
            "INSERT INTO issued (mesh, serial, digest, grant, issued_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![mesh, serial, signed.grant.digest().0, encode(&signed), now_ms],
        )?;
        store.commit()?;
        answer(&encode(&signed), None, height)
    }

    /// Grants of `vehicle` above serial `after` that no archived block uses, oldest first; expired ones only for an
    /// hour. At most 64.
    ///
    /// # Errors
    /// [`ArchiveError::UnknownVehicle`], or of the store.
    pub fn open_grants(&self, vehicle: &str, after: u64, now_ms: u64) -> Result<Vec<GrantAnswer>, ArchiveError> {
        let vehicle = find(&self.db, vehicle)?;
        let height = vehicle.verifier.state().height();
        let mut query = self.db.prepare_cached(
            "SELECT grant, used_height, issued_ms FROM issued
             WHERE mesh = ?1 AND serial > ?2 AND used_height IS NULL ORDER BY serial",
        )?;
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let mut rows = query.query(params![vehicle.mesh.0.0, after])?;
        let mut open = Vec::new();
        while let Some(row) = rows.next()? {
            let issued_ms: u64 = row.get(2)?;
            let grant = read(row, height)?;
            if grant.state == GrantState::Issued || now_ms.saturating_sub(issued_ms) < EXPIRED_MS {
                open.push(grant);
            }
            if open.len() == PAGE as usize {
                break;
            }
        }
        Ok(open)
    }

    /// What became of a grant.
    ///
    /// # Errors
    /// [`ArchiveError::UnknownVehicle`], [`ArchiveError::UnknownGrant`], or of the store.
    pub fn grant(&self, vehicle: &str, serial: u64) -> Result<GrantAnswer, ArchiveError> {
        let vehicle = find(&self.db, vehicle)?;
        let height = vehicle.verifier.state().height();
        let mut query =
            self.db.prepare_cached("SELECT grant, used_height FROM issued WHERE mesh = ?1 AND serial = ?2")?;
        let key = i64::try_from(serial).map_err(|_| ArchiveError::UnknownGrant(serial))?;
        let found = query.query_row(params![vehicle.mesh.0.0, key], |row| Ok(read(row, height))).optional()?;
        found.unwrap_or(Err(ArchiveError::UnknownGrant(serial)))
    }
}

/// The present place of this service's fleet key in the vehicle's registry: a grant is for what comes (DC-46).
fn issuer(registry: &Registry, fleet: &SigningKey) -> Result<u8, ArchiveError> {
    if registry.vehicle().ended {
        return Err(ArchiveError::Order("the vehicle has reached the end of its life".to_owned()));
    }
    let is_ours = |holder: &Holder| holder.is(Authority::Fleet) && holder.authority.key == fleet.public();
    let place = registry.holders().iter().position(is_ours);
    let foreign = || ArchiveError::Order("the fleet key of this service is not one of the vehicle's now".to_owned());
    place.map(|place| place as u8).ok_or_else(foreign)
}

/// The last height of an order. Below the archived height it is expired from birth, which tests want.
fn last_height(order: &GrantOrder, height: u32) -> Result<u32, ArchiveError> {
    match (order.valid_heights, order.not_after) {
        (Some(heights), None) => Ok(height.saturating_add(heights)),
        (None, Some(not_after)) => Ok(not_after),
        _ => Err(ArchiveError::Order("one of valid_heights and not_after is needed".to_owned())),
    }
}

fn read(row: &Row<'_>, height: u32) -> Result<GrantAnswer, ArchiveError> {
    let bytes: Vec<u8> = row.get(0)?;
    answer(&bytes, row.get(1)?, height)
}

fn answer(bytes: &[u8], used_height: Option<u32>, height: u32) -> Result<GrantAnswer, ArchiveError> {
    let signed: SignedGrant =
        device_chain::codec::decode(bytes).ok_or_else(|| ArchiveError::Damaged("a grant".to_owned()))?;
    let grant = &signed.grant;
    let state = match used_height {
        Some(_) => GrantState::Used,
        None if grant.not_after <= height => GrantState::Expired,
        None => GrantState::Issued,
    };
    Ok(GrantAnswer {
        serial: grant.serial,
        not_before: grant.not_before,
        not_after: grant.not_after,
        state,
        used_height,
        grant: hex::encode(bytes),
    })
}
