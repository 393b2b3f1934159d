//! Frames as bits: against an independent implementation, against their lengths, and back.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use can_bus::frame::{EXTENDED_FLAG, dlc_to_len, id_from_raw};
use can_bus::{Frame, Kind};
use mesh_sim::wire::bits::{Bit, Field, encode};
use mesh_sim::wire::decode::{Decoder, Step};
use mesh_sim::wire::length::Length;
use mesh_sim::wire::{DOMINANT, INTERMISSION_BITS};

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Any frame; half of them with long runs of equal bits, where stuffing is dense.
    fn frame(&mut self) -> Frame {
        let id =
            if self.below(2) == 0 { self.below(1 << 11) as u32 } else { self.below(1 << 29) as u32 | EXTENDED_FLAG };
        let runs = self.below(2) == 0;
        let mut data = [0; 64];
        for chunk in data.chunks_mut(8) {
            let any = self.next();
            let bits = if runs { any & any << 1 & any << 2 | (any >> 32 & 1).wrapping_neg() << 40 } else { any };
            chunk.copy_from_slice(&bits.to_be_bytes());
        }
        let (id, len) = (id_from_raw(id).expect("an identifier"), self.below(9) as usize);
        match self.below(4) {
            0 => Frame::classic(id, &data[..len]),
            1 => Frame::remote(id, len),
            _ => {
                let len = dlc_to_len(self.below(16) as u8).expect("a DLC");
                Frame::fd_with_flags(id, &data[..len], self.below(4) > 0, self.below(4) == 0)
            }
        }
        .expect("a length")
    }
}

fn length(bits: &[Bit]) -> Length {
    let data = bits.iter().filter(|bit| bit.fast).count() as u32;
    Length { nominal: bits.len() as u32 - data, data }
}

/// What a receiver makes of the bits.
fn decode(bits: &[Bit]) -> Option<Frame> {
    let mut decoder = Decoder::new(true);
    let mut received = None;
    let frame = &bits[..bits.len() - INTERMISSION_BITS];
    for (at, bit) in frame.iter().enumerate() {
        assert_eq!(decoder.fast(), bit.fast, "bit rate of bit {at}");
        match decoder.push(bit.level).unwrap_or_else(|error| panic!("{error:?} at bit {at}")) {
            Step::More => {}
            Step::Acknowledge => assert_eq!(frame[at + 1].field, Field::Ack),
            Step::Received(frame) => received = Some(frame),
            Step::Ended => assert_eq!(at + 1, frame.len()),
            Step::Overload => panic!("overload at bit {at}"),
        }
    }
    received
}

/// Both ways to a length, and the way back, agree; shared among the cores.
#[test]
fn a_million_random_frames() {
    const FRAMES: u64 = 1_000_000;
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    thread::scope(|scope| {
        for core in 0..cores {
            scope.spawn(move || {
                let mut random = Random(core);
                for _ in 0..FRAMES.div_ceil(cores) {
                    let frame = random.frame();
                    let bits = encode(&frame);
                    assert_eq!(length(&bits), Length::of(&frame), "{frame:?}");
                    assert_eq!(decode(&bits), Some(frame));
                }
            });
        }
    });
}

/// The sender goes on as if nothing was: what the receiver alone makes of one wrong bit.
#[test]
fn a_receiver_finds_any_single_wrong_bit() {
    let mut random = Random(15);
    let mut found = BTreeMap::new();
    for _ in 0..20_000 {
        let frame = random.frame();
        let mut bits = encode(&frame);
        let ends = bits.len() - INTERMISSION_BITS;
        // the start of frame is not there, or it is: nothing to find
        let wrong = 1 + random.below(ends as u64 - 1) as usize;
        bits[wrong].level ^= true;
        let mut decoder = Decoder::new(true);
        let mut steps = bits[..ends].iter().map(|bit| decoder.push(bit.level));
        let end = steps.find(|step| !matches!(step, Ok(Step::More | Step::Acknowledge)));
        match (bits[wrong].field, end) {
            // somebody acknowledged; or it is the last bit, and the frame is there already
            (Field::Ack, end) => assert_eq!(end, Some(Ok(Step::Received(frame)))),
            (Field::End, Some(Ok(step))) => assert_eq!((wrong, step), (ends - 1, Step::Received(frame))),
            (_, Some(Err(error))) => *found.entry(format!("{error:?}")).or_insert(0) += 1,
            // it takes the frame for a longer one
            (Field::Control | Field::Arbitration, None) => {}
            (field, end) => panic!("{field:?}, bit {wrong} of {frame:?}: {end:?}"),
        }
    }
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["Crc", "Form", "Stuff"], "each kind is found");
}

/// `tests/canbits.py` follows the text of ISO 11898-1:2015 and shares nothing with this crate.
#[test]
fn an_independent_implementation_sends_the_same_bits() {
    let mut random = Random(2015);
    let mut frames: Vec<_> = (0..5_000).map(|_| random.frame()).collect();
    frames.extend(extremes());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/canbits.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed: install it");
    let asked: String = frames.iter().map(question).collect();
    let mut stdin = python.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), frames.len());
    for (frame, answer) in frames.iter().zip(answers.lines()) {
        let bits = encode(frame);
        let levels: String = bits.iter().map(|bit| if bit.level == DOMINANT { '0' } else { '1' }).collect();
        assert_eq!(format!("{levels} {}", length(&bits).data), answer, "{frame:?}");
    }
}

/// Every kind and length, with data of equal bits, which is stuffed most.
fn extremes() -> impl Iterator<Item = Frame> {
    let ids =
        [0, 0x7FF, EXTENDED_FLAG, EXTENDED_FLAG | 0x1FFF_FFFF].map(|raw| id_from_raw(raw).expect("an identifier"));
    ids.into_iter().flat_map(|id| {
        let fd = (0..16).filter_map(dlc_to_len).flat_map(move |len| {
            [0x00, 0xFF, 0x78, 0x87].map(|byte| Frame::fd_with_flags(id, &[byte; 64][..len], len % 2 == 0, byte > 0x7F))
        });
        let classic = (0..=8).flat_map(move |len| [Frame::classic(id, &[0xFF; 8][..len]), Frame::remote(id, len)]);
        fd.chain(classic).map(|frame| frame.expect("a length"))
    })
}

fn question(frame: &Frame) -> String {
    let (kind, brs, esi) = match frame.kind() {
        Kind::Classic => ('C', false, false),
        Kind::Remote => ('R', false, false),
        Kind::Fd { brs, esi } => ('F', brs, esi),
    };
    let id = match frame.raw_id() {
        raw if raw & EXTENDED_FLAG != 0 => format!("{:08X}", raw & !EXTENDED_FLAG),
        raw => format!("{raw:03X}"),
    };
    let data: String = frame.data().iter().map(|byte| format!("{byte:02X}")).collect();
    let data = if data.is_empty() { "-" } else { &data };
    format!("{kind} {id} {} {data} {} {}\n", frame.len(), u8::from(brs), u8::from(esi))
}
