//! How long a frame holds the wire.
//!
//! Lengths in bits follow ISO 11898-1:2015 with CRC-15, CRC-17 or CRC-21 and the stuff count of FD frames. Times run from
//! the start of frame to the end of the intermission, so frames back to back take the sum of their times. In an FD frame
//! the BRS bit is counted at the nominal bit rate and the CRC delimiter at the data bit rate.

use core::{fmt, str::FromStr};

use embedded_can::Id;

use crate::frame::{Frame, Kind};

const NS_PER_S: u64 = 1_000_000_000;

/// CRC delimiter, acknowledge slot and delimiter, end of frame (7) and intermission (3) of a classic frame.
const CLASSIC_TAIL: u64 = 13;
/// The same without the CRC delimiter, which an FD frame sends at the data bit rate.
const FD_TAIL: u64 = CLASSIC_TAIL - 1;
/// A stuff bit can follow the first five equal bits, and then every fourth.
const STUFF_PERIOD: u64 = 4;

/// The bit rates of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitTiming {
    nominal_bps: u32,
    data_bps: u32,
}

impl BitTiming {
    /// 500 kbit/s, 2 Mbit/s in the data phase: what most cars with CAN FD have.
    pub const FD_500K_2M: Self = Self { nominal_bps: 500_000, data_bps: 2_000_000 };
    /// 1 Mbit/s, 5 Mbit/s in the data phase.
    pub const FD_1M_5M: Self = Self { nominal_bps: 1_000_000, data_bps: 5_000_000 };
    /// 1 Mbit/s, 8 Mbit/s in the data phase.
    pub const FD_1M_8M: Self = Self { nominal_bps: 1_000_000, data_bps: 8_000_000 };

    /// Bit rates in bit/s; `None` unless 0 < `nominal_bps` <= `data_bps`.
    pub const fn new(nominal_bps: u32, data_bps: u32) -> Option<Self> {
        if nominal_bps == 0 || data_bps < nominal_bps { None } else { Some(Self { nominal_bps, data_bps }) }
    }

    /// Nanoseconds of so many bits at the nominal bit rate, rounded up.
    pub fn nominal_ns(&self, bits: u64) -> u64 {
        self.ns(bits, 0)
    }

    /// Nanoseconds on the wire without any dynamic stuff bit, rounded up: the exact minimum.
    pub fn unstuffed_ns(&self, frame: &Frame) -> u64 {
        let (nominal, data) = Bits::of(frame).unstuffed();
        self.ns(nominal, data)
    }

    /// Nanoseconds on the wire with as many stuff bits as bits of that number can need, rounded up: a closed upper bound.
    ///
    /// Header bits that are fixed keep real frames below it, by at most six nominal bit times.
    pub fn worst_case_ns(&self, frame: &Frame) -> u64 {
        let bits = Bits::of(frame);
        let (nominal, data) = bits.unstuffed();
        let all = (bits.arbitration + bits.payload).saturating_sub(1) / STUFF_PERIOD;
        // As many as can be where they cost most.
        let early = (bits.arbitration - 1) / STUFF_PERIOD;
        if bits.switches { self.ns(nominal + early, data + all - early) } else { self.ns(nominal + all, 0) }
    }

    /// Nanoseconds of so many bits at the nominal and at the data bit rate, each rounded up.
    pub fn ns(&self, nominal_bits: u64, data_bits: u64) -> u64 {
        (nominal_bits * NS_PER_S).div_ceil(u64::from(self.nominal_bps))
            + (data_bits * NS_PER_S).div_ceil(u64::from(self.data_bps))
    }
}

/// What is no pair of bit rates, such as `500k/2M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBitRates;

impl fmt::Display for NotBitRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bit rates are given as NOMINAL/DATA with k or M, as in 500k/2M; the data bit rate is not below the nominal one")
    }
}

impl core::error::Error for NotBitRates {}

/// `500k/2M`, `1M/5M`; one rate alone, as in `500k`, is that of classic CAN.
impl FromStr for BitTiming {
    type Err = NotBitRates;

    fn from_str(text: &str) -> Result<Self, NotBitRates> {
        let rate = |text: &str| {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let unit = match unit {
                "k" => 1_000,
                "M" => 1_000_000,
                _ => return None,
            };
            number.parse::<u32>().ok()?.checked_mul(unit)
        };
        let (nominal, data) = text.split_once('/').unwrap_or((text, text));
        rate(nominal).zip(rate(data)).and_then(|(nominal, data)| Self::new(nominal, data)).ok_or(NotBitRates)
    }
}

