//! What anybody on the wire can read: whole messages, and the values that were proposed or served.

use std::collections::BTreeMap;

use can_bus::Frame;
use can_bus::segment::{KIND_SEGMENT, Prefix, Reassembler};
use device_chain::genesis::Genesis;
use device_chain::limits::MAX_MESSAGE;
use device_chain::types::{Height, ValidatorIndex};
use device_chain::wire::{DECIDED_VALUE, Kind, Parts};

/// Heights whose values are remembered.
const HEIGHTS: usize = 64;

/// A value on the wire. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Who is said to have proposed it.
    pub proposer: ValidatorIndex,
    /// The transaction's bytes.
    pub tx: Vec<u8>,
}

/// A listener that puts segments together.
pub struct Wiretap {
    validators: usize,
    tag_len: usize,
    transfers: BTreeMap<u32, Box<Reassembler<MAX_MESSAGE, 2>>>,
    values: BTreeMap<Height, Vec<Proposed>>,
}

impl Wiretap {
    /// A listener in the mesh of `genesis`.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self {
            validators: genesis.validators.len(),
            tag_len: genesis.tag_len(),
            transfers: BTreeMap::new(),
            values: BTreeMap::new(),
        }
    }

    /// Hears a frame; the message that it ends.
    pub fn hear<'m>(&'m mut self, frame: &'m Frame) -> Option<Parts<'m>> {
        let prefix = Prefix::parse(frame.data())?;
        let message = if prefix.kind == KIND_SEGMENT {
            self.transfers.entry(frame.raw_id()).or_default().push(frame.raw_id(), MAX_MESSAGE, frame.data()).ok()??
        } else {
            frame.data()
        };
        let parts = Parts::split(message, self.validators, self.tag_len)?;
        let header = &parts.header;
        let names_value = match header.kind {
            Kind::Propose => Some(header.sender),
            Kind::Value if header.hint_proposer != DECIDED_VALUE => Some(header.hint_proposer),
            _ => None,
        };
        if let Some(proposer) = names_value {
            let known = self.values.entry(header.height).or_default();
            if !known.iter().any(|value| value.tx == parts.body) {
                known.push(Proposed { proposer, tx: parts.body.to_vec() });
            }
            while self.values.len() > HEIGHTS {
                self.values.pop_first();
            }
        }
        Some(parts)
    }

    /// The values of a height that were on the wire.
    #[must_use]
    pub fn values(&self, height: Height) -> &[Proposed] {
        self.values.get(&height).map_or(&[], Vec::as_slice)
    }
}
