//! What waits to leave: durable before sent, urgent before patient, sealed with fresh tags at the last moment.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::ignition::{FLAG_AMNESIAC, FLAG_KEPT};
use super::life::SignatureName;
use super::workings::count;
use super::{Decision, HeldGrant, Report, Validator};
use crate::agreement::{Instance, MAX_ACTIONS, ValueId, VoteKind};
use crate::block::Seal;
use crate::codec;
use crate::flaw::Flaw;
use crate::grant::{GrantRefusal, SignedGrant};
use crate::hash::{Domain, hash};
use crate::keys::{Device, KeyHandle, KeyStore};
use crate::limits::{MAX_MESSAGE, MAX_OUTBOX, MAX_TX};
use crate::order::{Endorsement, OrderRefusal};
use crate::packed::Packed;
use crate::pairing::Agreement;
use crate::record::{MAX_RECORD, NamedValues, Record, RecordKind};
use crate::state::Refusal;
use crate::tx::{Transaction, TxBytes};
use crate::types::{Hash, Height, PublicKey, Round, Signature, ValidatorIndex};
use crate::wire::{self, Class, DECIDED_VALUE, HEADER, Header, Kind, WHOLE_STATE};

/// Something to do, in order.
#[derive(Debug)]
pub enum Effect<'b> {
    /// Append to the journal; answer with [`super::Input::Persisted`] when it is durable.
    Persist {
        /// Rises by one.
        token: u64,
        /// How the journal marks it.
        kind: RecordKind,
        /// The record.
        bytes: &'b [u8],
    },
    /// Send a message on the identifier of its class.
    Send {
        /// Kind, height and round, for cancelling and for [`super::Input::Proposed`].
        header: Header,
        /// Header, body, tags.
        bytes: &'b [u8],
    },
    /// Votes not sent yet need not be sent.
    Cancel(Cancel),
    /// A quorum decided, and it is durable here: act on it.
    Decided(Decision),
    /// Sign a block header's hash ([`Seal::sign`]), at leisure; answer with [`super::Input::Signed`].
    Sign(Hash),
    /// Check a grant's signature against the fleet authorities, at leisure; answer with
    /// [`super::Input::GrantChecked`].
    CheckGrant(SignedGrant),
    /// Work out a secret of a refresh, at leisure; answer with [`super::Input::Agreed`] (DC-24).
    Agree(Agreement),
    /// Draw a key pair for a refresh, at leisure; answer with [`super::Input::Refresh`] (DC-24).
    Draw,
    /// Make durable what the key store has now, in place of what it had; answer with [`super::Input::Kept`] (DC-25).
    Keep,
    /// Check that the key has signed an order for this car ([`Endorsement::is_genuine`]), at leisure; answer with
    /// [`super::Input::EndorsementChecked`].
    CheckEndorsement(Endorsement, PublicKey),
    /// At the gateway: a seal of block `number` (its signature is not checked yet).
    Sealed(u32, Seal),
    /// Worth a line in a log.
    Report(Report),
}

/// Votes that need not be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The PREVOTE of a round: the PRECOMMIT says it, too.
    Prevote(Height, Round),
    /// All votes of a height: a quorum of precommits was on the wire for everybody.
    Votes(Height),
}

/// First bytes of a grant's digest: enough to tell those that are held, and too many to find another with the same.
type GrantName = [u8; 8];

/// A message before it is sealed. There may be many, so what is long is named, and looked up when it leaves.
#[derive(PartialEq, Eq)]
pub(super) enum Message {
    /// An own vote: its value keeps its place.
    Vote(Height, VoteKind, Round, Option<ValueId>),
    /// The own proposal of a round.
    Propose(Height, Round),
    /// To a peer, by the hint with which it asked.
    Value(ValidatorIndex, Height, u16),
    Decided,
    Hello,
    Confirm,
    Fetch(ValidatorIndex, Height, u16),
    Sync(ValidatorIndex),
    AskPage(ValidatorIndex, u8),
    State(ValidatorIndex),
    Page(ValidatorIndex, u8),
    Decision(ValidatorIndex, Height),
    Grant(GrantName),
    Order(SignatureName),
    Firmware,
    /// The sequence as bytes, for a number of that length would have to be aligned.
    Ack(u8, Height, [u8; 8]),
    Seal(u32),
    /// What the own clock says when it leaves.
    Clock,
    /// To the missing ones of 64 endpoints.
    Call(u8),
}

