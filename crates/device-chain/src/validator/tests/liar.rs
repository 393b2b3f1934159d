//! Messages that no validator of ours would send: of an endpoint, and of a liar with its own keys.

use super::car::endpoint_key;
use super::*;
use crate::hash::{Domain, hash};
use crate::keys::{Device, KeyHandle, KeyStore};
use crate::mac::Suite;
use crate::tx::nil_subject;
use crate::wire::{self, Class, ENDPOINT_SENDER, Header, Kind};

impl Net {
    /// A record of the endpoint, with good tags for `receivers`.
    pub fn record(&self, boot: u32, count: u32, data: &[u8], receivers: impl Fn(u8) -> bool) -> Packet {
        let mut header = Header::new(Kind::Record, boot).round(0);
        header.mesh = self.genesis.mesh().short();
        header.suite = Suite::Cmac.code();
        header.sender = ENDPOINT_SENDER;
        header.counter = count;
        let input = wire::tag_input(&header.to_bytes(), &hash(Domain::Body, &[data]));
        let mut bytes = [&header.to_bytes()[..], data].concat();
        for validator in self.ids() {
            let mut tag = endpoint_key(validator).for_tags(Suite::Cmac).tag(&input);
            tag[0] ^= u8::from(!receivers(validator));
            bytes.extend(&tag[..self.genesis.tag_len()]);
        }
        Packet { source: Source { device: Device::Endpoint(0), class: Class::Record }, header, bytes }
    }

    /// A message of a liar with its own keys, its tags right for `receivers` only.
    pub fn forge(
        &mut self,
        liar: u8,
        header: Header,
        subject: &Hash,
        body: &[u8],
        receivers: impl Fn(u8) -> bool,
    ) -> Packet {
        let validator = &mut self.ecus[usize::from(liar)].validator;
        validator.counter += 1;
        let header = Header {
            mesh: validator.mesh.short(),
            suite: Suite::Cmac.code(),
            sender: liar,
            counter: validator.counter,
            ..header
        };
        let input = wire::tag_input(&header.to_bytes(), subject);
        let mut bytes = [&header.to_bytes()[..], body].concat();
        let addressees: StdVec<u8> = match header.kind.is_addressed() {
            true => std::vec![header.round],
            false => validator.others().collect(),
        };
        for peer in addressees {
            let mut tag = validator.keys.tag(KeyHandle::Session(peer), &input).expect("a session");
            tag[0] ^= u8::from(!receivers(peer));
            bytes.extend(&tag[..validator.tag_len]);
        }
        Packet { source: Source { device: Device::Validator(liar), class: header.kind.class() }, header, bytes }
    }

    /// A liar's proposal of `tx` at everybody's height.
    pub fn forge_proposal(&mut self, liar: u8, tx: &[u8], receivers: impl Fn(u8) -> bool) -> (Packet, Hash) {
        let (height, parent) = self.present(liar);
        let hash = crate::tx::decision_hash(&self.genesis.mesh(), height, &parent, tx);
        let header = Header::new(Kind::Propose, height).hint(Some((liar, &hash)));
        (self.forge(liar, header, &hash, tx, receivers), hash)
    }

    /// A liar's vote at everybody's height.
    pub fn forge_vote(
        &mut self,
        liar: u8,
        kind: Kind,
        round: Round,
        value: Option<Hash>,
        receivers: impl Fn(u8) -> bool,
    ) -> Packet {
        let (height, parent) = self.present(liar);
        let header = Header::new(kind, height).round(round).hint(value.as_ref().map(|hash| (liar, hash)));
        self.forge(liar, header, &value.unwrap_or_else(|| nil_subject(&parent)), &[], receivers)
    }

    fn present(&self, at: u8) -> (Height, Hash) {
        let state = self.ecu(at).validator.state();
        (state.height() + 1, *state.head())
    }
}
