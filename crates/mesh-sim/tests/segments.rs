//! Two segments, 0 with 500k/2M and 1 with 1M/8M, and the gateway between them.

use can_bus::frame::id_from_raw;
use can_bus::port::TRANSMIT_QUEUE;
use can_bus::timing::BitTiming;
use can_bus::{BusCommand, BusEvent, Frame};
use mesh_sim::bus::SimBus;
use mesh_sim::segments::Segments;
use mesh_sim::wire::INTERMISSION_BITS;
use mesh_sim::wire::length::Length;

const TIMINGS: [BitTiming; 2] = [BitTiming::FD_500K_2M, BitTiming::FD_1M_8M];
const DELAY_NS: u64 = 50_000;
const MS: u64 = 1_000_000;
/// Identifiers of the mesh; all others stay where they are.
const MESH: u32 = 0x100;

/// Nodes 0 and 1 on each segment.
fn segments(route: impl FnMut(usize, &Frame) -> Option<Frame> + 'static) -> Segments {
    let buses = [0, 1].map(|segment: usize| {
        let mut bus = SimBus::new(segment as u8, TIMINGS[segment]);
        bus.attach();
        bus.attach();
        bus
    });
    Segments::new(buses, DELAY_NS, route)
}

fn mesh_only(_: usize, frame: &Frame) -> Option<Frame> {
    (frame.raw_id() & 0x700 == MESH).then_some(*frame)
}

fn frame(raw: u32, byte: u8) -> Frame {
    Frame::fd(id_from_raw(raw).expect("an identifier"), &[byte; 64]).expect("a length")
}

/// To the end of the last bit of the frame.
fn frame_ns(segment: usize, frame: &Frame) -> u64 {
    let timing = TIMINGS[segment];
    Length::of(frame).ns(&timing) - timing.ns(INTERMISSION_BITS as u64, 0)
}

fn send(segments: &mut Segments, segment: usize, node: usize, token: u32, frame: Frame) {
    assert_eq!(segments.command(0, segment, node, BusCommand::Transmit { token, frame }), None);
}

/// What node 1 of a segment received: when, in us, and what.
fn received(told: &[(usize, usize, BusEvent)], segment: usize) -> Vec<(u64, Frame)> {
    let frames = told.iter().filter(|(at, node, _)| (*at, *node) == (segment, 1));
    let frame = |event: &BusEvent| match event {
        BusEvent::Received { at_us, frame, .. } => Some((*at_us, *frame)),
        _ => None,
    };
    frames.filter_map(|(.., event)| frame(event)).collect()
}

#[test]
fn a_frame_crosses_after_its_end_and_the_gateways_delay() {
    for (from, to) in [(0, 1), (1, 0)] {
        let mut segments = segments(mesh_only);
        let sent = frame(MESH, 0x5A);
        send(&mut segments, from, 0, 1, sent);
        let told = segments.advance(10 * MS);
        let heard_ns = frame_ns(from, &sent);
        assert_eq!(received(&told, from), [(heard_ns / 1000, sent)], "and it does not come back");
        // what is submitted at an instant begins at it
        assert_eq!(received(&told, to), [((heard_ns + DELAY_NS + frame_ns(to, &sent)) / 1000, sent)]);
        assert_eq!(segments.next_at(), None);
    }
}

#[test]
fn what_is_not_routed_stays_where_it_is() {
    let mut segments = segments(mesh_only);
    send(&mut segments, 0, 0, 1, frame(0x200, 1));
    let told = segments.advance(10 * MS);
    assert_eq!((received(&told, 0).len(), received(&told, 1).len()), (1, 0));
}

#[test]
fn frames_of_one_identifier_keep_their_order() {
    let mut segments = segments(mesh_only);
    (0..20).for_each(|at| send(&mut segments, 0, 0, at, frame(MESH, at as u8)));
    let told = segments.advance(100 * MS);
    let order: Vec<_> = received(&told, 1).iter().map(|(_, frame)| frame.data()[0]).collect();
    assert_eq!((order, segments.lost()), ((0..20).collect(), 0));
}

#[test]
fn a_gateway_may_lie() {
    let mut segments = segments(|_, heard| mesh_only(0, heard).map(|heard| frame(heard.raw_id(), 0xEE)));
    send(&mut segments, 0, 0, 1, frame(MESH, 1));
    let told = segments.advance(10 * MS);
    assert_eq!((received(&told, 0)[0].1, received(&told, 1)[0].1), (frame(MESH, 1), frame(MESH, 0xEE)));
}

/// The slow segment is full with more urgent frames: the gateway's queue there fills, then it loses frames and counts them.
#[test]
fn a_gateway_to_a_full_segment_loses_frames() {
    let mut segments = segments(mesh_only);
    (0..60).for_each(|token| send(&mut segments, 0, 0, token, frame(0x001, 0)));
    let (mut token, mut now_ns, mut told) = (0, 0, Vec::new());
    while token < 100 {
        now_ns += 200_000;
        told.extend(segments.advance(now_ns));
        let transmit = BusCommand::Transmit { token, frame: frame(MESH, token as u8) };
        assert_eq!(segments.command(now_ns, 1, 0, transmit), None);
        token += 1;
    }
    told.extend(segments.advance(200 * MS));
    let mesh = received(&told, 0).into_iter().filter(|(_, frame)| frame.raw_id() == MESH).count() as u64;
    assert_eq!(mesh + segments.lost(), 100);
    assert!(segments.lost() > 0 && mesh >= TRANSMIT_QUEUE as u64, "{mesh} through, {} lost", segments.lost());
}
