//! The pump, fed with whatever comes: noise, damaged frames, answers in any order, and messages of peers that are liars with the right keys.

use can_bus::frame::{Frame, MAX_FD, id_from_raw};
use can_bus::port::{BusCommand, BusEvent, ErrorState};
use can_bus::segment::{Prefix, segments};
use device_chain::codec;
use device_chain::hash::{Domain, hash};
use device_chain::keys::SoftKeys;
use device_chain::limits::{MAX_RECORD_DATA, MAX_SHORT_MESSAGE};
use device_chain::record::{Record, RecordKind};
use device_chain::registry::Registry;
use device_chain::state::State;
use device_chain::tx::{TxBytes, decision_hash, nil_subject};
use device_chain::types::{Hash, Micros, Signature, ValidatorIndex};
use device_chain::validator::Boot;
use device_chain::wire::{Class, DECIDED_VALUE, ENDPOINT_SENDER, Header, Kind};
use ecu_node::{Ecu, Effect, Input};

use super::bench::{self, ME, Mesh, NONCE, Peer};
use crate::Dice;
use crate::values;

/// More effects than one input can have.
const MANY: usize = 2000;
/// Steps of one life.
const STEPS: usize = 500;

struct Life<'d> {
    dice: Dice<'d>,
    mesh: &'static Mesh,
    ecu: Box<Ecu<SoftKeys>>,
    now: u64,
    peers: Vec<(ValidatorIndex, Peer)>,
    /// What everybody has heard of at the height being agreed on: who proposed it, and its hash.
    known: Vec<(ValidatorIndex, TxBytes)>,
    /// Frames at the controller: token, identifier.
    at_bus: Vec<(u32, u32)>,
    /// Handed out and not durable yet; and the last one.
    owed: Vec<u64>,
    handed_out: u64,
    /// Signatures to be made, grants to be checked.
    to_sign: Vec<Hash>,
    to_check: Vec<Hash>,
    /// Signatures under orders to be checked.
    to_prove: Vec<Signature>,
    decided: u32,
    /// Whether bus and journal answer at once.
    prompt: bool,
}

/// How far a life came.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Messages with the right tag.
    pub accepted: u64,
    /// Those with a wrong one.
    pub bad_tags: u64,
    /// The last decision of its own.
    pub decided: u32,
    /// The height in the end, which a state may have brought.
    pub height: u32,
}

