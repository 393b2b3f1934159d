//! Frames that are disturbed, collide, or break off.

use std::cell::Cell;
use std::rc::Rc;

use mesh_sim::bus::Transmission;
use mesh_sim::wire::INTERMISSION_BITS;
use mesh_sim::wire::disturbance::Disturbance;

use super::*;

const MS: u64 = 1_000_000;

/// Disturbs the first frame that is sent, the first time.
fn first_only(disturbance: impl Fn(&Transmission) -> Disturbance) -> impl FnMut(&Transmission) -> Disturbance {
    let mut first = true;
    move |sent| if std::mem::take(&mut first) { disturbance(sent) } else { Disturbance::default() }
}

fn transmitted(told: &[(u64, usize, BusEvent)], node: usize) -> usize {
    told.iter().filter(|(_, who, event)| *who == node && matches!(event, BusEvent::Transmitted { .. })).count()
}

/// Whoever sees whichever bit of a frame wrong: the sender is through once, and every receiver has the frame once. Only in
/// the last two bits may it come twice; never may it be missing.
#[test]
fn any_single_fault_is_repaired() {
    let id = |raw| id_from_raw(raw).expect("an identifier");
    let data = [0x00, 0x5A, 0xFF, 0x13, 0x37, 0x80, 0x01, 0x00];
    let frames = [
        Frame::classic(id(0x2A5), &data),
        Frame::remote(id(0x2A5), 3),
        Frame::fd(id(0x2A5), &data),
        Frame::fd(id(can_bus::frame::EXTENDED_FLAG | 0x0AA5_5AA5), &[0x0F; 20]),
    ];
    for frame in frames.map(|frame| frame.expect("a length")) {
        let bits = Length::of(&frame).bits() as usize;
        let last = bits - INTERMISSION_BITS - 1;
        for (who, bit) in [None, Some(0), Some(2)].into_iter().flat_map(|who| (1..bits).map(move |bit| (who, bit))) {
            let mut bus = bus(4);
            bus.disturb_when(first_only(move |_| Disturbance::default().and(who, bit)));
            send_frame(&mut bus, 0, 0, 1, frame);
            let told = run(&mut bus, 100 * MS);
            let times = heard(&told, 4, frame.raw_id());
            let expected = match who {
                // the sender signals an error in the very last bit or behind it: all others have the frame already
                Some(0) if bit == last - 1 => [0, 2, 2, 2],
                None | Some(0) if bit == last => [0, 2, 2, 2],
                // one receiver rejects it in the last bit but one: the others have it already
                Some(2) if bit == last - 1 => [0, 2, 1, 2],
                _ => [0, 1, 1, 1],
            };
            assert_eq!((transmitted(&told, 0), times), (1, expected.to_vec()), "{frame:?} {who:?} {bit} of {bits}");
        }
    }
}

/// An error frame takes 6 to 12 bits of flags and 8 of delimiter, then comes the intermission.
#[test]
fn an_error_costs_17_to_23_bits_and_what_was_sent() {
    let frame = Frame::classic(id_from_raw(0x155).expect("an identifier"), &[0x55; 8]).expect("a length");
    for bit in 20..80 {
        let mut bus = bus(3);
        bus.disturb_when(first_only(move |_| Disturbance::of_bit(bit)));
        send_frame(&mut bus, 0, 0, 1, frame);
        run(&mut bus, 10 * MS);
        assert_eq!(bus.statistics().errors, 1);
        let cost = (bus.statistics().busy_ns - Length::of(&frame).ns(&TIMING)) / BIT_NS;
        let expected = bit as u64 + 1 + 17..=bit as u64 + 1 + 23;
        assert!(expected.contains(&cost), "bit {bit}: {cost} bits");
    }
}

#[test]
fn a_fault_in_the_last_bit_but_one_gives_the_others_a_duplicate() {
    let mut bus = bus(4);
    bus.disturb_when(first_only(|sent| Disturbance::duplicate(&sent.frame, [3])));
    send(&mut bus, 0, 0, 1, 0x123);
    let told = run(&mut bus, 10 * MS);
    assert_eq!((transmitted(&told, 0), heard(&told, 4, 0x123)), (1, vec![0, 2, 2, 1]));
}

#[test]
fn two_faults_in_the_last_bits_omit_the_frame_for_some_and_the_sender_does_not_know() {
    let mut bus = bus(4);
    bus.disturb_when(first_only(|sent| Disturbance::omission(&sent.frame, sent.sender, [2, 3])));
    send(&mut bus, 0, 0, 1, 0x123);
    let told = run(&mut bus, 10 * MS);
    assert_eq!((transmitted(&told, 0), heard(&told, 4, 0x123)), (1, vec![0, 1, 0, 0]));
    assert_eq!(bus.statistics().errors, 0);
}

#[test]
fn a_sender_that_dies_before_it_repeats_a_frame_omits_it_for_some() {
    let mut bus = bus(4);
    bus.disturb_when(first_only(|sent| Disturbance::duplicate(&sent.frame, [3])));
    send(&mut bus, 0, 0, 1, 0x123);
    let before_ns = frame_ns(0x123);
    let mut told = run(&mut bus, before_ns);
    assert_eq!(bus.statistics().errors, 1);
    bus.silence(0);
    told.extend(run(&mut bus, 10 * MS));
    assert_eq!((transmitted(&told, 0), heard(&told, 4, 0x123)), (0, vec![0, 1, 1, 0]));
}

