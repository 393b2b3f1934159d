//! A simulated car: ECUs, one segment or two, one virtual time.

mod carry_out;
mod endpoints;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use can_bus::Frame;
use can_bus::port::{BusCommand, BusEvent};
use can_bus::timing::BitTiming;
use device_chain::genesis::Genesis;
use device_chain::grant::SignedGrant;
use device_chain::types::{Hash, Micros, Signature, ValidatorIndex};
use device_chain::wire::{Header, Kind, NIL_PROPOSER};
use ecu_node::{Ecu, Input};

use crate::attackers::Rogue;
use crate::dice::Dice;
use crate::ecu::{LIARS_TOKENS, SimEcu};
use crate::endpoint::SimEndpoint;
use crate::event::{Event, Station, What};
use crate::faults::{Fate, Link, Noise};
use crate::genesis::Plan;
use crate::keys::{Keyring, SharedKeys};
use crate::load::Load;
use crate::router::{self, Router};
use crate::segments::Segments;
use crate::wiretap::Wiretap;
use crate::writer::Writer;

/// Identifiers of 11 bits.
const STANDARD_IDS: usize = 1 << 11;

/// Somebody outside who hears every frame that ends on a wire: when, in ns, on which segment, and the frame.
type Tap = Box<dyn FnMut(u64, usize, &Frame)>;

/// The validator that joins the segments: they lose each other when it loses its power.
const GATEWAY: u8 = 0;

/// A car.
pub struct Car {
    plan: Plan,
    timing: BitTiming,
    /// Its genesis.
    pub genesis: Genesis,
    /// Its keys.
    pub keyring: Keyring,
    /// Its wires.
    pub segments: Segments,
    /// Its validators, then twins.
    pub ecus: Vec<SimEcu>,
    /// Its endpoints.
    pub endpoints: Vec<SimEndpoint>,
    /// Who the stations are.
    stations: Vec<Station>,
    /// What happens to bits on the wire.
    pub noise: Rc<RefCell<Noise>>,
    /// What happens to frames at their receivers.
    pub link: Link,
    /// Bit per ECU that loses its power for a moment as soon as it has promised to decide something: its PRECOMMIT for a value was on
    /// the wire.
    pub brownouts: u16,
    /// What has happened, until somebody takes it.
    pub events: Vec<Event>,
    rogue: Option<Box<dyn Rogue>>,
    load: Option<Load>,
    tap: Option<Tap>,
    wiretap: Wiretap,
    /// Identifiers of the mesh, as the acceptance filters of its controllers know them.
    mesh_ids: Vec<bool>,
    /// Run-wide: the same signature is made, and checked, once. Virtual time passes all the same.
    signatures: BTreeMap<(ValidatorIndex, Hash), Signature>,
    genuine: VecDeque<(SignedGrant, bool)>,
    dice: Dice,
    /// Of the last frame of somebody who is no ECU.
    token: u32,
    now_ns: u64,
    /// Is told of all that happens to one ECU.
    recorder: Option<(u8, Recorder)>,
}

/// Takes the local time of an ECU and an input, or `None` when it is polled until it has nothing more to say.
pub type Recorder = Box<dyn FnMut(Micros, Option<&Input>)>;

impl Car {
    /// A car whose ECUs are provisioned and off.
    ///
    /// # Panics
    /// If the plan exceeds the limits of a genesis.
    #[must_use]
    pub fn new(plan: Plan, timing: BitTiming) -> Self {
        Self::seeded(plan, timing, 0)
    }

