//! Who was away for so long that only the state helps gets it, whoever is against it (C5). A node has memory for one long message, in or
//! out.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use can_bus::Frame;
use can_bus::frame::id_from_raw;
use can_bus::segment::{Prefix, segment};
use can_bus::timing::BitTiming;
use common::{GATEWAY, SECOND_US, next_block};
use device_chain::genesis::{Genesis, WIRE_VERSION};
use device_chain::limits::{MAX_HISTORY, MAX_MESSAGE, MAX_SHORT_MESSAGE};
use device_chain::types::{Hash, Height, ValidatorIndex};
use device_chain::wire::{Header, Kind};
use ecu_node::Input;
use mesh_sim::attackers::{Liar, Rogue, Seat};
use mesh_sim::car::Car;
use mesh_sim::dice::Dice;
use mesh_sim::genesis::Plan;

const N: u8 = 7;
const LIAR: ValidatorIndex = 3;
/// More than anybody remembers.
const TOO_LONG: usize = MAX_HISTORY + 12;
/// Whose identifiers are the least urgent.
const SLEEPER: ValidatorIndex = 6;
const PATIENCE_US: u64 = 5 * SECOND_US;
/// The counters of a liar are ahead of those of the honest node in its place.
const FIRST_COUNTER: u32 = 1 << 24;

fn height(car: &Car, at: u8) -> Height {
    car.ecu(at).map_or(0, |ecu| ecu.validator().state().height())
}

/// Blocks that all decide but for the one who sleeps.
fn blocks(car: &mut Car, sleeper: Option<u8>, count: usize) {
    for _ in 0..count {
        let (end, before, block) = (car.now_us() + SECOND_US, height(car, GATEWAY), next_block(car));
        car.give(GATEWAY, Input::Submit(block));
        let awake =
            |car: &Car| (0..car.ecus.len() as u8).filter(|at| Some(*at) != sleeper).all(|at| height(car, at) > before);
        assert!(car.run_until(end, awake));
    }
}

/// A car in which one has slept for too long.
fn overslept(liar: Option<Box<dyn Liar>>, sleeper: u8) -> Car {
    let mut car = Car::new(Plan::default(), BitTiming::FD_500K_2M);
    car.ecus[usize::from(LIAR)].liar = liar;
    (0..N).for_each(|at| car.boot(at));
    car.run_for(SECOND_US / 2);
    blocks(&mut car, None, TOO_LONG);
    car.crash(sleeper);
    blocks(&mut car, Some(sleeper), TOO_LONG);
    car
}

fn catches_up(car: &mut Car, sleeper: u8) -> bool {
    car.boot(sleeper);
    let (top, end) = (height(car, GATEWAY), car.now_us() + PATIENCE_US);
    car.run_until(end, |car| height(car, sleeper) >= top)
}

/// The state of a small car at some heights is no longer than other messages.
#[test]
fn a_short_state_is_served_as_well() {
    let sleeper = 3;
    let mut car = Car::new(Plan { validators: 4, ..Plan::default() }, BitTiming::FD_500K_2M);
    (0..4).for_each(|at| car.boot(at));
    car.run_for(SECOND_US / 2);
    blocks(&mut car, None, 256 - TOO_LONG);
    car.crash(sleeper);
    blocks(&mut car, Some(sleeper), TOO_LONG);
    let state = car.ecu(GATEWAY).and_then(|ecu| ecu.validator().state().encode()).expect("fits");
    assert!(state.len() + 24 <= MAX_SHORT_MESSAGE, "{} bytes at a height with one bit", state.len());
    assert!(catches_up(&mut car, sleeper));
}

/// Asks the sleeper for its state whenever it has asked for that of another.
struct AsksTheSleeper {
    sleeper: ValidatorIndex,
    due_ns: Rc<Cell<Option<u64>>>,
    counter: u32,
}

impl Liar for AsksTheSleeper {
    fn edit(&mut self, _: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        // behind its own counters those of the honest node are replays
        if self.due_ns.get().is_none() && self.counter == FIRST_COUNTER { vec![frame] } else { Vec::new() }
    }

    fn due_ns(&self) -> Option<u64> {
        self.due_ns.get()
    }

    fn act(&mut self, _: u64, seat: &mut Seat<'_>) -> Vec<Frame> {
        self.due_ns.set(None);
        self.counter += 1;
        let sync = Header { counter: self.counter, ..Header::new(Kind::Sync, 0).round(self.sleeper) };
        seat.frames(sync, &Hash::NIL, &[], u8::MAX)
    }
}

#[test]
fn who_is_asked_for_its_state_while_it_waits_for_another_gets_that_first() {
    for sleeper in [1, SLEEPER] {
        let due_ns = Rc::new(Cell::new(None));
        let liar = AsksTheSleeper { sleeper, due_ns: due_ns.clone(), counter: FIRST_COUNTER };
        let mut car = overslept(Some(Box::new(liar)), sleeper);
        car.tap(move |now_ns, _, frame| {
            let asks = |header: &Header| (header.kind, header.sender) == (Kind::Sync, sleeper);
            if Header::parse(frame.data()).is_some_and(|header| asks(&header)) {
                due_ns.set(Some(now_ns));
            }
        });
        assert!(catches_up(&mut car, sleeper), "{sleeper}");
    }
}

/// Without keys: makes all ask for a present that is none, and then sends segments in the middle of no transfer, on the
/// identifiers of those who are asked.
struct HoldsTheMemory {
    genesis: Genesis,
    due_ns: u64,
    turn: u8,
}

const HELD: [ValidatorIndex; 2] = [1, 2];
const PAUSE_NS: u64 = 60_000_000;

impl Rogue for HoldsTheMemory {
    fn hear(&mut self, _: u64, _: &Frame, _: &mut Dice) -> Vec<Frame> {
        Vec::new()
    }

    fn due_ns(&self) -> Option<u64> {
        Some(self.due_ns)
    }

    fn act(&mut self, now_ns: u64, _: &mut Dice) -> Vec<Frame> {
        self.due_ns = now_ns + PAUSE_NS;
        self.turn = self.turn.wrapping_add(1);
        let (mesh, suite) = (self.genesis.mesh().short(), self.genesis.suite.code());
        let mut frames = Vec::new();
        for sender in HELD {
            let identifiers = self.genesis.validators[usize::from(sender)].identifiers;
            if self.turn.is_multiple_of(4) {
                let header = Header { mesh, suite, sender, counter: 9999, ..Header::new(Kind::Decided, 1_000_000) };
                let bytes = [&header.to_bytes()[..], &[7; 48]].concat();
                frames.extend(id_from_raw(identifiers.control).and_then(|id| Frame::fd_padded(id, &bytes).ok()));
            }
            let prefix = Prefix { mesh, version: WIRE_VERSION, suite, kind: 0, sender };
            let segment = segment(prefix, self.turn, &[1; MAX_MESSAGE / 4], 3).expect("not behind the end");
            frames.extend(id_from_raw(identifiers.bulk).and_then(|id| Frame::fd(id, &segment).ok()));
        }
        frames
    }
}

#[test]
fn somebody_without_keys_keeps_nobody_from_serving_its_state() {
    let mut car = overslept(None, SLEEPER);
    let rogue = HoldsTheMemory { genesis: car.genesis.clone(), due_ns: car.now_ns(), turn: 0 };
    car.let_in(Some(Box::new(rogue)));
    car.run_for(20 * SECOND_US);
    assert!(catches_up(&mut car, SLEEPER));
}
