//! Signal values to data bytes: the inverse of [`decode`](crate::decode).

use std::fmt;

use crate::decode::Raw;
use crate::model::{Message, Signal, ValueKind};

/// The first integers beyond `i64` and `u64`; a power of two is exact as `f64`.
const TWO_POW_63: f64 = (1_u64 << 63) as f64;
const TWO_POW_64: f64 = 2.0 * TWO_POW_63;

/// Why values do not make a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum EncodeError {
    /// The message has no signal of this name.
    UnknownSignal {
        /// The name.
        signal: String,
    },
    /// The signal was given two values.
    GivenTwice {
        /// The signal's name.
        signal: String,
    },
    /// The value is outside what the file permits or the signal's bits can hold.
    OutOfRange {
        /// The signal's name.
        signal: String,
        /// The physical value asked for.
        value: f64,
        /// The least physical value possible.
        min: f64,
        /// The greatest physical value possible.
        max: f64,
    },
    /// The multiplexor's value does not select this signal.
    NotSelected {
        /// The signal's name.
        signal: String,
        /// The multiplexor's name.
        multiplexor: String,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSignal { signal } => write!(f, "the message has no signal {signal}"),
            Self::GivenTwice { signal } => write!(f, "signal {signal} was given two values"),
            Self::OutOfRange { signal, value, min, max } => {
                write!(f, "signal {signal} cannot be {value}: it goes from {min} to {max}")
            }
            Self::NotSelected { signal, multiplexor } => {
                write!(f, "signal {signal} is not part of the frame for this value of {multiplexor}")
            }
        }
    }
}

impl std::error::Error for EncodeError {}

impl Message {
    /// Data bytes, [`Message::length`] of them, with these physical values, each rounded to the nearest raw value.
    /// Bits of other signals are 0, also those of a multiplexor that is not given.
    ///
    /// # Errors
    /// Any [`EncodeError`].
    pub fn encode(&self, values: &[(&str, f64)]) -> Result<Vec<u8>, EncodeError> {
        let mut data = vec![0; self.length.into()];
        let mut given: Vec<&Signal> = Vec::new();
        for &(name, physical) in values {
            let signal = self.signal(name).ok_or_else(|| EncodeError::UnknownSignal { signal: name.into() })?;
            if given.iter().any(|earlier| std::ptr::eq(*earlier, signal)) {
                return Err(EncodeError::GivenTwice { signal: name.into() });
            }
            given.push(signal);
            let bits = signal.bits_of_physical(physical)?;
            signal.write_bits(&mut data, bits).expect("loading refuses signals that do not fit their message");
        }
        for signal in given {
            self.check_selected(signal, &data)?;
        }
        Ok(data)
    }

    fn check_selected(&self, signal: &Signal, data: &[u8]) -> Result<(), EncodeError> {
        for selector in self.selectors(signal) {
            let multiplexor = &self.signals[selector.multiplexor];
            if !multiplexor.read_bits(data).is_some_and(|raw| selector.selects(raw)) {
                let (signal, multiplexor) = (signal.name.clone(), multiplexor.name.clone());
                return Err(EncodeError::NotSelected { signal, multiplexor });
            }
        }
        Ok(())
    }
}

impl Signal {
    /// Writes an exact raw value, of the signal's own kind, into the data; a 32-bit float is rounded to the nearest one.
    /// The range that the file permits is not checked. Returns `None`, with the data unchanged, if the value is of another
    /// kind or too large for the signal's bits, or the data are too short.
    pub fn insert(&self, data: &mut [u8], raw: Raw) -> Option<()> {
        self.write_bits(data, self.bits_of(raw)?)
    }

    fn bits_of(&self, raw: Raw) -> Option<u64> {
        let unused = 64 - u32::from(self.width);
        match (self.kind, raw) {
            (ValueKind::Unsigned, Raw::Unsigned(raw)) if raw << unused >> unused == raw => Some(raw),
            (ValueKind::Signed, Raw::Signed(raw)) if raw << unused >> unused == raw => Some(raw as u64),
            (ValueKind::Float, Raw::Float(raw)) => {
                let single = raw as f32;
                (single.is_finite() || !raw.is_finite()).then(|| single.to_bits().into())
            }
            (ValueKind::Double, Raw::Float(raw)) => Some(raw.to_bits()),
            _ => None,
        }
    }

    /// The bits of the raw value nearest to a physical value.
    fn bits_of_physical(&self, physical: f64) -> Result<u64, EncodeError> {
        let raw = self.nearest_raw(physical).filter(|_| self.permits(physical));
        raw.and_then(|raw| self.bits_of(raw)).ok_or_else(|| {
            let (min, max) = self.physical_limits();
            EncodeError::OutOfRange { signal: self.name.clone(), value: physical, min, max }
        })
    }

    fn nearest_raw(&self, physical: f64) -> Option<Raw> {
        let raw = (physical - self.offset) / self.factor;
        match self.kind {
            ValueKind::Unsigned => (0.0..TWO_POW_64).contains(&raw.round()).then(|| Raw::Unsigned(raw.round() as u64)),
            ValueKind::Signed => {
                (-TWO_POW_63..TWO_POW_63).contains(&raw.round()).then(|| Raw::Signed(raw.round() as i64))
            }
            ValueKind::Float | ValueKind::Double => raw.is_finite().then_some(Raw::Float(raw)),
        }
    }

    fn permits(&self, physical: f64) -> bool {
        // Half a step of tolerance: 1023 * 0.1 is a little more than the 102.3 of `[0|102.3]`.
        let tolerance = match self.kind {
            ValueKind::Unsigned | ValueKind::Signed => self.factor.abs() / 2.0,
            ValueKind::Float | ValueKind::Double => 0.0,
        };
        self.range
            .as_ref()
            .is_none_or(|range| (range.start() - tolerance..=range.end() + tolerance).contains(&physical))
    }

    /// The least and the greatest physical value that both the bits and the file permit.
    fn physical_limits(&self) -> (f64, f64) {
        let unused = 64 - u32::from(self.width);
        let (least, greatest) = match self.kind {
            ValueKind::Unsigned => (0.0, (u64::MAX >> unused) as f64),
            ValueKind::Signed => ((i64::MIN >> unused) as f64, (i64::MAX >> unused) as f64),
            ValueKind::Float => (f32::MIN.into(), f32::MAX.into()),
            ValueKind::Double => (f64::MIN, f64::MAX),
        };
        let ends = [least, greatest].map(|raw| raw * self.factor + self.offset);
        let (min, max) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        self.range.as_ref().map_or((min, max), |range| (min.max(*range.start()), max.min(*range.end())))
    }
}
