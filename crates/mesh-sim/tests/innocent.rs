//! Nobody innocent is expelled: for ten minutes a rogue without keys does to one ECU what it can. CAN names no sender, so what comes
//! on an identifier accuses nobody (C1, DC-44), and who was kept silent comes back (DC-35).

mod common;

use can_bus::frame::id_from_raw;
use can_bus::timing::BitTiming;
use common::{GATEWAY, SECOND_US, approve, next_block};
use device_chain::tx::Transaction;
use ecu_node::Input;
use mesh_sim::attackers::Rogue;
use mesh_sim::attackers::flooder::Flooder;
use mesh_sim::attackers::hello_replayer::HelloReplayer;
use mesh_sim::attackers::impersonator::Impersonator;
use mesh_sim::attackers::replayer::Replayer;
use mesh_sim::attackers::tag_spoiler::TagSpoiler;
use mesh_sim::car::Car;
use mesh_sim::ecu::SimEcu;
use mesh_sim::genesis::Plan;
use mesh_sim::oracle::Oracle;
use mesh_sim::workload::grant;

const TIMING: BitTiming = BitTiming::FD_500K_2M;
const VICTIM: u8 = 3;
/// Of each kind of attack, six in all.
const ATTACK_US: u64 = 100 * SECOND_US;

/// A car under attack, and somebody who watches.
struct Attack {
    car: Car,
    oracle: Oracle,
    grants: u64,
    approved: u64,
}

impl Attack {
    /// The gateway uses a grant; whether all but the victim have decided that within a second.
    fn approves(&mut self) -> bool {
        let signed = grant(&self.car, self.grants);
        let digest = signed.grant.digest();
        self.car.give(GATEWAY, Input::Grant(signed));
        self.car.run_for(SECOND_US / 2);
        let Ok(tx) = self.car.ecu(GATEWAY).expect("powered").validator().use_of(&digest) else { return false };
        self.car.give(GATEWAY, Input::Submit(tx.clone()));
        let has_decided = |ecu: &SimEcu| ecu.decisions.iter().any(|decision| decision.tx == tx);
        let all = |car: &Car| (0..).zip(&car.ecus).all(|(at, ecu)| at == VICTIM || has_decided(ecu));
        let end = self.car.now_us() + SECOND_US;
        self.car.run_until(end, all)
    }

    /// A grant is used, and a block closed, every ten seconds; both may fail now.
    fn goes_on(&mut self, us: u64) {
        let end = self.car.now_us() + us;
        while self.car.now_us() < end {
            self.grants += 1;
            self.approved += u64::from(self.approves());
            let block = next_block(&self.car);
            self.car.give(GATEWAY, Input::Submit(block));
            let next = (self.car.now_us() + 10 * SECOND_US).min(end);
            self.car.run_until(next, |_| false);
            for event in self.car.events.drain(..) {
                assert_eq!(self.oracle.see(&event), Ok(()));
            }
        }
    }
}

/// What a rogue does to the victim, one thing after the other; `None` drives it to bus-off, again and again.
fn attacks(car: &Car) -> [(&'static str, Option<Box<dyn Rogue>>); 6] {
    let vote = car.genesis.validators[usize::from(VICTIM)].identifiers.vote;
    let identifier = id_from_raw(vote).expect("an identifier");
    let now_ns = car.now_ns();
    let rogue = |rogue: Box<dyn Rogue>| Some(rogue);
    [
        ("forges", rogue(Box::new(Impersonator { victim: VICTIM, identifier }))),
        ("spoils tags", rogue(Box::new(TagSpoiler { tag_len: car.genesis.tag_len(), victim: VICTIM }))),
        ("replays", rogue(Box::<Replayer>::default())),
        ("replays HELLO", rogue(Box::new(HelloReplayer::new(1_100_000, now_ns)))),
        ("floods", rogue(Box::new(Flooder::new(1_200_000, now_ns, u64::MAX)))),
        ("drives to bus-off", None),
    ]
}

#[test]
#[ignore = "minutes: scripts/prove innocent"]
fn ten_minutes_of_a_rogue_cost_nobody_its_place() {
    let car = Car::started(Plan::default(), TIMING);
    let oracle = Oracle::new(&car, TIMING, 0);
    let mut attack = Attack { car, oracle, grants: 0, approved: 0 };
    let all = attack.car.ecu(GATEWAY).expect("powered").validator().state().members();
    for (what, rogue) in attacks(&attack.car) {
        if rogue.is_none() {
            attack.car.noise.borrow_mut().jammed = attack.car.stations_of(VICTIM);
        }
        attack.car.let_in(rogue);
        let (grants, approved) = (attack.grants, attack.approved);
        attack.goes_on(ATTACK_US);
        println!("{what}: {} of {} approved", attack.approved - approved, attack.grants - grants);
    }
    attack.car.let_in(None);
    attack.car.noise.borrow_mut().jammed = 0;
    attack.goes_on(60 * SECOND_US);

    let car = &mut attack.car;
    for at in 0..7 {
        let state = car.ecu(at).expect("powered").validator().state();
        assert_eq!(state.members(), all, "ecu{at}");
    }
    let changes = |tx: &Transaction| matches!(tx, Transaction::Suspend { validator } if *validator != VICTIM);
    assert!(
        !car.ecus[0].decisions.iter().any(|decision| changes(&decision.tx)),
        "only who was kept silent was suspended"
    );
    assert!(!car.ecus[0].decisions.iter().any(|decision| matches!(decision.tx, Transaction::Readmit { .. })));
    assert!(attack.approved > 0);
    car.crash(5);
    car.crash(6);
    assert!(approve(car, attack.grants + 1).is_some(), "the victim is one of the five that are left");
}
