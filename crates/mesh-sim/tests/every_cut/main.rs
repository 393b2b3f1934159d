//! The power of a production ECU goes at every byte that its flash programs or erases in the life of a car: what it finds when it
//! is powered again is what it knew before or what it was about to know, and nothing that it has said is contradicted.
//!
//! `RINGFORT_CUTS=all` in front tears every operation in more ways; takes several times as long. What a flash holds is found the same when it is opened once more: `store.rs` beside this.

#[path = "../common/mod.rs"]
mod common;
mod life;

use std::cell::RefCell;
use std::rc::Rc;

use can_bus::timing::BitTiming;
use common::{GATEWAY, SECOND_US};
use device_chain::agreement::VoteKind;
use device_chain::genesis::Genesis;
use device_chain::keys::SoftKeys;
use device_chain::limits::MAX_MESSAGE;
use device_chain::types::{Hash, Height};
use device_chain::validator::Validator;
use device_chain::wire::Kind;
use ecu_node::Input;
use ecu_node::store::{self, Diagnosis};
use journal::{Counter, MemCounter, MemError, MemFlash, Operation, Tear};
use life::{Job, Life, N, Said, Slot, WATCHED, plan};
use mesh_sim::car::Car;
use mesh_sim::flash::{SharedCounter, SharedFlash};
use mesh_sim::workload::grant;

/// What an ECU finds when it is powered.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    boot: u32,
    amnesiac: bool,
    height: Height,
    head: Hash,
    /// Own votes of the next height, and of the last one.
    votes: Vec<(Slot, Hash)>,
    previous: Vec<(Slot, Hash)>,
}

/// Opens a copy of a flash as an ECU does at its start.
fn open(flash: &MemFlash, counter: u64, genesis: &Genesis) -> (Diagnosis, Found) {
    let ports = (SharedFlash(Rc::new(RefCell::new(flash.clone()))), SharedCounter::default());
    ports.1.clone().raise(counter).expect("memory");
    let found = open_ports(&ports, genesis);
    assert!(ports.1.value() >= counter, "the counter never goes back");
    found
}

fn open_ports(ports: &(SharedFlash, SharedCounter), genesis: &Genesis) -> (Diagnosis, Found) {
    let mut validator = Box::new(Validator::new(SoftKeys::new(genesis.suite)));
    validator.install(genesis, WATCHED).expect("in genesis");
    let opened = store::open(&mut || Ok(ports.clone()), &mut validator, &mut [0; MAX_MESSAGE]).expect("it opens");
    let height = validator.state().height();
    let votes = |height| {
        let own = validator.own_votes(height);
        own.map(|(kind, round, value)| ((height, round, Kind::from(kind) as u8), value)).collect()
    };
    let found = Found {
        boot: validator.boot(),
        amnesiac: validator.is_amnesiac(),
        height,
        head: *validator.state().head(),
        votes: votes(height + 1),
        previous: votes(height),
    };
    (opened.diagnosis, found)
}

/// As the wire names it.
fn hint(value: &Hash) -> Option<u16> {
    (*value != Hash::NIL).then(|| value.hint())
}

/// What is found after a cut lies between what was known before the job and after it.
fn check(found: &Found, diagnosis: Diagnosis, [before, after]: [&Found; 2], job: &Job) {
    assert!(found.amnesiac == before.amnesiac || found.amnesiac == after.amnesiac);
    if before.amnesiac || after.amnesiac {
        return; // it makes no promise until it is readmitted; what it says then is checked on the wire
    }
    assert!(matches!(diagnosis, Diagnosis::Intact | Diagnosis::TornTail), "{diagnosis:?}");
    assert!((before.boot..=after.boot).contains(&found.boot) && found.boot >= job.said.boot, "{}", found.boot);
    assert!((before.height..=after.height).contains(&found.height) && found.height >= job.said.decided);
    let head = if found.height == after.height { Some(&after.head) } else { job.chain.get(&found.height) };
    assert!(found.height == 0 || head == Some(&found.head), "the head of height {}", found.height);
    if found.height == before.height {
        assert!(before.votes.iter().all(|vote| found.votes.contains(vote)), "none is forgotten");
    }
    if found.height == after.height {
        assert!(found.votes.iter().all(|vote| after.votes.contains(vote)), "none is made up");
    }
    for (slot, value) in &job.said.votes {
        let own = found.votes.iter().chain(&found.previous).find(|(own, _)| own == slot).map(|(_, own)| hint(own));
        assert!(own.is_none_or(|own| own == *value), "{slot:?}: {value:04x?} was said, {own:04x?} found");
        // votes that help others along (L6) need not be remembered
        assert!(own.is_some() || slot.0 <= found.height, "{slot:?} was said and is forgotten (P1)");
    }
}

