//! `mesh-sim run`.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result};
use can_bus::candump::{Interface, LogLine};
use clap::Args;
use mesh_sim::run::Run;

use super::{CarArguments, outcome_json, speed, write_outcome};

#[derive(Args)]
pub struct Arguments {
    /// Where all chance comes from
    #[arg(long)]
    seed: u64,
    #[command(flatten)]
    car: CarArguments,
    /// Write a line for each event (docs/simulator.md); "-" is standard output
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Write every frame as `candump -L` does, those of a second segment on sim1, for any reader of such logs; dbc/ringfort.dbc describes the mesh's frames
    #[arg(long, value_name = "FILE")]
    candump: Option<PathBuf>,
    /// How it ended as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let config = self.car.config(self.seed);
        let start = Instant::now();
        let mut run = Run::new(&config)?;
        let mut events = self.events.as_deref().map(create).transpose()?;
        let candump = self.candump.as_deref().map(create).transpose()?.map(|file| Rc::new(RefCell::new(file)));
        if let Some(file) = candump.clone() {
            let interfaces = ["sim0", "sim1"].map(|name| Interface::try_from(name).unwrap_or_default());
            run.car.tap(move |now_ns, segment, frame| {
                let line = LogLine { time_us: now_ns / 1000, interface: interfaces[segment].clone(), frame: *frame };
                // a full disk shows when the file is flushed
                let _ = writeln!(file.borrow_mut(), "{line}");
            });
        }
        let outcome = run.finish(&mut |event| {
            if let Some(file) = &mut events {
                let _ = writeln!(file, "{event}");
            }
        });
        events.map_or(Ok(()), |mut file| file.flush()).context("the events cannot be written")?;
        candump.map_or(Ok(()), |file| file.borrow_mut().flush()).context("the log cannot be written")?;
        if self.json {
            writeln!(out, "{}", outcome_json(self.seed, &outcome))?;
        } else {
            write_outcome(out, self.seed, &self.car, &outcome)?;
            writeln!(out, "  {:.0} times real time", speed(outcome.virtual_ns, start.elapsed()))?;
        }
        Ok(outcome.violation.is_none())
    }
}

fn create(path: &Path) -> Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let file = File::create(path).with_context(|| format!("{}: cannot be made", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}
