//! What one hostile node costs the others, as a share of the wire and as a delay of approvals: `docs/protocol.md` chapter 10. The same
//! car is driven twice, with a hostile node and with an honest one in its place, or nobody. In both a second one is silent, so
//! that all of the others are needed.

mod common;

use std::sync::LazyLock;

use can_bus::timing::BitTiming;
use common::{SECOND_US, next_block};
use device_chain::limits::MAX_HISTORY;
use ecu_node::Input;
use mesh_sim::attackers::asker::{Asker, Question};
use mesh_sim::attackers::hello_replayer::HelloReplayer;
use mesh_sim::attackers::lonely_voter::LonelyVoter;
use mesh_sim::attackers::nil_voter::NilVoter;
use mesh_sim::attackers::other_version::OtherVersion;
use mesh_sim::attackers::partial_tags::PartialTags;
use mesh_sim::attackers::proposer::{Proposer, Proposes};
use mesh_sim::attackers::unknown_voter::UnknownVoter;
use mesh_sim::attackers::voice::Voice;
use mesh_sim::attackers::{Liar, Rogue};
use mesh_sim::car::Car;
use mesh_sim::event::{Station, What};
use mesh_sim::genesis::Plan;
use mesh_sim::wire::length::Length;
use mesh_sim::workload::grant;

const N: u8 = 7;
const HOSTILE: u8 = 3;
const SILENT: u8 = 6;
/// Who wants approvals; the identifiers of the hostile node are more urgent.
const ASKER: u8 = 5;
const GATEWAY: u8 = 0;
/// By then the history is full; the hostile node begins.
const BEGIN_US: u64 = 4 * SECOND_US;
const APPROVALS: u64 = 20;
const INTERVAL_US: u64 = 100_000;
/// The longest frame of the mesh at 500k/2M.
const FRAME_US: u64 = 360;

/// Somebody hostile, or nobody.
type Hostile = (Option<Box<dyn Liar>>, Option<Box<dyn Rogue>>);

fn liar(liar: impl Liar + 'static) -> Hostile {
    (Some(Box::new(liar)), None)
}

fn rogue(rogue: impl Rogue + 'static) -> Hostile {
    (None, Some(Box::new(rogue)))
}

/// Speaks so often, once the history is full.
const fn voice(interval_us: u64) -> Voice {
    Voice::new(interval_us * 1000, BEGIN_US * 1000)
}

/// What was seen of a car.
struct Seen {
    /// Percent of the wire that others than the hostile node took, with all error frames.
    percent: f64,
    /// From asking until all honest ones have decided, us, sorted.
    took_us: Vec<u64>,
}

impl Seen {
    fn median_us(&self) -> u64 {
        self.took_us[self.took_us.len() / 2]
    }

    fn worst_us(&self) -> u64 {
        self.took_us[self.took_us.len() - 1]
    }
}

/// The car without anybody hostile.
static HONEST: LazyLock<Seen> = LazyLock::new(|| drive((None, None)));

fn height(car: &Car) -> u32 {
    car.ecu(ASKER).expect("powered").validator().state().height()
}

fn honest(car: &Car) -> impl Iterator<Item = u8> {
    (0..N).filter(|at| *at != HOSTILE && car.ecu(*at).is_some())
}

/// A car whose history is full, at the moment when the hostile node begins.
fn started((liar, rogue): Hostile) -> Car {
    let mut car = Car::new(Plan::default(), BitTiming::FD_500K_2M);
    car.ecus[usize::from(HOSTILE)].liar = liar;
    car.let_in(rogue);
    (0..N).filter(|at| *at != SILENT).for_each(|at| car.boot(at));
    car.run_for(SECOND_US / 2);
    for _ in 0..MAX_HISTORY {
        let (end, before) = (car.now_us() + SECOND_US, height(&car));
        let block = next_block(&car);
        car.give(GATEWAY, Input::Submit(block));
        assert!(car.run_until(end, |car| {
            honest(car).all(|at| car.ecu(at).is_some_and(|ecu| ecu.validator().state().height() > before))
        }));
    }
    assert!(car.now_us() < BEGIN_US, "{} us", car.now_us());
    car.run_until(BEGIN_US, |_| false);
    car
}

/// Time for which others than the hostile node held the wire so far, ns.
fn others_ns(car: &Car) -> u64 {
    let hostile = car.events.iter().filter_map(|event| match event.what {
        What::Frame { sender: Station::Ecu(HOSTILE) | Station::Rogue, frame, .. } => {
            Some(Length::of(&frame).ns(&car.timing()))
        }
        _ => None,
    });
    car.segments.statistics().busy_ns - hostile.sum::<u64>()
}

/// Lets somebody have grants approved, one every 100 ms.
fn approvals(car: &mut Car) -> Vec<u64> {
    let mut took_us = Vec::new();
    for serial in 1..=APPROVALS {
        let (signed, begun) = (grant(car, serial), car.now_us());
        car.give(ASKER, Input::Grant(signed.clone()));
        car.run_for(INTERVAL_US / 2);
        let tx = car.ecu(ASKER).expect("powered").validator().use_of(&signed.grant.digest()).expect("checked by now");
        let asked = car.now_us();
        car.give(ASKER, Input::Submit(tx.clone()));
        let acted =
            |car: &Car, at| car.ecus[usize::from(at)].decisions.iter().rev().take(8).any(|decision| decision.tx == tx);
        assert!(car.run_until(asked + SECOND_US, |car| honest(car).all(|at| acted(car, at))), "approval {serial}");
        took_us.push(car.now_us() - asked);
        let end = begun + INTERVAL_US;
        car.run_until(end, |_| false);
    }
    took_us.sort_unstable();
    took_us
}

