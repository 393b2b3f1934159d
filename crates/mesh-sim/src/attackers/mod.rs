//! Attackers, one file each.
//!
//! A [`Liar`] sits in a validator's place, with its keys: an honest ECU whose frames are edited before they leave. A
//! [`Rogue`] is somebody without keys who hears the bus and sends what it likes. A [`Route`] is what a gateway's router makes of
//! what it should repeat.

pub mod asker;
pub mod babbler;
pub mod colluders;
pub mod conspirators;
pub mod equivocator;
pub mod flooder;
pub mod hello_replayer;
pub mod impersonator;
pub mod lonely_voter;
pub mod nil_voter;
pub mod other_version;
pub mod partial_tags;
pub mod proposer;
pub mod replayer;
pub mod router;
pub mod tag_spoiler;
pub mod two_faced_sensor;
pub mod unknown_voter;
pub mod voice;
pub mod withholding_proposer;

use can_bus::Frame;
use can_bus::frame::{MAX_FD, id_from_raw};
use can_bus::segment::{Prefix, segments};
use device_chain::genesis::Genesis;
use device_chain::keys::{KeyHandle, KeyStore};
use device_chain::registry::Registry;
use device_chain::state::State;
use device_chain::tx::{decision_hash, nil_subject};
use device_chain::types::{Hash, Height, Round, ValidatorIndex};
use device_chain::wire::{HEADER, Header, Parts, tag_input, tag_slot};

use crate::dice::Dice;
use crate::keys::SharedKeys;
use crate::wiretap::Wiretap;

/// An attacker with the keys of a validator.
pub trait Liar {
    /// What leaves in place of a frame that the honest ECU in this seat wants to send.
    fn edit(&mut self, seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame>;

    /// When it wants to say something of its own accord, ns.
    fn due_ns(&self) -> Option<u64> {
        None
    }

    /// What it then says, at `now_ns`.
    fn act(&mut self, _now_ns: u64, _seat: &mut Seat<'_>) -> Vec<Frame> {
        Vec::new()
    }
}

/// An attacker without keys.
pub trait Rogue {
    /// What it sends when it hears a frame of the mesh at `now_ns`.
    fn hear(&mut self, now_ns: u64, frame: &Frame, dice: &mut Dice) -> Vec<Frame>;

    /// When it wants to do something of its own accord, ns.
    fn due_ns(&self) -> Option<u64> {
        None
    }

    /// What it then sends.
    fn act(&mut self, _now_ns: u64, _dice: &mut Dice) -> Vec<Frame> {
        Vec::new()
    }
}

/// An attacker in the gateway's routing between two segments.
pub trait Route {
    /// What it sends in place of a frame that it heard at `now_ns` on segment `from`.
    fn route(&mut self, now_ns: u64, from: usize, frame: &Frame, dice: &mut Dice) -> Vec<Forwarded>;
}

/// A frame that a router sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// On which segment.
    pub to: usize,
    /// How much later than an honest router would, ns.
    pub later_ns: u64,
    /// The frame.
    pub frame: Frame,
}

/// What a liar has: keys, ears, and the memory of the honest ECU in its place.
pub struct Seat<'a> {
    /// Its place.
    pub me: ValidatorIndex,
    /// The mesh.
    pub genesis: &'a Genesis,
    /// Who belongs to the car, as it knows.
    pub registry: &'a Registry,
    /// The keys of its present session.
    pub keys: &'a SharedKeys,
    /// What the chain has come to there.
    pub state: &'a State,
    /// The round in which it is.
    pub round: Round,
    /// What was on the wire.
    pub wiretap: &'a Wiretap,
    /// Chance.
    pub dice: &'a mut Dice,
}

/// What a vote is for: who proposed the value and its hash; `None` is nil.
pub type Choice = Option<(ValidatorIndex, Hash)>;

