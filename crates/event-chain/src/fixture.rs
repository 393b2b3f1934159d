//! A small car for tests: a few validators whose decisions are simply made, without agreement.

use alloc::vec::Vec;

use device_chain::block::Seal;
use device_chain::genesis::{
    Authority, AuthorityEntry, EndpointEntry, Genesis, Identifiers, Identity, Policy, Role, SignedGenesis, Thresholds,
    ValidatorEntry, WIRE_VERSION,
};
use device_chain::grant::Grant;
use device_chain::mac::Suite;
use device_chain::registry::Registry;
use device_chain::sign::SigningKey;
use device_chain::state::State;
use device_chain::tx::Transaction;
use device_chain::types::{Hash, PublicKey, ValidatorIndex};

use crate::block::Block;
use crate::build::BlockBuilder;
use crate::codec::encode;
use crate::record::{AttestedRecord, RecordKind};

/// The time of the first block, milliseconds of Unix time.
pub const START_MS: u64 = 1_800_000_000_000;
/// What passes from block to block, milliseconds.
pub const STEP_MS: u64 = 1000;

const ROLES: [(&str, Role); 7] = [
    ("gateway", Role::Gateway),
    ("brakes", Role::Chassis),
    ("body", Role::Body),
    ("radio", Role::Telematics),
    ("engine", Role::Other),
    ("camera", Role::Other),
    ("battery", Role::Other),
];

/// A car.
pub struct Car {
    /// Signed the genesis.
    pub maker: SigningKey,
    /// Of the validators, in the order of the genesis.
    pub validators: Vec<SigningKey>,
    /// The genesis.
    pub genesis: Genesis,
    /// Who belongs to the car now.
    pub registry: Registry,
    /// After the last decision.
    pub state: State,
    /// The block being made.
    pub builder: BlockBuilder,
    /// The gateway's clock, milliseconds of Unix time.
    pub time_ms: u64,
}

impl Car {
    /// A car with the authorities of [`fleet_key`] and [`archive_key`].
    #[must_use]
    pub fn new(vehicle: &str) -> Self {
        Self::with_authorities(vehicle, fleet_key().public(), archive_key().public())
    }

    /// A car that takes grants of `fleet` and receipts of `archive`. Its own keys depend on nothing but their place.
    ///
    /// # Panics
    /// If the vehicle's name is longer than a genesis allows.
    #[must_use]
    pub fn with_authorities(vehicle: &str, fleet: PublicKey, archive: PublicKey) -> Self {
        Self::with_keys(vehicle, fleet, archive, 1)
    }

    /// Like [`Self::with_authorities`], with validator keys made from `seed` on.
    ///
    /// # Panics
    /// If the vehicle's name is longer than a genesis allows.
    #[must_use]
    pub fn with_keys(vehicle: &str, fleet: PublicKey, archive: PublicKey, seed: u8) -> Self {
        Self::with(vehicle, fleet, archive, seed, 4)
    }

    /// A car of seven.
    ///
    /// # Panics
    /// If the vehicle's name is longer than a genesis allows.
    #[must_use]
    pub fn of_seven(vehicle: &str) -> Self {
        Self::with(vehicle, fleet_key().public(), archive_key().public(), 1, ROLES.len())
    }

