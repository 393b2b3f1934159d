//! `mesh-proof`: the agreement attacked by generated schedules.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Attack the agreement with generated schedules.
///
/// A schedule is a function of its number: who hears whom, whose time runs out, who loses power, what liars say.
/// Nothing but the production's rules runs in it; keys, flash and the wire are the business of mesh-sim.
///
/// Exit status: 0 ok, 1 something happened that must never happen, 2 bad usage.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Liars as two correct copies with the same keys, in a mesh that is split anew hop by hop.
    ///
    /// Stops at the first schedule after which two correct nodes have decided differently, or some not at all, and prints
    /// how to see it again.
    ///
    /// Example: mesh-proof twins --validators 4 --schedules 1000000
    Twins(cli::twins::Arguments),
    /// Our round logic beside Malachite's Tendermint: the same inputs, the same votes, proposals, rounds and decisions.
    ///
    /// Stops at the first difference that none of the intended ones explains, and counts those. A node alone gets any inputs; then each
    /// correct node of the meshes of `twins` is compared.
    ///
    /// Example: mesh-proof differential --schedules 100000
    Differential(cli::differential::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Twins(arguments) => arguments.run(),
        Command::Differential(arguments) => Ok(arguments.run()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
