//! A simulated car: the pump of each ECU, its flash, one bus, one virtual clock.

use can_bus::Frame;
use can_bus::port::{BusCommand, BusEvent};
use can_bus::timing::BitTiming;
use device_chain::block::Seal;
use device_chain::genesis::Genesis;
use device_chain::keys::SoftKeys;
use device_chain::limits::MAX_MESSAGE;
use device_chain::sign::SigningKey;
use device_chain::types::{Hash, Micros, ValidatorIndex};
use device_chain::validator::{Boot, Decision, Report, Validator};
use ecu_node::store::{self, Diagnosis};
use ecu_node::{Ecu, Effect, Input};
use journal::{MemError, OpenError};

use crate::bus::SimBus;
use crate::flash::{SharedCounter, SharedFlash};
use crate::genesis::Plan;
use crate::writer::Writer;

/// Time of a signature or of checking one, µs: Ed25519 on a Cortex-M4 at 168 MHz.
pub const SIGN_US: u64 = 12_000;

/// An ECU that is powered.
struct Running {
    ecu: Box<Ecu<SoftKeys>>,
    journal: Writer,
    /// Answers that are due: when, and what.
    answers: Vec<(u64, Input)>,
}

/// An ECU, powered or not.
pub struct SimEcu {
    identity: SigningKey,
    /// Its flash.
    pub flash: SharedFlash,
    counter: SharedCounter,
    running: Option<Running>,
    boots: u64,
    /// What it decided, over all boots.
    pub decisions: Vec<Decision>,
    /// What it reported.
    pub reports: Vec<Report>,
    /// Seals that came to it.
    pub seals: Vec<(u32, Seal)>,
    /// What its journal looked like at the last boot.
    pub diagnosis: Option<Diagnosis>,
    /// Why its journal could not be opened at the last boot, if so.
    pub refused: Option<OpenError<MemError>>,
}

/// A car.
pub struct Car {
    plan: Plan,
    /// Its genesis.
    pub genesis: Genesis,
    /// Its bus.
    pub bus: SimBus,
    /// Its validators.
    pub ecus: Vec<SimEcu>,
    /// A place on the bus without keys.
    rogue: usize,
    /// Frames sent from the place without keys: a controller's tokens differ.
    injected: u32,
    /// Every frame that ended on the wire, in order.
    pub trace: Vec<Frame>,
    now_ns: u64,
}

impl Car {
    /// A car whose ECUs are provisioned and off.
    ///
    /// # Panics
    /// If the plan exceeds the limits of a genesis.
    #[must_use]
    pub fn new(plan: Plan, timing: BitTiming) -> Self {
        let genesis = plan.genesis();
        let mut bus = SimBus::new(0, timing);
        let ecus = (0..plan.validators).map(|at| {
            let node = bus.attach();
            bus.silence(node);
            let mut flash = SharedFlash::new(plan.flash);
            store::format::<_, SharedCounter>(&mut flash, &genesis).expect("the flash is large enough");
            SimEcu {
                identity: plan.validator_key(at),
                flash,
                counter: SharedCounter::default(),
                running: None,
                boots: 0,
                decisions: Vec::new(),
                reports: Vec::new(),
                seals: Vec::new(),
                diagnosis: None,
                refused: None,
            }
        });
        let ecus = ecus.collect();
        let rogue = bus.attach();
        Self { genesis, bus, ecus, rogue, injected: 0, trace: Vec::new(), plan, now_ns: 0 }
    }

    /// A car with all its ECUs powered.
    #[must_use]
    pub fn started(plan: Plan, timing: BitTiming) -> Self {
        let mut car = Self::new(plan, timing);
        for at in 0..car.plan.validators {
            car.boot(at);
        }
        car
    }

    /// Virtual time, µs.
    #[must_use]
    pub const fn now_us(&self) -> u64 {
        self.now_ns / 1000
    }

    /// The pump of a powered ECU.
    #[must_use]
    pub fn ecu(&self, at: ValidatorIndex) -> Option<&Ecu<SoftKeys>> {
        self.ecus[usize::from(at)].running.as_ref().map(|running| &*running.ecu)
    }

    /// How the flash of a powered ECU fares.
    #[must_use]
    pub fn journal(&self, at: ValidatorIndex) -> Option<&Writer> {
        self.ecus[usize::from(at)].running.as_ref().map(|running| &running.journal)
    }

    /// Powers an ECU; whatever its flash holds decides what it may do. One whose flash cannot be opened takes no part.
    ///
    /// # Panics
    /// If the genesis does not name it.
    pub fn boot(&mut self, at: ValidatorIndex) {
        let ecu = &mut self.ecus[usize::from(at)];
        ecu.boots += 1;
        ecu.flash.0.borrow_mut().restore_power();
        let ports = (ecu.flash.clone(), ecu.counter.clone());
        (ecu.running, ecu.refused) = (None, None);
        let opened = match store::open(&mut || Ok(ports.clone()), &self.genesis) {
            Ok(opened) => opened,
            Err(error) => return ecu.refused = Some(error),
        };
        let keys = self.plan.keys(&self.genesis, &ecu.identity);
        // any nonce will do that is new at every boot of the device
        let boot = Boot { nonce: ecu.boots << 8 | u64::from(at) };
        let now = Micros(self.now_ns / 1000);
        let validator =
            Validator::new(self.genesis.clone(), at, keys, &opened.recovered, boot, now).expect("in genesis");
        self.bus.start(usize::from(at));
        ecu.diagnosis = Some(opened.diagnosis);
        let journal = Writer::new(opened.store, ecu.flash.clone());
        ecu.running = Some(Running { ecu: Box::new(Ecu::new(validator)), journal, answers: Vec::new() });
        self.give(at, Input::Tick);
    }