    fn with(vehicle: &str, fleet: PublicKey, archive: PublicKey, seed: u8, n: usize) -> Self {
        let validators: Vec<SigningKey> = (seed..).take(n).map(|seed| SigningKey::from_seed([seed; 32])).collect();
        let entries = ROLES.iter().zip(&validators).zip(0u32..).map(|((&(name, role), key), i)| ValidatorEntry {
            name: name.try_into().expect("short"),
            role,
            key: key.public(),
            firmware: Hash::NIL,
            identifiers: Identifiers { vote: 0x100 + i, propose: 0x200 + i, control: 0x300 + i, bulk: 0x400 + i },
        });
        let genesis = Genesis {
            version: WIRE_VERSION,
            suite: Suite::Cmac,
            vehicle: vehicle.try_into().expect("at most 24 bytes"),
            made_ms: START_MS,
            validators: entries.collect(),
            endpoints: heapless::Vec::from_iter([EndpointEntry {
                name: "door".try_into().expect("short"),
                identity: Identity::A(SigningKey::from_seed([seed + 100; 32]).public()),
                firmware: Hash::NIL,
                identifier: 0x500,
            }]),
            authorities: heapless::Vec::from_iter([
                AuthorityEntry { authority: Authority::Fleet, key: fleet },
                AuthorityEntry { authority: Authority::Archive, key: archive },
            ]),
            policy: Policy { phase_us: 50_000, heartbeat_us: 1_000_000, thresholds: Thresholds::ONE },
        };
        let registry = Registry::from(&genesis);
        let state = State::new(&registry);
        let builder = BlockBuilder::new(genesis.mesh());
        Self {
            maker: SigningKey::from_seed([99; 32]),
            validators,
            genesis,
            registry,
            state,
            builder,
            time_ms: START_MS,
        }
    }

    /// The signed genesis, as the maker gives it to the cloud.
    #[must_use]
    pub fn signed_genesis(&self) -> Vec<u8> {
        encode(&SignedGenesis::sign(self.genesis.clone(), &self.maker))
    }

    /// Decides, and returns the block that this closes.
    ///
    /// # Panics
    /// If the chain does not allow it.
    pub fn decide(&mut self, tx: &Transaction) -> Option<Block> {
        let bytes = tx.encode().expect("within MAX_TX");
        self.state.apply(&bytes, tx, &mut self.registry).expect("allowed");
        self.builder.decide(bytes).expect("room")
    }

    /// Decides the next record of the door.
    pub fn record(&mut self) {
        let sequence = self.state.sequence(0).unwrap_or_default() + 1;
        self.decide(&Transaction::Record { endpoint: 0, sequence, data: heapless::Vec::from_iter([1, 2, 3]) });
    }

    /// Decides the use of a grant.
    pub fn use_grant(&mut self, grant: &Grant) {
        self.decide(&Transaction::UseGrant(grant.usage()));
    }

    /// Attests a speed.
    ///
    /// # Panics
    /// If the block is full.
    pub fn attest(&mut self, value: f64) {
        let kind = RecordKind::Signal { name: "Speed.Vehicle".try_into().expect("short"), value };
        self.builder.attest(AttestedRecord { time_ms: self.time_ms, kind }).expect("room");
    }

    /// Closes the block, sealed by the first `seals` validators.
    ///
    /// # Panics
    /// If the chain does not allow it.
    pub fn close(&mut self, seals: usize) -> Block {
        let header = self.builder.header(&self.state, self.time_ms);
        self.time_ms += STEP_MS;
        let mut block = self.decide(&Transaction::EventBlock(header)).expect("closed");
        for validator in 0..seals {
            assert!(block.add_seal(self.seal(&block, validator as ValidatorIndex), &self.registry));
        }
        block
    }

    /// A validator's seal of a block.
    #[must_use]
    pub fn seal(&self, block: &Block, validator: ValidatorIndex) -> Seal {
        Seal::sign(validator, &self.validators[usize::from(validator)], &block.hash(&self.genesis.mesh()))
    }

    /// The next block: two records, one speed, sealed by a quorum.
    pub fn drive(&mut self) -> Block {
        self.record();
        self.record();
        self.attest(self.state.height().into());
        self.close(self.genesis.quorum().votes())
    }
}

/// The fleet's key.
#[must_use]
pub fn fleet_key() -> SigningKey {
    SigningKey::from_seed([90; 32])
}

/// The archive's key.
#[must_use]
pub fn archive_key() -> SigningKey {
    SigningKey::from_seed([91; 32])
}