    /// The same; `seed` is where its chances come from.
    ///
    /// # Panics
    /// If the plan exceeds the limits of a genesis.
    #[must_use]
    pub fn seeded(plan: Plan, timing: BitTiming, seed: u64) -> Self {
        let genesis = plan.genesis();
        let far = plan.segment_count() - 1;
        let mut segments = Segments::new(&[timing; 2][..=far]);
        let ecus = (0..plan.validators).map(|at| {
            let station = segments.attach(plan.segment(at));
            segments.silence(station);
            SimEcu::provisioned(at, station, &plan, &genesis)
        });
        let ecus: Vec<_> = ecus.collect();
        let mut stations: Vec<_> = (0..plan.validators).map(Station::Ecu).collect();
        for (station, segment) in [(Station::Rogue, far), (Station::Load, 0)] {
            segments.attach(segment);
            stations.push(station);
        }
        if far > 0 {
            let router = segments.join();
            segments.silence(router);
            stations.push(Station::Router);
        }
        let noise = Rc::new(RefCell::new(Noise::quiet(stations.len(), Dice::new(seed, 6))));
        for segment in 0..=far {
            let disturb = noise.clone();
            segments.bus_mut(segment).disturb_when(move |sent| disturb.borrow_mut().disturbance(sent));
        }
        let mut mesh_ids = vec![false; STANDARD_IDS];
        genesis.identifiers().for_each(|(_, id)| mesh_ids[id as usize] = true);
        Self {
            keyring: Keyring::new(&plan, &genesis),
            wiretap: Wiretap::new(&genesis),
            link: Link::perfect(Dice::new(seed, 1)),
            dice: Dice::new(seed, 2),
            brownouts: 0,
            events: Vec::new(),
            endpoints: Vec::new(),
            rogue: None,
            load: None,
            tap: None,
            signatures: BTreeMap::new(),
            genuine: VecDeque::new(),
            token: 0,
            now_ns: 0,
            recorder: None,
            plan,
            timing,
            genesis,
            segments,
            ecus,
            stations,
            noise,
            mesh_ids,
        }
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

    /// What it is made of.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The bit rates of its wires.
    #[must_use]
    pub const fn timing(&self) -> BitTiming {
        self.timing
    }

    /// Virtual time, µs.
    #[must_use]
    pub const fn now_us(&self) -> u64 {
        self.now_ns / 1000
    }

    /// Virtual time, ns.
    #[must_use]
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The pump of a powered ECU.
    #[must_use]
    pub fn ecu(&self, at: u8) -> Option<&Ecu<SharedKeys>> {
        self.ecus[usize::from(at)].pump()
    }

    /// From now on somebody without keys hears and speaks.
    pub fn let_in(&mut self, rogue: Option<Box<dyn Rogue>>) {
        self.rogue = rogue;
    }

    /// A grant that was signed by the fleet's own hand need not be checked again and again.
    pub fn vouch(&mut self, signed: SignedGrant) {
        carry_out::remember(&mut self.genuine, signed, true);
    }

    /// From now on the rest of the car is on the bus, too.
    pub fn load(&mut self, load: Load) {
        self.load = Some(load);
    }

    /// From now on `tap` hears every frame.
    pub fn tap(&mut self, tap: impl FnMut(u64, usize, &Frame) + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// Another ECU with the identity, the keys and the memory of one that is there, off, on the last segment; its index.
    pub fn add_twin(&mut self, of: u8) -> u8 {
        let station = self.segments.attach(self.segments.count() - 1);
        self.segments.silence(station);
        let twin = self.ecus[usize::from(of)].twin(station, &self.plan, &self.genesis);
        let at = self.ecus.len() as u8;
        self.stations.push(Station::Ecu(at));
        self.ecus.push(twin);
        at
    }

    /// Bit per station whose controllers are those of an ECU: of the gateway, the router's, too.
    #[must_use]
    pub fn stations_of(&self, at: u8) -> u32 {
        1 << self.ecus[usize::from(at)].station | self.router_in(at).map_or(0, |router| 1 << router)
    }

    /// Notes something that was done to the car.
    pub fn note(&mut self, fault: impl Into<String>) {
        self.push(What::Fault(fault.into()));
    }

    fn push(&mut self, what: What) {
        self.events.push(Event { at_ns: self.now_ns, what });
    }

    /// Powers an ECU; whatever its flash holds decides what it may do. One whose flash cannot be opened takes no part.
    ///
    /// # Panics
    /// There is no such ECU.
    pub fn boot(&mut self, at: u8) {
        if let Some(router) = self.router_in(at) {
            self.segments.start(router);
        }
        let ecu = &mut self.ecus[usize::from(at)];
        let Some(nonce) = ecu.boot(&self.genesis, &self.keyring, self.now_ns) else { return };
        self.segments.start(ecu.station);
        let (diagnosis, pump) = (ecu.diagnosis.expect("booted"), ecu.pump().expect("booted"));
        let height = pump.validator().state().height();
        self.push(What::Booted { ecu: at, nonce, diagnosis, height });
        self.give(at, Input::Tick);
    }

    /// The station of the router that shares its power with an ECU.
    fn router_in(&self, at: u8) -> Option<usize> {
        self.segments.router.as_ref().filter(|_| at == GATEWAY).map(Router::station)
    }

    /// Takes the power from an ECU: RAM is lost, flash stays.
    pub fn crash(&mut self, at: u8) {
        self.lose_power(at, false);
    }

    fn lose_power(&mut self, at: u8, torn: bool) {
        let ecu = &mut self.ecus[usize::from(at)];
        if let Some(mut running) = ecu.running.take() {
            ecu.at_controller.clear();
            self.segments.silence(ecu.station);
            if let Some(router) = self.router_in(at) {
                self.segments.silence(router);
            }
            for record in running.facts_until(if torn { u64::MAX } else { running.begun }) {
                self.push(What::Durable { ecu: at, record, torn: true });
            }
            self.push(What::Off { ecu: at, torn });
            self.ecus[usize::from(at)].reckon();
        }
    }

    /// Erases the flash of an ECU.
    pub fn wipe(&mut self, at: u8) {
        self.ecus[usize::from(at)].flash.restore(None);
    }

    /// An ECU does nothing for a while, and hears nothing; what it knows stays.
    pub fn pause(&mut self, at: u8, us: u64) {
        let ecu = &mut self.ecus[usize::from(at)];
        if let Some(running) = &mut ecu.running {
            running.paused_until_ns = self.now_ns + us * 1000;
            ecu.reckon();
        }
    }

    /// How the flash of a powered ECU fares.
    #[must_use]
    pub fn journal(&self, at: u8) -> Option<&Writer> {
        self.ecus[usize::from(at)].running.as_ref().map(|running| &running.journal)
    }

    /// Gives an ECU an input, as its application would.
    pub fn give(&mut self, at: u8, input: Input) {
        match &input {
            Input::Submit(tx) => self.push(What::Asked { ecu: at, tx: tx.clone() }),
            Input::Endorsement(endorsement) => {
                self.push(What::Endorsed { ecu: at, endorsement: Box::new(*endorsement) })
            }
            Input::Measured(firmware) => self.push(What::Measured { ecu: at, firmware: *firmware }),
            Input::Grant(signed) => self.push(What::Granted { ecu: at, grant: Box::new(signed.clone()) }),
            _ => {}
        }
        self.handle(at, input);
    }

    /// Records all that happens to an ECU.
    pub fn record(&mut self, at: u8, recorder: Recorder) {
        self.recorder = Some((at, recorder));
    }

    fn handle(&mut self, at: u8, input: Input) {
        let ecu = &mut self.ecus[usize::from(at)];
        if let Some(running) = &mut ecu.running {
            if running.waits(self.now_ns) {
                running.answers.push((self.now_ns, input));
                return ecu.reckon();
            }
            let now = Micros(ecu.clock.local_us(self.now_ns));
            note(&mut self.recorder, at, now, Some(&input));
            running.ecu.handle(now, input);
            self.carry_out(at);
        }
    }

    /// Sends a frame from a place without keys.
    pub fn inject(&mut self, frame: Frame) {
        self.send(Station::Rogue, frame);
    }

    /// Nobody waits for these frames: one that the controller has no room for is lost.
    fn send(&mut self, station: Station, frame: Frame) {
        if let Some(at) = self.stations.iter().position(|known| *known == station) {
            self.token = self.token.wrapping_add(1);
            let _ = self.segments.command(self.now_ns, at, BusCommand::Transmit { token: self.token, frame });
        }
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
            if !self.step(end_us * 1000) {
                return false;
            }
        }
    }

    /// Goes to the next moment at which something happens, at most to `end_ns`; whether it came before.
    pub fn step(&mut self, end_ns: u64) -> bool {
        let next = self.next_ns();
        if next > end_ns {
            self.now_ns = self.now_ns.max(end_ns);
            (0..self.segments.count()).for_each(|segment| drop(self.segments.advance(segment, end_ns)));
            return false;
        }
        self.now_ns = next;
        for segment in 0..self.segments.count() {
            let heard = self.segments.advance(segment, next);
            let mut rest = &heard[..];
            while !rest.is_empty() {
                // the bus tells its stations of a frame in their order
                let one = 1 + rest.windows(2).take_while(|pair| pair[0].0 < pair[1].0).count();
                let (frame, later) = rest.split_at(one);
                self.end_of_frame(segment, frame);
                rest = later;
            }
        }
        self.act();
        for at in 0..self.ecus.len() as u8 {
            self.run(at);
        }
        for at in 0..self.endpoints.len() as u8 {
            self.run_endpoint(at);
        }
        true
    }

    fn next_ns(&self) -> u64 {
        let ecus = self.ecus.iter().filter_map(|ecu| ecu.due_ns);
        let rogue = self.rogue.as_ref().and_then(|rogue| rogue.due_ns());
        let others = [rogue, self.load.as_ref().and_then(Load::due_ns), self.segments.next_at()];
        let endpoints = self.endpoints.iter().filter_map(SimEndpoint::due_ns);
        ecus.chain(endpoints).chain(others.into_iter().flatten()).min().unwrap_or(u64::MAX).max(self.now_ns)
    }

    /// Those who send of their own accord.
    fn act(&mut self) {
        self.segments.forward(self.now_ns);
        while let Some(frame) = self.load.as_mut().and_then(|load| load.due(self.now_ns)) {
            self.send(Station::Load, frame);
        }
        if let Some(mut rogue) = self.rogue.take() {
            if rogue.due_ns().is_some_and(|due| due <= self.now_ns) {
                let frames = rogue.act(self.now_ns, &mut self.dice);
                frames.into_iter().for_each(|frame| self.inject(frame));
            }
            self.rogue = Some(rogue);
        }
    }

    /// What is due at an ECU.
    fn run(&mut self, at: u8) {
        let (ecu, now_ns) = (&mut self.ecus[usize::from(at)], self.now_ns);
        if ecu.due_ns.is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        let reading = ecu.due_reading(now_ns);
        let Some(running) = &mut ecu.running else { return };
        running.answers.extend(reading.map(|reading| (now_ns, reading)));
        if running.overrun > 0 {
            let frames = std::mem::take(&mut running.overrun);
            running.answers.push((now_ns, Input::Bus(BusEvent::Overrun { frames })));
        }
        if running.waits(now_ns) {
            return ecu.reckon();
        }
        running.busy_until_ns = 0;
        if let Some(command) = running.sealed.take() {
            self.command(at, command);
        }
        let ecu = &mut self.ecus[usize::from(at)];
        let Some(running) = &mut ecu.running else { return };
        let now = Micros(ecu.clock.local_us(now_ns));
        while !running.waits(now_ns)
            && let Some(input) = running.due_answer(now_ns)
        {
            if let Input::Persisted(token) = input {
                let durable = |record| What::Durable { ecu: at, record, torn: false };
                let facts = running.facts_until(token).into_iter().map(durable);
                self.events.extend(facts.map(|what| Event { at_ns: now_ns, what }));
            }
            if matches!(input, Input::Kept) {
                ecu.pairs = running.keeping.take();
            }
            note(&mut self.recorder, at, now, Some(&input));
            running.ecu.handle(now, input);
        }
        if !running.waits(now_ns) && running.ecu.deadline().is_some_and(|due| due <= now) {
            note(&mut self.recorder, at, now, Some(&Input::Tick));
            running.ecu.handle(now, Input::Tick);
        }
        self.carry_out(at);
        self.liar_acts(at);
    }

    /// A frame ended on a segment; `told` is what that tells its stations.
    fn end_of_frame(&mut self, segment: usize, told: &[(usize, BusEvent)]) {
        let received = told.iter().find_map(|(_, event)| match event {
            BusEvent::Received { frame, .. } => Some(*frame),
            _ => None,
        });
        let Some(frame) = received else {
            return told.iter().for_each(|(station, event)| self.tell(segment, *station, *event));
        };
        if let Some(tap) = &mut self.tap {
            tap(self.now_ns, segment, &frame);
        }
        let id = frame.raw_id() as usize;
        if !self.mesh_ids.get(id).is_some_and(|known| *known) {
            return self.foreign(segment, told); // the acceptance filters of the mesh's controllers
        }
        let sender = self.sender_of(segment, &frame);
        if self.stations[sender] != Station::Router {
            let _ = self.wiretap.hear(&frame);
        }
        let event = self.events.len();
        self.push(What::Frame { sender: self.stations[sender], heard: 0, frame });
        let lost = self.link.is_lost();
        for (station, told) in told {
            let fate = if lost { Fate::Missed } else { self.link.fate(sender, *station, &frame) };
            let (times, frame) = match (told, fate) {
                (BusEvent::Received { .. }, Fate::Missed) => continue,
                (BusEvent::Received { .. }, Fate::Heard) => (1, frame),
                (BusEvent::Received { .. }, Fate::Twice) => (2, frame),
                (BusEvent::Received { .. }, Fate::Corrupt(other)) => (1, other),
                _ => {
                    self.tell(segment, *station, *told);
                    continue;
                }
            };
            if let Station::Ecu(ecu) = self.stations[*station]
                && self.ecus[usize::from(ecu)].hears(self.now_ns)
            {
                match &mut self.events[event].what {
                    What::Frame { heard, .. } if !matches!(fate, Fate::Corrupt(_)) => *heard |= 1 << ecu,
                    _ => self.push(What::Corrupted { ecu, frame }),
                }
            }
            let event = BusEvent::Received { segment: segment as u8, at_us: self.now_us(), frame };
            (0..times).for_each(|_| self.tell(segment, *station, event));
        }
        if let Station::Ecu(at) = self.stations[sender] {
            self.brown_out(at, &frame);
        }
    }

    fn brown_out(&mut self, at: u8, sent: &Frame) {
        let promise = |sent: &Header| sent.kind == Kind::Precommit && sent.hint_proposer != NIL_PROPOSER;
        if self.brownouts >> at & 1 == 1 && Header::parse(sent.data()).as_ref().is_some_and(promise) {
            self.brownouts &= !(1 << at);
            self.crash(at);
            self.boot(at);
        }
    }

    /// A frame that is not the mesh's: only the router minds it.
    fn foreign(&mut self, segment: usize, told: &[(usize, BusEvent)]) {
        let Some(router) = self.segments.router.as_ref().map(Router::station) else { return };
        for (_, event) in told.iter().filter(|(station, _)| *station == router) {
            if !matches!(event, BusEvent::Received { frame, .. } if !router::is_wanted_on_both(frame)) {
                self.tell(segment, router, *event);
            }
        }
    }

    /// Whose controller has a frame to send on a segment. Receivers may be told before the sender is.
    fn sender_of(&self, segment: usize, frame: &Frame) -> usize {
        // an error-passive controller changes a flag of the frame
        let same = |(_, own): &(u32, Frame)| own.id() == frame.id() && own.data() == frame.data();
        let sends = |ecu: &&SimEcu| ecu.at_controller.iter().any(same) && self.segments.sits_on(ecu.station, segment);
        let router = || self.segments.router.as_ref().filter(|router| router.at_port(segment).iter().any(same));
        let endpoint = || {
            self.endpoints
                .iter()
                .find(|of| of.at_controller.iter().any(same) && self.segments.sits_on(of.station, segment))
        };
        let sender = self.ecus.iter().find(sends).map(|ecu| ecu.station);
        let sender = sender.or_else(|| endpoint().map(|endpoint| endpoint.station));
        sender.or_else(|| router().map(Router::station)).unwrap_or(self.plan.validators.into())
    }

    fn tell(&mut self, segment: usize, station: usize, event: BusEvent) {
        match self.stations[station] {
            Station::Ecu(at) => self.tell_ecu(at, event),
            Station::Rogue => {
                let BusEvent::Received { frame, .. } = event else { return };
                if let Some(mut rogue) = self.rogue.take() {
                    let frames = rogue.hear(self.now_ns, &frame, &mut self.dice);
                    frames.into_iter().for_each(|frame| self.inject(frame));
                    self.rogue = Some(rogue);
                }
            }
            Station::Router => self.segments.tell_router(self.now_ns, segment, &event, &mut self.dice),
            Station::Endpoint(at) => self.tell_endpoint(at, event),
            Station::Load => {}
        }
    }

    fn tell_ecu(&mut self, at: u8, event: BusEvent) {
        let (ecu, now_ns) = (&mut self.ecus[usize::from(at)], self.now_ns);
        if let BusEvent::Transmitted { token } | BusEvent::Dropped { token } = event {
            ecu.at_controller.retain(|(known, _)| *known != token);
            if token >= LIARS_TOKENS {
                return;
            }
        }
        match &mut ecu.running {
            Some(running) if running.is_paused(now_ns) => {
                match event {
                    BusEvent::Received { .. } => running.overrun += 1,
                    event => running.answers.push((now_ns, Input::Bus(event))),
                }
                ecu.reckon();
            }
            Some(_) => self.handle(at, Input::Bus(event)),
            None => {}
        }
    }

    /// The mesh frames that ECUs have sent.
    pub fn frames(&self) -> impl Iterator<Item = Frame> {
        self.events.iter().filter_map(|event| match event.what {
            What::Frame { sender: Station::Ecu(_), frame, .. } => Some(frame),
            _ => None,
        })
    }

    /// The hashes that an ECU decided, by height.
    #[must_use]
    pub fn chain(&self, at: u8) -> Vec<(u32, Hash)> {
        self.ecus[usize::from(at)].decisions.iter().map(|decision| (decision.height, decision.hash)).collect()
    }
}

fn note(recorder: &mut Option<(u8, Recorder)>, at: u8, now: Micros, input: Option<&Input>) {
    if let Some((_, recorder)) = recorder.as_mut().filter(|(of, _)| *of == at) {
        recorder(now, input);
    }
}
