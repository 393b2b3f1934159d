//! The newest receipt of every car, kept outside the store: a store that was cut or restored no longer agrees with it.

use std::io;
use std::path::{Path, PathBuf};

use device_chain::genesis::Genesis;
use device_chain::types::MeshId;
use event_chain::receipt::{Receipt, SignedReceipt};

use crate::durable;

/// Where the checkpoint of a car lies in the folder `checkpoints`.
#[must_use]
pub fn path(checkpoints: &Path, mesh: &MeshId) -> PathBuf {
    checkpoints.join(format!("{}.checkpoint", mesh.0))
}

/// The checkpoint in a file; `None` if there is no file.
///
/// # Errors
/// Of the file system, or [`io::ErrorKind::InvalidData`] if no archive of `genesis` has signed it.
pub fn read(path: &Path, genesis: &Genesis) -> io::Result<Option<Receipt>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let unsigned = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "no checkpoint of this vehicle: not signed for it by an archive authority of its genesis",
        )
    };
    SignedReceipt::open(&bytes, genesis).map(Some).ok_or_else(unsigned)
}

/// Advances the checkpoint in a file to `receipt`, whose canonical bytes are `bytes`. Never goes back.
///
/// # Errors
/// Those of [`read`] and of writing.
pub fn advance(path: &Path, receipt: &Receipt, bytes: &[u8], genesis: &Genesis) -> io::Result<()> {
    match read(path, genesis)? {
        Some(before) if before.number >= receipt.number => Ok(()),
        _ => durable::replace(path, bytes),
    }
}
