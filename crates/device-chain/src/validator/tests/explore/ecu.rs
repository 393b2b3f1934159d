//! A whole validator as an [`Engine`]: what is kept of it between two steps is what its journal holds, and the round it is in.

use std::boxed::Box;

use super::car;
use super::keys::Ideal;
use super::step::{Done, NOW, Said, Step, said_after};
use super::*;
use crate::agreement::tests::explore::engine::{Engine, Heard, OfOthers, correct_others, end_wait};
use crate::agreement::tests::explore::local::{Local, Vote, Votes};
use crate::agreement::{Value, ValueId, VoteKind};
use crate::codec;
use crate::limits::MAX_MESSAGE;
use crate::quorum::faults;
use crate::record::{Named, Record, RecordKind, VoteRecord};
use crate::registry::Devices;
use crate::tx::decision_hash;

/// Nonces of boots of the node that is stepped: of one that the chain may have readmitted, and of a later one.
pub(super) const FIRST_BOOT: u64 = 1;
pub(super) const LATER_BOOT: u64 = 2;

type Journal = StdVec<(RecordKind, StdVec<u8>)>;

/// A place in a car at a height.
#[derive(Clone)]
pub(super) struct Ecu {
    pub(super) registry: Registry,
    pub(super) me: ValidatorIndex,
    correct: StdVec<ValidatorIndex>,
    pub(super) liars: StdVec<ValidatorIndex>,
    /// Suspended, and say all that the liars say.
    talkers: StdVec<ValidatorIndex>,
    quorum: Quorum,
    pub(super) height: Height,
    /// What was decided at each height before, and the mesh identity in front of it.
    heads: StdVec<Hash>,
    pub(super) values: [(Hash, TxBytes); 2],
    state: State,
    /// What was decided before.
    before: StdVec<TxBytes>,
    /// Journals up to this height: of one that remembers all, and of one that has lost its memory and was told.
    journals: [Journal; 2],
    /// What its journal holds of the next height, if this one is decided.
    later: Journal,
    /// Whether its journal is behind when something happens.
    is_pressed: bool,
}

impl Ecu {
    /// A car of `n` that has decided this. Of those that are suspended by now `talkers` say all that the liars say. The node that is
    /// stepped is the one whose turn to propose does not come in the first rounds: proposals come from everywhere.
    pub(super) fn after(n: usize, decided: &[Transaction], talkers: &[ValidatorIndex]) -> Self {
        let mut registry = Registry::from(&car::genesis(n, "EXPLORED"));
        let height = decided.len() as Height + 1;
        let mut state = State::new(&registry);
        let before: StdVec<TxBytes> = decided.iter().map(|tx| tx.encode().expect("short")).collect();
        let mut heads = std::vec![*state.head()];
        for (tx, bytes) in decided.iter().zip(&before) {
            state.apply(bytes, tx, &mut registry).expect("allowed");
            heads.push(*state.head());
        }
        let voters: StdVec<ValidatorIndex> = state.members().iter().collect();
        let quorum = Quorum { n: voters.len(), f: faults(n) };
        let me = voters[height as usize % voters.len()];
        let mut others = voters.into_iter().filter(|at| *at != me);
        let correct = others.by_ref().take(correct_others(quorum)).collect();
        let (liars, talkers) = (others.collect(), talkers.to_vec());
        let values = [(); 2].map(|()| (Hash::NIL, TxBytes::new()));
        let (journals, later) = Default::default();
        let is_pressed = false;
        let ecu = Self {
            registry,
            me,
            correct,
            liars,
            talkers,
            quorum,
            height,
            heads,
            values,
            state,
            before,
            journals,
            later,
            is_pressed,
        };
        ecu.choosing(values_of(height))
    }

    /// These are the values of this height.
    pub(super) fn choosing(mut self, values: [Transaction; 2]) -> Self {
        let parent = *self.state.head();
        self.values = values.map(|tx| {
            self.state.check(&tx, &self.registry).expect("allowed");
            let bytes = tx.encode().expect("short");
            (decision_hash(&self.registry.mesh(), self.height, &parent, &bytes), bytes)
        });
        self.journals = [false, true].map(|has_forgotten| written(&self.comes_to(has_forgotten, LATER_BOOT).done));
        self
    }

    /// Its journal is behind.
    pub(super) fn pressed(self) -> Self {
        Self { is_pressed: true, ..self }
    }

