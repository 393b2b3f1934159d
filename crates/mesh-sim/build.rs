//! Tells the program which commit it is built from: `RINGFORT_COMMIT`, or what git says.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=RINGFORT_COMMIT");
    // written at every commit and checkout
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = env::var("RINGFORT_COMMIT").ok().or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=RINGFORT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The answer of git in this folder, if there is a git, and a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
