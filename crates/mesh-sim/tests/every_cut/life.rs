//! A car's life, as somebody sees it who looks at the flash of one ECU after every step.

use std::collections::BTreeMap;

use can_bus::timing::BitTiming;
use device_chain::types::{Hash, Height, Round};
use device_chain::wire::{Header, Kind, NIL_PROPOSER};
use ecu_node::Input;
use journal::part::{Part, STM32G4};
use journal::{Counter, Geometry, MemFlash, Operation};
use mesh_sim::car::Car;
use mesh_sim::event::{Event, Station, What};
use mesh_sim::genesis::Plan;
use mesh_sim::workload::{alarm, grant};

use super::common::{GATEWAY, SECOND_US, next_block};

/// Validators, of which three are a quorum.
pub const N: u8 = 4;
/// The one that is looked at.
pub const WATCHED: u8 = 1;
/// Small, so that its banks change often: a bank has room for a few heights above what is left when it is rewritten.
const FLASH: Part = Part { geometry: Geometry { erase_size: 2048, write_size: 8, capacity: 48 * 1024 }, ..STM32G4 };

/// The car.
pub fn plan() -> Plan {
    Plan { validators: N, flash: FLASH, ..Plan::default() }
}

/// Height, round and kind of vote.
pub type Slot = (Height, Round, u8);

/// What the watched ECU has let others know.
#[derive(Default)]
pub struct Said {
    /// Its votes: what for, as the wire tells; nothing for nil.
    pub votes: BTreeMap<Slot, Option<u16>>,
    /// The highest number of a boot.
    pub boot: u32,
    /// The highest height that it has acted on or called decided.
    pub decided: Height,
}

impl Said {
    /// Takes what the watched ECU does.
    ///
    /// # Panics
    /// A vote contradicts an earlier one.
    pub fn hear(&mut self, event: &Event) {
        match &event.what {
            What::Frame { sender: Station::Ecu(WATCHED), frame, .. } => {
                let Some(header) = Header::parse(frame.data()) else { return };
                match header.kind {
                    Kind::Hello => self.boot = self.boot.max(header.height),
                    Kind::Decided => self.decided = self.decided.max(header.height),
                    kind if kind.vote().is_some() => {
                        let (slot, value) = ((header.height, header.round, kind as u8), value(&header));
                        assert_eq!(*self.votes.entry(slot).or_insert(value), value, "{slot:?} voted twice");
                    }
                    _ => {}
                }
            }
            What::Decided { ecu: WATCHED, decision } => self.decided = self.decided.max(decision.height),
            _ => {}
        }
    }
}

fn value(header: &Header) -> Option<u16> {
    (header.hint_proposer != NIL_PROPOSER).then_some(header.hint)
}

/// What the flash of the watched ECU did in one go, and the world around it.
pub struct Job<'a> {
    /// The flash before.
    pub before: &'a MemFlash,
    /// What was done to it, in order.
    pub operations: &'a [Operation],
    /// The counter before and after; it is raised at the end.
    pub counter: [u64; 2],
    /// What was said before.
    pub said: &'a Said,
    /// What was decided before by anybody.
    pub chain: &'a BTreeMap<Height, Hash>,
    /// Flash and counter of every ECU, after it.
    pub images: Vec<(Vec<u8>, u64)>,
}

/// A car whose flash is watched.
pub struct Life<'a> {
    pub car: Car,
    said: Said,
    chain: BTreeMap<Height, Hash>,
    flash: MemFlash,
    counter: u64,
    serial: u64,
    on_job: &'a mut dyn FnMut(&Job<'_>),
}

