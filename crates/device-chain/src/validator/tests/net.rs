//! The bench: validators, journals, one bus with arbitration, and what is checked whatever happens on it.

use std::boxed::Box;
use std::collections::{BTreeMap, VecDeque};

use super::car::{self, signer};
use super::*;
use crate::block::Seal;
use crate::codec;
use crate::genesis::Genesis;
use crate::keys::{Device, Kept, SoftKeys};
use crate::limits::MAX_MESSAGE;
use crate::order::Change;
use crate::pairing::{Agreed, Ephemeral};
use crate::record::{Record, RecordKind};
use crate::wire::{HEADER, Header, Kind, NIL_PROPOSER};

pub const PHASE_US: u64 = 10_000;
pub const HEARTBEAT_US: u64 = 100_000;
/// A frame on the wire, and a record on its way to flash.
const FRAME_US: u64 = 400;
const WRITE_US: u64 = 300;
const ANSWER_US: u64 = 2_000;
/// The gateway's place.
pub const GATEWAY: u8 = 0;

/// A message on the bus.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: Source,
    pub header: Header,
    pub bytes: StdVec<u8>,
}

/// One ECU.
pub struct Ecu {
    pub validator: Box<Validator<SoftKeys>>,
    pub on: bool,
    /// What it sends does not reach the bus: a liar whose messages the test writes.
    pub mute: bool,
    /// How long a record takes to its flash.
    pub write_us: u64,
    pub journal: StdVec<(RecordKind, StdVec<u8>)>,
    /// What its key store has made durable.
    pub pairs: Option<Kept>,
    durable: Height,
    pub decisions: BTreeMap<Height, Decision>,
    pub reports: StdVec<Report>,
    pub sealed: StdVec<(u32, Seal)>,
    queue: StdVec<Packet>,
    /// A state that waits for its proof.
    kept: StdVec<u8>,
    /// Records, answers and when they come.
    writes: VecDeque<(Micros, u64, RecordKind, StdVec<u8>)>,
    answers: VecDeque<(Micros, Answer)>,
}

impl Ecu {
    /// Its own orders that are not decided.
    pub fn own_orders(&self) -> usize {
        self.validator.pending.iter().filter(|pending| pending.own).count()
    }

    /// Messages that wait for the bus.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }
}

enum Answer {
    Signed(Hash, Signature),
    GrantChecked(Hash, bool),
    Kept(Box<Kept>),
    Agreed(Agreed),
    Refresh(Ephemeral),
    EndorsementChecked(Signature, bool),
}

/// Says whether a packet is lost for a receiver.
pub type Loss = Box<dyn FnMut(&Packet, ValidatorIndex) -> bool>;

pub struct Net {
    pub genesis: Genesis,
    pub now: Micros,
    pub ecus: StdVec<Ecu>,
    pub loss: Loss,
    /// Everything that was on the bus.
    pub log: StdVec<Packet>,
    bus: Option<(Micros, Packet)>,
    /// Which vote each voter has cast in each slot, for ever.
    pub votes: BTreeMap<(u8, Height, Round, u8), (bool, u16)>,
    pub agreed: BTreeMap<Height, Hash>,
    boots: u64,
    /// How often the device at a place was replaced: another device has other keys.
    devices: [u8; 8],
}

impl Net {
    /// `n` ECUs, all switched off.
    pub fn dark(n: usize) -> Self {
        let genesis = car::genesis(n, "BENCH");
        let mut net = Self {
            now: Micros(1_000_000),
            ecus: StdVec::new(),
            loss: Box::new(|_, _| false),
            log: StdVec::new(),
            bus: None,
            votes: BTreeMap::new(),
            agreed: BTreeMap::new(),
            boots: 0,
            devices: [0; 8],
            genesis,
        };
        for me in 0..n as u8 {
            let mut validator = net.installed(me);
            net.boot(&mut validator);
            net.ecus.push(Ecu {
                validator,
                on: false,
                mute: false,
                write_us: WRITE_US,
                journal: StdVec::new(),
                pairs: None,
                durable: 0,
                decisions: BTreeMap::new(),
                reports: StdVec::new(),
                sealed: StdVec::new(),
                queue: StdVec::new(),
                kept: StdVec::new(),
                writes: VecDeque::new(),
                answers: VecDeque::new(),
            });
        }
        net
    }

