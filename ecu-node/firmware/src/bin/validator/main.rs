//! A validator as Cortex-M4 firmware for QEMU's `mps2-an386`: the production pump, journal and key file, with serial-line CAN on the
//! first UART, a hardware timer for the time, and files of the host in the place of flash, counter and random number generator.
//!
//! `ecu-node emulate` starts it and joins its UART to a bus.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(flaws)]
compile_error!("built with wrong rules (--cfg flaws): these are for tests, not for cars");

#[cfg(target_os = "none")]
mod files;
#[cfg(target_os = "none")]
mod image;
#[cfg(target_os = "none")]
#[path = "../../machine.rs"]
mod machine;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("build this for a chip: cargo build -p ecu-firmware --profile firmware --target thumbv7em-none-eabihf");
    std::process::exit(2);
}
