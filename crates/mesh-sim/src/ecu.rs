//! One ECU of the car: what outlives a loss of power, and what does not.

use can_bus::Frame;
use can_bus::port::BusCommand;
use device_chain::block::Seal;
use device_chain::genesis::Genesis;
use device_chain::keys::Kept;
use device_chain::record::Record;
use device_chain::types::{Micros, ValidatorIndex};
use device_chain::validator::{Boot, Decision, Report};
use ecu_node::store::{self, Diagnosis};
use ecu_node::{Ecu, Input};
use journal::{Counter, MemError, OpenError};

use crate::attackers::{Liar, Seat};
use crate::clock::{Clock, READ_EVERY_NS, WallClock};
use crate::dice::Dice;
use crate::faults;
use crate::flash::{SharedCounter, SharedFlash};
use crate::genesis::Plan;
use crate::keys::{Keyring, SharedKeys};
use crate::wiretap::Wiretap;
use crate::writer::Writer;

/// Tokens from here on are frames that a liar adds: its honest ECU knows nothing of them.
pub(crate) const LIARS_TOKENS: u32 = 1 << 31;

/// An ECU that is powered.
pub(crate) struct Running {
    pub ecu: Box<Ecu<SharedKeys>>,
    pub keys: SharedKeys,
    pub journal: Writer,
    /// What its key store makes durable now.
    pub keeping: Option<Kept>,
    /// Answers that are under way: when, ns, and what.
    pub answers: Vec<(u64, Input)>,
    /// Facts that were handed to the journal, by token, and the token up to which a job of the flash has begun.
    pub facts: Vec<(u64, Record)>,
    pub begun: u64,
    /// It does nothing until then; frames that come in are lost.
    pub paused_until_ns: u64,
    /// It waits for its key store until then; what comes in waits, too. And what it will have to send then.
    pub busy_until_ns: u64,
    pub sealed: Option<BusCommand>,
    pub overrun: u32,
    /// That its flash has failed is among the events.
    pub is_known_to_abstain: bool,
}

impl Running {
    /// The first answer that is due.
    pub fn due_answer(&mut self, now_ns: u64) -> Option<Input> {
        let due = self.answers.iter().position(|(due_ns, _)| *due_ns <= now_ns)?;
        Some(self.answers.remove(due).1)
    }

    /// The facts up to a token.
    pub fn facts_until(&mut self, token: u64) -> Vec<Record> {
        let later = self.facts.partition_point(|(at, _)| *at <= token);
        self.facts.drain(..later).map(|(_, fact)| fact).collect()
    }

    /// What a liar in this ECU's place has.
    pub fn seat<'a>(
        &'a self,
        me: ValidatorIndex,
        genesis: &'a Genesis,
        wiretap: &'a Wiretap,
        dice: &'a mut Dice,
    ) -> Seat<'a> {
        let validator = self.ecu.validator();
        let (registry, state, round) = (validator.registry(), validator.state(), validator.round());
        Seat { me, genesis, registry, keys: &self.keys, state, round, wiretap, dice }
    }

    /// Takes the time that its key store has taken; whether it is busy now.
    pub fn waits(&mut self, now_ns: u64) -> bool {
        let elapsed_us = self.keys.elapsed_us();
        if elapsed_us > 0 {
            self.busy_until_ns = self.busy_until_ns.max(now_ns) + elapsed_us * 1000;
        }
        now_ns < self.busy_until_ns
    }

    pub const fn is_paused(&self, now_ns: u64) -> bool {
        now_ns < self.paused_until_ns
    }
}

/// An ECU, powered or not.
pub struct SimEcu {
    /// Its place in the genesis. A twin has the place of another.
    pub place: ValidatorIndex,
    pub(crate) station: usize,
    /// What its key store has made durable, if its keys move on.
    pub pairs: Option<Kept>,
    /// Whether they do.
    pub(crate) keys_move: bool,
    /// Its flash.
    pub flash: SharedFlash,
    /// The counter beside it.
    pub counter: SharedCounter,
    pub(crate) clock: Clock,
    /// Its wall clock, if it has one, and when its application reads it next, ns.
    wall: Option<(WallClock, u64)>,
    /// Makes the key store of each boot; without it that is in software.
    pub key_store: Option<Box<dyn FnMut() -> SharedKeys>>,
    /// When it has something to do, ns: kept, for most of what happens in a car does not concern most ECUs.
    pub(crate) due_ns: Option<u64>,
    /// What it is in the hands of.
    pub liar: Option<Box<dyn Liar>>,
    pub(crate) running: Option<Box<Running>>,
    pub(crate) boots: u64,
    pub(crate) liars_token: u32,
    /// Frames at the controller: token and frame.
    pub(crate) at_controller: Vec<(u32, Frame)>,
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

impl SimEcu {
    /// An ECU as it leaves the end of the line.
    ///
    /// # Panics
    /// If its flash is too small for a journal.
    #[must_use]
    pub fn provisioned(place: ValidatorIndex, station: usize, plan: &Plan, genesis: &Genesis) -> Self {
        let mut flash = SharedFlash::new(plan.flash);
        store::format::<_, SharedCounter>(&mut flash, genesis).expect("the flash is large enough");
        Self {
            place,
            station,
            pairs: None,
            keys_move: plan.keys_move,
            flash,
            counter: SharedCounter::default(),
            clock: Clock::TRUE,
            wall: None,
            key_store: None,
            due_ns: None,
            liar: None,
            running: None,
            boots: 0,
            liars_token: LIARS_TOKENS,
            at_controller: Vec::new(),
            decisions: Vec::new(),
            reports: Vec::new(),
            seals: Vec::new(),
            diagnosis: None,
            refused: None,
        }
    }

