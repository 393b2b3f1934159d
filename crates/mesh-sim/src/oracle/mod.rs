//! The oracle: what must hold whatever happens, judged by somebody outside who hears the wire, sees what ECUs do and
//! knows all keys.
//!
//! It shares with the ECUs the codecs and the MAC primitive, which have their own tests against standards. Hashes, tags,
//! trees, votes and chain rules it works out itself.

pub mod accused;
pub mod agreement;
pub mod bounds;
pub mod chain;
mod hashing;
pub mod marks;
pub mod members;
pub mod orders;
pub mod quiet;
pub mod quorum;
pub mod records;
pub mod sessions;
pub mod validity;
pub mod votes;
pub mod world;

use can_bus::timing::BitTiming;

use crate::car::Car;
use crate::event::Event;
use marks::Marks;
use world::World;

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, ns.
    pub at_ns: u64,
    /// What was broken.
    pub invariant: &'static str,
    /// How.
    pub what: String,
}

/// One thing that must hold.
pub trait Invariant {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Sees what has happened; `world` knows it already.
    ///
    /// # Errors
    /// What should not have been.
    fn see(&mut self, world: &World, event: &Event) -> Result<(), String>;
}

/// All invariants, and which rules were seen at work.
pub struct Oracle {
    world: World,
    invariants: Vec<Box<dyn Invariant>>,
    marks: Marks,
}

impl Oracle {
    /// An oracle for a car of which the ECUs with a bit in `dishonest` need not keep any rule.
    #[must_use]
    pub fn new(car: &Car, timing: BitTiming, dishonest: u16) -> Self {
        Self {
            world: World::new(&car.genesis, dishonest),
            invariants: vec![
                Box::new(agreement::Agreement::default()),
                Box::new(members::MembersKeep::new(&car.genesis)),
                Box::new(chain::Chain::default()),
                Box::new(validity::Validity::new(&car.genesis)),
                Box::new(orders::Orders::new(&car.genesis)),
                Box::new(records::Records::default()),
                Box::new(votes::OneVote::default()),
                Box::new(quorum::QuorumOfVotes::new(&car.keyring, &car.genesis)),
                Box::new(sessions::OneSession::default()),
                Box::new(accused::NobodyAccused),
                Box::new(bounds::BusShare::new(timing)),
            ],
            marks: Marks::default(),
        }
    }

    /// Sees an event.
    ///
    /// # Errors
    /// The first invariant that it breaks.
    pub fn see(&mut self, event: &Event) -> Result<(), Violation> {
        self.world.learn(event);
        self.marks.see(&self.world, event);
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.see(&self.world, event) {
                return Err(Violation { at_ns: event.at_ns, invariant: invariant.name(), what });
            }
        }
        Ok(())
    }

    /// Looks at what the honest ECUs themselves have counted.
    ///
    /// # Errors
    /// One has counted more impostors than there were.
    pub fn look(&mut self, car: &Car) -> Result<(), Violation> {
        let honest = (0..).zip(&car.ecus).filter(|(at, _)| self.world.is_honest(*at));
        for (at, validator) in honest.filter_map(|(at, ecu)| Some((at, ecu.pump()?.validator()))) {
            let counters = validator.counters();
            self.marks.look(counters, validator.workings());
            let (counted, heard) = (counters.impostor, self.world.impostors(at));
            if counted > heard {
                let what = format!("ecu{at} counts {counted} frames of impostors and can have heard {heard}");
                return Err(Violation { at_ns: car.now_ns(), invariant: "counters", what });
            }
        }
        Ok(())
    }

    /// Which rules were seen at work, and how often.
    #[must_use]
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What it knows.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }
}
