//! Getting to the present: missing values, and the whole state after a sleep. `docs/protocol.md` chapter 5.

use super::outbox::{Cancel, Message};
use super::pages::Pages;
use super::receive::Verdict;
use super::receive::timed;
use super::{Report, Validator};
use crate::flaw::Flaw;
use crate::hash::{Domain, hash, hash_of_encoding};
use crate::keys::KeyStore;
use crate::limits::{HISTORY_BATCH, MAX_TAG, MAX_VALIDATORS};
use crate::record::Record;
use crate::slot::Slot;
use crate::tx::{Transaction, TxBytes, decision_hash};
use crate::types::{Hash, Height, Micros, ValidatorIndex};
use crate::wire::{self, HEADER, Header, Parts, WHOLE_STATE};

/// Phases in which a peer gets one VALUE, or one batch of decisions: the answer is longer than its question, and a liar asks at will.
pub(super) const VALUE_PHASES: u64 = 8;

/// Asking for values that others vote for and this node does not hold.
pub(super) struct Fetch {
    /// When to ask, or to ask for another one.
    pub(super) due: Micros,
    /// Whom, and for what.
    asked: Option<(ValidatorIndex, Height, u16)>,
}

impl Fetch {
    /// Whether this very value was asked of this very voter: nobody can push values.
    pub(super) fn asked(&self, voter: ValidatorIndex, height: Height, hint: u16) -> bool {
        self.asked == Some((voter, height, hint))
    }
}

/// What this node needs of a DECIDED: the header, and its own tag.
#[derive(Clone)]
struct Claim {
    head: [u8; HEADER],
    tag: heapless::Vec<u8, MAX_TAG, u8>,
}

impl Claim {
    fn height(&self) -> Option<Height> {
        Header::parse(&self.head).map(|header| header.height)
    }
}

/// A state that a peer has served. Its message stays with whoever handed it over.
struct Offered {
    height: Height,
    digest: Hash,
    /// Until when its proof is waited for.
    until: Micros,
    /// f + 1 DECIDED speak for it.
    proven: bool,
}

/// What there is of the proof of a state (DC-33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Fewer than f + 1 DECIDED, or there is no room to make the state durable.
    Awaited,
    /// The state can be taken over now.
    Complete,
}

/// Catching up with heights that the others have decided.
pub(super) struct CatchUp {
    /// The last DECIDED of each peer about a height that this node has not reached, unverified.
    claims: [Option<Claim>; MAX_VALIDATORS],
    /// Since when somebody claims to be ahead.
    since: Option<Micros>,
    /// Whom the present was asked of, when, and from which height.
    asked: Option<(ValidatorIndex, Micros, Height)>,
    /// A state that waits until f + 1 DECIDED prove its digest, or until it would not be taken any more.
    offered: Slot<Offered>,
    /// What each peer says was decided at a height: the hash of the transaction.
    vouched: [Option<(Height, Hash)>; MAX_VALIDATORS],
    /// Requests since the last one that helped.
    fruitless: u8,
    /// When each peer was sent a value last.
    valued: [Option<Micros>; MAX_VALIDATORS],
    /// When each peer was served last.
    served: [Option<(Micros, Height)>; MAX_VALIDATORS],
}

impl CatchUp {
    /// The present is reached: what remains is whom this node has served.
    fn arrive(&mut self) {
        let Self { claims, since, asked, offered, vouched, fruitless, valued: _, served: _ } = self;
        claims.fill(None);
        vouched.fill(None);
        (*since, *asked, *offered, *fruitless) = (None, None, Slot::Empty, 0);
    }

    pub(super) const IDLE: Self = Self {
        claims: [const { None }; MAX_VALIDATORS],
        since: None,
        asked: None,
        offered: Slot::Empty,
        vouched: [None; MAX_VALIDATORS],
        fruitless: 0,
        valued: [None; MAX_VALIDATORS],
        served: [None; MAX_VALIDATORS],
    };
}

impl<K: KeyStore> Validator<K> {
    /// A vote is kept whose value this node does not hold. The proposal may be on its way.
    pub(super) fn want_value(&mut self) {
        let due = self.now.plus(self.phase_us());
        if self.fetch.get().is_none() {
            self.fetch = Slot::Full(Fetch { due, asked: None });
        }
    }

