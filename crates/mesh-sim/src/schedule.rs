//! Faults by schedule: what is done to a car, and when, from the seed alone.

use ecu_node::Input;
use journal::Defect;

use crate::attackers::babbler::Babbler;
use crate::attackers::colluders::Colluder;
use crate::attackers::conspirators::Conspirator;
use crate::attackers::equivocator::Equivocator;
use crate::attackers::flooder::Flooder;
use crate::attackers::impersonator::Impersonator;
use crate::attackers::other_version::OtherVersion;
use crate::attackers::partial_tags::PartialTags;
use crate::attackers::replayer::{Replayer, Tape};
use crate::attackers::router::{Faces, LyingRouter, TwoFaced};
use crate::attackers::tag_spoiler::TagSpoiler;
use crate::attackers::two_faced_sensor::TwoFacedSensor;
use crate::attackers::withholding_proposer::WithholdingProposer;
use crate::attackers::{Liar, Rogue};
use crate::car::Car;
use crate::clock::Clock;
use crate::dice::Dice;
use crate::faults::{self, StoreFault};
use crate::genesis::Plan;
use crate::workload::alarm;

/// What can be done to a car.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Loss,
    Omission,
    Duplicates,
    Corruption,
    Quiet,
    Burst,
    Partition,
    Crash,
    Away,
    PowerCut,
    Brownout,
    Wear,
    Endpoint,
    Reboot,
    ClockStep,
    Pause,
    Sleep,
    BusOff,
    Noise,
    Rogue,
}

/// How often each is done.
const FAULTS: &[(u32, Fault)] = &[
    (3, Fault::Loss),
    (3, Fault::Omission),
    (2, Fault::Duplicates),
    (1, Fault::Corruption),
    (6, Fault::Quiet),
    (3, Fault::Burst),
    (2, Fault::Partition),
    (6, Fault::Crash),
    (4, Fault::Away),
    (6, Fault::PowerCut),
    (3, Fault::Brownout),
    (1, Fault::Wear),
    (2, Fault::Endpoint),
    (14, Fault::Reboot),
    (3, Fault::ClockStep),
    (4, Fault::Pause),
    (1, Fault::Sleep),
    (3, Fault::BusOff),
    (3, Fault::Noise),
    (6, Fault::Rogue),
];

/// How the store of an ECU is found at a reboot, where the number of liars allows it.
const STORES: &[(u32, StoreFault)] = &[
    (12, StoreFault::None),
    (2, StoreFault::Wiped),
    (2, StoreFault::Stale),
    (1, StoreFault::Damaged),
    (1, StoreFault::Foreign),
];

/// Who sits in the validators' places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cast {
    Honest,
    Equivocator,
    PartialTags,
    WithholdingProposer,
    Colluders,
    Conspirators,
    Twin,
    OtherVersion,
    /// The gateway of a car with two segments, and perhaps colluders who lie as it does.
    Router,
}

const CASTS: &[(u32, Cast)] = &[
    (6, Cast::Honest),
    (3, Cast::Equivocator),
    (3, Cast::PartialTags),
    (3, Cast::WithholdingProposer),
    (2, Cast::Colluders),
    (4, Cast::Conspirators),
    (2, Cast::Twin),
    (1, Cast::OtherVersion),
];

/// Of the gateways between two segments so many lie, percent; the others have a cast of the table.
const LYING_ROUTERS: u8 = 40;

/// What is wrong with a worn place.
const DEFECTS: &[Defect] = &[
    Defect::IgnoresProgram,
    Defect::RefusesProgram,
    Defect::IgnoresErase,
    Defect::RefusesErase,
    Defect::StuckLow(0x10),
];

/// Rates of drift, ppm: crystals, and worse.
const DRIFTS: &[i32] = &[0, 20, -20, 100, -100, 1_000, -1_000];
/// Who stays away does so for so many heartbeats, and up to as many again: long enough to be suspended (DC-35).
const AWAY_HEARTBEATS: u64 = 70;
/// From one fault to the next, at most, ns: a storm, or a day on which somebody stays away for long.
const PAUSES_NS: &[u64] = &[150_000_000, 150_000_000, 2_000_000_000];

/// Faults over time.
pub struct Schedule {
    dice: Dice,
    next_ns: u64,
    pause_ns: u64,
    /// Bit per ECU that need not keep any rule.
    pub dishonest: u16,
    /// The same of endpoints.
    pub lying_endpoints: u8,
    f: usize,
    /// Images of flashes at an earlier time.
    old: Vec<Vec<u8>>,
    foreign: Vec<u8>,
    /// What was recorded of this car, and of another one, as soon as somebody plays it.
    tape: Tape,
    foreign_tape: Option<Tape>,
    /// Wiped or worse, and not back yet.
    forgetful: u16,
    /// Whose flash is worn: it may lose its memory at any boot, or never vote again, so it counts among the liars.
    pub worn: u16,
    /// Who stays off, and until when, ns.
    away: Vec<(u8, u64)>,
    /// Until then somebody's frames are destroyed, ns.
    jammed_until_ns: u64,
}

