//! What a DBC file says about messages and signals outside their definitions, by identifier and name.

use std::collections::HashMap;

use can_dbc::{
    AttributeDefinition, AttributeValue, AttributeValueType, Dbc, ExtendedMultiplex, MessageId,
    SignalExtendedValueType, ValDescription, ValueDescription,
};

/// Names of the attributes that matter here.
const CYCLE_TIME: &str = "GenMsgCycleTime";
const FRAME_FORMAT: &str = "VFrameFormat";
const VSS_PATH: &str = "VssPath";

/// `VFrameFormat` of CAN FD messages with 11-bit and with 29-bit identifiers, where the file does not list the names.
const FD_FORMATS: [u64; 2] = [14, 15];

type BySignal<'a, T> = HashMap<(MessageId, &'a str), T>;

/// Everything is looked up by message and signal; names of others are never looked up, so they do no harm.
pub(crate) struct Lists<'a> {
    dbc: &'a Dbc,
    message_attributes: HashMap<(MessageId, &'a str), &'a AttributeValue>,
    frame_format_names: Option<&'a [String]>,
    vss_paths: BySignal<'a, &'a AttributeValue>,
    value_types: BySignal<'a, SignalExtendedValueType>,
    texts: BySignal<'a, &'a [ValDescription]>,
    selectors: BySignal<'a, &'a ExtendedMultiplex>,
}

impl<'a> Lists<'a> {
    pub(crate) fn new(dbc: &'a Dbc) -> Self {
        let message_attributes = &dbc.attribute_values_message;
        let signal_attributes = &dbc.attribute_values_signal;
        let value_types = &dbc.signal_extended_value_type_list;
        Self {
            dbc,
            message_attributes: message_attributes
                .iter()
                .map(|a| ((a.message_id, a.name.as_str()), &a.value))
                .collect(),
            frame_format_names: dbc.attribute_definitions.iter().find_map(frame_format_names),
            vss_paths: signal_attributes
                .iter()
                .filter(|a| a.name == VSS_PATH)
                .map(|a| ((a.message_id, a.signal_name.as_str()), &a.value))
                .collect(),
            value_types: value_types
                .iter()
                .map(|t| ((t.message_id, t.signal_name.as_str()), t.signal_extended_value_type))
                .collect(),
            texts: dbc.value_descriptions.iter().filter_map(signal_texts).collect(),
            selectors: dbc.extended_multiplex.iter().map(|m| ((m.message_id, m.signal_name.as_str()), m)).collect(),
        }
    }

    /// Milliseconds; `None` for a message without a cycle, for which files say 0.
    pub(crate) fn cycle_time_ms(&self, id: MessageId) -> Option<u32> {
        let milliseconds = match *self.message_attribute(id, CYCLE_TIME)? {
            AttributeValue::Uint(value) => u32::try_from(value).ok()?,
            AttributeValue::Double(value) => value.round() as u32,
            AttributeValue::Int(_) | AttributeValue::String(_) => return None,
        };
        (milliseconds > 0).then_some(milliseconds)
    }

    /// Whether `VFrameFormat` says that the message is CAN FD. Values are indices into the attribute's names, defaults are
    /// the names themselves.
    pub(crate) fn is_fd(&self, id: MessageId) -> bool {
        let is_fd_name = |name: &str| name.ends_with("CAN_FD");
        match (self.message_attribute(id, FRAME_FORMAT), self.frame_format_names) {
            (Some(AttributeValue::String(name)), _) => is_fd_name(name),
            (Some(AttributeValue::Uint(index)), Some(names)) => {
                usize::try_from(*index).ok().and_then(|index| names.get(index)).is_some_and(|name| is_fd_name(name))
            }
            (Some(AttributeValue::Uint(index)), None) => FD_FORMATS.contains(index),
            _ => false,
        }
    }

    pub(crate) fn vss_path(&self, id: MessageId, signal: &str) -> Option<String> {
        match self.vss_paths.get(&(id, signal))? {
            AttributeValue::String(path) if !path.is_empty() => Some(path.clone()),
            _ => None,
        }
    }

    pub(crate) fn value_type(&self, id: MessageId, signal: &str) -> Option<SignalExtendedValueType> {
        self.value_types.get(&(id, signal)).copied()
    }

    pub(crate) fn texts(&self, id: MessageId, signal: &str) -> Vec<(i64, String)> {
        let texts = self.texts.get(&(id, signal)).copied().unwrap_or_default();
        texts.iter().map(|text| (text.id, text.description.clone())).collect()
    }

    /// The signal's line of extended multiplexing (`SG_MUL_VAL_`).
    pub(crate) fn selector(&self, id: MessageId, signal: &str) -> Option<&'a ExtendedMultiplex> {
        self.selectors.get(&(id, signal)).copied()
    }

    fn message_attribute(&self, id: MessageId, name: &str) -> Option<&AttributeValue> {
        self.message_attributes.get(&(id, name)).copied().or_else(|| self.dbc.attribute_default(name))
    }
}

fn frame_format_names(definition: &AttributeDefinition) -> Option<&[String]> {
    match definition {
        AttributeDefinition::Message(name, AttributeValueType::Enum(names)) if name == FRAME_FORMAT => Some(names),
        _ => None,
    }
}

fn signal_texts(description: &ValueDescription) -> Option<((MessageId, &str), &[ValDescription])> {
    match description {
        ValueDescription::Signal { message_id, name, value_descriptions } => {
            Some(((*message_id, name), value_descriptions))
        }
        ValueDescription::EnvironmentVariable { .. } => None,
    }
}