/// The parts of a frame, in bits without stuffing.
struct Bits {
    /// From the start of frame on: all that is sent before a bit rate switch.
    arbitration: u64,
    /// What follows and is still stuffed dynamically.
    payload: u64,
    /// What follows at the same bit rate and is not stuffed, or with stuff bits at fixed places (counted here).
    checksum: u64,
    /// To the end of the intermission.
    tail: u64,
    /// Whether `payload` and `checksum` go at the data bit rate.
    switches: bool,
}

impl Bits {
    fn of(frame: &Frame) -> Self {
        let extended = matches!(frame.id(), Id::Extended(_));
        let data = 8 * frame.data().len() as u64;
        match frame.kind() {
            // SOF, identifier with RTR, SRR and IDE, reserved bits, DLC; then data and CRC-15, all of it stuffed.
            Kind::Classic | Kind::Remote => Self {
                arbitration: if extended { 39 } else { 19 },
                payload: data + 15,
                checksum: 0,
                tail: CLASSIC_TAIL,
                switches: false,
            },
            // SOF, identifier with RRS, SRR and IDE, FDF, res, BRS; then ESI, DLC and data; then the stuff count (4), CRC
            // and CRC delimiter, with a fixed stuff bit before every fourth bit of stuff count and CRC.
            Kind::Fd { brs, .. } => {
                let crc: u64 = if frame.len() > 16 { 21 } else { 17 };
                Self {
                    arbitration: if extended { 36 } else { 17 },
                    payload: 1 + 4 + data,
                    checksum: 4 + crc + (4 + crc).div_ceil(4) + 1,
                    tail: FD_TAIL,
                    switches: brs,
                }
            }
        }
    }

    /// Bits at the nominal and at the data bit rate.
    fn unstuffed(&self) -> (u64, u64) {
        let (outer, inner) = (self.arbitration + self.tail, self.payload + self.checksum);
        if self.switches { (outer, inner) } else { (outer + inner, 0) }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, vec};

    use super::*;
    use crate::frame::{EXTENDED_FLAG, id_from_raw, len_to_dlc};

    const STANDARD: u32 = 0x123;
    const EXTENDED: u32 = EXTENDED_FLAG | 0x123;
    const ALL: [BitTiming; 3] = [BitTiming::FD_500K_2M, BitTiming::FD_1M_5M, BitTiming::FD_1M_8M];

    #[test]
    fn bit_rates_as_text() {
        assert_eq!("500k/2M".parse(), Ok(BitTiming::FD_500K_2M));
        assert_eq!("1M/5M".parse(), Ok(BitTiming::FD_1M_5M));
        assert_eq!("500k".parse(), Ok(BitTiming::new(500_000, 500_000).unwrap()));
        for text in ["", "/", "500", "500k/", "2M/500k", "0k/2M", "-1k", "9999M/9999M", "500k/2M/8M", "½M"] {
            assert_eq!(text.parse::<BitTiming>(), Err(NotBitRates), "{text:?}");
        }
    }

    fn fd(raw: u32, len: usize) -> Frame {
        Frame::fd(id_from_raw(raw).unwrap(), &[0; 64][..len]).unwrap()
    }

    /// The exact worst case of an FD frame with bit rate switch, over all identifiers and data: dynamic programming over the
    /// bits that are stuffed dynamically, with the longest time for each (last bit, run length) reached.
    fn exact_worst_ns(timing: &BitTiming, frame: &Frame) -> u64 {
        let free = None;
        let dlc = len_to_dlc(frame.len()).unwrap();
        let mut bits = vec![Some(false)]; // SOF
        bits.extend([free; 11]);
        if matches!(frame.id(), Id::Extended(_)) {
            bits.extend([Some(true), Some(true)]); // SRR, IDE
            bits.extend([free; 18]);
            bits.extend([Some(false)]); // RRS
        } else {
            bits.extend([Some(false), Some(false)]); // RRS, IDE
        }
        bits.extend([Some(true), Some(false), Some(true)]); // FDF, res, BRS
        let switch = bits.len();
        bits.push(Some(matches!(frame.kind(), Kind::Fd { esi: true, .. })));
        bits.extend((0..4).rev().map(|bit| Some(dlc >> bit & 1 == 1)));
        bits.extend(vec![free; 8 * frame.len()]);

        let cost = |at: usize| if at < switch { timing.ns(1, 0) } else { timing.ns(0, 1) };
        let mut best = BTreeMap::from([((true, 0), 0)]); // idle bus: recessive, no run to count
        for (at, bit) in bits.iter().enumerate() {
            let mut next = BTreeMap::new();
            for (&(last, run), &time) in &best {
                for value in [false, true].into_iter().filter(|value| bit.is_none_or(|b| b == *value)) {
                    let run = if value == last { run + 1 } else { 1 };
                    // After five equal bits comes the opposite one; before the stuff count a fixed stuff bit takes its place.
                    let stuffed = run == 5 && at + 1 < bits.len();
                    let state = if stuffed { (!value, 1) } else { (value, run) };
                    let time = time + if stuffed { cost(at) } else { 0 };
                    let entry = next.entry(state).or_insert(time);
                    *entry = time.max(*entry);
                }
            }
            best = next;
        }
        timing.unstuffed_ns(frame) + best.values().max().unwrap()
    }

