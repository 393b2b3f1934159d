//! An endpoint of the car: a small ECU without a vote whose records the validators decide (DC-42).

use can_bus::Frame;
use device_chain::genesis::Genesis;
use device_chain::types::{Hash, Micros};
use ecu_node::endpoint::Endpoint;

use crate::attackers::two_faced_sensor::TwoFacedSensor;
use crate::ecu::LIARS_TOKENS;
use crate::keys::{Keyring, SharedKeys};

/// An endpoint, powered or not. Its clock shows virtual time.
pub struct SimEndpoint {
    /// Its place in the genesis.
    pub index: u8,
    pub(crate) station: usize,
    /// What it is in the hands of.
    pub liar: Option<TwoFacedSensor>,
    pub(crate) running: Option<Endpoint<SharedKeys>>,
    /// What it holds.
    pub keys: SharedKeys,
    /// Digest of what it runs.
    pub firmware: Hash,
    /// Durable.
    boots: u32,
    pub(crate) liars_token: u32,
    /// Frames at the controller: token and frame.
    pub(crate) at_controller: Vec<(u32, Frame)>,
}

impl SimEndpoint {
    /// An endpoint that is off.
    #[must_use]
    pub fn new(index: u8, station: usize, keyring: &Keyring) -> Self {
        let keys = SharedKeys::new(keyring.endpoint_store(index));
        Self {
            index,
            station,
            liar: None,
            running: None,
            keys,
            firmware: Hash::NIL,
            boots: 0,
            liars_token: LIARS_TOKENS,
            at_controller: Vec::new(),
        }
    }

    /// The pump, while it is powered.
    #[must_use]
    pub const fn pump(&self) -> Option<&Endpoint<SharedKeys>> {
        self.running.as_ref()
    }

    /// Powers it.
    ///
    /// # Panics
    /// The genesis has no such endpoint.
    pub(crate) fn boot(&mut self, genesis: &Genesis) {
        self.boots += 1;
        self.running = Some(
            Endpoint::new(genesis, self.index, self.keys.clone(), self.boots, &self.firmware).expect("in genesis"),
        );
    }

    /// When it has something to do next, ns.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.running.as_ref()?.deadline().map(|Micros(at)| at * 1000)
    }
}
