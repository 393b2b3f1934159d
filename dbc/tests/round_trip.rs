//! Bits in, bits out: start bits as DBC counts them, signs, floats, multiplexing and short frames.

use dbc::{Absent, Database, EncodeError, Message, Raw, ValueKind};
use proptest::prelude::*;

fn database(statements: &str) -> Database {
    let text = format!("VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: ECM\n{statements}\n");
    Database::parse("test.dbc", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn message(length: usize, signal: &str, value_type: u8) -> Message {
    let statements = format!("BO_ 1 A: {length} ECM\n SG_ S : {signal} \"\" ECM\nSIG_VALTYPE_ 1 S : {value_type};");
    database(&statements).messages()[0].clone()
}

#[test]
fn raw_values_by_hand() {
    let table: [(&str, u8, &[u8], Raw); 12] = [
        ("0|8@1+ (1,0) [0|0]", 0, &[0xAB], Raw::Unsigned(0xAB)),
        ("7|8@0+ (1,0) [0|0]", 0, &[0xAB], Raw::Unsigned(0xAB)),
        ("0|16@1+ (1,0) [0|0]", 0, &[0x34, 0x12], Raw::Unsigned(0x1234)),
        ("7|16@0+ (1,0) [0|0]", 0, &[0x12, 0x34], Raw::Unsigned(0x1234)),
        ("4|12@1+ (1,0) [0|0]", 0, &[0xC0, 0xAB], Raw::Unsigned(0xABC)),
        ("3|12@0+ (1,0) [0|0]", 0, &[0x0A, 0xBC], Raw::Unsigned(0xABC)),
        ("5|3@0- (1,0) [0|0]", 0, &[0b0010_0000], Raw::Signed(-4)),
        ("3|3@1- (1,0) [0|0]", 0, &[0b0001_1000], Raw::Signed(3)),
        ("0|64@1- (1,0) [0|0]", 0, &[0, 0, 0, 0, 0, 0, 0, 0x80], Raw::Signed(i64::MIN)),
        ("7|64@0+ (1,0) [0|0]", 0, &[0xFF; 8], Raw::Unsigned(u64::MAX)),
        ("0|32@1- (1,0) [0|0]", 1, &[0, 0, 0x20, 0xC1], Raw::Float(-10.0)),
        ("7|64@0- (1,0) [0|0]", 2, &[0x40, 0x09, 0x21, 0xFB, 0x54, 0x44, 0x2D, 0x18], Raw::Float(std::f64::consts::PI)),
    ];
    for (layout, value_type, data, raw) in table {
        let message = message(data.len(), layout, value_type);
        assert_eq!(message.signals[0].extract(data), Some(raw), "{layout}");
        let mut written = vec![0; data.len()];
        message.signals[0].insert(&mut written, raw).unwrap();
        assert_eq!(written, data, "{layout}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let out_of_range = |value, min, max| Err(EncodeError::OutOfRange { signal: "S".into(), value, min, max });
    let table = [
        ("0|10@1+ (0.1,0) [0|102.3]", 0, 102.3, Ok(vec![0xFF, 0x03])),
        ("0|10@1+ (0.1,0) [0|0]", 0, 103.0, out_of_range(103.0, 0.0, 1023.0 * 0.1)),
        ("0|8@1+ (1,0) [10|20]", 0, 9.0, out_of_range(9.0, 10.0, 20.0)),
        ("0|8@1+ (1,0) [10|20]", 0, 20.4, Ok(vec![20, 0])),
        ("0|8@1+ (1,0) [10|20]", 0, 20.6, out_of_range(20.6, 10.0, 20.0)),
        ("0|8@1- (-2,1) [0|0]", 0, 257.0, Ok(vec![0x80, 0])),
        ("0|8@1- (-2,1) [0|0]", 0, 259.0, out_of_range(259.0, -253.0, 257.0)),
        ("0|8@1+ (1,0) [0|0]", 0, f64::INFINITY, out_of_range(f64::INFINITY, 0.0, 255.0)),
        ("0|8@1+ (0,7) [0|0]", 0, 8.0, out_of_range(8.0, 7.0, 7.0)),
    ];
    for (layout, value_type, value, expected) in table {
        assert_eq!(message(2, layout, value_type).encode(&[("S", value)]), expected, "{layout} {value}");
    }
    for (width, value_type) in [(8, 0), (64, 0), (32, 1), (64, 2)] {
        let message = message(8, &format!("0|{width}@1- (1,0) [0|0]"), value_type);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(message.encode(&[("S", value)]), Err(EncodeError::OutOfRange { .. })), "{width} {value}");
        }
    }
    // 2^64 and 2^63 are the first values that do not fit; as `f64` they equal the rounded greatest ones that do.
    assert!(message(8, "0|64@1+ (1,0) [0|0]", 0).encode(&[("S", 2_f64.powi(64))]).is_err());
    assert!(message(8, "0|64@1- (1,0) [0|0]", 0).encode(&[("S", 2_f64.powi(63))]).is_err());
    assert!(message(8, "0|32@1- (1,0) [0|0]", 1).encode(&[("S", 1e39)]).is_err());
}

#[test]
fn encoding_names_what_is_wrong() {
    let message = message(1, "0|8@1+ (1,0) [0|0]", 0);
    let table = [
        (vec![("T", 1.0)], "the message has no signal T"),
        (vec![("S", 1.0), ("S", 1.0)], "signal S was given two values"),
        (vec![("S", 256.0)], "signal S cannot be 256: it goes from 0 to 255"),
    ];
    for (values, expected) in table {
        assert_eq!(message.encode(&values).unwrap_err().to_string(), expected);
    }
}

/// Mode selects A (0) or Sub (1 to 3); Sub selects B (7).
fn nested() -> Message {
    let database = database(
        "BO_ 1 N: 4 ECM\n SG_ Mode M : 0|8@1+ (1,0) [0|0] \"\" ECM\n SG_ A m0 : 8|8@1+ (1,0) [0|0] \"\" ECM\n \
         SG_ Sub m1M : 8|8@1+ (1,0) [0|0] \"\" ECM\n SG_ B m7 : 16|16@1+ (1,0) [0|0] \"\" ECM\n\
         SG_MUL_VAL_ 1 A Mode 0-0;\nSG_MUL_VAL_ 1 Sub Mode 1-1, 2-3;\nSG_MUL_VAL_ 1 B Sub 7-7;",
    );
    database.messages()[0].clone()
}

#[test]
fn a_frame_carries_what_its_multiplexors_select() {
    use Absent::{FrameTooShort, NotSelected};
    type Values = [Result<f64, Absent>; 4];
    let table: [(&[u8], Values); 7] = [
        (&[0, 5, 6, 0], [Ok(0.0), Ok(5.0), Err(NotSelected), Err(NotSelected)]),
        (&[1, 7, 6, 1], [Ok(1.0), Err(NotSelected), Ok(7.0), Ok(262.0)]),
        (&[3, 8, 6, 1], [Ok(3.0), Err(NotSelected), Ok(8.0), Err(NotSelected)]),
        (&[4, 7, 6, 1], [Ok(4.0), Err(NotSelected), Err(NotSelected), Err(NotSelected)]),
        (&[1, 7, 6], [Ok(1.0), Err(NotSelected), Ok(7.0), Err(FrameTooShort)]),
        (&[1], [Ok(1.0), Err(NotSelected), Err(FrameTooShort), Err(FrameTooShort)]),
        (&[], [Err(FrameTooShort); 4]),
    ];
    for (data, expected) in table {
        let message = nested();
        let values: Vec<_> = message.decode(data).map(|decoded| decoded.value.map(|value| value.physical)).collect();
        assert_eq!(values, expected, "{data:?}");
    }
}

#[test]
fn only_selected_signals_can_be_encoded() {
    let message = nested();
    assert_eq!(message.encode(&[("B", 262.0), ("Sub", 7.0), ("Mode", 2.0)]).unwrap(), [2, 7, 6, 1]);
    let error = message.encode(&[("Mode", 0.0), ("Sub", 7.0)]).unwrap_err();
    assert_eq!(error.to_string(), "signal Sub is not part of the frame for this value of Mode");
}

/// A signal anywhere in a message of 1 to 64 bytes: the message's length, start bit, width, big-endian.
fn layout() -> impl Strategy<Value = (usize, usize, usize, bool)> {
    (1_usize..=64, any::<bool>()).prop_flat_map(|(length, big_endian)| {
        (1..=64.min(length * 8)).prop_flat_map(move |width| {
            (0..=length * 8 - width)
                .prop_map(move |first| (length, if big_endian { first ^ 7 } else { first }, width, big_endian))
        })
    })
}

/// The definition of DBC bit order, spelled out on text: little-endian signals are read from the bytes written right to
/// left, big-endian ones from the bytes written left to right.
fn bits_by_text(data: &[u8], start: usize, width: usize, big_endian: bool) -> u64 {
    let text = |bytes: &mut dyn Iterator<Item = &u8>| bytes.map(|byte| format!("{byte:08b}")).collect::<String>();
    let bits = if big_endian {
        let first = start / 8 * 8 + 7 - start % 8;
        text(&mut data.iter())[first..first + width].to_owned()
    } else {
        let end = data.len() * 8 - start;
        text(&mut data.iter().rev())[end - width..end].to_owned()
    };
    u64::from_str_radix(&bits, 2).expect("the text is binary")
}

proptest! {
    #[test]
    fn raw_values_survive(
        (length, start, width, big_endian) in layout(),
        signed: bool,
        bits: u64,
        mut data in prop::collection::vec(any::<u8>(), 64),
    ) {
        data.truncate(length);
        let before = data.clone();
        let (order, sign) = (u8::from(!big_endian), if signed { '-' } else { '+' });
        let message = message(length, &format!("{start}|{width}@{order}{sign} (1,0) [0|0]"), 0);
        let signal = &message.signals[0];
        let unused = 64 - width;
        let raw = if signed { Raw::Signed((bits << unused) as i64 >> unused) } else { Raw::Unsigned(bits >> unused) };

        let old = signal.extract(&data).unwrap();
        signal.insert(&mut data, raw).unwrap();
        prop_assert_eq!(signal.extract(&data), Some(raw));
        let expected = match raw { Raw::Signed(raw) => raw as u64, Raw::Unsigned(raw) => raw, Raw::Float(_) => unreachable!() };
        prop_assert_eq!(bits_by_text(&data, start, width, big_endian), expected << unused >> unused);
        // No other bit changed.
        signal.insert(&mut data, old).unwrap();
        prop_assert_eq!(&data, &before);

        // One byte less is too short, if the signal reaches into the last one.
        let short = &mut data[..length - 1];
        let needed = if big_endian { (start / 8 * 8 + 7 - start % 8 + width).div_ceil(8) } else { (start + width).div_ceil(8) };
        prop_assert_eq!(signal.extract(short).is_some(), needed < length);
        prop_assert_eq!(signal.insert(short, old).is_some(), needed < length);
    }

    #[test]
    fn physical_values_survive(
        (length, start, width, big_endian) in layout().prop_filter("exact in f64", |&(_, _, width, _)| width <= 48),
        signed: bool,
        bits: u64,
        factor in prop::sample::select(vec![1.0, 0.1, 0.01, -0.5, 2.0, 0.0625, 1e-3]),
        offset in prop::sample::select(vec![0.0, -40.0, 1000.0]),
    ) {
        let (order, sign) = (u8::from(!big_endian), if signed { '-' } else { '+' });
        let message = message(length, &format!("{start}|{width}@{order}{sign} ({factor},{offset}) [0|0]"), 0);
        let unused = 64 - width;
        let raw = if signed { Raw::Signed((bits << unused) as i64 >> unused) } else { Raw::Unsigned(bits >> unused) };
        let mut data = vec![0; length];
        message.signals[0].insert(&mut data, raw).unwrap();
        let physical = message.decode(&data).next().unwrap().value.unwrap().physical;
        prop_assert_eq!(message.encode(&[("S", physical)]).unwrap(), data);
    }

    #[test]
    fn floats_survive(value: f64, single: f32, big_endian: bool) {
        for (width, value_type, value) in [(64, 2, value), (32, 1, single.into())] {
            let layout = if big_endian { format!("7|{width}@0-") } else { format!("0|{width}@1-") };
            let message = message(8, &format!("{layout} (1,0) [0|0]"), value_type);
            let mut data = vec![0; 8];
            message.signals[0].insert(&mut data, Raw::Float(value)).unwrap();
            let read = message.signals[0].extract(&data);
            prop_assert!(read == Some(Raw::Float(value)) || value.is_nan(), "{value} became {read:?}");
        }
    }

    #[test]
    fn a_value_too_large_for_the_bits_changes_nothing((length, start, width, big_endian) in layout(), bits: u64) {
        let message = message(length, &format!("{start}|{width}@{}+ (1,0) [0|0]", u8::from(!big_endian)), 0);
        prop_assume!(width < 64 && bits >> width != 0);
        let mut data = vec![0x5A; length];
        prop_assert_eq!(message.signals[0].insert(&mut data, Raw::Unsigned(bits)), None);
        prop_assert_eq!(message.signals[0].insert(&mut data, Raw::Signed(0)), None);
        prop_assert_eq!(data, vec![0x5A; length]);
        prop_assert_eq!(message.signals[0].kind, ValueKind::Unsigned);
    }
}
