//! Reading a whole `candump -L` log, line by line.

use std::{
    fmt,
    io::{self, BufRead, Read},
    vec::Vec,
};

use crate::candump::{LineError, LogLine, parse_line};

/// Longest line that is read, in bytes; the longest that `candump` writes has about 190.
pub const MAX_LINE: usize = 256;

/// Iterates over the lines of a log. Memory is bounded whatever the input is. Blank lines are passed over.
///
/// After a malformed line it goes on with the next one; after a failure of the source it ends.
pub struct LogReader<R> {
    source: R,
    line: u64,
    failed: bool,
}

/// A line that cannot be read.
#[derive(Debug)]
pub struct LogError {
    /// Number of the line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line of a log.
#[derive(Debug)]
pub enum Problem {
    /// It is malformed.
    Malformed(LineError),
    /// It has more than [`MAX_LINE`] bytes.
    TooLong,
    /// The source failed.
    Io(io::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.problem {
            Problem::Malformed(error) => error.fmt(f),
            Problem::TooLong => write!(f, "more than {MAX_LINE} bytes: is this a log of 'candump -L'?"),
            Problem::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LogError {}

impl<R: BufRead> LogReader<R> {
    /// Reads from the start of `source`.
    pub const fn new(source: R) -> Self {
        Self { source, line: 0, failed: false }
    }

    /// The next line that is not blank, without its line end; `None` at the end of the source.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let mut bytes = Vec::new();
        while bytes.is_empty() {
            self.line += 1;
            let read =
                self.source.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes).map_err(Problem::Io)?;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_LINE && !bytes.ends_with(b"\n") {
                self.source.skip_until(b'\n').map_err(Problem::Io)?;
                return Err(Problem::TooLong);
            }
            bytes.truncate(bytes.trim_ascii_end().len());
        }
        Ok(Some(bytes))
    }

    fn read(&mut self) -> Result<Option<LogLine>, Problem> {
        let Some(bytes) = self.next_line()? else { return Ok(None) };
        let text = str::from_utf8(&bytes).map_err(|error| {
            Problem::Malformed(LineError {
                column: error.valid_up_to() + 1,
                expected: "text (UTF-8); is the log compressed?",
            })
        })?;
        parse_line(text).map(Some).map_err(Problem::Malformed)
    }
}

impl<R: BufRead> Iterator for LogReader<R> {
    type Item = Result<LogLine, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        self.read()
            .map_err(|problem| {
                self.failed = matches!(problem, Problem::Io(_));
                LogError { line: self.line, problem }
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::BufReader,
        string::{String, ToString},
    };

    use super::*;

    const GOOD: &str = "(0000000001.000000) can0 123#01";

    fn read(log: &[u8]) -> Vec<String> {
        LogReader::new(log).map(|line| line.map_or_else(|error| error.to_string(), |line| line.to_string())).collect()
    }

    #[test]
    fn errors_name_the_line_and_reading_goes_on() {
        let long = "x".repeat(MAX_LINE + 1);
        let log = std::format!("{GOOD}\r\n\n(x\n{long}\n{GOOD}");
        let expected = [
            GOOD,
            "line 3: column 2: expected seconds since 1970",
            "line 4: more than 256 bytes: is this a log of 'candump -L'?",
            GOOD,
        ];
        assert_eq!(read(log.as_bytes()), expected);
        assert_eq!(read(b""), [""; 0]);
        assert_eq!(read(b"(1\xFF"), ["line 1: column 3: expected text (UTF-8); is the log compressed?"]);
    }

    /// A source without any line end, endless: memory stays bounded, and so does what is read before the error.
    #[test]
    fn an_endless_line_is_an_error_not_a_hang() {
        let source = BufReader::new(io::repeat(b'x').take(10_000_000));
        let problems: Vec<_> = LogReader::new(source).map(|line| line.unwrap_err().problem).collect();
        assert!(matches!(problems[..], [Problem::TooLong]));
    }

    #[test]
    fn a_failing_source_ends_the_log() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("cable pulled"))
            }
        }
        let lines: Vec<_> = LogReader::new(BufReader::new(Failing)).map(|line| line.unwrap_err().to_string()).collect();
        assert_eq!(lines, ["line 1: cable pulled"]);
    }
}
