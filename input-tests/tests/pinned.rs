//! Pinned cases: what is made of every format, and what any damage of it is read as, under one digest of each format.
//!
//! The digests are in `pinned.txt`. They change only by a deliberate act, with the version of a format or with what is made here:
//! `RINGFORT_PIN=1 cargo test -p input-tests --test pinned` writes them anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use input_tests::formats::GROUPS;
use input_tests::{Dice, Format};
use sha2::{Digest, Sha256};

/// Of each format, as many made, and each of them once more with damage.
const CASES: usize = 65_536;
/// The same where a library reads text, slowly.
const CASES_OF_DATABASES: usize = 4096;

const FILE: &str = "tests/pinned.txt";

fn digest(format: &Format) -> String {
    let seed = Sha256::digest(format.name);
    let mut dice = Dice::of_seed(seed.iter().fold(0, |seed: u64, byte| seed << 8 | u64::from(*byte)));
    let mut all = Sha256::new();
    let mut add = |part: &[u8]| {
        all.update((part.len() as u64).to_le_bytes());
        all.update(part);
    };
    let cases = if format.name == "DBC file" { CASES_OF_DATABASES } else { CASES };
    for case in 0..cases {
        let made = (format.make)(&mut dice);
        let read = (format.read)(&made);
        let told = read.unwrap_or_else(|error| panic!("{}, case {case}: {error}: {made:02x?}", format.name));
        add(&made);
        add(&told);
        match (format.read)(&dice.damage(made)) {
            Ok(told) => add(&told),
            Err(error) => add(error.as_bytes()),
        }
    }
    all.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Half of the formats each, for a second core.
fn digests() -> BTreeMap<&'static str, String> {
    let formats: Vec<&Format> = GROUPS.iter().flat_map(|group| group.formats).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let run = |worker| {
            let own: Vec<&Format> = formats.iter().skip(worker).step_by(workers).copied().collect();
            scope.spawn(move || own.into_iter().map(|format| (format.name, digest(format))).collect::<Vec<_>>())
        };
        let running: Vec<_> = (0..workers).map(run).collect();
        running.into_iter().flat_map(|worker| worker.join().expect("every case is read")).collect()
    })
}

#[test]
fn all_cases_are_what_they_were() {
    let found = digests();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("RINGFORT_PIN").is_some() {
        let text = found.iter().fold(String::new(), |mut text, (name, digest)| {
            let _ = writeln!(text, "{digest}  {name}");
            text
        });
        std::fs::write(&path, text).expect("the table can be written");
        panic!("{FILE} is written anew: look at what has changed, and run again without RINGFORT_PIN");
    }
    let table = std::fs::read_to_string(&path).expect("the table is there");
    let pinned: BTreeMap<&str, &str> =
        table.lines().filter_map(|line| line.split_once("  ")).map(|(digest, name)| (name, digest)).collect();
    let mut wrong = Vec::new();
    for (name, digest) in &found {
        match pinned.get(name) {
            None => wrong.push(format!("{name}: not pinned")),
            Some(pinned) if pinned != digest => wrong.push(format!("{name}: not what it was")),
            Some(_) => {}
        }
    }
    wrong.extend(pinned.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("{name}: no such format")));
    assert!(
        wrong.is_empty(),
        "{}\nWho reads or writes these in the field is another version now. If that is meant: \
         RINGFORT_PIN=1 cargo test -p input-tests --test pinned",
        wrong.join("\n")
    );
}
