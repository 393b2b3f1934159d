//! Error counters, error passive, bus-off and recovery (ISO 11898-1:2015, fault confinement).

use std::cell::Cell;
use std::rc::Rc;

use mesh_sim::wire::disturbance::Disturbance;

use super::*;

const MS: u64 = 1_000_000;
/// A bit in the data of every frame here.
const DATA_BIT: usize = 60;

fn counters(bus: &SimBus, node: usize) -> (u16, u16) {
    let counters = bus.controller(node).confinement;
    (counters.transmit_errors(), counters.receive_errors())
}

/// Runs until a node is told of a state; when that is.
fn until(bus: &mut SimBus, node: usize, state: ErrorState) -> u64 {
    for _ in 0..100_000 {
        let at_ns = bus.next_at().expect("something goes on");
        if bus.advance(at_ns).contains(&(node, BusEvent::State(state))) {
            return at_ns;
        }
    }
    panic!("never {state:?}");
}

/// A bus on which node 0 sees an error in each of its frames while the result is true.
fn broken_sender(nodes: usize) -> (SimBus, Rc<Cell<bool>>) {
    let (mut bus, broken) = (bus(nodes), Rc::new(Cell::new(true)));
    let is_broken = broken.clone();
    bus.disturb_when(move |sent| {
        let hit = is_broken.get() && sent.sender == 0;
        if hit { Disturbance::default().and(Some(0), DATA_BIT) } else { Disturbance::default() }
    });
    (bus, broken)
}

#[test]
fn a_sender_is_error_passive_after_16_failures_and_bus_off_after_32() {
    let (mut bus, _) = broken_sender(3);
    send(&mut bus, 0, 0, 1, 0x123);
    for (state, failures) in [(ErrorState::Warning, 12), (ErrorState::Passive, 16), (ErrorState::BusOff, 32)] {
        until(&mut bus, 0, state);
        assert_eq!((bus.statistics().errors, counters(&bus, 0).0), (failures, failures as u16 * 8), "{state:?}");
    }
}

#[test]
fn bus_off_ends_after_128_times_11_recessive_bits_and_the_frame_goes_out() {
    let (mut bus, broken) = broken_sender(3);
    send(&mut bus, 0, 0, 1, 0x123);
    let off_ns = until(&mut bus, 0, ErrorState::BusOff);
    broken.set(false);
    let back_ns = until(&mut bus, 0, ErrorState::Active);
    // the error frame of the others has to end first
    let waited = (back_ns - off_ns) / BIT_NS;
    assert!((128 * 11..128 * 11 + 20).contains(&waited), "{waited} bits");
    assert_eq!(counters(&bus, 0), (0, 0));
    let told = run(&mut bus, back_ns + 10 * MS);
    assert_eq!(
        told.first(),
        Some(&(back_ns + frame_ns(0x123) - INTERMISSION_NS, 0, BusEvent::Transmitted { token: 1 }))
    );
    assert_eq!(heard(&told, 3, 0x123), [0, 1, 1]);
}

/// Each frame of the others has 11 recessive bits at its end, and no more on a full bus.
#[test]
fn on_a_full_bus_recovery_takes_128_frames() {
    let (mut bus, _) = broken_sender(3);
    send(&mut bus, 0, 0, 1, 0x123);
    let off_ns = until(&mut bus, 0, ErrorState::BusOff);
    for token in 0..60 {
        send(&mut bus, off_ns, 1, token, 0x200);
        send(&mut bus, off_ns, 2, token, 0x300);
    }
    let before = bus.statistics().frames;
    // the error frame of the others comes first
    let told = run(&mut bus, off_ns + 60 * (frame_ns(0x200) + frame_ns(0x300)) + 40 * BIT_NS);
    assert_eq!((bus.statistics().frames - before, state_at(&told, 0, ErrorState::Active)), (120, None));
    assert_eq!(heard(&told, 1, 0x200), [0], "bus-off, it hears nothing");
    let now_ns = told.last().map_or(0, |(at_ns, ..)| *at_ns);
    // the error frame counted for one, and each frame; the rest comes on an idle bus
    let back_ns = until(&mut bus, 0, ErrorState::Active);
    assert_eq!((back_ns - now_ns) / BIT_NS, 8 * 11 - 8);
}

