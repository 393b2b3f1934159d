//! One validator's view of a height, as far as it can ever matter: what of an [`Instance`] is kept between two steps.

use super::*;

/// Rounds that are looked at, at most.
pub(super) const MAX_EXPLORED: Round = 3;
/// The node that is stepped. The rules look at the place of a validator only for whose turn it is, and anybody may
/// propose anything here; so all correct nodes take their steps from the same place.
pub(super) const ME: ValidatorIndex = 0;
/// What there is to vote for, by place.
const VALUES: [Hash; 2] = [P, Q];
/// Votes that one validator can cast in a round: PREVOTE for nil, P, Q; READY for P, Q; PRECOMMIT for nil, P, Q.
const VOTES: [(VoteKind, Option<ValueId>); 8] = [
    (VoteKind::Prevote, None),
    (VoteKind::Prevote, Some(0)),
    (VoteKind::Prevote, Some(1)),
    (VoteKind::Ready, Some(0)),
    (VoteKind::Ready, Some(1)),
    (VoteKind::Precommit, None),
    (VoteKind::Precommit, Some(0)),
    (VoteKind::Precommit, Some(1)),
];
/// A time that has not come. The clock stands still: time runs out where the scheduler wants it to.
const PENDING: Option<Micros> = Some(Micros(u64::MAX));

/// A vote of some voter, by its place in [`VOTES`] and its round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Vote(u8);

impl Vote {
    pub(super) fn new(kind: VoteKind, round: Round, value: Option<ValueId>) -> Self {
        let at = VOTES.iter().position(|vote| *vote == (kind, value)).expect("two values");
        Self(round * VOTES.len() as u8 + at as u8)
    }

    /// DECIDED, as of a correct node: what it says besides its votes (C5).
    pub(super) const fn decided(value: ValueId) -> Self {
        Self(MAX_EXPLORED * VOTES.len() as u8 + value)
    }

    pub(super) fn all(rounds: Round) -> impl Iterator<Item = Self> + Clone {
        (0..rounds * VOTES.len() as u8).map(Self)
    }

    pub(super) const fn round(self) -> Round {
        self.0 / VOTES.len() as u8
    }

    pub(super) fn kind(self) -> VoteKind {
        self.parts().0
    }

    pub(super) fn value(self) -> Option<ValueId> {
        self.parts().1
    }

    fn parts(self) -> (VoteKind, Option<ValueId>) {
        VOTES[usize::from(self.0) % VOTES.len()]
    }
}

impl core::fmt::Debug for Vote {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let value = match self.value() {
            None => "nil",
            Some(0) => "P",
            Some(_) => "Q",
        };
        write!(f, "{:?} {value}@{}", self.kind(), self.round())
    }
}

/// A set of votes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Votes(u32);

const _: () = assert!(MAX_EXPLORED as usize * VOTES.len() + VALUES.len() <= u32::BITS as usize);

impl Votes {
    pub(super) fn insert(&mut self, vote: Vote) {
        self.0 |= 1 << vote.0;
    }

    pub(super) const fn contains(self, vote: Vote) -> bool {
        self.0 & 1 << vote.0 != 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Vote> + Clone {
        Vote::all(MAX_EXPLORED).filter(move |vote| self.contains(*vote))
    }
}

impl Extend<Vote> for Votes {
    fn extend<I: IntoIterator<Item = Vote>>(&mut self, votes: I) {
        votes.into_iter().for_each(|vote| self.insert(vote));
    }
}

impl FromIterator<Vote> for Votes {
    fn from_iter<I: IntoIterator<Item = Vote>>(votes: I) -> Self {
        let mut all = Self::default();
        all.extend(votes);
        all
    }
}

impl core::fmt::Debug for Votes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What a node keeps between two steps. What it has heard from others is not kept, for it can be heard again at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Local {
    /// What it has ever voted for: others may have heard it.
    pub(super) said: Votes,
    /// What of that it knows: all, by the right rules. And what it has voted nil in the present round.
    known: Votes,
    /// What of that its journal holds: all that it cast before it had decided. Later ones only help others (L6).
    lasting: Votes,
    pub(super) round: Round,
    pub(super) lock: Option<(Round, ValueId)>,
    pub(super) decided: Option<(Round, ValueId)>,
}

impl Local {
    /// The node it is a view of, with nothing heard.
    pub(super) fn node(&self, quorum: Quorum) -> Instance {
        let mut node = Instance::new(1, Hash::NIL, ME, quorum, TIMEOUTS);
        for hash in VALUES {
            node.add_value(value(hash, ME), TX).expect("two values");
        }
        for vote in self.known.iter() {
            node.record(vote.kind(), vote.round(), ME, vote.value());
        }
        (node.round, node.lock, node.decided) = (self.round, self.lock, self.decided);
        (node.propose_until, node.prevote_until, node.precommit_until) = (PENDING, PENDING, PENDING);
        // whose turn it is is told to nobody: proposals come from everywhere
        node.proposed = true;
        node
    }

