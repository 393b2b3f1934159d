//! `mesh-proof twins`.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use mesh_proof::node::Event;
use mesh_proof::twins::{ROUNDS, Schedule, Setup, run};

use super::{Numbers, rate};

#[derive(Args)]
pub struct Arguments {
    /// Validators, 4 to 7; as many of them are twins as the protocol withstands
    #[arg(long, value_delimiter = ',', default_values_t = [4, 7], value_parser = clap::value_parser!(u8).range(4..=7))]
    validators: Vec<u8>,
    /// Twins instead; more than the protocol withstands show what must break then
    #[arg(long)]
    twins: Option<usize>,
    #[command(flatten)]
    numbers: Numbers,
    /// Print what happens in the first schedule, and no other
    #[arg(long)]
    show: bool,
}

impl Arguments {
    pub fn run(&self) -> Result<bool> {
        for validators in &self.validators {
            let full = Setup::full((*validators).into());
            let setup = Setup { twins: self.twins.unwrap_or(full.twins), ..full };
            ensure!(setup.is_possible(), "{} twins of {validators} are too many to run", setup.twins);
            if !(if self.show { self.show(setup) } else { self.sweep(setup) }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn sweep(&self, setup: Setup) -> bool {
        let (start, mut courses) = (Instant::now(), HashSet::new());
        let (mut all, mut deep, mut open, mut slowest, mut failure) = (0, 0, 0, 0, None);
        let work = |number| run(setup, &Schedule::new(setup, number), &mut |_| {});
        self.numbers.each(work, |number, outcome| match outcome {
            Ok(course) => {
                all += 1;
                deep += u64::from(course.round >= ROUNDS - 1);
                open += u64::from(course.decided < setup.validators - setup.twins);
                slowest = slowest.max(course.calm_rounds);
                courses.insert(course.hash);
                true
            }
            Err(what) => {
                failure = Some((number, what));
                false
            }
        });
        let (time, Setup { validators, twins, .. }) = (start.elapsed(), setup);
        println!("{validators} validators, {twins} of them twins: {all} schedules in {:.1} s", time.as_secs_f64());
        println!("  {} different courses: {}", courses.len(), rate(courses.len() as u64, time));
        println!("  {deep} came to their round {ROUNDS}: {}", rate(deep, time));
        println!("  {open} left somebody undecided, who decided within {slowest} rounds of a bus that behaves");
        if let Some((number, what)) = failure {
            println!("FAILED at schedule {number}: {what:?}");
            println!("  again: mesh-proof twins --validators {validators} --twins {twins} --from {number} --show");
        }
        failure.is_none()
    }

    fn show(&self, setup: Setup) -> bool {
        let schedule = Schedule::new(setup, self.numbers.from);
        println!("twins {:?}, openers {:?}, silent in the end: {}", schedule.twins, schedule.openers, schedule.silent);
        let outcome = run(setup, &schedule, &mut |event| match event {
            Event::Hop => println!("--"),
            event => println!("{event:?}"),
        });
        println!("{outcome:?}");
        outcome.is_ok()
    }
}
