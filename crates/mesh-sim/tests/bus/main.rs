//! The simulated bus: who sends when, who hears it, and what happens when something goes wrong.

use can_bus::frame::id_from_raw;
use can_bus::timing::BitTiming;
use can_bus::{BusCommand, BusEvent, ErrorState, Frame};
use mesh_sim::bus::SimBus;
use mesh_sim::wire::length::Length;

mod confinement;
mod faults;
mod order;
mod ways;

const TIMING: BitTiming = BitTiming::FD_500K_2M;
/// A nominal bit.
const BIT_NS: u64 = 2_000;
const INTERMISSION_NS: u64 = 3 * BIT_NS;

/// A 64-byte frame.
fn frame(raw: u32) -> Frame {
    Frame::fd(id_from_raw(raw).expect("an identifier"), &[raw as u8; 64]).expect("a length")
}

/// How long it holds the wire, intermission included.
fn frame_ns(raw: u32) -> u64 {
    Length::of(&frame(raw)).ns(&TIMING)
}

fn bus(nodes: usize) -> SimBus {
    let mut bus = SimBus::new(2, TIMING);
    for _ in 0..nodes {
        bus.attach();
    }
    bus
}

fn send(bus: &mut SimBus, now_ns: u64, node: usize, token: u32, raw: u32) {
    send_frame(bus, now_ns, node, token, frame(raw));
}

fn send_frame(bus: &mut SimBus, now_ns: u64, node: usize, token: u32, frame: Frame) {
    assert_eq!(bus.command(now_ns, node, BusCommand::Transmit { token, frame }), None);
}

fn abort(bus: &mut SimBus, now_ns: u64, node: usize, token: u32) -> Option<BusEvent> {
    bus.command(now_ns, node, BusCommand::Abort { token })
}

/// What the nodes are told until `end_ns`, each at its time.
fn run(bus: &mut SimBus, end_ns: u64) -> Vec<(u64, usize, BusEvent)> {
    let mut told = Vec::new();
    while let Some(at_ns) = bus.next_at().filter(|at_ns| *at_ns <= end_ns) {
        told.extend(bus.advance(at_ns).into_iter().map(|(node, event)| (at_ns, node, event)));
    }
    assert_eq!(bus.advance(end_ns), [], "nothing comes between the times that the bus names");
    told
}

/// The tokens of the frames that went out, in order, when nothing else happens.
fn order(bus: &mut SimBus) -> Vec<u32> {
    let told = run(bus, 1_000_000_000).into_iter();
    told.filter_map(|(_, _, event)| if let BusEvent::Transmitted { token } = event { Some(token) } else { None })
        .collect()
}

/// How often each node received a frame with this identifier.
fn heard(told: &[(u64, usize, BusEvent)], nodes: usize, raw: u32) -> Vec<usize> {
    let received = |node| {
        move |told: &&(u64, usize, BusEvent)| {
            told.1 == node && matches!(told.2, BusEvent::Received { frame, .. } if frame.raw_id() == raw)
        }
    };
    (0..nodes).map(|node| told.iter().filter(received(node)).count()).collect()
}

/// When a node was told that it is in a state.
fn state_at(told: &[(u64, usize, BusEvent)], node: usize, state: ErrorState) -> Option<u64> {
    told.iter().find(|(_, who, event)| *who == node && *event == BusEvent::State(state)).map(|(at_ns, ..)| *at_ns)
}