    /// It has lost its memory and was readmitted in its first boot, before this height.
    pub(super) fn readmitted(mut self) -> Self {
        self.journals[0] = written(&self.comes_to(true, FIRST_BOOT).done);
        self
    }

    /// It has voted this at the height before.
    pub(super) fn voted_before(mut self, votes: impl Iterator<Item = Vote>) -> Self {
        let records = self.records(self.height - 1, votes);
        self.journals[0].splice(1..1, records); // behind the boot
        self
    }

    /// It votes this at the next height, when this one is decided.
    pub(super) fn votes_later(mut self, votes: impl Iterator<Item = Vote>) -> Self {
        self.later = self.records(self.height + 1, votes);
        self
    }

    /// It has taken over the state instead of one decision after the other.
    pub(super) fn jumped(mut self) -> Self {
        self.journals[0] = std::vec![(RecordKind::State, self.state.encode().expect("it fits").to_vec())];
        self
    }

    /// Comes to this height from nothing, by what f + 1 others say.
    fn comes_to(&self, has_forgotten: bool, nonce: u64) -> Step<'_> {
        let mut node = self.installed();
        if has_forgotten {
            node.forget();
        }
        node.start(Boot { nonce }, NOW);
        self.catches_up(node)
    }

    fn catches_up(&self, node: Box<Validator<Ideal>>) -> Step<'_> {
        let mut step = Step::of(self, node, Votes::default());
        for (height, tx) in (1..).zip(&self.before).skip(step.node.state.height() as usize) {
            step.is_told(&self.believed(), height, tx);
        }
        self.knows_values(&mut step.node);
        step
    }

    fn installed(&self) -> Box<Validator<Ideal>> {
        let mut node = Box::new(Validator::new(Ideal { me: self.me }));
        node.install(self.registry.clone(), self.me).expect("it has a place");
        node
    }

    /// Comes back with what its journal holds; nothing is done yet.
    fn restored(&self, journal: &Journal) -> Box<Validator<Ideal>> {
        let mut node = self.installed();
        for (kind, record) in journal {
            node.replay(*kind, record).expect("a journal that it wrote itself");
        }
        node.start(Boot { nonce: LATER_BOOT }, NOW);
        self.knows_values(&mut node);
        node
    }

    /// All have the evidence for both values.
    fn knows_values(&self, node: &mut Validator<Ideal>) {
        for (hash, tx) in &self.values {
            if node.heights.current().height() == self.height {
                node.learn_named(self.liars[0], *hash, tx, true).expect("room");
            } else if let Some(decided) = node.heights.at_mut(self.height) {
                let value = Value { hash: *hash, proposer: self.liars[0], allowed_from: Some(0), evident: true };
                decided.add_value(value, tx).expect("room");
            }
        }
    }

    fn journal(&self, votes: Votes, decided: Option<ValueId>, listens: bool) -> Journal {
        let mut journal = self.journals[usize::from(listens)].clone();
        journal.extend(self.records(self.height, votes.iter()));
        if let Some(id) = decided {
            journal.push(fact(&Record::Decided(self.height, Named::Content(self.tx(self.height, id)))));
            journal.extend_from_slice(&self.later);
        }
        journal
    }

    /// Votes in a journal that has named nothing of the height before.
    fn records(&self, height: Height, votes: impl Iterator<Item = Vote>) -> Journal {
        let mut named = [false; 2];
        let mut name = |id: ValueId| match core::mem::replace(&mut named[usize::from(id)], true) {
            true => Named::Hint(self.named(height, &self.parent(height), id).hint().to_le_bytes()),
            false => Named::Content(self.tx(height, id)),
        };
        let record = |vote: Vote| {
            let value = vote.value().map_or(Named::Nil, &mut name);
            fact(&Record::Vote(VoteRecord { height, round: vote.round(), kind: vote.kind(), value }))
        };
        votes.map(record).collect()
    }

    /// The node it is a view of, with nothing heard.
    fn step(&self, view: &Local) -> Step<'_> {
        let mut node = self.restored(&self.journal(view.known, view.decision(), view.listens));
        let here = node.heights.at_mut(self.height).expect("present or just decided");
        let ids = [0, 1].map(|at: usize| here.find(&self.values[at].0).expect("a known value"));
        view.goes_on_in(here, ids);
        let mut durable = view.known;
        durable.extend(view.lasting.iter());
        let mut step = Step::of(self, node, durable);
        assert!(!step.done.iter().any(|done| matches!(done, Done::Said(_))), "it had said it before: {view:?}");
        step.done.clear();
        if self.is_pressed {
            step.is_pressed();
        }
        step
    }

    /// What it can be after a step: with its power, and as it comes back when that goes in the middle.
    fn outcomes(&self, view: &Local, step: &Step<'_>, rounds: Round) -> StdVec<Option<Local>> {
        let whole = step.view((view.said, view.lasting), rounds);
        let cuts = (1..step.done.len()).filter(|at| step.done[at - 1].matters());
        let cuts = cuts.flat_map(|at| self.comes_back(view, &step.done[..at], rounds));
        core::iter::once(whole).chain(cuts).collect()
    }

    /// What it can be when it loses power after it has done this, and comes back with what its journal holds; also if it loses power
    /// once more while it does.
    fn comes_back(&self, view: &Local, done: &[Done], rounds: Round) -> StdVec<Option<Local>> {
        let mut journal = self.journal(view.lasting, view.decision(), view.listens);
        journal.extend(written(done));
        let Some(before) = said_after((view.said, view.lasting), done, rounds) else { return StdVec::new() };
        let back = Step::of(self, self.restored(&journal), before.1);
        let again = (1..back.done.len()).filter(|at| back.done[at - 1].matters()).filter_map(|at| {
            journal.extend(written(&back.done[..at]));
            let before = said_after(before, &back.done[..at], rounds)?;
            Step::of(self, self.restored(&journal), before.1).view(before, rounds)
        });
        let again: StdVec<_> = again.map(Some).collect();
        core::iter::once(back.view(before, rounds)).chain(again).collect()
    }

    /// It has lost its memory and comes to this height again; also if it loses power on the way. Without any record it knows nothing.
    fn forgets(&self, view: &Local, rounds: Round) -> StdVec<Option<Local>> {
        let before: Said = (view.said, Votes::default());
        let back = self.comes_to(true, LATER_BOOT);
        let cuts = (1..back.done.len()).map(|at| {
            let again = self.catches_up(self.restored(&written(&back.done[..at])));
            again.view(before, rounds)
        });
        core::iter::once(back.view(before, rounds)).chain(cuts).collect()
    }

    /// What must not move it: f who say that a value was decided, forged votes, votes and decisions of other heights, votes of others who have
    /// another history (which takes more than f liars).
    fn is_distracted(&self, view: &Local, rounds: Round) -> StdVec<Option<Local>> {
        let mut step = self.step(view);
        for (_, tx) in &self.values {
            step.is_told(&self.liars, self.height, tx);
        }
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            for voter in step.node.others() {
                step.hears_forged(voter, Vote::new(kind, 0, Some(0)));
                let elsewhere = self.votes_elsewhere(view);
                for (height, parent) in elsewhere {
                    step.hears_vote_at(voter, Vote::new(kind, 0, Some(0)), height, &parent);
                }
            }
        }
        if let Some(tx) = self.before.last() {
            let all: StdVec<_> = step.node.others().collect();
            step.is_told(&all, self.height - 1, tx);
        }
        std::vec![step.view((view.said, view.lasting), rounds)]
    }

    /// Heights, and what was decided before.
    fn votes_elsewhere(&self, view: &Local) -> StdVec<(Height, Hash)> {
        let before = self.height.checked_sub(1).filter(|height| *height > 0);
        let after = Some(self.height + 1).filter(|_| view.decided.is_none());
        let heights = [before, after].into_iter().flatten().map(|height| (height, self.parent(height)));
        heights.chain([(self.height, Hash([0xf0; 32]))]).collect()
    }

    /// A correct one and the liars: f + 1.
    fn believed(&self) -> StdVec<ValidatorIndex> {
        self.correct.iter().take(1).chain(&self.liars).copied().collect()
    }

    pub(super) fn value(&self, is: impl FnMut(&(Hash, TxBytes)) -> bool) -> ValueId {
        self.values.iter().position(is).expect("one of the two") as ValueId
    }

    pub(super) fn tx(&self, height: Height, id: ValueId) -> TxBytes {
        let at = usize::from(id);
        if height == self.height { self.values[at].1.clone() } else { values_of(height)[at].encode().expect("short") }
    }

    pub(super) fn named(&self, height: Height, parent: &Hash, id: ValueId) -> Hash {
        decision_hash(&self.registry.mesh(), height, parent, &self.tx(height, id))
    }

    /// What was decided before a height: of the one after this, the first value.
    pub(super) fn parent(&self, height: Height) -> Hash {
        self.heads.get(height as usize - 1).copied().unwrap_or(self.values[0].0)
    }
}

