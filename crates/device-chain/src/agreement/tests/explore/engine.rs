//! What takes the steps of a node: the rules of one height alone, or ([`crate::validator`]'s tests) a whole validator.

use super::local::{Local, ME, Vote};
use super::*;

/// Most correct nodes besides the one that is stepped.
pub(crate) const MAX_OTHERS: usize = 4;
/// One thing that each of them has said, in ascending order.
pub(crate) type OfOthers = [Option<Vote>; MAX_OTHERS];
/// Nobody has said anything.
pub(super) const NOTHING: OfOthers = [None; MAX_OTHERS];

/// How many correct nodes there are besides the one that is stepped, if as many lie as may.
pub(crate) const fn correct_others(quorum: Quorum) -> usize {
    quorum.n - quorum.f - 1
}

/// What happens to a node in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Heard {
    pub(crate) others: OfOthers,
    /// All say the same: the rules compare numbers of voters for one thing.
    pub(crate) liars: Option<Vote>,
    pub(crate) proposal: Option<ValueId>,
    /// Which wait is over: for a proposal, for prevotes, for precommits.
    pub(crate) wait: Option<usize>,
    /// Somebody who votes after this node has decided asks for its help (L6).
    pub(crate) helps: bool,
}

/// Takes steps of one of the correct nodes. What it does in rounds from `rounds` on is `None`: nobody looks there.
pub(crate) trait Engine {
    /// How many are enough, of those who vote.
    fn quorum(&self) -> Quorum;

    /// A height begins.
    fn beginning(&self) -> Local;

    /// It hears votes, then a proposal of its round, and a wait of it is over. What it can be then: with its power or, from the
    /// second on, as it comes back when that goes in the middle of what it does (P1, P4).
    fn hears(&self, node: &Local, heard: &Heard, rounds: Round) -> StdVec<Option<Local>>;

    /// It believes f + 1 who have decided this: a correct one and the liars (C5). What it can be then, as above.
    fn believes(&self, node: &Local, id: ValueId, rounds: Round) -> StdVec<Option<Local>>;

    /// It loses power and comes back with what its journal holds.
    fn loses_power(&self, node: &Local, rounds: Round) -> Option<Local>;

    /// What else may happen to it that takes nobody else.
    fn suffers(&self, _: &Local, _: Round) -> StdVec<Option<Local>> {
        StdVec::new()
    }
}

/// The rules, without a validator around them.
impl Engine for Quorum {
    fn quorum(&self) -> Quorum {
        *self
    }

    fn beginning(&self) -> Local {
        let view = Local::default();
        stepped(&view, view.node(*self), 1).expect("round 0")
    }

    fn hears(&self, view: &Local, heard: &Heard, rounds: Round) -> StdVec<Option<Local>> {
        let mut node = view.node(*self);
        let others = heard.others.into_iter().rev().take(correct_others(*self));
        let voters = others.chain(core::iter::repeat_n(heard.liars, self.f));
        for (voter, vote) in (ME + 1..).zip(voters).filter_map(|(voter, vote)| Some((voter, vote?))) {
            node.on_vote(vote.kind(), vote.round(), voter, vote.value(), &mut Actions::new());
        }
        if let Some(id) = heard.proposal {
            let proposer = if node.round == 0 { ME } else { node.proposer(node.round) };
            node.on_proposal(node.round, proposer, id);
        }
        if let Some(wait) = heard.wait {
            end_wait(&mut node, wait, START);
        }
        let done = run(&mut node, START, heard.helps);
        let cut = |records: usize| {
            let torn = view.after(&node, &done[..records], rounds)?;
            let decided = done[..records].iter().fold(view.decided, |before, action| match *action {
                Action::Decided(round, id) => Some((round, id)),
                _ => before,
            });
            let torn = torn.having_decided(view, decided);
            self.loses_power(&torn, rounds)
        };
        core::iter::once(view.after(&node, &done, rounds)).chain((1..done.len()).map(cut)).collect()
    }

    fn believes(&self, view: &Local, id: ValueId, rounds: Round) -> StdVec<Option<Local>> {
        let mut node = view.node(*self);
        node.adopt(id);
        std::vec![stepped(view, node, rounds)]
    }

    fn loses_power(&self, view: &Local, rounds: Round) -> Option<Local> {
        let mut node = Local::default().node(*self);
        for vote in view.lasting.iter() {
            node.restore_vote(vote.kind(), vote.round(), vote.value());
        }
        view.decided.into_iter().for_each(|(_, id)| node.adopt(id));
        stepped(view, node, rounds)
    }
}

fn stepped(view: &Local, mut node: Instance, rounds: Round) -> Option<Local> {
    let done = run(&mut node, START, false);
    view.after(&node, &done, rounds)
}

/// A wait is over, also one that has not begun.
pub(crate) fn end_wait(node: &mut Instance, wait: usize, now: Micros) {
    let waits = [&mut node.propose_until, &mut node.prevote_until, &mut node.precommit_until];
    if let Some(wait) = waits.into_iter().nth(wait) {
        (*wait, node.news) = (Some(now), true);
    }
}

/// Lets a node do what it can.
pub(super) fn run(node: &mut Instance, now: Micros, helps: bool) -> StdVec<Action> {
    let mut done = StdVec::new();
    loop {
        let mut actions = Actions::new();
        node.progress(now, &mut actions);
        if helps && !actions.is_full() {
            node.help(&mut actions);
        }
        done.extend(actions.iter().copied());
        if !actions.is_full() {
            return done;
        }
    }
}