/// The car goes on from a moment at which all lost their power, one of them in the middle of a write.
struct World(Car);

impl World {
    fn go_on(&mut self, flash: &MemFlash, counter: u64, found: &Found, job: &Job) {
        let car = &mut self.0;
        for (at, (image, value)) in (0..).zip(&job.images) {
            car.crash(at);
            let (image, value) =
                if at == WATCHED { (flash.image().to_vec(), counter) } else { (image.clone(), *value) };
            let ecu = &mut car.ecus[usize::from(at)];
            ecu.flash.restore(Some(image));
            *ecu.counter.0.borrow_mut() = MemCounter::default();
            ecu.counter.raise(value).expect("memory");
            ecu.decisions.clear();
        }
        car.events.clear();
        (0..N).for_each(|at| car.boot(at));
        let validator = car.ecu(WATCHED).expect("powered").validator();
        assert!(validator.boot() > job.said.boot || found.amnesiac, "a new boot has a new number");
        assert_eq!(validator.is_amnesiac(), found.amnesiac);
        let mut precommits = job.said.votes.iter().filter(|((height, _, kind), value)| {
            *height == found.height + 1 && *kind == Kind::from(VoteKind::Precommit) as u8 && value.is_some()
        });
        if let (Some(((_, round, _), value)), false) = (precommits.next_back(), found.amnesiac) {
            let lock = validator.lock();
            let holds = lock.is_some_and(|(at, locked)| at > *round || at == *round && hint(&locked) == *value);
            assert!(holds, "precommitted {value:04x?} in round {round}, locked on {lock:?} (P2)");
        }
        // sessions with all, the memory back, everybody a member
        let whole = |car: &Car| {
            (0..N).filter_map(|at| car.ecu(at)).map(|ecu| ecu.validator()).all(|validator| {
                validator.peers_heard() == usize::from(N) - 1
                    && validator.may_vote()
                    && validator.state().members().iter().eq(0..N)
            })
        };
        let end = car.now_us() + 30 * SECOND_US;
        assert!(car.run_until(end, whole), "the car comes together");
        car.crash(N - 1); // the others are a quorum only all together
        approve(car);
        let mut said = Said { votes: job.said.votes.clone(), ..Said::default() };
        car.events.iter().for_each(|event| said.hear(event));
        for (height, hash) in (0..N).flat_map(|at| car.chain(at)) {
            assert_eq!(*job.chain.get(&height).unwrap_or(&hash), hash, "the chain at height {height}");
        }
    }
}

/// A grant that nobody has used in the life before.
fn approve(car: &mut Car) {
    let signed = grant(car, 1000);
    let digest = signed.grant.digest();
    car.vouch(signed.clone());
    car.give(GATEWAY, Input::Grant(signed));
    car.run_for(50_000);
    let tx = car.ecu(GATEWAY).expect("powered").validator().use_of(&digest).expect("checked by now");
    car.give(GATEWAY, Input::Submit(tx.clone()));
    let end = car.now_us() + 3 * SECOND_US;
    let acts = |car: &Car, at: u8| car.ecus[usize::from(at)].decisions.iter().any(|decision| decision.tx == tx);
    assert!(car.run_until(end, |car| (0..N - 1).all(|at| acts(car, at))), "they approve");
}

/// The erases of a format are cut more coarsely: the journal's own test has each byte of them.
const FORMAT_STRIDE: usize = 64;

/// In which ways an operation is torn, by turns, with the seeds of their noise.
fn tears(turn: u32, byte: u32, all: bool) -> impl Iterator<Item = (Tear, u64)> {
    const WAYS: [(Tear, u64); 6] = [
        (Tear::Prefix, 0),
        (Tear::HalfByte, 0),
        (Tear::Noise, 1),
        (Tear::Noise, 2),
        (Tear::Noise, 3),
        (Tear::Noise, 4),
    ];
    let way = (turn + byte) as usize % 3;
    let range = if all { 0..WAYS.len() } else { way..way + 1 };
    WAYS[range].iter().map(move |(tear, seed)| (*tear, seed ^ u64::from(byte) << 8))
}