impl Engine for Ecu {
    fn quorum(&self) -> Quorum {
        self.quorum
    }

    fn beginning(&self) -> Local {
        self.comes_to(false, LATER_BOOT).view(Said::default(), 1).expect("round 0")
    }

    /// If it may decide, the others have gone on to the next height before, and it has heard them.
    fn hears(&self, view: &Local, heard: &Heard, rounds: Round) -> StdVec<Option<Local>> {
        let mut step = self.step(view);
        if heard.helps {
            (step.node.decided_at, step.node.helped_at) = (Micros(0), Micros(0)); // long ago
        }
        let by_liars = self.liars.iter().chain(&self.talkers).map(|liar| (*liar, heard.liars));
        let by_others = self.correct.iter().copied().zip(heard.others.into_iter().rev());
        let votes: StdVec<_> = by_others.chain(by_liars).filter_map(|(voter, vote)| Some((voter, vote?))).collect();
        if votes.iter().any(|(_, vote)| vote.kind() == VoteKind::Precommit) && view.decided.is_none() {
            let (next, parent) = (self.height + 1, self.values[0].0);
            step.hears_proposal(next, &parent, 0);
            for voter in step.node.others() {
                step.hears_vote_at(voter, Vote::new(VoteKind::Prevote, 0, Some(0)), next, &parent);
            }
        }
        for (voter, vote) in votes {
            step.hears_vote(voter, vote);
        }
        if heard.helps && (heard.others, heard.liars) == (OfOthers::default(), None) {
            step.hears_vote(self.liars[0], Vote::new(VoteKind::Prevote, 0, None)); // the question
        }
        if let Some(id) = heard.proposal {
            step.hears_proposal(self.height, &self.parent(self.height), id);
        }
        if let Some(wait) = heard.wait {
            end_wait(step.here_mut(), wait, NOW);
            step.does(Input::Tick);
        }
        self.outcomes(view, &step, rounds)
    }