    /// `n` ECUs that trust each other.
    pub fn trusted(n: usize) -> Self {
        let mut net = Self::dark(n);
        net.switch_on(0..n as u8);
        net.run(5 * HEARTBEAT_US);
        for ecu in &net.ecus {
            assert_eq!(ecu.validator.mode(), Mode::Trusted);
        }
        net
    }

    /// A validator that has its place and nothing else.
    pub fn installed(&self, me: u8) -> Box<Validator<SoftKeys>> {
        let mut keys = car::keys(self.genesis.validators.len(), me);
        for peer in (0..self.genesis.validators.len() as u8).filter(|peer| *peer != me) {
            assert!(keys.load(Device::Validator(peer), self.pair_key(me, peer)));
        }
        let mut validator = Box::new(Validator::new(keys));
        validator.install(&self.genesis, me).expect("it is in the genesis");
        validator
    }

    fn boot(&mut self, validator: &mut Validator<SoftKeys>) {
        self.boots += 1;
        let nonce = self.boots.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        validator.start(Boot { nonce }, self.now);
    }

    /// Between the devices that are at two places now.
    fn pair_key(&self, a: u8, b: u8) -> crate::mac::Key {
        let made = [self.devices[usize::from(a.min(b))], self.devices[usize::from(a.max(b))]];
        if made == [0; 2] { car::pair_key(a, b) } else { car::made_pair_key(a, b, made) }
    }

    /// The device whose keys the key stores make for a place from now on: the first is 0.
    pub fn device_at(&mut self, at: u8, device: u8) {
        self.devices[usize::from(at)] = device;
    }

    pub fn ids(&self) -> core::ops::Range<u8> {
        0..self.ecus.len() as u8
    }

    pub fn ecu(&self, at: u8) -> &Ecu {
        &self.ecus[usize::from(at)]
    }

    pub fn height(&self, at: u8) -> Height {
        self.ecu(at).validator.state().height()
    }

    /// A validator with what the ECU's journal gives back.
    pub fn recovered(&self, at: u8) -> Box<Validator<SoftKeys>> {
        let mut validator = self.installed(at);
        let (_, keys) = validator.keys_mut();
        keys.keep();
        assert!(self.ecu(at).pairs.as_ref().is_none_or(|kept| keys.restore(kept)));
        for (kind, bytes) in &self.ecu(at).journal {
            validator.replay(*kind, bytes).expect("a journal that it wrote itself");
        }
        validator
    }

    /// Power for those that had none.
    pub fn switch_on(&mut self, who: impl IntoIterator<Item = u8>) {
        for at in who {
            let validator = self.recovered(at);
            self.start(at, validator);
        }
    }

    fn start(&mut self, at: u8, mut validator: Box<Validator<SoftKeys>>) {
        self.boot(&mut validator);
        let ecu = &mut self.ecus[usize::from(at)];
        (ecu.validator, ecu.on) = (validator, true);
        self.tell(at, Input::Tick);
    }

    /// Power off: what is not in the journal is gone.
    pub fn switch_off(&mut self, at: u8) {
        let ecu = &mut self.ecus[usize::from(at)];
        ecu.on = false;
        ecu.queue.clear();
        ecu.writes.clear();
        ecu.answers.clear();
    }

    pub fn reboot(&mut self, at: u8) {
        self.switch_off(at);
        self.switch_on([at]);
    }

    /// A new, empty store where the old one was: the ECU knows that it knows nothing (P5).
    pub fn wipe(&mut self, at: u8) {
        self.restore(at, StdVec::new());
    }

    /// An older image of the store, recognised as such.
    pub fn restore(&mut self, at: u8, journal: StdVec<(RecordKind, StdVec<u8>)>) {
        self.switch_off(at);
        let ecu = &mut self.ecus[usize::from(at)];
        (ecu.journal, ecu.durable) = (journal, 0);
        let mut validator = self.recovered(at);
        validator.forget();
        self.ecus[usize::from(at)].durable = validator.state().height();
        self.start(at, validator);
    }

