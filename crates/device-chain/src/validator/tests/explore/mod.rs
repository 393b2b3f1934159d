//! The same exploration with whole validators: messages with tags, journal, heights, members, amnesiacs.
//!
//! Each setting is one height of a car, from its beginning on; any node may lose its memory at any time. Why heights can be looked at
//! one by one:
//!
//! - **A height does not feel the one before**, nor the one after ([`heights_do_not_feel_each_other`]): what a node does at a
//!   height depends on nothing that it has said at others, also after a power cut. What it hears of others moves nothing at this one.
//! - **A later height needs no more of an earlier one than its decision.** Who is still at height h takes no part in h + 1. Whatever
//!   happens at two heights could also have happened one after the other: first all that ever happens at h, then what happens at
//!   h + 1 among those who got there. There some are missing (they lag), which is no more than never hearing of them.
//! - **Who has lost its memory** casts nothing at the height at which it comes to, nor at later ones up to its readmission. That
//!   decision names the nonce of its boot, so it was made after the loss; and before that it cannot have voted at a higher height, which
//!   begins with that decision. So the height behind it is one at which it has said nothing, as any other node ([`readmitted`]).

mod ecu;
mod keys;
mod step;

use std::collections::HashSet;

use super::*;
use crate::agreement::tests::explore::local::{Local, Votes};
use crate::agreement::tests::explore::moves::{Move, moves};
use crate::agreement::tests::explore::world::{Must, World};
use crate::flaw::Flaw;
use crate::types::Round;
use ecu::{Ecu, FIRST_BOOT, LATER_BOOT, values_of};

fn first_value(height: Height) -> Transaction {
    let [first, _] = values_of(height);
    first
}

/// The first height of a car of four.
fn first_height() -> Ecu {
    Ecu::after(4, &[], &[])
}

/// The second one.
fn second_height() -> Ecu {
    Ecu::after(4, &[first_value(1)], &[])
}

/// The second one of a car whose ECUs have taken over the state.
fn jumped() -> Ecu {
    second_height().jumped()
}

/// One of five is suspended, and goes on talking.
fn four_of_five() -> Ecu {
    Ecu::after(5, &[Transaction::Suspend { validator: 4 }], &[4])
}

/// Two of seven are suspended, and two of the others lie: f is held.
fn five_of_seven() -> Ecu {
    Ecu::after(7, &[6, 5].map(|validator| Transaction::Suspend { validator }), &[])
}

/// The same, and the suspended go on talking.
fn five_of_seven_and_talkers() -> Ecu {
    Ecu::after(7, &[6, 5].map(|validator| Transaction::Suspend { validator }), &[5, 6])
}

/// It may be readmitted at this height, and has no vote there.
fn being_readmitted() -> Ecu {
    let [other, _] = values_of(1);
    first_height().choosing([Transaction::Readmit { validator: 1, nonce: LATER_BOOT }, other])
}

/// It was readmitted, and may lose its memory again.
fn readmitted() -> Ecu {
    Ecu::after(4, &[Transaction::Readmit { validator: 2, nonce: FIRST_BOOT }], &[]).readmitted()
}

/// One of five may be suspended at this height.
fn suspending() -> Ecu {
    let [other, _] = values_of(1);
    Ecu::after(5, &[], &[]).choosing([Transaction::Suspend { validator: 4 }, other])
}

const SETTINGS: [fn() -> Ecu; 7] =
    [first_height, second_height, jumped, four_of_five, five_of_seven_and_talkers, being_readmitted, readmitted];

fn agree(rounds: Round) {
    for setting in SETTINGS {
        assert_eq!(World::<_, 3>::explore(setting(), rounds, Must::Agree), None);
    }
    assert_eq!(World::<_, 4>::explore(suspending(), rounds, Must::Agree), None);
}

#[test]
fn one_round_agrees() {
    agree(1);
}

#[test]
#[ignore = "minutes: scripts/prove"]
fn two_rounds_agree() {
    agree(2);
}

fn steps(view: &Local, ecu: &Ecu) -> StdVec<Move> {
    moves(view, ecu, 1, |to| to)
}

/// Whatever a node has said at the height before or will say at the next one, it takes the same steps. Tried with one in so many pairs
/// of views at the two.
fn heights_are_apart(rounds_elsewhere: Round, one_in: usize) {
    let (first, second) = (first_height(), second_height());
    let of_first: StdVec<Local> = World::<_, 3>::views(first.clone(), rounds_elsewhere);
    let decided = of_first.iter().filter(|view| view.decision() == Some(0));
    let said: HashSet<Votes> = decided.map(|view| view.said).collect();
    let mut tried = 0;
    for (here, is_first) in [(first, true), (second, false)] {
        let views = World::<_, 3>::views(here.clone(), 1).into_iter().filter(|view| view.decision() != Some(1));
        let pairs = views.flat_map(|view| said.iter().map(move |said| (view, said)));
        for (view, said) in pairs.step_by(one_in) {
            let votes = said.iter();
            let there = if is_first { here.clone().votes_later(votes) } else { here.clone().voted_before(votes) };
            assert_eq!(steps(&view, &there), steps(&view, &here), "{view:?}, {said:?}");
            tried += 1;
        }
    }
    std::println!("{tried} pairs of what a node has said at two heights: no step feels the other height");
}

#[test]
fn heights_do_not_feel_each_other() {
    heights_are_apart(1, 16);
}

#[test]
#[ignore = "minutes: scripts/prove"]
fn heights_do_not_feel_each_others_rounds() {
    heights_are_apart(2, 8);
}

/// While its journal is behind a node does what it would have done, later.
#[test]
fn a_journal_that_is_behind_changes_nothing() {
    for view in World::<_, 3>::views(first_height(), 1) {
        assert_eq!(steps(&view, &first_height().pressed()), steps(&view, &first_height()), "{view:?}");
    }
}

/// Without this rule two nodes decide differently.
fn is_needed(flaw: Flaw, setting: fn() -> Ecu, rounds: Round) {
    assert_ne!(flaw.during(|| World::<_, 3>::explore(setting(), rounds, Must::Agree)), None, "{flaw:?}");
}

#[test]
fn each_rule_is_needed() {
    is_needed(Flaw::SentFirst, first_height, 1);
    is_needed(Flaw::OneIsBelieved, first_height, 1);
    is_needed(Flaw::Hearsay, first_height, 1);
    is_needed(Flaw::UnboundTag, first_height, 1);
    is_needed(Flaw::UnboundParent, second_height, 1);
    is_needed(Flaw::AmnesiacVotes, second_height, 1);
    is_needed(Flaw::AnyReadmission, readmitted, 1);
    is_needed(Flaw::FaultsRecounted, five_of_seven, 2);
}
