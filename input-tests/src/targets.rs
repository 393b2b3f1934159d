//! What a fuzzer tries: every group of formats, and what has a memory.

mod adapter;
mod bench;
mod config;
pub mod endpoint;
pub mod pump;
mod recovery;
mod window;

use event_chain::codec::encode;

use crate::formats::{self, GROUPS};
use crate::{Dice, values};

/// A target by its name, which is that of a program in `fuzz/fuzz_targets` and of a folder in `fuzz/seeds`.
pub type Target = (&'static str, fn(&[u8]));

/// Those that are more than a group of formats.
const OTHERS: [Target; 11] = [
    ("signed-genesis", formats::open_genesis),
    ("forged-key-file", formats::forged_key_file),
    ("chain-log", recovery::chain_log),
    ("journal-recovery", recovery::journal),
    ("node-recovery", recovery::node),
    ("pump", pump::run),
    ("adapter", adapter::run),
    ("endpoint", endpoint::run),
    ("window", window::run),
    ("car", config::car),
    ("gateway-status", config::gateway_status),
];

/// The names of all targets.
pub fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|group| group.name).chain(OTHERS.iter().map(|(name, _)| *name))
}

/// Tries one input.
///
/// # Panics
/// If something does not hold that must, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    if let Some((_, run)) = OTHERS.iter().find(|(other, _)| *other == name) {
        return run(bytes);
    }
    let group = GROUPS.iter().find(|group| group.name == name);
    let group = group.unwrap_or_else(|| panic!("no target {name}"));
    // the first byte chooses what is made; what is read is the same for most
    let formats = group.formats;
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    formats[usize::from(*first) % formats.len()].check(rest);
}

/// An input of a target, to begin with: of a group one of each format.
///
/// # Panics
/// If there is no such target.
#[must_use]
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    let mut dice = Dice::of_seed(name.bytes().fold(0, |seed, byte| seed << 5 ^ u64::from(byte)));
    match GROUPS.iter().find(|group| group.name == name) {
        Some(group) => {
            let formats = (0..).zip(group.formats);
            formats.map(|(at, format)| [&[at], &(format.make)(&mut dice)[..]].concat()).collect()
        }
        None if name == "signed-genesis" => {
            (0..4).map(|_| encode(&values::signed_genesis(&mut dice).genesis)).collect()
        }
        None => [40, 400, 2000].map(|length| dice.exactly(length)).to_vec(),
    }
}
