//! A whole validator as an [`Engine`]: what is kept of it between two steps is what its journal holds, and the round it is in.

use std::boxed::Box;
use std::collections::VecDeque;

use super::car;
use super::*;
use crate::agreement::tests::explore::engine::{Engine, Heard, end_wait};
use crate::agreement::tests::explore::local::{Local, Vote, Votes};
use crate::agreement::{Instance, Value, ValueId, VoteKind};
use crate::codec;
use crate::flaw::Flaw;
use crate::genesis::Genesis;
use crate::hash::{Domain, hash};
use crate::keys::{Device, KeyHandle};
use crate::limits::MAX_MESSAGE;
use crate::mac::{Tag, TagInput};
use crate::record::{Named, Record, RecordKind, VoteRecord};
use crate::registry::Devices;
use crate::tx::{decision_hash, nil_subject};
use crate::wire::{self, DECIDED_VALUE, Header, Kind, NIL_PROPOSER};

/// Time stands still.
const NOW: Micros = Micros(1_000_000_000);
/// Nonces of boots of the node that is stepped: of one that the chain may have readmitted, and of a later one.
pub(super) const FIRST_BOOT: u64 = 1;
const LATER_BOOT: u64 = 2;

type Journal = StdVec<(RecordKind, StdVec<u8>)>;

/// Keys that nobody else can have, for nobody in here guesses: a tag is the pair and what it covers, mixed.
struct Ideal {
    me: ValidatorIndex,
}

