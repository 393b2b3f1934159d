//! What must hold between the signals of a message.

use std::collections::HashMap;

use crate::diagnostic::Diagnostic;
use crate::load::Reporter;
use crate::model::{Message, Signal};

/// Checks names, places and multiplexing of the signals, whose definitions are in these lines. Overlaps are warnings: real
/// files use them to give one field two readings.
pub(crate) fn signals(message: &Message, lines: &[usize], reporter: &mut Reporter) -> Result<(), Diagnostic> {
    let mut line_of_name = HashMap::new();
    for (signal, &line) in message.signals.iter().zip(lines) {
        if let Some(first) = line_of_name.insert(&signal.name, line) {
            let what = format!("message {} already has a signal {} in line {first}", message.name, signal.name);
            return Err(reporter.diagnostic(Some(line), what, "rename or remove one of them"));
        }
        if !signal.fits(message.length.into()) {
            return Err(does_not_fit(reporter, line, &signal.name, &message.name));
        }
        // A chain longer than the message has signals runs in a circle.
        if message.selectors(signal).take(message.signals.len() + 1).count() > message.signals.len() {
            let what = format!("signal {} depends on multiplexors that select each other", signal.name);
            return Err(reporter.diagnostic(Some(line), what, "correct the message's SG_MUL_VAL_ lines"));
        }
    }
    overlaps(message, lines, reporter);
    Ok(())
}

pub(crate) fn does_not_fit(reporter: &Reporter, line: usize, signal: &str, message: &str) -> Diagnostic {
    let what = format!("signal {signal} does not fit in message {message}");
    reporter.diagnostic(Some(line), what, "correct its start bit, length or byte order, or the message's length")
}

/// One warning for each signal that shares a bit with an earlier one of the same frame.
fn overlaps(message: &Message, lines: &[usize], reporter: &mut Reporter) {
    let mut owners: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, signal) in message.signals.iter().enumerate() {
        let earlier = signal.bit_numbers().flat_map(|bit| owners.get(&bit).into_iter().flatten());
        let other = earlier.copied().find(|&other| !exclude_each_other(message, signal, &message.signals[other]));
        if let Some(other) = other {
            let what =
                format!("signal {} overlaps {} (line {})", signal.name, message.signals[other].name, lines[other]);
            reporter.warn(lines[index], what, "correct start bit or length unless both readings are meant");
        }
        for bit in signal.bit_numbers() {
            owners.entry(bit).or_default().push(index);
        }
    }
}

/// Whether no frame carries both: some multiplexor selects the one or the other.
fn exclude_each_other(message: &Message, a: &Signal, b: &Signal) -> bool {
    message.selectors(a).any(|for_a| {
        message.selectors(b).filter(|for_b| for_b.multiplexor == for_a.multiplexor).any(|for_b| {
            let disjoint = |x: &std::ops::RangeInclusive<u64>, y: &std::ops::RangeInclusive<u64>| {
                x.end() < y.start() || y.end() < x.start()
            };
            for_a.values.iter().all(|x| for_b.values.iter().all(|y| disjoint(x, y)))
        })
    })
}
