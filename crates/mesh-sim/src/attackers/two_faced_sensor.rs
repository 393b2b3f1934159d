//! The two-faced sensor: an endpoint that tells some validators one thing and the rest another under one sequence, each with a genuine
//! tag, so that no quorum has the same evidence (V2, L4).

use can_bus::Frame;
use can_bus::segment::{self, Assembly, Prefix};
use device_chain::genesis::Genesis;
use device_chain::hash::{Domain, hash};
use device_chain::keys::{Device, KeyHandle, KeyStore};
use device_chain::limits::MAX_MESSAGE;
use device_chain::types::ValidatorIndex;
use device_chain::wire::{HEADER, Parts, tag_input};

use crate::keys::SharedKeys;

/// Splits the validators always in the same way.
pub struct TwoFacedSensor {
    half: u8,
    message: Assembly,
    buffer: [u8; MAX_MESSAGE],
    transfer: u8,
}

impl TwoFacedSensor {
    /// Bit per validator in `half`: who is told the truth.
    #[must_use]
    pub const fn new(half: u8) -> Self {
        Self { half, message: Assembly::new(), buffer: [0; MAX_MESSAGE], transfer: 0 }
    }

    /// What leaves in place of a frame that the honest endpoint wants to send: nothing, and at the end of its message two of them.
    pub fn edit(&mut self, genesis: &Genesis, keys: &SharedKeys, frame: &Frame) -> Vec<Frame> {
        let (n, tag_len) = (genesis.validators.len(), genesis.tag_len());
        let Ok(Some(length)) = self.message.push(&mut self.buffer, frame.data()) else { return Vec::new() };
        let Some(parts) = Parts::split(&self.buffer[..length], n, tag_len) else { return Vec::new() };
        let lie: Vec<u8> = parts.body.iter().map(|byte| !byte).collect();
        let messages = [(parts.body, self.half), (&lie[..], !self.half)].map(|(data, to)| {
            let input = tag_input(parts.head, &hash(Domain::Body, &[data]));
            let tag = |validator: ValidatorIndex| match to >> validator & 1 {
                1 => keys.tag(KeyHandle::Pair(Device::Validator(validator)), &input).unwrap_or_default(),
                _ => [0xa5; 16],
            };
            let tags = (0..n as ValidatorIndex).flat_map(|validator| tag(validator)[..tag_len].to_vec());
            let mut said = parts.head[..HEADER].to_vec();
            said.extend(data.iter().copied().chain(tags));
            said
        });
        let mut frames = Vec::new();
        for said in &messages {
            self.transfer = self.transfer.wrapping_add(1);
            let segments = Prefix::parse(said).and_then(|prefix| segment::segments(prefix, self.transfer, said).ok());
            frames.extend(segments.into_iter().flatten().filter_map(|payload| Frame::fd(frame.id(), &payload).ok()));
        }
        frames
    }
}
