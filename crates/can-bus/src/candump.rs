//! Logs as `candump -L` of can-utils writes them, to the letter.
//!
//! ```text
//! (1735270496.916858) can0 123#00112233          classic, 11-bit identifier (3 digits)
//! (1735270496.916859) can0 12345678#             29-bit identifier (8 digits), no data
//! (1735270496.916860) can0 123#R4                remote frame that asks for 4 bytes
//! (1735270496.916861) can0 123##5DEADBEEF        CAN FD; flags: 1 BRS, 2 ESI, 4 FDF (set by kernels)
//! ```
//!
//! A line may end with the direction that `candump -x` adds (` R` or ` T`); it is not kept. Not read: a raw DLC above 8 in a
//! classic frame (`_9`), and error messages of a controller (`candump -e`), which are no frames of the bus.

use core::{fmt, str::FromStr};

use embedded_can::{ExtendedId, Id, StandardId};

use crate::frame::{Frame, Kind, MAX_CLASSIC, MAX_FD};

const BRS: u8 = 1;
const ESI: u8 = 2;
const FDF: u8 = 4;
/// Linux marks the error messages of a controller with this bit of the identifier (`CAN_ERR_FLAG`).
const ERROR_MESSAGE: u32 = 1 << 29;
const US_PER_S: u64 = 1_000_000;

/// Name of a network interface; Linux allows 15 bytes.
pub type Interface = heapless::String<15>;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When the frame was seen, in µs since 1970 (or since whatever the log began to count).
    pub time_us: u64,
    /// Where it was seen.
    pub interface: Interface,
    /// The frame.
    pub frame: Frame,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Where, in bytes from 1.
    pub column: usize,
    /// What should be there.
    pub expected: &'static str,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: expected {}", self.column, self.expected)
    }
}

impl core::error::Error for LineError {}

/// Reads one line, without its line end.
///
/// # Errors
/// Where the line departs from the format, and what should be there.
pub fn parse_line(line: &str) -> Result<LogLine, LineError> {
    let mut cursor = Cursor::new(line);
    cursor.literal("(", "'(' before the time")?;
    let time_us = cursor.time()?;
    cursor.literal(") ", "') ' after the time")?;
    let interface = cursor.interface()?;
    cursor.literal(" ", "a space after the interface")?;
    let frame = cursor.frame()?;
    if !cursor.rest.is_empty() && cursor.rest != " R" && cursor.rest != " T" {
        return Err(cursor.error("the end of the line"));
    }
    Ok(LogLine { time_us, interface, frame })
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, fraction) = (self.time_us / US_PER_S, self.time_us % US_PER_S);
        write!(f, "({seconds:010}.{fraction:06}) {} {}", self.interface, self.frame)
    }
}

/// Reads a frame in the notation of `candump -L` and `cansend`, such as `123#00FF`.
impl FromStr for Frame {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        let mut cursor = Cursor::new(text);
        let frame = cursor.frame()?;
        if cursor.rest.is_empty() { Ok(frame) } else { Err(cursor.error("the end of the frame")) }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Id::Standard(id) => write!(f, "{:03X}#", id.as_raw())?,
            Id::Extended(id) => write!(f, "{:08X}#", id.as_raw())?,
        }
        match self.kind() {
            Kind::Classic => {}
            Kind::Remote if self.len() == 0 => write!(f, "R")?,
            Kind::Remote => write!(f, "R{}", self.len())?,
            Kind::Fd { brs, esi } => {
                let flags = FDF | if brs { BRS } else { 0 } | if esi { ESI } else { 0 };
                write!(f, "#{flags:X}")?;
            }
        }
        self.data().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// What is left of a line.
