//! Which signals of the car's own traffic are recorded, and how often.

use std::collections::BTreeMap;

use can_bus::frame::{EXTENDED_FLAG, Frame};
use can_bus::port::Filter;
use dbc::Database;
use device_chain::types::Micros;
use event_chain::record::{RecordKind, Text};

/// Least time between two records of a signal, microseconds.
pub const MIN_INTERVAL_US: u64 = 1_000_000;

/// The name of a signal that the database does not have, or has more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSignal {
    /// As it was given.
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
    /// When it was recorded last, and with what value.
    last: Option<(Micros, f64)>,
}

/// Turns frames into records.
pub struct Recorder {
    database: Database,
    watched: BTreeMap<u32, Vec<Watched>>,
}

impl Recorder {
    /// A recorder of the signals `names`: each is `Signal`, or `Message.Signal` where several messages have one of that
    /// name. A signal is recorded when it has changed, at most once in [`MIN_INTERVAL_US`].
    ///
    /// # Errors
    /// [`UnknownSignal`] for the first name of none, or of more than one.
    pub fn new(database: Database, names: &[String]) -> Result<Self, UnknownSignal> {
        let mut watched: BTreeMap<u32, Vec<Watched>> = BTreeMap::new();
        for name in names {
            let (raw_id, signal, name) = find(&database, name)?;
            watched.entry(raw_id).or_default().push(Watched { signal, name, last: None });
        }
        Ok(Self { database, watched })
    }

    /// Receive filters for the messages that it needs.
    #[must_use]
    pub fn filters(&self) -> Vec<Filter> {
        let exact = |id: &u32| Filter { id: *id, mask: EXTENDED_FLAG | 0x1FFF_FFFF };
        self.watched.keys().map(exact).collect()
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
        self.last.is_none_or(|(at, recorded)| now.since(at) >= MIN_INTERVAL_US && recorded.total_cmp(&value).is_ne())
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

    fn recorder(names: &[&str]) -> Result<Recorder, UnknownSignal> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Recorder::new(Database::parse("test.dbc", DBC).expect("it is sound"), &names)
    }

    fn frame(raw: u32, data: &[u8]) -> Frame {
        Frame::classic(id_from_raw(raw).expect("an identifier"), data).expect("short")
    }

    #[test]
    fn a_signal_is_recorded_when_it_has_changed_and_once_a_second_at_most() {
        let mut recorder = recorder(&["Vehicle"]).expect("it is there");
        let mut seen = Vec::new();
        for (ms, centi_kmh) in
            [(0, 5000u16), (20, 5001), (980, 5002), (1000, 5003), (1020, 5004), (3000, 5003), (3020, 5004)]
        {
            for record in recorder.observe(Micros(ms * 1000), &frame(209, &centi_kmh.to_be_bytes())) {
                let RecordKind::Signal { name, value } = record else { panic!("{record:?}") };
                assert_eq!(name, "Speed.Vehicle");
                seen.push((ms, value));
            }
        }
        assert_eq!(seen, [(0, 50.0), (1000, 50.03), (3020, 50.04)]);
    }

    #[test]
    fn other_signals_of_the_message_do_not_matter() {
        let mut recorder = recorder(&["Doors.Left"]).expect("it is there");
        let frames = [(0, 0x00), (2, 0x10), (4, 0x21), (6, 0x31), (8, 0x40)];
        let count = frames.map(|(s, data)| recorder.observe(Micros(s * 1_000_000), &frame(752, &[data])).len());
        assert_eq!(count, [1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_name_must_mean_one_signal() {
        let error = |name| recorder(&[name]).err().expect("an error").to_string();
        assert_eq!(error("Left"), "signal 'Left' is in several messages: say Doors.Left or Lights.Left");
        assert_eq!(error("Right"), "signal 'Right' is not in the DBC: `dbc messages` lists what is");
    }

    #[test]
    fn frames_that_say_nothing() {
        let mut recorder = recorder(&["Vehicle"]).expect("it is there");
        let remote = Frame::remote(id_from_raw(209).expect("an identifier"), 2).expect("short");
        for frame in [frame(209, &[1]), frame(752, &[1]), frame(0x7DF, &[2, 1, 0]), remote] {
            assert_eq!(recorder.observe(Micros(0), &frame), []);
        }
    }

    proptest! {
        #[test]
        fn any_frame_is_taken(raw in 0u32..0x800, data in prop::collection::vec(any::<u8>(), 0..=8)) {
            prop_assert!(recorder(&["Vehicle", "Alive"]).expect("there").observe(Micros(0), &frame(raw, &data)).len() <= 1);
        }
    }
}