/// What waits for durability. What is long lies beside it, in the order of the entries that speak of it.
enum Waiting {
    Send(Message),
    Cancel(Cancel),
    Decided,
    /// The block with this number.
    Sign(u32),
    CheckGrant(GrantName),
    Agree,
    Draw,
    Keep,
    CheckEndorsement(SignatureName),
    Sealed,
    Report(Report<(), ()>),
}

/// What a [`Decision`] says besides its transaction.
#[derive(Serialize, Deserialize)]
pub(super) struct Concluded {
    pub(super) height: Height,
    pub(super) hash: Hash,
    pub(super) round: Round,
    pub(super) latency_us: Option<u64>,
    pub(super) live: bool,
}

/// Longest encoding of it.
const MAX_CONCLUDED: usize = 5 + 32 + 1 + 1 + 10 + 1;
/// Bytes of decisions that wait until they are durable.
const DECIDED_BYTES: usize = 512;
/// Bytes of what reports and seals speak of that wait to be told.
const TOLD_BYTES: usize = 256;
/// Stands for a page among the records; no [`Record`] begins so.
const PAGE_MARK: u8 = 0xff;
/// Bytes of records that wait to be written.
const RECORD_BYTES: usize = 1024;

impl Message {
    fn class(&self) -> Class {
        let kind = match self {
            Self::Vote(_, kind, ..) => (*kind).into(),
            Self::Propose(..) => Kind::Propose,
            Self::Value(..) | Self::Decision(..) => Kind::Value,
            Self::Decided => Kind::Decided,
            Self::Hello => Kind::Hello,
            Self::Confirm => Kind::Confirm,
            Self::Fetch(..) => Kind::Fetch,
            Self::Sync(..) | Self::AskPage(..) => Kind::Sync,
            Self::State(..) | Self::Page(..) => Kind::State,
            Self::Grant(..) | Self::Order(..) | Self::Firmware | Self::Clock => Kind::Grant,
            Self::Ack(..) | Self::Call(_) => Kind::Ack,
            Self::Seal(_) => Kind::Seal,
        };
        kind.class()
    }
}

/// Effects that one input may add while there is room ([`Validator::can_persist`]).
const ROOM: usize = 3 * MAX_ACTIONS;
/// The same for records: a vote for each action, one of a decision, and a few short ones.
const ROOM_BYTES: usize = (MAX_ACTIONS + 1) * MAX_RECORD;
/// Messages of one class that may wait for the bus.
const MAX_WAITING: usize = 24;
const _: () = assert!(RECORD_BYTES > ROOM_BYTES + ROOM && DECIDED_BYTES > 1 + 1 + MAX_CONCLUDED + MAX_TX);
const _: () = assert!(2 * MAX_WAITING + ROOM < MAX_OUTBOX, "votes and answers to peers together must not stop voting");

pub(super) struct Outbox {
    /// Encoded. Nothing is the state, [`PAGE_MARK`] and a number a page: large, so encoded only when their turn comes. By then the
    /// state may hold decisions whose records follow.
    persists: Packed<RECORD_BYTES>,
    /// Each the encoding of [`Concluded`] behind its length, and the transaction.
    decided: Packed<DECIDED_BYTES>,
    /// Refused transactions, digests of grants, seals.
    told: Packed<TOLD_BYTES>,
    token: u64,
    /// That of the last page.
    page: u64,
    durable: u64,
    handed_out: u64,
    waiting: Vec<(u64, Waiting), MAX_OUTBOX>,
}

