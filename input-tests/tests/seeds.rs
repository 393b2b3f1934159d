//! What the fuzzer began with, and what it has found: tried once more, by the code that it tries.
//!
//! `RINGFORT_SEED=1 cargo test -p input-tests --test seeds` gives a target that has none a few of each of its formats.

use std::fs;
use std::path::{Path, PathBuf};

use input_tests::targets;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder that can be read").path())
        .collect();
    files.sort();
    files
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

#[test]
fn every_seed_is_taken() {
    for name in targets::names() {
        let folder = fuzz().join("seeds").join(name);
        if std::env::var_os("RINGFORT_SEED").is_some() && !folder.exists() {
            fs::create_dir_all(&folder).expect("a folder");
            for (at, seed) in targets::seeds(name).into_iter().enumerate() {
                fs::write(folder.join(format!("{at:02}")), seed).expect("a file");
            }
        }
        let seeds = files(&folder);
        assert!(!seeds.is_empty(), "{name} has no seeds: RINGFORT_SEED=1 cargo test -p input-tests --test seeds");
        for seed in seeds {
            println!("{}", seed.display()); // shown if it fails
            targets::run(name, &fs::read(&seed).expect("a file"));
        }
    }
}

#[test]
fn every_target_has_its_program_and_every_program_its_target() {
    let mut programs: Vec<String> = files(&fuzz().join("fuzz_targets"))
        .iter()
        .map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    programs.sort();
    let mut names: Vec<&str> = targets::names().collect();
    names.sort_unstable();
    assert_eq!(programs, names);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("a manifest");
    for name in names {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in fuzz/Cargo.toml");
    }
}