fn mixed(pair: [ValidatorIndex; 2], message: &TagInput) -> Tag {
    let seed = 0xcbf2_9ce4_8422_2325 ^ u64::from(pair[0].min(pair[1])) << 8 ^ u64::from(pair[0].max(pair[1]));
    let words = message.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
    let mix = words.fold(seed, |mix, word| (mix ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
    let mut tag = Tag::default();
    tag[..8].copy_from_slice(&(mix ^ mix >> 32).to_le_bytes());
    tag
}

impl KeyStore for Ideal {
    fn tag(&self, key: KeyHandle, message: &TagInput) -> Option<Tag> {
        match key {
            KeyHandle::Pair(Device::Validator(peer)) | KeyHandle::Session(peer) => {
                Some(mixed([self.me, peer], message))
            }
            KeyHandle::Pair(Device::Endpoint(_)) | KeyHandle::Candidate(_) => None,
        }
    }

    fn verify(&self, key: KeyHandle, message: &TagInput, tag: &[u8]) -> bool {
        self.tag(key, message).is_some_and(|known| known[..tag.len()] == *tag)
    }

    fn derive(&mut self, _: ValidatorIndex, _: [u64; 2]) {}

    fn promote(&mut self, _: ValidatorIndex) {}
}

/// A vote at the height that is looked at.
type Cast = (VoteKind, Round, Option<ValueId>);

/// What a node does, as far as others or a later boot can know it.
enum Done {
    Said(Cast),
    Written(RecordKind, StdVec<u8>, Option<Cast>),
}

/// A place in a car at a height.
#[derive(Clone)]
pub(super) struct Ecu {
    genesis: Genesis,
    registry: Registry,
    me: ValidatorIndex,
    correct: [ValidatorIndex; 2],
    liars: StdVec<ValidatorIndex>,
    /// Suspended, and say all that the liars say.
    talkers: StdVec<ValidatorIndex>,
    quorum: Quorum,
    height: Height,
    /// What was decided at each height before, and the mesh identity in front of it.
    heads: StdVec<Hash>,
    values: [(Hash, TxBytes); 2],
    /// What was decided before.
    before: StdVec<TxBytes>,
    /// Journals up to this height: of one that remembers all, and of one that has lost its memory and was told.
    journals: [Journal; 2],
    /// What its journal holds of the next height, if this one is decided.
    later: Journal,
    /// Whether it may lose its memory.
    forgets: bool,
}

impl Ecu {
    /// A car of `n` that has decided this. Of those that are suspended by now `talkers` say all that the liars say. The node that is stepped is the one whose turn to propose
    /// does not come in the first rounds: proposals come from everywhere.
    pub(super) fn after(n: usize, decided: &[Transaction], talkers: &[ValidatorIndex]) -> Self {
        let genesis = car::genesis(n, "EXPLORED");
        let registry = Registry::from(&genesis);
        let height = decided.len() as Height + 1;
        let mut state = State::new(&genesis);
        let before: StdVec<TxBytes> = decided.iter().map(|tx| tx.encode().expect("short")).collect();
        let mut heads = std::vec![*state.head()];
        for (tx, bytes) in decided.iter().zip(&before) {
            state.apply(bytes, tx, &genesis).expect("allowed");
            heads.push(*state.head());
        }
        let voters: StdVec<ValidatorIndex> = state.members().iter().collect();
        let me = voters[height as usize % voters.len()];
        let mut others = voters.iter().copied().filter(|at| *at != me);
        let correct = [(); 2].map(|()| others.next().expect("four at least"));
        let named = |bytes: TxBytes| (decision_hash(&genesis.mesh(), height, state.head(), &bytes), bytes);
        let mut ecu = Self {
            registry,
            me,
            correct,
            liars: others.collect(),
            talkers: talkers.to_vec(),
            quorum: state.members().quorum(&genesis),
            height,
            heads,
            values: values(height).map(named),
            before,
            journals: Default::default(),
            later: Journal::new(),
            forgets: false,
            genesis,
        };
        assert_eq!(ecu.liars.len(), crate::quorum::faults(n), "three correct nodes and the liars");
        ecu.journals = [false, true].map(|has_forgotten| ecu.comes_here(has_forgotten, LATER_BOOT).1);
        ecu
    }

    /// It may lose its memory.
    pub(super) fn forgetful(self) -> Self {
        Self { forgets: true, ..self }
    }

    /// It has lost its memory and was readmitted in its first boot, before this height.
    pub(super) fn readmitted(mut self) -> Self {
        self.journals[0] = self.comes_here(true, FIRST_BOOT).1;
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
        let mut state = State::new(&self.genesis);
        for tx in &self.before {
            state.apply(tx, &Transaction::decode(tx).expect("encoded"), &self.genesis).expect("allowed");
        }
        self.journals[0] = std::vec![(RecordKind::State, state.encode().expect("it fits").to_vec())];
        self
    }

    /// Comes to this height from nothing, by what f + 1 others say.
    fn comes_here(&self, has_forgotten: bool, nonce: u64) -> (Box<Validator<Ideal>>, Journal) {
        let mut node = self.installed();
        if has_forgotten {
            node.forget();
        }
        node.start(Boot { nonce }, NOW);
        let mut done = self.meets(&mut node);
        for (height, tx) in (1..).zip(&self.before) {
            done.extend(self.is_told(&mut node, height, tx));
        }
        self.knows_values(&mut node);
        let written = |done| if let Done::Written(kind, bytes, _) = done { Some((kind, bytes)) } else { None };
        (node, done.into_iter().filter_map(written).collect())
    }

    fn installed(&self) -> Box<Validator<Ideal>> {
        let mut node = Box::new(Validator::new(Ideal { me: self.me }));
        node.install(self.registry.clone(), self.me).expect("it has a place");
        node
    }

    /// Comes back with what its journal holds; nothing is done yet.
    fn restored<'r>(&self, journal: impl IntoIterator<Item = &'r (RecordKind, StdVec<u8>)>) -> Box<Validator<Ideal>> {
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

    /// It has sessions with all others.
    fn meets(&self, node: &mut Validator<Ideal>) -> StdVec<Done> {
        for peer in node.others() {
            let met = Session { nonce: Some(0), boot: 1, knows_me: true, heard: Some(NOW), ..Session::NONE };
            node.sessions[usize::from(peer)] = met;
        }
        self.does(node, Input::Tick)
    }

    fn journal(&self, votes: Votes, decided: Option<ValueId>, listens: bool) -> Journal {
        let mut journal = self.journals[usize::from(listens)].clone();
        journal.extend(self.records(self.height, votes.iter()));
        if let Some(id) = decided {
            journal.push(fact(&Record::Decided(
                self.height,
                Named::Content(values(self.height)[usize::from(id)].clone()),
            )));
            journal.extend_from_slice(&self.later);
        }
        journal
    }

    /// Votes in a journal that has named nothing of the height before.
    fn records(&self, height: Height, votes: impl Iterator<Item = Vote>) -> Journal {
        let mut named = [false; 2];
        let mut name = |id: ValueId| {
            let tx = &values(height)[usize::from(id)];
            match core::mem::replace(&mut named[usize::from(id)], true) {
                true => Named::Hint(self.named(height, &self.parent(height), tx).hint().to_le_bytes()),
                false => Named::Content(tx.clone()),
            }
        };
        let record = |vote: Vote| {
            let value = vote.value().map_or(Named::Nil, &mut name);
            fact(&Record::Vote(VoteRecord { height, round: vote.round(), kind: vote.kind(), value }))
        };
        votes.map(record).collect()
    }

    /// The node it is a view of, with nothing heard.
    fn node(&self, view: &Local) -> Box<Validator<Ideal>> {
        let mut node = self.restored(&self.journal(view.known, view.decision(), view.listens));
        let ids = self.ids(&node);
        view.goes_on_in(node.heights.at_mut(self.height).expect("present or just decided"), ids);
        let done = self.meets(&mut node);
        assert!(!done.iter().any(|done| matches!(done, Done::Said(_))), "it had said it before: {view:?}");
        node
    }

    fn here<'v>(&self, node: &'v Validator<Ideal>) -> &'v Instance {
        node.heights.at(self.height).expect("present or just decided")
    }

    fn ids(&self, node: &Validator<Ideal>) -> [ValueId; 2] {
        let here = self.here(node);
        [0, 1].map(|at: usize| here.find(&self.values[at].0).expect("a known value"))
    }

    /// What is left of a node that has done this. `None`: it goes where nobody looks.
    fn view(&self, node: &Validator<Ideal>, before: Said, done: &[Done], rounds: Round) -> Option<Local> {
        let (said, lasting) = votes(before, done, rounds)?;
        let here = self.here(node);
        (here.round() < rounds).then(|| Local::of(here, said, lasting, self.ids(node)))
    }

    /// What is left of one that loses power when it has done this: its journal holds what it has written.
    fn torn(&self, before: &Local, done: &[Done], rounds: Round) -> Option<Local> {
        let said = votes(said(before), done, rounds)?;
        let mut journal = self.journal(before.lasting, before.decision(), before.listens);
        for done in done {
            if let Done::Written(kind, bytes, _) = done {
                journal.push((*kind, bytes.clone()));
            }
        }
        let mut node = self.restored(&journal);
        let after = self.meets(&mut node);
        self.view(&node, said, &after, rounds)
    }

    /// Hands an input over, and carries out the effects: what may leave leaves, then the oldest record becomes durable, and so on.
    fn does(&self, node: &mut Validator<Ideal>, input: Input<'_>) -> StdVec<Done> {
        node.handle(NOW, input);
        let (mut done, mut writing, mut buffer) = (StdVec::new(), VecDeque::new(), [0; MAX_MESSAGE]);
        loop {
            match node.poll(|_| true, &mut buffer) {
                Some(Effect::Persist { token, kind, bytes }) => writing.push_back((token, kind, bytes.to_vec())),
                Some(Effect::Send { header, .. }) => done.extend(self.said(&header).map(Done::Said)),
                Some(_) => {}
                None => {
                    let Some((token, kind, bytes)) = writing.pop_front() else { return done };
                    let cast = self.written(&bytes);
                    done.push(Done::Written(kind, bytes, cast));
                    node.handle(NOW, Input::Persisted(token));
                }
            }
        }
    }

    fn said(&self, header: &Header) -> Option<Cast> {
        let kind = header.kind.vote().filter(|_| header.height == self.height)?;
        let hinted = || self.value(|(hash, _)| hash.hint() == header.hint);
        Some((kind, header.round, (header.hint_proposer != NIL_PROPOSER).then(hinted)))
    }

    fn written(&self, record: &[u8]) -> Option<Cast> {
        let Some(Record::Vote(vote)) = codec::decode(record) else { return None };
        let value = match &vote.value {
            Named::Nil => None,
            Named::Hint(hint) => Some(self.value(|(hash, _)| hash.hint().to_le_bytes() == *hint)),
            Named::Content(content) => Some(self.value(|(_, tx)| tx == content)),
        };
        (vote.height == self.height).then_some((vote.kind, vote.round, value))
    }

    fn value(&self, is: impl FnMut(&(Hash, TxBytes)) -> bool) -> ValueId {
        self.values.iter().position(is).expect("one of the two") as ValueId
    }

    /// Hands it a message of `sender`, who counts its messages by `counter`.
    fn hears_of(
        &self,
        node: &mut Validator<Ideal>,
        sender: ValidatorIndex,
        header: Header,
        body: &[u8],
        subject: &Hash,
    ) -> StdVec<Done> {
        let counter = (node.counters.accepted + node.counters.held) as u32 + 1;
        let (mesh, suite) = (self.registry.mesh().short(), self.registry.suite().code());
        let header = Header { mesh, suite, sender, counter, ..header };
        let tag = mixed([sender, self.me], &wire::tag_input(&header.to_bytes(), subject));
        let length = self.registry.tag_len();
        let mut tags = std::vec![0; wire::tags_len(header.kind, self.genesis.validators.len(), length)];
        let slot = if header.kind.is_addressed() { 0 } else { wire::tag_slot(sender, self.me) };
        tags[slot * length..(slot + 1) * length].copy_from_slice(&tag[..length]);
        let bytes = [&header.to_bytes(), body, &tags].concat();
        let source = Source { device: Device::Validator(sender), class: header.kind.class() };
        self.does(node, Input::Message { source, bytes: &bytes })
    }

    fn hears_vote(&self, node: &mut Validator<Ideal>, voter: ValidatorIndex, vote: Vote) -> StdVec<Done> {
        self.hears_vote_at(node, voter, vote, self.height, &self.parent(self.height))
    }

    /// A vote at a height, in the history in which `parent` was decided before.
    fn hears_vote_at(
        &self,
        node: &mut Validator<Ideal>,
        voter: ValidatorIndex,
        vote: Vote,
        height: Height,
        parent: &Hash,
    ) -> StdVec<Done> {
        let named = vote.value().map(|id| self.named(height, parent, &values(height)[usize::from(id)]));
        let hint = named.as_ref().map(|hash| (self.liars[0], hash));
        let header = Header::new(vote.kind().into(), height).round(vote.round()).hint(hint);
        self.hears_of(node, voter, header, &[], &named.unwrap_or_else(|| nil_subject(parent)))
    }

    fn named(&self, height: Height, parent: &Hash, tx: &[u8]) -> Hash {
        decision_hash(&self.registry.mesh(), height, parent, tx)
    }

    /// What was decided before a height: of the one after this, the first value.
    fn parent(&self, height: Height) -> Hash {
        self.heads.get(height as usize - 1).copied().unwrap_or(self.values[0].0)
    }

    fn hears_proposal(&self, node: &mut Validator<Ideal>, id: ValueId) -> StdVec<Done> {
        let round = self.here(node).round();
        let proposer = if round == 0 { self.liars[0] } else { self.here(node).proposer(round) };
        let (hash, tx) = &self.values[usize::from(id)];
        let header = Header::new(Kind::Propose, self.height).round(round).hint(Some((proposer, hash)));
        self.hears_of(node, proposer, header, tx, hash)
    }

    /// A correct one and the liars say that this was decided (C5).
    fn is_told(&self, node: &mut Validator<Ideal>, height: Height, tx: &TxBytes) -> StdVec<Done> {
        let mut header = Header::new(Kind::Value, height).round(self.me);
        header.hint_proposer = DECIDED_VALUE;
        let believed = [self.correct[0]].into_iter().chain(self.liars.iter().copied());
        let say = |teller| self.hears_of(node, teller, header, tx, &hash(Domain::Body, &[tx]));
        believed.flat_map(say).collect()
    }

    /// All others vote for a value, or say that they do, in another history, or at the height before or after.
    fn is_distracted(&self, view: &Local, rounds: Round) -> Option<Local> {
        let (mut node, mut done) = (self.node(view), StdVec::new());
        let before = self.height.checked_sub(1).filter(|height| *height > 0);
        let after = Some(self.height + 1).filter(|_| view.decided.is_none());
        let elsewhere = [before, after].into_iter().flatten().map(|height| (height, self.parent(height)));
        for (height, parent) in elsewhere.chain([(self.height, Hash([0xf0; 32]))]) {
            for kind in [VoteKind::Prevote, VoteKind::Precommit] {
                for voter in node.others() {
                    done.extend(self.hears_vote_at(&mut node, voter, Vote::new(kind, 0, Some(0)), height, &parent));
                }
            }
        }
        self.view(&node, said(view), &done, rounds)
    }
}

