//! What `phase_us` has to be for a bus (`docs/protocol.md` W1).

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use can_bus::Frame;
use can_bus::frame::{MAX_FD, id_from_raw};
use can_bus::response::Phase;
use can_bus::timing::BitTiming;
use clap::Args;
use serde::Serialize;

/// The bus and what is on it.
#[derive(Args, Clone, Debug)]
pub struct PhaseArgs {
    /// Bit rates: nominal/data
    #[arg(long, value_name = "RATES", default_value = "500k/2M", value_parser = BitTiming::from_str)]
    pub bitrate: BitTiming,
    /// Validators
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(4..=8))]
    pub validators: u32,
    /// Share of the wire that wins arbitration against votes, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 40, value_parser = clap::value_parser!(u32).range(0..100))]
    pub urgent: u32,
    /// Frames destroyed by errors in one phase that are tolerated
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub errors: u32,
    /// Microseconds to check the votes of a phase and to make one durable
    #[arg(long, value_name = "US", default_value_t = 1_500, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub processing_us: u32,
}

/// The bound, and what it is made of.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bound {
    /// One vote on the wire at most, microseconds.
    pub vote_us: u64,
    /// All votes of a phase on the wire at most, microseconds.
    pub wire_us: u64,
    /// What `phase_us` must not be below.
    pub phase_us: u64,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vote_us, wire_us, phase_us } = self;
        writeln!(f, "one vote on the wire at most   {vote_us:>6} us")?;
        writeln!(f, "all votes of a phase at most   {wire_us:>6} us")?;
        writeln!(f, "phase_us, not below            {phase_us:>6} us")
    }
}

/// Δ for a bus: both the votes and what blocks them are 64-byte frames.
///
/// # Errors
/// Nothing of the wire is left.
pub fn bound(args: &PhaseArgs) -> Result<Bound> {
    let frame = id_from_raw(0).and_then(|id| Frame::fd(id, &[0; MAX_FD]).ok()).context("no such frame")?;
    let (timing, voters) = (args.bitrate, args.validators);
    let phase =
        Phase { timing, vote: &frame, blocking: &frame, voters, errors: args.errors, urgent_percent: args.urgent };
    let wire_us = phase.bound_ns().context("--urgent leaves nothing of the wire")?.div_ceil(1_000);
    let vote_us = timing.worst_case_ns(&frame).div_ceil(1_000);
    Ok(Bound { vote_us, wire_us, phase_us: wire_us + u64::from(args.processing_us) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_a_busy_bus_of_500k_and_2m() {
        let args =
            PhaseArgs { bitrate: BitTiming::FD_500K_2M, validators: 7, urgent: 40, errors: 1, processing_us: 1_500 };
        let Bound { vote_us, wire_us, phase_us } = bound(&args).unwrap();
        assert_eq!((vote_us, wire_us, phase_us), (406, 6_186, 7_686));
        assert!(bound(&PhaseArgs { urgent: 100, ..args }).is_err());
    }
}
