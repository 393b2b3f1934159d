//! The same exploration with whole validators: messages with tags, journal, heights, members, amnesiacs.
//!
//! Each setting is one height of a car, from its beginning on. That heights can be looked at one by one is shown, too:
//!
//! - **A height does not feel the one before**, nor the one after ([`heights_do_not_feel_each_other`]): what a node does at a
//!   height depends on nothing that it has said or heard at others, also after a power cut.
//! - **A later height needs no more of an earlier one than its decision.** Who is still at height h takes no part in h + 1, and what it
//!   hears of it changes nothing. Whatever happens at two heights could also have happened one after the other:
//!   first all that ever happens at h, then what happens at h + 1 among those who got there. There some are missing (they lag), which is
//!   no more than never hearing of them.
//! - **Who has lost its memory** casts nothing at the height at which it comes to, nor at later ones up to its readmission. That
//!   decision names the nonce of its boot, so it was made after the loss; and before that it cannot have voted at a higher height, which
//!   begins with that decision. So the height behind it is one at which it has said nothing, as any other node ([`readmitted`]).

mod ecu;

use std::collections::HashSet;

use super::*;
use crate::agreement::tests::explore::local::{Local, Votes};
use crate::agreement::tests::explore::moves::moves;
use crate::agreement::tests::explore::world::{Must, World};
use crate::flaw::Flaw;
use crate::types::Round;
use ecu::{Ecu, FIRST_BOOT, first_value};

/// The first height of a car of four, of whom any may lose their memory.
fn first_height() -> Ecu {
    Ecu::after(4, &[], &[]).forgetful()
}

/// The second one.
fn second_height() -> Ecu {
    Ecu::after(4, &[first_value(1)], &[]).forgetful()
}

/// The second one of a car whose ECUs have taken over the state.
fn jumped() -> Ecu {
    Ecu::after(4, &[first_value(1)], &[]).jumped()
}

/// One of five is suspended, and goes on talking.
fn four_of_five() -> Ecu {
    Ecu::after(5, &[Transaction::Suspend { validator: 4 }], &[4])
}

/// Two of seven are suspended, and two of the others lie: f is held.
fn five_of_seven() -> Ecu {
    Ecu::after(7, &[6, 5].map(|validator| Transaction::Suspend { validator }), &[])
}

/// It was readmitted, and may lose its memory again.
fn readmitted() -> Ecu {
    let readmission = Transaction::Readmit { validator: 2, nonce: FIRST_BOOT };
    Ecu::after(4, &[readmission], &[]).readmitted().forgetful()
}

const SETTINGS: [fn() -> Ecu; 6] = [first_height, second_height, jumped, four_of_five, five_of_seven, readmitted];

fn agree(rounds: Round) {
    for setting in SETTINGS {
        assert_eq!(World::explore(setting(), rounds, Must::Agree), None);
    }
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

#[test]
#[ignore = "minutes: scripts/prove"]
fn three_rounds_agree() {
    assert_eq!(World::explore(Ecu::after(4, &[first_value(1)], &[]), 3, Must::Agree), None);
}

/// Whatever a node has said at the height before or will say at the next one, it takes the same steps. Tried with one in so many pairs
/// of views at the two.
fn heights_are_apart(rounds_elsewhere: Round, one_in: usize) {
    let (first, second) = (Ecu::after(4, &[], &[]), Ecu::after(4, &[first_value(1)], &[]));
    let of_first: StdVec<Local> = World::views(first.clone(), rounds_elsewhere);
    let decided = of_first.iter().filter(|view| view.decision() == Some(0));
    let said: HashSet<Votes> = decided.map(|view| view.said).collect();
    let mut tried = 0;
    for (here, is_first) in [(first, true), (second, false)] {
        let views = World::views(here.clone(), 1).into_iter().filter(|view| view.decision() != Some(1));
        let pairs = views.flat_map(|view| said.iter().map(move |said| (view, said)));
        for (view, said) in pairs.step_by(one_in) {
            let votes = said.iter();
            let there = if is_first { here.clone().votes_later(votes) } else { here.clone().voted_before(votes) };
            assert_eq!(moves(&view, &there, 1), moves(&view, &here, 1), "{view:?}, {said:?}");
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

/// Without this rule two nodes decide differently.
fn is_needed(flaw: Flaw, setting: fn() -> Ecu, rounds: Round) {
    assert_ne!(flaw.during(|| World::explore(setting(), rounds, Must::Agree)), None, "{flaw:?}");
}

#[test]
fn each_rule_is_needed() {
    is_needed(Flaw::SentFirst, first_height, 1);
    is_needed(Flaw::UnboundParent, second_height, 1);
    is_needed(Flaw::AmnesiacVotes, second_height, 1);
    is_needed(Flaw::AnyReadmission, readmitted, 1);
}

#[test]
#[ignore = "minutes: scripts/prove"]
fn f_is_to_be_held() {
    is_needed(Flaw::FaultsRecounted, five_of_seven, 2);
}