/// What the next heights are told that was decided.
pub(super) fn first_value(height: Height) -> Transaction {
    Transaction::decode(&values(height)[0]).expect("encoded")
}

/// What there is to vote for at a height.
fn values(height: Height) -> [TxBytes; 2] {
    [1, 2].map(|more| {
        let sequence = 100 * u64::from(height) + more;
        Transaction::Record { endpoint: 0, sequence, data: Vec::new() }.encode().expect("short")
    })
}

/// What a node has said, and what of that its journal holds.
type Said = (Votes, Votes);

fn said(view: &Local) -> Said {
    (view.said, view.lasting)
}

/// The same after it has done this.
fn votes((mut said, mut lasting): Said, done: &[Done], rounds: Round) -> Option<Said> {
    for done in done {
        let (Done::Said(cast) | Done::Written(_, _, Some(cast))) = *done else { continue };
        let (kind, round, value) = cast;
        if round >= rounds {
            return None;
        }
        let vote = Vote::new(kind, round, value);
        said.insert(vote); // what is durable may leave
        lasting.extend(matches!(done, Done::Written(..)).then_some(vote));
    }
    Some((said, lasting))
}

impl Engine for Ecu {
    fn quorum(&self) -> Quorum {
        self.quorum
    }

    fn beginning(&self) -> Local {
        let (node, _) = self.comes_here(false, LATER_BOOT);
        self.view(&node, Said::default(), &[], 1).expect("round 0")
    }

