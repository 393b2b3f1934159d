//! Links for the memory of the chip.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=memory");
    let chips = [("STM32G474", "memory/stm32g474.x"), ("STM32H743", "memory/stm32h743.x")];
    let mut chosen = chips.iter().filter(|(chip, _)| env::var_os(format!("CARGO_FEATURE_{chip}")).is_some());
    let (Some((_, memory)), None) = (chosen.next(), chosen.next()) else {
        panic!("choose one chip: --features stm32g474 or --features stm32h743");
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::copy(memory, out.join("memory.x")).expect("the build folder can be written");
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    println!("cargo::rustc-link-arg-bins=--nmagic");
}
