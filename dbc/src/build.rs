//! One message of the model from `can-dbc`'s syntax tree.

use can_bus::frame::{MAX_CLASSIC, MAX_FD, id_from_raw};
use can_dbc::{MultiplexIndicator, NumericValue, SignalExtendedValueType, ValueType};

use crate::check;
use crate::diagnostic::Diagnostic;
use crate::lists::Lists;
use crate::load::Reporter;
use crate::model::{ByteOrder, Message, Selector, Signal, ValueKind};
use crate::source::MessageLines;

pub(crate) struct MessageBuilder<'a> {
    pub(crate) parsed: &'a can_dbc::Message,
    pub(crate) lines: &'a MessageLines,
    pub(crate) lists: &'a Lists<'a>,
    pub(crate) reporter: &'a mut Reporter,
}

/// A signal that is kept, with its line.
type Parsed<'a> = (&'a can_dbc::Signal, usize);

impl<'a> MessageBuilder<'a> {
    pub(crate) fn build(mut self) -> Result<Message, Diagnostic> {
        let raw_id = self.raw_id()?;
        let length = self.length()?;
        let parsed = self.signals_of_known_width()?;
        let mut signals = Vec::with_capacity(parsed.len());
        for &signal in &parsed {
            let selector = self.selector(signal, &parsed)?;
            signals.push(self.signal(signal, length, selector)?);
        }
        let message = Message {
            raw_id,
            name: self.parsed.name.clone(),
            length,
            fd: self.lists.is_fd(self.parsed.id) || usize::from(length) > MAX_CLASSIC,
            cycle_time_ms: self.lists.cycle_time_ms(self.parsed.id),
            transmitter: self.parsed.transmitter.clone(),
            signals,
        };
        let signal_lines: Vec<usize> = parsed.iter().map(|&(_, line)| line).collect();
        check::signals(&message, &signal_lines, self.reporter)?;
        Ok(message)
    }

    fn raw_id(&self) -> Result<u32, Diagnostic> {
        let written = self.lines.written_id;
        u32::try_from(written).ok().filter(|&raw_id| id_from_raw(raw_id).is_some()).ok_or_else(|| {
            let what = format!("message {} has identifier {written}, which does not exist", self.parsed.name);
            self.error(what, "write at most 2047 for 11 bits, or 2147483648 plus the identifier for 29 bits")
        })
    }

    fn length(&mut self) -> Result<u16, Diagnostic> {
        let (name, size) = (&self.parsed.name, self.parsed.size);
        let Ok(length) = u16::try_from(size) else {
            return Err(self.error(format!("message {name} has {size} bytes"), "write at most 64, what a frame holds"));
        };
        if usize::from(length) > MAX_FD {
            let what = format!("message {name} has {size} bytes, which no frame holds");
            self.reporter.warn(self.lines.line, what, "only signals in its first 64 bytes can be decoded");
        }
        Ok(length)
    }