impl<'a> Life<'a> {
    /// Provisioned, all off.
    pub fn new(on_job: &'a mut dyn FnMut(&Job<'_>)) -> Self {
        let car = Car::new(plan(), BitTiming::FD_500K_2M);
        let flash = car.ecus[usize::from(WATCHED)].flash.clone();
        flash.0.borrow_mut().watch();
        let flash = flash.0.borrow().clone();
        Self { car, said: Said::default(), chain: BTreeMap::new(), flash, counter: 0, serial: 0, on_job }
    }

    /// Everything that an ECU does to its flash: boots, ignition, approvals in the first round and in later ones, blocks, banks
    /// that change, catching up by decisions and by a state, amnesia and readmission.
    pub fn live(&mut self) {
        (0..N).for_each(|at| self.boot(at));
        self.run_for(SECOND_US / 2);
        self.approve(3);
        self.agree_in_a_later_round(0);
        self.power_off(WATCHED);
        self.approve(2);
        self.boot(WATCHED);
        self.run_for(SECOND_US / 2);
        self.approve_until_the_banks_change();
        self.approve_until_the_banks_change(); // back to the one that has to be erased for it
        self.power_off(WATCHED);
        self.approve(140); // more than others can repeat to it
        self.boot(WATCHED);
        self.run_for(10 * SECOND_US);
        self.agree_in_a_later_round(1);
        self.power_off(WATCHED);
        self.car.wipe(WATCHED);
        self.said.boot = 0; // it counts anew
        self.boot(WATCHED);
        self.run_for(3 * SECOND_US);
        assert!(self.car.ecu(WATCHED).is_some_and(|ecu| ecu.validator().may_vote()), "readmitted");
        self.approve_until_the_banks_change();
    }

    fn approve_until_the_banks_change(&mut self) {
        let rewrites = |car: &Car| car.journal(WATCHED).expect("powered").jobs().rewrites;
        let before = rewrites(&self.car);
        for _ in 0..100 {
            if rewrites(&self.car) > before {
                return;
            }
            self.approve(1);
        }
        panic!("the banks never changed");
    }

    /// One after another, and the blocks over them.
    fn approve(&mut self, times: u64) {
        for _ in 0..times {
            self.serial += 1;
            let signed = grant(&self.car, self.serial);
            let digest = signed.grant.digest();
            self.give(GATEWAY, Input::Grant(signed));
            self.run_for(50_000);
            let tx = self.car.ecu(GATEWAY).expect("powered").validator().use_of(&digest).expect("checked by now");
            self.decide(GATEWAY, tx);
            if self.serial.is_multiple_of(8) {
                let block = next_block(&self.car);
                self.decide(GATEWAY, block);
            }
        }
    }

    fn decide(&mut self, at: u8, tx: device_chain::tx::Transaction) {
        let before = self.height();
        self.give(at, Input::Submit(tx));
        let decided = |car: &Car| powered(car).all(|height| height > before);
        let end = self.car.now_us() + 3 * SECOND_US;
        assert!(self.run_until(end, decided), "height {}", before + 1);
    }

    /// Two propose at once, and each half of the car hears another.
    fn agree_in_a_later_round(&mut self, class: usize) {
        const RIVALS: [u8; 2] = [WATCHED, 3];
        let proposals = RIVALS.map(|at| self.car.genesis.validators[usize::from(at)].identifiers.propose);
        self.car
            .segments
            .bus_mut(0)
            .drop_when(move |sent, receiver| sent.frame.raw_id() == proposals[usize::from(receiver < 2)]);
        let before = self.height();
        for at in RIVALS {
            let alarm = alarm(&self.car, at, class);
            self.give(at, Input::Submit(alarm));
        }
        let end = self.car.now_us() + 2 * SECOND_US;
        assert!(self.run_until(end, |car| powered(car).all(|height| height > before)));
        self.car.segments.bus_mut(0).drop_when(|_, _| false);
        self.run_for(SECOND_US / 2);
        let mut decisions = self.car.ecus[usize::from(WATCHED)].decisions.iter();
        assert!(decisions.any(|decision| decision.height > before && decision.round > 0), "in a later round");
    }

    fn height(&self) -> Height {
        self.car.ecu(GATEWAY).expect("powered").validator().state().height()
    }

    fn power_off(&mut self, at: u8) {
        self.car.crash(at);
        self.look();
    }

    fn boot(&mut self, at: u8) {
        if at == WATCHED {
            let ecu = &self.car.ecus[usize::from(at)];
            if self.flash.image() != ecu.flash.image() {
                self.flash = ecu.flash.0.borrow().clone(); // it was wiped
            }
            // what opening writes is a job of its own
            let ports = (ecu.flash.clone(), ecu.counter.clone());
            crate::open_ports(&ports, &self.car.genesis);
            self.look();
        }
        self.car.boot(at);
        self.look();
    }

    fn give(&mut self, at: u8, input: Input) {
        self.car.give(at, input);
        self.look();
    }

    fn run_for(&mut self, us: u64) {
        let end = self.car.now_us() + us;
        self.run_until(end, |_| false);
    }

    fn run_until(&mut self, end_us: u64, done: impl Fn(&Car) -> bool) -> bool {
        loop {
            if done(&self.car) {
                return true;
            }
            let went = self.car.step(end_us * 1000);
            self.look();
            if !went {
                return false;
            }
        }
    }

    /// What has happened in the last step.
    fn look(&mut self) {
        for event in std::mem::take(&mut self.car.events) {
            self.said.hear(&event);
            if let What::Decided { decision, .. } = &event.what {
                let first = *self.chain.entry(decision.height).or_insert(decision.hash);
                assert_eq!(first, decision.hash, "two decisions at {}", decision.height);
            }
        }
        let ecu = &self.car.ecus[usize::from(WATCHED)];
        let operations = ecu.flash.0.borrow_mut().watch();
        let counter = [self.counter, ecu.counter.value()];
        if !operations.is_empty() || counter[0] != counter[1] {
            let images = self.car.ecus.iter().map(|ecu| (ecu.flash.image(), ecu.counter.value()));
            (self.on_job)(&Job {
                before: &self.flash,
                operations: &operations,
                counter,
                said: &self.said,
                chain: &self.chain,
                images: images.collect(),
            });
            self.flash = self.car.ecus[usize::from(WATCHED)].flash.0.borrow().clone();
            self.counter = counter[1];
        }
    }
}

/// Heights of those that have power.
fn powered(car: &Car) -> impl Iterator<Item = Height> {
    (0..N).filter_map(|at| car.ecu(at)).map(|ecu| ecu.validator().state().height())
}
