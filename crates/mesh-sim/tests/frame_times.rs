//! The table of frame times that the protocol's budgets rest on: frames that take exactly so long.

use std::collections::BTreeMap;

use can_bus::Frame;
use can_bus::frame::{EXTENDED_FLAG, id_from_raw, len_to_dlc};
use can_bus::timing::BitTiming;
use mesh_sim::wire::length::Length;
use mesh_sim::wire::stuff::Run;

const TIMINGS: [BitTiming; 3] = [BitTiming::FD_500K_2M, BitTiming::FD_1M_5M, BitTiming::FD_1M_8M];

/// The time without stuff bits and the longest, in ns.
type Times = (u64, u64);

/// Identifier of 29 bits, data bytes, and the times at each pair of bit rates.
const TABLE: [(bool, usize, [Times; 3]); 5] = [
    (false, 64, [(333_000, 403_000), (139_000, 167_600), (97_750, 116_750)]),
    (false, 48, [(269_000, 322_500), (113_400, 135_400), (81_750, 96_625)]),
    (false, 32, [(205_000, 242_500), (87_800, 103_400), (65_750, 76_625)]),
    (false, 20, [(157_000, 183_000), (68_600, 79_600), (53_750, 61_750)]),
    (true, 64, [(371_000, 449_000), (158_000, 190_600), (116_750, 139_750)]),
];

/// From the start of frame to the end of the data: a number for a bit that is fixed, none for one that can be chosen.
fn template(extended: bool, len: usize) -> Vec<Option<bool>> {
    let fixed = |text: &str| text.chars().map(|bit| Some(bit == '1')).collect::<Vec<_>>();
    let dlc = format!("{:04b}", len_to_dlc(len).expect("a length"));
    let id = if extended { [vec![None; 11], fixed("11"), vec![None; 18], fixed("0")].concat() } else { vec![None; 11] };
    let rest = if extended { "101" } else { "00101" }; // RRS and IDE if base; FDF, res, BRS
    [fixed("0"), id, fixed(rest), fixed("0"), fixed(&dlc), vec![None; 8 * len]].concat()
}

/// The chosen bits of a frame that takes longest. For each run that a prefix can end with, the longest prefix is kept.
fn longest(timing: &BitTiming, template: &[Option<bool>], nominal: usize) -> Vec<bool> {
    let mut best = BTreeMap::from([((true, 0), (0, vec![], Run::IDLE))]);
    for (at, bit) in template.iter().enumerate() {
        let cost = if at < nominal { timing.ns(1, 0) } else { timing.ns(0, 1) };
        let mut next = BTreeMap::new();
        for (time, chosen, run) in best.into_values() {
            for level in [false, true].into_iter().filter(|level| bit.is_none_or(|fixed| fixed == *level)) {
                let (run, stuff) = Run::stuffed(run, level);
                let time = time + if stuff { cost } else { 0 };
                let mut chosen: Vec<bool> = chosen.clone();
                chosen.extend(bit.is_none().then_some(level));
                let entry = next.entry((run.level(), run.length())).or_insert((time, vec![], run));
                if time > entry.0 || entry.1.is_empty() {
                    *entry = (time, chosen, run);
                }
            }
        }
        best = next;
    }
    best.into_values().max_by_key(|(time, ..)| *time).expect("a run").1
}

fn number(bits: &[bool]) -> u32 {
    bits.iter().fold(0, |value, bit| value << 1 | u32::from(*bit))
}

fn frame(extended: bool, id: u32, data: &[u8]) -> Frame {
    Frame::fd(id_from_raw(if extended { id | EXTENDED_FLAG } else { id }).expect("an identifier"), data)
        .expect("a length")
}

#[test]
fn the_table_of_the_budgets() {
    for (extended, len, times) in TABLE {
        for (timing, (shortest, worst)) in TIMINGS.iter().zip(times) {
            let id = if extended { 0x1555_5555 } else { 0x555 };
            let plain = frame(extended, id, &[0x55; 64][..len]);
            assert_eq!(Length::of(&plain).ns(timing), shortest, "{plain:?}");
            assert_eq!(timing.unstuffed_ns(&plain), shortest);

            let chosen = longest(timing, &template(extended, len), if extended { 36 } else { 17 });
            let (id, data) = chosen.split_at(if extended { 29 } else { 11 });
            let data: Vec<_> = data.chunks(8).map(|byte| number(byte) as u8).collect();
            let dense = frame(extended, number(id), &data);
            assert_eq!(Length::of(&dense).ns(timing), worst, "{dense:?}");
            assert!(timing.worst_case_ns(&dense) >= worst);
        }
    }
}