/// One life of an ECU.
///
/// # Panics
/// If something does not hold that must.
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
    let prompt = dice.flag();
    let others = (0..mesh.size() as ValidatorIndex).filter(|at| *at != ME);
    let peers = others.map(|at| (at, Peer::new(mesh, at))).collect();
    let mut ecu = mesh.ecu();
    ecu.validator_mut().start(Boot { nonce: NONCE }, Micros(0));
    let mut life = Life {
        dice,
        mesh,
        ecu,
        now: 0,
        peers,
        known: Vec::new(),
        at_bus: Vec::new(),
        owed: Vec::new(),
        handed_out: 0,
        to_sign: Vec::new(),
        to_check: Vec::new(),
        to_prove: Vec::new(),
        decided: 0,
        prompt,
    };
    life.handle(Input::Tick);
    if life.dice.flag() {
        life.meet_all();
    }
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
        match self.dice.below(20) {
            0 => {
                let due = self.ecu.deadline().map_or(0, |due| due.0);
                self.now = self.now.max(due.min(u64::MAX / 2));
                self.handle(Input::Tick);
            }
            1 => {
                let scale = self.dice.pick(&[1, 1_000, 100_000]);
                self.now += self.dice.byte() as u64 * scale;
                self.handle(Input::Tick);
            }
            2 => self.noise(),
            3 => self.answer_bus(),
            4 => self.make_durable(),
            5 => {
                let tx = values::likely(self.ecu.validator().state(), &self.mesh.genesis, &mut self.dice);
                self.handle(Input::Submit(tx));
            }
            6 => self.answer_signatures(),
            7 => {
                let state =
                    self.dice.pick(&[ErrorState::Active, ErrorState::Passive, ErrorState::BusOff, ErrorState::Warning]);
                let frames = self.dice.byte().into();
                let event = if self.dice.flag() { BusEvent::State(state) } else { BusEvent::Overrun { frames } };
                self.handle(Input::Bus(event));
            }
            8 => self.record(),
            9 => self.agree(),
            10 => self.catch_up(),
            _ => self.speak(),
        }
    }

    fn handle(&mut self, input: Input) {
        let height = self.ecu.validator().state().height();
        self.ecu.handle(Micros(self.now), input);
        assert!(self.ecu.validator().state().height() >= height, "no height is taken back");
        self.poll();
        while self.prompt && (!self.owed.is_empty() || !self.at_bus.is_empty()) {
            let answer = match self.owed.pop() {
                Some(token) => {
                    self.owed.clear();
                    Input::Persisted(token)
                }
                None => Input::Bus(BusEvent::Transmitted { token: self.at_bus.remove(0).0 }),
            };
            self.ecu.handle(Micros(self.now), answer);
            self.poll();
        }
    }

    /// Carries out every effect, and looks at each.
    fn poll(&mut self) {
        for _ in 0..MANY {
            match self.ecu.poll() {
                None => return,
                Some(Effect::Bus(BusCommand::Transmit { token, frame })) => {
                    let own = &self.mesh.genesis.validators[usize::from(ME)].identifiers;
                    assert!(own.all().contains(&frame.raw_id()), "only on own identifiers: {frame:?}");
                    let prefix = Prefix::parse(frame.data()).expect("a frame of the mesh");
                    assert!(frame.is_fd() && prefix.mesh == self.mesh.genesis.mesh().short() && prefix.sender == ME);
                    let busy = self.at_bus.iter().any(|(known, id)| *known == token || *id == frame.raw_id());
                    assert!(!busy, "one frame of each identifier (M6)");
                    self.at_bus.push((token, frame.raw_id()));
                }
                Some(Effect::Bus(BusCommand::Abort { token })) => {
                    assert!(self.at_bus.iter().any(|(known, _)| *known == token), "nothing to take back");
                }
                Some(Effect::Persist { token, kind, bytes }) => {
                    assert_eq!(token, self.handed_out + 1);
                    let sound = match kind {
                        RecordKind::Fact => codec::decode::<Record>(bytes).is_some(),
                        RecordKind::State => State::decode(bytes, &self.mesh.genesis).is_some(),
                        RecordKind::Page => bytes.split_first().is_some_and(|(page, content)| {
                            Registry::from(&self.mesh.genesis).restore_page(*page, content)
                        }),
                    };
                    assert!(sound, "a record that cannot be read");
                    self.handed_out = token;
                    self.owed.push(token);
                }
                Some(Effect::Decided(decision)) => {
                    assert!(decision.height > self.decided, "each height once, in order");
                    assert_eq!(decision.tx.encode().as_deref(), Some(&decision.bytes[..]));
                    self.decided = decision.height;
                    self.known.clear();
                }
                Some(Effect::Sign(digest)) => self.to_sign.push(digest),
                Some(Effect::CheckGrant(signed)) => self.to_check.push(signed.grant.digest()),
                Some(Effect::CheckEndorsement(endorsement, _)) => self.to_prove.push(endorsement.signature),
                Some(Effect::Agree(_) | Effect::Draw | Effect::Keep) => panic!("its keys stay"),
                Some(Effect::Sealed(..) | Effect::Report(_)) => {}
            }
        }
        panic!("more than {MANY} effects of one input");
    }

    fn answer_bus(&mut self) {
        if self.at_bus.is_empty() {
            let token = self.dice.byte().into();
            return self.handle(Input::Bus(BusEvent::Transmitted { token })); // of nobody
        }
        let at = self.dice.below(self.at_bus.len());
        let (token, _) = self.at_bus.remove(at);
        let sent = !self.dice.once_in(4);
        self.handle(Input::Bus(if sent { BusEvent::Transmitted { token } } else { BusEvent::Dropped { token } }));
    }

    fn make_durable(&mut self) {
        if self.owed.is_empty() {
            return;
        }
        let count = 1 + self.dice.below(self.owed.len());
        let token = self.owed.drain(..count).fold(0, |_, token| token);
        self.handle(Input::Persisted(token));
    }

    fn answer_signatures(&mut self) {
        let signature = Signature([self.dice.byte(); 32], [0; 32]);
        if let Some(digest) = self.to_check.pop() {
            let genuine = self.dice.flag();
            self.handle(Input::GrantChecked(digest, genuine));
        } else if let Some(signature) = self.to_prove.pop() {
            let genuine = self.dice.flag();
            self.handle(Input::EndorsementChecked(signature, genuine));
        } else if let Some(digest) = self.to_sign.pop() {
            self.handle(Input::Signed(digest, signature));
        } else if self.dice.below(8) == 0 {
            let endorsement = values::endorsement(&mut self.dice);
            self.handle(Input::Endorsement(endorsement));
        } else if self.dice.below(8) == 0 {
            let firmware = values::hash(&mut self.dice);
            self.handle(Input::Measured(firmware));
        } else {
            let mut signed = values::grant(&mut self.dice);
            signed.grant.mesh = self.mesh.genesis.mesh();
            signed.grant.issuer &= 1;
            signed.grant.not_before &= 7;
            self.handle(Input::Grant(signed));
        }
    }

    fn receive(&mut self, identifier: u32, data: &[u8]) {
        let Some(id) = id_from_raw(identifier) else { return };
        if let Ok(frame) = Frame::fd_padded(id, data) {
            self.handle(Input::Bus(BusEvent::Received { segment: 0, at_us: self.now, frame }));
        }
    }

    /// A frame that nobody has made with care, on any identifier.
    fn noise(&mut self) {
        let identifiers: Vec<u32> = self.mesh.genesis.identifiers().map(|(_, id)| id).chain([0x123]).collect();
        let identifier = self.dice.pick(&identifiers);
        let mut data = self.dice.up_to(MAX_FD);
        if self.dice.flag() && data.len() >= Prefix::LEN {
            data[..2].copy_from_slice(&self.mesh.genesis.mesh().short().to_le_bytes());
            data[2] = 1 << 4 | self.mesh.genesis.suite.code();
        }
        self.receive(identifier, &data);
    }

    /// All others have just come up.
    fn meet_all(&mut self) {
        for at in 0..self.peers.len() {
            let nonce = self.peers[at].1.nonce;
            let hello = Header::new(Kind::Hello, 1).with_nonce(nonce);
            self.send(at, hello, &Hash::NIL, &[]);
            let confirm = Header { hint: 0xFFFF, ..Header::new(Kind::Confirm, 0) };
            self.send(at, confirm, &Hash::NIL, &[]);
        }
    }

    /// A record of the endpoint.
    fn record(&mut self) {
        let header = Header {
            mesh: self.mesh.genesis.mesh().short(),
            suite: self.mesh.genesis.suite.code(),
            sender: ENDPOINT_SENDER,
            counter: self.dice.byte().into(),
            ..Header::new(Kind::Record, self.dice.byte().into())
        };
        let body = self.dice.up_to(MAX_RECORD_DATA);
        let message = bench::record(self.mesh, 0, &header, &body);
        let identifier = self.mesh.genesis.endpoints[0].identifier;
        self.carry(identifier, Kind::Record, header.counter as u8, &message);
    }

    /// All others propose one thing and vote for it.
    fn agree(&mut self) {
        let (at, state) = (self.dice.below(self.peers.len()), self.ecu.validator().state());
        let (height, parent, mesh) = (state.height() + 1, *state.head(), self.mesh.genesis.mesh());
        let (proposer, tx) = (self.peers[at].0, self.value());
        let name = decision_hash(&mesh, height, &parent, &tx);
        let header = |kind| Header::new(kind, height).hint(Some((proposer, &name)));
        self.send(at, header(Kind::Propose), &name, &tx);
        for kind in [Kind::Prevote, Kind::Precommit] {
            (0..self.peers.len()).for_each(|voice| self.send(voice, header(kind), &name, &[]));
        }
    }

    /// All others are ahead, and who is asked for the state sends one of them.
    fn catch_up(&mut self) {
        let mut ahead = self.ecu.validator().state().clone();
        let mut registry = self.ecu.validator().registry().clone();
        for _ in 0..=self.dice.below(90) {
            let tx = values::likely(&ahead, &self.mesh.genesis, &mut self.dice);
            let _ = tx.encode().map(|bytes| ahead.apply(&bytes, &tx, &mut registry));
        }
        let header = Header::new(Kind::Decided, ahead.height()).hint(Some((0, ahead.head())));
        let (digest, early) = (ahead.digest(), self.dice.flag());
        let say_so = |life: &mut Self| (0..life.peers.len()).for_each(|at| life.send(at, header, &digest, &[]));
        say_so(self);
        let asked = self.ecu.validator().state_asked_of();
        let asked = self.peers.iter().position(|(peer, _)| asked == Some(*peer));
        let at = asked.unwrap_or_else(|| self.dice.below(self.peers.len()));
        let mut buffer = vec![0; 4096];
        if let Some(body) = codec::encode(&ahead, &mut buffer) {
            let subject = hash(Domain::Body, &[body]);
            self.send(at, Header::new(Kind::State, ahead.height()).round(ME), &subject, body);
        }
        if early {
            say_so(self);
        }
    }

    /// A peer says something with the right tag: most likely what fits, now and then what does not.
    fn speak(&mut self) {
        let (at, state) = (self.dice.below(self.peers.len()), self.ecu.validator().state().clone());
        let (height, parent, mesh) = (state.height() + 1, *state.head(), self.mesh.genesis.mesh());
        let sender = self.peers[at].0;
        let kind = Kind::from_code(self.dice.byte() & 15).unwrap_or(Kind::Prevote);
        let round = if self.dice.once_in(3) { self.dice.byte() & 3 } else { 0 };
        let elsewhere = if self.dice.once_in(8) { self.dice.below(9) as u32 } else { 4 };
        let height = (height + elsewhere).saturating_sub(4);
        let header = Header::new(kind, height);
        let name = |tx: &[u8]| decision_hash(&mesh, height, &parent, tx);
        match kind {
            Kind::Hello => {
                let nonce = self.dice.byte().into();
                let boot = self.dice.byte().into();
                self.send(at, Header::new(kind, boot).with_nonce(nonce), &Hash::NIL, &[]);
                self.peers[at].1.begin_session(self.mesh, nonce);
            }
            Kind::Confirm => {
                let header = Header { hint: if self.dice.once_in(4) { 0 } else { 0xFFFF }, ..header };
                let amnesiac = self.dice.once_in(4).into();
                self.send(at, header.round(amnesiac), &Hash::NIL, &[]);
            }
            Kind::Propose => {
                let tx = self.value();
                let subject = name(&tx);
                self.known.push((sender, tx.clone()));
                self.send(at, header.round(round).hint(Some((sender, &subject))), &subject, &tx);
            }
            Kind::Prevote | Kind::Ready | Kind::Precommit => {
                let choice = self.choose();
                let hash = choice.as_ref().map(|(proposer, tx)| (*proposer, name(tx)));
                let subject = hash.map_or_else(|| nil_subject(&parent), |(_, hash)| hash);
                let hint = hash.as_ref().map(|(proposer, hash)| (*proposer, hash));
                // all say the same now and then, or no height would ever end
                let voices = if self.dice.flag() { at..self.peers.len() } else { at..at + 1 };
                for voice in voices {
                    self.send(voice, header.round(round).hint(hint), &subject, &[]);
                }
            }
            Kind::Decided => {
                let digest = if self.dice.once_in(4) { values::hash(&mut self.dice) } else { state.digest() };
                let header = Header { height: height.saturating_sub(1), ..header };
                self.send(at, header.hint(Some((0, &parent))), &digest, &[]);
            }
            Kind::Value => {
                let tx = self.value();
                let decided = self.dice.flag();
                let subject = if decided { hash(Domain::Body, &[&tx]) } else { name(&tx) };
                let hint = if decided { (DECIDED_VALUE, &Hash::NIL) } else { (sender, &subject) };
                self.send(at, header.round(ME).hint(Some(hint)), &subject, &tx);
            }
            Kind::Fetch => {
                let wanted = self.choose().map(|(_, tx)| name(&tx)).unwrap_or_default();
                self.send(at, header.round(ME).hint(Some((sender, &wanted))), &Hash::NIL, &[]);
            }
            Kind::Sync => {
                let asked = self.dice.flag().into();
                self.send(at, header.round(asked), &Hash::NIL, &[]);
            }
            Kind::Grant | Kind::Seal | Kind::State | Kind::Ack | Kind::Record => {
                let body = self.body(kind, &state);
                let subject = hash(Domain::Body, &[&body]);
                self.send(at, header.round(ME), &subject, &body);
            }
        }
    }

    fn value(&mut self) -> TxBytes {
        if self.dice.once_in(8) {
            return self.dice.up_to(20).into_iter().collect();
        }
        let state = self.ecu.validator().state();
        values::likely(state, &self.mesh.genesis, &mut self.dice).encode().unwrap_or_default()
    }

    /// Something known that a vote could be for; nothing is nil.
    fn choose(&mut self) -> Option<(ValidatorIndex, TxBytes)> {
        let at = self.dice.below(self.known.len() + 1);
        self.known.get(at).cloned()
    }

    fn body(&mut self, kind: Kind, state: &State) -> Vec<u8> {
        let mut buffer = vec![0; 4096];
        let encoded = match kind {
            Kind::Grant => {
                let mut signed = values::grant(&mut self.dice);
                signed.grant.mesh = *state.mesh();
                codec::encode(&signed, &mut buffer)
            }
            Kind::State => {
                let mut other = values::state(&self.mesh.genesis, &mut self.dice);
                if self.dice.flag() {
                    let tx = values::likely(state, &self.mesh.genesis, &mut self.dice);
                    other = state.clone();
                    let _ =
                        tx.encode().map(|bytes| other.apply(&bytes, &tx, &mut self.ecu.validator().registry().clone()));
                }
                codec::encode(&other, &mut buffer)
            }
            _ => None,
        };
        match encoded {
            Some(bytes) => bytes.to_vec(),
            None => match kind.body_len() {
                Some(length) => vec![self.dice.byte(); length],
                None => self.dice.up_to(40),
            },
        }
    }

    fn send(&mut self, at: usize, header: Header, subject: &Hash, body: &[u8]) {
        let (sender, peer) = &mut self.peers[at];
        let again = self.dice.once_in(32);
        peer.counter += u32::from(!again);
        let mut header = Header {
            mesh: self.mesh.genesis.mesh().short(),
            suite: self.mesh.genesis.suite.code(),
            sender: *sender,
            ..header
        };
        if header.kind != Kind::Hello {
            header.counter = peer.counter;
        }
        let mut message = peer.message(self.mesh, &header, subject, body);
        peer.transfer = peer.transfer.wrapping_add(1);
        let transfer = peer.transfer;
        if self.dice.once_in(32) {
            message = self.dice.damage(message);
        }
        let identifiers = &self.mesh.genesis.validators[usize::from(*sender)].identifiers;
        let identifier = identifiers.of(header.kind.class());
        self.carry(identifier, header.kind, transfer, &message);
    }

    /// A message on the wire: in one frame or in several, of which some may get lost.
    fn carry(&mut self, identifier: u32, kind: Kind, transfer: u8, message: &[u8]) {
        if kind.body_len().is_some() && message.len() <= MAX_FD {
            return self.receive(identifier, message);
        }
        assert!(kind == Kind::State || kind.class() == Class::Record || message.len() <= MAX_SHORT_MESSAGE + 3);
        let Some(prefix) = Prefix::parse(message) else { return };
        for payload in segments(prefix, transfer, message).into_iter().flatten() {
            if !self.dice.once_in(64) {
                self.receive(identifier, &payload);
            }
        }
    }

    /// What the ECU must not forget brings it back to the same state.
    fn end(mut self) -> Reach {
        self.prompt = true;
        self.handle(Input::Tick);
        let mut again = device_chain::validator::Validator::new(self.mesh.keyring.store(ME));
        again.install(Registry::from(&self.mesh.genesis), ME).expect("a place of the genesis");
        self.ecu.live_records(&mut |kind, bytes| {
            assert!(again.replay(kind, bytes).is_ok(), "{kind:?} cannot be replayed: {bytes:02x?}");
        });
        assert_eq!(again.state(), self.ecu.validator().state());
        assert_eq!(again.registry().root(), self.ecu.validator().registry().root());
        let counters = self.ecu.validator().counters();
        let (accepted, bad_tags) = (counters.accepted, counters.bad_tag);
        Reach { accepted, bad_tags, decided: self.decided, height: self.ecu.validator().state().height() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chance alone gets behind the tags, to decisions and to states of others: else a fuzzer would look at the door only.
    #[test]
    fn lives_reach_decisions() {
        let lives: Vec<Reach> = (0..100).map(|seed| live(&Dice::of_seed(seed).exactly(8000))).collect();
        let sum = |of: fn(&Reach) -> u64| lives.iter().map(of).sum::<u64>();
        let (accepted, bad_tags, decided) = (sum(|l| l.accepted), sum(|l| l.bad_tags), sum(|l| l.decided.into()));
        let caught_up = lives.iter().filter(|life| life.height > life.decided).count();
        println!(
            "{accepted} accepted, {bad_tags} bad tags, {decided} decisions, {caught_up} lives that took over a state"
        );
        assert!(accepted > 1000 && bad_tags > 100 && decided > 40 && caught_up > 2);
    }
}
