//! A validator as firmware in QEMU, its UART joined to a bus: what `ecu-node emulate` does.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::fs::{MemfdFlags, memfd_create};
use tracing::info;

use super::adapter;
use super::bus::Bus;
use super::failure::{Failure, OrFail};
use super::keyfile;
use super::node::NodePaths;

/// The emulator.
const QEMU: &str = "qemu-system-arm";

/// How to start `image` (the binary `validator` of `ecu-firmware`) for the device with these files: its UART is the standard input and output, and it
/// logs to the standard error. `keys` is its key file, unsealed, seen from the folder above that of the device: a chip's flash needs no seal.
///
/// # Errors
/// The files are not where `ecu-node provision` puts them.
pub fn command(image: &Path, paths: &NodePaths, keys: &str) -> Result<Command> {
    let name = paths.state.file_name().and_then(|name| name.to_str()).context("the device's folder has no name")?;
    let folder = paths.state.parent().context("the device's folder lies nowhere")?;
    let here = NodePaths::provisioned(folder, name);
    for path in [&here.genesis, &here.maker_key, &here.counter, image] {
        if !path.is_file() {
            bail!("{} is missing", path.display());
        }
    }
    // a comma separates the options of QEMU
    if name.contains(',') {
        bail!("{name}: a device with a comma in its name cannot be emulated");
    }
    let mut command = Command::new(QEMU);
    command.args(["-M", "mps2-an386", "-cpu", "cortex-m4", "-display", "none", "-monitor", "none", "-serial", "stdio"]);
    command.args(["-semihosting-config", &format!("enable=on,target=native,arg={keys},arg={name}"), "-kernel"]);
    command.arg(std::path::absolute(image)?).current_dir(folder);
    Ok(command)
}

/// The key file, unsealed in memory that has no name; it goes when this does.
fn unsealed(paths: &NodePaths) -> Result<File> {
    let mut file = File::from(memfd_create("keys", MemfdFlags::CLOEXEC)?);
    file.write_all(&keyfile::unseal(paths, None)?)?;
    Ok(file)
}

/// Runs a validator in the emulator on a bus until `shutdown` is ready; it says in `log` what it does.
///
/// # Errors
/// It cannot be started, the bus is gone, or the firmware ends.
pub async fn run<B: Bus>(
    image: &Path,
    paths: &NodePaths,
    log: Stdio,
    bus: &mut B,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let keys = unsealed(paths).or_usage()?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), keys.as_raw_fd());
    let mut command = tokio::process::Command::from(command(image, paths, &path).or_usage()?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    let missing = || format!("cannot start {QEMU} (Debian package qemu-system-arm)");
    let mut chip = command.spawn().with_context(missing).or_usage()?;
    let (Some(mut output), Some(mut input)) = (chip.stdin.take(), chip.stdout.take()) else {
        return Err(anyhow::anyhow!("no UART")).or_failed();
    };
    tokio::select! {
        served = adapter::serve(bus, &mut input, &mut output) => {
            info!(traffic = ?served.or_unreachable()?, "the firmware has ended");
            Err(anyhow::anyhow!("the firmware has ended: {}", chip.wait().await.or_failed()?)).or_failed()
        }
        () = shutdown => Ok(()),
    }
}
