//! The car on the bench: its genesis, and whose keys are where.

use std::sync::OnceLock;

use super::net::{GATEWAY, HEARTBEAT_US, PHASE_US};
use super::*;
use crate::genesis::Genesis;
use crate::genesis::{
    Authority, AuthorityEntry, EndpointEntry, Identifiers, Identity, Name, Policy, Role, Thresholds, ValidatorEntry,
    WIRE_VERSION,
};
use crate::hash::{Domain, hash};
use crate::keys::{Device, SoftKeys};
use crate::mac::{Key, Suite};
use crate::sign::SigningKey;
use crate::types::PublicKey;

/// When the car was made.
pub const MADE_MS: u64 = 1_790_000_000_000;

fn seed(kind: u8, at: usize) -> [u8; 32] {
    let mut seed = [kind; 32];
    seed[0] = at as u8;
    seed
}

pub fn signer(at: usize) -> SigningKey {
    SigningKey::from_seed(seed(1, at))
}

pub fn fleet() -> SigningKey {
    SigningKey::from_seed(seed(3, 0))
}

/// Keys outside the car, in the order of their places: the fleet's, two of the maker's, the workshop's, the owner's.
pub const FLEET: u8 = 0;
pub const MAKERS: [u8; 2] = [1, 2];
pub const WORKSHOP: u8 = 3;
pub const OWNER: u8 = 4;

pub fn authority(at: u8) -> SigningKey {
    if at == FLEET { fleet() } else { SigningKey::from_seed(seed(4, at.into())) }
}

/// What a validator runs.
pub fn firmware(at: usize) -> Hash {
    hash(Domain::Body, &[b"firmware", &[at as u8]])
}

pub fn pair_key(a: u8, b: u8) -> Key {
    Key::new(hash(Domain::PairKey, &[b"bench", &[a.min(b), a.max(b)]]).0)
}

/// The same of other devices at these places.
pub fn made_pair_key(a: u8, b: u8, devices: [u8; 2]) -> Key {
    Key::new(hash(Domain::PairKey, &[b"bench", &[a.min(b), a.max(b)], &devices]).0)
}

pub fn endpoint_key(validator: u8) -> Key {
    Key::new(hash(Domain::PairKey, &[b"endpoint", &[validator]]).0)
}

fn name(text: &str) -> Name {
    Name::try_from(text).expect("short")
}

/// A car with `n` validators, the first of them the gateway, one endpoint and one fleet authority.
pub fn genesis(n: usize, vehicle: &str) -> Genesis {
    static PUBLIC: OnceLock<StdVec<PublicKey>> = OnceLock::new();
    let public = PUBLIC.get_or_init(|| (0..8).map(|at| signer(at).public()).collect());
    let mut genesis = Genesis {
        version: WIRE_VERSION,
        suite: Suite::Cmac,
        vehicle: name(vehicle),
        made_ms: MADE_MS,
        validators: Vec::new(),
        endpoints: Vec::new(),
        authorities: Vec::new(),
        policy: Policy {
            phase_us: PHASE_US as u32,
            heartbeat_us: HEARTBEAT_US as u32,
            thresholds: Thresholds { maker: 2, workshop: 1, owner: 1 },
        },
    };
    for (at, key) in public.iter().enumerate().take(n) {
        let id = at as u32;
        let identifiers = Identifiers { vote: 0x10 + id, propose: 0x20 + id, control: 0x30 + id, bulk: 0x40 + id };
        let role = if at == usize::from(GATEWAY) { Role::Gateway } else { Role::Other };
        let firmware = firmware(at);
        let entry = ValidatorEntry { name: name(&std::format!("ecu{at}")), role, key: *key, firmware, identifiers };
        assert!(genesis.validators.push(entry).is_ok());
    }
    let door = EndpointEntry {
        name: name("door"),
        identity: Identity::A(SigningKey::from_seed(seed(2, 0)).public()),
        firmware: Hash::NIL,
        identifier: 0x50,
    };
    assert!(genesis.endpoints.push(door).is_ok());
    static OUTSIDE: OnceLock<StdVec<PublicKey>> = OnceLock::new();
    let outside = OUTSIDE.get_or_init(|| (0..5).map(|at| authority(at).public()).collect());
    let roles = [Authority::Fleet, Authority::Maker, Authority::Maker, Authority::Workshop, Authority::Owner];
    genesis
        .authorities
        .extend(roles.into_iter().zip(outside).map(|(authority, key)| AuthorityEntry { authority, key: *key }));
    genesis.check().expect("sound");
    genesis
}

pub fn keys(n: usize, me: u8) -> SoftKeys {
    let mut keys = SoftKeys::new(Suite::Cmac);
    for peer in (0..n as u8).filter(|peer| *peer != me) {
        assert!(keys.load(Device::Validator(peer), pair_key(me, peer)));
    }
    assert!(keys.load(Device::Endpoint(0), endpoint_key(me)));
    keys
}
