//! What the car's people and applications want: grants from the fleet, alarms, blocks of the gateway.

use device_chain::block::{BlockHeader, Finality};
use device_chain::grant::{Action, Grant, SignedGrant};
use device_chain::hash::Domain;
use device_chain::limits::MAX_RECORD_DATA;
use device_chain::tx::Transaction;
use device_chain::types::Hash;
use ecu_node::Input;
use sha2::{Digest, Sha256};

use crate::car::Car;
use crate::dice::Dice;

/// Serials from here on are of grants that the fleet has not signed.
const FORGED: u64 = 1 << 40;
/// From a grant to its use: it is passed on, and all have checked it.
const USE_AFTER_NS: u64 = 60_000_000;
/// From one block to the next.
const BLOCK_NS: u64 = 1_000_000_000;
/// The same when nobody wants anything any more: what had to wait for a block comes then, and another height may forestall it.
const CALM_BLOCK_NS: u64 = 100_000_000;
/// In the hands of the gateway.
const GATEWAY: u8 = 0;

/// Whether a grant with this serial was signed by nobody who may.
#[must_use]
pub const fn is_forged(serial: u64) -> bool {
    serial >= FORGED
}

/// How often somebody wants something.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Approvals a second.
    pub approvals: u64,
    /// Of 100 wishes: alarms, forged grants, used grants once more, records of endpoints. The rest are grants.
    pub odd: [u8; 4],
}

impl Rates {
    /// What a busy car does, and people who try things.
    pub const MIXED: Self = Self { approvals: 10, odd: [15, 3, 5, 12] };
    /// Grants only, for measuring.
    pub const STEADY: Self = Self { approvals: 10, odd: [0; 4] };
}

/// Wishes over time.
pub struct Workload {
    rates: Rates,
    dice: Dice,
    next_ns: u64,
    block_ns: u64,
    block_interval_ns: u64,
    serial: u64,
    /// Grants given: when to use them, where, and which.
    to_use: Vec<(u64, u8, SignedGrant)>,
    last_used: Option<(Transaction, SignedGrant)>,
}

impl Workload {
    /// Begins at `from_ns`.
    #[must_use]
    pub const fn new(rates: Rates, from_ns: u64, dice: Dice) -> Self {
        Self {
            rates,
            dice,
            next_ns: from_ns,
            block_ns: from_ns + BLOCK_NS,
            block_interval_ns: BLOCK_NS,
            serial: 0,
            to_use: Vec::new(),
            last_used: None,
        }
    }

    /// When something is due, ns.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        self.to_use.iter().map(|(due_ns, ..)| *due_ns).fold(self.next_ns.min(self.block_ns), u64::min)
    }

    /// Nobody wants anything any more; the gateway goes on closing blocks.
    pub fn calm(&mut self) {
        self.block_interval_ns = CALM_BLOCK_NS;
        self.next_ns = u64::MAX;
        self.to_use.clear();
    }

    /// Does what is due.
    pub fn act(&mut self, car: &mut Car) {
        let now_ns = car.now_ns();
        while let Some(due) = self.to_use.iter().position(|(due_ns, ..)| *due_ns <= now_ns) {
            let (_, at, signed) = self.to_use.remove(due);
            self.use_grant(car, at, &signed);
        }
        if self.block_ns <= now_ns {
            self.block_ns = now_ns + self.block_interval_ns;
            close_block(car);
        }
        if self.next_ns <= now_ns {
            let interval_ns = 1_000_000_000 / self.rates.approvals.max(1);
            self.next_ns = now_ns + interval_ns / 2 + self.dice.roll(interval_ns);
            self.wish(car);
        }
    }

    fn wish(&mut self, car: &mut Car) {
        let at = self.dice.roll(car.plan().validators.into()) as u8;
        let [alarms, forged, again, records] = self.rates.odd;
        if self.dice.percent(alarms) {
            car.give(at, Input::Submit(alarm(car, at, self.dice.roll(4) as usize)));
        } else if self.dice.percent(forged) {
            let grant = unsigned(car, FORGED + self.serial);
            let key = car.plan().endpoint_key(0); // anybody's, but not the fleet's
            car.give(at, Input::Grant(SignedGrant::sign(grant, &key)));
            self.serial += 1;
        } else if let (true, Some((used, signed))) = (self.dice.percent(again), self.last_used.clone()) {
            car.give(at, Input::Submit(used));
            self.give_grant(car, at, signed);
        } else if self.dice.percent(records) {
            let endpoint = self.dice.roll(car.endpoints.len() as u64) as u8;
            let data = (0..=self.dice.roll(MAX_RECORD_DATA as u64)).map(|_| self.dice.roll(256) as u8);
            car.sense(endpoint, data.take(MAX_RECORD_DATA).collect());
        } else {
            self.serial += 1;
            let signed = grant(car, self.serial);
            car.vouch(signed.clone());
            self.give_grant(car, at, signed);
        }
    }

    fn give_grant(&mut self, car: &mut Car, at: u8, signed: SignedGrant) {
        self.to_use.push((car.now_ns() + USE_AFTER_NS, at, signed.clone()));
        car.give(at, Input::Grant(signed));
    }

    fn use_grant(&mut self, car: &mut Car, at: u8, signed: &SignedGrant) {
        let Some(ecu) = car.ecu(at) else { return };
        if let Ok(tx) = ecu.validator().use_of(&signed.grant.digest()) {
            self.last_used = Some((tx.clone(), signed.clone()));
            car.give(at, Input::Submit(tx));
        }
    }
}

/// A grant of the fleet: to unlock, at any height.
#[must_use]
pub fn grant(car: &Car, serial: u64) -> SignedGrant {
    let grant = unsigned(car, serial);
    let signature = car.keyring.fleet.sign(Domain::Grant, &grant.digest());
    SignedGrant { grant, signature }
}

fn unsigned(car: &Car, serial: u64) -> Grant {
    let (mesh, holder) = (car.genesis.mesh(), Hash::NIL);
    Grant { mesh, issuer: 0, serial, action: Action::Unlock, holder, not_before: 1, not_after: u32::MAX }
}

/// Something that any validator may want decided: that an own identifier is abused.
#[must_use]
pub fn alarm(car: &Car, at: u8, class: usize) -> Transaction {
    let ids = car.genesis.validators[usize::from(at)].identifiers.all();
    Transaction::Alarm { identifier: ids[class % ids.len()], count: 3 }
}

/// The gateway closes a block if something is new beside the last one.
fn close_block(car: &mut Car) {
    let is_new = |car: &Car| {
        let state = car.ecu(GATEWAY)?.validator().state();
        Some(state.event().tree_size + 1 < state.height())
    };
    if let (Some(true), Some(block)) = (is_new(car), block(car)) {
        car.give(GATEWAY, Input::Submit(block));
    }
}

/// The block that the gateway would close now, over all that it knows to be decided.
#[must_use]
pub fn block(car: &Car) -> Option<Transaction> {
    let validator = car.ecu(GATEWAY)?.validator();
    let state = validator.state();
    let event = state.event();
    Some(Transaction::EventBlock(BlockHeader {
        number: event.number + 1,
        previous: event.hash,
        tree_size: state.height(),
        tree_root: state.tree().root(),
        // of no records: the root of the empty tree, RFC 9162, 2.1.1
        attested_root: Hash(Sha256::digest([]).into()),
        attested_count: 0,
        finality: Finality::Final,
        members: state.members(),
        time_ms: validator.time_to_give(),
    }))
}
