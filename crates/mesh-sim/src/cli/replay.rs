//! `mesh-sim replay`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use mesh_sim::run::Run;

use super::{COMMIT, CarArguments};

#[derive(Args)]
pub struct Arguments {
    /// The seed that was recorded
    #[arg(long)]
    seed: u64,
    #[command(flatten)]
    car: CarArguments,
    /// The events of `mesh-sim run --events FILE` with the same options
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
}

impl Arguments {
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let name = self.events.display();
        let file = File::open(&self.events).with_context(|| format!("{name}: cannot be opened"))?;
        let mut recorded = BufReader::new(file).lines();
        let (mut lines, mut difference) = (0, None);
        let run = Run::new(&self.car.config(self.seed))?;
        let _ = run.finish(&mut |event| {
            lines += 1;
            if difference.is_none() {
                let now = event.to_string();
                let then = recorded.next().and_then(Result::ok).unwrap_or_else(|| "(the end)".into());
                difference = (then != now).then_some((lines, then, now));
            }
        });
        if difference.is_none() {
            difference = recorded.next().and_then(Result::ok).map(|then| (lines + 1, then, "(the end)".into()));
        }
        match &difference {
            None => writeln!(out, "{lines} events, the same")?,
            Some((line, then, now)) => {
                writeln!(out, "{name}:{line} differs (this is commit {COMMIT})\n  then: {then}\n  now:  {now}")?;
            }
        }
        Ok(difference.is_none())
    }
}
