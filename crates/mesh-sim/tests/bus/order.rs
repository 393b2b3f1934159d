//! A bus that works.

use can_bus::frame::EXTENDED_FLAG;
use can_bus::port::TRANSMIT_QUEUE;
use mesh_sim::bus::Statistics;

use super::*;

#[test]
fn everybody_hears_a_frame_at_its_end() {
    let mut bus = bus(3);
    assert_eq!(bus.next_at(), None);
    send(&mut bus, 10_000, 1, 7, 0x100);
    let end_ns = 10_000 + frame_ns(0x100) - INTERMISSION_NS;
    let received = BusEvent::Received { segment: 2, at_us: end_ns / 1000, frame: frame(0x100) };
    let expected = [(0, received), (1, BusEvent::Transmitted { token: 7 }), (2, received)];
    assert_eq!(run(&mut bus, 1_000_000_000), expected.map(|(node, event)| (end_ns, node, event)));
    assert_eq!(bus.next_at(), None);
    assert_eq!(bus.statistics(), Statistics { frames: 1, errors: 0, busy_ns: frame_ns(0x100) });
}

#[test]
fn the_lowest_identifier_of_those_waiting_goes_first() {
    let mut bus = bus(3);
    send(&mut bus, 0, 0, 1, 0x300);
    send(&mut bus, 0, 1, 2, 0x200); // same instant: takes part in the first arbitration
    send(&mut bus, 1, 2, 3, 0x001); // later: waits, then goes before 0x300
    send(&mut bus, 2, 1, 4, 0x400);
    assert_eq!(order(&mut bus), [2, 3, 1, 4]);
    let busy_ns = [0x300, 0x200, 0x001, 0x400].map(frame_ns).iter().sum();
    assert_eq!(bus.statistics(), Statistics { frames: 4, errors: 0, busy_ns });
}

#[test]
fn a_reaction_to_a_frame_takes_part_in_the_next_arbitration() {
    let mut bus = bus(2);
    send(&mut bus, 0, 0, 1, 0x200);
    send(&mut bus, 1, 0, 2, 0x300);
    let end_ns = frame_ns(0x200) - INTERMISSION_NS;
    assert_eq!(bus.advance(end_ns).len(), 2);
    send(&mut bus, end_ns + INTERMISSION_NS, 1, 3, 0x100);
    assert_eq!(order(&mut bus), [3, 2]);
}

#[test]
fn a_standard_identifier_beats_an_extended_one_with_the_same_base() {
    let mut bus = bus(2);
    send(&mut bus, 0, 0, 1, EXTENDED_FLAG | 0x100 << 18);
    send(&mut bus, 0, 1, 2, 0x100);
    assert_eq!(order(&mut bus), [2, 1]);
}

#[test]
fn only_what_is_not_yet_on_the_wire_can_be_aborted() {
    let mut bus = bus(2);
    send(&mut bus, 0, 0, 1, 0x100);
    send(&mut bus, 0, 0, 2, 0x200);
    assert_eq!(abort(&mut bus, 1, 0, 1), None, "on the wire");
    assert_eq!(abort(&mut bus, 1, 1, 2), None, "another node's");
    assert_eq!(abort(&mut bus, 1, 0, 2), Some(BusEvent::Dropped { token: 2 }));
    assert_eq!(order(&mut bus), [1]);
}

#[test]
fn when_all_is_aborted_the_wire_stays_idle() {
    let mut bus = bus(2);
    send(&mut bus, 5, 0, 1, 0x100);
    assert_eq!(abort(&mut bus, 5, 0, 1), Some(BusEvent::Dropped { token: 1 }));
    assert_eq!(run(&mut bus, 8), []);
    send(&mut bus, 9, 0, 2, 0x100);
    assert_eq!(run(&mut bus, 1_000_000).first().map(|(at_ns, ..)| *at_ns), Some(9 + frame_ns(0x100) - INTERMISSION_NS));
}

#[test]
fn a_full_queue_answers_at_once() {
    let mut bus = bus(1);
    for token in 0..TRANSMIT_QUEUE as u32 {
        send(&mut bus, 0, 0, token, 0x100);
    }
    let transmit = BusCommand::Transmit { token: 99, frame: frame(0x100) };
    assert_eq!(bus.command(0, 0, transmit), Some(BusEvent::Dropped { token: 99 }));
}

#[test]
fn some_receivers_miss_a_frame() {
    let mut bus = bus(3);
    bus.drop_when(|sent, receiver| sent.index == 0 && receiver == 2);
    send(&mut bus, 0, 0, 1, 0x100);
    send(&mut bus, 0, 0, 2, 0x100);
    let told: Vec<_> = run(&mut bus, 2_000_000).iter().map(|(_, node, _)| *node).collect();
    assert_eq!(told, [0, 1, 0, 1, 2]);
}

/// The worst-case frame holds a 500k/2M bus for 403 us: a bus that is never idle carries so many frames.
#[test]
fn frames_back_to_back_take_the_sum_of_their_times() {
    let mut bus = bus(2);
    for token in 0..20 {
        send(&mut bus, 0, 0, token, 0x0F0 + token);
    }
    let told = run(&mut bus, 1_000_000_000);
    let busy_ns: u64 = (0..20).map(|at| frame_ns(0x0F0 + at)).sum();
    assert_eq!(told.last().map(|(at_ns, ..)| *at_ns), Some(busy_ns - INTERMISSION_NS));
    assert_eq!(bus.statistics().busy_ns, busy_ns);
}