impl Outbox {
    pub(super) const EMPTY: Self = Self {
        persists: Packed::new(),
        decided: Packed::new(),
        told: Packed::new(),
        token: 0,
        page: 0,
        durable: 0,
        handed_out: 0,
        waiting: Vec::new(),
    };

    pub(super) fn persisted(&mut self, token: u64) {
        self.durable = self.durable.max(token.min(self.handed_out));
    }

    /// The first thing whose records are durable, and whose line is free.
    fn next(&mut self, free: impl Fn(Class) -> bool) -> Option<Waiting> {
        let may_leave =
            |waiting: &Waiting| if let Waiting::Send(message) = waiting { free(message.class()) } else { true };
        let at = self.waiting.iter().position(|(after, waiting)| *after <= self.durable && may_leave(waiting))?;
        Some(self.waiting.remove(at).1)
    }

    fn take_decided(&mut self) -> Option<Decision> {
        let (length, rest) = self.decided.oldest()?.split_first()?;
        let (concluded, bytes) = rest.split_at_checked(usize::from(*length))?;
        let Concluded { height, hash, round, latency_us, live } = codec::decode_own(concluded)?;
        let (bytes, tx) = (TxBytes::from_slice(bytes).ok()?, codec::decode_own(bytes)?);
        self.decided.drop_oldest();
        Some(Decision { height, hash, bytes, tx, round, latency_us, live })
    }

    /// What the next entry that has something told beside it speaks of.
    fn take_told<T>(&mut self, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let told = read(self.told.oldest()?);
        self.told.drop_oldest();
        told
    }

    fn complete(&mut self, report: Report<(), ()>) -> Option<Report> {
        let digest = |bytes: &[u8]| bytes.try_into().ok().map(Hash);
        Some(match report {
            Report::Mode(mode) => Report::Mode(mode),
            Report::Met(peer) => Report::Met(peer),
            Report::Equivocation(peer) => Report::Equivocation(peer),
            Report::Refused((), refusal) => Report::Refused(self.take_told(Transaction::decode)?, refusal),
            Report::GrantRefused((), refusal) => Report::GrantRefused(self.take_told(digest)?, refusal),
            Report::GrantReady(()) => Report::GrantReady(self.take_told(digest)?),
            Report::OrderRefused((), refusal) => Report::OrderRefused(self.take_told(digest)?, refusal),
            Report::OrderReady(()) => Report::OrderReady(self.take_told(digest)?),
            Report::CaughtUp(height) => Report::CaughtUp(height),
            Report::Readmitted(height) => Report::Readmitted(height),
        })
    }

    fn waiting_messages(&self) -> impl Iterator<Item = &Message> {
        self.waiting
            .iter()
            .filter_map(|(_, waiting)| if let Waiting::Send(message) = waiting { Some(message) } else { None })
    }
}

impl<K: KeyStore> Validator<K> {
    /// Makes a record durable; what is queued from now on with `durable` waits for it.
    pub(super) fn persist(&mut self, record: Record) {
        self.write(Some(&record));
    }

    /// Makes a decision durable, and lets DECIDED wait for it (P4).
    pub(super) fn persist_head(&mut self, decision: Record) {
        self.write(Some(&decision));
        self.hold_back_head();
    }

    /// Makes the whole state durable, and lets DECIDED wait for it (P4).
    pub(super) fn persist_state(&mut self) {
        self.write(None);
        self.hold_back_head();
    }

    /// Makes a page of the registry durable.
    pub(super) fn persist_page(&mut self, page: u8) {
        self.write_bytes(Some(&[PAGE_MARK, page]));
        self.outbox.page = self.outbox.token;
    }

    fn write(&mut self, write: Option<&Record>) {
        let mut buffer = [0; MAX_RECORD];
        self.write_bytes(write.map_or(Some(&[][..]), |record| codec::encode(record, &mut buffer)));
    }