    /// What is left of a node after a step; `said` and `lasting` are its votes up to there. Every field is named, so that none is forgotten by accident.
    pub(super) fn of(node: &Instance, said: Votes, lasting: Votes) -> Self {
        let Instance {
            round,
            lock,
            decided,
            me,
            ballots,
            // the same at each step
            height: _,
            parent: _,
            nil: _,
            quorum: _,
            members: _,
            timeouts: _,
            may_vote: _,
            values: _,
            standings: _,
            reluctance: _,
            // may be over at any time
            propose_until: _,
            prevote_until: _,
            precommit_until: _,
            // heard, and heard again when it is needed
            proposals: _,
            open: _,
            openers: _,
            have_opened: _,
            top: _,
            // where every value is evident and anybody may propose, no rule of a vote reads these
            own_proposal: _,
            proposed: _,
            lonely_until: _,
            stirred: _,
            // only told, or how it has come to be
            waited_in_vain: _,
            workings: _,
            begun: _,
            restored: _,
            news: _,
        } = node;
        let mut known = Votes::default();
        for (at, ballot) in (0..MAX_EXPLORED).zip(ballots) {
            for kind in [VoteKind::Prevote, VoteKind::Precommit] {
                // nil stands for the vote that is not cast, as long as there could be one
                let is_over =
                    at < *round || (kind == VoteKind::Prevote && ballot.of(VoteKind::Precommit, *me).is_some());
                let vote = ballot.of(kind, *me).filter(|value| value.is_some() || !is_over);
                vote.into_iter().for_each(|value| known.insert(Vote::new(kind, at, value)));
            }
            for id in (0..VALUES.len() as ValueId).filter(|id| ballot.is_ready(*me, *id)) {
                known.insert(Vote::new(VoteKind::Ready, at, Some(id)));
            }
        }
        let said = said.iter().filter(|vote| vote.value().is_some()).collect();
        // in which round it would be after a power cut, and with which votes there
        let last = lasting.iter().map(Vote::round).max();
        let precommits = |vote: Vote| {
            lasting.iter().any(|other| (other.kind(), other.round()) == (VoteKind::Precommit, vote.round()))
        };
        let is_felt =
            |vote: &Vote| Some(vote.round()) == last && (vote.kind() != VoteKind::Prevote || !precommits(*vote));
        let lasting = lasting.iter().filter(|vote| vote.value().is_some() || is_felt(vote)).collect();
        Self { said, known, lasting, round: *round, lock: *lock, decided: *decided }
    }

    /// What it is after it has done this. `None`: it goes where nobody looks.
    fn after(&self, node: &Instance, done: &[Action], rounds: Round) -> Option<Self> {
        let (mut said, mut lasting, mut has_decided) = (self.said, self.lasting, self.decided.is_some());
        for action in done {
            match *action {
                Action::Vote(_, round, _) if round >= rounds => return None,
                Action::Vote(kind, round, value) => {
                    let vote = Vote::new(kind, round, value);
                    said.insert(vote);
                    lasting.extend((!has_decided).then_some(vote));
                }
                Action::Decided(..) => has_decided = true,
                Action::Propose(..) | Action::Equivocation(_) => {}
            }
        }
        (node.round < rounds).then(|| Self::of(node, said, lasting))
    }

    fn stepped(&self, mut node: Instance, rounds: Round) -> Option<Self> {
        let done = run(&mut node, START, false);
        self.after(&node, &done, rounds)
    }

