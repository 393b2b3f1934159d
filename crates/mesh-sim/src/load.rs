//! The rest of the car on the bus: a recorded drive, or made-up traffic of a stated share.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use can_bus::Frame;
use can_bus::frame::{MAX_CLASSIC, id_from_raw};
use can_bus::log::LogReader;
use can_bus::timing::BitTiming;
use flate2::read::MultiGzDecoder;

use crate::dice::Dice;

/// Identifiers that made-up traffic uses: above and below the mesh's own.
const IDENTIFIERS: std::ops::Range<u64> = 0x010..0x480;
/// First bytes of a gzip file (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Frames of others, by the time at which they are due.
pub struct Load {
    source: Source,
    next: Option<(u64, Frame)>,
}

enum Source {
    /// A recording, again and again; ns from its start.
    Recorded { frames: Vec<(u64, Frame)>, at: usize, round_ns: u64 },
    /// Classic frames of 8 bytes.
    Made { interval_ns: u64, dice: Dice },
}

impl Load {
    /// Made-up classic traffic that takes `percent` of the wire.
    ///
    /// # Errors
    /// Not from 1 to 90.
    pub fn percent(percent: u8, timing: BitTiming, dice: Dice) -> Result<Self> {
        if !(1..=90).contains(&percent) {
            bail!("a load of {percent} % is not from 1 to 90");
        }
        let frame = made(0x100, 0).context("a frame")?;
        let interval_ns = timing.worst_case_ns(&frame) * 100 / u64::from(percent);
        Ok(Self::from(Source::Made { interval_ns, dice }))
    }

    /// A log of `candump -L`, plain or gzipped, from its first frame on; it begins anew when it is over. Frames on
    /// `not_on` are left out: there the mesh itself is.
    ///
    /// # Errors
    /// It cannot be read, is no such log, or holds no frame.
    pub fn recorded(path: &Path, not_on: &[u32]) -> Result<Self> {
        let name = path.display();
        let mut file = BufReader::new(File::open(path).with_context(|| format!("{name}: cannot be opened"))?);
        let zipped = file.fill_buf().with_context(|| format!("{name}: cannot be read"))?.starts_with(&GZIP);
        let text: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let (mut frames, mut start_us) = (Vec::new(), None);
        for line in LogReader::new(BufReader::new(text)) {
            let line = line.map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
            let start_us = *start_us.get_or_insert(line.time_us);
            if !not_on.contains(&line.frame.raw_id()) {
                frames.push((line.time_us.saturating_sub(start_us) * 1000, line.frame));
            }
        }
        if frames.is_empty() {
            bail!("{name}: no frame in it");
        }
        Ok(Self::from(Source::Recorded { frames, at: 0, round_ns: 0 }))
    }

    fn from(source: Source) -> Self {
        let mut load = Self { source, next: None };
        load.next = load.source.after(0);
        load
    }

    /// When the next frame is due, ns.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        self.next.map(|(due_ns, _)| due_ns)
    }

    /// A frame that is due at `now_ns`.
    pub fn due(&mut self, now_ns: u64) -> Option<Frame> {
        let (due_ns, frame) = self.next.filter(|(due_ns, _)| *due_ns <= now_ns)?;
        self.next = self.source.after(due_ns);
        Some(frame)
    }
}

impl Source {
    fn after(&mut self, last_ns: u64) -> Option<(u64, Frame)> {
        match self {
            Self::Recorded { frames, at, round_ns } => {
                if *at == frames.len() {
                    (*at, *round_ns) = (0, last_ns + 1_000_000);
                }
                *at += 1;
                frames.get(*at - 1).map(|(ns, frame)| (*round_ns + ns, *frame))
            }
            Self::Made { interval_ns, dice } => {
                // somewhat early or late, on average in time
                let wait_ns = *interval_ns / 2 + dice.roll(*interval_ns);
                let raw = IDENTIFIERS.start + dice.roll(IDENTIFIERS.end - IDENTIFIERS.start);
                // the mesh's own identifiers are not the car's to use
                let raw = if (0x090..0x0a8).contains(&raw) { raw + 0x20 } else { raw };
                made(raw as u32, dice.roll(u64::MAX)).map(|frame| (last_ns + wait_ns, frame))
            }
        }
    }
}

fn made(raw: u32, data: u64) -> Option<Frame> {
    let bytes: [u8; MAX_CLASSIC] = data.to_le_bytes();
    Frame::classic(id_from_raw(raw)?, &bytes).ok()
}
