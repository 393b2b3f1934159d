//! One validator's view of a height, as far as it can ever matter: what of an [`Instance`] is kept between two steps.

use super::*;

/// Rounds that are looked at, at most.
pub(crate) const MAX_EXPLORED: Round = 3;
/// The node that is stepped. The rules look at the place of a validator only for whose turn it is, and anybody may
/// propose anything here; so all correct nodes take their steps from the same place.
pub(super) const ME: ValidatorIndex = 0;
/// What there is to vote for, by place.
const VALUES: [Hash; 2] = [P, Q];
pub(super) const IDS: [ValueId; 2] = [0, 1];
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
pub(crate) struct Vote(u8);

impl Vote {
    pub(crate) fn new(kind: VoteKind, round: Round, value: Option<ValueId>) -> Self {
        let at = VOTES.iter().position(|vote| *vote == (kind, value)).expect("two values");
        Self(round * VOTES.len() as u8 + at as u8)
    }

    /// DECIDED, as of a correct node: what it says besides its votes (C5).
    pub(crate) const fn decided(value: ValueId) -> Self {
        Self(MAX_EXPLORED * VOTES.len() as u8 + value)
    }

    pub(super) fn all(rounds: Round) -> impl Iterator<Item = Self> + Clone {
        (0..rounds * VOTES.len() as u8).map(Self)
    }

    pub(crate) const fn round(self) -> Round {
        self.0 / VOTES.len() as u8
    }

    pub(crate) fn kind(self) -> VoteKind {
        self.parts().0
    }

