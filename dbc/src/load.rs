//! Loading a DBC file.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::build::MessageBuilder;
use crate::diagnostic::Diagnostic;
use crate::lists::Lists;
use crate::model::Database;
use crate::source::{Source, decode_text};

/// Largest file that is read. The largest matrices of real cars have a few million bytes; parsing takes about 45 times
/// the file's size in memory.
pub const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// Vector's tools park signals that belong to no message in this one.
const PARKED_SIGNALS: &str = "VECTOR__INDEPENDENT_SIG_MSG";

impl Database {
    /// Loads a DBC file of at most [`MAX_FILE_BYTES`], in UTF-8 or Windows-1252.
    ///
    /// # Errors
    /// The file cannot be read, or what [`parse`](Self::parse) refuses.
    pub fn load(path: &Path) -> Result<Self, Diagnostic> {
        let reporter = Reporter { file: path.display().to_string(), warnings: Vec::new() };
        let bytes = read_bounded(path).map_err(|(what, fix)| reporter.diagnostic(None, what, fix))?;
        let (text, is_utf8) = decode_text(&bytes);
        let mut database = Self::parse(&reporter.file, &text)?;
        if !is_utf8 {
            let what = "the file is not UTF-8 and was read as Windows-1252".into();
            database.warnings.insert(0, reporter.diagnostic(None, what, "save it as UTF-8 if its texts look wrong"));
        }
        Ok(database)
    }

    /// Parses DBC text; `name` is what messages about it call the file.
    ///
    /// # Errors
    /// Text that is not DBC, identifiers that do not exist or occur twice, signals that do not fit their message, and
    /// multiplexing that cannot be resolved. What is merely odd becomes one of the [`warnings`](Self::warnings).
    pub fn parse(name: &str, text: &str) -> Result<Self, Diagnostic> {
        let source = Source::new(text);
        let mut reporter = Reporter { file: name.into(), warnings: Vec::new() };
        let dbc = source.parse().map_err(|(line, what)| {
            reporter.diagnostic(Some(line), what, "correct the line, or export the file again from its editor")
        })?;
        let lines = source.messages();
        let same_shape = lines.len() == dbc.messages.len()
            && lines.iter().zip(&dbc.messages).all(|(lines, parsed)| lines.signals.len() == parsed.signals.len());
        if !same_shape {
            let what = "several statements share a line".into();
            return Err(reporter.diagnostic(None, what, "start each BO_ and each SG_ on a line of its own"));
        }

        let lists = Lists::new(&dbc);
        let mut messages = Vec::new();
        let mut line_of_id = HashMap::new();
        for (parsed, lines) in dbc.messages.iter().zip(&lines) {
            if parsed.name == PARKED_SIGNALS {
                continue;
            }
            let message = MessageBuilder { parsed, lines, lists: &lists, reporter: &mut reporter }.build()?;
            if let Some(first) = line_of_id.insert(message.raw_id, lines.line) {
                let what = format!("identifier {} is already defined in line {first}", message.id_text());
                return Err(reporter.diagnostic(Some(lines.line), what, "remove one of the two messages"));
            }
            messages.push(message);
        }
        messages.sort_by_key(|message| message.raw_id);
        Ok(Self { name: name.into(), messages, warnings: reporter.warnings })
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, (String, &'static str)> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| (format!("cannot be read: {error}"), "check the path and its permissions"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err((
            format!("is larger than {MAX_FILE_BYTES} bytes"),
            "check that it is a DBC file, or split it by bus",
        ));
    }
    Ok(bytes)
}

/// Knows the file's name, and keeps the warnings.
pub(crate) struct Reporter {
    file: String,
    warnings: Vec<Diagnostic>,
}

impl Reporter {
    pub(crate) fn diagnostic(&self, line: Option<usize>, what: String, fix: &str) -> Diagnostic {
        Diagnostic { file: self.file.clone(), line, what, fix: fix.into() }
    }

    pub(crate) fn warn(&mut self, line: usize, what: String, fix: &str) {
        self.warnings.push(self.diagnostic(Some(line), what, fix));
    }
}
