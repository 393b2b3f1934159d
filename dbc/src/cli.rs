//! The commands of the `dbc` program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use dbc::{ByteOrder, Database, Message, Signal, ValueKind};
use serde_json::json;

/// Exit status for bad usage or bad input; `clap` uses the same.
pub const BAD_INPUT: u8 = 2;

/// Loads the files and writes their warnings and a line of numbers for each.
pub fn check(files: &[PathBuf], out: &mut impl Write) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    for file in files {
        match Database::load(file) {
            Ok(database) => {
                for warning in database.warnings() {
                    writeln!(out, "warning: {warning}")?;
                }
                let (messages, warnings) = (database.messages().len(), database.warnings().len());
                let signals: usize = database.messages().iter().map(|message| message.signals.len()).sum();
                writeln!(out, "{}: {messages} messages, {signals} signals, {warnings} warnings", database.name)?;
            }
            Err(error) => {
                writeln!(out, "error: {error}")?;
                status = BAD_INPUT.into();
            }
        }
    }
    Ok(status)
}

/// Lists messages and signals.
pub fn messages(file: &Path, json: bool, out: &mut impl Write) -> Result<ExitCode> {
    for message in Database::load(file)?.messages() {
        if json {
            writeln!(out, "{}", message_json(message))?;
        } else {
            write_message(message, out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_message(message: &Message, out: &mut impl Write) -> std::io::Result<()> {
    let format = if message.fd { "CAN FD" } else { "classic" };
    write!(out, "{:>8}  {}  {} bytes {format}", message.id_text(), message.name, message.length)?;
    if let Some(cycle) = message.cycle_time_ms {
        write!(out, "  {cycle} ms")?;
    }
    writeln!(out, "  {}", message.transmitter.as_deref().unwrap_or_default())?;
    for signal in &message.signals {
        writeln!(out, "{:10}{}", "", signal_text(message, signal).trim_end())?;
    }
    writeln!(out)
}

fn signal_text(message: &Message, signal: &Signal) -> String {
    let range = signal.range.as_ref().map(|range| format!("[{}|{}]", range.start(), range.end())).unwrap_or_default();
    let condition = signal
        .selector
        .as_ref()
        .map(|selector| format!("if {} is {}", message.signals[selector.multiplexor].name, values(selector)));
    let Signal { name, factor, offset, unit, vss_path, .. } = signal;
    format!(
        "{name:32} {:10} {:20} {range:20} {unit:8} {} {}",
        layout(signal),
        format!("({factor},{offset})"),
        condition.unwrap_or_default(),
        vss_path.as_deref().unwrap_or_default()
    )
}

/// As in a DBC file, with `f` and `d` for the floats that it lists elsewhere.
fn layout(signal: &Signal) -> String {
    let order = match signal.byte_order {
        ByteOrder::LittleEndian => 1,
        ByteOrder::BigEndian => 0,
    };
    let kind = match signal.kind {
        ValueKind::Unsigned => '+',
        ValueKind::Signed => '-',
        ValueKind::Float => 'f',
        ValueKind::Double => 'd',
    };
    format!("{}|{}@{order}{kind}", signal.start_bit, signal.width)
}

fn values(selector: &dbc::Selector) -> String {
    let range = |range: &std::ops::RangeInclusive<u64>| match (range.start(), range.end()) {
        (start, end) if start == end => start.to_string(),
        (start, end) => format!("{start}-{end}"),
    };
    selector.values.iter().map(range).collect::<Vec<_>>().join(",")
}

fn message_json(message: &Message) -> serde_json::Value {
    let signals = message.signals.iter().map(|signal| {
        json!({
            "name": signal.name,
            "layout": layout(signal),
            "factor": signal.factor,
            "offset": signal.offset,
            "min": signal.range.as_ref().map(|range| range.start()),
            "max": signal.range.as_ref().map(|range| range.end()),
            "unit": signal.unit,
            "multiplexor": signal.selector.as_ref().map(|selector| &message.signals[selector.multiplexor].name),
            "multiplexor_values": signal.selector.as_ref().map(values),
            "texts": signal.texts.iter().map(|(raw, text)| (raw.to_string(), text)).collect::<std::collections::BTreeMap<_, _>>(),
            "vss_path": signal.vss_path,
        })
    });
    json!({
        "id": message.id_text(),
        "name": message.name,
        "length": message.length,
        "fd": message.fd,
        "cycle_time_ms": message.cycle_time_ms,
        "transmitter": message.transmitter,
        "signals": signals.collect::<Vec<_>>(),
    })
}
