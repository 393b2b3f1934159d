//! Two segments, 0 with 500k/2M and 1 with 1M/8M, and the router between them.

use can_bus::frame::id_from_raw;
use can_bus::port::TRANSMIT_QUEUE;
use can_bus::timing::BitTiming;
use can_bus::{BusCommand, BusEvent, Frame};
use mesh_sim::attackers::{Forwarded, Route};
use mesh_sim::dice::Dice;
use mesh_sim::router::DELAY_NS;
use mesh_sim::segments::Segments;
use mesh_sim::wire::INTERMISSION_BITS;
use mesh_sim::wire::length::Length;

const TIMINGS: [BitTiming; 2] = [BitTiming::FD_500K_2M, BitTiming::FD_1M_8M];
const MS: u64 = 1_000_000;
/// The sender, and the receiver, on each segment.
const SENDERS: [usize; 2] = [0, 2];
const RECEIVERS: [usize; 2] = [1, 3];
const MESH: u32 = 0x100;

fn segments() -> Segments {
    let mut segments = Segments::new(&TIMINGS);
    assert_eq!([0, 0, 1, 1].map(|segment| segments.attach(segment)), [0, 1, 2, 3]);
    segments.join();
    segments
}

/// What the stations are told until `end_ns`: segment, station and event.
fn advance(segments: &mut Segments, end_ns: u64) -> Vec<(usize, usize, BusEvent)> {
    let (mut told, mut dice) = (Vec::new(), Dice::new(1, 0));
    loop {
        let now_ns = segments.next_at().map_or(end_ns, |at_ns| at_ns.min(end_ns));
        for segment in 0..2 {
            for (station, event) in segments.advance(segment, now_ns) {
                if segments.sits_on(station, 1 - segment) {
                    segments.tell_router(now_ns, segment, &event, &mut dice);
                } else {
                    told.push((segment, station, event));
                }
            }
        }
        segments.forward(now_ns);
        if now_ns == end_ns {
            return told;
        }
    }
}

fn lost(segments: &Segments) -> u64 {
    segments.router.as_ref().expect("joined").lost()
}

fn frame(raw: u32, byte: u8) -> Frame {
    Frame::fd(id_from_raw(raw).expect("an identifier"), &[byte; 64]).expect("a length")
}

/// To the end of the last bit of the frame.
fn frame_ns(segment: usize, frame: &Frame) -> u64 {
    let timing = TIMINGS[segment];
    Length::of(frame).ns(&timing) - timing.ns(INTERMISSION_BITS as u64, 0)
}

fn send(segments: &mut Segments, now_ns: u64, segment: usize, token: u32, frame: Frame) {
    assert_eq!(segments.command(now_ns, SENDERS[segment], BusCommand::Transmit { token, frame }), None);
}

/// What the receiver on a segment received: when, in us, and what.
fn received(told: &[(usize, usize, BusEvent)], segment: usize) -> Vec<(u64, Frame)> {
    let frames = told.iter().filter(|(at, node, _)| (*at, *node) == (segment, RECEIVERS[segment]));
    let frame = |event: &BusEvent| match event {
        BusEvent::Received { at_us, frame, .. } => Some((*at_us, *frame)),
        _ => None,
    };
    frames.filter_map(|(.., event)| frame(event)).collect()
}

#[test]
fn a_frame_crosses_after_its_end_and_the_routers_delay() {
    for (from, to) in [(0, 1), (1, 0)] {
        let mut segments = segments();
        let sent = frame(MESH, 0x5A);
        send(&mut segments, 0, from, 1, sent);
        let told = advance(&mut segments, 10 * MS);
        let heard_ns = frame_ns(from, &sent);
        assert_eq!(received(&told, from), [(heard_ns / 1000, sent)], "and it does not come back");
        // what is submitted at an instant begins at it
        assert_eq!(received(&told, to), [((heard_ns + DELAY_NS + frame_ns(to, &sent)) / 1000, sent)]);
        assert_eq!(segments.next_at(), None);
    }
}