    fn believes(&self, view: &Local, id: ValueId, rounds: Round) -> StdVec<Option<Local>> {
        let mut step = self.step(view);
        step.is_told(&self.believed(), self.height, &self.tx(self.height, id));
        self.outcomes(view, &step, rounds)
    }

    /// Also with a journal that was rewritten first.
    fn loses_power(&self, view: &Local, rounds: Round) -> Option<Local> {
        let mut rewritten = Journal::new();
        let before = self.restored(&self.journal(view.lasting, view.decision(), view.listens));
        before.live_records(&mut [0; MAX_MESSAGE], &mut |kind, record| rewritten.push((kind, record.to_vec())));
        let again = Step::of(self, self.restored(&rewritten), view.lasting);
        let back = Step::of(self, before, view.lasting);
        let [again, back] =
            [again, back].map(|step| (step.view((view.said, view.lasting), rounds), step.here().members()));
        // a node that breaks rules may say what no journal is made for
        assert!(again == back || Flaw::at_work().is_some(), "a rewritten journal does not hold the same: {view:?}");
        back.0
    }

    fn suffers(&self, view: &Local, rounds: Round) -> StdVec<Option<Local>> {
        self.forgets(view, rounds).into_iter().chain(self.is_distracted(view, rounds)).collect()
    }
}

/// What there is to vote for at a height.
pub(super) fn values_of(height: Height) -> [Transaction; 2] {
    [1, 2].map(|more| Transaction::Record { endpoint: 0, sequence: 100 * u64::from(height) + more, data: Vec::new() })
}

fn written(done: &[Done]) -> Journal {
    let written =
        |done: &Done| if let Done::Written(kind, bytes, _) = done { Some((*kind, bytes.clone())) } else { None };
    done.iter().filter_map(written).collect()
}

fn fact(record: &Record) -> (RecordKind, StdVec<u8>) {
    let mut buffer = [0; crate::record::MAX_RECORD];
    (RecordKind::Fact, codec::encode(record, &mut buffer).expect("it fits").to_vec())
}