    /// Leaves out, with a warning, what is wider than the integers that values are made of.
    fn signals_of_known_width(&mut self) -> Result<Vec<Parsed<'a>>, Diagnostic> {
        let mut kept = Vec::new();
        for (signal, &line) in self.parsed.signals.iter().zip(&self.lines.signals) {
            match signal.size {
                0 => {
                    let what = format!("signal {} has no bits", signal.name);
                    return Err(self.reporter.diagnostic(Some(line), what, "write its length, 1 to 64 bits"));
                }
                1..=64 => kept.push((signal, line)),
                width => {
                    let what = format!("signal {} of {width} bits is left out", signal.name);
                    self.reporter.warn(line, what, "split it into signals of at most 64 bits to have it decoded");
                }
            }
        }
        Ok(kept)
    }

    fn signal(
        &mut self,
        (signal, line): Parsed<'a>,
        message_length: u16,
        selector: Option<Selector>,
    ) -> Result<Signal, Diagnostic> {
        let (id, name) = (self.parsed.id, signal.name.as_str());
        if !(signal.factor.is_finite() && signal.offset.is_finite()) {
            let what = format!("signal {name} has a factor or offset that is not a finite number");
            return Err(self.reporter.diagnostic(Some(line), what, "correct the number"));
        }
        if signal.start_bit >= u64::from(message_length) * 8 {
            return Err(check::does_not_fit(self.reporter, line, name, &self.parsed.name));
        }
        if signal.factor == 0.0 {
            let what = format!("signal {name} has factor 0, so its value is always {}", signal.offset);
            self.reporter.warn(line, what, "write the factor, 1 if the raw value is meant");
        }
        Ok(Signal {
            name: name.into(),
            start_bit: signal.start_bit as u32,
            width: signal.size as u8,
            byte_order: match signal.byte_order {
                can_dbc::ByteOrder::LittleEndian => ByteOrder::LittleEndian,
                can_dbc::ByteOrder::BigEndian => ByteOrder::BigEndian,
            },
            kind: self.kind((signal, line))?,
            factor: signal.factor,
            offset: signal.offset,
            range: self.range((signal, line)),
            unit: signal.unit.clone(),
            texts: self.lists.texts(id, name),
            selector,
            vss_path: self.lists.vss_path(id, name),
        })
    }

    fn kind(&self, (signal, line): Parsed<'a>) -> Result<ValueKind, Diagnostic> {
        let (kind, width) = match self.lists.value_type(self.parsed.id, &signal.name) {
            Some(SignalExtendedValueType::IEEEfloat32Bit) => (ValueKind::Float, 32),
            Some(SignalExtendedValueType::IEEEdouble64bit) => (ValueKind::Double, 64),
            Some(SignalExtendedValueType::SignedOrUnsignedInteger) | None => match signal.value_type {
                ValueType::Signed => return Ok(ValueKind::Signed),
                ValueType::Unsigned => return Ok(ValueKind::Unsigned),
            },
        };
        if signal.size != width {
            let what = format!("signal {} is an IEEE float of {width} bits but has {}", signal.name, signal.size);
            return Err(self.reporter.diagnostic(Some(line), what, "correct its length or its SIG_VALTYPE_"));
        }
        Ok(kind)
    }

    fn range(&mut self, (signal, line): Parsed<'a>) -> Option<std::ops::RangeInclusive<f64>> {
        let (min, max) = (number(signal.min), number(signal.max));
        if min > max {
            let what = format!("signal {} has its minimum {min} above its maximum {max}", signal.name);
            self.reporter.warn(line, what, "correct the range; until then none is checked");
        }
        (min <= max && (min, max) != (0.0, 0.0)).then_some(min..=max)
    }

    /// What the line of extended multiplexing says, or else the `m` of the signal itself.
    fn selector(&self, (signal, line): Parsed<'a>, signals: &[Parsed<'a>]) -> Result<Option<Selector>, Diagnostic> {
        let unknown = |what: String| {
            self.reporter.diagnostic(Some(line), what, "name the multiplexor in SG_MUL_VAL_, or mark it M")
        };
        if let Some(extended) = self.lists.selector(self.parsed.id, &signal.name) {
            let name = &extended.multiplexor_signal_name;
            let Some(multiplexor) = signals.iter().position(|(other, _)| other.name == *name) else {
                return Err(unknown(format!("signal {} has the unknown multiplexor {name}", signal.name)));
            };
            let values = extended.mappings.iter().map(|mapping| mapping.min_value..=mapping.max_value).collect();
            return Ok(Some(Selector { multiplexor, values }));
        }
        let (MultiplexIndicator::MultiplexedSignal(value) | MultiplexIndicator::MultiplexorAndMultiplexedSignal(value)) =
            signal.multiplexer_indicator
        else {
            return Ok(None);
        };
        let is_multiplexor = |(other, _): &Parsed| other.multiplexer_indicator == MultiplexIndicator::Multiplexor;
        let mut multiplexors = (0..signals.len()).filter(|&index| is_multiplexor(&signals[index]));
        match (multiplexors.next(), multiplexors.next()) {
            (Some(multiplexor), None) => Ok(Some(Selector { multiplexor, values: vec![value..=value] })),
            (None, _) => {
                Err(unknown(format!("signal {} is multiplexed, but its message has no multiplexor", signal.name)))
            }
            _ => Err(unknown(format!("signal {} is multiplexed, but by which of several multiplexors?", signal.name))),
        }
    }

    fn error(&self, what: String, fix: &str) -> Diagnostic {
        self.reporter.diagnostic(Some(self.lines.line), what, fix)
    }
}

fn number(value: NumericValue) -> f64 {
    match value {
        NumericValue::Uint(value) => value as f64,
        NumericValue::Int(value) => value as f64,
        NumericValue::Double(value) => value,
    }
}