#[derive(Debug, Default)]
struct Counts {
    cuts: u32,
    programs: u32,
    erases: u32,
    jobs: u32,
    torn: u32,
    amnesiac: u32,
    went_on: u32,
}

#[test]
fn a_cut_at_any_byte_that_an_ecu_writes_in_its_life_contradicts_nothing() {
    let all = std::env::var("RINGFORT_CUTS").is_ok_and(|cuts| cuts == "all");
    let (genesis, mut counts) = (plan().genesis(), Counts::default());
    let mut world = World(Car::new(plan(), BitTiming::FD_500K_2M));
    let mut on_job = |job: &Job| {
        let mut flash = job.before.clone();
        let (first, before) = open(&flash, job.counter[0], &genesis);
        let mut whole = flash.clone();
        job.operations.iter().for_each(|operation| operation.redo(&mut whole).expect("as it was done"));
        assert_eq!(whole.image(), job.images[usize::from(WATCHED)].0, "all that was done is known");
        let after = open(&whole, job.counter[1], &genesis).1;
        let mut outcomes: Vec<(Diagnosis, Found)> = Vec::new();
        let mut cut = |flash: &MemFlash, counts: &mut Counts| {
            let (diagnosis, found) = open(flash, job.counter[0], &genesis);
            check(&found, diagnosis, [&before, &after], job);
            counts.cuts += 1;
            counts.torn += u32::from(diagnosis == Diagnosis::TornTail);
            counts.amnesiac += u32::from(found.amnesiac);
            let outcome = (diagnosis, found);
            if !outcomes.contains(&outcome) {
                world.go_on(flash, job.counter[0], &outcome.1, job);
                counts.went_on += 1;
                outcomes.push(outcome);
            }
        };
        for operation in job.operations {
            let is_format = first == Diagnosis::Wiped && matches!(operation, Operation::Erase { .. });
            for byte in (0..operation.length()).step_by(if is_format && !all { FORMAT_STRIDE } else { 1 }) {
                for (tear, seed) in tears(counts.programs + counts.erases, byte, all) {
                    let mut torn = flash.clone();
                    torn.tear_as(tear, seed);
                    torn.cut_power_after(byte.into());
                    assert_eq!(operation.redo(&mut torn), Err(MemError::NoPower));
                    torn.restore_power();
                    cut(&torn, &mut counts);
                }
            }
            operation.redo(&mut flash).expect("as it was done");
            match operation {
                Operation::Program { .. } => counts.programs += 1,
                Operation::Erase { .. } => counts.erases += 1,
            }
        }
        cut(&flash, &mut counts); // all is written, and the counter not yet raised
        counts.jobs += 1;
    };
    Life::new(&mut on_job).live();
    let Counts { cuts, programs, erases, jobs, torn, amnesiac, went_on } = counts;
    println!("{cuts} cuts at {} operations ({programs} programs, {erases} erases) in {jobs} steps", programs + erases);
    println!(
        "{torn} found a torn end, {amnesiac} an amnesiac; from {went_on} different outcomes the whole car went on"
    );
    assert!(erases >= 28 && programs > 2000 && torn > 1000 && amnesiac > 500, "{counts:?}");
}

/// P5: the flash alone cannot tell, the counter beside it does.
#[test]
fn the_image_of_any_earlier_moment_is_recognised() {
    let genesis = plan().genesis();
    let mut images: Vec<(MemFlash, u64)> = Vec::new();
    let mut on_job = |job: &Job| {
        if job.counter[1] > job.counter[0] {
            images.push((job.before.clone(), job.counter[0]));
        }
    };
    let mut life = Life::new(&mut on_job);
    life.live();
    let last = life.car.ecus[usize::from(WATCHED)].counter.value();
    drop(life);
    let later = images.iter().skip(1).map(|(_, counter)| *counter).chain([last]);
    let mut stale = 0;
    for ((image, then), next) in images.iter().zip(later) {
        for now in [next, last] {
            let (diagnosis, found) = open(image, now, &genesis);
            assert!(diagnosis.is_amnesia() && found.amnesiac, "of {then}, at {now}: {diagnosis:?}");
            stale += u32::from(matches!(diagnosis, Diagnosis::Stale { .. }));
        }
    }
    println!("{} images, put back one step and a life later: {stale} times stale, else no journal", images.len());
    assert!(images.len() > 200, "{}", images.len());
}
