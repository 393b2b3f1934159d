//! Replays a trace (`ecu_node::trace`) in the emulated chip: prints all that the ECU then does, or counts its instructions.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(flaws)]
compile_error!("built with wrong rules (--cfg flaws): these are for tests, not for cars");

#[cfg(target_os = "none")]
mod image;
#[cfg(target_os = "none")]
#[path = "../../machine.rs"]
#[allow(dead_code, reason = "it needs no UART")]
mod machine;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("build this for a chip: cargo build -p ecu-firmware --profile firmware --target thumbv7em-none-eabihf");
    std::process::exit(2);
}
