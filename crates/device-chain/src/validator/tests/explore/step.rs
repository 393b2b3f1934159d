//! A validator at work for one step, and what must hold whatever happens (P1, P4, P5).

use std::boxed::Box;
use std::collections::VecDeque;

use super::ecu::Ecu;
use super::keys::{Ideal, tag};
use super::*;
use crate::agreement::tests::explore::local::{Local, MAX_EXPLORED, Vote, Votes};
use crate::agreement::{Instance, ValueId, VoteKind};
use crate::codec;
use crate::hash::{Domain, hash};
use crate::keys::Device;
use crate::limits::MAX_MESSAGE;
use crate::record::{Named, Record, RecordKind};
use crate::registry::Devices;
use crate::tx::nil_subject;
use crate::wire::{self, DECIDED_VALUE, Header, Kind, NIL_PROPOSER};

/// Time stands still.
pub(super) const NOW: Micros = Micros(1_000_000_000);

/// A vote at the height that is looked at.
type Cast = (VoteKind, Round, Option<ValueId>);

/// What a node does, as far as others or a later boot can know it.
pub(super) enum Done {
    Said(Cast),
    /// The decision of the height is acted upon.
    Acted(ValueId),
    Written(RecordKind, StdVec<u8>, Option<Cast>),
}

impl Done {
    /// Whether it makes a difference after a power cut.
    pub(super) fn matters(&self) -> bool {
        !matches!(self, Self::Written(_, record, None) if matches!(codec::decode(record), Some(Record::Boot(_))))
    }
}

/// What a node has said, and what of that its journal holds.
pub(super) type Said = (Votes, Votes);

pub(super) struct Step<'e> {
    ecu: &'e Ecu,
    pub(super) node: Box<Validator<Ideal>>,
    pub(super) done: StdVec<Done>,
    /// Height of the last decision that is durable.
    decided: Height,
    /// Votes of its own that are durable.
    durable: Votes,
    /// It has lost its memory, and casts nothing at this height whatever comes.
    listens: bool,
}

impl<'e> Step<'e> {
    /// A node that has started, with `durable` votes at the height in its journal, and sessions with all others.
    pub(super) fn of(ecu: &'e Ecu, node: Box<Validator<Ideal>>, durable: Votes) -> Self {
        let (decided, listens) = (node.state.height(), node.amnesiac);
        let mut step = Self { ecu, node, done: StdVec::new(), decided, durable, listens };
        for peer in step.node.others() {
            let met = Session { nonce: Some(0), boot: 1, knows_me: true, heard: Some(NOW), ..Session::NONE };
            step.node.sessions[usize::from(peer)] = met;
        }
        step.does(Input::Tick);
        step
    }

    /// Fills what waits for the journal.
    pub(super) fn is_pressed(&mut self) {
        let before = self.node.counters.dropped;
        while self.node.counters.dropped == before {
            self.node.persist(Record::Boot(1));
        }
    }

    pub(super) fn here(&self) -> &Instance {
        self.node.heights.at(self.ecu.height).expect("present or just decided")
    }

    /// The agreement on the height, to be changed.
    pub(super) fn here_mut(&mut self) -> &mut Instance {
        self.node.heights.at_mut(self.ecu.height).expect("present or just decided")
    }

    pub(super) fn ids(&self) -> [ValueId; 2] {
        [0, 1].map(|at: usize| self.here().find(&self.ecu.values[at].0).expect("a known value"))
    }

    /// What is left of the node. `None`: it goes where nobody looks.
    pub(super) fn view(&self, before: Said, rounds: Round) -> Option<Local> {
        let (said, lasting) = said_after(before, &self.done, rounds)?;
        (self.here().round() < rounds).then(|| Local::of(self.here(), said, lasting, self.ids()))
    }

