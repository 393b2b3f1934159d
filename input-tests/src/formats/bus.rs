//! What comes in from buses, serial lines, logs and the files that describe a bus.

use std::fmt::Write;

use can_bus::candump::{Interface, LogLine, parse_line};
use can_bus::frame::{Frame, id_from_raw};
use can_bus::log::LogReader;
use can_bus::mcan;
use can_bus::segment::{Assembly, MAX_MESSAGE, Prefix, Reassembler, segments};
use can_bus::slcan::{Decoder, Line};
use can_bus::{Id, Kind};
use dbc::Database;

use super::Group;
use crate::{Dice, Format, Reading};

pub const FRAMES: Group = Group {
    name: "frame",
    formats: &[
        Format { name: "segments", make: made_segments, read: read_segments },
        Format { name: "serial line", make: serial_lines, read: read_serial_lines },
        Format { name: "element of an M_CAN", make: element, read: read_element },
    ],
};

pub const LOGS: Group = Group {
    name: "log",
    formats: &[
        Format { name: "candump line", make: |dice| log_line(dice).to_string().into_bytes(), read: read_line },
        Format { name: "candump log", make: log, read: read_log },
    ],
};

pub const DATABASES: Group =
    Group { name: "database", formats: &[Format { name: "DBC file", make: database, read: read_database }] };

fn id(dice: &mut Dice<'_>) -> Id {
    let raw = dice.int();
    let raw = if dice.flag() { raw & 0x7FF } else { raw & 0x1FFF_FFFF | 1 << 31 };
    id_from_raw(raw).expect("masked")
}

/// Any frame that a bus can carry, but for the error state indicator, which a serial line does not tell.
pub fn frame(dice: &mut Dice<'_>) -> Frame {
    let (id, data) = (id(dice), dice.up_to(64));
    let short = &data[..data.len().min(8)];
    match dice.below(4) {
        0 => Frame::classic(id, short),
        1 => Frame::remote(id, short.len()),
        2 => Frame::fd_with_flags(id, short, false, false),
        _ => Frame::fd_padded(id, &data),
    }
    .expect("a length that it may have")
}

/// Frames of a few identifiers, each behind its identifier and length: those of messages, in order, now and then one between.
fn made_segments(dice: &mut Dice<'_>) -> Vec<u8> {
    let mut all = Vec::new();
    for transfer in 0..=dice.below(3) {
        let identifier = dice.below(4) as u8;
        let most = dice.pick(&[60, 200, MAX_MESSAGE]);
        let message: Vec<u8> = [1].into_iter().chain(dice.up_to(most - 1)).collect();
        let prefix = Prefix { mesh: dice.int() as u16, version: 1, suite: 2, kind: 9, sender: identifier };
        for payload in segments(prefix, transfer as u8, &message).into_iter().flatten() {
            if dice.once_in(16) {
                let noise = dice.up_to(20);
                all.extend([dice.below(4) as u8, noise.len() as u8]);
                all.extend(noise);
            }
            all.extend([identifier, payload.len() as u8]);
            all.extend(payload);
        }
    }
    all
}

/// What comes together: for all identifiers at once, and for the first alone.
fn read_segments(bytes: &[u8]) -> Reading {
    const SHORT: usize = 232;
    let (mut many, mut one, mut memory) = (Reassembler::<SHORT, 4>::new(), Assembly::new(), [0; MAX_MESSAGE]);
    let (mut rest, mut told) = (bytes, Vec::new());
    while let [identifier, length, behind @ ..] = rest {
        let (data, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        match many.push((identifier & 3).into(), SHORT - 8, data) {
            Ok(Some(message)) => {
                assert!(!message.is_empty() && message.len() <= SHORT - 8);
                told.extend([1, message.len() as u8]);
                told.extend(message);
            }
            Ok(None) => told.push(0),
            Err(error) => told.push(2 + error_code(&error)),
        }
        if identifier & 3 == 0 {
            match one.push(&mut memory, data) {
                Ok(Some(length)) => {
                    told.extend((length as u16).to_le_bytes());
                    told.extend(&memory[..length]);
                }
                Ok(None) => told.push(0),
                Err(error) => told.push(2 + error_code(&error)),
            }
        }
    }
    Ok(told)
}

const fn error_code(error: &can_bus::segment::SegmentError) -> u8 {
    use can_bus::segment::SegmentError::*;
    match error {
        Kind => 0,
        MessageLength(_) => 1,
        SegmentLength => 2,
        Padding => 3,
        Gap => 4,
        Contradiction => 5,
    }
}

fn serial_lines(dice: &mut Dice<'_>) -> Vec<u8> {
    let line = |dice: &mut Dice<'_>| match dice.below(12) {
        0 => Line::BitRate(dice.byte() & 15),
        1 => Line::DataBitRate(dice.byte() & 15),
        2 => Line::Open,
        3 => Line::Close,
        4 => Line::Done,
        5 => Line::Sent { extended: dice.flag() },
        6 => Line::Refused,
        _ => Line::Frame(frame(dice)),
    };
    (0..=dice.below(3)).flat_map(|_| line(dice).text()).collect()
}

fn heard(bytes: &[u8]) -> (Vec<Line>, u32) {
    let mut decoder = Decoder::new();
    let lines = bytes.iter().filter_map(|byte| decoder.push(*byte)).collect();
    (lines, decoder.malformed())
}

