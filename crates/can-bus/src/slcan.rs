//! Serial-line CAN: frames as text over a UART or USB, as CANable adapters and Linux's `slcan` speak it.
//!
//! ```text
//! t1232DEAD    classic, 11-bit identifier, DLC, data     T..: 29-bit identifier (8 digits)
//! r1232        remote, asks for 2 bytes                  R..
//! d1239...     CAN FD without bit rate switch            D..
//! b123F...     CAN FD with it; the DLC is one digit      B..
//! S6  Y2       500 kbit/s, data phase 2 Mbit/s
//! O   C        open and close the channel
//! ```
//!
//! A line ends with CR; LF is skipped. The FD commands and `Y` are those of the CANable 2.0 firmware. An adapter answers with CR
//! alone (done), `z` or `Z` (Lawicel: this frame was sent), or BEL (refused). Not read: timestamps (`Z1`) and everything else: it is
//! counted. The notation has no error state indicator; a frame that has one loses it.

mod host;

use core::fmt;

use embedded_can::{ExtendedId, Id, StandardId};
use heapless::Vec;

use crate::frame::{Frame, Kind, dlc_to_len, len_to_dlc};

pub use host::{Host, SETUP};

/// Longest line: `B`, 8 digits of identifier, the DLC, 64 bytes, CR.
pub const MAX_LINE: usize = 1 + 8 + 1 + 2 * 64 + 1;
const CR: u8 = b'\r';
const BEL: u8 = 0x07;

/// One line as it is sent.
pub type Text = Vec<u8, MAX_LINE>;

/// What a line says, in either direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// To the adapter: send this; from it: this was received.
    Frame(Frame),
    /// To the adapter: the nominal bit rate by its number (6: 500 kbit/s, 8: 1 Mbit/s).
    BitRate(u8),
    /// To the adapter: the data bit rate, Mbit/s.
    DataBitRate(u8),
    /// To the adapter: take part in the bus.
    Open,
    /// To the adapter: leave the bus.
    Close,
    /// From the adapter: done.
    Done,
    /// From the adapter: a frame was sent, whose identifier has 29 bits or not.
    Sent {
        /// 29 bits.
        extended: bool,
    },
    /// From the adapter: it will not do that.
    Refused,
}

impl Line {
    /// The line with its end.
    #[must_use]
    pub fn text(&self) -> Text {
        let mut text = Text::new();
        let mut writer = Writer(&mut text);
        // a line of the longest frame is as long as the text can be
        let _ = match self {
            Self::Frame(frame) => write_frame(&mut writer, frame),
            Self::BitRate(number) => fmt::write(&mut writer, format_args!("S{number:X}")),
            Self::DataBitRate(mbit) => fmt::write(&mut writer, format_args!("Y{mbit:X}")),
            Self::Open => fmt::Write::write_str(&mut writer, "O"),
            Self::Close => fmt::Write::write_str(&mut writer, "C"),
            Self::Sent { extended } => fmt::Write::write_str(&mut writer, if *extended { "Z" } else { "z" }),
            Self::Done | Self::Refused => Ok(()),
        };
        let _ = text.push(if *self == Self::Refused { BEL } else { CR });
        text
    }

    /// What the bytes before a CR say; `None` if it is nothing that we know.
    fn parse(line: &[u8]) -> Option<Self> {
        let Some((command, rest)) = line.split_first() else { return Some(Self::Done) };
        let number = || if let [digit] = rest { hex(*digit) } else { None };
        match command {
            b't' | b'T' | b'r' | b'R' | b'd' | b'D' | b'b' | b'B' => parse_frame(*command, rest).map(Self::Frame),
            b'S' => number().map(Self::BitRate),
            b'Y' => number().map(Self::DataBitRate),
            _ if !rest.is_empty() => None,
            b'O' => Some(Self::Open),
            b'C' => Some(Self::Close),
            b'z' => Some(Self::Sent { extended: false }),
            b'Z' => Some(Self::Sent { extended: true }),
            _ => None,
        }
    }
}