#[test]
fn a_sender_that_dies_within_a_frame_takes_it_with_it() {
    let mut bus = bus(3);
    send(&mut bus, 0, 0, 1, 0x123);
    send(&mut bus, 1, 1, 2, 0x456);
    let mut told = run(&mut bus, 150_000);
    bus.silence(0);
    told.extend(run(&mut bus, 10 * MS));
    assert_eq!(heard(&told, 3, 0x123), [0, 0, 0]);
    assert_eq!(heard(&told, 3, 0x456), [0, 0, 1]);
    let late_ns = told.last().map_or(0, |(at_ns, ..)| *at_ns);
    assert!((150_000 + frame_ns(0x456)..150_000 + frame_ns(0x456) + 40 * BIT_NS).contains(&late_ns), "{late_ns}");
}

/// Both see errors, until the one that is overridden is error passive and can no longer disturb the other: what a bus-off
/// attack lives on (Cho and Shin 2016).
#[test]
fn two_contents_with_one_identifier_destroy_each_other_16_times() {
    let mut bus = bus(3);
    let with = |byte| Frame::classic(id_from_raw(0x123).expect("an identifier"), &[byte; 8]).expect("a length");
    send_frame(&mut bus, 0, 0, 1, with(0x55));
    send_frame(&mut bus, 0, 1, 2, with(0x33));
    let told = run(&mut bus, 100 * MS);
    assert_eq!(bus.statistics().errors, 2 * 16 + 1);
    let order: Vec<_> = told.iter().filter(|(_, node, _)| *node == 2).map(|(.., event)| *event).collect();
    let data =
        |event: &BusEvent| if let BusEvent::Received { frame, .. } = event { Some(frame.data()[0]) } else { None };
    assert_eq!(order.iter().filter_map(data).collect::<Vec<_>>(), [0x33, 0x55], "the first dominant bit decides");
    for node in 0..2 {
        assert!(state_at(&told, node, ErrorState::Passive).is_some());
        assert_eq!(state_at(&told, node, ErrorState::BusOff), None);
    }
}

#[test]
fn two_nodes_that_send_the_same_bits_do_not_notice_each_other() {
    let mut bus = bus(3);
    send(&mut bus, 0, 0, 1, 0x123);
    send(&mut bus, 0, 1, 2, 0x123);
    let told = run(&mut bus, 10 * MS);
    assert_eq!((transmitted(&told, 0), transmitted(&told, 1), heard(&told, 3, 0x123)), (1, 1, vec![0, 0, 1]));
}

#[test]
fn a_classic_controller_destroys_fd_frames_until_it_is_error_passive() {
    let mut bus = bus(2);
    let classic = bus.attach_classic();
    let id = id_from_raw(0x200).expect("an identifier");
    send_frame(&mut bus, 0, 0, 1, Frame::classic(id, &[1, 2, 3]).expect("a length"));
    assert_eq!(heard(&run(&mut bus, MS), 3, 0x200), [0, 1, 1]);
    send(&mut bus, MS, 0, 2, 0x123);
    let told = run(&mut bus, 100 * MS);
    assert_eq!((bus.statistics().errors, heard(&told, 3, 0x123)), (15, vec![0, 1, 0]));
    assert!(state_at(&told, classic, ErrorState::Passive).is_some());
}

/// Faults of all kinds at random, several at once, then none: whatever was sent gets through, and every node recovers.
#[test]
fn after_any_faults_the_bus_works_again() {
    for seed in 1..=15_u64 {
        let mut bus = bus(5);
        let mut dice = seed;
        let mut roll = move |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        let faulty = Rc::new(Cell::new(true));
        let is_faulty = faulty.clone();
        bus.disturb_when(move |_| {
            let flips = if is_faulty.get() { roll(4) } else { 0 };
            (0..flips).fold(Disturbance::default(), |all, _| all.and(Some(roll(5) as usize), 1 + roll(700) as usize))
        });
        for token in 0..10 {
            (0..5).for_each(|node| send(&mut bus, 0, node, token, 0x100 + 0x10 * token + node as u32));
        }
        let told = run(&mut bus, 500 * MS);
        for node in 0..5 {
            assert_eq!(transmitted(&told, node), 10, "seed {seed}, node {node}");
        }
        faulty.set(false);
        let now_ns = 500 * MS;
        send(&mut bus, now_ns, 0, 99, 0x7F0);
        let told = run(&mut bus, now_ns + MS);
        assert_eq!(heard(&told, 5, 0x7F0), [0, 1, 1, 1, 1], "seed {seed}");
    }
}

#[test]
fn who_is_plugged_in_within_a_frame_disturbs_nobody_and_hears_the_next() {
    let mut bus = bus(1);
    // nobody acknowledges it, so it is repeated bit by bit
    send(&mut bus, 0, 0, 1, 0x100);
    assert!(run(&mut bus, 10 * frame_ns(0x100)).iter().all(|(.., event)| matches!(event, BusEvent::State(_))));
    let plugged_ns = 10 * frame_ns(0x100) + 1;
    let new = bus.attach();
    let told = run(&mut bus, plugged_ns + 3 * frame_ns(0x100));
    assert!(told.iter().all(|(at_ns, ..)| *at_ns >= plugged_ns - 1), "time does not go back: {told:?}");
    let heard =
        told.iter().filter(|(_, node, event)| *node == new && matches!(event, BusEvent::Received { .. })).count();
    let sent =
        told.iter().filter(|(_, node, event)| *node == 0 && *event == BusEvent::Transmitted { token: 1 }).count();
    assert_eq!((heard, sent), (1, 1), "{told:?}");
}