    /// Timers of fetching.
    pub(super) fn catch_up(&mut self) {
        self.ask_for_pages();
        if self.fetch.take_if(|fetch| fetch.due <= self.now).is_none() {
            return;
        }
        self.expire_held();
        let wanted = self.wanted_values().count();
        if wanted == 0 {
            return;
        }
        // each in turn: who put it on the bus is not known yet, and a forged hint must not stand in front of a real one
        self.fetch_turn = (self.fetch_turn + 1) % wanted;
        let Some((voter, hint)) = self.wanted_values().nth(self.fetch_turn) else { return };
        let height = self.heights.current().height();
        self.send(Message::Fetch(voter, height, hint));
        self.fetch = Slot::Full(Fetch { due: self.now.plus(4 * self.phase_us()), asked: Some((voter, height, hint)) });
    }

    /// Values that votes which are kept hint at, with a voter each.
    fn wanted_values(&self) -> impl Iterator<Item = (ValidatorIndex, u16)> {
        let unknown = |header: &Header| {
            let current = self.heights.current();
            let known = current.hinted(header.hint).next().is_some();
            header.kind.vote().is_some() && header.height == current.height() && !known
        };
        let kept = (0..).zip(&self.held).flat_map(|(peer, held)| held.iter().map(move |message| (peer, message)));
        kept.filter_map(move |(peer, message)| {
            Header::parse(timed(message).1).filter(unknown).map(|header| (peer, header.hint))
        })
    }

    pub(super) fn on_fetch(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        let (height, hint) = (parts.header.height, parts.header.hint);
        if self.verify(peer, parts, &Hash::NIL) != Verdict::New {
            return;
        }
        if self.instance(height).is_none_or(|instance| instance.hinted(hint).next().is_none()) {
            return;
        }
        let (now, pause) = (self.now, VALUE_PHASES * self.phase_us());
        let last = &mut self.catch_up.valued[usize::from(peer)];
        if last.is_none_or(|last| now.since(last) >= pause) {
            *last = Some(now);
            self.send(Message::Value(peer, height, hint));
        }
    }

    /// A peer's head (DC-33): the tag covers the digest of the state, and so the decision's hash.
    pub(super) fn on_decided(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        let height = parts.header.height;
        if height < self.state.height() {
            return self.count_stale(peer, parts.header.counter);
        }
        if height == self.state.height() {
            let digest = *self.digest();
            if self.verify(peer, parts, &digest) == Verdict::New {
                self.sessions[usize::from(peer)].present = Some(self.now);
            }
            return;
        }
        let tag = parts.tag(wire::tag_slot(peer, self.me), self.tag_len).and_then(|tag| tag.try_into().ok());
        let Some(claim) = tag.map(|tag| Claim { head: *parts.head, tag }) else { return };
        // a claim that proves the state in hand is not replaced by one that does not: it may be forged
        let kept = self.proves(peer) && !self.proves_by(peer, &claim);
        if !kept {
            self.catch_up.claims[usize::from(peer)] = Some(claim);
        }
        self.catch_up.since.get_or_insert(self.now);
        self.ask_for_the_present();
        self.count_proofs();
    }

    /// Drops claims about heights that this node has reached, and the state of one.
    pub(super) fn forget_claims(&mut self) {
        let height = self.state.height();
        self.catch_up.offered.take_if(|offered| offered.height <= height);
        for claim in &mut self.catch_up.claims {
            claim.take_if(|claim| claim.height().is_none_or(|claimed| claimed <= height));
        }
        if self.catch_up.claims.iter().all(Option::is_none) {
            self.catch_up.since = None;
        }
    }

    /// Whether the peer's DECIDED speaks for the state in hand (DC-33).
    fn proves(&self, peer: ValidatorIndex) -> bool {
        self.catch_up.claims[usize::from(peer)].as_ref().is_some_and(|claim| self.proves_by(peer, claim))
    }

    fn proves_by(&self, peer: ValidatorIndex, claim: &Claim) -> bool {
        let Some(offered) = self.catch_up.offered.get().filter(|_| self.proof().is_some()) else { return false };
        claim.height() == Some(offered.height) && self.key_of(peer, &claim.head, &offered.digest, &claim.tag).is_some()
    }

    /// Asks one of those who claim to be ahead, each in turn, at most once in two heartbeats. A claim is unverified:
    /// it costs no more than that.
    fn ask_for_the_present(&mut self) {
        let pause = 2 * self.heartbeat_us();
        // when a whole batch has come, the next is asked for as soon as anybody may answer, whatever the clocks and the bus make of it
        let next_batch = (VALUE_PHASES + 1) * self.phase_us();
        let last = match self.catch_up.asked {
            Some((peer, at, from)) => {
                let has_come = self.state.height() >= from + HISTORY_BATCH;
                if self.now.since(at) < if has_come { next_batch.min(pause) } else { pause } {
                    return;
                }
                peer
            }
            // a height may just be in progress here: what is decided by asking moves nothing (DC-45)
            None if self.catch_up.since.is_none_or(|since| self.now.since(since) < pause / 2) => return,
            None => self.me,
        };
        let n = self.full.n as ValidatorIndex;
        let ahead = |peer: &ValidatorIndex| self.catch_up.claims[usize::from(*peer)].is_some();
        if let Some(peer) = (1..=n).map(|step| (last + step) % n).find(ahead) {
            self.catch_up.asked = Some((peer, self.now, self.state.height()));
            self.catch_up.offered.clear(); // a newer one is asked for
            self.catch_up.fruitless = self.catch_up.fruitless.saturating_add(1);
            self.send(Message::Sync(peer));
        }
    }

