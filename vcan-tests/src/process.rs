//! A process of the car, or of the cloud: started with a log file, stopped in several ways, never left behind.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::wait::wait_for;

/// How long a process may take to end when asked to.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is quoted of a log when something goes wrong.
const QUOTED: u64 = 2000;
const QUOTED_LINES: usize = 3;

/// A running process with its group; dropping it kills them.
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
}

impl Process {
    /// Starts `program`; its output goes to the end of `log`. It dies with the thread that starts it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(name: &str, program: &Path, args: &[String], log: &Path) -> Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        // the parent may be killed without a chance to clean up
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        Ok(Self { name: name.to_owned(), child, group })
    }

    /// Whether all is well with it: it runs, or has ended as it should.
    ///
    /// # Errors
    /// It has failed, with its exit status.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) if !status.success() => bail!("{} has ended: {status}", self.name),
            _ => Ok(()),
        }
    }

    fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended already: {status}", self.name),
        }
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It had ended by itself before.
    pub fn kill(mut self) -> Result<()> {
        self.check_running()?;
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// It ends with a failure, or not at all.
    pub fn terminate(mut self) -> Result<()> {
        self.check_running()?;
        self.signal(Signal::TERM)?;
        let status = self.wait(PATIENCE)?;
        ensure!(status.success(), "{} ended with {status} when asked to stop", self.name);
        Ok(())
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// It does not within `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let (name, child) = (&self.name, &mut self.child);
        wait_for(&format!("the end of {name}"), timeout, || child.try_wait()?.context("it still runs"))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.group, signal).with_context(|| format!("cannot signal {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Runs a program to its end and returns what it wrote to standard output.
///
/// # Errors
/// It cannot be started or fails; the text has its command line and what it wrote to standard error.
pub fn run(program: &Path, args: &[String]) -> Result<String> {
    let output = output(program, args)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {}: {}\n{said}", program.display(), args.join(" "), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end, whatever its exit status.
///
/// # Errors
/// It cannot be started.
pub fn output(program: &Path, args: &[String]) -> Result<std::process::Output> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    output.with_context(|| format!("cannot start {}", program.display()))
}

/// A program of this build: beside this one, or beside its tests.
///
/// # Errors
/// It was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("this program does not know where it is")?;
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} was not built: cargo build --workspace --bins"))
}

/// Arguments of a command line.
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => { &[$(std::string::ToString::to_string(&$arg)),*][..] };
}

/// The end of a log, indented.
#[must_use]
pub fn last_lines(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(QUOTED);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| error.to_string());
    let lines: Vec<_> = text.lines().rev().take(QUOTED_LINES).collect();
    lines.iter().rev().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path) -> Process {
        Process::start("shell", Path::new("sh"), args!["-c", script], log).unwrap()
    }

    #[test]
    fn a_process_writes_its_log_and_dies_with_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = shell("sleep 100 & echo child $!; wait", &log);
        wait_for("the log", PATIENCE, || {
            let text = std::fs::read_to_string(&log)?;
            ensure!(text.starts_with("child ") && text.ends_with('\n'), "{text:?}");
            Ok(())
        })
        .unwrap();
        process.check().unwrap();
        let child = std::fs::read_to_string(&log).unwrap().trim_start_matches("child ").trim().to_owned();
        process.kill().unwrap();
        wait_for("the end of the child", PATIENCE, || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            ensure!(state.is_empty() || state.contains(" Z "), "{state}");
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn who_ends_badly_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = shell("echo trouble; exit 7", &log);
        assert_eq!(process.wait(PATIENCE).unwrap().code(), Some(7));
        assert!(process.check().unwrap_err().to_string().contains("shell has ended"));
        assert!(process.kill().is_err());
        assert_eq!(last_lines(&log), "    trouble\n");
        assert!(run(Path::new("sh"), args!["-c", "echo why >&2; exit 1"]).unwrap_err().to_string().contains("why"));
        assert!(program("no-such-program").unwrap_err().to_string().contains("cargo build"));
    }
}