    /// The table of the design notes (budgets, section 1): no stuffing and exact worst case, in ns.
    #[test]
    #[cfg_attr(miri, ignore = "a search over all data: minutes")]
    fn fd_frame_times() {
        let table = [
            (STANDARD, 64, [(333_000, 403_000), (139_000, 167_600), (97_750, 116_750)]),
            (STANDARD, 48, [(269_000, 322_500), (113_400, 135_400), (81_750, 96_625)]),
            (STANDARD, 32, [(205_000, 242_500), (87_800, 103_400), (65_750, 76_625)]),
            (STANDARD, 20, [(157_000, 183_000), (68_600, 79_600), (53_750, 61_750)]),
            (EXTENDED, 64, [(371_000, 449_000), (158_000, 190_600), (116_750, 139_750)]),
        ];
        for (raw, len, times) in table {
            for (timing, (unstuffed, worst)) in ALL.iter().zip(times) {
                let frame = fd(raw, len);
                assert_eq!(timing.unstuffed_ns(&frame), unstuffed, "{len} bytes, {timing:?}");
                assert_eq!(exact_worst_ns(timing, &frame), worst, "{len} bytes, {timing:?}");
            }
        }
    }

    #[test]
    fn the_closed_bound_is_33_nominal_and_679_data_bits_for_64_bytes() {
        for timing in ALL {
            assert_eq!(timing.worst_case_ns(&fd(STANDARD, 64)), timing.ns(33, 679));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a search over all data: minutes")]
    fn the_closed_bound_is_above_the_exact_worst_case_by_at_most_six_bits() {
        for timing in ALL {
            for len in [0, 1, 8, 12, 16, 20, 24, 32, 48, 64] {
                for raw in [STANDARD, EXTENDED] {
                    let (frame, six) = (fd(raw, len), timing.ns(6, 0));
                    let (exact, bound) = (exact_worst_ns(&timing, &frame), timing.worst_case_ns(&frame));
                    assert!((exact..=exact + six).contains(&bound), "{raw:X} {len}: {exact} {bound}");
                }
            }
        }
    }

    /// Davis et al. 2007, "Controller Area Network (CAN) schedulability analysis", equation 1, in bits at 1 Mbit/s.
    #[test]
    fn classic_frame_times() {
        let timing = BitTiming::new(1_000_000, 1_000_000).unwrap();
        for (raw, len, unstuffed, worst) in
            [(STANDARD, 8, 111, 135), (STANDARD, 0, 47, 55), (EXTENDED, 8, 131, 160), (EXTENDED, 0, 67, 80)]
        {
            let id = id_from_raw(raw).unwrap();
            let frame = Frame::classic(id, &[0; 8][..len]).unwrap();
            assert_eq!(timing.unstuffed_ns(&frame), unstuffed * 1000);
            assert_eq!(timing.worst_case_ns(&frame), worst * 1000);
            let remote = Frame::remote(id, len).unwrap();
            assert_eq!(timing.unstuffed_ns(&remote), timing.unstuffed_ns(&Frame::classic(id, &[]).unwrap()));
        }
    }

    #[test]
    fn without_bit_rate_switch_everything_is_nominal() {
        let frame = Frame::fd_with_flags(id_from_raw(STANDARD).unwrap(), &[0; 64], false, false).unwrap();
        let timing = BitTiming::FD_500K_2M;
        assert_eq!(timing.unstuffed_ns(&frame), timing.ns(29 + 38 + 512, 0));
        assert_eq!(timing.worst_case_ns(&frame), timing.ns(33 + 679, 0));
    }

    #[test]
    fn bit_rates_that_cannot_be() {
        for (nominal, data) in [(0, 0), (0, 1), (500_000, 499_999)] {
            assert_eq!(BitTiming::new(nominal, data), None);
        }
    }
}
