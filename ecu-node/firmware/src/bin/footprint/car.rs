//! Eight ECUs on one bus, in one chip.

use core::cell::RefCell;

use can_bus::Frame;
use can_bus::port::{BusCommand, BusEvent};
use cortex_m::interrupt::Mutex;
use device_chain::limits::MAX_VALIDATORS;
use device_chain::sign::SigningKey;
use device_chain::slot::Slot;
use device_chain::state::State;
use device_chain::types::{Height, Micros, ValidatorIndex};
use ecu_node::Input;
use heapless::Deque;
use static_cell::ConstStaticCell;

use crate::aside::aside;
use crate::memory::{Memory, Port};
use crate::node::{Node, Seen};

/// How many ECUs there are.
pub const N: usize = MAX_VALIDATORS;
/// What a frame takes on the bus, microseconds.
const FRAME_US: u64 = 300;

/// How often an ECU boots in the scenario.
const BOOTS: usize = N + 3;
/// An ECU for each boot, with its memory as it is when the power comes. What one takes of RAM is one of these.
static NODES: [ConstStaticCell<Node>; BOOTS] = [const { ConstStaticCell::new(Node::off()) }; BOOTS];
/// What outlives a loss of power.
static FLASHES: [Mutex<RefCell<Memory>>; N] = [const { Mutex::new(RefCell::new(Memory::NEW)) }; N];

/// The ECUs, and the car around them, which is not theirs to pay for.
pub struct Car {
    nodes: [Option<&'static mut Node>; N],
    pub on: [bool; N],
    /// Frames at the controllers, with sender and token.
    bus: Deque<(ValidatorIndex, u32, Frame), 64>,
    pub seen: [Seen; N],
    /// Who signs grants.
    pub fleet: Slot<SigningKey>,
    now: Micros,
    boots: usize,
}

impl Car {
    /// All as they leave the factory, without power.
    pub const NEW: Self = Self {
        nodes: [const { None }; N],
        on: [false; N],
        bus: Deque::new(),
        seen: [const { Seen::NOTHING }; N],
        fleet: Slot::Empty,
        now: Micros(0),
        boots: 0,
    };

    /// Power for one.
    pub fn boot(&mut self, at: usize) -> Option<()> {
        let node = NODES.get(self.boots)?.take();
        self.boots += 1;
        self.seen[at] = Seen::NOTHING;
        let nonce = (self.boots as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // before it has booted a board has no signature to make: the stack for them is free
        let mut booted = None;
        aside(&mut || booted = node.boot(at as u8, Port(&FLASHES[at]), nonce, self.now));
        booted?;
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
        Port(&FLASHES[at]).with(Memory::wipe).ok()
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

    /// An input for one, made of its state.
    pub fn tell(&mut self, at: usize, input: &dyn Fn(&State) -> Input) -> Option<()> {
        let node = self.nodes[at].as_mut()?;
        node.ecu.handle(self.now, input(node.ecu.validator().state()));
        Some(())
    }

    /// Until `done`, for at most so many seconds.
    pub fn run_until(&mut self, seconds: u64, done: &dyn Fn(&Self) -> bool) -> Option<()> {
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
        self.work()?;
        self.deliver()
    }

    #[inline(never)]
    fn work(&mut self) -> Option<()> {
        for at in 0..N {
            let Some(node) = self.nodes[at].as_mut().filter(|_| self.on[at]) else { continue };
            let bus = &mut self.bus;
            let mut lost = false;
            node.work(self.now, &mut self.seen[at], &mut |command| {
                if let BusCommand::Transmit { token, frame } = command {
                    lost |= bus.push_back((at as u8, token, frame)).is_err();
                } // too late to take anything back
            })?;
            if lost {
                return None;
            }
        }
        Some(())
    }

    #[inline(never)]
    fn deliver(&mut self) -> Option<()> {
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