    /// Hands an input over and carries out the effects.
    pub fn tell(&mut self, at: u8, input: Input<'_>) {
        let now = self.now;
        let ecu = &mut self.ecus[usize::from(at)];
        if !ecu.on {
            return;
        }
        let (before, message) = (ecu.validator.proof(), input.clone());
        ecu.validator.handle(now, input);
        if let (None, Some(_), Input::Message { bytes, .. }) = (before, ecu.validator.proof(), message) {
            ecu.kept = bytes.to_vec();
        }
        if ecu.validator.proof() == Some(Proof::Complete) {
            ecu.validator.handle(now, Input::Adopt(&ecu.kept));
        }
        self.drain(at);
        let deadline = self.ecu(at).validator.deadline().expect("a heartbeat at least");
        assert!(deadline > now, "ecu {at} would spin at {now:?}: {deadline:?}");
    }

    fn drain(&mut self, at: u8) {
        let mut buffer = [0; MAX_MESSAGE];
        loop {
            let now = self.now;
            let ecu = &mut self.ecus[usize::from(at)];
            match ecu.validator.poll(|_| true, &mut buffer) {
                None => return,
                Some(Effect::Persist { token, kind, bytes }) => {
                    ecu.writes.push_back((now.plus(ecu.write_us), token, kind, bytes.to_vec()));
                }
                Some(Effect::Send { header, bytes }) => {
                    let source = Source { device: Device::Validator(at), class: header.kind.class() };
                    let packet = Packet { source, header, bytes: bytes.to_vec() };
                    if !ecu.mute {
                        self.watch(at, &packet);
                        self.ecus[usize::from(at)].queue.push(packet);
                    }
                }
                Some(Effect::Cancel(cancel)) => ecu.queue.retain(|packet| !is_cancelled(&packet.header, cancel)),
                Some(Effect::Decided(decision)) => self.on_decision(at, decision),
                Some(Effect::Sign(digest)) => {
                    let signature = Seal::sign(at, &signer(usize::from(at)), &digest).signature;
                    ecu.answers.push_back((now.plus(ANSWER_US), Answer::Signed(digest, signature)));
                }
                Some(Effect::CheckGrant(signed)) => {
                    let genuine = signed.is_genuine(&self.genesis);
                    let answer = Answer::GrantChecked(signed.grant.digest(), genuine);
                    self.ecus[usize::from(at)].answers.push_back((now.plus(ANSWER_US), answer));
                }
                Some(Effect::CheckEndorsement(endorsement, key)) => {
                    let genuine = endorsement.is_genuine(&self.genesis.mesh(), &key);
                    let answer = Answer::EndorsementChecked(endorsement.signature, genuine);
                    self.ecus[usize::from(at)].answers.push_back((now.plus(ANSWER_US), answer));
                }
                Some(Effect::Keep) => {
                    let kept = Answer::Kept(Box::new(ecu.validator.keys().write()));
                    ecu.answers.push_back((now.plus(ANSWER_US), kept));
                }
                Some(Effect::Draw) => {
                    self.boots += 1;
                    let drawn = Ephemeral::from_random([self.boots as u8; 32]);
                    ecu.answers.push_back((now.plus(ANSWER_US), Answer::Refresh(drawn)));
                }
                Some(Effect::Agree(agreement)) => {
                    let peer = &self.genesis.validators[usize::from(agreement.peer())].key;
                    let agreed = agreement.run(&signer(usize::from(at)), peer);
                    ecu.answers.push_back((now.plus(ANSWER_US), Answer::Agreed(agreed)));
                }
                Some(Effect::Sealed(number, seal)) => ecu.sealed.push((number, seal)),
                Some(Effect::Report(report)) => ecu.reports.push(report),
            }
        }
    }

    /// One vote per slot for ever (C1, P1), DECIDED only of what is durable (P4), silence of amnesiacs (P5).
    fn watch(&mut self, at: u8, packet: &Packet) {
        let header = &packet.header;
        let ecu = self.ecu(at);
        if header.kind.vote().is_some() {
            assert!(!ecu.validator.is_amnesiac(), "an amnesiac votes: {header:?}");
            let vote = (header.hint_proposer == NIL_PROPOSER, header.hint);
            let slot = (at, header.height, header.round, header.kind as u8);
            let cast = *self.votes.entry(slot).or_insert(vote);
            assert_eq!(cast, vote, "ecu {at} contradicts itself: {header:?}");
        }
        if header.kind == Kind::Decided {
            let durable = self.ecu(at).durable;
            assert!(header.height <= durable, "DECIDED {} while {durable} is durable", header.height);
        }
    }

