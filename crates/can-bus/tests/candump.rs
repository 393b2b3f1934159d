//! Our candump reader and writer against two others.

use can_bus::{
    Frame, Id,
    candump::{LogLine, parse_line},
    frame::id_from_raw,
};
use embedded_can::Frame as _;
use proptest::prelude::*;
use socketcan::{CanAnyFrame, dump};

fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![0u32..=0x7FF, (0u32..=0x1FFF_FFFF).prop_map(|id| id | 1 << 31)]
        .prop_map(|raw| id_from_raw(raw).expect("in range"))
}

fn classic_frames() -> impl Strategy<Value = Frame> {
    (ids(), prop::collection::vec(any::<u8>(), 0..=8)).prop_map(|(id, data)| Frame::classic(id, &data).expect("short"))
}

fn frames() -> impl Strategy<Value = Frame> {
    let fd = (ids(), prop::collection::vec(any::<u8>(), 0..=64), any::<bool>(), any::<bool>()).prop_map(
        |(id, data, brs, esi)| {
            let padded = Frame::fd_padded(id, &data).expect("short");
            Frame::fd_with_flags(id, padded.data(), brs, esi).expect("padded")
        },
    );
    let remote = (ids(), 0usize..=8).prop_map(|(id, len)| Frame::remote(id, len).expect("short"));
    prop_oneof![classic_frames(), remote, fd]
}

fn lines(frames: impl Strategy<Value = Frame>) -> impl Strategy<Value = LogLine> {
    // Ten digits of seconds: what the oracles read.
    (0u64..10_000_000_000_000_000, "[a-z][a-z0-9]{0,14}", frames).prop_map(|(time_us, interface, frame)| LogLine {
        time_us,
        interface: interface.as_str().try_into().expect("short"),
        frame,
    })
}

/// The frame as `socketcan` has it: identifier, data, length, and the flags of an FD frame.
fn parts(frame: &CanAnyFrame) -> (Id, Vec<u8>, usize, Option<(bool, bool)>) {
    match frame {
        CanAnyFrame::Normal(f) => (f.id(), f.data().to_vec(), f.dlc(), None),
        CanAnyFrame::Remote(f) => (f.id(), Vec::new(), f.dlc(), None),
        CanAnyFrame::Fd(f) => (f.id(), f.data().to_vec(), f.data().len(), Some((f.is_brs(), f.is_esi()))),
        CanAnyFrame::Error(f) => panic!("an error message: {f:?}"),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(line in lines(frames())) {
        prop_assert_eq!(parse_line(&line.to_string()), Ok(line));
    }

    #[test]
    fn socketcan_reads_the_same(line in lines(frames())) {
        let text = line.to_string();
        let record = dump::Reader::from_reader(text.as_bytes()).next_record().expect("valid").expect("one line");
        let flags = match line.frame.kind() {
            can_bus::Kind::Fd { brs, esi } => Some((brs, esi)),
            _ => None,
        };
        prop_assert_eq!(record.t_us, line.time_us);
        prop_assert_eq!(&record.device, line.interface.as_str());
        prop_assert_eq!(parts(&record.frame), (line.frame.id(), line.frame.data().to_vec(), line.frame.len(), flags));
        // It writes no leading zeros in the seconds, and the same after them.
        let written = record.to_string();
        prop_assert_eq!(written.split_once('.').map(|(_, rest)| rest), text.split_once('.').map(|(_, rest)| rest));
    }

    #[test]
    fn arbitrary_text_never_panics(text: String) {
        let _ = parse_line(&text);
        let _ = text.parse::<Frame>();
    }

    /// Lines that are almost right: whatever we take, `socketcan` takes, too, and we write it back.
    #[test]
    fn damaged_lines(line in lines(frames()), at: prop::sample::Index, byte in "[ -~]") {
        let mut text = line.to_string();
        let at = at.index(text.len());
        text.replace_range(at..=at, &byte);
        if let Ok(parsed) = parse_line(&text) {
            prop_assert!(dump::Reader::from_reader(text.as_bytes()).next_record().is_ok_and(|r| r.is_some()), "{}", text);
            prop_assert_eq!(parse_line(&parsed.to_string()), Ok(parsed));
        }
    }
}

/// `candump-parse` reads classic frames with data only, and panics on a 9-digit identifier or a 10-digit fraction, which we
/// never write.
mod candump_parse_oracle {
    use chumsky::Parser as _;

    use super::*;

    proptest! {
        #[test]
        fn reads_the_same(line in lines(classic_frames().prop_filter("data", |frame| frame.len() > 0))) {
            let frame = candump_parse::parser().parse(line.to_string()).expect("valid");
            prop_assert_eq!(frame.timestamp.as_micros(), u128::from(line.time_us));
            prop_assert_eq!(frame.interface, line.interface.as_str());
            prop_assert_eq!(frame.id, line.frame.raw_id() & 0x1FFF_FFFF);
            prop_assert_eq!(frame.data, line.frame.data());
        }
    }
}
