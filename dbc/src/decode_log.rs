//! The command `dbc decode`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use can_bus::candump::LogLine;
use can_bus::log::LogReader;
use dbc::{Absent, Database, Decoded, Message, Raw, Value};
use flate2::bufread::MultiGzDecoder;
use serde_json::json;

const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// Writes what the frames of a log mean.
pub fn decode_log(dbc: &Path, log: &Path, json: bool, out: &mut impl Write) -> Result<ExitCode> {
    let database = Database::load(dbc)?;
    let (mut known, mut unknown, mut unknown_ids) = (0_u64, 0_u64, HashSet::new());
    for line in LogReader::new(open(log)?) {
        let line = line.map_err(|error| anyhow!("{}: {error}; repair or remove the line", log.display()))?;
        let Some(message) = database.message(line.frame.raw_id()) else {
            unknown += 1;
            unknown_ids.insert(line.frame.raw_id());
            continue;
        };
        known += 1;
        if json {
            writeln!(out, "{}", frame_json(&line, message))?;
        } else {
            writeln!(out, "{}", frame_text(&line, message))?;
        }
    }
    out.flush()?;
    eprintln!("{known} frames decoded, {unknown} frames of {} unknown identifiers", unknown_ids.len());
    Ok(ExitCode::SUCCESS)
}

fn open(log: &Path) -> Result<Box<dyn BufRead>> {
    let failed = || format!("{}: cannot be read", log.display());
    let mut file = BufReader::new(File::open(log).with_context(failed)?);
    let gzipped = file.fill_buf().with_context(failed)?.starts_with(&GZIP_MAGIC);
    Ok(if gzipped { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

/// The signals that the frame should have, with their values if it is long enough.
fn signals<'a>(line: &'a LogLine, message: &'a Message) -> impl Iterator<Item = Decoded<'a>> {
    message.decode(line.frame.data()).filter(|decoded| decoded.value != Err(Absent::NotSelected))
}

fn name_of(decoded: &Decoded, raw: Raw) -> Option<String> {
    Some(decoded.signal.text(raw.as_i64()?)?.to_owned())
}

fn frame_text(line: &LogLine, message: &Message) -> String {
    let (seconds, micros) = (line.time_us / 1_000_000, line.time_us % 1_000_000);
    let mut text = format!("({seconds:010}.{micros:06}) {} {}", line.interface, message.name);
    for decoded in signals(line, message) {
        text += &format!(" {}=", decoded.signal.name);
        match decoded.value {
            Ok(Value { raw, physical }) => {
                text += &format!("{}{}", to_12_digits(physical), decoded.signal.unit);
                text += &name_of(&decoded, raw).map(|name| format!("({name})")).unwrap_or_default();
            }
            Err(_) => text += "absent",
        }
    }
    text
}

/// Drops what only rounding in `raw * factor` has brought in: 49.800000000000004 is meant as 49.8.
fn to_12_digits(physical: f64) -> f64 {
    format!("{physical:.11e}").parse().unwrap_or(physical)
}

fn frame_json(line: &LogLine, message: &Message) -> serde_json::Value {
    let value = |decoded: &Decoded| {
        let Value { raw, physical } = decoded.value.ok()?;
        let raw_json = match raw {
            Raw::Unsigned(raw) => json!(raw),
            Raw::Signed(raw) => json!(raw),
            Raw::Float(raw) => json!(raw),
        };
        Some(json!({"raw": raw_json, "value": physical, "unit": decoded.signal.unit, "name": name_of(decoded, raw)}))
    };
    let signals = signals(line, message).map(|decoded| (decoded.signal.name.clone(), json!(value(&decoded))));
    json!({
        "time_us": line.time_us,
        "interface": line.interface.as_str(),
        "id": message.id_text(),
        "message": message.name,
        "signals": signals.collect::<serde_json::Map<_, _>>(),
    })
}