    /// A height begins.
    pub(super) fn beginning(quorum: Quorum) -> Self {
        let view = Self::default();
        view.stepped(view.node(quorum), 1).expect("round 0")
    }

    /// It hears votes and a proposal of its round, and a wait of it is over. What it can be then: with its power or, from the
    /// second on, as it comes back when that goes in the middle of what it does, after each record (P1, P4).
    pub(super) fn hears(&self, quorum: Quorum, heard: &Heard, rounds: Round) -> StdVec<Option<Self>> {
        let mut node = self.node(quorum);
        for (voter, vote) in (ME + 1..).zip(heard.votes).filter_map(|(voter, vote)| Some((voter, vote?))) {
            node.on_vote(vote.kind(), vote.round(), voter, vote.value(), &mut Actions::new());
        }
        if let Some(id) = heard.proposal {
            let proposer = if node.round == 0 { ME } else { node.proposer(node.round) };
            node.on_proposal(node.round, proposer, id);
        }
        let waits = [&mut node.propose_until, &mut node.prevote_until, &mut node.precommit_until];
        if let Some(wait) = heard.wait.and_then(|wait| waits.into_iter().nth(wait)) {
            (*wait, node.news) = (Some(START), true);
        }
        let done = run(&mut node, START, heard.helps);
        let cut = |records: usize| {
            let mut torn = self.after(&node, &done[..records], rounds)?;
            torn.decided = done[..records].iter().fold(self.decided, |before, action| match *action {
                Action::Decided(round, id) => Some((round, id)),
                _ => before,
            });
            torn.loses_power(quorum, rounds)
        };
        core::iter::once(self.after(&node, &done, rounds)).chain((1..done.len()).map(cut)).collect()
    }

    /// It believes f + 1 who have decided this: a correct one and the liar (C5).
    pub(super) fn believes(&self, quorum: Quorum, id: ValueId, rounds: Round) -> Option<Self> {
        let mut node = self.node(quorum);
        node.adopt(id);
        self.stepped(node, rounds)
    }

    /// It loses power and comes back with what its journal holds.
    pub(super) fn loses_power(&self, quorum: Quorum, rounds: Round) -> Option<Self> {
        let mut node = Self::default().node(quorum);
        for vote in self.lasting.iter() {
            node.restore_vote(vote.kind(), vote.round(), vote.value());
        }
        self.decided.into_iter().for_each(|(_, id)| node.adopt(id));
        self.stepped(node, rounds)
    }

    /// Whether others can have heard this of it.
    pub(super) fn has_said(&self, what: Vote) -> bool {
        self.said.contains(what) || self.decision().map(Vote::decided) == Some(what)
    }

    /// The same with P for Q.
    pub(super) fn mirrored(&self) -> Self {
        let other = |id: ValueId| 1 - id;
        let votes = |votes: Votes| {
            votes.iter().map(|vote| Vote::new(vote.kind(), vote.round(), vote.value().map(other))).collect()
        };
        let named = |name: Option<(Round, ValueId)>| name.map(|(round, id)| (round, other(id)));
        Self {
            said: votes(self.said),
            known: votes(self.known),
            lasting: votes(self.lasting),
            round: self.round,
            lock: named(self.lock),
            decided: named(self.decided),
        }
    }

    pub(super) fn decision(&self) -> Option<ValueId> {
        self.decided.map(|(_, id)| id)
    }

    /// A node at a place of its own, to go on by the clock.
    pub(super) fn awake(&self, quorum: Quorum, height: Height, me: ValidatorIndex) -> Node {
        let mut node = Node::at(height, quorum, me);
        for hash in VALUES {
            node.instance.add_value(value(hash, me), TX).expect("two values");
        }
        for vote in self.known.iter() {
            node.instance.record(vote.kind(), vote.round(), me, vote.value());
        }
        (node.instance.round, node.instance.lock, node.instance.decided) = (self.round, self.lock, self.decided);
        node
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

/// What happens to a node in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Heard {
    /// Of the two other correct nodes, and of the liar.
    pub(super) votes: [Option<Vote>; 3],
    pub(super) proposal: Option<ValueId>,
    /// Which wait is over: for a proposal, for prevotes, for precommits.
    pub(super) wait: Option<usize>,
    /// Somebody who votes after this node has decided asks for its help (L6).
    pub(super) helps: bool,
}
