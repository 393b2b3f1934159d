//! One run: a car, what is wanted of it, what is done to it, and the oracle that watches.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;

use anyhow::Result;
use can_bus::timing::BitTiming;
use device_chain::mac::Suite;
use device_chain::types::{Hash, Height};
use ecu_node::Input;

use crate::car::Car;
use crate::dice::Dice;
use crate::endpoint::SimEndpoint;
use crate::event::Event;
use crate::genesis::Plan;
use crate::load::Load;
use crate::oracle::quiet::Quiet;
use crate::oracle::{Oracle, Violation};
use crate::schedule::Schedule;
use crate::workload::{Rates, Workload, alarm};

/// Of the cars so many have two segments, percent.
const SPLIT_PERCENT: u8 = 25;
const SECOND_NS: u64 = 1_000_000_000;
/// Ignition is left alone for so long.
const IGNITION_NS: u64 = SECOND_NS / 2;
/// After the last fault, all honest ECUs have the same head and their memory within this time.
pub const TOGETHER_NS: u64 = 30 * SECOND_NS;
/// And decide something new within this time.
pub const FRESH_NS: u64 = 10 * SECOND_NS;
/// So many decisions in no block that a height may take too long: who has evidence of what is proposed there may be left alone for
/// 64 Δ, twice as long for each six of them (L7).
const FULL_BACKLOG: Height = 24;

/// What a run is made of; the seed says the rest.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where all chance comes from.
    pub seed: u64,
    /// How long faults go on, virtual seconds; without faults the length of the run.
    pub seconds: u64,
    /// 1 or 2 segments; `None`: as the seed has it in a run with faults, else one.
    pub segments: Option<u8>,
    /// Bit rates.
    pub timing: BitTiming,
    /// The rest of the car on the bus.
    pub load: Traffic,
    /// Faults and attackers. Without them seven ECUs do a steady 10 approvals and a block a second.
    pub faults: bool,
}

/// What else is on the bus.
#[derive(Clone, Debug)]
pub enum Traffic {
    /// As the seed has it.
    Seeded,
    /// A share of the wire, percent; 0 is none.
    Percent(u8),
    /// A log of candump.
    Log(PathBuf),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// Virtual time, ns.
    pub virtual_ns: u64,
    /// Events seen.
    pub events: u64,
    /// Heights decided.
    pub decisions: usize,
    /// Frames on all segments, and the time for which they held one, on average, ns.
    pub frames: (u64, u64),
    /// From the end of the faults until all were together, ns.
    pub together_ns: Option<u64>,
    /// Rules seen at work.
    pub marks: BTreeSet<&'static str>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until that time, ns: ignition, wishes, faults.
    Faults(u64),
    /// Faults are over since then.
    Calm(u64),
    /// Somebody has asked for one more decision above that height.
    Fresh(u64, Height),
    Over,
}

/// A run.
pub struct Run {
    /// The car.
    pub car: Car,
    oracle: Oracle,
    quiet: Quiet,
    workload: Workload,
    schedule: Option<Schedule>,
    dishonest: u16,
    phase: Phase,
    events: u64,
    together_ns: Option<u64>,
    batch: Vec<Event>,
}

impl Run {
    /// A run at its start.
    ///
    /// # Errors
    /// The log of foreign traffic cannot be used.
    pub fn new(config: &Config) -> Result<Self> {
        let mut dice = Dice::new(config.seed, 0);
        let mut plan = Plan::default();
        if config.faults {
            plan.validators = dice.weighted(&[(12, 7), (2, 4), (2, 5), (2, 6), (2, 8)]);
            plan.endpoints = 2;
            plan.heartbeat_us = dice.weighted(&[(2, 100_000), (1, 40_000)]);
            plan.suite = dice.weighted(&[(1, Suite::Cmac), (1, Suite::Blake2s)]);
        }
        // who sits where is a matter of its own: with one segment, all else is as without it
        let mut seats = Dice::new(config.seed, 7);
        let is_split = config.faults && seats.percent(SPLIT_PERCENT);
        if config.segments.map_or(is_split, |segments| segments > 1) {
            plan.far = 2 + 2 * seats.roll((1 << (plan.validators - 1)) - 1) as u8;
        }
        let mut car = Car::seeded(plan, config.timing, config.seed);
        let load = match &config.load {
            Traffic::Seeded => Traffic::Percent(*dice.pick(&[0, 10, 30])),
            given => given.clone(),
        };
        match load {
            Traffic::Percent(0) | Traffic::Seeded => {}
            Traffic::Percent(percent) => {
                car.load(Load::percent(percent, config.timing, Dice::new(config.seed, 3))?);
            }
            Traffic::Log(path) => {
                let own: Vec<u32> = car.genesis.identifiers().map(|(_, id)| id).collect();
                car.load(Load::recorded(&path, &own)?);
            }
        }
        let schedule = config.faults.then(|| Schedule::new(&mut car, IGNITION_NS, Dice::new(config.seed, 4)));
        let dishonest = schedule.as_ref().map_or(0, |schedule| schedule.dishonest);
        let busy = Rates { approvals: *dice.pick(&[10, 10, 40]), ..Rates::MIXED };
        let rates = if config.faults { busy } else { Rates::STEADY };
        let mut run = Self {
            oracle: Oracle::new(&car, config.timing, dishonest),
            quiet: Quiet::default(),
            workload: Workload::new(rates, IGNITION_NS, Dice::new(config.seed, 5)),
            phase: Phase::Faults(config.seconds * SECOND_NS),
            events: 0,
            together_ns: None,
            batch: Vec::new(),
            schedule,
            dishonest,
            car,
        };
        (0..run.car.ecus.len() as u8).for_each(|at| run.car.boot(at));
        (0..run.car.endpoints.len() as u8).for_each(|at| run.car.boot_endpoint(at));
        Ok(run)
    }

