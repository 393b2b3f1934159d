//! Which signals of the car's own traffic are recorded, and how often.

use std::collections::BTreeMap;

use can_bus::frame::Frame;
use dbc::Database;
use device_chain::types::Micros;
use event_chain::record::{RecordKind, Text};
use serde::Deserialize;

/// A signal to record.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalRule {
    /// `Signal`, or `Message.Signal` where several messages have one of that name.
    pub name: String,
    /// Least time between two records, milliseconds.
    #[serde(default = "second")]
    pub min_interval_ms: u64,
    /// Only when the value differs from the one recorded last.
    #[serde(default)]
    pub on_change: bool,
}

const fn second() -> u64 {
    1000
}

/// A rule for a signal that the database does not have, or has more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSignal {
    /// As in the rule.
    pub name: String,
    /// `Message.Signal` of those that could be meant.
    pub candidates: Vec<String>,
}

impl std::fmt::Display for UnknownSignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.candidates[..] {
            [] => write!(f, "signal '{}' is not in the DBC: `dbc messages` lists what is", self.name),
            several => write!(f, "signal '{}' is in several messages: say {}", self.name, several.join(" or ")),
        }
    }
}

impl std::error::Error for UnknownSignal {}

/// One signal that is recorded.
struct Watched {
    /// Index in its message.
    signal: usize,
    name: Text,
    min_interval_us: u64,
    on_change: bool,
    last: Option<(Micros, f64)>,
}

/// Turns frames into records.
pub struct Recorder {
    database: Database,
    watched: BTreeMap<u32, Vec<Watched>>,
}

impl Recorder {
    /// A recorder of what `rules` name in `database`.
    ///
    /// # Errors
    /// [`UnknownSignal`] for the first rule that names none, or more than one.
    pub fn new(database: Database, rules: &[SignalRule]) -> Result<Self, UnknownSignal> {
        let mut watched: BTreeMap<u32, Vec<Watched>> = BTreeMap::new();
        for rule in rules {
            let (raw_id, signal, name) = find(&database, &rule.name)?;
            watched.entry(raw_id).or_default().push(Watched {
                signal,
                name,
                min_interval_us: rule.min_interval_ms.saturating_mul(1000),
                on_change: rule.on_change,
                last: None,
            });
        }
        Ok(Self { database, watched })
    }

    /// What a frame of the car says that is worth a record. Unknown, short and remote frames say nothing.
    pub fn observe(&mut self, now: Micros, frame: &Frame) -> Vec<RecordKind> {
        let raw_id = frame.raw_id();
        let (Some(watched), Some(message)) = (self.watched.get_mut(&raw_id), self.database.message(raw_id)) else {
            return Vec::new();
        };
        let values: Vec<_> = message.decode(frame.data()).map(|decoded| decoded.value.ok()).collect();
        let mut records = Vec::new();
        for signal in watched {
            let value = values.get(signal.signal).copied().flatten().map(|value| value.physical);
            if let Some(value) = value.filter(|value| signal.is_due(now, *value)) {
                signal.last = Some((now, value));
                records.push(RecordKind::Signal { name: signal.name.clone(), value });
            }
        }
        records
    }
}

impl Watched {
    fn is_due(&self, now: Micros, value: f64) -> bool {
        self.last.is_none_or(|(at, recorded)| {
            now.since(at) >= self.min_interval_us
                && (!self.on_change || recorded.total_cmp(&value) != std::cmp::Ordering::Equal)
        })
    }
}

fn find(database: &Database, name: &str) -> Result<(u32, usize, Text), UnknownSignal> {
    let mut found = Vec::new();
    for message in database.messages() {
        for (at, signal) in message.signals.iter().enumerate() {
            let full = format!("{}.{}", message.name, signal.name);
            if full == name || signal.name == name {
                found.push((message.raw_id, at, full));
            }
        }
    }
    match &found[..] {
        [(raw_id, at, full)] => {
            let fits = Text::try_from(full.as_str()).ok().map(|text| (*raw_id, *at, text));
            fits.ok_or_else(|| UnknownSignal { name: full.clone(), candidates: Vec::new() })
        }
        _ => {
            let candidates = found.into_iter().map(|(_, _, full)| full).collect();
            Err(UnknownSignal { name: name.to_owned(), candidates })
        }
    }
}

