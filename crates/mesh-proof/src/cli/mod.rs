//! The commands.

pub mod differential;
pub mod twins;

use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Schedules that a thread takes at a time.
const BATCH: u64 = 256;
const DAY: f64 = 86_400.0;

/// Which schedules, and on how many cores.
#[derive(Args)]
pub struct Numbers {
    /// Number of the first schedule
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Schedules for each number of validators
    #[arg(long, default_value_t = 1_000_000)]
    schedules: u64,
    /// Schedules at a time; by default as many as there are cores
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

impl Numbers {
    /// Does `work` for each number, on all cores, and hands what came of it to `count`, in any order, until that is false.
    fn each<T: Send>(&self, work: impl Fn(u64) -> T + Sync, mut count: impl FnMut(u64, T) -> bool) {
        let numbers = self.from..self.from.saturating_add(self.schedules);
        let jobs = self.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
        let (next, bar) = (AtomicU64::new(numbers.start), bar(&numbers));
        thread::scope(|scope| {
            let (sender, batches) = mpsc::sync_channel(4 * jobs);
            for _ in 0..jobs {
                let (sender, next, work, end) = (sender.clone(), &next, &work, numbers.end);
                scope.spawn(move || {
                    loop {
                        let start = next.fetch_add(BATCH, Ordering::Relaxed).min(end);
                        let batch = start..end.min(start + BATCH);
                        let done: Vec<_> = batch.map(|number| (number, work(number))).collect();
                        if done.is_empty() || sender.send(done).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for batch in batches {
                bar.inc(batch.len() as u64);
                if !batch.into_iter().all(|(number, outcome)| count(number, outcome)) {
                    return;
                }
            }
        });
        bar.finish_and_clear();
    }
}

fn bar(numbers: &Range<u64>) -> ProgressBar {
    let bar = ProgressBar::new(numbers.end - numbers.start);
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} schedules, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// A rate, for people.
fn rate(schedules: u64, time: Duration) -> String {
    let a_second = schedules as f64 / time.as_secs_f64();
    format!("{a_second:.0} a second, {:.0} million a day", a_second * DAY / 1e6)
}