    /// Agreement, and nothing acted upon before it is durable (P4).
    fn on_decision(&mut self, at: u8, decision: Decision) {
        let agreed = *self.agreed.entry(decision.height).or_insert(decision.hash);
        assert_eq!(agreed, decision.hash, "ecu {at} decides differently at {}", decision.height);
        if let Transaction::Change(order) = &decision.tx
            && let Change::Replace { device: Device::Validator(new), .. } = order.change
            && new != at
        {
            // the key store makes the key with whoever comes
            let key = self.pair_key(at, new);
            self.ecus[usize::from(at)].validator.keys_mut().1.load(Device::Validator(new), key);
        }
        let ecu = &mut self.ecus[usize::from(at)];
        assert!(decision.height <= ecu.durable, "acted upon before it is durable");
        ecu.decisions.insert(decision.height, decision);
    }

    /// When anything happens next.
    fn next(&self) -> Micros {
        let ecus = self.ecus.iter().filter(|ecu| ecu.on);
        let inner = ecus.flat_map(|ecu| {
            let write = ecu.writes.front().map(|write| write.0);
            let answer = ecu.answers.front().map(|answer| answer.0);
            [ecu.validator.deadline(), write, answer].into_iter().flatten()
        });
        let bus = self.bus.as_ref().map(|(done, _)| *done);
        inner.chain(bus).min().unwrap_or(Micros(u64::MAX))
    }

    fn arbitrate(&mut self) {
        if self.bus.is_some() {
            return;
        }
        let urgent = self.ids().filter(|at| !self.ecu(*at).queue.is_empty()).min_by_key(|at| {
            let most_urgent = self.ecu(*at).queue.iter().map(|packet| packet.source.class).min();
            (most_urgent, *at)
        });
        if let Some(at) = urgent {
            let queue = &mut self.ecus[usize::from(at)].queue;
            let class = queue.iter().map(|packet| packet.source.class).min();
            if let Some(first) = queue.iter().position(|packet| Some(packet.source.class) == class) {
                let packet = queue.remove(first);
                let frames = packet.bytes.len().div_ceil(64) as u64;
                self.bus = Some((self.now.plus(frames * FRAME_US), packet));
            }
        }
    }

    /// The next thing happens.
    fn step(&mut self) {
        self.arbitrate();
        self.now = self.now.max(self.next());
        for at in self.ids() {
            while let Some((_, token, kind, bytes)) = self.pop_write(at) {
                self.make_durable(at, kind, bytes);
                self.tell(at, Input::Persisted(token));
            }
            while let Some(answer) = self.pop_answer(at) {
                match answer {
                    Answer::Signed(digest, signature) => self.tell(at, Input::Signed(digest, signature)),
                    Answer::EndorsementChecked(signature, genuine) => {
                        self.tell(at, Input::EndorsementChecked(signature, genuine));
                    }
                    Answer::GrantChecked(digest, genuine) => self.tell(at, Input::GrantChecked(digest, genuine)),
                    Answer::Kept(kept) => {
                        self.ecus[usize::from(at)].pairs = Some(*kept);
                        self.tell(at, Input::Kept);
                    }
                    Answer::Agreed(agreed) => self.tell(at, Input::Agreed(agreed)),
                    Answer::Refresh(drawn) => self.tell(at, Input::Refresh(drawn)),
                }
            }
            let ecu = self.ecu(at);
            if ecu.on && ecu.validator.deadline().is_some_and(|due| due <= self.now) {
                self.tell(at, Input::Tick);
            }
        }
        let now = self.now;
        if let Some((_, packet)) = self.bus.take_if(|(done, _)| *done <= now) {
            self.deliver(packet);
        }
        self.arbitrate();
    }

