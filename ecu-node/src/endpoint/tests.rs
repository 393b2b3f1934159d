use device_chain::genesis::{
    EndpointEntry, Identifiers, Identity, Name, Policy, Role, Thresholds, ValidatorEntry, WIRE_VERSION,
};
use device_chain::keys::SoftKeys;
use device_chain::mac::{Key, Suite};
use device_chain::tx::Transaction;
use device_chain::types::{Hash, PublicKey};
use device_chain::validator::{Boot, Decision};

use super::*;
use crate::Ecu;

const N: u8 = 4;
const HEARTBEAT_US: u64 = 50_000;
/// Half a phase; Miri takes seconds for a step.
const STEP_US: u64 = if cfg!(miri) { 10_000 } else { 500 };

fn genesis() -> Genesis {
    let name = |at: u8| Name::try_from(["zero", "one", "two", "three", "door"][usize::from(at)]).unwrap();
    let validators = (0..N).map(|at| ValidatorEntry {
        name: name(at),
        role: if at == 0 { Role::Gateway } else { Role::Other },
        key: PublicKey([at; 32]),
        firmware: Hash::NIL,
        identifiers: Identifiers {
            vote: 0x90 + u32::from(at),
            propose: 0x98 + u32::from(at),
            control: 0xA0 + u32::from(at),
            bulk: 0x4E8 + u32::from(at),
        },
    });
    Genesis {
        version: WIRE_VERSION,
        suite: Suite::Blake2s,
        vehicle: name(4),
        made_ms: 1,
        validators: validators.collect(),
        endpoints: [EndpointEntry {
            name: name(4),
            identity: Identity::A(PublicKey([N; 32])),
            firmware: Hash::NIL,
            identifier: 0x5C0,
        }]
        .into_iter()
        .collect(),
        authorities: Vec::new(),
        policy: Policy { phase_us: 1000, heartbeat_us: HEARTBEAT_US as u32, thresholds: Thresholds::ONE },
    }
}

/// Keys of the device at `own`, validators first: a pair shares a key made from both places.
fn keys(own: u8) -> SoftKeys {
    let mut keys = SoftKeys::new(Suite::Blake2s);
    for peer in (0..=N).filter(|peer| *peer != own) {
        let device = if peer < N { Device::Validator(peer) } else { Device::Endpoint(0) };
        assert!(keys.load(device, Key::new([16 * own.min(peer) + own.max(peer); 32])));
    }
    keys
}

/// Validators and the endpoint on a wire that takes no time; flash answers at once.
struct World {
    now: Micros,
    validators: std::vec::Vec<Ecu<SoftKeys>>,
    endpoint: Endpoint<SoftKeys>,
    decisions: std::vec::Vec<Decision>,
    effects: std::vec::Vec<Effect>,
    /// Data of the endpoint's frames, as sent.
    sent: std::vec::Vec<std::vec::Vec<u8>>,
    /// What becomes of frames from validators on their way to the endpoint.
    spoil: fn(&Frame) -> Option<Frame>,
}

impl World {
    fn new(boot: u32) -> Self {
        let genesis = genesis();
        let validators = (0..N).map(|at| {
            let boot = Boot { nonce: u64::from(at) + 1 };
            let mut ecu = Ecu::new(keys(at));
            ecu.validator_mut().install(&genesis, at).unwrap();
            ecu.validator_mut().start(boot, Micros(0));
            ecu
        });
        Self {
            now: Micros(0),
            validators: validators.collect(),
            endpoint: Endpoint::new(&genesis, 0, keys(N), boot, &Hash::NIL).unwrap(),
            decisions: std::vec::Vec::new(),
            effects: std::vec::Vec::new(),
            sent: std::vec::Vec::new(),
            spoil: |frame| Some(*frame),
        }
    }

    fn submit(&mut self, data: &[u8]) {
        self.endpoint.handle(self.now, Input::Submit(Data::from_slice(data).unwrap()));
    }

    /// Runs for so many microseconds, in steps.
    fn run(&mut self, us: u64) {
        for _ in 0..us / STEP_US {
            self.now = self.now.plus(STEP_US);
            for at in 0..self.validators.len() {
                self.validators[at].handle(self.now, crate::Input::Tick);
            }
            self.endpoint.handle(self.now, Input::Tick);
            while (0..self.validators.len()).any(|at| self.poll_validator(at)) || self.poll_endpoint() {}
        }
    }

    fn broadcast(&mut self, from: Option<usize>, frame: Frame) {
        let event = BusEvent::Received { segment: 0, at_us: self.now.0, frame };
        for (_, ecu) in self.validators.iter_mut().enumerate().filter(|(at, _)| Some(*at) != from) {
            ecu.handle(self.now, crate::Input::Bus(event));
        }
        if let (Some(_), Some(frame)) = (from, (self.spoil)(&frame)) {
            let event = BusEvent::Received { segment: 0, at_us: self.now.0, frame };
            self.endpoint.handle(self.now, Input::Bus(event));
        }
    }

