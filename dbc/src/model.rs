//! Messages and signals of a DBC file, checked and with everything resolved that the file keeps in separate lists.

use std::ops::RangeInclusive;

use crate::diagnostic::Diagnostic;

/// Bit 31 of a raw identifier marks a 29-bit one, as in SocketCAN and in DBC files.
pub use can_bus::frame::EXTENDED_FLAG;

/// A loaded DBC file.
#[derive(Clone, Debug)]
pub struct Database {
    /// The file, as the caller named it.
    pub name: String,
    /// Sorted by [`Message::raw_id`], which is unique.
    pub(crate) messages: Vec<Message>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// One message (frame) of the bus.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The identifier; bit 31 ([`EXTENDED_FLAG`]) is set for a 29-bit one.
    pub raw_id: u32,
    /// The message's name.
    pub name: String,
    /// Number of data bytes.
    pub length: u16,
    /// CAN FD: `VFrameFormat` says so (14 or 15), or the message is longer than a classic frame.
    pub fd: bool,
    /// Cycle time in milliseconds (`GenMsgCycleTime`), if the message is cyclic.
    pub cycle_time_ms: Option<u32>,
    /// The sending node, if named.
    pub transmitter: Option<String>,
    /// The signals, in the order of the file.
    pub signals: Vec<Signal>,
}

/// One signal: some bits of a message, and how they become a physical value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Signal {
    /// The signal's name, unique in its message.
    pub name: String,
    /// Position as written in the file: bit `n % 8` (0 is the least significant) of byte `n / 8`. It is the signal's
    /// least significant bit in little-endian order and its most significant bit in big-endian order.
    pub start_bit: u32,
    /// Width in bits, 1 to 64.
    pub width: u8,
    /// Intel or Motorola.
    pub byte_order: ByteOrder,
    /// What the bits are.
    pub kind: ValueKind,
    /// `physical = raw * factor + offset`.
    pub factor: f64,
    /// `physical = raw * factor + offset`.
    pub offset: f64,
    /// Permitted physical values; `None` where the file says `[0|0]`.
    pub range: Option<RangeInclusive<f64>>,
    /// Unit of the physical value, often empty.
    pub unit: String,
    /// Names of raw values (`VAL_`).
    pub texts: Vec<(i64, String)>,
    /// When the signal is multiplexed: the condition under which a frame carries it.
    pub selector: Option<Selector>,
    /// The signal's path in the COVESA Vehicle Signal Specification, such as `Vehicle.Speed` (signal attribute `VssPath`).
    pub vss_path: Option<String>,
}

/// A multiplexed signal is present when its multiplexor is present and has one of these raw values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Index of the multiplexor in [`Message::signals`].
    pub multiplexor: usize,
    /// Raw values of the multiplexor.
    pub values: Vec<RangeInclusive<u64>>,
}

/// Order of a signal's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Intel, `@1` in the file: least significant byte first.
    LittleEndian,
    /// Motorola, `@0` in the file: most significant byte first.
    BigEndian,
}

/// What the bits of a signal are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Unsigned integer.
    Unsigned,
    /// Integer in two's complement.
    Signed,
    /// IEEE 754 binary32 (`SIG_VALTYPE_` 1), 32 bits wide.
    Float,
    /// IEEE 754 binary64 (`SIG_VALTYPE_` 2), 64 bits wide.
    Double,
}

impl Database {
    /// All messages, in the order of their raw identifiers.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The message with this raw identifier.
    pub fn message(&self, raw_id: u32) -> Option<&Message> {
        let index = self.messages.binary_search_by_key(&raw_id, |message| message.raw_id).ok()?;
        self.messages.get(index)
    }

    /// The message with this name.
    pub fn message_named(&self, name: &str) -> Option<&Message> {
        self.messages.iter().find(|message| message.name == name)
    }

    /// What is odd in the file but does not keep it from being used.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }
}

impl Message {
    /// The identifier as logs write it: three hexadecimal digits, or eight for a 29-bit one.
    pub fn id_text(&self) -> String {
        id_text(self.raw_id)
    }

    /// The signal with this name.
    pub fn signal(&self, name: &str) -> Option<&Signal> {
        self.signals.iter().find(|signal| signal.name == name)
    }

    /// The conditions under which a frame carries `signal`, from the nearest multiplexor outwards.
    pub(crate) fn selectors<'a>(&'a self, signal: &'a Signal) -> impl Iterator<Item = &'a Selector> {
        std::iter::successors(signal.selector.as_ref(), |selector| self.signals[selector.multiplexor].selector.as_ref())
    }
}

impl Signal {
    /// The name of a raw value, if the file gives it one.
    pub fn text(&self, raw: i64) -> Option<&str> {
        self.texts.iter().find(|(value, _)| *value == raw).map(|(_, text)| text.as_str())
    }
}

impl Selector {
    /// Whether this raw value of the multiplexor selects the signal.
    pub fn selects(&self, raw: u64) -> bool {
        self.values.iter().any(|range| range.contains(&raw))
    }
}

/// A raw identifier as logs write it.
pub(crate) fn id_text(raw_id: u32) -> String {
    if raw_id & EXTENDED_FLAG == 0 { format!("{raw_id:03X}") } else { format!("{:08X}", raw_id & !EXTENDED_FLAG) }
}