    fn hears(&self, view: &Local, heard: &Heard, rounds: Round) -> StdVec<Option<Local>> {
        let (mut node, mut done) = (self.node(view), StdVec::new());
        if heard.helps {
            (node.decided_at, node.helped_at) = (Micros(0), Micros(0)); // long ago
        }
        let [one, other, liars] = heard.votes;
        let said_by_liars = self.liars.iter().chain(&self.talkers).map(|liar| (*liar, liars));
        for (voter, vote) in self.correct.into_iter().zip([one, other]).chain(said_by_liars) {
            if let Some(vote) = vote {
                done.extend(self.hears_vote(&mut node, voter, vote));
            }
        }
        if heard.helps && heard.votes == [None; 3] {
            let question = Vote::new(VoteKind::Prevote, 0, None);
            done.extend(self.hears_vote(&mut node, self.liars[0], question));
        }
        if let Some(id) = heard.proposal {
            done.extend(self.hears_proposal(&mut node, id));
        }
        if let Some(wait) = heard.wait {
            end_wait(node.heights.at_mut(self.height).expect("present or just decided"), wait, NOW);
            done.extend(self.does(&mut node, Input::Tick));
        }
        let whole = self.view(&node, said(view), &done, rounds);
        let cuts = (1..done.len()).map(|at| self.torn(view, &done[..at], rounds));
        core::iter::once(whole).chain(cuts).collect()
    }

