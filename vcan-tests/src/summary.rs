//! What a person sees: progress while it runs, and at the end a table of what was promised and what was seen.

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// A promise and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Promise {
    /// The part of the demo.
    pub part: String,
    /// What was promised.
    pub promise: String,
    /// Whether it was kept.
    pub held: bool,
    /// What was seen.
    pub seen: String,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// Shows progress on standard error, and remembers.
pub struct Summary {
    bar: Option<ProgressBar>,
    part: String,
    promises: Vec<Promise>,
}

impl Default for Summary {
    fn default() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("  {spinner} {msg} ({elapsed})").unwrap_or(bar.style()));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, part: String::new(), promises: Vec::new() }
    }
}

impl Summary {
    /// Begins a part.
    pub fn part(&mut self, title: &str) {
        self.part = title.to_owned();
        self.say(format!("\n{title}"));
    }

    /// Says something that is no promise.
    pub fn note(&self, text: impl Display) {
        self.say(format!("       {text}"));
    }

    /// Sees whether a promise is kept: `check` says what it saw, or what it missed.
    pub fn promise(&mut self, promise: &str, check: impl FnOnce() -> Result<String>) {
        if let Some(bar) = &self.bar {
            bar.reset_elapsed();
            bar.set_message(promise.to_owned());
        }
        let begin = Instant::now();
        let result = check();
        let took_ms = begin.elapsed().as_millis() as u64;
        let (held, seen) = match result {
            Ok(seen) => (true, seen),
            Err(error) => (false, format!("{error:#}")),
        };
        self.say(format!("  {} {promise}: {seen}", if held { "ok  " } else { "FAIL" }));
        self.promises.push(Promise { part: self.part.clone(), promise: promise.to_owned(), held, seen, took_ms });
    }

    /// Whether all promises so far were kept, and there was one.
    #[must_use]
    pub fn all_held(&self) -> bool {
        !self.promises.is_empty() && self.promises.iter().all(|promise| promise.held)
    }

    /// The promises so far.
    #[must_use]
    pub fn promises(&self) -> &[Promise] {
        &self.promises
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.promises.iter().map(|promise| promise.promise.chars().count()).max().unwrap_or(0);
        let mut table = String::new();
        let mut part = "";
        for promise in &self.promises {
            if promise.part != part {
                part = &promise.part;
                table += &format!("{part}\n");
            }
            let verdict = if promise.held { "held" } else { "DID NOT HOLD" };
            let seen = promise.seen.lines().next().unwrap_or_default();
            table += &format!("  {:<width$}  {verdict:<12}  {seen}\n", promise.promise);
        }
        let held = self.promises.iter().filter(|promise| promise.held).count();
        table + &format!("\n{held} of {} promises held\n", self.promises.len())
    }

    /// Ends the progress display.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: String) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn one_broken_promise_is_enough() {
        let mut summary = Summary::default();
        assert!(!summary.all_held(), "nothing was shown");
        summary.part("1 Words");
        summary.promise("the sky is blue", || Ok("seen".into()));
        assert!(summary.all_held());
        summary.promise("pigs fly", || bail!("none seen\nat all"));
        assert!(!summary.all_held());
        let table = summary.table();
        assert!(table.contains("the sky is blue  held          seen\n"), "{table}");
        assert!(table.contains("pigs fly         DID NOT HOLD  none seen\n"), "{table}");
        assert!(table.ends_with("1 of 2 promises held\n"), "{table}");
    }
}
