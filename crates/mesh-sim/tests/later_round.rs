//! What a round after the first costs, on an idle 500k/2M bus. The figures of ADR 10 come from here.

use can_bus::timing::BitTiming;
use device_chain::tx::Transaction;
use device_chain::wire::{Header, Kind};
use ecu_node::Input;
use mesh_sim::car::Car;
use mesh_sim::genesis::Plan;

const SECOND_US: u64 = 1_000_000;
const RIVALS: [u8; 2] = [1, 5];

#[test]
fn a_later_round_costs_each_three_votes() {
    let mut car = Car::started(Plan::default(), BitTiming::FD_500K_2M);
    car.run_for(SECOND_US);
    // two propose at once, and four hear the one, three the other: nobody has a quorum in round 0
    let ids = RIVALS.map(|at| car.genesis.validators[usize::from(at)].identifiers);
    let proposals = ids.map(|ids| ids.propose);
    car.segments.bus_mut(0).drop_when(move |sent, receiver| {
        let first = receiver < 4;
        sent.frame.raw_id() == proposals[usize::from(first)]
    });
    for (at, ids) in RIVALS.into_iter().zip(ids) {
        car.give(at, Input::Submit(Transaction::Alarm { identifier: ids.vote, count: 3 }));
    }
    let end = car.now_us() + SECOND_US;
    assert!(car.run_until(end, |car| (0..7).all(|at| car.ecu(at).is_some_and(|ecu| ecu.validator().round() == 1))));
    let (from, begun, busy) = (car.frames().count(), car.now_us(), car.segments.statistics().busy_ns);
    let decided = |car: &Car| car.ecus.iter().all(|ecu| !ecu.decisions.is_empty());
    assert!(car.run_until(end, decided), "the next round is enough");
    assert!(car.ecus.iter().all(|ecu| ecu.decisions[0].round == 1));

    let count = |kind| {
        let headers = car.frames().skip(from).filter_map(|frame| Header::parse(frame.data()));
        headers.filter(|header| header.kind == kind && header.height == 1 && header.round == 1).count()
    };
    let votes = [Kind::Prevote, Kind::Ready, Kind::Precommit].map(count);
    println!(
        "round 1: {votes:?} frames of PREVOTE, READY, PRECOMMIT; decided by all after {} us, {} us of bus",
        car.now_us() - begun,
        (car.segments.statistics().busy_ns - busy) / 1_000
    );
    // a vote may be said once more (M4)
    assert!(votes.iter().all(|frames| (4..=10).contains(frames)), "{votes:?}");
}