#[test]
fn alone_on_the_bus_a_sender_becomes_error_passive_but_never_bus_off() {
    let mut bus = bus(2);
    bus.silence(1);
    send(&mut bus, 0, 0, 1, 0x123);
    let told = run(&mut bus, 100 * MS);
    assert!(state_at(&told, 0, ErrorState::Passive).is_some());
    assert_eq!((told.len(), counters(&bus, 0)), (2, (128, 0)), "warning, passive, and no more: {told:?}");
    assert!(bus.statistics().errors > 200, "it goes on trying");

    bus.start(1);
    let told = run(&mut bus, 110 * MS);
    assert_eq!((heard(&told, 2, 0x123), counters(&bus, 0)), (vec![0, 1], (127, 0)));
    assert!(told.contains(&(told[0].0, 0, BusEvent::Transmitted { token: 1 })));
}

#[test]
fn an_error_passive_sender_says_so_and_lets_others_go_first() {
    let (mut bus, broken) = broken_sender(2);
    send(&mut bus, 0, 0, 1, 0x100);
    send(&mut bus, 0, 0, 2, 0x101);
    let now_ns = until(&mut bus, 0, ErrorState::Passive);
    broken.set(false);
    send(&mut bus, now_ns, 1, 3, 0x700);
    let told = run(&mut bus, 10 * MS);
    let received = told.iter().filter_map(|(_, node, event)| match event {
        BusEvent::Received { frame, .. } => Some((*node, frame.raw_id(), frame.kind())),
        _ => None,
    });
    let esi = |esi| can_bus::Kind::Fd { brs: true, esi };
    // the sender of 0x100 waits eight bits, in which 0x700 begins; after one good frame it is error active again
    assert_eq!(received.collect::<Vec<_>>(), [(0, 0x700, esi(false)), (1, 0x100, esi(true)), (1, 0x101, esi(false))]);
}

#[test]
fn who_is_first_to_find_an_error_pays_for_it() {
    let mut bus = bus(4);
    let bad = |sent: &mesh_sim::bus::Transmission| sent.attempt == 0;
    bus.disturb_when(
        move |sent| {
            if bad(sent) { Disturbance::default().and(Some(2), DATA_BIT) } else { Disturbance::default() }
        },
    );
    send(&mut bus, 0, 0, 1, 0x123);
    let told = run(&mut bus, 10 * MS);
    assert_eq!(heard(&told, 4, 0x123), [0, 1, 1, 1]);
    // sender 8, who was first 1 and 8, the others 1; the repeated frame takes one from each
    assert_eq!([0, 1, 2, 3].map(|node| counters(&bus, node)), [(7, 0), (0, 0), (0, 8), (0, 0)]);
}

#[test]
fn an_error_passive_receiver_only_harms_itself() {
    let mut bus = bus(3);
    bus.disturb_when(|_| Disturbance::default().and(Some(2), DATA_BIT));
    send(&mut bus, 0, 0, 1, 0x123);
    let told = run(&mut bus, 20 * MS);
    // 15 times it destroys the frame and pays 9, then it can no longer
    assert_eq!((bus.statistics().errors, heard(&told, 3, 0x123)), (15, vec![0, 1, 0]));
    assert!(state_at(&told, 2, ErrorState::Passive).is_some());
    assert_eq!(counters(&bus, 0), (15 * 8 - 1, 0));
}

#[test]
fn a_wire_that_is_held_makes_all_error_passive_and_nobody_bus_off() {
    let mut bus = bus(3);
    bus.hold(1_000, 2 * MS);
    send(&mut bus, 1_000, 0, 1, 0x123);
    let told = run(&mut bus, 2 * MS);
    for node in 0..3 {
        assert!(state_at(&told, node, ErrorState::Passive).is_some_and(|at_ns| at_ns < MS), "node {node}");
        assert_eq!(state_at(&told, node, ErrorState::BusOff), None);
    }
    let told = run(&mut bus, 10 * MS);
    assert_eq!(heard(&told, 3, 0x123), [0, 1, 1]);
    let (_, receive) = counters(&bus, 1);
    assert_eq!(receive, 119, "the first good frame brings it back below 128");
}
