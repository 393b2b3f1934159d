//! `mesh-sim sweep`.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mesh_sim::oracle::marks;
use mesh_sim::run::{Outcome, Run};
use serde_json::json;

use super::{CarArguments, STACK, outcome_json, seconds, speed, write_outcome};

/// A sweep that is done sooner needs no progress bar.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Args)]
pub struct Arguments {
    /// First seed, and the one behind the last
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Range<u64>,
    #[command(flatten)]
    car: CarArguments,
    /// Runs at a time; by default as many as there are cores
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Count failures instead of stopping at the first
    #[arg(long)]
    keep_going: bool,
    /// One JSON object for each failure, and one for the sweep
    #[arg(long)]
    json: bool,
}

fn range(text: &str) -> Result<Range<u64>> {
    let parts = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parts.filter(|range| !range.is_empty()).ok_or_else(|| anyhow!("not a range of seeds such as 1..100"))
}

/// What all runs came to.
#[derive(Default)]
struct Total {
    runs: u64,
    failures: u64,
    virtual_ns: u64,
    decisions: usize,
    marks: BTreeSet<&'static str>,
    slowest_ns: u64,
}

impl Arguments {
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let jobs = self.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
        let (start, next) = (Instant::now(), AtomicU64::new(self.seeds.start));
        let mut total = Total::default();
        thread::scope(|scope| -> Result<()> {
            let (sender, outcomes) = mpsc::sync_channel(jobs);
            for _ in 0..jobs {
                let (sender, next) = (sender.clone(), &next);
                thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || self.work(next, &sender))?;
            }
            drop(sender);
            let bar = self.bar(start);
            for (seed, outcome) in outcomes {
                bar.inc(1);
                self.count(out, &mut total, seed, &outcome?)?;
                if total.failures > 0 && !self.keep_going {
                    next.store(self.seeds.end, Ordering::Relaxed);
                }
            }
            bar.finish_and_clear();
            Ok(())
        })?;
        self.write(out, &total, start.elapsed())?;
        Ok(total.failures == 0)
    }

    /// Runs one seed after the other until there are none left.
    fn work(&self, next: &AtomicU64, done: &mpsc::SyncSender<(u64, Result<Outcome>)>) {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.seeds.end {
                return;
            }
            let outcome = Run::new(&self.car.config(seed)).map(|run| run.finish(&mut |_| {}));
            if done.send((seed, outcome)).is_err() {
                return;
            }
        }
    }

    fn bar(&self, start: Instant) -> ProgressBar {
        let bar = ProgressBar::new(self.seeds.end - self.seeds.start).with_elapsed(start.elapsed());
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let few = self.seeds.end - self.seeds.start < 2;
        if few || self.json || !io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.enable_steady_tick(QUIET);
        bar
    }

    fn count(&self, out: &mut impl Write, total: &mut Total, seed: u64, outcome: &Outcome) -> Result<()> {
        total.runs += 1;
        total.virtual_ns += outcome.virtual_ns;
        total.decisions += outcome.decisions;
        total.marks.extend(&outcome.marks);
        total.slowest_ns = total.slowest_ns.max(outcome.together_ns.unwrap_or(0));
        if outcome.violation.is_some() {
            total.failures += 1;
            if self.json {
                writeln!(out, "{}", outcome_json(seed, outcome))?;
            } else {
                write_outcome(out, seed, &self.car, outcome)?;
            }
        }
        Ok(())
    }

    fn write(&self, out: &mut impl Write, total: &Total, real: Duration) -> Result<()> {
        let missing: Vec<_> = marks::missing(&total.marks).collect();
        let Total { runs, failures, virtual_ns, decisions, slowest_ns, .. } = *total;
        let rate = speed(virtual_ns, real);
        if self.json {
            let rules: Vec<_> = missing.iter().map(|(rule, _)| rule).collect();
            let line = json!({
                "runs": runs, "failures": failures, "virtual_ns": virtual_ns, "times_real_time": rate,
                "decisions": decisions, "slowest_together_ns": slowest_ns, "rules_not_seen": rules,
            });
            return Ok(writeln!(out, "{line}")?);
        }
        writeln!(out, "{runs} runs, {failures} failed, {decisions} decisions in {:.0} virtual s", seconds(virtual_ns))?;
        writeln!(out, "{:.1} s real, {rate:.0} times real time", real.as_secs_f64())?;
        writeln!(out, "together again at most {:.3} s after the last fault", seconds(slowest_ns))?;
        writeln!(out, "{} of {} rules seen at work", total.marks.len(), marks::all().count())?;
        for (rule, what) in missing {
            writeln!(out, "  not seen: {rule}, {what}")?;
        }
        Ok(())
    }
}