/// Lines out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8, MAX_LINE>,
    overlong: bool,
    malformed: u32,
}

impl Decoder {
    /// At the beginning of a line.
    #[must_use]
    pub const fn new() -> Self {
        Self { line: Vec::new(), overlong: false, malformed: 0 }
    }

    /// Takes the next byte; the line that ends with it, if one does that says anything.
    pub fn push(&mut self, byte: u8) -> Option<Line> {
        match byte {
            BEL if self.line.is_empty() && !self.overlong => Some(Line::Refused),
            CR | BEL => {
                let line = if self.overlong || byte == BEL { None } else { Line::parse(&self.line) };
                self.malformed = self.malformed.saturating_add(u32::from(line.is_none()));
                self.line.clear();
                self.overlong = false;
                line
            }
            b'\n' => None,
            _ => {
                self.overlong |= self.line.push(byte).is_err();
                None
            }
        }
    }

    /// Lines that said nothing that we know: noise, another dialect.
    #[must_use]
    pub const fn malformed(&self) -> u32 {
        self.malformed
    }
}

/// `fmt` into a text that is as long as it needs to be.
struct Writer<'a>(&'a mut Text);

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

fn write_frame(writer: &mut Writer<'_>, frame: &Frame) -> fmt::Result {
    let (standard, extended) = match frame.kind() {
        Kind::Classic => ('t', 'T'),
        Kind::Remote => ('r', 'R'),
        Kind::Fd { brs: false, .. } => ('d', 'D'),
        Kind::Fd { brs: true, .. } => ('b', 'B'),
    };
    match frame.id() {
        Id::Standard(id) => fmt::write(writer, format_args!("{standard}{:03X}", id.as_raw()))?,
        Id::Extended(id) => fmt::write(writer, format_args!("{extended}{:08X}", id.as_raw()))?,
    }
    fmt::write(writer, format_args!("{:X}", len_to_dlc(frame.len()).unwrap_or(0)))?;
    frame.data().iter().try_for_each(|byte| {
        let digits = [byte >> 4, byte & 0xF].map(|digit| b"0123456789ABCDEF"[usize::from(digit)]);
        writer.0.extend_from_slice(&digits).map_err(|_| fmt::Error)
    })
}

fn parse_frame(command: u8, rest: &[u8]) -> Option<Frame> {
    let (id, rest) = rest.split_at_checked(if command.is_ascii_uppercase() { 8 } else { 3 })?;
    let value = id.iter().try_fold(0u32, |value, digit| Some(value << 4 | u32::from(hex(*digit)?)))?;
    let id = if command.is_ascii_uppercase() {
        Id::Extended(ExtendedId::new(value)?)
    } else {
        Id::Standard(StandardId::new(value as u16)?)
    };
    let (dlc, digits) = rest.split_first()?;
    let len = dlc_to_len(hex(*dlc)?)?;
    let command = command.to_ascii_lowercase();
    if command == b'r' {
        return if digits.is_empty() { Frame::remote(id, len).ok() } else { None };
    }
    let mut data = [0; 64];
    let data = data.get_mut(..len)?;
    if digits.len() != 2 * len {
        return None;
    }
    for (byte, pair) in data.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex(pair[0])? << 4 | hex(pair[1])?;
    }
    match command {
        b't' => Frame::classic(id, data).ok(),
        _ => Frame::fd_with_flags(id, data, command == b'b', false).ok(),
    }
}

