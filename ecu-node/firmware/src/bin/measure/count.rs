//! Counts the instructions of an operation.
//!
//! QEMU with `-icount shift=0` lets a virtual nanosecond pass with each instruction. SysTick runs at 25 MHz there, one tick
//! in 40 instructions, so many calls in a row give the instructions of one exactly.

use core::hint::black_box;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::register::msp;

/// Instructions between two ticks.
const PER_TICK: u32 = 40;
/// SysTick counts down in 24 bits.
const TICKS: u32 = 1 << 24;
/// Calls in a row; the two ends of a count are each uncertain by less than a tick.
const CALLS: u32 = 100;
const _: () = assert!(CALLS > 2 * PER_TICK, "an uncertain tick is less than half an instruction of one call");
/// Bytes of stack above the operation. `scripts/measure` reads from the painted stack how deep the operation went; the report
/// printed afterwards, at the caller's depth, must not reach so far.
const CLEARANCE: usize = 4096;

/// What an operation took.
pub struct Cost {
    /// Instructions of one call.
    pub instructions: u32,
    /// The stack pointer at the call.
    pub stack_pointer: u32,
}

/// A running SysTick.
pub struct Counter {
    /// Ticks of [`CALLS`] calls of nothing.
    empty: u32,
}

impl Counter {
    /// Starts the timer.
    pub fn start(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(TICKS - 1);
        timer.clear_current();
        timer.enable_counter();
        let mut nothing = || {};
        Self { empty: ticks(&mut nothing).0 }
    }

    /// What one call of `operation` takes. `None` if it takes a different number of instructions each time.
    pub fn cost(&self, operation: &mut dyn FnMut()) -> Option<Cost> {
        let instructions = |ticks: u32| ((ticks - self.empty) * PER_TICK + CALLS / 2) / CALLS;
        let (first, _) = ticks(operation);
        let (second, stack_pointer) = ticks(operation);
        (instructions(first) == instructions(second)).then(|| Cost { instructions: instructions(first), stack_pointer })
    }
}

/// Ticks of [`CALLS`] calls, and the stack pointer at each.
#[inline(never)]
fn ticks(operation: &mut dyn FnMut()) -> (u32, u32) {
    let clearance = [0u8; CLEARANCE];
    black_box(&clearance);
    let operation = black_box(operation);
    let start = SYST::get_current();
    for _ in 0..CALLS {
        operation();
    }
    let end = SYST::get_current();
    black_box(&clearance);
    (start.wrapping_sub(end) % TICKS, msp::read())
}
