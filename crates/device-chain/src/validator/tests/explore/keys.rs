//! Keys that nobody else can have, for nobody in here guesses: a tag is the pair and what it covers, mixed.

use super::*;
use crate::keys::{Device, KeyHandle};
use crate::mac::{Tag, TagInput};

pub(super) struct Ideal {
    pub(super) me: ValidatorIndex,
}

/// The tag of a message between two.
pub(super) fn tag(between: [ValidatorIndex; 2], message: &TagInput) -> Tag {
    let [one, other] = between;
    let seed = 0xcbf2_9ce4_8422_2325 ^ u64::from(one.min(other)) << 8 ^ u64::from(one.max(other));
    let words = message.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
    let mix = words.fold(seed, |mix, word| (mix ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
    let mut tag = Tag::default();
    tag[..8].copy_from_slice(&(mix ^ mix >> 32).to_le_bytes());
    tag
}

impl KeyStore for Ideal {
    fn tag(&self, key: KeyHandle, message: &TagInput) -> Option<Tag> {
        match key {
            KeyHandle::Pair(Device::Validator(peer)) | KeyHandle::Session(peer) => Some(tag([self.me, peer], message)),
            KeyHandle::Pair(Device::Endpoint(_)) | KeyHandle::Candidate(_) => None,
        }
    }

    fn verify(&self, key: KeyHandle, message: &TagInput, tag: &[u8]) -> bool {
        self.tag(key, message).is_some_and(|known| known[..tag.len()] == *tag)
    }

    fn derive(&mut self, _: ValidatorIndex, _: [u64; 2]) {}

    fn promote(&mut self, _: ValidatorIndex) {}

    fn forget(&mut self, _: Device) {}
}