    /// Another ECU with the identity, the keys and the memory of this one.
    ///
    /// # Panics
    /// Never: a counter in memory does not fail.
    #[must_use]
    pub fn twin(&self, station: usize, plan: &Plan, genesis: &Genesis) -> Self {
        let mut twin = Self::provisioned(self.place, station, plan, genesis);
        twin.pairs.clone_from(&self.pairs);
        twin.flash.restore(Some(self.flash.image()));
        twin.counter.raise(self.counter.value()).expect("memory");
        twin
    }

    /// The pump, while it is powered.
    #[must_use]
    pub fn pump(&self) -> Option<&Ecu<SharedKeys>> {
        self.running.as_ref().map(|running| &*running.ecu)
    }

    /// Whether what comes in now reaches its pump.
    pub(crate) fn hears(&self, now_ns: u64) -> bool {
        self.running.as_ref().is_some_and(|running| !running.is_paused(now_ns))
    }

    /// Powers it; whatever its flash holds decides what it may do. Returns the nonce of the boot; `None` if its flash
    /// cannot be opened: it then takes no part.
    pub(crate) fn boot(&mut self, genesis: &Genesis, keyring: &Keyring, now_ns: u64) -> Option<u64> {
        self.boots += 1;
        (self.running, self.due_ns) = (None, None);
        faults::restore_power(&self.flash);
        let ports = (self.flash.clone(), self.counter.clone());
        let (place, pairs, keys_move) = (self.place, &self.pairs, self.keys_move);
        let in_software = || {
            let mut keys = keyring.store(place);
            if keys_move {
                keys.keep();
                assert!(pairs.as_ref().is_none_or(|kept| keys.restore(kept)), "what it has written itself");
            }
            SharedKeys::soft(keys)
        };
        let keys = self.key_store.as_mut().map_or_else(in_software, |make| make());
        let mut ecu = Box::new(Ecu::new(keys.clone()));
        ecu.validator_mut().install(genesis, self.place).expect("in genesis");
        let opened = match ecu.recover(&mut || Ok(ports.clone())) {
            Ok(opened) => opened,
            Err(error) => {
                self.refused = Some(error);
                return None;
            }
        };
        self.refused = None;
        // any nonce will do that is new at every boot of every device of every car
        let mesh = u64::from(genesis.mesh().short());
        let nonce = mesh << 32 | self.boots << 8 | self.station as u64;
        ecu.validator_mut().start(Boot { nonce }, Micros(self.clock.local_us(now_ns)));
        self.diagnosis = Some(opened.diagnosis);
        self.running = Some(Box::new(Running {
            ecu,
            keys,
            journal: Writer::new(opened.store, self.flash.clone()),
            keeping: None,
            answers: Vec::new(),
            facts: Vec::new(),
            begun: 0,
            paused_until_ns: 0,
            busy_until_ns: 0,
            sealed: None,
            overrun: 0,
            is_known_to_abstain: false,
        }));
        Some(nonce)
    }

    /// Sets its clock.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.reckon();
    }

    /// Gives it a wall clock, or another one; its application reads it from now on.
    pub fn set_wall_clock(&mut self, wall: Option<WallClock>, now_ns: u64) {
        self.wall = wall.map(|wall| (wall, now_ns));
        self.reckon();
    }

    /// What its wall clock shows, if it is to be read.
    pub(crate) fn due_reading(&mut self, now_ns: u64) -> Option<Input> {
        let (wall, due_ns) = self.wall.as_mut().filter(|(_, due_ns)| *due_ns <= now_ns)?;
        *due_ns = now_ns + READ_EVERY_NS;
        Some(Input::Clock(wall.reads(now_ns)))
    }

    /// Works out when it has something to do next; to be called whenever anything has changed.
    pub(crate) fn reckon(&mut self) {
        self.due_ns = self.running.as_ref().and_then(|running| {
            let deadline = running.ecu.deadline().map(|at| self.clock.when_ns(at.0));
            let next = running.answers.iter().map(|(due_ns, _)| *due_ns).chain(deadline).min();
            let resumes = (running.overrun > 0).then_some(running.paused_until_ns);
            let busy = (running.busy_until_ns > 0).then_some(running.busy_until_ns);
            let lie = self.liar.as_ref().and_then(|liar| liar.due_ns());
            let wall = self.wall.map(|(_, due_ns)| due_ns);
            let next = next.into_iter().chain(lie).chain(wall).min();
            let next = next.into_iter().chain(busy).min().map(|at| at.max(running.busy_until_ns));
            next.map(|at| at.max(running.paused_until_ns)).into_iter().chain(resumes).min()
        });
    }
}