#[cfg(test)]
mod tests {
    use can_bus::frame::id_from_raw;
    use proptest::prelude::*;

    use super::*;

    const DBC: &str = "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: A\n\n\
        BO_ 209 Speed: 2 A\n SG_ Vehicle : 7|16@0+ (0.01,0) [0|300] \"km/h\" A\n\n\
        BO_ 752 Doors: 1 A\n SG_ Left : 0|1@1+ (1,0) [0|1] \"\" A\n SG_ Alive : 4|4@1+ (1,0) [0|15] \"\" A\n\n\
        BO_ 784 Lights: 1 A\n SG_ Left : 0|1@1+ (1,0) [0|1] \"\" A\n";

    fn rule(name: &str, min_interval_ms: u64, on_change: bool) -> SignalRule {
        SignalRule { name: name.into(), min_interval_ms, on_change }
    }

    fn recorder(rules: &[SignalRule]) -> Result<Recorder, UnknownSignal> {
        Recorder::new(Database::parse("test.dbc", DBC).expect("it is sound"), rules)
    }

    fn frame(raw: u32, data: &[u8]) -> Frame {
        Frame::classic(id_from_raw(raw).expect("an identifier"), data).expect("short")
    }

    #[test]
    fn a_signal_is_recorded_at_most_once_in_its_interval() {
        let mut recorder = recorder(&[rule("Vehicle", 1000, false)]).expect("it is there");
        let mut seen = Vec::new();
        for ms in (0..=2500).step_by(20) {
            seen.extend(
                recorder.observe(Micros(ms * 1000), &frame(209, &[0x13, 0x88])).into_iter().map(|kind| (ms, kind)),
            );
        }
        let speed = RecordKind::Signal { name: "Speed.Vehicle".try_into().expect("short"), value: 50.0 };
        assert_eq!(seen, [(0, speed.clone()), (1000, speed.clone()), (2000, speed)]);
    }

    #[test]
    fn a_signal_on_change_is_recorded_when_it_changes() {
        let mut recorder = recorder(&[rule("Doors.Left", 0, true)]).expect("it is there");
        let data = [0x00, 0x10, 0x21, 0x31, 0x40];
        let count: Vec<_> = data.iter().map(|data| recorder.observe(Micros(0), &frame(752, &[*data])).len()).collect();
        assert_eq!(count, [1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_rule_must_name_one_signal() {
        let error = |name| recorder(&[rule(name, 0, false)]).err().expect("an error").to_string();
        assert_eq!(error("Left"), "signal 'Left' is in several messages: say Doors.Left or Lights.Left");
        assert_eq!(error("Right"), "signal 'Right' is not in the DBC: `dbc messages` lists what is");
    }

    #[test]
    fn frames_that_say_nothing() {
        let mut recorder = recorder(&[rule("Vehicle", 0, false)]).expect("it is there");
        let remote = Frame::remote(id_from_raw(209).expect("an identifier"), 2).expect("short");
        for frame in [frame(209, &[1]), frame(752, &[1]), frame(0x7DF, &[2, 1, 0]), remote] {
            assert_eq!(recorder.observe(Micros(0), &frame), []);
        }
    }

    proptest! {
        #[test]
        fn any_frame_is_taken(raw in 0u32..0x800, data in prop::collection::vec(any::<u8>(), 0..=8)) {
            let rules = [rule("Vehicle", 0, false), rule("Alive", 0, true)];
            prop_assert!(recorder(&rules).expect("there").observe(Micros(0), &frame(raw, &data)).len() <= 1);
        }
    }
}