struct Cursor<'a> {
    whole: usize,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn new(line: &'a str) -> Self {
        Self { whole: line.len(), rest: line }
    }

    fn column(&self) -> usize {
        self.whole - self.rest.len() + 1
    }

    fn error(&self, expected: &'static str) -> LineError {
        LineError { column: self.column(), expected }
    }

    fn literal(&mut self, text: &str, expected: &'static str) -> Result<(), LineError> {
        self.rest = self.rest.strip_prefix(text).ok_or_else(|| self.error(expected))?;
        Ok(())
    }

    /// Takes bytes while they are as wanted.
    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|byte| !wanted(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Seconds, a point and six decimals.
    fn time(&mut self) -> Result<u64, LineError> {
        let start = self.error("seconds since 1970");
        let seconds: u64 = self.take(|byte| byte.is_ascii_digit()).parse().map_err(|_| start)?;
        self.literal(".", "'.' after the seconds")?;
        let decimals = self.error("six decimals of the time");
        let fraction = self.take(|byte| byte.is_ascii_digit());
        let fraction: u64 = fraction.parse().ok().filter(|_| fraction.len() == 6).ok_or(decimals)?;
        seconds.checked_mul(US_PER_S).and_then(|us| us.checked_add(fraction)).ok_or(start)
    }

    fn interface(&mut self) -> Result<Interface, LineError> {
        let start = self.error("an interface name of 1 to 15 bytes");
        let name = self.take(|byte| byte != b' ');
        Interface::try_from(name).ok().filter(|name| !name.is_empty()).ok_or(start)
    }

    fn frame(&mut self) -> Result<Frame, LineError> {
        let id = self.id()?;
        self.literal("#", "'#' after the identifier")?;
        if self.rest.starts_with('R') {
            self.remote(id)
        } else if self.rest.starts_with('#') {
            self.fd(id)
        } else {
            let start = self.error("0 to 8 bytes");
            Frame::classic(id, &self.data::<MAX_CLASSIC>(start)?).map_err(|_| start)
        }
    }

    fn id(&mut self) -> Result<Id, LineError> {
        let start = self.error("an identifier of 3 or 8 hexadecimal digits, at most 7FF or 1FFFFFFF");
        let digits = self.take(|byte| byte.is_ascii_hexdigit());
        let value = u32::from_str_radix(digits, 16).map_err(|_| start)?;
        let id = match digits.len() {
            3 => StandardId::new(value as u16).map(Id::Standard),
            8 if value & ERROR_MESSAGE != 0 => {
                let expected = "a frame of the bus, not an error message of the controller: log without 'candump -e'";
                return Err(LineError { expected, ..start });
            }
            8 => ExtendedId::new(value).map(Id::Extended),
            _ => None,
        };
        id.ok_or(start)
    }

    fn remote(&mut self, id: Id) -> Result<Frame, LineError> {
        self.literal("R", "'R'")?;
        let start = self.error("the length of a remote frame, 0 to 8");
        let len = match self.take(|byte| byte.is_ascii_alphanumeric()) {
            "" => 0,
            digits => digits.parse().map_err(|_| start)?,
        };
        Frame::remote(id, len).map_err(|_| start)
    }

    fn fd(&mut self, id: Id) -> Result<Frame, LineError> {
        self.literal("#", "'#'")?;
        let start = self.error("the flags of a CAN FD frame, 0 to 7");
        let digit = self.rest.chars().next().and_then(|digit| digit.to_digit(8)).ok_or(start)?;
        let flags = digit as u8;
        self.rest = &self.rest[1..];
        let start = self.error("0 to 8, 12, 16, 20, 24, 32, 48 or 64 bytes");
        let data = self.data::<MAX_FD>(start)?;
        Frame::fd_with_flags(id, &data, flags & BRS != 0, flags & ESI != 0).map_err(|_| start)
    }

    /// Bytes as pairs of hexadecimal digits; `too_many` is the error when they are more than `N`.
    fn data<const N: usize>(&mut self, too_many: LineError) -> Result<heapless::Vec<u8, N>, LineError> {
        let mut data = heapless::Vec::new();
        while self.rest.starts_with(|digit: char| digit.is_ascii_hexdigit()) {
            let pair = self.rest.get(..2).filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let pair = pair.ok_or_else(|| self.error("two hexadecimal digits for a byte"))?;
            let byte = u8::from_str_radix(pair, 16).map_err(|_| too_many)?;
            data.push(byte).map_err(|_| too_many)?;
            self.rest = &self.rest[2..];
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use std::{format, string::ToString};

    use super::*;

    /// What can-utils writes, and what it means.
    #[test]
    fn the_forms_of_a_line() {
        let standard = |raw| StandardId::new(raw).unwrap();
        let extended = |raw| ExtendedId::new(raw).unwrap();
        for (text, frame) in [
            ("123#00112233", Frame::classic(standard(0x123), &[0x00, 0x11, 0x22, 0x33])),
            ("7FF#", Frame::classic(standard(0x7FF), &[])),
            ("00000123#01", Frame::classic(extended(0x123), &[1])),
            ("1FFFFFFF#0102", Frame::classic(extended(0x1FFF_FFFF), &[1, 2])),
            ("001#R", Frame::remote(standard(1), 0)),
            ("001#R8", Frame::remote(standard(1), 8)),
            ("123##5DEADBEEF", Frame::fd(standard(0x123), &[0xDE, 0xAD, 0xBE, 0xEF])),
            ("123##4", Frame::fd_with_flags(standard(0x123), &[], false, false)),
            ("12345678##7AA", Frame::fd_with_flags(extended(0x1234_5678), &[0xAA], true, true)),
        ] {
            let (frame, line) = (frame.unwrap(), format!("(1735270496.916858) can0 {text}"));
            let time_us = 1_735_270_496_916_858;
            let parsed = LogLine { time_us, interface: "can0".try_into().unwrap(), frame };
            assert_eq!(parse_line(&line), Ok(parsed.clone()), "{text}");
            assert_eq!(parsed.to_string(), line);
            assert_eq!(text.parse(), Ok(frame));
            assert_eq!(parse_line(&(line + " T")), Ok(parsed), "with direction");
        }
    }

    #[test]
    fn forms_that_are_read_but_written_otherwise() {
        for (read, written) in [
            ("(0.000001) vcan0 123#ab", "(0000000000.000001) vcan0 123#AB"),
            ("(0000000000.000001) vcan0 123##1AB", "(0000000000.000001) vcan0 123##5AB"),
            ("(0000000000.000001) vcan0 123#R0 R", "(0000000000.000001) vcan0 123#R"),
        ] {
            assert_eq!(parse_line(read).unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_wrong_with_a_line() {
        let error = |column, expected| LineError { column, expected };
        let id = "an identifier of 3 or 8 hexadecimal digits, at most 7FF or 1FFFFFFF";
        let name = "an interface name of 1 to 15 bytes";
        for (line, expected) in [
            ("", error(1, "'(' before the time")),
            ("(x.000000) can0 1", error(2, "seconds since 1970")),
            ("(18446744073709551615.000000) can0 1", error(2, "seconds since 1970")),
            ("(1,000000) can0 1", error(3, "'.' after the seconds")),
            ("(1.00000) can0 123#", error(4, "six decimals of the time")),
            ("(1.0000000000) can0 123#", error(4, "six decimals of the time")),
            ("(1.000000)can0 123#", error(10, "') ' after the time")),
            ("(1.000000)  123#", error(12, name)),
            ("(1.000000) abcdefghijklmnop 123#", error(12, name)),
            ("(1.000000) can0", error(16, "a space after the interface")),
            ("(1.000000) can0 12#", error(17, id)),
            ("(1.000000) can0 800#", error(17, id)),
            ("(1.000000) can0 123456789#", error(17, id)),
            ("(1.000000) can0 80000000#", error(17, id)),
            (
                "(1.000000) can0 20000004#000C000000000000",
                error(17, "a frame of the bus, not an error message of the controller: log without 'candump -e'"),
            ),
            ("(1.000000) can0 123 00", error(20, "'#' after the identifier")),
            ("(1.000000) can0 123#001", error(23, "two hexadecimal digits for a byte")),
            ("(1.000000) can0 123#00é", error(23, "the end of the line")),
            ("(1.000000) can0 123#0é", error(21, "two hexadecimal digits for a byte")),
            ("(1.000000) can0 123#000000000000000000", error(21, "0 to 8 bytes")),
            ("(1.000000) can0 123#1122334455667788_E", error(37, "the end of the line")),
            ("(1.000000) can0 123#R9", error(22, "the length of a remote frame, 0 to 8")),
            ("(1.000000) can0 123##", error(22, "the flags of a CAN FD frame, 0 to 7")),
            ("(1.000000) can0 123##8", error(22, "the flags of a CAN FD frame, 0 to 7")),
            ("(1.000000) can0 123##1001122334455667788", error(23, "0 to 8, 12, 16, 20, 24, 32, 48 or 64 bytes")),
        ] {
            assert_eq!(parse_line(line), Err(expected), "{line}");
        }
        assert_eq!(parse_line("").unwrap_err().to_string(), "column 1: expected '(' before the time");
        assert_eq!("123#00 ".parse::<Frame>(), Err(error(7, "the end of the frame")));
    }
}
