//! `mesh-proof differential`.

use std::time::Instant;

use clap::Args;
use device_chain::quorum::Quorum;
use mesh_proof::differential::{Tally, script, shadows};
use mesh_proof::twins::Setup;

use super::{Numbers, rate};

#[derive(Args)]
pub struct Arguments {
    /// Validators, 4 to 7
    #[arg(long, value_delimiter = ',', default_values_t = [4, 7], value_parser = clap::value_parser!(u8).range(4..=7))]
    validators: Vec<u8>,
    #[command(flatten)]
    numbers: Numbers,
    /// Print what happens at the node of the first script, and run no other
    #[arg(long)]
    show: bool,
}

impl Arguments {
    pub fn run(&self) -> bool {
        self.validators.iter().map(|validators| usize::from(*validators)).all(|validators| {
            let quorum = Quorum::full(validators);
            if self.show {
                let outcome = script::run(validators, quorum, self.numbers.from, &mut |event| println!("{event:?}"));
                println!("{outcome:?}");
                return outcome.is_ok();
            }
            let node = |number| script::run(validators, quorum, number, &mut |_| {});
            let mesh = |number| shadows::watch(Setup::full(validators), number);
            self.sweep(&format!("a node of {validators}"), node)
                && self.sweep(&format!("each correct node of a mesh of {validators}"), mesh)
        })
    }

    fn sweep(&self, what: &str, work: impl Fn(u64) -> Result<Tally, String> + Sync) -> bool {
        let (start, mut all, mut tally, mut failure) = (Instant::now(), 0, Tally::default(), None);
        self.numbers.each(work, |number, outcome| {
            match outcome {
                Ok(more) => {
                    all += 1;
                    tally.add(more);
                }
                Err(difference) => failure = Some((number, difference)),
            }
            failure.is_none()
        });
        let time = start.elapsed();
        println!("{what}: {all} schedules in {:.1} s: {}", time.as_secs_f64(), rate(all, time));
        println!("  the same after {} inputs: {tally}", tally.inputs);
        for (why, count) in &tally.deviations {
            println!("  {count:>12} {why:?}");
        }
        if let Some((number, difference)) = &failure {
            println!("FAILED at schedule {number}: {difference}");
        }
        failure.is_none()
    }
}