    /// Takes the power from an ECU: RAM is lost, flash stays.
    pub fn crash(&mut self, at: ValidatorIndex) {
        self.ecus[usize::from(at)].running = None;
        self.bus.silence(usize::from(at));
    }

    /// Erases the flash of an ECU.
    pub fn wipe(&mut self, at: ValidatorIndex) {
        self.ecus[usize::from(at)].flash.restore(None);
    }

    /// Gives an ECU an input, as its application would.
    pub fn give(&mut self, at: ValidatorIndex, input: Input) {
        let now = Micros(self.now_us());
        if let Some(running) = &mut self.ecus[usize::from(at)].running {
            running.ecu.handle(now, input);
            self.carry_out(at);
        }
    }

    /// Sends a frame from a place without keys.
    pub fn inject(&mut self, frame: Frame) {
        let token = self.injected;
        self.injected += 1;
        let _ = self.bus.command(self.now_ns, self.rogue, BusCommand::Transmit { token, frame });
    }

    /// Lets time pass.
    pub fn run_for(&mut self, us: u64) {
        let end = self.now_us() + us;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until `done`, at most until `end_us`; whether it was done.
    pub fn run_until(&mut self, end_us: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let next = self.next_ns();
            if next > end_us * 1000 {
                self.now_ns = self.now_ns.max(end_us * 1000);
                let _ = self.bus.advance(self.now_ns);
                return false;
            }
            self.step(next);
        }
    }

    fn next_ns(&self) -> u64 {
        let timers = self.ecus.iter().filter_map(|ecu| ecu.running.as_ref()).flat_map(|running| {
            let answers = running.answers.iter().map(|(at, _)| *at);
            answers.chain(running.ecu.deadline().map(|at| at.0)).map(|us| us * 1000)
        });
        timers.chain(self.bus.next_at()).min().unwrap_or(u64::MAX).max(self.now_ns)
    }

    fn step(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        for (node, event) in self.bus.advance(now_ns) {
            self.deliver(node, event);
        }
        for at in 0..self.plan.validators {
            let now = self.now_us();
            let Some(running) = &mut self.ecus[usize::from(at)].running else { continue };
            while let Some(due) = running.answers.iter().position(|(when, _)| *when <= now) {
                let (_, answer) = running.answers.remove(due);
                running.ecu.handle(Micros(now), answer);
            }
            if running.ecu.deadline().is_some_and(|due| due.0 <= now) {
                running.ecu.handle(Micros(now), Input::Tick);
            }
            self.carry_out(at);
        }
    }

    fn deliver(&mut self, node: usize, event: BusEvent) {
        if node == self.rogue {
            // hears everything but its own
            if let BusEvent::Received { frame, .. } = event {
                self.trace.push(frame);
            }
        } else {
            self.give(node as ValidatorIndex, Input::Bus(event));
        }
    }

    fn carry_out(&mut self, at: ValidatorIndex) {
        let now_us = self.now_ns / 1000;
        let mut buffer = [0; MAX_MESSAGE];
        let ecu = &mut self.ecus[usize::from(at)];
        let Some(running) = &mut ecu.running else { return };
        while let Some(effect) = running.ecu.poll(&mut buffer) {
            match effect {
                Effect::Bus(command) => {
                    if let Some(answer) = self.bus.command(self.now_ns, usize::from(at), command) {
                        running.answers.push((now_us, Input::Bus(answer)));
                    }
                }
                Effect::Persist { token, kind, bytes } => running.journal.push(token, kind, bytes),
                Effect::Decided(decision) => ecu.decisions.push(decision),
                Effect::Sign(digest) => {
                    let seal = Seal::sign(at, &ecu.identity, &digest);
                    running.answers.push((now_us + SIGN_US, Input::Signed(digest, seal.signature)));
                }
                Effect::CheckGrant(signed) => {
                    let genuine = signed.is_genuine(&self.genesis);
                    running.answers.push((now_us + SIGN_US, Input::GrantChecked(signed.grant.digest(), genuine)));
                }
                Effect::Sealed(number, seal) => ecu.seals.push((number, seal)),
                Effect::Report(report) => ecu.reports.push(report),
            }
        }
        match running.journal.next_job(now_us, &running.ecu) {
            Ok(Some((done_us, token))) => running.answers.push((done_us, Input::Persisted(token))),
            Ok(None) => {}
            Err(_) => self.crash(at), // the power went
        }
    }

    /// The hashes that an ECU decided, by height.
    #[must_use]
    pub fn chain(&self, at: ValidatorIndex) -> Vec<(u32, Hash)> {
        self.ecus[usize::from(at)].decisions.iter().map(|decision| (decision.height, decision.hash)).collect()
    }
}
