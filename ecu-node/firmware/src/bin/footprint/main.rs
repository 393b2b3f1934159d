//! The whole ECU (pump, validator, journal, software keys) linked for a Cortex-M4: what it takes of flash and RAM.
//!
//! Eight of them in one emulated chip live through what needs the most stack; `scripts/lib/footprint.py` reads the image
//! and the painted stacks. It runs on no board: its bus and its flashes are memory.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(flaws)]
compile_error!("built with wrong rules (--cfg flaws): these are for tests, not for cars");

#[cfg(target_os = "none")]
mod aside;
#[cfg(target_os = "none")]
mod car;
#[cfg(target_os = "none")]
mod image;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod node;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("build this for a chip: cargo build -p ecu-firmware --release --target thumbv7em-none-eabihf");
    std::process::exit(2);
}
