//! A gateway that holds its own keys and lies. The other six are the ECUs that ship, on a simulated bus.

use can_bus::Frame;
use can_bus::frame::id_from_raw;
use can_bus::segment::{Prefix, Reassembler, segments};
use can_bus::timing::BitTiming;
use device_chain::block::{BlockHeader, Seal};
use device_chain::genesis::Genesis;
use device_chain::keys::{KeyHandle, KeyStore, SoftKeys};
use device_chain::merkle::leaf;
use device_chain::tx::{Transaction, decision_hash};
use device_chain::types::{Hash, Micros, Signature, ValidatorIndex};
use device_chain::validator::Mode;
use device_chain::wire::{self, Header, Kind};
use ecu_node::Input;
use event_chain::block::Block;
use event_chain::build::BlockBuilder;
use event_chain::merkle;
use event_chain::record::RecordKind;
use mesh_sim::car::Car;
use mesh_sim::event::What;
use mesh_sim::genesis::Plan;
use mesh_sim::workload::grant;
use vehicle_gateway::chain::{self, Chain, Effect, Now};

const GATEWAY: ValidatorIndex = 0;
const OTHERS: std::ops::Range<ValidatorIndex> = 1..7;
const SECOND_US: u64 = 1_000_000;

/// The gateway's keys in the hands of a liar, who sends what no gateway of ours would.
struct Liar {
    genesis: Genesis,
    keys: SoftKeys,
    counter: u32,
}

impl Liar {
    /// Takes over a car's gateway after ignition.
    fn take_over(car: &mut Car) -> Self {
        car.crash(GATEWAY);
        let mut keys = car.keyring.store(GATEWAY);
        let booted = |at| {
            car.events.iter().find_map(|event| match event.what {
                What::Booted { ecu, nonce, .. } if ecu == at => Some(nonce),
                _ => None,
            })
        };
        for peer in OTHERS {
            keys.derive(peer, [GATEWAY, peer].map(|at| booted(at).expect("the car has ignited")));
            keys.promote(peer);
        }
        Self { genesis: car.genesis.clone(), keys, counter: 1000 }
    }

    /// Proposes a block to the validators of whom `sees` is true; for the others the tags are wrong.
    fn propose(&mut self, car: &mut Car, header: &BlockHeader, sees: impl Fn(ValidatorIndex) -> bool) {
        let bytes = Transaction::EventBlock(header.clone()).encode().expect("it fits");
        let state = car.ecu(1).expect("powered").validator().state();
        let (mesh, parent, height) = (self.genesis.mesh(), *state.head(), state.height() + 1);
        let hash = decision_hash(&mesh, height, &parent, &bytes);
        self.counter += 1;
        let mut front = Header::new(Kind::Propose, height).hint(Some((GATEWAY, &hash)));
        (front.mesh, front.suite, front.counter) = (mesh.short(), self.genesis.suite.code(), self.counter);
        let front = front.to_bytes();
        let mut message = [&front[..], &bytes].concat();
        for peer in OTHERS {
            let tag = self.keys.tag(KeyHandle::Session(peer), &wire::tag_input(&front, &hash));
            let tag = tag.filter(|_| sees(peer)).unwrap_or_default();
            message.extend_from_slice(&tag[..self.genesis.tag_len()]);
        }
        let id = id_from_raw(self.genesis.validators[0].identifiers.propose).expect("an identifier");
        let prefix = Prefix::parse(&message).expect("long enough");
        for payload in segments(prefix, self.counter as u8, &message).expect("not too long") {
            car.inject(Frame::fd(id, &payload).expect("a length of a DLC"));
        }
    }
}

/// Seven that have met, and four approvals on the chain.
fn driven() -> Car {
    let mut car = Car::started(Plan::default(), BitTiming::FD_500K_2M);
    let met = car
        .run_until(SECOND_US, |car| (0..7).all(|at| car.ecu(at).is_some_and(|ecu| ecu.validator().peers_heard() == 6)));
    assert!(met && car.ecu(1).is_some_and(|ecu| ecu.validator().mode() == Mode::Trusted));
    for _ in 0..4 {
        approve(&mut car);
    }
    car
}