    /// The decision of a height that this node still remembers.
    pub(super) fn decision_at(&self, height: Height) -> Option<&[u8]> {
        let back = self.state.height().checked_sub(height)? as usize;
        let front = self.history.len().checked_sub(1)?.checked_sub(back)?;
        self.history.iter().nth(front)
    }

    pub(super) fn on_sync(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        let (asked, behind) = (parts.header.round, parts.header.height);
        if self.verify(peer, parts, &Hash::NIL) != Verdict::New {
            return;
        }
        let wanted = parts.header.hint_proposer;
        if wanted != 0 && wanted != WHOLE_STATE {
            return if asked == self.me {
                self.on_ask_page(peer, wanted - 1)
            };
        }
        if behind >= self.state.height() {
            return;
        }
        let last = self.catch_up.served[usize::from(peer)];
        let remembered = self.decision_at(behind + 1).is_some() && wanted != WHOLE_STATE;
        // a state is long: a liar's requests must not fill the bus
        let onwards = last.is_some_and(|(_, from)| behind >= from + HISTORY_BATCH);
        let heartbeat = self.heartbeat_us();
        let pause = if remembered && onwards { heartbeat.min(VALUE_PHASES * self.phase_us()) } else { heartbeat };
        if last.is_some_and(|(last, _)| self.now.since(last) < pause) {
            return;
        }
        self.catch_up.served[usize::from(peer)] = Some((self.now, behind));
        if remembered {
            self.repeat_decisions(peer, asked, behind + 1);
        } else {
            self.send_durable(Message::Decided);
            if asked == self.me {
                self.send_durable(Message::State(peer));
            }
        }
    }

    /// R2: height by height, for as far as the history goes. The peer asked and the f + 1 behind it answer, so that
    /// f + 1 do even if the asker is among them.
    fn repeat_decisions(&mut self, peer: ValidatorIndex, asked: u8, from: Height) {
        if asked == self.me || self.turn(asked).is_some_and(|place| place <= self.full.one_correct()) {
            for height in from..=self.state.height().min(from + HISTORY_BATCH - 1) {
                self.send_durable(Message::Decision(peer, height));
            }
        }
    }

    /// A peer says what it decided at a height (C5): f + 1 of them, one correct, are enough.
    pub(super) fn on_decision(&mut self, peer: ValidatorIndex, parts: &Parts<'_>, bytes: &[u8]) {
        let height = parts.header.height;
        if height > self.heights.current().height() {
            return self.hold_ahead(peer, parts, bytes);
        }
        if height < self.heights.current().height() {
            return self.count_stale(peer, parts.header.counter);
        }
        if !self.verify_body(peer, parts) {
            return;
        }
        let said = Some((height, hash(Domain::Body, &[parts.body])));
        self.catch_up.vouched[usize::from(peer)] = said;
        let agreeing = self.catch_up.vouched.iter().filter(|vouched| **vouched == said).count();
        let Ok(tx) = TxBytes::from_slice(parts.body) else { return };
        let enough = if Flaw::OneIsBelieved.is_at_work() { 1 } else { self.full.one_correct() };
        if agreeing >= enough && self.may_go_on() {
            (self.catch_up.fruitless, self.catch_up.offered) = (0, Slot::Empty);
            let hash = decision_hash(&self.mesh, height, self.heights.current().parent(), &tx);
            self.conclude(hash, &tx, 0, false);
            self.ask_for_the_present();
        }
    }

    pub(super) fn on_state(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        // while decisions come one by one, nothing is jumped over
        if self.state_asked_of() != Some(peer) || !self.verify_body(peer, parts) {
            return;
        }
        if let Some(page) = parts.header.hint_proposer.checked_sub(1) {
            return self.on_page(peer, page, parts);
        }
        let height = parts.header.height;
        if let Some((_, asked, _)) = self.catch_up.asked
            && self.whole_state_asked_of() == Some(peer)
            && height > self.state.height()
        {
            // in which each peer says DECIDED by itself; and for some time before it asks again the memory is free for others
            let until = asked.plus(self.heartbeat_us() * 3 / 2);
            // whatever is not the canonical encoding of the state has another hash, which nobody proves
            let digest = hash_of_encoding(Domain::State, parts.body);
            self.catch_up.offered = Slot::Full(Offered { height, digest, until, proven: false });
            self.count_proofs();
        }
    }