impl Schedule {
    /// Puts liars into places of a car that is not powered yet; faults begin at `from_ns`.
    #[must_use]
    pub fn new(car: &mut Car, from_ns: u64, mut dice: Dice) -> Self {
        let f = car.genesis.quorum().f;
        let foreign = another(car);
        let mut schedule = Self {
            next_ns: from_ns,
            pause_ns: *dice.pick(PAUSES_NS),
            dishonest: 0,
            lying_endpoints: 0,
            f,
            old: car.ecus.iter().map(|ecu| ecu.flash.image()).collect(),
            foreign: foreign.ecus[0].flash.image(),
            tape: Tape::default(),
            foreign_tape: None,
            forgetful: 0,
            worn: 0,
            away: Vec::new(),
            jammed_until_ns: u64::MAX,
            dice: dice.clone(),
        };
        for at in 0..car.ecus.len() {
            let ppm = *dice.pick(DRIFTS);
            let ahead_us = dice.roll(3_600_000_000) as i64;
            car.ecus[at].set_clock(Clock::TRUE.stepped(0, ahead_us).with_rate(0, ppm));
        }
        let lies = car.segments.router.is_some() && dice.percent(LYING_ROUTERS);
        let cast = if lies { Cast::Router } else { dice.weighted(CASTS) };
        schedule.cast(car, cast, &mut dice);
        for endpoint in 0..car.plan().endpoints {
            car.add_endpoint();
            car.endpoints[usize::from(endpoint)].liar = (endpoint > 0 && dice.percent(50)).then(|| {
                schedule.lying_endpoints |= 1 << endpoint;
                TwoFacedSensor::new(dice.roll(1 << car.plan().validators) as u8)
            });
        }
        schedule.dice = dice;
        car.link.both_sides = (schedule.dishonest & ((1 << car.plan().validators) - 1)).into();
        if let Some(router) = car.segments.router.as_ref().filter(|router| router.liar.is_some()) {
            car.link.both_sides |= 1 << router.station();
        }
        schedule
    }

    fn cast(&mut self, car: &mut Car, cast: Cast, dice: &mut Dice) {
        let n = car.plan().validators;
        let liars = match cast {
            Cast::Honest => 0,
            Cast::Twin | Cast::OtherVersion => 1,
            Cast::Colluders | Cast::Conspirators => self.f,
            _ => 1 + dice.roll(self.f as u64) as usize,
        };
        let (first, half) = match (dice.roll(n.into()) as u8, dice.roll(1 << n) as u8) {
            _ if cast == Cast::Router => (0, car.plan().near()),
            rolled => rolled,
        };
        let at = |number| (first + number) % n;
        let gang = (0..liars as u8).map(|number| 1 << at(number)).sum();
        let plot = dice.roll(1 << 32);
        for number in 0..liars as u8 {
            let at = at(number);
            let mask = dice.roll(1 << n) as u8;
            let liar: Option<Box<dyn Liar>> = match cast {
                Cast::Honest => None,
                Cast::Equivocator => Some(Box::new(Equivocator)),
                Cast::PartialTags => Some(Box::new(PartialTags { victims: mask })),
                Cast::WithholdingProposer => Some(Box::new(WithholdingProposer { served: mask })),
                Cast::Router if number == 0 => {
                    let (faces, tag_len) = (Faces::default(), car.genesis.tag_len());
                    if let Some(router) = &mut car.segments.router {
                        router.liar = Some(Box::new(LyingRouter::new(tag_len, faces.clone())));
                    }
                    Some(Box::new(TwoFaced { near: half, faces }))
                }
                Cast::Colluders | Cast::Router => Some(Box::new(Colluder { half })),
                Cast::Conspirators => Some(Box::new(Conspirator::new(gang, plot, &car.genesis, self.next_ns))),
                Cast::OtherVersion => Some(Box::new(OtherVersion)),
                Cast::Twin => {
                    self.dishonest |= 1 << car.add_twin(at);
                    None
                }
            };
            car.ecus[usize::from(at)].liar = liar;
            self.dishonest |= 1 << at;
        }
        car.note(format!("cast {cast:?} liars={:b}", self.dishonest));
    }