    fn write_bytes(&mut self, bytes: Option<&[u8]>) {
        if bytes.is_some_and(|bytes| self.outbox.persists.push([bytes, &[]])) {
            self.outbox.token += 1;
        } else {
            self.counters.dropped += 1;
        }
    }

    /// DECIDED and STATE speak of the head at the time they are sealed.
    fn hold_back_head(&mut self) {
        let token = self.outbox.token;
        for (after, waiting) in &mut self.outbox.waiting {
            if matches!(waiting, Waiting::Send(Message::Decided | Message::State(_) | Message::Page(..))) {
                *after = token;
            }
        }
    }

    /// Whether what one input adds finds room: a vote is cast, a decision taken only if it can be made durable.
    pub(super) fn can_persist(&self) -> bool {
        self.outbox.persists.has_room(ROOM_BYTES, ROOM)
            && self.outbox.decided.has_room(1 + MAX_CONCLUDED + MAX_TX, 1)
            && self.outbox.waiting.len() + ROOM <= MAX_OUTBOX
    }

    /// Whether a vote may be cast and a decision taken: it can be made durable, and who belongs to the car is known. A page that is
    /// on its way to the journal must not hold what is decided only then.
    pub(super) fn may_go_on(&self) -> bool {
        self.can_persist() && self.outbox.durable >= self.outbox.page && self.knows_registry()
    }

    fn queue(&mut self, after: u64, waiting: Waiting) {
        if self.outbox.waiting.push((after, waiting)).is_err() {
            self.counters.dropped += 1;
        }
    }

    fn queue_message(&mut self, after: u64, message: Message) {
        if self.outbox.waiting_messages().any(|other| *other == message) {
            count(&mut self.workings.taken_back, 1);
            return; // it is sealed when it leaves: once is enough
        }
        let class = message.class();
        if self.outbox.waiting_messages().filter(|other| other.class() == class).count() < MAX_WAITING {
            self.queue(after, Waiting::Send(message));
        } else {
            self.counters.dropped += 1;
        }
    }

    /// Sends at once.
    pub(super) fn send(&mut self, message: Message) {
        self.queue_message(0, message);
    }

    /// Sends once everything persisted so far is durable.
    pub(super) fn send_durable(&mut self, message: Message) {
        let after = if Flaw::SentFirst.is_at_work() { 0 } else { self.outbox.token };
        self.queue_message(after, message);
    }

    pub(super) fn cancel(&mut self, cancel: Cancel) {
        let before = self.outbox.waiting.len();
        self.outbox.waiting.retain(|(_, waiting)| match (waiting, cancel) {
            (Waiting::Send(Message::Vote(at, _, _, _)), Cancel::Votes(height)) => *at != height,
            (Waiting::Send(Message::Vote(at, VoteKind::Prevote, in_round, _)), Cancel::Prevote(height, round)) => {
                (*at, *in_round) != (height, round)
            }
            _ => true,
        });
        count(&mut self.workings.taken_back, before - self.outbox.waiting.len());
        self.queue(0, Waiting::Cancel(cancel));
    }

    pub(super) fn decided_durable(&mut self, concluded: &Concluded, tx: &[u8]) {
        let mut buffer = [0; 1 + MAX_CONCLUDED];
        let Some(length) = codec::encode(concluded, &mut buffer[1..]).map(<[u8]>::len) else { return };
        buffer[0] = length as u8;
        self.queue_beside(self.outbox.token, Waiting::Decided, |outbox| outbox.decided.push([&buffer[..=length], tx]));
    }

    /// An own order is not, or no longer, valid.
    pub(super) fn refuse(&mut self, tx: &Transaction, refusal: Refusal) {
        let Some(bytes) = tx.encode() else { return };
        self.tell(Waiting::Report(Report::Refused((), refusal)), [&bytes, &[]]);
    }

    /// Tells at once what has a part that lies beside it.
    fn tell(&mut self, waiting: Waiting, beside: [&[u8]; 2]) {
        self.queue_beside(0, waiting, |outbox| outbox.told.push(beside));
    }

