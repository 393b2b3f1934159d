//! Where a car keeps its files while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Memory as a folder.
const MEMORY: &str = "/dev/shm";

/// Whether this kernel is user-mode Linux.
#[must_use]
pub fn is_user_mode_linux() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("User Mode Linux"))
}

/// Where to keep what need not outlive this kernel. In user-mode Linux that is memory, for that kernel stands still as a
/// whole while the machine's disk makes something durable, and seven ECUs do so all the time.
#[must_use]
pub fn temporary() -> PathBuf {
    if is_user_mode_linux() { PathBuf::from(MEMORY) } else { std::env::temp_dir() }
}

/// A folder to work in, and one to leave behind.
pub struct Workspace {
    folder: PathBuf,
    /// Where everything goes in the end, if it is elsewhere.
    out: Option<PathBuf>,
}

impl Workspace {
    /// Whatever is left behind will be in `out`, which is made.
    ///
    /// # Errors
    /// `out` exists, or cannot be made.
    pub fn new(out: &Path) -> Result<Self> {
        fs::create_dir(out).with_context(|| format!("{} cannot be made", out.display()))?;
        if !is_user_mode_linux() {
            return Ok(Self { folder: out.to_owned(), out: None });
        }
        let folder = temporary().join(format!("ringfort-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self { folder, out: Some(out.to_owned()) })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves everything behind. Call it when nothing works in the folder any more.
    ///
    /// # Errors
    /// Of the file system.
    pub fn finish(self) -> Result<()> {
        let Some(out) = self.out else { return Ok(()) };
        let copied = Command::new("cp").arg("-a").arg(self.folder.join(".")).arg(&out).status()?;
        ensure!(copied.success(), "{} cannot be copied to {}", self.folder.display(), out.display());
        fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}
