//! One ECU: all that it keeps in RAM, and what it does with an effect.

use can_bus::port::BusCommand;
use device_chain::hash::{Domain, hash};
use device_chain::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use device_chain::mac::{Key, Suite};
use device_chain::sign::SigningKey;
use device_chain::slot::Slot;
use device_chain::types::{Height, Micros, PublicKey, Signature, ValidatorIndex};
use device_chain::validator::{Boot, Report};
use ecu_node::store::{self, Store, Upkeep};
use ecu_node::{Ecu, Effect, Input};
use journal::Counter;

use crate::aside::aside;
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
pub struct Seen {
    pub decided_live: u32,
    pub seals: u32,
    pub caught_up: Option<Height>,
    pub readmitted: bool,
    pub grants: u32,
    pub rewritten: u32,
}

impl Seen {
    pub const NOTHING: Self =
        Self { decided_live: 0, seals: 0, caught_up: None, readmitted: false, grants: 0, rewritten: 0 };
}

impl Node {
    /// Without power.
    pub const fn off() -> Self {
        Self { ecu: Ecu::new(NO_KEYS), running: Slot::Empty }
    }

    /// Boots.
    pub fn boot(&mut self, me: ValidatorIndex, port: Port, nonce: u64, now: Micros) -> Option<()> {
        let store = self.open(me, port)?;
        self.ecu.validator_mut().start(Boot { nonce }, now);
        self.running = Slot::Full(Running { store, identity: signer(1, me) });
        Some(())
    }

    /// Genesis, keys, and the journal, which is made the first time, as provisioning does.
    #[inline(never)]
    fn open(&mut self, me: ValidatorIndex, mut port: Port) -> Option<Store<Port, Port>> {
        let validator = self.ecu.validator_mut();
        validator.read_genesis(&GENESIS, &MAKER).ok()?;
        let (registry, keys) = validator.keys_mut();
        keys.set_suite(registry.suite());
        load(keys);
        if port.value() == 0 {
            store::format::<_, Port>(&mut port, registry).ok()?;
        }
        for peer in (0..MAX_VALIDATORS as u8).filter(|peer| *peer != me) {
            let key = hash(Domain::PairKey, &[&[me.min(peer), me.max(peer)]]);
            keys.load_validator(peer, Key::new(key.0));
        }
        validator.take_place(me).ok()?;
        Some(self.ecu.recover(&mut || Ok((port, port))).ok()?.store)
    }

    /// Does what there is to do, but for what goes to the bus. `None` if the flash failed.
    pub fn work(&mut self, now: Micros, seen: &mut Seen, bus: &mut dyn FnMut(BusCommand)) -> Option<()> {
        loop {
            let mut answer = Input::Tick;
            if !self.carry_out(seen, bus, &mut answer)? {
                return self.keep(now, seen);
            }
            self.ecu.handle(now, answer);
        }
    }

    /// Carries out effects, until one has an answer: that needs the stack for itself. Whether there is one.
    #[inline(never)]
    fn carry_out(&mut self, seen: &mut Seen, bus: &mut dyn FnMut(BusCommand), answer: &mut Input) -> Option<bool> {
        let Running { store, identity } = self.running.get_mut()?;
        while let Some(effect) = self.ecu.poll() {
            *answer = match effect {
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
                    let mut signature = Signature::from_bytes(&[0; 64]);
                    aside(&mut || signature = identity.sign(Domain::Block, &digest));
                    Input::Signed(digest, signature)
                }
                Effect::CheckGrant(signed) => {
                    let mut genuine = false;
                    aside(&mut || genuine = signed.is_genuine(self.ecu.validator().registry()));
                    seen.grants += u32::from(genuine);
                    Input::GrantChecked(signed.grant.digest(), genuine)
                }
                Effect::CheckEndorsement(endorsement, key) => {
                    let (mut genuine, mesh) = (false, *self.ecu.validator().mesh());
                    aside(&mut || genuine = endorsement.is_genuine(&mesh, &key));
                    Input::EndorsementChecked(endorsement.signature, genuine)
                }
                Effect::Agree(_) | Effect::Draw | Effect::Keep => continue,
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
            return Some(true);
        }
        Some(false)
    }

    /// Looks after the journal.
    #[inline(never)]
    fn keep(&mut self, now: Micros, seen: &mut Seen) -> Option<()> {
        let Running { store, .. } = self.running.get_mut()?;
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