/// The mesh approves the use of a grant that validator 1 has brought.
fn approve(car: &mut Car) {
    let height = car.ecu(1).expect("powered").validator().state().height() + 1;
    let signed = grant(car, height.into());
    let usage = signed.grant.usage();
    car.give(1, Input::Grant(signed));
    car.run_for(50_000);
    car.give(1, Input::Submit(Transaction::UseGrant(usage)));
    let end = car.now_us() + SECOND_US;
    let decided = |car: &Car| (0..7).filter_map(|at| car.ecu(at)).all(|ecu| ecu.validator().state().height() == height);
    assert!(car.run_until(end, decided), "height {height}");
    car.run_for(10_000); // until it is durable everywhere
}

/// The header that an honest gateway makes of the car's decisions.
fn honest_header(car: &Car) -> BlockHeader {
    let state = car.ecu(1).expect("powered").validator().state();
    BlockBuilder::new(car.genesis.mesh()).header(state, 1_800_000_000_000)
}

/// The decisions as leaves of the tree under a header.
fn leaves(car: &Car) -> Vec<Hash> {
    car.ecus[1].decisions.iter().map(|decision| leaf(&decision.hash.0)).collect()
}

/// Validators whose seal of this header is on the wire.
fn sealed_by(car: &Car, header: &BlockHeader) -> Vec<ValidatorIndex> {
    let hash = header.hash(&car.genesis.mesh());
    let sealed = |at: &ValidatorIndex| {
        let entry = &car.genesis.validators[usize::from(*at)];
        let mut reassembler = Reassembler::<512, 2>::new();
        let bulk = car.frames().filter(|frame| frame.raw_id() == entry.identifiers.bulk);
        let mut sealed = false;
        for frame in bulk {
            let message = match Header::parse(frame.data()) {
                None => reassembler.push(frame.raw_id(), 512, frame.data()).ok().flatten(),
                Some(_) => Some(frame.data()),
            };
            let seal = message.filter(|message| Header::parse(message).is_some_and(|h| h.kind == Kind::Seal));
            let signature = seal.and_then(|message| message.get(wire::HEADER + 4..wire::HEADER + 68)?.first_chunk());
            sealed |= signature.is_some_and(|signature| {
                Seal { validator: *at, signature: Signature::from_bytes(signature) }.is_valid(&entry.key, &hash)
            });
        }
        sealed
    };
    OTHERS.filter(sealed).collect()
}

fn blocks_decided(car: &Car) -> Vec<(u32, Hash)> {
    let headers =
        OTHERS.flat_map(|at| &car.ecus[usize::from(at)].decisions).filter_map(|decision| match &decision.tx {
            Transaction::EventBlock(header) => Some((header.number, header.hash(&car.genesis.mesh()))),
            _ => None,
        });
    let mut blocks: Vec<_> = headers.collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks
}

/// No lie is decided or sealed. Each has a height of its own, for a proposer has one proposal a height; and then the same
/// hands propose an honest block, which is.
fn assert_no_seal(lies: &[fn(&Car) -> BlockHeader]) {
    let mut car = driven();
    let mut liar = Liar::take_over(&mut car);
    for lie in lies {
        let lie = lie(&car);
        liar.propose(&mut car, &lie, |_| true);
        car.run_for(3 * SECOND_US);
        assert_eq!(blocks_decided(&car), [], "{lie:?}");
        assert!(sealed_by(&car, &lie).is_empty(), "{lie:?}");
        approve(&mut car);
    }
    let honest = honest_header(&car);
    liar.propose(&mut car, &honest, |_| true);
    car.run_for(3 * SECOND_US);
    assert_eq!(sealed_by(&car, &honest), OTHERS.collect::<Vec<_>>());
}

/// A header over these leaves in place of the decisions that were made.
fn header_over(car: &Car, leaves: &[Hash]) -> BlockHeader {
    BlockHeader { tree_root: merkle::root(leaves), ..honest_header(car) }
}

#[test]
fn a_gateway_that_drops_a_decision_gets_no_seal() {
    fn without_the_second(car: &Car) -> BlockHeader {
        let mut leaves = leaves(car);
        leaves.remove(1);
        header_over(car, &leaves)
    }
    fn shorter_without_the_second(car: &Car) -> BlockHeader {
        let header = without_the_second(car);
        BlockHeader { tree_size: header.tree_size - 1, ..header }
    }
    fn without_the_last(car: &Car) -> BlockHeader {
        let leaves = leaves(car);
        let header = header_over(car, &leaves[..leaves.len() - 1]);
        BlockHeader { tree_size: header.tree_size - 1, ..header }
    }
    assert_no_seal(&[without_the_second, shorter_without_the_second, without_the_last]);
}

