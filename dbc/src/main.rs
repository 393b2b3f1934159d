//! `dbc`: look into DBC files and decode logs with them.

mod cli;
mod decode_log;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use decode_log::decode_log;

/// Look into DBC files and decode logs with them.
///
/// A DBC file says which messages a CAN bus carries and which signals lie in them. Files are read as UTF-8 or
/// Windows-1252. What is wrong with a file is reported as "FILE:LINE: what; what to do".
///
/// Exit status: 0 ok, 2 bad usage or bad input.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Load DBC files and say what is wrong or odd in them.
    ///
    /// An error makes a file unusable and the exit status 2. A warning, such as overlapping signals, does not.
    Check {
        /// DBC files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the messages and signals of a DBC file.
    ///
    /// A message: identifier (8 digits: 29-bit), name, bytes, CAN FD or classic, cycle time, sender. A signal: name, bits as
    /// in the file (start|width@order: 1 little-endian, 0 big-endian; + unsigned, - signed, f float, d double), factor and
    /// offset, range, unit, multiplexing, and path in the Vehicle Signal Specification.
    Messages {
        /// DBC file
        file: PathBuf,
        /// One JSON object per message
        #[arg(long)]
        json: bool,
    },
    /// Decode a log of `candump -L`, plain or gzipped.
    ///
    /// Each frame with a known identifier becomes one line: time, interface, message, and its signals as physical value,
    /// unit and the value's name, if it has one. Signals that the frame's multiplexor does not select are left out; a frame
    /// too short for a signal shows it as "absent". The last line, on stderr, counts known and unknown frames.
    ///
    /// Example: dbc decode --dbc demo-car.dbc demo-drive.log.gz | grep Speed
    Decode {
        /// DBC file
        #[arg(long)]
        dbc: PathBuf,
        /// Log file
        log: PathBuf,
        /// One JSON object per frame; "raw" is exact, an absent signal is null
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = run(Arguments::parse().command, &mut out).and_then(|status| Ok(out.flush().map(|()| status)?));
    match result {
        Ok(status) => status,
        // The reader of a pipe, such as `head`, has seen enough.
        Err(error) if error.downcast_ref().is_some_and(|e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            cli::BAD_INPUT.into()
        }
    }
}

fn run(command: Command, out: &mut impl Write) -> Result<ExitCode> {
    match command {
        Command::Check { files } => cli::check(&files, out),
        Command::Messages { file, json } => cli::messages(&file, json, out),
        Command::Decode { dbc, log, json } => decode_log(&dbc, &log, json, out),
    }
}
