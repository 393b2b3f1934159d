//! The rules explored exhaustively: every schedule, every loss, every lie and every power cut, by the production
//! [`Instance`].
//!
//! A mesh with as many liars as it may have. A correct node hears votes, proposals and what others have decided (C5), its time runs out,
//! it is asked for help (L6), it loses power, also in the middle of what it does. What makes it finite, and why nothing is lost by it:
//!
//! - **No clock.** Each wait may be over at any moment, a wait for votes also before it has begun. That is more than any clock can do.
//! - **No wire.** What a correct node has once said each other one may hear at any later time, once, often or never (M4). So
//!   losing, delaying and reordering need no steps of their own.
//! - **Liars have no state.** At any node, at any moment, they have said whatever is worst there, another thing than a moment
//!   before and than to others: equivocation, tags that are right for few, and old votes are all in it. All say the same: the
//!   rules compare numbers of voters for one thing.
//! - **Votes for nil have no state either.** They only end waits, which may be over anyway: whoever needs one of a correct node has
//!   heard it. One that is cast counts only in the round in which it stands for the vote that is not cast.
//! - **Proposals come from everywhere**, any value to any node in any round, as of a proposer that lies.
//! - **Nothing heard is kept** between two steps ([`local::Local`]), for it can be heard again: what needs it hears it in the step
//!   that needs it. A node does nothing that more votes would forbid; where it could have done two things it does either.
//! - **One thing at a time** is what it hears in one step ([`moves`]): of each voter one vote, all for one value in one round.
//! - **Who has decided gives all its help at once** ([`local::Local::generous`]), where agreement is looked for: others can hear
//!   no less than of a real one.
//! - **Correct nodes are alike**, for proposals come from everywhere: of states that differ in who is who one is looked at.
//!   P and Q are alike, too: no vote of one voter in one step is for both.
//! - **Two values.** Who decides two things has decided two values; a third adds none (C1, C2 and L1 compare votes for
//!   one value with all others).
//!
//! That this leaves nothing out is tried by storms that keep everything ([`storms`]). Whether a node counts a voter twice only they
//! can tell. Steps are taken by the rules alone ([`engine`]) or by whole validators (`validator::tests::explore`).
//!
//! Rounds are bounded: what would enter a later one is not followed.

mod calm;
pub(crate) mod engine;
pub(crate) mod local;
pub(crate) mod moves;
mod storms;
mod views;
pub(crate) mod world;

use std::vec::Vec as StdVec;

use super::mesh::Mesh;
use super::*;
use crate::flaw::Flaw;
use world::{Must, World};

const FOUR: Quorum = Quorum::full(4);

#[test]
fn two_rounds_agree() {
    assert_eq!(World::<_, 3>::explore(FOUR, 2, Must::Agree), None);
}

#[test]
fn two_rounds_end() {
    assert_eq!(World::<_, 3>::explore(FOUR, 2, Must::End(256)), None);
}

#[test]
#[ignore = "minutes: scripts/prove"]
fn two_rounds_end_from_more_of_them() {
    assert_eq!(World::<_, 3>::explore(FOUR, 2, Must::End(16)), None);
}

#[test]
#[ignore = "minutes: scripts/prove"]
fn three_rounds_agree() {
    assert_eq!(World::<_, 3>::explore(FOUR, 3, Must::Agree), None);
}

/// Five of seven are correct.
#[test]
fn one_round_of_seven_agrees() {
    assert_eq!(World::<_, 4>::explore(Quorum::full(5), 1, Must::Agree), None);
    assert_eq!(World::<_, 5>::explore(Quorum::full(7), 1, Must::Agree), None);
}

#[test]
#[ignore = "minutes: scripts/prove"]
fn two_rounds_of_seven_agree() {
    assert_eq!(World::<_, 4>::explore(Quorum::full(5), 2, Must::Agree), None);
    assert_eq!(World::<_, 5>::explore(Quorum::full(7), 2, Must::Agree), None);
}

/// Without this rule a schedule is found that breaks what it is for.
fn is_needed(flaw: Flaw, rounds: Round, must: Must) {
    assert_ne!(flaw.during(|| World::<_, 3>::explore(FOUR, rounds, must)), None, "{flaw:?}");
}

#[test]
fn each_rule_is_needed() {
    is_needed(Flaw::SmallQuorum, 1, Must::Agree);
    is_needed(Flaw::LockForgotten, 2, Must::Agree);
    is_needed(Flaw::PrevotesForgotten, 2, Must::Agree);
    is_needed(Flaw::FewReadies, 3, Must::Agree);
    is_needed(Flaw::ProofFromAll, 1, Must::End(1));
    is_needed(Flaw::PolkaCertifies, 2, Must::End(1));
    is_needed(Flaw::DecidedLeave, 1, Must::End(1));
}

#[test]
#[ignore = "minutes: scripts/prove"]
fn these_rules_are_needed_too() {
    is_needed(Flaw::ReadiesForgotten, 2, Must::End(1));
    is_needed(Flaw::OldProofUnlocks, 3, Must::Agree);
}
