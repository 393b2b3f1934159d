//! Writes `demo-drive.log`: 20 seconds in the car of `demo-car.dbc`, as `candump -L` would have recorded them.
//!
//! The same bytes every time and everywhere: no clock, seeds that are constants, and only arithmetic that IEEE 754 defines
//! to the last bit. The committed file comes from
//!
//! ```text
//! cargo run -p dbc --bin demo-drive | gzip -9n > dbc/demo-drive.log.gz
//! ```

mod bus;
mod car;

use std::io::{BufWriter, Write, stdout};

use anyhow::{Context, Result};
use bus::{Release, transmitted};
use can_bus::candump::{Interface, LogLine};
use can_bus::frame::{Frame, id_from_raw};
use car::{Car, Noise};
use dbc::{Database, Message};

const DRIVE_US: u64 = 20_000_000;
/// When the drive begins, in µs since 1970: a date in the past that nobody takes for a real one.
const EPOCH_US: u64 = 1_700_000_000_000_000;
const INTERFACE: &str = "vcan1";
/// Senders do not start at the same moment, nor keep their cycle to the microsecond.
const STAGGER_US: u64 = 730;
const MAX_JITTER_US: u64 = 200;

fn main() -> Result<()> {
    let database = Database::parse("demo-car.dbc", include_str!("../../../demo-car.dbc"))?;
    let interface = Interface::try_from(INTERFACE).ok().context("interface names have at most 15 bytes")?;
    let mut out = BufWriter::new(stdout().lock());
    for (time_us, frame) in transmitted(releases(&database)?) {
        writeln!(out, "{}", LogLine { time_us: EPOCH_US + time_us, interface: interface.clone(), frame })?;
    }
    Ok(out.flush()?)
}

/// Every frame of the drive, when its sender wants to send it.
fn releases(database: &Database) -> Result<Vec<Release>> {
    let mut releases = Vec::new();
    for (index, message) in (0..).zip(database.messages()) {
        let cycle_us = 1_000 * u64::from(message.cycle_time_ms.context("all messages of the demo car are cyclic")?);
        let mut noise = Noise::new(message.raw_id);
        for (count, cycle_start) in (index * STAGGER_US..DRIVE_US).step_by(cycle_us as usize).enumerate() {
            let time_us = cycle_start + noise.below(MAX_JITTER_US);
            let frame = frame(message, time_us, count, &mut noise)?;
            releases.push(Release { time_us, frame });
        }
    }
    Ok(releases)
}

fn frame(message: &Message, time_us: u64, count: usize, noise: &mut Noise) -> Result<Frame> {
    let values = Car::at(time_us as f64 / 1e6).values(&message.name, count, noise);
    let data = message.encode(&values).with_context(|| format!("message {}", message.name))?;
    let id = id_from_raw(message.raw_id).context("loading refuses identifiers that do not exist")?;
    Ok(Frame::classic(id, &data)?)
}
