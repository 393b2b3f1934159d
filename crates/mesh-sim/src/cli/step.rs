//! `mesh-sim step`.

use std::collections::VecDeque;
use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use mesh_sim::car::Car;
use mesh_sim::event::Event;
use mesh_sim::run::Run;

use super::CarArguments;

/// Events shown before and after the one asked for.
const AROUND: usize = 10;

#[derive(Args)]
pub struct Arguments {
    /// The seed
    #[arg(long)]
    seed: u64,
    #[command(flatten)]
    car: CarArguments,
    /// Show every event up to this virtual time, and then the state
    #[arg(long, value_name = "SECONDS", conflicts_with = "around")]
    until: Option<f64>,
    /// Show the first event whose line contains this text, those around it, and the state then
    #[arg(long, value_name = "TEXT")]
    around: Option<String>,
}

/// What was asked for.
enum Show<'a> {
    Until(u64),
    Around { text: &'a str, before: VecDeque<String>, left: Option<usize> },
    Ask { left: usize },
}

impl Arguments {
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let config = self.car.config(self.seed);
        let mut run = Run::new(&config)?;
        let mut show = match (self.until, &self.around) {
            (Some(seconds), _) => Show::Until((seconds * 1e9) as u64),
            (_, Some(text)) => Show::Around { text, before: VecDeque::new(), left: None },
            _ => Show::Ask { left: 1 },
        };
        let mut events = Vec::new();
        loop {
            let end = run.step(&mut |event| events.push(event.clone()));
            for event in events.drain(..) {
                if !show.show(out, &run.car, &event)? {
                    return Ok(true);
                }
            }
            match end {
                Ok(true) => {}
                Ok(false) => {
                    writeln!(out, "the end")?;
                    return Ok(true);
                }
                Err(violation) => {
                    writeln!(out, "FAILED: {}: {}", violation.invariant, violation.what)?;
                    write_state(out, &run.car)?;
                    return Ok(false);
                }
            }
        }
    }
}

impl Show<'_> {
    /// Shows an event as asked for; whether to go on. The car is as it was behind the last event of the same moment.
    fn show(&mut self, out: &mut impl Write, car: &Car, event: &Event) -> Result<bool> {
        match self {
            Self::Until(end_ns) if event.at_ns > *end_ns => {
                write_state(out, car)?;
                return Ok(false);
            }
            Self::Until(_) => writeln!(out, "{event}")?,
            Self::Around { text, before, left } => {
                let line = event.to_string();
                match left {
                    Some(0) => return Ok(false),
                    Some(left) => {
                        *left -= 1;
                        writeln!(out, "{line}")?;
                    }
                    None if line.contains(*text) => {
                        before.drain(..).try_for_each(|line| writeln!(out, "{line}"))?;
                        writeln!(out, "{line}")?;
                        write_state(out, car)?;
                        *left = Some(AROUND);
                    }
                    None => {
                        before.push_back(line);
                        before.drain(..before.len().saturating_sub(AROUND));
                    }
                }
            }
            Self::Ask { left } => {
                writeln!(out, "{event}")?;
                *left -= 1;
                if *left == 0 {
                    write_state(out, car)?;
                    *left = ask(out)?;
                }
                return Ok(*left > 0);
            }
        }
        Ok(true)
    }
}

/// How many events to go on by; 0 to end.
fn ask(out: &mut impl Write) -> Result<usize> {
    write!(out, "> ")?;
    out.flush()?;
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line)?;
    Ok(match line.trim() {
        "q" => 0,
        "" if read == 0 => 0,
        "" => 1,
        number => number.parse().unwrap_or(1),
    })
}

fn write_state(out: &mut impl Write, car: &Car) -> Result<()> {
    writeln!(out, "{:>6} {:>6} {:>5} {:<9} {:>5} {:<10} head", "ecu", "height", "round", "mode", "heard", "bus")?;
    for (at, ecu) in car.ecus.iter().enumerate() {
        let Some(pump) = ecu.pump() else {
            writeln!(out, "{at:>6} off")?;
            continue;
        };
        let validator = pump.validator();
        let state = validator.state();
        let (mode, bus) = (format!("{:?}", validator.mode()), format!("{:?}", pump.bus_state()));
        let forgetful = if validator.is_amnesiac() { " amnesiac" } else { "" };
        let (height, round, heard) = (state.height(), validator.round(), validator.peers_heard());
        writeln!(out, "{at:>6} {height:>6} {round:>5} {mode:<9} {heard:>5} {bus:<10} {:?}{forgetful}", state.head())?;
    }
    Ok(())
}
