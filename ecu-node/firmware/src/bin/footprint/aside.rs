//! A stack for Ed25519, beside the one for everything else.
//!
//! On a board the pump interrupts a signature: both are on the stack then, one upon the other. Here nothing is interrupted,
//! so each has a stack of its own, and what an ECU needs is the sum.
#![allow(unsafe_code, reason = "the stack pointer is moved, and moved back")]

use core::arch::naked_asm;
use core::ptr::{addr_of, from_mut};

unsafe extern "C" {
    /// Where that stack begins, and goes down from (`build.rs`).
    static _aside_start: u64;
}

/// Calls `what` on the stack for Ed25519.
pub fn aside(mut what: &mut dyn FnMut()) {
    // SAFETY: nothing else is at that stack, as no call of this is in another and no interrupt has a handler; and it has room
    unsafe { on_stack(from_mut(&mut what), addr_of!(_aside_start), run) };
}

/// Calls `run` with the stack pointer at `top`.
#[unsafe(naked)]
unsafe extern "C" fn on_stack(what: *mut &mut dyn FnMut(), top: *const u64, run: extern "C" fn(*mut &mut dyn FnMut())) {
    naked_asm!("push {{r4, lr}}", "mov r4, sp", "mov sp, r1", "blx r2", "mov sp, r4", "pop {{r4, pc}}")
}

extern "C" fn run(what: *mut &mut dyn FnMut()) {
    // SAFETY: it comes from `aside`, which waits
    unsafe { (*what)() }
}
