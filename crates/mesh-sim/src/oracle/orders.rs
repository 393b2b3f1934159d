//! Who belongs to the car changes by orders that were really signed by those who may, once each (DC-46), and what a device is
//! said to run it has said (DC-47). The policy is written down here once more.

use std::collections::{BTreeMap, BTreeSet};

use device_chain::genesis::{Authority, Genesis, Thresholds};
use device_chain::keys::Device;
use device_chain::order::{Change, Order, Signer};
use device_chain::tx::Transaction;
use device_chain::types::{Hash, Height, PublicKey};

use super::{Invariant, World};
use crate::event::{Event, What};

/// A key outside the car, or nobody.
type Holder = (Authority, PublicKey);

/// What it remembers.
pub struct Orders {
    mesh: device_chain::types::MeshId,
    thresholds: Thresholds,
    holders: Vec<Holder>,
    devices: BTreeMap<Device, [u8; 32]>,
    /// Genuine signatures that were given to any ECU, by what they were under.
    signed: BTreeMap<Vec<u8>, BTreeSet<u8>>,
    used: BTreeSet<Vec<u8>>,
    measured: BTreeSet<(u8, [u8; 32])>,
    height: Height,
}

const NEWCOMER: u8 = 100;
const DEVICE: u8 = 101;

impl Orders {
    /// Before the first decision.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let validators = (0..).map(Device::Validator).zip(genesis.validators.iter().map(|entry| entry.key.0));
        let endpoints = (0..).map(Device::Endpoint).zip(genesis.endpoints.iter().map(|entry| *entry.identity.bytes()));
        Self {
            mesh: genesis.mesh(),
            thresholds: genesis.policy.thresholds,
            holders: genesis.authorities.iter().map(|entry| (entry.authority, entry.key)).collect(),
            devices: validators.chain(endpoints).collect(),
            signed: BTreeMap::new(),
            used: BTreeSet::new(),
            measured: BTreeSet::new(),
            height: 0,
        }
    }

    fn have(&self, by: &BTreeSet<u8>, role: Authority) -> bool {
        let of_role = (0..).zip(&self.holders).filter(|(_, holder)| holder.0 == role && holder.1.0 != [0; 32]);
        let places: Vec<u8> = of_role.map(|(at, _)| at).collect();
        let wanted = match role {
            Authority::Maker => self.thresholds.maker,
            Authority::Workshop => self.thresholds.workshop,
            Authority::Owner => self.thresholds.owner,
            _ => 1,
        };
        let signed = places.iter().filter(|at| by.contains(at)).count();
        signed > 0 && signed >= usize::from(wanted).min(places.len())
    }

    fn may(&self, order: &Order, by: &BTreeSet<u8>) -> bool {
        let [maker, workshop, owner] =
            [Authority::Maker, Authority::Workshop, Authority::Owner].map(|of| self.have(by, of));
        let comes = by.contains(&NEWCOMER) || order.change.newcomer().is_none();
        match order.change {
            Change::Provision { device: Device::Validator(_), .. }
            | Change::Replace { device: Device::Validator(_), .. } => maker && workshop && comes,
            Change::Provision { .. } | Change::Replace { .. } => (maker || owner) && workshop && comes,
            Change::Update { .. } => maker,
            Change::Rotate { .. } => by.contains(&DEVICE) && comes,
            Change::Revoke { .. } => maker || workshop && owner,
            Change::Authority { role, key, .. } => {
                let by_role = if role == Authority::Fleet { owner } else { maker };
                by_role && (comes || key.0 == [0; 32])
            }
            Change::Transfer { .. } => owner && comes,
            Change::Reset => owner,
            Change::EndOfLife => owner && (maker || workshop),
        }
    }

    fn come(&mut self, device: Device, identity: [u8; 32]) -> Result<(), String> {
        if self.devices.values().any(|known| *known == identity) {
            return Err(format!("{device:?} comes with a key that the car has had"));
        }
        self.devices.insert(device, identity);
        Ok(())
    }

    fn judge(&mut self, order: &Order) -> Result<(), String> {
        let bytes = bytes_of(order);
        let nobody = BTreeSet::new();
        if !self.may(order, self.signed.get(&bytes).unwrap_or(&nobody)) {
            return Err(format!("{} is decided without the signatures that it needs", order.change.name()));
        }
        if !self.used.insert(bytes) {
            return Err(format!("an order is used twice: {}", order.change.name()));
        }
        match order.change {
            Change::Provision { device, identity, .. } | Change::Replace { device, identity, .. } => {
                return self.come(device, *identity.bytes());
            }
            Change::Rotate { device, key } => return self.come(device, key.0),
            Change::Authority { at, role, key } => {
                self.holders.resize(self.holders.len().max(usize::from(at) + 1), (role, PublicKey([0; 32])));
                self.holders[usize::from(at)] = (role, key);
            }
            Change::Transfer { owner } => {
                self.holders
                    .iter_mut()
                    .filter(|holder| holder.0 == Authority::Owner)
                    .for_each(|holder| holder.1 = owner);
            }
            _ => {}
        }
        Ok(())
    }
}

fn bytes_of(order: &Order) -> Vec<u8> {
    Transaction::Change(*order).encode().map(|bytes| bytes.to_vec()).unwrap_or_default()
}

impl Invariant for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        match &event.what {
            What::Endorsed { endorsement, .. } => {
                let order = endorsement.order;
                let (place, key) = match endorsement.signer {
                    Signer::Authority(at) => (at, self.holders.get(usize::from(at)).map(|holder| holder.1)),
                    Signer::Newcomer => (NEWCOMER, order.change.newcomer()),
                    Signer::Device => (
                        DEVICE,
                        order.change.device().and_then(|device| self.devices.get(&device)).map(|key| PublicKey(*key)),
                    ),
                };
                if key.is_some_and(|key| endorsement.is_genuine(&self.mesh, &key)) {
                    self.signed.entry(bytes_of(&order)).or_default().insert(place);
                }
            }
            What::Measured { ecu, firmware } => {
                self.measured.insert((*ecu, firmware.0));
            }
            What::Decided { ecu, decision } if world.is_honest(*ecu) && decision.height > self.height => {
                self.height = decision.height;
                match &decision.tx {
                    Transaction::Change(order) => return self.judge(order),
                    Transaction::Firmware { device: Device::Validator(at), firmware: Hash(firmware) }
                        if world.is_honest(*at) && !self.measured.contains(&(*at, *firmware)) =>
                    {
                        return Err(format!("ecu{at} is said to run what it does not"));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }
}
