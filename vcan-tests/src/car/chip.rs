//! What a validator on an emulated chip says of itself: lines in its log, for it writes no status.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use device_chain::types::Height;

/// The firmware, as `scripts/test` builds it.
const IMAGE: &str = "thumbv7em-none-eabihf/firmware/validator";

/// The firmware of this build.
///
/// # Errors
/// It was not built; the text says how to.
pub fn image() -> Result<PathBuf> {
    let here = env::current_exe().context("this program does not know where it is")?;
    let found = here.ancestors().map(|folder| folder.join(IMAGE)).find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "{IMAGE} was not built: \
             cargo build -p ecu-firmware --bin validator --profile firmware --target thumbv7em-none-eabihf"
        )
    })
}

/// A decision of a chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Height.
    pub height: Height,
    /// What was decided, in a word.
    pub kind: String,
    /// Decided by a quorum that it has verified, not taken over while catching up.
    pub live: bool,
}

/// What a chip has said since it started last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What it found in its journal.
    pub journal: String,
    /// Height that it went on from.
    pub started_at: Height,
    /// It is in the mode `trusted`.
    pub trusted: bool,
    /// Peers with which it shares a session.
    pub met: usize,
    /// Its decisions since then.
    pub decided: Vec<Decided>,
}

impl Said {
    /// Reads a log.
    ///
    /// # Errors
    /// It is not there yet.
    pub fn read(log: &Path) -> Result<Self> {
        Ok(Self::parse(&fs::read_to_string(log).with_context(|| log.display().to_string())?))
    }

    fn parse(log: &str) -> Self {
        let mut said = Self::default();
        // the last line may be under way
        for line in log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let value = |key| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            let height = || value("height").and_then(|height| height.parse().ok()).unwrap_or(0);
            match line.split(' ').next() {
                Some("started") => {
                    let journal = value("journal").unwrap_or_default().to_owned();
                    said = Self { journal, started_at: height(), ..Self::default() };
                }
                Some("decided") => {
                    let (kind, live) = (value("kind").unwrap_or_default().to_owned(), value("live") == Some("true"));
                    said.decided.push(Decided { height: height(), kind, live });
                }
                Some("report") if line.contains("Mode(") => said.trusted = line.contains("Trusted"),
                Some("report") if line.contains("Met(") => said.met += 1,
                _ => {}
            }
        }
        said
    }

    /// Its height.
    #[must_use]
    pub fn height(&self) -> Height {
        self.decided.last().map_or(self.started_at, |decided| decided.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_from_the_last_start_on() {
        let log = "started name=adas height=0 journal=Intact\nreport Met(3)\ndecided height=1 kind=record round=0 live=true\n\
                   2026 INFO other\nstarted name=adas height=1 journal=TornTail\nreport Met(0)\nreport Mode(Trusted)\n\
                   decided height=2 kind=use-grant round=0 live=false\ndecided height=3 ki";
        let said = Said::parse(log);
        assert_eq!((said.journal.as_str(), said.started_at, said.trusted, said.met), ("TornTail", 1, true, 1));
        assert_eq!(said.decided, [Decided { height: 2, kind: "use-grant".into(), live: false }]);
        assert_eq!((said.height(), Said::parse("").height()), (2, 0));
    }
}