/// The value of a hexadecimal digit.
const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::frame::{EXTENDED_FLAG, id_from_raw};

    fn id(raw: u32) -> Id {
        id_from_raw(raw).unwrap()
    }

    fn read(text: &[u8]) -> (Vec<Line>, u32) {
        let mut decoder = Decoder::new();
        let lines = text.iter().filter_map(|byte| decoder.push(*byte)).collect();
        (lines, decoder.malformed())
    }

    #[test]
    fn lines_are_written_as_adapters_read_them() {
        let extended = id(EXTENDED_FLAG | 0x18DA_F110);
        let frame = |frame: Result<Frame, _>| Line::Frame(frame.unwrap());
        for (line, text) in [
            (frame(Frame::classic(id(0x123), &[0xDE, 0xAD])), "t1232DEAD\r"),
            (frame(Frame::classic(extended, &[])), "T18DAF1100\r"),
            (frame(Frame::remote(id(0x7FF), 8)), "r7FF8\r"),
            (frame(Frame::remote(extended, 0)), "R18DAF1100\r"),
            (frame(Frame::fd_with_flags(id(1), &[7; 12], false, false)), "d0019070707070707070707070707\r"),
            (frame(Frame::fd_with_flags(extended, &[], false, false)), "D18DAF1100\r"),
            (frame(Frame::fd(id(0x93), &[0xAB; 8])), "b0938ABABABABABABABAB\r"),
            (frame(Frame::fd(extended, &[1])), "B18DAF110101\r"),
            (Line::BitRate(6), "S6\r"),
            (Line::DataBitRate(2), "Y2\r"),
            (Line::Open, "O\r"),
            (Line::Close, "C\r"),
            (Line::Done, "\r"),
            (Line::Sent { extended: false }, "z\r"),
            (Line::Sent { extended: true }, "Z\r"),
            (Line::Refused, "\x07"),
        ] {
            assert_eq!(String::from_utf8_lossy(&line.text()), text);
            assert_eq!(read(text.as_bytes()), (std::vec![line], 0), "{text:?}");
        }
        let longest = Line::Frame(Frame::fd(extended, &[0x5A; 64]).unwrap()).text();
        assert_eq!((longest.len(), &longest[..10]), (MAX_LINE, &b"B18DAF110F"[..]));
    }

    #[test]
    fn what_says_nothing_is_counted_and_what_follows_is_read() {
        let long = "B18DAF110F".repeat(20);
        for bad in [
            "t",
            "t12",
            "t1239",
            "t12321",
            "t123900",
            "t800000",
            "r12320",
            "r1239",
            "tXYZ0",
            "b1239AA",
            "bZ",
            "q",
            "O1",
            "S",
            "S66",
            "T2000000000",
            "é",
            "t1232DEAD1234",
            &long,
        ] {
            let text = std::format!("{bad}\rt1000\n\r");
            let (lines, malformed) = read(text.as_bytes());
            assert_eq!(lines, [Line::Frame(Frame::classic(id(0x100), &[]).unwrap())], "{bad}");
            assert_eq!(malformed, 1, "{bad}");
        }
        assert_eq!(read(b"t12\x07\x07z\r"), (std::vec![Line::Refused, Line::Sent { extended: false }], 1), "cut off");
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let ids = prop_oneof![0u32..=0x7FF, (0u32..=0x1FFF_FFFF).prop_map(|id| id | EXTENDED_FLAG)];
        (ids, prop::collection::vec(any::<u8>(), 0..=64), 0..4u8).prop_map(|(raw, data, kind)| {
            let short = &data[..data.len().min(8)];
            match kind {
                0 => Frame::classic(id(raw), short),
                1 => Frame::remote(id(raw), short.len()),
                2 => Frame::fd_padded(id(raw), &data),
                _ => Frame::fd_with_flags(id(raw), short, false, false),
            }
            .unwrap()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(frames in prop::collection::vec(frames(), 0..8)) {
            let lines: Vec<_> = frames.into_iter().map(Line::Frame).collect();
            let text: Vec<u8> = lines.iter().flat_map(Line::text).collect();
            prop_assert_eq!(read(&text), (lines, 0));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_what_is_read_is_written_back(bytes: Vec<u8>) {
            for line in read(&bytes).0 {
                prop_assert_eq!(read(&line.text()), (std::vec![line], 0));
            }
        }

        /// Lines that are almost right.
        #[test]
        fn damaged_lines(frame in frames(), at: prop::sample::Index, byte: u8) {
            let mut text = Line::Frame(frame).text();
            let at = at.index(text.len());
            text[at] = byte;
            for line in read(&text).0 {
                prop_assert_eq!(read(&line.text()), (std::vec![line], 0));
            }
        }
    }
}
