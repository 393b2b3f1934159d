//! Everything that one node can do next, whatever the others have said and the liar says.

use std::collections::HashSet;

use super::engine::{Engine, Heard};
use super::local::{Local, Vote};
use super::*;

/// A step of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Move {
    /// What it needs of the two other correct nodes, one vote for a value, or DECIDED, of each. What it needs besides the liar says, or
    /// time does; or it is a vote for nil.
    pub(super) needs: [Option<Vote>; 2],
    pub(super) to: Local,
}

impl Move {
    fn needs_no_more_than(&self, other: &Self) -> bool {
        let ([one, two], [first, second]) = (self.needs, other.needs);
        let fits = |need: Option<Vote>, given: Option<Vote>| need.is_none() || need == given;
        (fits(one, first) && fits(two, second)) || (fits(one, second) && fits(two, first))
    }

    /// Whether the two others, in one order or the other, have said what it needs.
    pub(super) fn is_possible(&self, others: [&Local; 2]) -> bool {
        have_said(self.needs, others)
    }
}

/// The same of the needs alone.
pub(super) fn have_said([one, other]: [Option<Vote>; 2], [first, second]: [&Local; 2]) -> bool {
    let has = |node: &Local, need: Option<Vote>| need.is_none_or(|vote| node.has_said(vote));
    (has(first, one) && has(second, other)) || (has(second, one) && has(first, other))
}

/// The moves of a node. Of what may happen to it only the least that moves it is tried: more can happen in the next step.
pub(crate) fn moves(node: &Local, engine: &impl Engine, rounds: Round) -> StdVec<Move> {
    let alone = engine
        .loses_power(node, rounds)
        .into_iter()
        .chain(engine.suffers(node, rounds))
        .map(|to| Move { needs: [None; 2], to });
    let believed = [0, 1].into_iter().filter(|_| node.decided.is_none()).filter_map(|id| {
        engine.believes(node, id, rounds).map(|to| Move { needs: [None, Some(Vote::decided(id))], to })
    });
    let mut found: HashSet<Move> = alone.chain(believed).collect();
    // what moves it, and all that has more in it
    let mut enough = HashSet::new();
    for heard in all(rounds, node.decided.is_some()).filter(|heard| matters(node, heard)) {
        if less(&heard).iter().any(|less| *less != heard && enough.contains(less)) {
            enough.insert(heard);
            continue;
        }
        let outcomes = engine.hears(node, &heard, rounds);
        if outcomes[0] != Some(*node) {
            enough.insert(heard);
            let mut needs = [heard.votes[0], heard.votes[1]].map(|vote| vote.filter(|vote| vote.value().is_some()));
            needs.sort_unstable();
            found.extend(outcomes.into_iter().flatten().map(|to| Move { needs, to }));
        }
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

/// All that may happen to a node, less before more. Who of the two other correct nodes has said what does not matter.
fn all(rounds: Round, may_help: bool) -> impl Iterator<Item = Heard> {
    let votes = move || core::iter::once(None).chain(Vote::all(rounds).map(Some));
    let of_correct =
        votes().flat_map(move |one| votes().filter(move |other| *other >= one).map(move |other| (one, other)));
    let of_all = of_correct.flat_map(move |(one, other)| votes().map(move |liar| [one, other, liar]));
    of_all.flat_map(move |votes| {
        let proposals = [None, Some(0), Some(1)];
        proposals.into_iter().flat_map(move |proposal| {
            [None, Some(0), Some(1), Some(2)].into_iter().flat_map(move |wait| {
                let helps = [false, true].into_iter().take(1 + usize::from(may_help));
                helps.map(move |helps| Heard { votes, proposal, wait, helps })
            })
        })
    })
}

/// The same with one thing less.
fn less(heard: &Heard) -> [Heard; 6] {
    let [one, other, liar] = heard.votes;
    [
        Heard { votes: [None, one, liar], ..*heard },
        Heard { votes: [None, other, liar], ..*heard },
        Heard { votes: [one, other, None], ..*heard },
        Heard { proposal: None, ..*heard },
        Heard { wait: None, ..*heard },
        Heard { helps: false, ..*heard },
    ]
}

/// Whether the rules ever look at these together: votes for one value in one round (C2, C3, L1), whose certificate may let a
/// proposal of it be accepted; or votes in the present round, one of them perhaps later, for which a wait began that may be
/// over (W2); or two later ones (L5).
fn matters(node: &Local, heard: &Heard) -> bool {
    let votes = || heard.votes.into_iter().flatten();
    let subject = |vote: Vote| (vote.round(), vote.value());
    let first = votes().next().map(subject);
    let is_alike = votes().all(|vote| Some(subject(vote)) == first) && first.is_none_or(|(_, value)| value.is_some());
    let later = votes().filter(|vote| vote.round() > node.round).count();
    let is_present = votes().all(|vote| vote.round() >= node.round) && (votes().count() < 3 || later < 2);
    match (heard.proposal, heard.wait) {
        (None, None) => is_alike || is_present,
        (Some(_), None) => is_alike && first.is_none_or(|(_, value)| value == heard.proposal),
        (None, Some(_)) => is_present,
        (Some(_), Some(_)) => false,
    }
}
