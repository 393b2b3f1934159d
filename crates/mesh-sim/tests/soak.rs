//! Random crashes, reboots, wipes and lost frames, from a seed; invariants checked from outside.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use can_bus::timing::BitTiming;
use device_chain::tx::Transaction;
use device_chain::types::Hash;
use device_chain::validator::Report;
use device_chain::wire::Header;
use ecu_node::Input;
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;

const SECOND_US: u64 = 1_000_000;
const N: u8 = 7;

/// xorshift64*: all that a schedule needs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % sides
    }
}

/// Something that any validator may want decided: an alarm about an own identifier, as after an impersonation.
fn alarm(car: &Car, at: u8) -> Transaction {
    let ids = car.genesis.validators[usize::from(at)].identifiers.all();
    Transaction::Alarm { identifier: ids[usize::from(at) % 4], count: 3 }
}

struct Soak {
    car: Car,
    dice: Dice,
    down: Vec<u8>,
    loss: Rc<Cell<u64>>,
}

impl Soak {
    fn new(seed: u64) -> Self {
        let mut car = Car::started(Plan::default(), BitTiming::FD_500K_2M);
        let loss = Rc::new(Cell::new(0));
        let (percent, mut dice) = (loss.clone(), Dice(seed * 2 + 1));
        car.bus.drop_when(move |_, _| dice.roll(100) < percent.get());
        car.run_for(SECOND_US / 2);
        Self { car, dice: Dice(seed.wrapping_mul(0x9E37_79B9) | 1), down: Vec::new(), loss }
    }

    fn event(&mut self) {
        let at = self.dice.roll(N.into()) as u8;
        match self.dice.roll(10) {
            0 if self.down.len() < 2 && !self.down.contains(&at) => {
                self.car.crash(at);
                self.down.push(at);
            }
            1 | 2 if !self.down.is_empty() => {
                let back = self.down.remove(0);
                // at most one at a time has lost its memory, and only while nobody else is down: within f
                if self.dice.roll(4) == 0 && self.down.is_empty() && self.amnesiacs() == 0 {
                    self.car.wipe(back);
                }
                self.car.boot(back);
            }
            3 => self.loss.set([0, 1, 5, 20][self.dice.roll(4) as usize]),
            _ => {
                let tx = alarm(&self.car, at);
                self.car.give(at, Input::Submit(tx));
            }
        }
        let pause = self.dice.roll(60_000);
        self.car.run_for(pause);
    }

    fn amnesiacs(&self) -> usize {
        (0..N).filter(|at| self.car.ecu(*at).is_some_and(|ecu| ecu.validator().is_amnesiac())).count()
    }

    /// The faults end: everybody comes back, and everybody gets to the same height.
    fn recover(&mut self) -> bool {
        self.loss.set(0);
        for at in std::mem::take(&mut self.down) {
            self.car.boot(at);
        }
        let end = self.car.now_us() + 20 * SECOND_US;
        self.car.run_for(3 * SECOND_US);
        self.car.run_until(end, |car| {
            let heads: Vec<_> =
                (0..N).filter_map(|at| car.ecu(at)).map(|ecu| *ecu.validator().state().head()).collect();
            let readmitted = (0..N).all(|at| car.ecu(at).is_some_and(|ecu| !ecu.validator().is_amnesiac()));
            readmitted && heads.len() == usize::from(N) && heads.iter().all(|head| *head == heads[0])
        })
    }
}

fn assert_agreement(car: &Car, seed: u64) {
    let mut known: BTreeMap<u32, Hash> = BTreeMap::new();
    for at in 0..N {
        for (height, hash) in car.chain(at) {
            assert_eq!(*known.entry(height).or_insert(hash), hash, "seed {seed}: ecu {at} at height {height}");
        }
    }
}

/// No honest ECU votes twice in one slot, whatever it lost: seen on the wire, where the hint names the value.
fn assert_one_vote_per_slot(car: &Car, seed: u64) {
    let mut slots = BTreeMap::new();
    for header in car.trace.iter().filter_map(|frame| Header::parse(frame.data())) {
        if let Some(kind) = header.kind.vote() {
            let slot = (header.sender, header.height, header.round, kind as u8);
            let first = *slots.entry(slot).or_insert((header.hint_proposer == 0xff, header.hint));
            assert_eq!(first, (header.hint_proposer == 0xff, header.hint), "seed {seed}: {slot:?} voted twice");
        }
    }
}

fn soak(seeds: std::ops::Range<u64>, events: usize) {
    for seed in seeds {
        let mut soak = Soak::new(seed);
        for _ in 0..events {
            soak.event();
        }
        let recovered = soak.recover();
        let car = &soak.car;
        assert_agreement(car, seed);
        assert_one_vote_per_slot(car, seed);
        let heights: Vec<_> = (0..N).filter_map(|at| car.ecu(at)).map(|ecu| ecu.validator().state().height()).collect();
        assert!(recovered, "seed {seed}: not together again after 20 s: {heights:?}");
        assert!(heights.iter().all(|height| *height > 0), "seed {seed}: something was decided");
        let accused =
            car.ecus.iter().flat_map(|ecu| &ecu.reports).any(|report| matches!(report, Report::Equivocation(_)));
        assert!(!accused, "seed {seed}: an honest ECU was accused");
    }
}

#[test]
fn faults_come_and_go_and_the_car_is_one_again() {
    let seeds = std::env::var("RINGFORT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    soak(1..1 + seeds, 120);
}