    /// The peer whose state, or page of the registry, would be taken now.
    #[must_use]
    pub fn state_asked_of(&self) -> Option<ValidatorIndex> {
        self.whole_state_asked_of().or_else(|| self.page_asked_of())
    }

    fn whole_state_asked_of(&self) -> Option<ValidatorIndex> {
        let (peer, at, _) = self.catch_up.asked?;
        let is_due = self.now.since(at) < self.heartbeat_us() && self.catch_up.fruitless >= self.patience();
        (is_due && self.proof().is_none()).then_some(peer)
    }

    /// What there is of the proof of a state that was taken; `None` if none waits for it. Whoever handed the message over keeps it
    /// meanwhile, and hands it over again ([`Input::Adopt`](super::Input::Adopt)) when the proof is complete.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        let offered = self.catch_up.offered.get().filter(|offered| self.now < offered.until)?;
        Some(if offered.proven && self.can_persist() { Proof::Complete } else { Proof::Awaited })
    }

    /// The bytes of the state that waits are needed for something else: it is asked for again.
    pub fn drop_offered_state(&mut self) {
        self.catch_up.offered.clear();
    }

    /// Fruitless requests before a state is taken over instead of decisions. The gateway asks everybody three times
    /// before: it needs the decisions themselves, for the Event Chain.
    fn patience(&self) -> u8 {
        if !self.knows_registry() {
            0
        } else if self.me == self.gateway {
            3 * self.full.n as u8
        } else {
            2
        }
    }

    /// C5: f + 1 verified DECIDED of the same height, decision and state, one of them from a correct node.
    fn count_proofs(&mut self) {
        let proven = self.others().filter(|peer| self.proves(*peer)).count() >= self.full.one_correct();
        if let Some(offered) = self.catch_up.offered.get_mut() {
            offered.proven |= proven;
        }
    }

    /// Takes over the state that is proven, from the message that brought it.
    pub(super) fn adopt(&mut self, message: &[u8]) {
        if self.proof() != Some(Proof::Complete) {
            return;
        }
        let split = Parts::split(message, self.full.n, self.tag_len);
        let (Some(Offered { height, digest, .. }), Some(parts)) = (self.catch_up.offered.take(), split) else { return };
        if hash_of_encoding(Domain::State, parts.body) != digest {
            return; // other bytes than those that were proven
        }
        self.catch_up.arrive();
        if self.state.read(parts.body, &self.registry) && self.state.height() == height {
            self.digest = digest.into();
            self.history.clear();
            self.pages = Pages::NONE;
            self.persist_state();
            self.remember();
            self.report(Report::CaughtUp(height));
        } else {
            self.lose_memory();
        }
        self.leave_height();
    }

    /// More than f liars have proven what is no state, and the one that there was is overwritten. No vote may follow from what there is
    /// now (P5), nor be allowed by a readmission of this boot, whose nonce is older than the loss (DC-34).
    fn lose_memory(&mut self) {
        self.state.begin(&self.registry);
        self.digest.take();
        self.cancel(Cancel::Votes(1)); // of the height that begins anew now, should some wait: its places get other values
        self.lost_since_boot = true;
        self.forget();
        self.persist(Record::Amnesiac);
    }

    /// DC-34: an amnesiac votes above the height that readmitted its present boot. Whatever it voted before it lost
    /// its memory was at or below that height, for the nonce is younger than the loss.
    pub(super) fn remember(&mut self) {
        let of_this_boot = |nonce: u64| nonce == self.nonce || Flaw::AnyReadmission.is_at_work();
        let readmitted = self.state.readmission(self.me).filter(|last| of_this_boot(last.nonce));
        if let Some(last) = readmitted
            && self.amnesiac
            && !self.lost_since_boot
        {
            self.amnesiac = false;
            self.persist(Record::Readmitted);
            let may_vote = self.may_vote();
            self.heights.current_mut().set_may_vote(may_vote);
            self.send_durable(Message::Confirm);
            self.report(Report::Readmitted(last.height));
        }
    }

    /// A peer says that it lost its memory: ask the mesh to readmit it, the lower indices first.
    pub(super) fn vouch_for(&mut self, peer: ValidatorIndex) {
        if let (Some(nonce), Some(place)) = (self.sessions[usize::from(peer)].nonce, self.turn(peer)) {
            self.want(Transaction::Readmit { validator: peer, nonce }, place as u64 * 4 * self.phase_us());
        }
    }
}