    /// Hands an input over, and carries out the effects: what may leave leaves, then the oldest record becomes durable, and so on.
    pub(super) fn does(&mut self, input: Input<'_>) {
        self.node.heartbeat_due = NOW; // DECIDED may be due at any time
        self.node.handle(NOW, input);
        let (mut writing, mut buffer) = (VecDeque::new(), [0; MAX_MESSAGE]);
        loop {
            match self.node.poll(|_| true, &mut buffer) {
                Some(Effect::Persist { token, kind, bytes }) => writing.push_back((token, kind, bytes.to_vec())),
                Some(Effect::Send { header, .. }) => self.sends(&header),
                Some(Effect::Decided(decision)) => {
                    self.must(decision.height <= self.decided, "P4: acted upon before it is durable");
                    if decision.height == self.ecu.height {
                        self.done.push(Done::Acted(self.ecu.value(|(hash, _)| *hash == decision.hash)));
                    }
                }
                Some(_) => {}
                None => {
                    let Some((token, kind, bytes)) = writing.pop_front() else { return };
                    self.writes(kind, bytes);
                    self.node.handle(NOW, Input::Persisted(token));
                }
            }
        }
    }

    /// A rule that holds in every step; whoever breaks rules on purpose is to be found by what comes of it.
    fn must(&self, holds: bool, rule: &str) {
        assert!(holds || Flaw::at_work().is_some(), "{rule}");
    }

    fn sends(&mut self, header: &Header) {
        if header.kind == Kind::Decided {
            self.must(header.height <= self.decided, "P4: DECIDED before it is durable");
        }
        let Some(kind) = header.kind.vote() else { return };
        let height = self.ecu.height;
        self.must(!self.node.amnesiac, "P5: an amnesiac votes");
        self.must(header.height <= self.decided + 1, "P4: a vote at the next height before this decision is durable");
        if header.height == height {
            self.must(!self.listens, "P5: an amnesiac votes at the height that readmits it");
            let hinted = || self.ecu.value(|(hash, _)| hash.hint() == header.hint);
            let cast = (kind, header.round, (header.hint_proposer != NIL_PROPOSER).then(hinted));
            let is_explored = header.round < MAX_EXPLORED;
            let is_durable = is_explored && self.durable.contains(Vote::new(kind, cast.1, cast.2));
            self.must(is_durable || !is_explored || self.decided >= height, "P1: a vote before it is durable");
            self.done.push(Done::Said(cast));
        }
    }

    fn writes(&mut self, kind: RecordKind, record: StdVec<u8>) {
        let mut cast = None;
        match codec::decode(&record) {
            Some(Record::Vote(vote)) if vote.height == self.ecu.height => {
                let value = match &vote.value {
                    Named::Nil => None,
                    Named::Hint(hint) => Some(self.ecu.value(|(hash, _)| hash.hint().to_le_bytes() == *hint)),
                    Named::Content(content) => Some(self.ecu.value(|(_, tx)| tx == content)),
                };
                if vote.round < MAX_EXPLORED {
                    self.durable.insert(Vote::new(vote.kind, vote.round, value));
                }
                cast = Some((vote.kind, vote.round, value));
            }
            Some(Record::Decided(height, _)) => self.decided = height,
            _ => {}
        }
        self.done.push(Done::Written(kind, record, cast));
    }

    /// Hears a message of `sender`, with a tag of its own over `subject`.
    fn hears(&mut self, sender: ValidatorIndex, header: Header, body: &[u8], subject: &Hash) {
        self.hears_tagged(sender, header, body, sender, header, subject);
    }

