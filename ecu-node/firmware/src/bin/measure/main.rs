//! What one candidate costs on a Cortex-M4: a MAC for a vote, or Ed25519. `scripts/measure` builds this image once for each
//! candidate, runs it in QEMU and prints the table of `docs/measurements/macs.md`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod count;
#[cfg(target_os = "none")]
mod image;
#[cfg(target_os = "none")]
mod mac;
#[cfg(target_os = "none")]
mod signature;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this measures on a chip: scripts/measure builds it for one and runs it in QEMU");
    std::process::exit(2);
}
