//! An endpoint among validators of whom each may lie, on a bus that loses what it likes.

use std::collections::VecDeque;

use can_bus::frame::{Frame, MAX_FD, id_from_raw};
use can_bus::port::{BusCommand, BusEvent};
use can_bus::segment::{Assembly, MAX_MESSAGE};
use device_chain::hash::{Domain, hash};
use device_chain::keys::{Device, KeyHandle, KeyStore, SoftKeys};
use device_chain::limits::MAX_RECORD_DATA;
use device_chain::types::{Hash, Micros};
use device_chain::validator::record_sequence;
use device_chain::wire::{ENDPOINT_SENDER, HEADER, Header, Kind, tag_input};
use ecu_node::endpoint::{Data, Effect, Endpoint, Input, MAX_QUEUED};

use super::bench::{self, Mesh};
use crate::{Dice, formats};

/// Of this boot.
const BOOT: u32 = 3;
const STEPS: usize = 400;

struct Life<'d> {
    dice: Dice<'d>,
    mesh: &'static Mesh,
    endpoint: Endpoint<SoftKeys>,
    now: u64,
    /// What was taken and is not recorded yet, in order.
    owed: VecDeque<Data>,
    recorded: u32,
    /// Who has said of the first one that it is decided.
    acknowledged: Vec<bool>,
    at_bus: Option<(u32, Frame)>,
    assembly: Assembly,
    memory: [u8; MAX_MESSAGE],
}

/// How far a life came.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Records on the chain before the end, when all help.
    pub recorded: u32,
    /// Acknowledgements with a wrong tag.
    pub bad_tags: u32,
    /// Frames that were refused.
    pub dropped: u32,
}

/// One life of an endpoint: what it takes is recorded in order, once f + 1 have said so, and nothing is lost or said otherwise the second time.
///
/// # Panics
/// If not.
pub fn run(bytes: &[u8]) {
    let _ = live(bytes);
}

/// The same, and how far it came.
///
/// # Panics
/// If something does not hold that must.
#[must_use]
pub fn live(bytes: &[u8]) -> Reach {
    let mut dice = Dice::of_bytes(bytes);
    let mesh = Mesh::pick(&mut dice);
    let keys = mesh.keyring.endpoint_store(0);
    let endpoint = Endpoint::new(&mesh.genesis, 0, keys, BOOT, &Hash::NIL).unwrap_or_else(|_| panic!("in the genesis"));
    let mut life = Life {
        dice,
        mesh,
        endpoint,
        now: 0,
        owed: VecDeque::new(),
        recorded: 0,
        acknowledged: vec![false; mesh.size()],
        at_bus: None,
        assembly: Assembly::new(),
        memory: [0; MAX_MESSAGE],
    };
    for _ in 0..STEPS {
        if life.dice.is_empty() {
            break;
        }
        life.step();
    }
    life.end()
}

