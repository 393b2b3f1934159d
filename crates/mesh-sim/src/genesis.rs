//! The genesis of a simulated car: keys from seeds, identifiers by the default plan.

use device_chain::genesis::{
    Authority, AuthorityEntry, EndpointEntry, Genesis, Identifiers, Identity, Policy, Role, Thresholds, ValidatorEntry,
    WIRE_VERSION,
};
use device_chain::hash::{Domain, hash};
use device_chain::mac::Suite;
use device_chain::sign::SigningKey;
use device_chain::types::{Hash, ValidatorIndex};
use journal::part::{Part, STM32G4};

use crate::signer::Signer;

const ROLES: [Role; 8] = [
    Role::Gateway,
    Role::Powertrain,
    Role::Chassis,
    Role::Adas,
    Role::Body,
    Role::Telematics,
    Role::Battery,
    Role::Other,
];

/// When every simulated car was made, milliseconds of Unix time: some day in 2026. Its virtual time begins then.
pub const MADE_MS: u64 = 1_790_000_000_000;

/// Whose key a seed is for.
const VALIDATOR: u8 = 1;
const ENDPOINT: u8 = 2;
const FLEET: u8 = 3;

/// What a simulated car is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Tells cars apart.
    pub seed: u8,
    /// 4 to 8.
    pub validators: u8,
    /// Endpoints.
    pub endpoints: u8,
    /// MAC.
    pub suite: Suite,
    /// Bound of one phase, µs.
    pub phase_us: u32,
    /// Interval of heartbeats, µs.
    pub heartbeat_us: u32,
    /// Bit per validator that sits on a second segment, behind the gateway's router; 0: there is one segment. The gateway
    /// itself, validator 0, sits on the first.
    pub far: u8,
    /// What the journals lie in.
    pub flash: Part,
    /// Whether the pairwise keys of validators move on (DC-23 to DC-25).
    pub keys_move: bool,
}

impl Default for Plan {
    /// Seven validators on one segment, with the flash of an STM32G4 and a door sensor; Δ for 500k/2M (W1 with U = 0.4), heartbeats every 100 ms.
    fn default() -> Self {
        Self {
            seed: 1,
            validators: 7,
            endpoints: 1,
            suite: Suite::Blake2s,
            phase_us: 7_700,
            heartbeat_us: 100_000,
            far: 0,
            flash: STM32G4,
            keys_move: false,
        }
    }
}

impl Plan {
    /// Identity of a validator.
    #[must_use]
    pub fn validator_key(&self, at: ValidatorIndex) -> SigningKey {
        self.key(VALIDATOR, at)
    }

    /// Identity of an endpoint.
    #[must_use]
    pub fn endpoint_key(&self, at: u8) -> SigningKey {
        self.key(ENDPOINT, at)
    }

    /// The fleet authority.
    #[must_use]
    pub fn fleet_key(&self) -> SigningKey {
        self.authority_key(0)
    }

    /// A key outside the car: 0 the fleet's, 1 and 2 the maker's, 3 the workshop's, 4 the owner's.
    #[must_use]
    pub fn authority_key(&self, at: u8) -> SigningKey {
        self.key(FLEET, at)
    }

    /// Digest of what a validator runs.
    #[must_use]
    pub fn firmware(&self, at: ValidatorIndex) -> Hash {
        hash(Domain::Firmware, &[&self.seed.to_le_bytes(), &[at]])
    }

    /// Bit per validator that sits on the first segment.
    #[must_use]
    pub fn near(&self) -> u8 {
        (0..self.validators).filter(|at| self.segment(*at) == 0).map(|at| 1 << at).sum()
    }

    /// How many segments there are.
    #[must_use]
    pub const fn segment_count(&self) -> usize {
        if self.far == 0 { 1 } else { 2 }
    }

    /// The segment of a validator.
    #[must_use]
    pub const fn segment(&self, at: ValidatorIndex) -> usize {
        (at > 0 && self.far >> at & 1 == 1) as usize
    }

    /// What signs for a validator, and for the fleet authority.
    pub(crate) fn signers(&self) -> (Vec<Signer>, Signer) {
        let signer = |use_of, at| Signer::from_seed(self.seed_of(use_of, at));
        ((0..self.validators).map(|at| signer(VALIDATOR, at)).collect(), signer(FLEET, 0))
    }

    fn key(&self, use_of: u8, at: u8) -> SigningKey {
        SigningKey::from_seed(self.seed_of(use_of, at))
    }

    fn seed_of(&self, use_of: u8, at: u8) -> [u8; 32] {
        let mut seed = [0x5a; 32];
        seed[..3].copy_from_slice(&[self.seed, use_of, at]);
        seed
    }

    /// The genesis.
    ///
    /// # Panics
    /// If the plan exceeds the limits of a genesis.
    #[must_use]
    pub fn genesis(&self) -> Genesis {
        let name = |text: String| text.as_str().try_into().expect("short");
        let validators = (0..self.validators).map(|at| {
            let id = u32::from(at);
            ValidatorEntry {
                name: name(format!("ecu-{at}")),
                role: ROLES[usize::from(at)],
                key: self.validator_key(at).public(),
                firmware: self.firmware(at),
                identifiers: Identifiers {
                    vote: 0x090 + id,
                    propose: 0x098 + id,
                    control: 0x0A0 + id,
                    bulk: 0x4E8 + id,
                },
            }
        });
        let endpoints = (0..self.endpoints).map(|at| EndpointEntry {
            name: name(format!("sensor-{at}")),
            identity: Identity::A(self.endpoint_key(at).public()),
            firmware: Hash::NIL,
            identifier: 0x5C0 + u32::from(at),
        });
        let roles = [Authority::Fleet, Authority::Maker, Authority::Maker, Authority::Workshop, Authority::Owner];
        let key = |at| self.authority_key(at).public();
        let authorities = (0..).zip(roles).map(|(at, authority)| AuthorityEntry { authority, key: key(at) });
        let genesis = Genesis {
            version: WIRE_VERSION,
            suite: self.suite,
            vehicle: name(format!("SIM-{}", self.seed)),
            made_ms: MADE_MS,
            validators: validators.collect(),
            endpoints: endpoints.collect(),
            authorities: authorities.collect(),
            policy: Policy {
                phase_us: self.phase_us,
                heartbeat_us: self.heartbeat_us,
                thresholds: Thresholds { maker: 2, workshop: 1, owner: 1 },
            },
        };
        genesis.check().expect("a plan within the limits");
        genesis
    }
}