    /// Goes on to the next moment, and hands what has happened to `tell`; whether the run goes on.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn step(&mut self, tell: &mut dyn FnMut(&Event)) -> Result<bool, Violation> {
        let (end_ns, due_ns) = match self.phase {
            Phase::Faults(end_ns) => {
                let schedule = self.schedule.as_ref().map_or(u64::MAX, Schedule::due_ns);
                (end_ns, schedule.min(self.workload.due_ns()))
            }
            Phase::Calm(since_ns) => (since_ns + TOGETHER_NS, self.workload.due_ns()),
            Phase::Fresh(since_ns, _) => (since_ns + FRESH_NS, u64::MAX),
            Phase::Over => return Ok(false),
        };
        let is_due = !self.car.step(end_ns.min(due_ns));
        let in_time = !is_due || due_ns < end_ns;
        self.watch(tell)?;
        match self.phase {
            Phase::Faults(end_ns) if is_due => self.intervene(end_ns)?,
            Phase::Calm(_) if is_due && in_time => self.workload.act(&mut self.car),
            Phase::Calm(since_ns) => self.come_together(since_ns, in_time)?,
            Phase::Fresh(_, above) => self.decide_anew(above, in_time)?,
            Phase::Faults(_) | Phase::Over => {}
        }
        self.watch(tell)?;
        Ok(self.phase != Phase::Over)
    }

    fn watch(&mut self, tell: &mut dyn FnMut(&Event)) -> Result<(), Violation> {
        std::mem::swap(&mut self.batch, &mut self.car.events);
        for event in self.batch.drain(..) {
            self.events += 1;
            tell(&event);
            self.oracle.see(&event)?;
            if self.schedule.is_none() {
                self.quiet.see(&event);
            }
        }
        Ok(())
    }

    fn intervene(&mut self, end_ns: u64) -> Result<(), Violation> {
        let now_ns = self.car.now_ns();
        if self.schedule.is_some() {
            self.oracle.look(&self.car)?;
        }
        if now_ns >= end_ns {
            match &mut self.schedule {
                Some(schedule) => {
                    schedule.calm(&mut self.car);
                    self.workload.calm();
                    self.phase = Phase::Calm(now_ns);
                }
                None => {
                    self.phase = Phase::Over;
                    self.quiet.judge(&self.car)?;
                }
            }
            return Ok(());
        }
        if self.workload.due_ns() <= now_ns {
            self.workload.act(&mut self.car);
        }
        if let Some(schedule) = self.schedule.as_mut().filter(|schedule| schedule.due_ns() <= now_ns) {
            schedule.act(&mut self.car);
        }
        Ok(())
    }

    fn honest(&self) -> impl Iterator<Item = u8> + use<> {
        let dishonest = self.dishonest;
        (0..self.car.ecus.len() as u8).filter(move |at| dishonest >> at & 1 == 0)
    }

    /// Of the honest ECUs those of which progress is expected: whose flash is worn out counts as silent (P6).
    fn able(&self) -> impl Iterator<Item = u8> {
        let worn = self.schedule.as_ref().map_or(0, |schedule| schedule.worn);
        let is_silent = |at: u8| match self.car.journal(at) {
            Some(journal) => journal.abstains(),
            None => self.car.ecus[usize::from(at)].refused.is_some(),
        };
        self.honest().filter(move |at| worn >> at & 1 == 0 || !is_silent(*at))
    }

    /// The head that all honest ECUs have, none of them without memory.
    fn common_head(&self) -> Option<(Height, Hash)> {
        let mut heads = self.able().map(|at| {
            let validator = self.car.ecu(at)?.validator();
            let state = validator.state();
            (!validator.is_amnesiac()).then(|| (state.height(), *state.head()))
        });
        let first = heads.next()??;
        heads.all(|head| head == Some(first)).then_some(first)
    }

    fn come_together(&mut self, since_ns: u64, in_time: bool) -> Result<(), Violation> {
        let now_ns = self.car.now_ns();
        let (Some((height, _)), Some(asker)) = (self.common_head(), self.able().next()) else {
            return self.not_yet(in_time, "not together", TOGETHER_NS);
        };
        let backlog = |of: &Car| of.ecu(asker).map(|ecu| height - ecu.validator().state().event().tree_size);
        if backlog(&self.car) >= Some(FULL_BACKLOG) {
            self.phase = Phase::Over; // the gateway's block may have to wait, too, behind orders that only it has evidence of
            return Ok(());
        }
        if !self.car.ecu(asker).is_some_and(|ecu| self.able().all(|at| ecu.validator().state().members().contains(at)))
        {
            return self.not_yet(in_time, "somebody is still suspended", TOGETHER_NS);
        }
        let lying = self.schedule.as_ref().map_or(0, |schedule| schedule.lying_endpoints);
        let is_waiting = |endpoint: &SimEndpoint| endpoint.pump().is_some_and(|pump| pump.waiting() > 0);
        if self.car.endpoints.iter().any(|of| lying >> of.index & 1 == 0 && is_waiting(of)) {
            return self.not_yet(in_time, "a record still waits", TOGETHER_NS);
        }
        self.together_ns = Some(now_ns - since_ns);
        for class in 0..4 {
            let tx = alarm(&self.car, asker, class);
            let asked = self.car.ecu(asker).map(|ecu| ecu.validator());
            let ecu = asked.map(|validator| validator.state().check(&tx, validator.registry()).is_ok());
            if ecu == Some(true) {
                self.car.give(asker, Input::Submit(tx));
                self.phase = Phase::Fresh(now_ns, height);
                return Ok(());
            }
        }
        self.phase = Phase::Over; // all that this one may say is said
        Ok(())
    }

    fn decide_anew(&mut self, above: Height, in_time: bool) -> Result<(), Violation> {
        let decided = |at| self.car.ecu(at).is_some_and(|ecu| ecu.validator().state().height() > above);
        if self.able().all(decided) {
            self.phase = Phase::Over;
            return Ok(());
        }
        self.not_yet(in_time, "nothing new decided", FRESH_NS)
    }

    /// Something is still missing: after its time a violation, if enough are there who could bring it about.
    fn not_yet(&mut self, in_time: bool, what: &str, limit_ns: u64) -> Result<(), Violation> {
        if in_time {
            return Ok(());
        }
        if self.is_quorum_left() {
            return Err(self.late(what, limit_ns));
        }
        self.phase = Phase::Over;
        Ok(())
    }

    /// Whether those who keep the rules can decide alone, among the members of the newest state. They cannot while too many of them
    /// are suspended beside the liars (`docs/protocol.md`, chapter 11).
    fn is_quorum_left(&self) -> bool {
        let validators = || self.able().filter_map(|at| Some((at, self.car.ecu(at)?.validator())));
        let Some((_, newest)) = validators().max_by_key(|(_, validator)| validator.state().height()) else {
            return false;
        };
        let voters = newest.state().members().voters(newest.registry());
        let can_vote = validators().filter(|(at, validator)| voters.contains(*at) && !validator.is_amnesiac());
        can_vote.count() >= voters.quorum(newest.registry()).votes()
    }

    fn late(&self, what: &str, limit_ns: u64) -> Violation {
        let state = |at| match self.car.ecu(at) {
            None => format!("ecu{at} off"),
            Some(ecu) => {
                let validator = ecu.validator();
                let forgetful = if validator.is_amnesiac() { " amnesiac" } else { "" };
                let journal = self.car.journal(at).filter(|journal| journal.abstains());
                let silent = journal.map_or(String::new(), |journal| format!(" abstains {:?}", journal.failure()));
                format!("ecu{at} h={} r={}{forgetful}{silent}", validator.state().height(), validator.round())
            }
        };
        let states: Vec<_> = self.honest().map(state).collect();
        let what = format!("{what} {} s after the last fault: {}", limit_ns / SECOND_NS, states.join(", "));
        Violation { at_ns: self.car.now_ns(), invariant: "liveness", what }
    }

    /// Runs to the end.
    #[must_use]
    pub fn finish(mut self, tell: &mut dyn FnMut(&Event)) -> Outcome {
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            loop {
                match self.step(tell) {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(violation) => return Some(violation),
                }
            }
        }));
        let violation = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let what = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            Some(Violation { at_ns: self.car.now_ns(), invariant: "no panic", what })
        });
        let (statistics, segments) = (self.car.segments.statistics(), self.car.segments.count() as u64);
        Outcome {
            violation,
            virtual_ns: self.car.now_ns(),
            events: self.events,
            decisions: self.oracle.world().decided.len(),
            frames: (statistics.frames, statistics.busy_ns / segments),
            together_ns: self.together_ns,
            marks: self.oracle.marks().fired().keys().copied().collect(),
        }
    }
}
