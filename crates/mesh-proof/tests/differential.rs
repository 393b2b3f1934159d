//! A slice of `mesh-proof differential`: the agreement and an engine that is not ours say the same, but for the intended differences.

use device_chain::quorum::Quorum;
use mesh_proof::differential::{Deviation, Tally, script, shadows};
use mesh_proof::twins::Setup;

/// The first difference in so many that nothing explains.
fn first(within: u64, run: impl Fn(u64) -> Result<Tally, String>) -> Option<(u64, String)> {
    (0..within).find_map(|number| Some((number, run(number).err()?)))
}

/// One node, as it counts.
fn node(validators: usize, quorum: Quorum) -> impl Fn(u64) -> Result<Tally, String> {
    move |number| script::run(validators, quorum, number, &mut |_| {})
}

fn all(what: &str, count: u64, run: impl Fn(u64) -> Result<Tally, String>) -> Tally {
    let mut tally = Tally::default();
    for number in 0..count {
        match run(number) {
            Ok(more) => tally.add(more),
            Err(difference) => panic!("{what}, {number}: {difference}"),
        }
    }
    println!("{what}: {tally:?}");
    tally
}

#[test]
fn one_node_says_what_the_oracle_says() {
    for validators in [4, 7] {
        let tally = all(&format!("a node of {validators}"), 20_000, node(validators, Quorum::full(validators)));
        assert!(tally.decisions > 5_000 && tally.rounds > 2_000, "{tally:?}");
        let silent = Deviation::ALL.into_iter().filter(|why| !tally.deviations.contains_key(why));
        assert_eq!(silent.collect::<Vec<_>>(), [], "intended differences that do not occur explain nothing");
    }
}

#[test]
fn meshes_with_liars_decide_what_the_oracles_decide() {
    for validators in [4, 7] {
        let setup = Setup::full(validators);
        let tally = all(&format!("a mesh of {validators}"), 2_000, |number| shadows::watch(setup, number));
        assert!(tally.decisions > 2_000, "{tally:?}");
    }
}

/// DC-10: without the liars a quorum is a majority, one READY certifies, one voter takes along.
#[test]
fn a_wrong_quorum_is_seen() {
    for validators in [4, 7] {
        let found = first(1_000, node(validators, Quorum { n: validators, f: 0 }));
        println!("{validators} without liars: {found:?}");
        assert!(found.is_some());
    }
}

#[cfg(flaws)]
mod flaws {
    use device_chain::Flaw;

    use super::*;

    /// Those that show at a single node. That a polka locks and that who has decided leaves is how the oracle does it, and a READY that
    /// is forgotten is none that it knows.
    #[test]
    fn wrong_rules_are_seen() {
        for (flaw, within) in [
            (Flaw::ProofFromAll, 1_000),
            (Flaw::LockForgotten, 10_000),
            (Flaw::PrevotesForgotten, 10_000),
            (Flaw::OldProofUnlocks, 100_000),
        ] {
            let found = flaw.during(|| first(within, node(4, Quorum::full(4))));
            println!("{flaw:?}: {found:?}");
            assert!(found.is_some(), "{flaw:?} is not seen in {within} scripts");
        }
    }
}