    fn poll_validator(&mut self, at: usize) -> bool {
        let answer = match self.validators[at].poll() {
            None => return false,
            Some(crate::Effect::Bus(BusCommand::Transmit { token, frame })) => {
                self.broadcast(Some(at), frame);
                crate::Input::Bus(BusEvent::Transmitted { token })
            }
            Some(crate::Effect::Persist { token, .. }) => crate::Input::Persisted(token),
            Some(crate::Effect::Decided(decision)) => {
                self.decisions.extend((at == 0).then_some(decision));
                return true;
            }
            Some(_) => return true,
        };
        self.validators[at].handle(self.now, answer);
        true
    }

    fn poll_endpoint(&mut self) -> bool {
        match self.endpoint.poll() {
            None => return false,
            Some(Effect::Bus(BusCommand::Transmit { token, frame })) => {
                self.sent.push(frame.data().to_vec());
                self.broadcast(None, frame);
                self.endpoint.handle(self.now, Input::Bus(BusEvent::Transmitted { token }));
            }
            Some(effect) => self.effects.push(effect),
        }
        true
    }

    fn recorded(&self) -> std::vec::Vec<u64> {
        let sequence = |effect: &Effect| match effect {
            Effect::Recorded { sequence, .. } => Some(*sequence),
            _ => None,
        };
        self.effects.iter().filter_map(sequence).collect()
    }

    fn decided(&self) -> std::vec::Vec<(u64, std::vec::Vec<u8>)> {
        let record = |decision: &Decision| match &decision.tx {
            Transaction::Record { sequence, data, .. } => Some((*sequence, data.to_vec())),
            _ => None,
        };
        self.decisions.iter().filter_map(record).collect()
    }
}

#[test]
fn records_are_decided_in_order_and_acknowledged() {
    let mut world = World::new(3);
    world.run(4 * HEARTBEAT_US);
    world.submit(b"open");
    world.submit(b"closed");
    world.run(4 * HEARTBEAT_US);
    let (first, second) = (record_sequence(3, 1), record_sequence(3, 2));
    assert_eq!(world.decided(), [(first, b"open".to_vec()), (second, b"closed".to_vec())]);
    assert_eq!(world.recorded(), [first, second]);
    assert_eq!((world.endpoint.waiting(), world.endpoint.deadline()), (0, None));
}

#[test]
#[cfg_attr(miri, ignore = "a car for seconds: minutes")]
fn a_record_is_repeated_byte_for_byte_ever_more_slowly_until_it_is_acknowledged() {
    let mut world = World::new(1);
    world.spoil = |_| None;
    world.run(4 * HEARTBEAT_US);
    world.submit(&[b'o'; MAX_RECORD_DATA]);
    world.run(16 * HEARTBEAT_US);
    assert_eq!(world.endpoint.counters().sent, 5, "after 0, 1, 3, 7 and 15 heartbeats");
    let record = |at: usize| -> std::vec::Vec<u8> {
        // but for the number of the transfer, byte 4
        world.sent[2 * at..2 * at + 2].iter().flat_map(|data| [&data[..4], &data[5..]].concat()).collect()
    };
    assert!((1..5).all(|at| record(at) == record(0)));
    assert_eq!(world.decided().len(), 1, "however often it was sent");
    assert!(world.recorded().is_empty());

    world.spoil = |frame| Some(*frame);
    world.run(32 * HEARTBEAT_US);
    assert_eq!(world.recorded(), [record_sequence(1, 1)]);
}

#[test]
#[cfg_attr(miri, ignore = "a car for seconds: minutes")]
fn one_validator_alone_or_a_wrong_tag_acknowledges_nothing() {
    let mut world = World::new(1);
    // f + 1 = 2 are needed: 1 and 2 speak at height 1, but the tag of 2 is spoilt
    world.spoil = |frame| match frame.raw_id() {
        0xA1 => Some(*frame),
        0xA2 => {
            let mut data = frame.data().to_vec();
            data[HEADER + 8] ^= u8::from(data[3] >> 4 == Kind::Ack as u8);
            Frame::fd(frame.id(), &data).ok()
        }
        _ => None,
    };
    world.run(4 * HEARTBEAT_US);
    world.submit(b"open");
    world.run(64 * HEARTBEAT_US);
    assert!(world.recorded().is_empty());
    let counters = world.endpoint.counters();
    assert!(counters.acknowledged > 0 && counters.bad_tag > 0, "{counters:?}");
    assert_eq!(world.endpoint.waiting(), 1);
}

#[test]
fn what_does_not_fit_is_given_back() {
    let mut world = World::new(1);
    for at in 0..=MAX_QUEUED as u8 {
        world.submit(&[at]);
    }
    assert_eq!(world.endpoint.poll().map(|effect| matches!(effect, Effect::Bus(_))), Some(true));
    world.submit(b"one too many");
    assert_eq!(world.endpoint.poll(), Some(Effect::Full(Data::from_slice(b"one too many").unwrap())));
}

#[test]
fn only_an_endpoint_of_the_genesis_is_one() {
    assert!(Endpoint::new(&genesis(), 1, keys(N), 1, &Hash::NIL).is_err());
}