    /// Queues what has a part that lies beside it.
    fn queue_beside(&mut self, after: u64, waiting: Waiting, put: impl FnOnce(&mut Outbox) -> bool) {
        if !self.outbox.waiting.is_full() && put(&mut self.outbox) {
            self.queue(after, waiting);
        } else {
            self.counters.dropped += 1;
        }
    }

    /// For the seal of the newest block.
    pub(super) fn ask_signature(&mut self) {
        self.queue(self.outbox.token, Waiting::Sign(self.state.event().number));
    }

    pub(super) fn ask_grant_check(&mut self, digest: &Hash) {
        self.queue(0, Waiting::CheckGrant(grant_name(digest)));
    }

    pub(super) fn ask_agreement(&mut self) {
        self.queue(0, Waiting::Agree);
    }

    pub(super) fn ask_for_randomness(&mut self) {
        self.queue(0, Waiting::Draw);
    }

    pub(super) fn ask_to_keep(&mut self) {
        self.queue(0, Waiting::Keep);
    }

    fn grant_named(&self, name: GrantName) -> Option<&HeldGrant> {
        self.grants.iter().find(|held| grant_name(&held.digest) == name)
    }

    pub(super) fn send_grant(&mut self, digest: &Hash) {
        self.send(Message::Grant(grant_name(digest)));
    }

    pub(super) fn hand_seal(&mut self, number: u32, seal: &Seal) {
        let mut head = [seal.validator; 5];
        head[..4].copy_from_slice(&number.to_le_bytes());
        self.tell(Waiting::Sealed, [&head, &seal.signature.to_bytes()]);
    }

    pub(super) fn report(&mut self, report: Report<(), ()>) {
        self.queue(0, Waiting::Report(report));
    }

    pub(super) fn report_grant(&mut self, digest: &Hash, refused: Option<GrantRefusal>) {
        let report = refused.map_or(Report::GrantReady(()), |refusal| Report::GrantRefused((), refusal));
        self.tell(Waiting::Report(report), [&digest.0, &[]]);
    }

    pub(super) fn ask_endorsement_check(&mut self, name: SignatureName) {
        self.queue(0, Waiting::CheckEndorsement(name));
    }

    pub(super) fn tell_order(&mut self, digest: &Hash, refused: Option<OrderRefusal>) {
        let report = refused.map_or(Report::OrderReady(()), |refusal| Report::OrderRefused((), refusal));
        self.tell(Waiting::Report(report), [&digest.0, &[]]);
    }