impl Life<'_> {
    fn step(&mut self) {
        match self.dice.below(8) {
            0 => {
                let data = self.dice.up_to(MAX_RECORD_DATA).into_iter().collect();
                self.submit(data);
            }
            1 => {
                let due = self.endpoint.deadline().map_or(0, |due| due.0);
                self.now = self.now.max(due);
                self.handle(Input::Tick);
            }
            2 => {
                let scale = self.dice.pick(&[1, 1_000, 100_000]);
                self.now += u64::from(self.dice.byte()) * scale;
                self.handle(Input::Tick);
            }
            3 => self.noise(),
            4 | 5 => self.answer_bus(),
            _ => {
                let (sender, sequence) = (self.dice.below(self.mesh.size()), self.sequence());
                let near = self.dice.pick(&[0, 0, 0, 1, u64::MAX]);
                let spoilt = self.dice.once_in(4);
                self.acknowledge(sender, sequence.wrapping_add(near), spoilt);
            }
        }
    }

    /// Of the record under way.
    fn sequence(&self) -> u64 {
        record_sequence(BOOT, self.recorded + 1)
    }

    fn submit(&mut self, data: Data) {
        if self.endpoint.has_room() {
            self.owed.push_back(data.clone());
            self.handle(Input::Submit(data));
        } else {
            self.endpoint.handle(Micros(self.now), Input::Submit(data.clone()));
            assert_eq!(self.endpoint.poll(), Some(Effect::Full(data)), "it is given back");
            self.poll();
        }
    }

    /// Anything at all, or anything of a validator.
    fn noise(&mut self) {
        let mut frame = formats::frame(&mut self.dice);
        if self.dice.flag() {
            let sender = self.dice.below(self.mesh.size());
            let class = Kind::from_code(self.dice.byte() % 16).unwrap_or(Kind::Ack).class();
            let id = id_from_raw(self.mesh.genesis.validators[sender].identifiers.of(class)).expect("of a genesis");
            let data = self.dice.up_to(MAX_FD);
            frame = Frame::fd_padded(id, &data).expect("no longer than a frame");
        }
        self.receive(frame);
    }

    /// As its validator says it, or spoilt.
    fn acknowledge(&mut self, sender: usize, sequence: u64, spoilt: bool) {
        let (genesis, body) = (&self.mesh.genesis, sequence.to_le_bytes());
        let mut header = Header::new(Kind::Ack, self.recorded).round(0);
        (header.mesh, header.suite) = (genesis.mesh().short(), genesis.suite.code());
        (header.sender, header.counter) = (sender as u8, self.recorded);
        let head = header.to_bytes();
        let keys = self.mesh.keyring.store(sender as u8);
        let input = tag_input(&head, &hash(Domain::Body, &[&body]));
        let tag = keys.tag(KeyHandle::Pair(Device::Endpoint(0)), &input).expect("a key for it");
        let message = bench::with_tag(self.mesh, Kind::Ack, &head, &body, 0, &tag);
        let id = id_from_raw(genesis.validators[sender].identifiers.of(Kind::Ack.class())).expect("of a genesis");
        let sent = if spoilt { self.dice.damage(message.clone()) } else { message.clone() };
        let Ok(frame) = Frame::fd_padded(id, &sent) else { return };
        // damage may leave it as it was, but for zeros behind it
        let padding = frame.data().strip_prefix(&message[..]);
        if padding.is_some_and(|padding| padding.iter().all(|byte| *byte == 0))
            && sequence == self.sequence()
            && !self.owed.is_empty()
        {
            self.acknowledged[sender] = true;
        }
        self.receive(frame);
    }

    fn receive(&mut self, frame: Frame) {
        self.handle(Input::Bus(BusEvent::Received { segment: 0, at_us: self.now, frame }));
    }

    /// A frame has left, whole or not at all; now and then the answer is to no frame.
    fn answer_bus(&mut self) {
        let Some((token, frame)) = self.at_bus.take_if(|_| !self.dice.once_in(8)) else {
            let token = self.dice.int() | 1 << 31;
            return self.handle(Input::Bus(BusEvent::Transmitted { token }));
        };
        if self.dice.once_in(8) {
            return self.handle(Input::Bus(BusEvent::Dropped { token }));
        }
        self.carry(&frame);
        self.handle(Input::Bus(BusEvent::Transmitted { token }));
    }

    /// What comes together at a validator is the record, with a tag for each of them: the same every time.
    fn carry(&mut self, frame: &Frame) {
        let Ok(Some(length)) = self.assembly.push(&mut self.memory, frame.data()) else { return };
        let (head, behind) = self.memory[..length].split_first_chunk::<HEADER>().expect("a header");
        let header = Header::parse(head).expect("a header");
        assert_eq!((header.kind, header.sender, header.height), (Kind::Record, ENDPOINT_SENDER, BOOT));
        // the last frames of one that is recorded may still be under way
        if header.counter <= self.recorded {
            return;
        }
        let data = self.owed.front().expect("nothing is said that was not to be");
        assert_eq!((header.counter, behind.get(..data.len())), (self.recorded + 1, Some(&data[..])));
        let input = tag_input(head, &hash(Domain::Body, &[data]));
        let tags = &behind[data.len()..];
        let tag_len = self.mesh.genesis.tag_len();
        assert!(tags.len() >= tag_len * self.mesh.size());
        for (tag, validator) in tags.chunks_exact(tag_len).zip(0..self.mesh.size() as u8) {
            let keys = self.mesh.keyring.store(validator);
            assert!(keys.verify(KeyHandle::Pair(Device::Endpoint(0)), &input, tag), "for validator {validator}");
        }
    }

    fn handle(&mut self, input: Input) {
        self.endpoint.handle(Micros(self.now), input);
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(effect) = self.endpoint.poll() {
            match effect {
                Effect::Bus(BusCommand::Transmit { token, frame }) => {
                    assert!(self.at_bus.replace((token, frame)).is_none(), "one frame at the controller");
                }
                Effect::Recorded { sequence, .. } => {
                    assert_eq!(sequence, self.sequence(), "in order");
                    let sure = self.acknowledged.iter().filter(|yes| **yes).count();
                    assert_eq!(sure, self.mesh.genesis.quorum().one_correct(), "f + 1, of whom one is correct (DC-42)");
                    assert!(self.owed.pop_front().is_some());
                    self.recorded += 1;
                    self.acknowledged.fill(false);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(self.endpoint.waiting(), self.owed.len(), "nothing is lost");
        assert!(self.owed.len() <= MAX_QUEUED + 1);
        let sure = self.acknowledged.iter().filter(|yes| **yes).count();
        assert!(sure < self.mesh.genesis.quorum().one_correct(), "nobody waits for more");
    }

    /// When the bus is well and all say so, everything is recorded.
    fn end(mut self) -> Reach {
        let recorded = self.recorded;
        while !self.owed.is_empty() {
            let (before, sent) = (self.recorded, self.endpoint.counters().sent);
            for _ in 0..2 {
                while let Some((token, frame)) = self.at_bus.take() {
                    self.carry(&frame);
                    self.handle(Input::Bus(BusEvent::Transmitted { token }));
                }
                self.now = self.now.max(self.endpoint.deadline().map_or(0, |due| due.0));
                self.handle(Input::Tick);
            }
            assert!(self.endpoint.counters().sent > sent, "it is repeated");
            for sender in 0..self.mesh.size() {
                if self.recorded == before {
                    self.acknowledge(sender, self.sequence(), false);
                }
            }
            assert_eq!(self.recorded, before + 1);
        }
        let counters = self.endpoint.counters();
        Reach { recorded, bad_tags: counters.bad_tag, dropped: counters.dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chance alone gets behind the tags: else a fuzzer would look at the door only.
    #[test]
    fn lives_reach_records() {
        let lives: Vec<Reach> = (0..100).map(|seed| live(&Dice::of_seed(seed).exactly(4000))).collect();
        let sum = |of: fn(&Reach) -> u32| lives.iter().map(of).sum::<u32>();
        let (recorded, bad_tags, dropped) = (sum(|l| l.recorded), sum(|l| l.bad_tags), sum(|l| l.dropped));
        println!("{recorded} recorded, {bad_tags} bad tags, {dropped} frames dropped");
        assert!(recorded > 100 && bad_tags > 100 && dropped > 100);
    }
}
