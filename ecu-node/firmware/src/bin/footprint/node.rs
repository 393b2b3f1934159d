//! One ECU: all that it keeps in RAM, and what it does with an effect.

use can_bus::port::BusCommand;
use device_chain::block::Seal;
use device_chain::hash::{Domain, hash};
use device_chain::limits::{MAX_ENDPOINTS, MAX_MESSAGE, MAX_VALIDATORS};
use device_chain::mac::Key;
use device_chain::registry::Registry;
use device_chain::sign::SigningKey;
use device_chain::types::{Height, Micros, PublicKey, ValidatorIndex};
use device_chain::validator::{Boot, Report, Validator};
use ecu_node::store::{self, Store, Upkeep};
use ecu_node::{Ecu, Effect, Input};
use static_cell::StaticCell;

use crate::memory::Port;

/// What lies in the mapped flash of every ECU.
const SIGNED: &[u8; include_bytes!(concat!(env!("OUT_DIR"), "/genesis.bin")).len()] =
    include_bytes!(concat!(env!("OUT_DIR"), "/genesis.bin"));
static GENESIS: [u8; SIGNED.len()] = *SIGNED;
static MAKER: PublicKey = PublicKey(*include_bytes!(concat!(env!("OUT_DIR"), "/maker.pub")));

#[cfg(feature = "mapped")]
mod endpoint_keys {
    use super::{Key, MAX_ENDPOINTS};

    static KEYS: [Key; MAX_ENDPOINTS] = [const { Key::new([0xe1; 32]) }; MAX_ENDPOINTS];
    pub type Keys = device_chain::keys::SoftKeys<&'static [Key]>;

    pub fn keys(suite: device_chain::mac::Suite) -> Keys {
        Keys::with_endpoints(suite, &KEYS)
    }
}
#[cfg(not(feature = "mapped"))]
mod endpoint_keys {
    use super::{Key, MAX_ENDPOINTS};
    use device_chain::keys::{Device, SoftKeys};

    pub type Keys = SoftKeys;

    pub fn keys(suite: device_chain::mac::Suite) -> Keys {
        let mut keys = Keys::new(suite);
        (0..MAX_ENDPOINTS as u8).for_each(|at| {
            keys.load(Device::Endpoint(at), Key::new([0xe1; 32]));
        });
        keys
    }
}
use endpoint_keys::{Keys, keys};

/// The key pair of a device, as the build makes it.
pub fn signer(kind: u8, at: u8) -> SigningKey {
    let mut seed = [kind; 32];
    seed[0] = at;
    SigningKey::from_seed(seed)
}

/// An ECU that has power.
pub struct Node {
    pub ecu: Ecu<Keys>,
    store: Store<Port, Port>,
    identity: SigningKey,
}

/// What happened that the scenario waits for.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    pub decided_live: u32,
    pub seals: u32,
    pub caught_up: Option<Height>,
    pub readmitted: bool,
    pub grants: u32,
    pub rewritten: u32,
}

/// A journal as provisioning makes it.
pub fn provision(mut port: Port) -> Option<()> {
    let registry = Registry::open(&GENESIS, &MAKER).ok()?;
    store::format::<_, Port>(&mut port, &registry).ok()
}

impl Node {
    /// Boots: genesis, journal, keys.
    #[inline(never)]
    pub fn boot(
        cell: &'static StaticCell<Self>,
        slot: &mut Option<&'static mut Self>,
        me: ValidatorIndex,
        port: Port,
        nonce: u64,
        now: Micros,
    ) -> Option<()> {
        let registry = Registry::open(&GENESIS, &MAKER).ok()?;
        let opened = store::open(&mut || Ok((port, port)), &registry).ok()?;
        let mut keys = keys(registry.suite());
        for peer in (0..MAX_VALIDATORS as u8).filter(|peer| *peer != me) {
            let key = hash(Domain::PairKey, &[&[me.min(peer), me.max(peer)]]);
            keys.load_validator(peer, Key::new(key.0));
        }
        let validator = Validator::new(registry, me, keys, &opened.recovered, Boot { nonce }, now).ok()?;
        let (ecu, store, identity) = (Ecu::new(validator), opened.store, signer(1, me));
        match slot {
            Some(again) => (again.ecu, again.store, again.identity) = (ecu, store, identity),
            None => *slot = Some(cell.init(Self { ecu, store, identity })),
        }
        Some(())
    }

    /// Does what there is to do, but for what goes to the bus. `None` if the flash failed.
    pub fn work(
        &mut self,
        now: Micros,
        buffer: &mut [u8; MAX_MESSAGE],
        seen: &mut Seen,
        mut bus: impl FnMut(BusCommand),
    ) -> Option<()> {
        while let Some(effect) = self.ecu.poll(buffer) {
            let answer = match effect {
                Effect::Bus(command) => {
                    bus(command);
                    continue;
                }
                Effect::Persist { token, kind, bytes } => {
                    self.store.append([(kind, bytes)]).ok()?;
                    Input::Persisted(token)
                }
                Effect::Decided(decision) => {
                    seen.decided_live += u32::from(decision.live);
                    continue;
                }
                Effect::Sign(digest) => {
                    let seal = Seal::sign(self.ecu.validator().index(), &self.identity, &digest);
                    Input::Signed(digest, seal.signature)
                }
                Effect::CheckGrant(signed) => {
                    let genuine = signed.is_genuine(self.ecu.validator().registry());
                    seen.grants += u32::from(genuine);
                    Input::GrantChecked(signed.grant.digest(), genuine)
                }
                Effect::Sealed(..) => {
                    seen.seals += 1;
                    continue;
                }
                Effect::Report(report) => {
                    match report {
                        Report::CaughtUp(height) => seen.caught_up = Some(height),
                        Report::Readmitted(_) => seen.readmitted = true,
                        _ => {}
                    }
                    continue;
                }
            };
            self.ecu.handle(now, answer);
        }
        match self.store.upkeep(self.ecu.is_quiet(now)) {
            Some(Upkeep::Prepare) => self.store.prepare().ok(),
            Some(Upkeep::Rewrite) => {
                seen.rewritten += 1;
                self.store.rewrite(|keep| self.ecu.validator().live_records(buffer, keep)).ok()
            }
            None => Some(()),
        }
    }
}
