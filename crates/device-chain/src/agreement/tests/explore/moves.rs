//! Everything that one node can do next, whatever the others have said and the liar says.

use std::collections::{BTreeSet, HashSet};

use super::engine::{Engine, Heard, NOTHING, OfOthers, correct_others};
use super::local::{Local, Vote};
use super::*;

/// A step of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Move {
    /// What it needs of the other correct nodes, one vote for a value, or DECIDED, of each. What it needs besides the liars say, or
    /// time does; or it is a vote for nil.
    pub(super) needs: OfOthers,
    pub(super) to: Local,
}

impl Move {
    fn needs_no_more_than(&self, other: &Self) -> bool {
        are_met(&self.needs, &other.needs, |given, need| *given == Some(need))
    }

    /// Whether the others have said what it needs.
    pub(super) fn is_possible(&self, others: &[&Local]) -> bool {
        have_said(&self.needs, others)
    }
}

/// The same of the needs alone.
pub(super) fn have_said(needs: &[Option<Vote>], others: &[&Local]) -> bool {
    are_met(needs, others, |node, need| node.has_said(need))
}

/// Whether each need is met by another one of these.
fn are_met<T: Copy>(needs: &[Option<Vote>], by: &[T], meets: impl Fn(&T, Vote) -> bool + Copy) -> bool {
    let Some((first, rest)) = needs.split_first() else { return true };
    let Some(need) = *first else { return are_met(rest, by, meets) };
    (0..by.len()).filter(|at| meets(&by[*at], need)).any(|at| {
        let left: StdVec<T> = by.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, left)| *left).collect();
        are_met(rest, &left, meets)
    })
}

/// The moves of a node. `kept` says what is kept of a view.
pub(crate) fn moves(node: &Local, engine: &impl Engine, rounds: Round, kept: impl Fn(Local) -> Local) -> StdVec<Move> {
    let mut found: HashSet<Move> = HashSet::new();
    let mut find = |needs: OfOthers, outcomes: StdVec<Option<Local>>| {
        found.extend(outcomes.into_iter().flatten().map(|to| Move { needs: sorted(needs), to: kept(to) }));
    };
    find(NOTHING, std::vec![engine.loses_power(node, rounds)]);
    find(NOTHING, engine.suffers(node, rounds));
    for id in [0, 1].into_iter().filter(|_| node.decided.is_none()) {
        find([Some(Vote::decided(id)), None, None, None], engine.believes(node, id, rounds));
    }
    for heard in all(correct_others(engine.quorum()), rounds, node.decided.is_some()) {
        let outcomes = engine.hears(node, &heard, rounds);
        find(heard.others.map(|vote| vote.filter(|vote| vote.value().is_some())), outcomes);
    }
    found.retain(|step| step.to != *node);
    let mut found: StdVec<_> = found.into_iter().collect();
    // what needs more for the same is no other move
    let all = found.clone();
    let covers =
        |less: &Move, more: &Move| less.to == more.to && less.needs != more.needs && less.needs_no_more_than(more);
    found.retain(|step| !all.iter().any(|other| covers(other, step)));
    found.sort_unstable(); // the same each time
    found
}

/// All that may happen to a node in one step. What it hears in one step are votes for one thing in one round: the rules never
/// look at others together (C2, C3, L1), but for those that wait (W2) or go along (L5), and votes for nil are enough for that. A proposal is of
/// that thing; where one comes no wait is over. Who of the other correct nodes has said what does not matter.
fn all(others: usize, rounds: Round, may_help: bool) -> StdVec<Heard> {
    let mut all = StdVec::new();
    for (round, value) in (0..rounds).flat_map(|round| [None, Some(0), Some(1)].map(|value| (round, value))) {
        let votes = Vote::all(rounds).filter(|vote| (vote.round(), vote.value()) == (round, value)).map(Some);
        let votes: StdVec<_> = core::iter::once(None).chain(votes).collect();
        let events = [None, Some(0), Some(1)]
            .into_iter()
            .filter(|proposal| value.is_none() || proposal.is_none() || *proposal == value);
        let events = events.flat_map(|proposal| {
            let waits =
                [None, Some(0), Some(1), Some(2)].into_iter().filter(move |wait| proposal.is_none() || wait.is_none());
            waits.map(move |wait| (proposal, wait))
        });
        for others in multisets(&votes, others) {
            for liars in &votes {
                for (proposal, wait) in events.clone() {
                    for helps in [false, true].into_iter().take(1 + usize::from(may_help)) {
                        all.push(Heard { others, liars: *liars, proposal, wait, helps });
                    }
                }
            }
        }
    }
    all
}

/// All that so many can have said, in ascending order.
fn multisets(votes: &[Option<Vote>], others: usize) -> BTreeSet<OfOthers> {
    let mut all = BTreeSet::from([NOTHING]);
    for _ in 0..others {
        let one_more = |said: &OfOthers| {
            let [_, rest @ ..] = *said; // who has said nothing comes first
            votes.iter().map(move |vote| sorted([*vote, rest[0], rest[1], rest[2]])).collect::<StdVec<_>>()
        };
        let more: StdVec<OfOthers> = all.iter().flat_map(one_more).collect();
        all.extend(more);
    }
    all
}

fn sorted(mut votes: OfOthers) -> OfOthers {
    votes.sort_unstable();
    votes
}
