//! The quick way and the way bit by bit lead to the same.

use mesh_sim::wire::disturbance::Disturbance;

use super::*;

/// Some traffic of four nodes, and what everybody is told of it; bit by bit if `bits`.
fn traffic(seed: u64, timing: BitTiming, bits: bool) -> (Vec<(u64, usize, BusEvent)>, mesh_sim::bus::Statistics) {
    let mut bus = SimBus::new(0, timing);
    (0..4).for_each(|node| assert_eq!(bus.attach(), node));
    if bits {
        // far behind any frame
        bus.disturb_when(|_| Disturbance::of_bit(1_000_000));
    }
    let mut dice = seed;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    let (mut told, mut now_ns) = (Vec::new(), 0);
    for token in 0..300 {
        now_ns += roll(400_000);
        told.extend(run(&mut bus, now_ns));
        let node = roll(4);
        // each node has identifiers of its own
        let id = id_from_raw((roll(500) << 2 | node) as u32).expect("an identifier");
        let data = [roll(256) as u8; 64];
        let frame = match roll(3) {
            0 => Frame::classic(id, &data[..roll(9) as usize]),
            1 => Frame::fd_padded(id, &data[..roll(65) as usize]),
            _ => Frame::remote(id, roll(9) as usize),
        };
        send_frame(&mut bus, now_ns, node as usize, token, frame.expect("a length"));
    }
    told.extend(run(&mut bus, now_ns + 1_000_000_000));
    (told, bus.statistics())
}

#[test]
fn both_ways_tell_everybody_the_same_at_the_same_time() {
    let odd = BitTiming::new(500_000, 3_000_000).expect("bit rates");
    let timings = [TIMING, BitTiming::FD_1M_5M, BitTiming::FD_1M_8M, odd];
    for (seed, timing) in (0..16).zip(timings.into_iter().cycle()) {
        assert_eq!(traffic(seed, timing, false), traffic(seed, timing, true), "seed {seed}, {timing:?}");
    }
}
