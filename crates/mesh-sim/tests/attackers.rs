//! Each attacker does what it says, and the car decides all the same.

use can_bus::frame::id_from_raw;
use can_bus::timing::BitTiming;
use device_chain::validator::{Counters, Report};
use device_chain::wire::Header;
use ecu_node::Input;
use mesh_sim::attackers::colluders::Colluder;
use mesh_sim::attackers::conspirators::{Conspirator, Trace};
use mesh_sim::attackers::equivocator::Equivocator;
use mesh_sim::attackers::flooder::Flooder;
use mesh_sim::attackers::impersonator::Impersonator;
use mesh_sim::attackers::other_version::OtherVersion;
use mesh_sim::attackers::partial_tags::PartialTags;
use mesh_sim::attackers::replayer::{Replayer, Tape};
use mesh_sim::attackers::tag_spoiler::TagSpoiler;
use mesh_sim::attackers::two_faced_sensor::TwoFacedSensor;
use mesh_sim::attackers::withholding_proposer::WithholdingProposer;
use mesh_sim::attackers::{Liar, Rogue};
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;
use mesh_sim::workload::alarm;

const SECOND_US: u64 = 1_000_000;
/// Who lies, or whose name is abused.
const LIAR: u8 = 3;
/// At whom a lie is aimed.
const VICTIM: u8 = 1;

/// A car with a liar in place 3, or somebody without keys on its bus, that has decided four alarms.
fn attacked(liar: Option<Box<dyn Liar>>, rogue: Option<Box<dyn Rogue>>) -> Car {
    let mut car = Car::new(Plan::default(), BitTiming::FD_500K_2M);
    car.ecus[usize::from(LIAR)].liar = liar;
    (0..7).for_each(|at| car.boot(at));
    car.let_in(rogue);
    car.run_for(SECOND_US / 2);
    for class in 0..4 {
        let (before, asker) = (car.ecu(0).map(|ecu| ecu.validator().state().height()), [0, 2, 4, LIAR][class]);
        let tx = alarm(&car, asker, class);
        car.give(asker, Input::Submit(tx));
        let end = car.now_us() + 10 * SECOND_US;
        let honest = (0..7).filter(|at| *at != LIAR);
        let decided =
            |car: &Car| honest.clone().all(|at| car.ecu(at).map(|ecu| ecu.validator().state().height()) > before);
        // what a liar asks for may come to nothing
        assert!(car.run_until(end, decided) || asker == LIAR, "alarm {class}");
    }
    car
}

fn reports(car: &Car) -> Vec<usize> {
    car.ecus.iter().map(|ecu| ecu.reports.iter().filter(|report| matches!(report, Report::Met(_))).count()).collect()
}

fn counters(car: &Car, at: u8) -> Counters {
    *car.ecu(at).expect("powered").validator().counters()
}

/// Votes of the liar on the wire.
fn votes(car: &Car) -> Vec<Header> {
    let id = car.genesis.validators[usize::from(LIAR)].identifiers.vote;
    car.frames().filter(|frame| frame.raw_id() == id).filter_map(|frame| Header::parse(frame.data())).collect()
}

#[test]
fn who_votes_for_two_things_says_so_in_two_frames_of_one_count() {
    for liar in [Box::new(Equivocator) as Box<dyn Liar>, Box::new(Colluder { half: 0b0101_0101 })] {
        let car = attacked(Some(liar), None);
        let votes = votes(&car);
        let split = votes.windows(2).filter(|pair| pair[0].counter == pair[1].counter && pair[0].hint != pair[1].hint);
        assert!(split.count() > 0, "{votes:?}");
    }
}

#[test]
fn tags_are_wrong_for_the_victim_only() {
    let car = attacked(Some(Box::new(PartialTags { victims: 1 << VICTIM })), None);
    assert!(counters(&car, VICTIM).bad_tag > 0);
    assert_eq!(counters(&car, 2).bad_tag, 0);
}

#[test]
fn a_withheld_proposal_is_never_on_the_wire() {
    let car = attacked(Some(Box::new(WithholdingProposer { served: 1 << VICTIM })), None);
    let ids = car.genesis.validators[usize::from(LIAR)].identifiers;
    assert_eq!(car.frames().filter(|frame| frame.raw_id() == ids.propose).count(), 0);
    assert!(!votes(&car).is_empty(), "but voted for");
}

#[test]
fn another_version_is_silence() {
    let car = attacked(Some(Box::new(OtherVersion)), None);
    assert!(counters(&car, VICTIM).version > 0);
    assert_eq!(car.ecu(VICTIM).expect("powered").validator().peers_heard(), 5);
}

#[test]
fn a_broken_tag_of_a_copied_vote_accuses_nobody() {
    let tag_len = Plan::default().genesis().tag_len();
    let car = attacked(None, Some(Box::new(TagSpoiler { tag_len, victim: VICTIM })));
    assert!(counters(&car, VICTIM).bad_tag > 0);
    assert!(counters(&car, 2).replayed > 0, "to everybody else it is a copy");
}

#[test]
fn an_impersonated_ecu_notices() {
    let vote = Plan::default().genesis().validators[usize::from(VICTIM)].identifiers.vote;
    let identifier = id_from_raw(vote).expect("an identifier");
    let car = attacked(None, Some(Box::new(Impersonator { victim: VICTIM, identifier })));
    assert!(counters(&car, VICTIM).impostor > 0);
}