    fn pop_write(&mut self, at: u8) -> Option<(Micros, u64, RecordKind, StdVec<u8>)> {
        let now = self.now;
        let writes = &mut self.ecus[usize::from(at)].writes;
        writes.front().is_some_and(|write| write.0 <= now).then(|| writes.pop_front())?
    }

    fn pop_answer(&mut self, at: u8) -> Option<Answer> {
        let now = self.now;
        let answers = &mut self.ecus[usize::from(at)].answers;
        answers.front().is_some_and(|answer| answer.0 <= now).then(|| answers.pop_front())?.map(|answer| answer.1)
    }

    fn make_durable(&mut self, at: u8, kind: RecordKind, bytes: StdVec<u8>) {
        let height = match kind {
            RecordKind::State => crate::state::State::decode(&bytes, &self.genesis).map(|state| state.height()),
            RecordKind::Page => None,
            RecordKind::Fact => match codec::decode(&bytes) {
                Some(Record::Decided(height, _)) => Some(height),
                _ => None,
            },
        };
        let ecu = &mut self.ecus[usize::from(at)];
        ecu.durable = height.map_or(ecu.durable, |height| height.max(ecu.durable));
        ecu.journal.push((kind, bytes));
    }

    fn deliver(&mut self, packet: Packet) {
        let Device::Validator(from) = packet.source.device else { unreachable!("endpoints are injected") };
        self.log.push(packet.clone());
        for to in self.ids().filter(|to| *to != from) {
            if !(self.loss)(&packet, to) {
                self.tell(to, Input::Message { source: packet.source, bytes: &packet.bytes });
            }
        }
        if packet.header.kind == Kind::Propose {
            self.tell(from, Input::Proposed(packet.header.height, packet.header.round));
        }
    }

    /// Somebody without a place in the mesh puts a message on the bus; its owner does not hear it as a message.
    pub fn inject(&mut self, source: Source, bytes: &[u8]) {
        for to in self.ids().filter(|to| Device::Validator(*to) != source.device) {
            self.tell(to, Input::Message { source, bytes });
        }
    }

    pub fn replay(&mut self, packet: &Packet) {
        self.inject(packet.source, &packet.bytes);
    }

    /// Lets time pass.
    pub fn run(&mut self, us: u64) {
        let end = self.now.plus(us);
        loop {
            self.arbitrate();
            if self.next() > end {
                break;
            }
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until `done`, or fails after `limit_us`.
    #[track_caller]
    pub fn run_until(&mut self, limit_us: u64, mut done: impl FnMut(&Self) -> bool) {
        let end = self.now.plus(limit_us);
        while !done(self) {
            assert!(self.now < end, "it did not happen in {limit_us} us");
            self.step();
        }
    }

    /// Waits until all that are on have reached a height, durably.
    #[track_caller]
    pub fn reach(&mut self, height: Height, limit_us: u64) {
        self.reach_by(self.ids(), height, limit_us);
    }

    /// The same for some of them.
    #[track_caller]
    pub fn reach_by(&mut self, who: core::ops::Range<u8>, height: Height, limit_us: u64) {
        self.run_until(limit_us, |net| who.clone().all(|at| !net.ecu(at).on || net.ecu(at).durable >= height));
    }

    /// The highest height that anybody who is on has reached.
    pub fn top(&self) -> Height {
        self.ids().filter(|at| self.ecu(*at).on).map(|at| self.height(at)).max().unwrap_or(0)
    }

    /// Everything counted by one ECU.
    pub fn counted(&self, at: u8) -> u64 {
        let Counters {
            accepted,
            bad_tag,
            replayed,
            stale,
            foreign,
            version,
            malformed,
            held,
            unknown,
            impostor,
            dropped,
        } = *self.ecu(at).validator.counters();
        accepted + bad_tag + replayed + stale + foreign + version + malformed + held + unknown + impostor + dropped
    }
}

/// Whether a vote that is still queued need not be sent.
fn is_cancelled(header: &Header, cancel: Cancel) -> bool {
    match cancel {
        Cancel::Votes(height) => header.kind.vote().is_some() && header.height == height,
        Cancel::Prevote(height, round) => {
            header.kind == Kind::Prevote && (header.height, header.round) == (height, round)
        }
    }
}

/// The length of a header, for whoever damages one.
pub const HEADER_LEN: usize = HEADER;
