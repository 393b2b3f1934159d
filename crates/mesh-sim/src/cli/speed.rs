//! `mesh-sim speed`.

use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use can_bus::timing::BitTiming;
use clap::Args;
use mesh_sim::run::{Config, Run, Traffic};
use serde_json::json;

use super::{seconds, speed};

#[derive(Args)]
pub struct Arguments {
    /// Virtual seconds
    #[arg(long, default_value_t = 100)]
    seconds: u64,
    /// The figures as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let load = Traffic::Percent(30);
        let timing = BitTiming::FD_500K_2M;
        let config = Config { seed: 1, seconds: self.seconds, segments: None, timing, load, faults: false };
        let run = Run::new(&config)?;
        let start = Instant::now();
        let outcome = run.finish(&mut |_| {});
        let real = start.elapsed();
        let rate = speed(outcome.virtual_ns, real);
        let ok = outcome.violation.is_none();
        if self.json {
            let decisions = outcome.decisions;
            let line =
                json!({ "ok": ok, "times_real_time": rate, "virtual_ns": outcome.virtual_ns, "decisions": decisions });
            writeln!(out, "{line}")?;
        } else {
            let share = 100.0 * outcome.frames.1 as f64 / outcome.virtual_ns as f64;
            writeln!(out, "{rate:.0} times real time on one core, the oracle included")?;
            writeln!(out, "  {:.0} virtual s in {:.3} s, 7 ECUs", seconds(outcome.virtual_ns), real.as_secs_f64())?;
            writeln!(out, "  {} decisions, {} frames, wire {share:.0} % busy", outcome.decisions, outcome.frames.0)?;
        }
        Ok(ok)
    }
}