#[test]
fn recordings_are_counted() {
    let mut car = attacked(None, None);
    car.let_in(Some(Box::new(Replayer::default())));
    car.run_for(5 * SECOND_US);
    let Counters { replayed, stale, .. } = counters(&car, VICTIM);
    assert!(replayed + stale > 100, "{replayed} {stale}");
}

/// DC-20, DC-22: nobody meets anybody of another car, and nobody is met anew.
#[test]
fn recordings_of_another_car_are_foreign_or_have_wrong_tags() {
    let mut other = Car::started(Plan { seed: 9, ..Plan::default() }, BitTiming::FD_500K_2M);
    other.run_for(SECOND_US);
    let tape = Tape::of(other.frames());
    let mut car = attacked(None, None);
    let met = reports(&car);
    let mesh = car.genesis.mesh().short();
    car.let_in(Some(Box::new(Replayer::foreign(tape, mesh))));
    car.run_for(2 * SECOND_US);
    assert!(counters(&car, VICTIM).bad_tag > 0 && car.ecu(VICTIM).expect("powered").counters().foreign > 0);
    assert_eq!(reports(&car), met);
}

/// V2, L4: what only half of the car has evidence of cannot be decided, or is with what the other half has; and it stops nobody.
#[test]
fn a_two_faced_sensor_stops_nobody() {
    let mut car = Car::started(Plan::default(), BitTiming::FD_500K_2M);
    let sensor = car.add_endpoint();
    car.endpoints[0].liar = Some(TwoFacedSensor::new(0b0101_0101));
    car.boot_endpoint(sensor);
    car.run_for(SECOND_US / 2);
    for class in 0..3 {
        car.sense(sensor, [7; 4].into_iter().collect());
        let tx = alarm(&car, VICTIM, class);
        car.give(VICTIM, Input::Submit(tx.clone()));
        let decided = |car: &Car| car.ecus.iter().all(|ecu| ecu.decisions.iter().any(|decision| decision.tx == tx));
        let end = car.now_us() + SECOND_US;
        assert!(car.run_until(end, decided), "alarm {class}");
    }
}

#[test]
fn a_flood_is_told_by_its_tags() {
    let flooder = Flooder::new(1_200_000, 600_000_000, 2_000_000_000);
    let mut car = attacked(None, Some(Box::new(flooder)));
    car.run_for(2 * SECOND_US);
    // on the identifier of somebody who sends at that moment, too, it destroys both frames, and so itself
    let Counters { bad_tag, stale, .. } = counters(&car, VICTIM);
    assert!(bad_tag > 0 && stale > 0, "{bad_tag} {stale}");
}

#[test]
fn twins_contradict_each_other_and_nobody_else() {
    let mut car = Car::new(Plan::default(), BitTiming::FD_500K_2M);
    let twin = car.add_twin(LIAR);
    (0..=twin).for_each(|at| car.boot(at));
    car.run_for(2 * SECOND_US);
    assert!(counters(&car, LIAR).impostor > 0 && counters(&car, twin).impostor > 0, "each hears the other");
    let tx = alarm(&car, 0, 0);
    car.give(0, Input::Submit(tx));
    car.run_for(2 * SECOND_US);
    let chains: Vec<_> = (0..7).filter(|at| *at != LIAR).map(|at| car.chain(at)).collect();
    assert!(!chains[0].is_empty() && chains.iter().all(|chain| *chain == chains[0]));
}

/// T6: whom the conspirators choose decides at once, the others of its car in later rounds, and the same.
#[test]
fn conspirators_let_one_decide_before_the_others() {
    let mut car = Car::new(Plan::default(), BitTiming::FD_500K_2M);
    let gang = [LIAR, LIAR + 1];
    for at in gang {
        let liar = Conspirator::new(gang.iter().map(|at| 1 << at).sum(), 1, &car.genesis, SECOND_US * 500);
        car.ecus[usize::from(at)].liar = Some(Box::new(liar.playing(Trace::T6)));
    }
    (0..7).for_each(|at| car.boot(at));
    car.run_for(SECOND_US);
    let honest: Vec<_> = (0..7).filter(|at| !gang.contains(at)).collect();
    let tx = alarm(&car, VICTIM, 0);
    car.give(VICTIM, Input::Submit(tx));
    // they open the next height themselves: the proposer of its round 1 is the first of them
    let second = |car: &Car, at: u8| {
        car.ecus[usize::from(at)].decisions.iter().find(|of| of.height == 2).map(|of| (of.round, of.hash))
    };
    let end = car.now_us() + 10 * SECOND_US;
    assert!(car.run_until(end, |car| honest.iter().all(|at| second(car, *at).is_some())), "all decide");
    let mut decided: Vec<_> = honest.iter().filter_map(|at| second(&car, *at)).collect();
    decided.sort_unstable_by_key(|(round, _)| *round);
    assert!(decided[0].0 == 0 && decided[1].0 > 0, "{decided:?}");
    assert!(decided.iter().all(|(_, hash)| *hash == decided[0].1), "{decided:?}");
}
