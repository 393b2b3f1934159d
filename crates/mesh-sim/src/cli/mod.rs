//! The commands.

pub mod replay;
pub mod run;
pub mod speed;
pub mod step;
pub mod sweep;
pub mod wear;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use can_bus::timing::BitTiming;
use clap::{Args, ValueEnum};
use mesh_sim::run::{Config, Outcome, Traffic};
use serde_json::{Value, json};

/// What this program was built from: see `build.rs`.
const COMMIT: &str = env!("RINGFORT_COMMIT");
/// Stack of a thread that runs cars: without optimisation an ECU takes a lot of it while it is made.
pub const STACK: usize = 32 << 20;

/// What a car is made of.
#[derive(Args, Clone)]
pub struct CarArguments {
    /// Virtual seconds with faults; then come up to 40 more in which the car has to recover
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seconds: u64,
    /// Segments, 1 or 2, joined by the gateway; by default the seed chooses, without faults there is one
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    segments: Option<u8>,
    /// Nominal and data bit rates
    #[arg(long, value_enum, default_value = "500k/2M")]
    profile: Profile,
    /// Other traffic: 0 to 90 (percent of the wire), or a log of `candump -L`, plain or gzipped; by default the seed chooses
    #[arg(long, value_name = "PERCENT|FILE")]
    load: Option<String>,
    /// No faults and no attackers: seven ECUs at ten approvals and a block a second
    #[arg(long)]
    no_faults: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Profile {
    #[value(name = "500k/2M")]
    Half,
    #[value(name = "1M/5M")]
    One5,
    #[value(name = "1M/8M")]
    One8,
}

impl CarArguments {
    fn config(&self, seed: u64) -> Config {
        let timing = match self.profile {
            Profile::Half => BitTiming::FD_500K_2M,
            Profile::One5 => BitTiming::FD_1M_5M,
            Profile::One8 => BitTiming::FD_1M_8M,
        };
        let load = match &self.load {
            None => Traffic::Seeded,
            Some(text) => text.parse().map_or_else(|_| Traffic::Log(PathBuf::from(text)), Traffic::Percent),
        };
        Config { seed, seconds: self.seconds, segments: self.segments, timing, load, faults: !self.no_faults }
    }

    /// The options with which a run is repeated.
    fn text(&self) -> String {
        let profile = self.profile.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut text = format!("--seconds {} --profile {profile}", self.seconds);
        if let Some(segments) = self.segments {
            text += &format!(" --segments {segments}");
        }
        if let Some(load) = &self.load {
            text += &format!(" --load {load}");
        }
        if self.no_faults {
            text += " --no-faults";
        }
        text
    }
}

/// Multiples of real time.
fn speed(virtual_ns: u64, real: Duration) -> f64 {
    virtual_ns as f64 / real.as_nanos().max(1) as f64
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// How a run ended, for people.
fn write_outcome(out: &mut impl Write, seed: u64, car: &CarArguments, outcome: &Outcome) -> Result<()> {
    let Outcome { virtual_ns, events, decisions, frames: (frames, busy_ns), together_ns, .. } = outcome;
    let share = 100.0 * *busy_ns as f64 / (*virtual_ns).max(1) as f64;
    writeln!(out, "seed {seed}: {:.3} s, {decisions} decisions, {events} events", seconds(*virtual_ns))?;
    writeln!(out, "  wire: {frames} frames, {share:.1} % busy")?;
    if let Some(together_ns) = together_ns {
        writeln!(out, "  together again {:.3} s after the last fault", seconds(*together_ns))?;
    }
    if let Some(violation) = &outcome.violation {
        writeln!(out, "FAILED at {:.9}: {}: {}", seconds(violation.at_ns), violation.invariant, violation.what)?;
        writeln!(out, "  seed {seed}, commit {COMMIT}; again: mesh-sim run --seed {seed} {}", car.text())?;
    }
    Ok(())
}

/// How a run ended, for machines.
fn outcome_json(seed: u64, outcome: &Outcome) -> Value {
    let violation =
        outcome.violation.as_ref().map(|of| json!({ "at_ns": of.at_ns, "invariant": of.invariant, "what": of.what }));
    json!({
        "seed": seed,
        "commit": COMMIT,
        "ok": violation.is_none(),
        "violation": violation,
        "virtual_ns": outcome.virtual_ns,
        "events": outcome.events,
        "decisions": outcome.decisions,
        "frames": outcome.frames.0,
        "busy_ns": outcome.frames.1,
        "together_ns": outcome.together_ns,
        "marks": outcome.marks,
    })
}
