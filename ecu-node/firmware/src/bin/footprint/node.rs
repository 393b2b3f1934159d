//! One ECU: all that it keeps in RAM, and what it does with an effect.

use can_bus::port::BusCommand;
use device_chain::block::Seal;
use device_chain::hash::{Domain, hash};
use device_chain::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use device_chain::mac::{Key, Suite};
use device_chain::registry::Registry;
use device_chain::sign::SigningKey;
use device_chain::slot::Slot;
use device_chain::types::{Height, Micros, PublicKey, ValidatorIndex};
use device_chain::validator::{Boot, Report};
use ecu_node::store::{self, Store, Upkeep};
use ecu_node::{Ecu, Effect, Input};

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
    pub type Keys = device_chain::keys::SoftKeys<Option<&'static [Key]>>;

    pub const NO_KEYS: Keys = Keys::with_endpoints(super::Suite::Cmac, None);

    pub fn load(keys: &mut Keys) {
        keys.set_endpoints(Some(&KEYS));
    }
}
#[cfg(not(feature = "mapped"))]
mod endpoint_keys {
    use super::{Key, MAX_ENDPOINTS};
    use device_chain::keys::{Device, SoftKeys};

    pub type Keys = SoftKeys;

    pub const NO_KEYS: Keys = Keys::new(super::Suite::Cmac);

    pub fn load(keys: &mut Keys) {
        (0..MAX_ENDPOINTS as u8).for_each(|at| {
            keys.load(Device::Endpoint(at), Key::new([0xe1; 32]));
        });
    }
}
use endpoint_keys::{Keys, NO_KEYS, load};

/// The key pair of a device, as the build makes it.
pub fn signer(kind: u8, at: u8) -> SigningKey {
    let mut seed = [kind; 32];
    seed[0] = at;
    SigningKey::from_seed(seed)
}

/// An ECU: what it has in RAM, and what it is while it has power.
pub struct Node {
    pub ecu: Ecu<Keys>,
    running: Slot<Running>,
}

struct Running {
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
#[inline(never)] // not on the stack of what is measured
pub fn provision(mut port: Port) -> Option<()> {
    let registry = Registry::open(&GENESIS, &MAKER).ok()?;
    store::format::<_, Port>(&mut port, &registry).ok()
}

impl Node {
    /// Without power.
    pub const OFF: Self = Self { ecu: Ecu::new(NO_KEYS), running: Slot::Empty };

    /// Boots: genesis, keys, journal.
    #[inline(never)]
    pub fn boot(&mut self, me: ValidatorIndex, port: Port, nonce: u64, now: Micros) -> Option<()> {
        let validator = self.ecu.validator_mut();
        validator.read_genesis(&GENESIS, &MAKER).ok()?;
        let (registry, keys) = validator.keys_mut();
        keys.set_suite(registry.suite());
        load(keys);
        for peer in (0..MAX_VALIDATORS as u8).filter(|peer| *peer != me) {
            let key = hash(Domain::PairKey, &[&[me.min(peer), me.max(peer)]]);
            keys.load_validator(peer, Key::new(key.0));
        }
        validator.take_place(me).ok()?;
        let store = self.ecu.recover(&mut || Ok((port, port))).ok()?.store;
        self.ecu.validator_mut().start(Boot { nonce }, now);
        self.running = Slot::Full(Running { store, identity: signer(1, me) });
        Some(())
    }

    /// Does what there is to do, but for what goes to the bus. `None` if the flash failed.
    pub fn work(&mut self, now: Micros, seen: &mut Seen, mut bus: impl FnMut(BusCommand)) -> Option<()> {
        let Running { store, identity } = self.running.get_mut()?;
        while let Some(effect) = self.ecu.poll() {
            let answer = match effect {
                Effect::Bus(command) => {
                    bus(command);
                    continue;
                }
                Effect::Persist { token, kind, bytes } => {
                    store.append([(kind, bytes)]).ok()?;
                    Input::Persisted(token)
                }
                Effect::Decided(decision) => {
                    seen.decided_live += u32::from(decision.live);
                    continue;
                }
                Effect::Sign(digest) => {
                    let seal = Seal::sign(self.ecu.validator().index(), identity, &digest);
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
        match store.upkeep(self.ecu.is_quiet(now)) {
            Some(Upkeep::Prepare) => store.prepare().ok(),
            Some(Upkeep::Rewrite) => {
                seen.rewritten += 1;
                store.rewrite(|keep| self.ecu.live_records(keep)).ok()
            }
            None => Some(()),
        }
    }
}
