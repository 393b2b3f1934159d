//! The text of a DBC file and its lines.

use std::borrow::Cow;

use can_dbc::{Dbc, DbcError};

/// A DBC text, the lines on which its statements start, and what `can-dbc` makes of it.
pub(crate) struct Source<'a> {
    text: &'a str,
    /// Line number, from 1, and offset of each line that does not start inside a string.
    lines: Vec<(usize, usize)>,
}

/// Where a message and its signals are defined, and the identifier as written: `can-dbc` cuts off what it has no room for.
pub(crate) struct MessageLines {
    pub(crate) line: usize,
    pub(crate) written_id: u64,
    pub(crate) signals: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let (mut lines, mut offset, mut in_string) = (Vec::new(), 0, false);
        for (index, line) in text.split_inclusive('\n').enumerate() {
            if !in_string {
                lines.push((index + 1, offset));
            }
            in_string = ends_in_string(line, in_string);
            offset += line.len();
        }
        Self { text, lines }
    }

    /// Parses the text; an error comes with the line of the statement it is in.
    pub(crate) fn parse(&self) -> Result<Dbc, (usize, String)> {
        Dbc::try_from(self.text).map_err(|error| (self.failing_line(), describe(error)))
    }

    /// `can-dbc` does not say where a number is bad, so halve the text until one line is left. Whatever parses is not
    /// parsed again: statements do not depend on each other.
    fn failing_line(&self) -> usize {
        let (mut statement, mut failing, mut end) = (0, 0, self.lines.len());
        // Lines from `statement` to before `failing` parse, those to before `end` do not.
        while end - failing > 1 {
            let middle = failing + (end - failing) / 2;
            let (from, to) = (self.lines[statement].1, self.lines[middle].1);
            if Dbc::try_from(&self.text[from..to]).is_ok() {
                failing = middle;
                statement = (statement..=middle).rev().find(|&line| self.starts_statement(line)).unwrap_or(statement);
            } else {
                end = middle;
            }
        }
        self.lines.get(failing).map_or(1, |&(line, _)| line)
    }

    /// Signals belong to the statement before them, and so do indented names.
    fn starts_statement(&self, line: usize) -> bool {
        let text = &self.text[self.lines[line].1..];
        text.starts_with(|first: char| first.is_ascii_alphabetic()) && !text.starts_with("SG_")
    }

    /// The lines that define messages, in the order of the text.
    pub(crate) fn messages(&self) -> Vec<MessageLines> {
        let mut messages: Vec<MessageLines> = Vec::new();
        for &(line, start) in &self.lines {
            let statement = self.text[start..].trim_start_matches([' ', '\t']);
            if let Some(written_id) = statement.strip_prefix("BO_").and_then(leading_number) {
                messages.push(MessageLines { line, written_id, signals: Vec::new() });
            } else if statement.strip_prefix("SG_").is_some_and(|rest| rest.starts_with([' ', '\t']))
                && let Some(message) = messages.last_mut()
            {
                message.signals.push(line);
            }
        }
        messages
    }
}

/// DBC files have no declared encoding: UTF-8 if it is that, else Windows-1252 (a superset of Latin-1), what the usual
/// editors write. The flag tells which.
pub(crate) fn decode_text(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text.trim_start_matches('\u{feff}')), true),
        Err(_) => (can_dbc::encodings::WINDOWS_1252.decode(bytes).0, false),
    }
}

fn ends_in_string(line: &str, mut in_string: bool) -> bool {
    let mut rest = line;
    while let Some(at) = rest.find(if in_string { &['"', '\\'][..] } else { &['"', '/'][..] }) {
        let found = &rest[at..];
        if found.starts_with("//") && !in_string {
            return false;
        }
        let escaped_quote = found.starts_with("\\\"");
        if found.starts_with('"') {
            in_string = !in_string;
        }
        rest = &found[if escaped_quote { 2 } else { 1 }..];
    }
    in_string
}

fn leading_number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn describe(error: DbcError) -> String {
    match error {
        DbcError::Pest(error) => match error.variant.message() {
            // The parser would have gone on with any statement, or with the end of the file.
            message if message == "expected file" || message.contains("EOI") => "this is not a DBC statement".into(),
            message => message.into_owned(),
        },
        other => other.to_string(),
    }
}
