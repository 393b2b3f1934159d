//! A serial line joined to a bus: what `ecu-node bridge` does.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, isatty, tcgetattr, tcsetattr};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::adapter::{self, Traffic};
use super::bus::Bus;
use super::failure::{Failure, OrFail};

/// Both directions of a serial line, without the conveniences that a person at it would have. Call it where a tokio runtime is
/// entered.
///
/// # Errors
/// It cannot be opened, or not be waited for.
pub fn open(path: &Path) -> Result<(Receiver, Sender)> {
    let open = || -> Result<_> {
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        let line = OpenOptions::new().read(true).write(true).custom_flags(flags.cast_signed()).open(path)?;
        if isatty(&line) {
            let mut mode = tcgetattr(&line)?;
            mode.make_raw();
            tcsetattr(&line, OptionalActions::Flush, &mode)?;
        }
        Ok((Receiver::from_file_unchecked(line.try_clone()?)?, Sender::from_file_unchecked(line)?))
    };
    open().with_context(|| path.display().to_string())
}

/// Joins a serial line to a bus, as the adapter, until the line ends or `shutdown` is ready.
///
/// # Errors
/// There is no such line, the bus is gone, or the line fails.
pub async fn run<B: Bus>(
    line: &Path,
    bus: &mut B,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<Traffic>, Failure> {
    let (mut input, mut output) = open(line).or_usage()?;
    tokio::select! {
        served = adapter::serve(bus, &mut input, &mut output) => served.or_unreachable().map(Some),
        () = shutdown => Ok(None),
    }
}