    pub(crate) fn value(self) -> Option<ValueId> {
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
pub(crate) struct Votes(u32);

const _: () = assert!(MAX_EXPLORED as usize * VOTES.len() + VALUES.len() <= u32::BITS as usize);

impl Votes {
    pub(crate) fn insert(&mut self, vote: Vote) {
        self.0 |= 1 << vote.0;
    }

    pub(crate) const fn contains(self, vote: Vote) -> bool {
        self.0 & 1 << vote.0 != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Vote> + Clone {
        Vote::all(MAX_EXPLORED).filter(move |vote| self.contains(*vote))
    }

    /// What was decided, as far as it was said.
    pub(super) fn decisions(self) -> impl Iterator<Item = ValueId> {
        [0, 1].into_iter().filter(move |id| self.contains(Vote::decided(*id)))
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
pub(crate) struct Local {
    /// What it has ever voted for, and decided: others may have heard it, or act on it.
    pub(crate) said: Votes,
    /// What of that it knows: all, by the right rules. And what it has voted nil in the present round.
    pub(crate) known: Votes,
    /// What of that its journal holds: all that it cast before it had decided. Later ones only help others (L6).
    pub(crate) lasting: Votes,
    pub(crate) round: Round,
    pub(super) lock: Option<(Round, ValueId)>,
    pub(crate) decided: Option<(Round, ValueId)>,
    /// It has lost its memory and does not vote (P5).
    pub(crate) listens: bool,
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
        node.set_may_vote(!self.listens);
        self.goes_on_in(&mut node, IDS);
        node
    }

    /// Lets a node that has the votes go on from where this is, with nothing heard and time standing still. `ids` are its places of the values.
    pub(crate) fn goes_on_in(&self, node: &mut Instance, ids: [ValueId; 2]) {
        let named = |name: Option<(Round, ValueId)>| name.map(|(round, id)| (round, ids[usize::from(id)]));
        (node.round, node.lock, node.decided) = (self.round, named(self.lock), named(self.decided));
        (node.propose_until, node.prevote_until, node.precommit_until) = (PENDING, PENDING, PENDING);
        // whose turn it is is told to nobody: proposals come from everywhere
        (node.proposed, node.news) = (true, true);
    }

    /// What is left of a node after a step; `said` and `lasting` are its votes up to there, `ids` its places of the values. Every
    /// field is named, so that none is forgotten by accident.
    pub(crate) fn of(node: &Instance, said: Votes, lasting: Votes, ids: [ValueId; 2]) -> Self {
        let Instance {
            round,
            lock,
            decided,
            me,
            ballots,
            may_vote,
            // the same at each step
            height: _,
            parent: _,
            nil: _,
            quorum: _,
            members: _,
            timeouts: _,
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
        let name = |id: ValueId| ids.iter().position(|known| *known == id).expect("one of the two") as ValueId;
        let named = |held: Option<(Round, ValueId)>| held.map(|(round, id)| (round, name(id)));
        let mut known = Votes::default();
        for (at, ballot) in (0..MAX_EXPLORED).zip(ballots) {
            for kind in [VoteKind::Prevote, VoteKind::Precommit] {
                // nil stands for the vote that is not cast, as long as there could be one
                let is_over =
                    at < *round || (kind == VoteKind::Prevote && ballot.of(VoteKind::Precommit, *me).is_some());
                let vote = ballot.of(kind, *me).filter(|value| value.is_some() || !is_over);
                vote.into_iter().for_each(|value| known.insert(Vote::new(kind, at, value.map(name))));
            }
            for id in ids.into_iter().filter(|id| ballot.is_ready(*me, *id)) {
                known.insert(Vote::new(VoteKind::Ready, at, Some(name(id))));
            }
        }
        let (lock, decided) = (named(*lock), named(*decided));
        let decisions = said.decisions().chain(decided.map(|(_, id)| id)).map(Vote::decided);
        let said = said.iter().filter(|vote| vote.value().is_some()).chain(decisions).collect();
        // in which round it would be after a power cut, and with which votes there
        let last = lasting.iter().map(Vote::round).max();
        let precommits = |vote: Vote| {
            lasting.iter().any(|other| (other.kind(), other.round()) == (VoteKind::Precommit, vote.round()))
        };
        let is_felt =
            |vote: &Vote| Some(vote.round()) == last && (vote.kind() != VoteKind::Prevote || !precommits(*vote));
        let lasting = lasting.iter().filter(|vote| vote.value().is_some() || is_felt(vote)).collect();
        Self { said, known, lasting, round: *round, lock, decided, listens: !may_vote }
    }

    /// What it is after it has done this. `None`: it goes where nobody looks.
    pub(super) fn after(&self, node: &Instance, done: &[Action], rounds: Round) -> Option<Self> {
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
        (node.round < rounds).then(|| Self::of(node, said, lasting, IDS))
    }

    /// The same with another decision, or none, than the node that it is a view of.
    pub(super) fn having_decided(mut self, before: &Self, decided: Option<(Round, ValueId)>) -> Self {
        let decisions = before.said.decisions().chain(decided.map(|(_, id)| id)).map(Vote::decided);
        (self.said, self.decided) = (self.said.iter().chain(decisions).collect(), decided);
        self
    }

    /// The same if it has already given all the help that it can ever give, once it has decided (L6): it has voted for that in every
    /// round. What it can still say is READY for another value, also because of what it had voted for that.
    pub(super) fn generous(self, rounds: Round) -> Self {
        let Some(decision) = self.decision() else { return self };
        let of_round = |round| VOTES.map(|(kind, value)| Vote::new(kind, round, value));
        let help = (0..rounds).flat_map(of_round).filter(|vote| vote.value() == Some(decision));
        let mut said = self.said;
        said.extend(help);
        // its own votes for the other value may still make it say READY for that
        let is_known = |vote: &Vote| vote.value() != Some(decision);
        Self {
            said,
            known: said.iter().filter(is_known).collect(),
            lasting: Votes::default(),
            round: rounds - 1,
            lock: Some((rounds - 1, decision)),
            decided: Some((0, decision)),
            listens: self.listens,
        }
    }

    /// Whether others can have heard this of it.
    pub(super) fn has_said(&self, what: Vote) -> bool {
        self.said.contains(what)
    }

    /// The same with P for Q.
    pub(super) fn mirrored(&self) -> Self {
        let other = |id: ValueId| 1 - id;
        let votes = |votes: Votes| {
            let decisions = votes.decisions().map(|id| Vote::decided(other(id)));
            votes
                .iter()
                .map(|vote| Vote::new(vote.kind(), vote.round(), vote.value().map(other)))
                .chain(decisions)
                .collect()
        };
        let named = |name: Option<(Round, ValueId)>| name.map(|(round, id)| (round, other(id)));
        Self {
            said: votes(self.said),
            known: votes(self.known),
            lasting: votes(self.lasting),
            round: self.round,
            lock: named(self.lock),
            decided: named(self.decided),
            listens: self.listens,
        }
    }

    pub(crate) fn decision(&self) -> Option<ValueId> {
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