/// Percent of the wire that others than the hostile node take while `what` goes on.
fn share(car: &mut Car, what: impl FnOnce(&mut Car)) -> f64 {
    let (begun, before) = (car.now_ns(), others_ns(car));
    what(car);
    (others_ns(car) - before) as f64 * 100.0 / (car.now_ns() - begun) as f64
}

fn drive(hostile: Hostile) -> Seen {
    let (mut car, mut took_us) = (started(hostile), Vec::new());
    let percent = share(&mut car, |car| took_us = approvals(car));
    Seen { percent, took_us }
}

/// The hostile node costs the others at most so many percent of the wire, and an approval at worst so much more time.
fn assert_costs(name: &str, hostile: Hostile, percent: f64, delay_us: u64) {
    let (with, without) = (drive(hostile), &*HONEST);
    println!(
        "{name:<26} wire {:5.2} %, without it {:.2} %; approval {} us, at worst {} us, without it {} us, {} us",
        with.percent,
        without.percent,
        with.median_us(),
        with.worst_us(),
        without.median_us(),
        without.worst_us(),
    );
    let (more, later_us) = (with.percent - without.percent, with.worst_us().saturating_sub(without.worst_us()));
    assert!(more <= percent, "{more:.2} % more of the wire, {percent} % at most");
    assert!(later_us <= delay_us, "an approval {later_us} us later, {delay_us} us at most");
}

/// Each of its four identifiers may be recorded once in 32 heights: an approval may have to wait for such a height.
#[test]
fn a_flood_of_valid_proposals() {
    let flood = Proposer::new(voice(2_000), Proposes::ToAll);
    assert_costs("a flood of proposals", liar(flood), 2.0, HONEST.worst_us() + 2 * FRAME_US);
}

/// A spoiled round 0 is followed by at most one in which the hostile node itself would have to propose: 12 Δ (chapter 3, Fairness).
#[test]
fn a_proposal_for_one_receiver_at_each_height() {
    let delay_us = 12 * u64::from(Plan::default().phase_us);
    assert_costs("spoiled rounds", liar(Proposer::new(voice(1_000), Proposes::ToOne(None))), 10.0, delay_us);
}

/// The others are a quorum: at each of three steps one frame of the hostile node may stand before theirs.
#[test]
fn votes_for_nothing_or_none() {
    assert_costs("votes nil", liar(NilVoter), 1.0, 3 * FRAME_US);
    assert_costs("votes never", liar(OtherVersion), 1.0, 3 * FRAME_US);
}

#[test]
fn bad_tags_for_one_victim() {
    assert_costs("bad tags for one", liar(PartialTags { victims: 1 << GATEWAY }), 0.1, FRAME_US);
}

/// Five answer, each with two frames in 8 Δ, less urgent than everything else: one of them may be under way at each step.
#[test]
fn questions_for_a_value_without_end() {
    assert_costs("FETCH", liar(Asker::new(voice(4_000), Question::Value)), 6.0, 3 * FRAME_US);
}

/// The one named and the three behind it repeat four decisions in 8 Δ, of three frames if they are blocks.
#[test]
fn questions_for_all_decisions_without_end() {
    // as fast as they are answered, and as fast as the bus takes them
    for interval_us in [8 * u64::from(Plan::default().phase_us) + 500, 4_000] {
        let asker = Asker::new(voice(interval_us), Question::Decisions(0));
        assert_costs("SYNC, decisions", liar(asker), 27.0, 4 * FRAME_US);
    }
}

/// In a heartbeat one state, and DECIDED of everybody.
#[test]
fn questions_for_the_state_without_end() {
    assert_costs("SYNC, state", liar(Asker::new(voice(4_000), Question::State)), 6.0, 4 * FRAME_US);
}

/// Each asks for one in 4 Δ, and says CONFIRM to whom it has no session with four times a heartbeat.
#[test]
fn votes_for_unknown_values_by_somebody_without_keys() {
    let ids = Plan::default().genesis().validators.iter().map(|entry| entry.identifiers.vote).collect();
    let delay_us = 4 * u64::from(Plan::default().phase_us);
    assert_costs("votes for unknown values", rogue(UnknownVoter::new(ids, 6_000_000, BEGIN_US * 1000)), 12.0, delay_us);
}

/// Six say CONFIRM four times a heartbeat, less urgent than votes and proposals.
#[test]
fn hellos_replayed_by_somebody_without_keys() {
    let replayer = HelloReplayer::new(1_100_000, BEGIN_US * 1000);
    assert_costs("HELLOs replayed", rogue(replayer), 9.0, 6 * FRAME_US);
}

/// L7: an empty height in 64 Δ, later less often, with a round or two of votes. Here the silent one is back: without the gateway it is needed.
#[test]
fn a_lonely_voter_while_the_gateway_is_away() {
    let share = |lonely: Hostile| {
        let mut car = started(lonely);
        car.boot(SILENT);
        car.run_for(SECOND_US);
        car.crash(GATEWAY);
        let before = height(&car);
        (share(&mut car, |car| car.run_for(20 * SECOND_US)), height(&car) - before)
    };
    let (with, without) = (share(liar(LonelyVoter::new(voice(INTERVAL_US)))), share((None, None)));
    println!(
        "a lonely voter wire {:.2} %, without it {:.2} %; {} heights instead of {}",
        with.0, without.0, with.1, without.1
    );
    assert!((without.1 + 4..20 * SECOND_US as u32 / (64 * 7_700)).contains(&with.1), "{} heights", with.1);
    assert!(with.0 - without.0 < 2.0);
}
