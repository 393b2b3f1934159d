//! Data bytes to signal values.

use crate::model::{Message, Signal, ValueKind};

/// A signal's value before factor and offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Raw {
    /// Of a [`ValueKind::Unsigned`] signal.
    Unsigned(u64),
    /// Of a [`ValueKind::Signed`] signal.
    Signed(i64),
    /// Of a [`ValueKind::Float`] or [`ValueKind::Double`] signal.
    Float(f64),
}

/// A signal's value in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// Exact, before factor and offset.
    pub raw: Raw,
    /// `raw * factor + offset`, in [`Signal::unit`]; integers beyond 2^53 are rounded.
    pub physical: f64,
}

/// Why a frame does not carry a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The multiplexor selects other signals.
    NotSelected,
    /// The frame ends before the signal, or before its multiplexor.
    FrameTooShort,
}

/// One signal of a message, and what a frame says about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoded<'a> {
    /// The signal.
    pub signal: &'a Signal,
    /// Its value, or why it has none.
    pub value: Result<Value, Absent>,
}

impl Raw {
    /// The value as a number; integers beyond 2^53 are rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(raw) => raw as f64,
            Self::Signed(raw) => raw as f64,
            Self::Float(raw) => raw,
        }
    }

    /// The value as an integer that a value table could name.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Unsigned(raw) => i64::try_from(raw).ok(),
            Self::Signed(raw) => Some(raw),
            Self::Float(_) => None,
        }
    }
}

impl Message {
    /// What a frame's data say about each signal, in the order of the file. Any data are fine: too short, too long, none.
    pub fn decode<'a>(&'a self, data: &'a [u8]) -> impl Iterator<Item = Decoded<'a>> {
        self.signals.iter().map(|signal| Decoded { signal, value: self.decode_signal(signal, data) })
    }

    fn decode_signal(&self, signal: &Signal, data: &[u8]) -> Result<Value, Absent> {
        for selector in self.selectors(signal) {
            let selected = self.signals[selector.multiplexor].read_bits(data).ok_or(Absent::FrameTooShort)?;
            if !selector.selects(selected) {
                return Err(Absent::NotSelected);
            }
        }
        let raw = signal.extract(data).ok_or(Absent::FrameTooShort)?;
        Ok(Value { raw, physical: raw.as_f64() * signal.factor + signal.offset })
    }
}

impl Signal {
    /// The signal's raw value in these data, or `None` if they are too short. Multiplexing is the message's affair.
    pub fn extract(&self, data: &[u8]) -> Option<Raw> {
        let bits = self.read_bits(data)?;
        Some(match self.kind {
            ValueKind::Unsigned => Raw::Unsigned(bits),
            ValueKind::Signed => {
                let unused = 64 - u32::from(self.width);
                Raw::Signed((bits << unused) as i64 >> unused)
            }
            ValueKind::Float => Raw::Float(f32::from_bits(bits as u32).into()),
            ValueKind::Double => Raw::Float(f64::from_bits(bits)),
        })
    }
}
