//! `mesh-sim`: cars in virtual time, faults and attackers by schedule, and an oracle that watches.

mod cli;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::thread;

use anyhow::{Result, anyhow};
use clap::{Parser, Subcommand};

/// Run whole cars in virtual time, with faults and attackers, watched by an oracle from outside.
///
/// A run is a function of its seed: seven production ECUs (sometimes four to eight) on a CAN FD bus, or on two that the gateway joins, people who want
/// things approved, liars in validators' places, somebody without keys on the bus, power cuts, lost frames, wiped stores.
/// The oracle checks after every event that nothing was broken that must hold whatever happens, and at the end, when the
/// faults are over, that the car comes together again and decides. docs/simulator.md describes faults, attackers,
/// invariants and the lines of events.
///
/// Exit status: 0 ok, 1 an invariant was broken or a replay differs, 2 bad usage or bad input.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one seed and say how it ended.
    ///
    /// Example: mesh-sim run --seed 7 --events events.txt --candump drive.log
    Run(cli::run::Arguments),
    /// Run many seeds, on several cores.
    ///
    /// Stops at the first seed that fails and prints how to run it again. At the end come the virtual time in
    /// multiples of real time, and the protocol's rules that were not seen at work in any run.
    ///
    /// Example: mesh-sim sweep --seeds 1..1000
    Sweep(cli::sweep::Arguments),
    /// Run a seed again and compare its events with recorded ones, line by line.
    ///
    /// Example: mesh-sim replay --seed 7 --events events.txt
    Replay(cli::replay::Arguments),
    /// Go through a run event by event, with the state of all ECUs.
    ///
    /// Without --until or --around it asks after each event: Enter goes on, a number goes on by so many, q ends.
    ///
    /// Example: mesh-sim step --seed 7 --around "decided h=3"
    Step(cli::step::Arguments),
    /// Measure the simulator: no faults, ten approvals and a block a second, 30 % of other traffic, one core.
    ///
    /// Example: mesh-sim speed --seconds 100
    Speed(cli::speed::Arguments),
    /// How long the flash of an STM32G4 and of an STM32H743 lives under a profile of driving.
    ///
    /// Drives a car in virtual time on each and reads from the journals what an approval, a block and a start take. Exit status 1 if
    /// one wears out earlier than --years. docs/measurements/wear.md has the figures.
    ///
    /// Example: mesh-sim wear --hours 8 --approvals 120
    Wear(cli::wear::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let main = thread::Builder::new().stack_size(cli::STACK).spawn(move || {
        let mut out = BufWriter::new(io::stdout());
        run(arguments.command, &mut out).and_then(|status| Ok(out.flush().map(|()| status)?))
    });
    let result = main.map_err(Into::into).and_then(|main| {
        main.join().unwrap_or_else(|_| Err(anyhow!("the simulator itself failed; this is a bug in it")))
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // the reader of a pipe, such as `head`, has seen enough
        Err(error) if error.downcast_ref().is_some_and(|e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all was as it must be.
fn run(command: Command, out: &mut impl Write) -> Result<bool> {
    match command {
        Command::Run(arguments) => arguments.run(out),
        Command::Sweep(arguments) => arguments.run(out),
        Command::Replay(arguments) => arguments.run(out),
        Command::Step(arguments) => arguments.run(out),
        Command::Speed(arguments) => arguments.run(out),
        Command::Wear(arguments) => arguments.run(out),
    }
}