    pub(super) fn next_effect<'b>(&mut self, free: impl Fn(Class) -> bool, buffer: &'b mut [u8]) -> Option<Effect<'b>> {
        if let Some((token, kind, length)) = self.next_record(buffer) {
            return Some(Effect::Persist { token, kind, bytes: &buffer[..length] });
        }
        loop {
            return Some(match self.outbox.next(&free)? {
                Waiting::Send(message) => match self.seal_message(&message, buffer) {
                    Some((header, length)) => Effect::Send { header, bytes: &buffer[..length] },
                    None => continue, // what it spoke of is gone
                },
                Waiting::Cancel(cancel) => Effect::Cancel(cancel),
                Waiting::Decided => Effect::Decided(self.outbox.take_decided()?),
                Waiting::Sign(number) if number == self.state.event().number => Effect::Sign(self.state.event().hash),
                Waiting::Sign(_) => continue, // there is a newer one
                Waiting::CheckGrant(name) => match self.grant_named(name) {
                    Some(held) => Effect::CheckGrant(held.signed.clone()),
                    None => continue, // it gave way to others
                },
                Waiting::Agree => match self.next_agreement() {
                    Some(agreement) => {
                        self.keeping.agreeing = true;
                        Effect::Agree(agreement)
                    }
                    None => continue,
                },
                Waiting::Draw => Effect::Draw,
                Waiting::Keep => {
                    (self.keeping.changed, self.keeping.under_way) = (false, true);
                    Effect::Keep
                }
                Waiting::CheckEndorsement(name) => match self.endorsement_to_check(name) {
                    Some((endorsement, key)) => Effect::CheckEndorsement(endorsement, key),
                    None => continue, // the order is void
                },
                Waiting::Sealed => {
                    let (number, seal) = self.outbox.take_told(read_seal)?;
                    Effect::Sealed(number, seal)
                }
                Waiting::Report(report) => Effect::Report(self.outbox.complete(report)?),
            });
        }
    }

    /// Whether the next record is the state or a page of the registry, which take a long buffer.
    #[must_use]
    pub fn owes_state(&self) -> bool {
        self.outbox.persists.oldest().is_some_and(|record| matches!(record, [] | [PAGE_MARK, _]))
    }

    fn next_record(&mut self, buffer: &mut [u8]) -> Option<(u64, RecordKind, usize)> {
        let (kind, length) = match self.outbox.persists.oldest()? {
            [] => (RecordKind::State, codec::encode(&self.state, buffer)?.len()),
            [PAGE_MARK, page] => {
                let (number, content) = buffer.split_first_mut()?;
                *number = *page;
                (RecordKind::Page, 1 + self.registry.write_page(*page, content)?.len())
            }
            record => {
                buffer.get_mut(..record.len())?.copy_from_slice(record);
                (RecordKind::Fact, record.len())
            }
        };
        self.outbox.persists.drop_oldest();
        self.outbox.handed_out += 1;
        Some((self.outbox.handed_out, kind, length))
    }

    /// Hands every record that a rewritten journal must hold to `keep`, in order.
    pub fn live_records(&self, buffer: &mut [u8; MAX_MESSAGE], keep: &mut dyn FnMut(RecordKind, &[u8])) {
        if let Some(state) = codec::encode(&self.state, buffer) {
            keep(RecordKind::State, state);
        }
        for page in self.registry.changed_pages() {
            buffer[0] = page;
            if let Some(length) = self.registry.write_page(page, &mut buffer[1..]).map(<[u8]>::len) {
                keep(RecordKind::Page, &buffer[..=length]);
            }
        }
        let facts = [Some(Record::Boot(self.boot)), self.amnesiac.then_some(Record::Amnesiac)].into_iter().flatten();
        let past = self.history.iter().filter_map(|tx| Some(Record::Past(TxBytes::from_slice(tx).ok()?)));
        let parent = self.heights.previous().map(|previous| Record::Parent(*previous.parent()));
        for record in facts.chain(past).chain(parent) {
            if let Some(bytes) = codec::encode(&record, buffer) {
                keep(RecordKind::Fact, bytes);
            }
        }
        for instance in self.heights.iter() {
            Self::live_votes(instance, buffer, keep);
        }
    }

    fn live_votes(instance: &Instance, buffer: &mut [u8], keep: &mut dyn FnMut(RecordKind, &[u8])) {
        let mut named = NamedValues::NONE;
        for kind in [VoteKind::Prevote, VoteKind::Ready, VoteKind::Precommit] {
            for (round, value) in instance.own_votes(kind) {
                let record = Self::vote_record(instance, kind, round, value, &mut named).map(Record::Vote);
                if let Some(bytes) = record.and_then(|record| codec::encode(&record, buffer)) {
                    keep(RecordKind::Fact, bytes);
                }
            }
        }
    }

    /// Header, body and fresh tags into `buffer`; `None` if what the message speaks of is gone.
    fn seal_message(&mut self, message: &Message, buffer: &mut [u8]) -> Option<(Header, usize)> {
        let nil = Hash::NIL;
        let (mut header, subject, body) = match message {
            Message::Vote(height, kind, round, value) => {
                let instance = self.instance(*height)?;
                let value = match value {
                    Some(id) => Some(instance.value(*id)?),
                    None => None,
                };
                let hint = value.map(|value| (value.proposer, &value.hash));
                let header = Header::new((*kind).into(), *height).round(*round).hint(hint);
                (header, instance.subject(value.map_or(&nil, |value| &value.hash)), 0)
            }
            Message::Propose(height, round) => {
                let instance = self.instance(*height)?;
                let id = instance.own_proposal_of(*round)?;
                let (known, body) = (instance.value(id)?, put_body(buffer, instance.transaction(id)?)?);
                let header = Header::new(Kind::Propose, *height).round(*round).hint(Some((self.me, &known.hash)));
                (header, known.hash, body)
            }
            Message::Value(to, height, hint) => {
                let instance = self.instance(*height)?;
                let id = instance.hinted(*hint).next()?;
                let (known, body) = (instance.value(id)?, put_body(buffer, instance.transaction(id)?)?);
                let header = Header::new(Kind::Value, *height).round(*to).hint(Some((known.proposer, &known.hash)));
                (header, known.hash, body)
            }
            Message::Decided => {
                let header = Header::new(Kind::Decided, self.state.height()).hint(Some((0, self.state.head())));
                (header, *self.digest(), 0)
            }
            Message::Decision(to, height) => {
                let tx = self.decision_at(*height)?;
                let body = put_body(buffer, tx)?;
                let mut header = Header::new(Kind::Value, *height).round(*to);
                header.hint_proposer = DECIDED_VALUE;
                (header, hash(Domain::Body, &[tx]), body)
            }
            Message::Hello => (Header::new(Kind::Hello, self.boot).with_nonce(self.nonce), nil, 0),
            Message::Confirm => {
                let flags = u8::from(self.amnesiac) * FLAG_AMNESIAC + u8::from(self.keys_are_kept()) * FLAG_KEPT;
                let mut header = Header::new(Kind::Confirm, self.state.height()).round(flags);
                header.hint = self.known_peers();
                (header, nil, 0)
            }
            Message::Fetch(to, height, hint) => {
                let mut header = Header::new(Kind::Fetch, *height).round(*to);
                header.hint = *hint;
                (header, nil, 0)
            }
            Message::Sync(from) => {
                let mut header = Header::new(Kind::Sync, self.state.height()).round(*from);
                // decisions are of no use to whoever does not know the registry before them
                header.hint_proposer = if self.knows_registry() { 0 } else { WHOLE_STATE };
                (header, nil, 0)
            }
            Message::AskPage(from, page) => {
                let mut header = Header::new(Kind::Sync, self.state.height()).round(*from);
                header.hint_proposer = 1 + page;
                (header, nil, 0)
            }
            Message::Page(to, page) => {
                let body = self.put_page(*page, buffer)?;
                let subject = hash(Domain::Body, &[&buffer[HEADER..HEADER + body]]);
                let mut header = Header::new(Kind::State, self.state.height()).round(*to);
                header.hint_proposer = 1 + page;
                (header, subject, body)
            }
            Message::State(to) => {
                let body = codec::encode(&self.state, buffer.get_mut(HEADER..)?)?.len();
                let subject = hash(Domain::Body, &[&buffer[HEADER..HEADER + body]]);
                (Header::new(Kind::State, self.state.height()).round(*to), subject, body)
            }
            Message::Grant(name) => {
                let held = self.grant_named(*name)?;
                let body = codec::encode(&held.signed, buffer.get_mut(HEADER..)?)?.len();
                let subject = hash(Domain::Body, &[&buffer[HEADER..HEADER + body]]);
                (Header::new(Kind::Grant, self.state.height()), subject, body)
            }
            Message::Order(name) => {
                let endorsement = self.take_endorsement_named(*name)?;
                let body = codec::encode(&endorsement, buffer.get_mut(HEADER..)?)?.len();
                let subject = hash(Domain::Body, &[&buffer[HEADER..HEADER + body]]);
                (Header::new(Kind::Grant, self.state.height()).round(wire::ORDER_FORM), subject, body)
            }
            Message::Firmware => {
                let firmware = self.firmware_of(self.me)?.0;
                let (body, subject) = (put_body(buffer, &firmware)?, hash(Domain::Body, &[&firmware]));
                (Header::new(Kind::Grant, self.state.height()).round(wire::FIRMWARE_FORM), subject, body)
            }
            Message::Clock => {
                let reading = self.own_clock()?.to_le_bytes();
                let body = put_body(buffer, &reading)?;
                let header = Header::new(Kind::Grant, self.state.height()).round(wire::CLOCK_FORM);
                (header, hash(Domain::Body, &[&reading]), body)
            }
            Message::Ack(endpoint, height, sequence) => {
                let body = put_body(buffer, sequence)?;
                let subject = hash(Domain::Body, &[sequence]);
                (Header::new(Kind::Ack, *height).round(*endpoint), subject, body)
            }
            Message::Call(window) => {
                let (header, body) = self.call_message(*window)?;
                (header, nil, put_body(buffer, &body)?)
            }
            Message::Seal(number) => {
                let (_, signature) = self.seal.filter(|(newest, _)| newest == number)?;
                let mut bytes = [0; 68];
                bytes[..4].copy_from_slice(&number.to_le_bytes());
                bytes[4..].copy_from_slice(&signature.to_bytes());
                let body = put_body(buffer, &bytes)?;
                let subject = hash(Domain::Body, &[&bytes]);
                (Header::new(Kind::Seal, self.state.height()).round(self.gateway), subject, body)
            }
        };
        header.mesh = self.mesh.short();
        header.suite = self.registry.suite().code();
        header.sender = self.me;
        if header.kind != Kind::Hello {
            self.counter = self.counter.checked_add(1)?;
            header.counter = self.counter;
        }
        let head = header.to_bytes();
        *buffer.first_chunk_mut()? = head;
        let input = wire::tag_input(&head, &subject);
        let mut at = HEADER + body;
        let mut put_tag = |key: KeyHandle, keys: &K| -> Option<()> {
            let slot = buffer.get_mut(at..at + self.tag_len)?;
            // a peer without a session gets no tag: it could not check one
            let tag = keys.tag(key, &input).unwrap_or_default();
            slot.copy_from_slice(&tag[..self.tag_len]);
            at += self.tag_len;
            Some(())
        };
        match header.kind {
            Kind::Ack if header.is_presence() => {} // many are called, and share no key
            Kind::Ack => put_tag(KeyHandle::Pair(Device::Endpoint(header.round)), &self.keys)?,
            kind if kind.is_addressed() => put_tag(KeyHandle::Session(header.round), &self.keys)?,
            kind => {
                for peer in (0..self.full.n as ValidatorIndex).filter(|peer| *peer != self.me) {
                    let key = match kind {
                        Kind::Hello => KeyHandle::Pair(Device::Validator(peer)),
                        Kind::Confirm if self.sessions[usize::from(peer)].speaks_as_candidate() => {
                            KeyHandle::Candidate(peer)
                        }
                        _ => KeyHandle::Session(peer),
                    };
                    put_tag(key, &self.keys)?;
                }
            }
        }
        Some((header, at))
    }
}

fn grant_name(digest: &Hash) -> GrantName {
    digest.0.first_chunk().copied().unwrap_or_default()
}

/// A seal behind the number of its block and its validator, as [`Validator::hand_seal`] puts it.
fn read_seal(told: &[u8]) -> Option<(u32, Seal)> {
    let (number, rest) = told.split_first_chunk()?;
    let (validator, signature) = rest.split_first()?;
    let seal = Seal { validator: *validator, signature: Signature::from_bytes(signature.try_into().ok()?) };
    Some((u32::from_le_bytes(*number), seal))
}

fn put_body(buffer: &mut [u8], body: &[u8]) -> Option<usize> {
    buffer.get_mut(HEADER..HEADER + body.len())?.copy_from_slice(body);
    Some(body.len())
}