#[test]
fn a_router_without_power_repeats_nothing_and_forgets_what_it_has_stored() {
    let mut segments = segments();
    let router = segments.router.as_ref().expect("joined").station();
    send(&mut segments, 0, 0, 1, frame(MESH, 1));
    advance(&mut segments, frame_ns(0, &frame(MESH, 1)) + DELAY_NS / 2);
    segments.silence(router);
    // it hears of a frame that ended at the very moment
    let late = BusEvent::Received { segment: 0, at_us: 0, frame: frame(MESH, 4) };
    segments.tell_router(MS, 0, &late, &mut Dice::new(1, 0));
    send(&mut segments, MS, 0, 2, frame(MESH, 2));
    let told = advance(&mut segments, 10 * MS);
    assert_eq!((received(&told, 0).len(), received(&told, 1).len()), (1, 0));
    segments.start(router);
    advance(&mut segments, 11 * MS);
    send(&mut segments, 11 * MS, 0, 3, frame(MESH, 3));
    assert_eq!(received(&advance(&mut segments, 20 * MS), 1).len(), 1, "it is back");
}

#[test]
fn the_more_urgent_of_two_that_wait_goes_first() {
    let mut segments = segments();
    segments.bus_mut(1).hold(0, 2 * MS);
    send(&mut segments, 0, 0, 1, frame(0x300, 0));
    advance(&mut segments, MS / 10);
    send(&mut segments, MS / 10, 0, 2, frame(0x200, 0));
    let told = advance(&mut segments, 20 * MS);
    let order = |segment| received(&told, segment).iter().map(|(_, frame)| frame.raw_id()).collect::<Vec<_>>();
    assert_eq!((order(0), order(1)), (vec![0x300, 0x200], vec![0x200, 0x300]));
}

#[test]
fn frames_of_one_identifier_keep_their_order() {
    let mut segments = segments();
    (0..20).for_each(|at| send(&mut segments, 0, 0, at, frame(MESH, at as u8)));
    let told = advance(&mut segments, 100 * MS);
    let order: Vec<_> = received(&told, 1).iter().map(|(_, frame)| frame.data()[0]).collect();
    assert_eq!((order, lost(&segments)), ((0..20).collect(), 0));
}

/// Says something else on the other segment, late, and then an echo.
struct Forger;

impl Route for Forger {
    fn route(&mut self, _now_ns: u64, from: usize, heard: &Frame, _dice: &mut Dice) -> Vec<Forwarded> {
        let forged = Forwarded { to: 1 - from, later_ns: 2 * MS, frame: frame(heard.raw_id(), 0xEE) };
        vec![forged, Forwarded { to: from, later_ns: MS, frame: *heard }]
    }
}

#[test]
fn a_router_may_lie() {
    let mut segments = segments();
    segments.router.as_mut().expect("joined").liar = Some(Box::new(Forger));
    let (sent, forged) = (frame(MESH, 1), frame(MESH, 0xEE));
    send(&mut segments, 0, 0, 1, sent);
    let told = advance(&mut segments, 10 * MS);
    let heard_ns = frame_ns(0, &sent) + DELAY_NS;
    let (first, echo) = (frame_ns(0, &sent) / 1000, (heard_ns + MS + frame_ns(0, &sent)) / 1000);
    assert_eq!(received(&told, 0), [(first, sent), (echo, sent)]);
    assert_eq!(received(&told, 1), [((heard_ns + 2 * MS + frame_ns(1, &forged)) / 1000, forged)]);
}

/// The slow segment is full with more urgent frames: the queue of the port there fills, then frames are lost and counted.
#[test]
fn a_router_to_a_full_segment_loses_frames() {
    let mut segments = segments();
    (0..60).for_each(|token| send(&mut segments, 0, 0, token, frame(0x001, 0)));
    let (mut token, mut now_ns, mut told) = (0, 0, Vec::new());
    while token < 100 {
        now_ns += 200_000;
        told.extend(advance(&mut segments, now_ns));
        send(&mut segments, now_ns, 1, token, frame(MESH, token as u8));
        token += 1;
    }
    told.extend(advance(&mut segments, 200 * MS));
    let mesh = received(&told, 0).into_iter().filter(|(_, frame)| frame.raw_id() == MESH).count() as u64;
    assert_eq!(mesh + lost(&segments), 100);
    assert!(lost(&segments) > 0 && mesh >= TRANSMIT_QUEUE as u64, "{mesh} through, {} lost", lost(&segments));
}
