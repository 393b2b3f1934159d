//! Counts the instructions of an operation.
//!
//! QEMU with `-icount shift=0` lets a virtual nanosecond pass with each instruction. SysTick runs at 25 MHz there, one tick
//! in 40 instructions, so many calls in a row give the instructions of one exactly.

use core::hint::black_box;

use cortex_m::asm;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::register::msp;

/// Instructions between two ticks.
const PER_TICK: u32 = 40;
/// SysTick counts down in 24 bits: [`CALLS`] calls may take 671 million instructions.
const TICKS: u32 = 1 << 24;
/// Calls in a row.
const CALLS: u32 = 200;
/// A count is uncertain by less than a tick, and so is that of nothing, which is subtracted.
const _: () = assert!(2 * PER_TICK < CALLS / 2, "the uncertainty is less than half an instruction of one call");
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
    timer: SYST,
    /// Ticks of [`CALLS`] calls of nothing.
    empty: u32,
}

impl Counter {
    /// Starts the timer. `None` if a loop of 1,000 instructions does not count as 1,000.
    pub fn start(mut timer: SYST) -> Option<Self> {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(TICKS - 1);
        timer.enable_counter();
        let mut counter = Self { timer, empty: 0 };
        counter.empty = counter.ticks(&mut || {}).0;
        // goes round two instructions as often as it is told
        let mut delay = |rounds| counter.cost(&mut || asm::delay(rounds)).map(|cost| cost.instructions);
        let thousand = delay(2_500)? - delay(2_000)?;
        (thousand == 1_000).then_some(counter)
    }

    /// What one call of `operation` takes. `None` if that is not the same each time, or too much to be counted.
    pub fn cost(&mut self, operation: &mut dyn FnMut()) -> Option<Cost> {
        let [first, second] = [(); 2].map(|()| {
            let (ticks, stack_pointer) = self.ticks(operation);
            let fits = !self.timer.has_wrapped();
            fits.then(|| Cost { instructions: ((ticks - self.empty) * PER_TICK + CALLS / 2) / CALLS, stack_pointer })
        });
        second.filter(|second| first.is_some_and(|first| first.instructions == second.instructions))
    }

    /// Ticks of [`CALLS`] calls, and the stack pointer at each.
    #[inline(never)]
    fn ticks(&mut self, operation: &mut dyn FnMut()) -> (u32, u32) {
        let clearance = [0u8; CLEARANCE];
        black_box(&clearance);
        let operation = black_box(operation);
        self.timer.clear_current();
        let start = SYST::get_current();
        for _ in 0..CALLS {
            operation();
        }
        let end = SYST::get_current();
        black_box(&clearance);
        (start.wrapping_sub(end) % TICKS, msp::read())
    }
}