impl Seat<'_> {
    /// The last height it has decided, and its hash.
    #[must_use]
    pub const fn head(&self) -> (Height, Hash) {
        (self.state.height(), *self.state.head())
    }

    /// The message in a frame, if it is a vote of this seat at the height being agreed on.
    #[must_use]
    pub fn own_vote(&self, frame: &Frame) -> Option<Header> {
        let parts = Parts::split(frame.data(), self.genesis.validators.len(), self.genesis.tag_len())?;
        (parts.header.kind.vote().is_some() && parts.header.height == self.head().0 + 1).then_some(parts.header)
    }

    /// Everything at the height being agreed on that a vote could be for.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let (mesh, height, parent) = (self.genesis.mesh(), self.head().0 + 1, self.head().1);
        let named = self.wiretap.values(height).iter();
        let values = named.map(|value| Some((value.proposer, decision_hash(&mesh, height, &parent, &value.tx))));
        values.chain([None]).collect()
    }

    /// A choice other than the one that `vote` names.
    pub fn another(&mut self, vote: &Header) -> Option<Choice> {
        let same = |choice: &Choice| Header::new(vote.kind, 0).hint(hint(choice)).hint == vote.hint;
        let others: Vec<_> = self.choices().into_iter().filter(|choice| !same(choice)).collect();
        (!others.is_empty()).then(|| *self.dice.pick(&others))
    }

    /// The vote `like` for another choice, with tags that are right for the validators of `receivers` (bit per
    /// validator) and wrong for the rest.
    #[must_use]
    pub fn vote(&self, like: &Header, choice: &Choice, receivers: u8) -> Option<Frame> {
        let subject = choice.map_or_else(|| nil_subject(&self.head().1), |(_, hash)| hash);
        let message = self.message(like.hint(hint(choice)), &subject, &[], receivers);
        Frame::fd_padded(id_from_raw(self.genesis.validators[usize::from(self.me)].identifiers.vote)?, &message).ok()
    }

    /// The frames of a message with a counter of its own, whose tags are made as those of [`Self::vote`].
    #[must_use]
    pub fn frames(&self, header: Header, subject: &Hash, body: &[u8], receivers: u8) -> Vec<Frame> {
        let header =
            Header { mesh: self.genesis.mesh().short(), suite: self.genesis.suite.code(), sender: self.me, ..header };
        let message = self.message(header, subject, body, receivers);
        let identifiers = &self.genesis.validators[usize::from(self.me)].identifiers;
        let Some(id) = id_from_raw(identifiers.of(header.kind.class())) else { return Vec::new() };
        match Prefix::parse(&message) {
            Some(prefix) if header.kind.body_len().is_none() || message.len() > MAX_FD => {
                let payloads = segments(prefix, header.counter as u8, &message).into_iter().flatten();
                payloads.filter_map(|payload| Frame::fd(id, &payload).ok()).collect()
            }
            _ => Frame::fd_padded(id, &message).into_iter().collect(),
        }
    }

    fn message(&self, header: Header, subject: &Hash, body: &[u8], receivers: u8) -> Vec<u8> {
        let input = tag_input(&header.to_bytes(), subject);
        let mut message = [&header.to_bytes()[..], body].concat();
        let addressee = header.kind.is_addressed().then_some(header.round);
        let everybody = 0..self.genesis.validators.len() as u8;
        for peer in everybody.filter(|peer| *peer != self.me && addressee.is_none_or(|addressee| addressee == *peer)) {
            let tag = self.keys.tag(KeyHandle::Session(peer), &input).unwrap_or_default();
            let wrong = if receivers >> peer & 1 == 1 { 0 } else { 0xa5 };
            message.extend(tag[..self.genesis.tag_len()].iter().map(|byte| byte ^ wrong));
        }
        message
    }
}

fn hint(choice: &Choice) -> Option<(u8, &Hash)> {
    choice.as_ref().map(|(proposer, hash)| (*proposer, hash))
}

/// A copy of a message whose tag for `receiver` is wrong.
#[must_use]
pub fn with_wrong_tag(frame: &Frame, tag_len: usize, receiver: ValidatorIndex) -> Option<Frame> {
    let header = Header::parse(frame.data())?;
    let mut data = frame.data().to_vec();
    let at = HEADER + tag_slot(header.sender, receiver) * tag_len;
    data.get_mut(at..at + tag_len)?.iter_mut().for_each(|byte| *byte ^= 0x5a);
    Frame::fd(frame.id(), &data).ok()
}
