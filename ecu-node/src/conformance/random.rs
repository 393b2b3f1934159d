//! Randomness and the clock.

use device_chain::types::Micros;

use super::Results;

/// Numbers drawn.
const DRAWS: usize = 64;
/// Ones among their bits: half, give or take six standard deviations (6 * sqrt(4096) / 2).
const ONES: core::ops::RangeInclusive<u32> = 2048 - 192..=2048 + 192;
/// Looks at the clock until it has to have moved: a microsecond has passed on any chip.
const LOOKS: u32 = 1_000_000;

/// A source of nonces. It finds one that is broken, not one that is weak. A good one fails once in some hundred million times.
pub fn random(draw: &mut dyn FnMut() -> Option<u64>, results: &mut Results) {
    let mut numbers = [0; DRAWS];
    let drawn = numbers.iter_mut().all(|number| draw().map(|drawn| *number = drawn).is_some());
    results.add("random: it gives numbers", drawn);
    let repeated = (1..DRAWS).any(|at| numbers[..at].contains(&numbers[at]));
    results.add("random: no number comes twice", drawn && !repeated);
    let stuck =
        numbers.iter().fold(u64::MAX, |all, number| all & number) | !numbers.iter().fold(0, |any, number| any | number);
    results.add("random: each bit takes both values", stuck == 0);
    let ones = numbers.iter().map(|number| number.count_ones()).sum();
    results.add("random: half of the bits are ones", ONES.contains(&ones));
    // as a counter has it
    let steps = numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let regular = steps.clone().zip(steps.skip(1)).filter(|(step, next)| step == next).count();
    results.add("random: the numbers do not go by steps", regular == 0);
}

/// A clock. That its unit is the microsecond is seen at the bus ([`super::bus()`]).
pub fn clock(now: &mut dyn FnMut() -> Micros, results: &mut Results) {
    let first = now();
    let (mut last, mut back) = (first, false);
    for _ in 0..LOOKS {
        let at = now();
        back |= at < last;
        last = at;
        if back || last.0 >= first.0 + 10 {
            break;
        }
    }
    results.add("clock: it never goes back", !back);
    results.add("clock: it moves", last > first);
}