fn read_serial_lines(bytes: &[u8]) -> Reading {
    let (lines, malformed) = heard(bytes);
    for line in &lines {
        assert_eq!(heard(&line.text()), (vec![*line], 0), "what is read is written back");
    }
    let text = lines.iter().flat_map(Line::text);
    Ok(malformed.to_le_bytes().into_iter().chain(text).collect())
}

fn element(dice: &mut Dice<'_>) -> Vec<u8> {
    mcan::transmit_element(&frame(dice), dice.byte()).flat_map(u32::to_le_bytes).collect()
}

fn read_element(bytes: &[u8]) -> Reading {
    let word = |at: usize| {
        let bytes = bytes.get(4 * at..4 * at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let received = mcan::received(word).ok_or("no frame")?;
    let again: Vec<u32> = mcan::transmit_element(&received.frame, 0).collect();
    let same = mcan::received(|at| again.get(at).copied().unwrap_or(0)).map(|received| received.frame);
    assert_eq!(same, Some(received.frame));
    Ok(format!("{} {}", received.frame, received.timestamp).into_bytes())
}

fn log_line(dice: &mut Dice<'_>) -> LogLine {
    let frame = frame(dice);
    // the one thing that a log tells and a serial line does not
    let frame = match frame.kind() {
        Kind::Fd { brs, .. } => Frame::fd_with_flags(frame.id(), frame.data(), brs, dice.flag()).unwrap_or(frame),
        _ => frame,
    };
    let interface: Interface = (0..=dice.below(15)).map(|_| char::from(b'!' + dice.byte() % 94)).collect();
    LogLine { time_us: dice.long() / 2, interface, frame }
}

fn read_line(bytes: &[u8]) -> Reading {
    let text = std::str::from_utf8(bytes).map_err(|_| "no text")?;
    if let Ok(frame) = text.parse::<Frame>() {
        assert_eq!(frame.to_string().parse(), Ok(frame));
    }
    let line = parse_line(text).map_err(|error| error.to_string())?;
    let again = line.to_string();
    assert_eq!(parse_line(&again), Ok(line));
    Ok(again.into_bytes())
}

fn log(dice: &mut Dice<'_>) -> Vec<u8> {
    let ends = ["\n", "\r\n", " R\n", " T\n", "\n\n"];
    (0..=dice.below(3)).flat_map(|_| format!("{}{}", log_line(dice), dice.pick(&ends)).into_bytes()).collect()
}

fn read_log(bytes: &[u8]) -> Reading {
    let mut told = String::new();
    for line in LogReader::new(bytes) {
        let _ = match line {
            Ok(line) => writeln!(told, "{line}"),
            Err(error) => writeln!(told, "{error}"),
        };
    }
    Ok(told.into_bytes())
}

/// A file as an editor writes it: up to three messages, whose signals may be multiplexed, floats, or too long.
fn database(dice: &mut Dice<'_>) -> Vec<u8> {
    let mut text = String::from("VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: ECM\n");
    let mut types = String::new();
    for message in 1..=1 + dice.below(3) {
        let length = dice.pick(&[1, 8, 8, 64]);
        let _ = writeln!(text, "\nBO_ {message} M{message}: {length} ECM");
        for signal in 0..dice.below(4) {
            let multiplexing = ["", "M ", "m0 ", "m1 "][if signal == 0 { dice.below(2) } else { 0 }];
            let (start, width) = (dice.below(8), dice.pick(&[1, 4, 8, 8]));
            let (order, sign) = (dice.pick(&[0, 1]), dice.pick(&['+', '-']));
            let start = if order == 0 { 7 } else { start * usize::from(length > 1) };
            let width = if length == 1 { width.min(8) } else { width * 2 };
            let factor = dice.pick(&["1", "0.5", "0.01", "-2"]);
            let _ = writeln!(
                text,
                " SG_ S{signal} {multiplexing}: {start}|{width}@{order}{sign} ({factor},{}) [0|0] \"km/h\" ECM",
                dice.byte()
            );
            if dice.once_in(8) && length >= 8 {
                let _ = writeln!(types, "VAL_ {message} S{signal} 0 \"off\" 1 \"on\" ;");
            }
        }
    }
    (text + "\n" + &types).into_bytes()
}

/// What a program makes of a file. What stands in errors is the library's, so only where they are is told.
fn read_database(bytes: &[u8]) -> Reading {
    let text = String::from_utf8_lossy(bytes);
    let database = Database::parse("pinned.dbc", &text).map_err(|error| format!("{:?}", error.line))?;
    let mut told = String::new();
    for message in database.messages() {
        let _ = writeln!(told, "{message:?}");
        for fill in [0x00, 0x5A, 0xFF] {
            let data = vec![fill; message.length.into()];
            for (at, decoded) in message.decode(&data).enumerate() {
                let Ok(value) = decoded.value else { continue };
                let _ = writeln!(told, "{at} {:?}", value.raw);
                let mut again = data.clone();
                assert_eq!(message.signals[at].insert(&mut again, value.raw), Some(()), "{message:?}");
                assert_eq!(again, data, "what is extracted is inserted at the same bits");
            }
        }
    }
    Ok(told.into_bytes())
}
