//! A recorded drive, played onto a virtual bus at its own pace.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use can_bus::linux::{LinuxBus, interface};
use can_bus::log::LogReader;
use can_bus::port::{BusCommand, BusEvent, Filter, TRANSMIT_QUEUE};
use ecu_node::linux::bus::Bus;
use flate2::read::MultiGzDecoder;
use tokio::time::{Instant, sleep_until};

/// What was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Frames on the bus.
    pub sent: u64,
    /// Frames that the interface does not take, as CAN FD on a classic one.
    pub refused: u64,
}

/// Opens a log of `candump -L`, gzipped if its name ends so.
///
/// # Errors
/// It cannot be read.
pub fn open(path: &Path) -> Result<LogReader<Box<dyn BufRead + Send>>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let source: Box<dyn BufRead + Send> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    Ok(LogReader::new(source))
}

/// Reads the whole log once, before a frame of it is sent.
///
/// # Errors
/// The first line that is malformed, and what should be there; or a log without a frame.
pub fn check(path: &Path) -> Result<()> {
    let mut lines = open(path)?.peekable();
    ensure!(lines.peek().is_some(), "{}: no frame in it", path.display());
    for line in lines {
        line.with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Opens a bus to play onto. Whoever plays a drive into a real car puts words into its ECUs' mouths.
///
/// # Errors
/// There is no such interface, or it is not virtual.
pub fn open_bus(name: &str) -> Result<LinuxBus> {
    let is_virtual = interface::is_virtual(name).with_context(|| format!("--interface {name}"))?;
    ensure!(is_virtual, "--interface {name}: not a virtual CAN bus (vcan); a drive is never played into a real car");
    Ok(LinuxBus::open(name, 0, std::time::Instant::now(), &[Filter::ALL])?)
}

/// Plays a log once, `speed` times as fast as it was recorded.
///
/// # Errors
/// As [`check`], or the bus is gone.
pub async fn play(path: &Path, bus: &mut impl Bus, speed: f64) -> Result<Played> {
    let start = Instant::now();
    let (mut played, mut under_way, mut first_us) = (Played::default(), 0, None);
    for (token, line) in (0..).zip(open(path)?) {
        let line = line.with_context(|| path.display().to_string())?;
        let since_us = line.time_us.saturating_sub(*first_us.get_or_insert(line.time_us));
        let due = start + Duration::from_micros((since_us as f64 / speed) as u64);
        while under_way == TRANSMIT_QUEUE || (under_way > 0 && Instant::now() < due) {
            tokio::select! {
                event = bus.event() => count(event?, &mut played, &mut under_way),
                () = sleep_until(due), if under_way < TRANSMIT_QUEUE => {}
            }
        }
        sleep_until(due).await;
        bus.command(BusCommand::Transmit { token, frame: line.frame });
        under_way += 1;
    }
    while under_way > 0 {
        count(bus.event().await?, &mut played, &mut under_way);
    }
    Ok(played)
}

fn count(event: BusEvent, played: &mut Played, under_way: &mut usize) {
    match event {
        BusEvent::Transmitted { .. } => played.sent += 1,
        BusEvent::Dropped { .. } => played.refused += 1,
        _ => return,
    }
    *under_way -= 1;
}