    /// Hears a message as if of `sender`, with a tag that `signer` has made for another header and `subject`.
    fn hears_tagged(
        &mut self,
        sender: ValidatorIndex,
        header: Header,
        body: &[u8],
        signer: ValidatorIndex,
        tagged: Header,
        subject: &Hash,
    ) {
        let counter = (self.node.counters.accepted + self.node.counters.held) as u32 + 1;
        let (registry, me) = (&self.ecu.registry, self.ecu.me);
        let (mesh, suite) = (registry.mesh().short(), registry.suite().code());
        let [header, tagged] = [header, tagged].map(|header| Header { mesh, suite, sender, counter, ..header });
        let tag = tag([signer, me], &wire::tag_input(&tagged.to_bytes(), subject));
        let length = registry.tag_len();
        let mut tags = std::vec![0; wire::tags_len(header.kind, registry.validators(), length)];
        let slot = if header.kind.is_addressed() { 0 } else { wire::tag_slot(sender, me) };
        tags[slot * length..(slot + 1) * length].copy_from_slice(&tag[..length]);
        let bytes = [&header.to_bytes(), body, &tags].concat();
        let source = Source { device: Device::Validator(sender), class: header.kind.class() };
        self.does(Input::Message { source, bytes: &bytes });
    }

    pub(super) fn hears_vote(&mut self, voter: ValidatorIndex, vote: Vote) {
        let height = self.ecu.height;
        self.hears_vote_at(voter, vote, height, &self.ecu.parent(height));
    }

    /// A vote at a height, in the history in which `parent` was decided before.
    pub(super) fn hears_vote_at(&mut self, voter: ValidatorIndex, vote: Vote, height: Height, parent: &Hash) {
        let named = vote.value().map(|id| self.ecu.named(height, parent, id));
        let header = self.vote_header(vote, height, named.as_ref());
        self.hears(voter, header, &[], &named.unwrap_or_else(|| nil_subject(parent)));
    }

    fn vote_header(&self, vote: Vote, height: Height, named: Option<&Hash>) -> Header {
        Header::new(vote.kind().into(), height).round(vote.round()).hint(named.map(|hash| (self.ecu.liars[0], hash)))
    }

    /// What others have not said: a vote in the name of another one, tagged by a liar; and one that was said for the other value.
    pub(super) fn hears_forged(&mut self, voter: ValidatorIndex, vote: Vote) {
        let [named, other] = [0, 1].map(|at: usize| self.ecu.values[at].0);
        let [header, said] = [named, other].map(|hash| self.vote_header(vote, self.ecu.height, Some(&hash)));
        self.hears_tagged(voter, header, &[], self.ecu.liars[0], header, &named);
        self.hears_tagged(voter, header, &[], voter, said, &other);
    }

    pub(super) fn hears_proposal(&mut self, height: Height, parent: &Hash, id: ValueId) {
        let here = self.node.heights.at(height);
        let round = here.map_or(0, Instance::round);
        let proposer = here.filter(|_| round > 0).map_or(self.ecu.liars[0], |here| here.proposer(round));
        let hash = self.ecu.named(height, parent, id);
        let header = Header::new(Kind::Propose, height).round(round).hint(Some((proposer, &hash)));
        self.hears(proposer, header, &self.ecu.tx(height, id), &hash);
    }

    /// These say that something was decided at a height (C5).
    pub(super) fn is_told(&mut self, by: &[ValidatorIndex], height: Height, tx: &[u8]) {
        let mut header = Header::new(Kind::Value, height).round(self.ecu.me);
        header.hint_proposer = DECIDED_VALUE;
        for teller in by {
            self.hears(*teller, header, tx, &hash(Domain::Body, &[tx]));
        }
    }
}

/// What a node has said, and what its journal holds, after it has done this. `None`: it goes where nobody looks.
pub(super) fn said_after((mut said, mut lasting): Said, done: &[Done], rounds: Round) -> Option<Said> {
    for done in done {
        match *done {
            Done::Acted(id) => said.insert(Vote::decided(id)),
            Done::Said((_, round, _)) | Done::Written(_, _, Some((_, round, _))) if round >= rounds => return None,
            Done::Said((kind, round, value)) => said.insert(Vote::new(kind, round, value)),
            Done::Written(_, _, Some((kind, round, value))) => {
                // what is durable may leave
                said.insert(Vote::new(kind, round, value));
                lasting.insert(Vote::new(kind, round, value));
            }
            Done::Written(_, _, None) => {}
        }
    }
    Some((said, lasting))
}