    fn believes(&self, view: &Local, id: ValueId, rounds: Round) -> Option<Local> {
        let mut node = self.node(view);
        let done = self.is_told(&mut node, self.height, &self.values[usize::from(id)].1);
        self.view(&node, said(view), &done, rounds)
    }

    /// Also with a journal that was rewritten first.
    fn loses_power(&self, view: &Local, rounds: Round) -> Option<Local> {
        let back = self.torn(view, &[], rounds);
        let mut rewritten = Journal::new();
        let before = self.restored(&self.journal(view.lasting, view.decision(), view.listens));
        before.live_records(&mut [0; MAX_MESSAGE], &mut |kind, record| rewritten.push((kind, record.to_vec())));
        let mut node = self.restored(&rewritten);
        let done = self.meets(&mut node);
        // a node that breaks rules may say what no journal is made for
        let is_same = self.view(&node, said(view), &done, rounds) == back;
        assert!(is_same || Flaw::at_work().is_some(), "a rewritten journal does not hold the same: {view:?}");
        back
    }

    fn suffers(&self, view: &Local, rounds: Round) -> StdVec<Local> {
        let forgets = || {
            let (node, _) = self.comes_here(true, LATER_BOOT);
            self.view(&node, (view.said, Votes::default()), &[], rounds)
        };
        let forgotten = self.forgets.then(forgets).flatten();
        forgotten.into_iter().chain(self.is_distracted(view, rounds)).collect()
    }
}

fn fact(record: &Record) -> (RecordKind, StdVec<u8>) {
    let mut buffer = [0; crate::record::MAX_RECORD];
    (RecordKind::Fact, codec::encode(record, &mut buffer).expect("it fits").to_vec())
}
