//! Text over the debug probe (RTT). Nothing waits for it: without a probe, or if it is slow, text is lost. No key is ever printed.

use core::panic::PanicInfo;

pub use rtt_target::rprintln as line;

/// Before the first line.
pub fn start() {
    rtt_target::rtt_init_print!(rtt_target::ChannelMode::NoBlockSkip, 1024);
}

/// Says where, and starts anew.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    line!("{}", info);
    cortex_m::peripheral::SCB::sys_reset()
}
