//! Eight ECUs on one bus, in one chip.

use core::cell::RefCell;

use can_bus::Frame;
use can_bus::port::{BusCommand, BusEvent};
use cortex_m::interrupt::Mutex;
use device_chain::limits::MAX_VALIDATORS;
use device_chain::state::State;
use device_chain::types::{Height, Micros, ValidatorIndex};
use ecu_node::Input;
use heapless::Deque;
use static_cell::ConstStaticCell;

use crate::memory::{Memory, Port};
use crate::node::{Node, Seen, provision};

/// How many ECUs there are.
pub const N: usize = MAX_VALIDATORS;
/// What a frame takes on the bus, microseconds.
const FRAME_US: u64 = 300;

/// The car around the ECUs: their flashes and the bus, which are not theirs to pay for.
pub struct Around {
    flashes: [Mutex<RefCell<Memory>>; N],
    /// Frames at the controllers, with sender and token.
    bus: Deque<(ValidatorIndex, u32, Frame), 64>,
    pub seen: [Seen; N],
    now: Micros,
    boots: u64,
}

impl Around {
    pub const NEW: Self = Self {
        flashes: [const { Mutex::new(RefCell::new(Memory::NEW)) }; N],
        bus: Deque::new(),
        seen: [Seen { decided_live: 0, seals: 0, caught_up: None, readmitted: false, grants: 0, rewritten: 0 }; N],
        now: Micros(0),
        boots: 0,
    };
}

pub struct Car {
    /// Memory as it is when the power comes: a boot takes one.
    cells: &'static [ConstStaticCell<Node>],
    nodes: [Option<&'static mut Node>; N],
    pub on: [bool; N],
    flashes: &'static [Mutex<RefCell<Memory>>; N],
    bus: &'static mut Deque<(ValidatorIndex, u32, Frame), 64>,
    pub seen: &'static mut [Seen; N],
    now: Micros,
    boots: u64,
}

impl Car {
    /// All as they leave the end of the line.
    pub fn provisioned(cells: &'static [ConstStaticCell<Node>], around: &'static mut Around) -> Option<Self> {
        let Around { flashes, bus, seen, now, boots } = around;
        let nodes = [const { None }; N];
        let car = Self { cells, nodes, on: [false; N], flashes, bus, seen, now: *now, boots: *boots };
        car.flashes.iter().try_for_each(|flash| provision(Port(flash)))?;
        Some(car)
    }

    /// Power for one.
    pub fn boot(&mut self, at: usize) -> Option<()> {
        let (memory, rest) = self.cells.split_first()?;
        self.cells = rest;
        self.boots += 1;
        self.seen[at] = Seen::default();
        let nonce = self.boots.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let node = memory.take();
        node.boot(at as u8, Port(&self.flashes[at]), nonce, self.now)?;
        self.nodes[at] = Some(node);
        self.on[at] = true;
        Some(())
    }

    /// No power for one.
    pub fn kill(&mut self, at: usize) {
        self.on[at] = false;
    }

    /// A new flash in place of the old one.
    pub fn wipe(&mut self, at: usize) -> Option<()> {
        self.kill(at);
        Port(&self.flashes[at]).with(Memory::wipe).ok()
    }

    pub fn powered(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten().zip(&self.on).filter(|(_, on)| **on).map(|(node, _)| &**node)
    }

    pub fn state(&self, at: usize) -> Option<&State> {
        Some(self.nodes[at].as_ref()?.ecu.validator().state())
    }

    pub fn height(&self, at: usize) -> Height {
        self.state(at).map_or(0, State::height)
    }

    pub fn tell(&mut self, at: usize, input: Input) -> Option<()> {
        let now = self.now;
        self.nodes[at].as_mut()?.ecu.handle(now, input);
        Some(())
    }

    /// Until `done`, for at most so many seconds.
    pub fn run_until(&mut self, seconds: u64, done: impl Fn(&Self) -> bool) -> Option<()> {
        let end = self.now.plus(seconds * 1_000_000);
        while !done(self) {
            if self.now > end {
                return None;
            }
            self.step()?;
        }
        Some(())
    }

    /// What everybody has to do, and then the next frame or the next deadline.
    fn step(&mut self) -> Option<()> {
        for at in 0..N {
            let Some(node) = self.nodes[at].as_mut().filter(|_| self.on[at]) else { continue };
            let bus = &mut *self.bus;
            let mut lost = false;
            node.work(self.now, &mut self.seen[at], |command| {
                if let BusCommand::Transmit { token, frame } = command {
                    lost |= bus.push_back((at as u8, token, frame)).is_err();
                } // too late to take anything back
            })?;
            if lost {
                return None;
            }
        }
        let Some((sender, token, frame)) = self.bus.pop_front() else {
            let deadlines = self.powered().filter_map(|node| node.ecu.deadline());
            self.now = deadlines.min()?.max(self.now.plus(1));
            return self.everybody(|_| Input::Tick);
        };
        self.now = self.now.plus(FRAME_US);
        let at_us = self.now.0;
        self.everybody(|at| match at == sender {
            true => Input::Bus(BusEvent::Transmitted { token }),
            false => Input::Bus(BusEvent::Received { segment: 0, at_us, frame }),
        })
    }

    fn everybody(&mut self, input: impl Fn(u8) -> Input) -> Option<()> {
        for (at, node) in (0..).zip(&mut self.nodes) {
            if let (Some(node), true) = (node, self.on[usize::from(at)]) {
                node.ecu.handle(self.now, input(at));
            }
        }
        Some(())
    }
}