#[test]
fn a_gateway_that_alters_a_decision_gets_no_seal() {
    fn altered(car: &Car) -> BlockHeader {
        let mut leaves = leaves(car);
        leaves[2] = leaf(b"another decision");
        header_over(car, &leaves)
    }
    assert_no_seal(&[altered]);
}

#[test]
fn a_gateway_that_reorders_decisions_gets_no_seal() {
    fn reordered(car: &Car) -> BlockHeader {
        let mut leaves = leaves(car);
        leaves.swap(0, 3);
        header_over(car, &leaves)
    }
    assert_no_seal(&[reordered]);
}

#[test]
fn a_gateway_that_forks_gets_seals_for_one_side_at_most() {
    let mut car = driven();
    let mut liar = Liar::take_over(&mut car);
    let one = honest_header(&car);
    let other = BlockHeader { attested_count: 1, attested_root: leaf(b"only one half sees this"), ..one.clone() };
    liar.propose(&mut car, &one, |peer| peer <= 3);
    liar.propose(&mut car, &other, |peer| peer > 3);
    car.run_for(5 * SECOND_US);
    let (decided, seals) = (blocks_decided(&car), [&one, &other].map(|side| sealed_by(&car, side)));
    assert!(decided.len() <= 1, "{decided:?}");
    assert!(seals.iter().any(Vec::is_empty), "{seals:?}");

    // A second block 1 after the first is a fork, too.
    approve(&mut car);
    if decided.is_empty() {
        let again = honest_header(&car);
        liar.propose(&mut car, &again, |_| true);
        car.run_for(3 * SECOND_US);
    }
    let [(1, approved)] = blocks_decided(&car)[..] else { panic!("{:?}", blocks_decided(&car)) };
    let genesis = car.genesis.mesh().0;
    for (number, previous) in [(1, genesis), (2, genesis), (3, approved)] {
        let fork = BlockHeader { number, previous, ..honest_header(&car) };
        liar.propose(&mut car, &fork, |_| true);
        car.run_for(3 * SECOND_US);
        assert_eq!(blocks_decided(&car), [(1, approved)]);
        assert!(sealed_by(&car, &fork).is_empty(), "{fork:?}");
        approve(&mut car);
    }
}

#[test]
fn what_only_the_gateway_saw_is_marked_as_attested_by_it_alone() {
    let mut car = driven();
    let mut chain = Chain::new(car.genesis.clone(), chain::Policy::default(), Micros(0));
    let speed = RecordKind::Signal { name: "Speed.VehicleSpeed".try_into().expect("short"), value: 42.5 };
    let now = Now { at: Micros(0), unix_ms: 1_800_000_000_000, estimate_ms: None };
    for decision in &car.ecus[0].decisions {
        chain.handle(now, chain::Input::Decided(decision.height, decision.bytes.clone()));
    }
    chain.handle(now, chain::Input::Attest(speed));
    chain.handle(Now { at: Micros(2 * SECOND_US), ..now }, chain::Input::Tick);
    let header = std::iter::from_fn(|| chain.poll()).find_map(|effect| match effect {
        Effect::Submit(header) => Some(header),
        _ => None,
    });
    car.give(GATEWAY, Input::Submit(header.expect("a block is due")));
    car.run_for(SECOND_US);
    let decision = car.ecus[0].decisions.last().expect("decided");
    chain.handle(now, chain::Input::Decided(decision.height, decision.bytes.clone()));
    for (number, seal) in &car.ecus[0].seals {
        chain.handle(now, chain::Input::Seal(*number, *seal));
    }
    let block: Block = std::iter::from_fn(|| chain.poll())
        .find_map(|effect| if let Effect::Forward(block, _) = effect { Some(*block) } else { None })
        .expect("a quorum has sealed it");
    assert_eq!(block.decisions.len(), 4);
    let events = cloud_link::service::history::events_of(&block, cloud_link::wire::Finality::Final);
    let by_whom = |kind: &str| {
        let of_kind = events.iter().filter(|event| event.kind == kind);
        of_kind.map(|event| (event.attestation.as_str(), event.height)).collect::<Vec<_>>()
    };
    assert_eq!(by_whom("signal"), [("gateway-alone", None)]);
    assert_eq!(by_whom("use-grant"), (1..=4).map(|height| ("quorum", Some(height))).collect::<Vec<_>>());
}