    /// When something is due, ns.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        self.next_ns.min(self.jammed_until_ns)
    }

    /// Does what is due.
    pub fn act(&mut self, car: &mut Car) {
        let now_ns = car.now_ns();
        if self.jammed_until_ns <= now_ns {
            self.jammed_until_ns = u64::MAX;
            car.noise.borrow_mut().jammed = 0;
        }
        if self.next_ns <= now_ns {
            self.next_ns = now_ns + self.dice.roll(self.pause_ns);
            let fault = self.dice.weighted(FAULTS);
            self.strike(car, fault);
        }
    }

    fn strike(&mut self, car: &mut Car, fault: Fault) {
        let at = self.dice.roll(car.ecus.len() as u64) as u8;
        match fault {
            Fault::Loss => car.link.loss = *self.dice.pick(&[1, 5, 20, 60]),
            Fault::Omission => car.link.omission = *self.dice.pick(&[1, 5, 20, 60]),
            Fault::Duplicates => car.link.duplicate = *self.dice.pick(&[1, 5, 20]),
            Fault::Corruption => car.link.corruption = *self.dice.pick(&[1, 5]),
            Fault::Quiet => {
                car.link.heal();
                car.noise.borrow_mut().percent = 0;
            }
            Fault::Burst => {
                let until_ns = car.now_ns() + 1_000_000 * *self.dice.pick(&[5, 20, 100, 800]);
                let Some(frame) = faults::babble() else { return };
                let frame_ns = car.timing().worst_case_ns(&frame);
                car.let_in(Some(Box::new(Babbler::new(frame, frame_ns, car.now_ns(), until_ns))));
            }
            Fault::Partition => car.link.sides = Some(self.dice.roll(1 << car.ecus.len()) as u32),
            Fault::Crash => car.crash(at),
            Fault::Away => {
                let heartbeats = AWAY_HEARTBEATS + self.dice.roll(AWAY_HEARTBEATS);
                self.away.push((at, car.now_ns() + heartbeats * u64::from(car.plan().heartbeat_us) * 1000));
                car.crash(at);
            }
            Fault::PowerCut => {
                faults::cut_power_after(&car.ecus[usize::from(at)].flash, self.dice.roll(400));
            }
            Fault::Brownout => car.brownouts |= 1 << at,
            Fault::Wear => return self.wear(car, at),
            Fault::Endpoint => {
                let endpoint = self.dice.roll(car.endpoints.len() as u64) as u8;
                if car.endpoints[usize::from(endpoint)].pump().is_some() {
                    car.crash_endpoint(endpoint);
                } else {
                    car.boot_endpoint(endpoint);
                }
            }
            Fault::Reboot => return self.reboot(car),
            Fault::ClockStep => {
                let step_us = self.dice.roll(400_000) as i64 - 200_000;
                let now_ns = car.now_ns();
                let ecu = &mut car.ecus[usize::from(at)];
                ecu.set_clock(ecu.clock.stepped(now_ns, step_us));
            }
            Fault::Pause => car.pause(at, self.dice.roll(300_000)),
            Fault::Sleep => {
                let us = 1_000_000 + self.dice.roll(2_000_000);
                (0..car.ecus.len() as u8).for_each(|at| car.pause(at, us));
                self.next_ns += us * 1000;
            }
            Fault::BusOff => {
                car.noise.borrow_mut().jammed |= car.stations_of(at);
                self.jammed_until_ns = car.now_ns() + self.dice.roll(300_000_000);
            }
            Fault::Noise => car.noise.borrow_mut().percent = *self.dice.pick(&[1, 3, 10]),
            Fault::Rogue => {
                let rogue = self.rogue(car);
                car.let_in(Some(rogue));
            }
        }
        car.note(format!("{fault:?} at={at}"));
    }

    fn rogue(&mut self, car: &mut Car) -> Box<dyn Rogue> {
        let victim = self.dice.roll(car.plan().validators.into()) as u8;
        let vote = car.genesis.validators[usize::from(victim)].identifiers.vote;
        let (name, rogue): (_, Box<dyn Rogue>) = match (self.dice.roll(7), can_bus::frame::id_from_raw(vote)) {
            (0, _) => ("tag spoiler", Box::new(TagSpoiler { tag_len: car.genesis.tag_len(), victim })),
            (1, Some(identifier)) => ("impersonator", Box::new(Impersonator { victim, identifier })),
            (2, _) => {
                let until_ns = car.now_ns() + 400_000_000;
                ("flooder", Box::new(Flooder::new(1_200_000, car.now_ns(), until_ns)))
            }
            (3 | 4, _) => {
                let tape = self.foreign_tape.get_or_insert_with(|| recorded(another(car)));
                ("foreign replayer", Box::new(Replayer::foreign(tape.clone(), car.genesis.mesh().short())))
            }
            _ => ("replayer", Box::new(Replayer::with(self.tape.clone()))),
        };
        car.note(name);
        rogue
    }

    /// A page of a flash is worn, or all of it, if the number of liars allows it.
    fn wear(&mut self, car: &mut Car, at: u8) {
        self.forgetful &= !self.readmitted(car);
        let validators = (1 << car.plan().validators) - 1;
        let others = (self.dishonest | self.forgetful | self.worn) & validators & !(1 << at);
        if others.count_ones() as usize >= self.f {
            return;
        }
        self.worn |= 1 << at;
        let (geometry, defect) = (car.plan().flash.geometry, *self.dice.pick(DEFECTS));
        let pages = u64::from(geometry.capacity / geometry.erase_size);
        let page = self.dice.roll(pages) as u32 * geometry.erase_size;
        let place = if self.dice.percent(50) { 0..geometry.capacity } else { page..page + geometry.erase_size };
        faults::wear_out(&car.ecus[usize::from(at)].flash, place.clone(), defect);
        car.note(format!("Wear at={at} {defect:?} of {place:?}"));
    }

    /// Somebody who is off comes back, if the number of liars allows it without its memory.
    fn reboot(&mut self, car: &mut Car) {
        self.away.retain(|(_, until_ns)| *until_ns > car.now_ns());
        let is_away = |at: u8| self.away.iter().any(|(who, _)| *who == at);
        let off: Vec<u8> = (0..car.ecus.len() as u8).filter(|at| car.ecu(*at).is_none() && !is_away(*at)).collect();
        if off.is_empty() {
            return;
        }
        let at = *self.dice.pick(&off);
        let store = self.dice.weighted(STORES);
        let liars = (self.dishonest & ((1 << car.plan().validators) - 1)).count_ones() as usize;
        let is_liar = self.dishonest >> at & 1 == 1;
        self.forgetful &= !self.readmitted(car);
        let others = ((self.forgetful | self.worn) & !self.dishonest & !(1 << at)).count_ones() as usize;
        let store = if is_liar || liars + others < self.f { store } else { StoreFault::None };
        if store != StoreFault::None && !is_liar {
            self.forgetful |= 1 << at;
        }
        let ecu = &mut car.ecus[usize::from(at)];
        let image = ecu.flash.image();
        let old = self.old.get(usize::from(at)).map(Vec::as_slice);
        faults::spoil(&ecu.flash, store, old, &self.foreign);
        if let Some(old) = self.old.get_mut(usize::from(at)) {
            *old = image;
        }
        car.note(format!("Reboot at={at} store={store:?}"));
        car.boot(at);
    }

    /// Bit per ECU that is up and has no memory to wait for.
    fn readmitted(&self, car: &Car) -> u16 {
        let whole = |at: &u8| car.ecu(*at).is_some_and(|ecu| !ecu.validator().is_amnesiac());
        (0..car.ecus.len() as u8).filter(whole).map(|at| 1 << at).sum()
    }

    /// All faults end. Liars go on lying; a router becomes honest, for nothing can be owed across one that lies.
    pub fn calm(&mut self, car: &mut Car) {
        car.note("calm");
        car.link.heal();
        car.let_in(None);
        car.brownouts = 0;
        if let Some(router) = &mut car.segments.router {
            router.liar = None;
        }
        {
            let mut noise = car.noise.borrow_mut();
            (noise.percent, noise.jammed) = (0, 0);
        }
        for at in 0..car.ecus.len() as u8 {
            faults::restore_power(&car.ecus[usize::from(at)].flash);
            if car.ecu(at).is_none() {
                car.boot(at);
            }
        }
        for at in 0..car.endpoints.len() as u8 {
            if car.endpoints[usize::from(at)].pump().is_none() {
                car.boot_endpoint(at);
            }
        }
        (self.next_ns, self.jammed_until_ns) = (u64::MAX, u64::MAX);
    }
}

/// Another car of the same make.
fn another(car: &Car) -> Car {
    Car::new(Plan { seed: car.plan().seed + 1, ..car.plan().clone() }, car.timing())
}

/// What is on the bus of a car that comes up and decides a little.
fn recorded(mut car: Car) -> Tape {
    (0..car.ecus.len() as u8).for_each(|at| car.boot(at));
    let sensor = car.add_endpoint();
    car.boot_endpoint(sensor);
    car.run_for(200_000);
    for class in 0..2 {
        let tx = alarm(&car, 1, class);
        car.give(1, Input::Submit(tx));
        car.sense(sensor, [class as u8; 4].into_iter().collect());
        car.run_for(50_000);
    }
    Tape::of(car.frames())
}
