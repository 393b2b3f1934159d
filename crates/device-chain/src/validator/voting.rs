//! Proposals, votes and decisions: between the rules of [`crate::agreement`] and the wire.

use super::heights::Which;
use super::outbox::Concluded;
use super::outbox::{Cancel, Message};
use super::receive::Verdict;
use super::workings::count;
use super::{Report, Validator};
use crate::agreement::{Action, Actions, Instance, Value, ValueId, VoteKind};
use crate::flaw::Flaw;
use crate::keys::KeyStore;
use crate::limits::MAX_BACKLOG;
use crate::record::{Named, NamedValues, Record, VoteRecord, push_newest};
use crate::tx::{Transaction, TxBytes, decision_hash};
use crate::types::{Hash, Height, Round, ValidatorIndex};
use crate::wire::{DECIDED_VALUE, NIL_PROPOSER, Parts};

/// Phases from the first word of a height to its decision after which nothing moves because of it (DC-45).
const LIVE_PHASES: u64 = 256;
/// Decisions in no block after which L7 waits twice as long.
const RELUCTANT_DECISIONS: u32 = 6;

impl<K: KeyStore> Validator<K> {
    /// A proposal of `peer` (L4, F3).
    #[inline(never)]
    pub(super) fn on_propose(&mut self, peer: ValidatorIndex, parts: &Parts<'_>, bytes: &[u8]) {
        let (height, round) = (parts.header.height, parts.header.round);
        if height > self.heights.current().height() {
            count(&mut self.workings.ahead, 1);
            return self.hold_ahead(peer, parts, bytes);
        }
        let Some(instance) = self.instance(height) else { return self.count_stale(peer, parts.header.counter) };
        let parent = *instance.parent();
        let hash = decision_hash(&self.mesh, height, &parent, parts.body);
        if self.verify(peer, parts, &hash) != Verdict::New {
            return;
        }
        if height != self.heights.current().height() {
            if round == 0 {
                self.note_late(peer, hash, parts.body);
            }
            return;
        }
        if !self.heights.current().takes_proposal(round, peer) {
            let known = self
                .heights
                .current()
                .find(&hash)
                .is_some_and(|id| self.heights.current().proposers(id).any(|of| of == peer));
            count(&mut self.workings.second_proposals, usize::from(round == 0 && !known));
            return;
        }
        if let Some(id) = self.learn_named(peer, hash, parts.body, false) {
            self.heights.current_mut().on_proposal(round, peer, id);
            self.release = true;
        }
    }

    /// A value that this node asked for.
    #[inline(never)]
    pub(super) fn on_value(&mut self, peer: ValidatorIndex, parts: &Parts<'_>, bytes: &[u8]) {
        let height = parts.header.height;
        if parts.header.hint_proposer == DECIDED_VALUE {
            return self.on_decision(peer, parts, bytes);
        }
        let asked = self.fetch.get().is_some_and(|fetch| fetch.asked(peer, height, parts.header.hint));
        if height != self.heights.current().height() || !asked {
            return self.count_stale(peer, parts.header.counter);
        }
        let parent = *self.heights.current().parent();
        let hash = decision_hash(&self.mesh, height, &parent, parts.body);
        if self.verify(peer, parts, &hash) != Verdict::New {
            return;
        }
        self.fetch.clear();
        // who serves a value is not believed about who proposed it: evidence may hang on that
        if let Some(id) = self.learn_named(peer, hash, parts.body, false) {
            self.heights.current_mut().on_served(id);
            self.release = true;
        }
    }

    /// Remembers a value of the current height, judged by the chain (V1) and by what this node saw itself (V2).
    pub(super) fn learn_value(&mut self, proposer: ValidatorIndex, bytes: &[u8], mine: bool) -> Option<ValueId> {
        let hash = decision_hash(&self.mesh, self.heights.current().height(), self.heights.current().parent(), bytes);
        self.learn_named(proposer, hash, bytes, mine)
    }

    /// The same where its decision hash is known.
    pub(super) fn learn_named(
        &mut self,
        proposer: ValidatorIndex,
        hash: Hash,
        bytes: &[u8],
        mine: bool,
    ) -> Option<ValueId> {
        let Some(tx) = Transaction::decode(bytes) else {
            self.counters.malformed += 1;
            return None;
        };
        let value = Value {
            hash,
            proposer,
            // V3: a height may end with nothing only when a round has failed
            allowed_from: self.state.check(&tx, &self.registry).is_ok().then_some(u8::from(tx == Transaction::Skip)),
            evident: mine || self.is_evident(&tx, proposer),
        };
        self.heights.current_mut().add_value(value, bytes)
    }

    #[inline(never)]
    pub(super) fn on_vote(&mut self, peer: ValidatorIndex, parts: &Parts<'_>, bytes: &[u8]) {
        let header = &parts.header;
        let Some(kind) = header.kind.vote() else { return };
        if header.height > self.heights.current().height() {
            count(&mut self.workings.ahead, 1);
            return self.hold_ahead(peer, parts, bytes);
        }
        let Some(instance) = self.instance(header.height) else { return self.count_stale(peer, header.counter) };
        let (value, key) = if header.hint_proposer == NIL_PROPOSER {
            (None, self.authentic(peer, parts, &instance.subject(&Hash::NIL)))
        } else if instance.hinted(header.hint).next().is_none() {
            // M3: a vote for something that this node does not hold is no bad tag
            return self.on_unknown_value(peer, parts, bytes);
        } else {
            let tagged = |id: ValueId| Some((Some(id), Some(self.authentic(peer, parts, &instance.value(id)?.hash)?)));
            instance.hinted(header.hint).find_map(tagged).unwrap_or_default()
        };
        let Some(key) = key else { return self.count_bad_tag(peer, parts) };
        if self.accept(peer, key, header.counter) != Verdict::New {
            return;
        }
        let mut actions = Actions::new();
        if let Some(instance) = self.instance_mut(header.height) {
            instance.on_vote(kind, header.round, peer, value, &mut actions);
        }
        self.carry_out(header.height, &actions);
        if header.height < self.heights.current().height() {
            if self.now.since(self.decided_at) < self.help_patience_us() {
                self.cancel_if_settled(header.height);
            } else if !self.has_decided(peer) {
                self.help(); // what it says then is not needless
            }
        }
    }

    fn on_unknown_value(&mut self, peer: ValidatorIndex, parts: &Parts<'_>, bytes: &[u8]) {
        if parts.header.height == self.heights.current().height() {
            self.hold(peer, bytes);
            self.want_value();
        } else {
            self.count_stale(peer, parts.header.counter);
        }
    }

    /// How long a peer may still vote at a height that is decided here before it needs help, and how often it gets it.
    fn help_patience_us(&self) -> u64 {
        4 * self.phase_us()
    }

    /// Whether the peer has proved that it decided the height before, too: its votes there are help (L6), and who
    /// answers help with help ends never.
    fn has_decided(&self, peer: ValidatorIndex) -> bool {
        self.sessions[usize::from(peer)].present.is_some_and(|at| at >= self.decided_at)
    }

    /// L6: a peer that still votes at the height before, well after this node decided it, gets this node's votes.
    fn help(&mut self) {
        if self.now.since(self.helped_at) < self.help_patience_us() {
            return;
        }
        self.helped_at = self.now;
        if let Some(previous) = self.heights.previous_mut() {
            let (height, mut actions) = (previous.height(), Actions::new());
            previous.help(&mut actions);
            self.carry_out(height, &actions);
            self.resend_votes(height);
        }
        self.send_durable(Message::Decided);
    }

    /// Lets the rules do what they now can, at both heights.
    pub(super) fn vote(&mut self) {
        if let Some(height) = self.heights.previous().map(Instance::height) {
            self.progress(height);
        }
        // a decision opens the next height, where votes and own proposals may be waiting
        loop {
            self.release_held();
            let height = self.heights.current().height();
            self.propose_pending();
            self.progress(height);
            if self.heights.current().height() == height {
                break;
            }
        }
    }

    #[inline(never)]
    fn progress(&mut self, height: Height) {
        while self.may_go_on() {
            let (now, mut actions) = (self.now, Actions::new());
            if let Some(instance) = self.instance_mut(height) {
                instance.progress(now, &mut actions);
            }
            self.carry_out(height, &actions);
            if !actions.is_full() {
                break;
            }
        }
    }

    fn carry_out(&mut self, height: Height, actions: &[Action]) {
        for action in actions {
            match *action {
                Action::Vote(kind, round, value) => self.cast(height, kind, round, value),
                Action::Propose(round, choice) => self.propose(height, round, choice),
                Action::Decided(round, value) => self.decide(round, value),
                Action::Equivocation(peer) => self.report(Report::Equivocation(peer)),
            }
        }
    }

    /// P1: durable, then sent.
    #[inline(never)]
    fn cast(&mut self, height: Height, kind: VoteKind, round: Round, value: Option<ValueId>) {
        let current = self.heights.current();
        if height == current.height() {
            let Some(record) = Self::vote_record(current, kind, round, value, &mut self.stored) else { return };
            self.persist(Record::Vote(record));
        }
        if kind == VoteKind::Precommit && value.is_some() {
            self.cancel(Cancel::Prevote(height, round));
        }
        if self.instance(height).is_some_and(|instance| instance.is_settled() && !instance.is_help(round)) {
            return;
        }
        self.send_durable(Message::Vote(height, kind, round, value));
        if height == self.heights.current().height() {
            self.arm_retransmit();
        }
    }

    /// A quorum of precommits of others was on the wire: everybody can do without this node's.
    fn cancel_if_settled(&mut self, height: Height) {
        if self.instance(height).is_some_and(Instance::is_settled) {
            self.cancel(Cancel::Votes(height));
        }
    }

    /// The record of an own vote, where the journal has named `named` at this height; and now this one's value.
    pub(super) fn vote_record(
        instance: &Instance,
        kind: VoteKind,
        round: Round,
        value: Option<ValueId>,
        named: &mut NamedValues,
    ) -> Option<VoteRecord> {
        let name = match value {
            Some(id) => Named::new(instance, id, *named)?,
            None => Named::Nil,
        };
        value.into_iter().for_each(|id| named.note(id));
        Some(VoteRecord { height: instance.height(), round, kind, value: name })
    }

    /// L4: as designated proposer of a later round. Where no value has a claim, nothing: for an order of its own only
    /// this node may have evidence, and everybody proposing such orders would never end.
    #[inline(never)]
    fn propose(&mut self, height: Height, round: Round, choice: Option<ValueId>) {
        let id = match choice {
            Some(id) => Some(id),
            None if height == self.heights.current().height() => {
                Transaction::Skip.encode().and_then(|bytes| self.learn_value(self.me, &bytes, true))
            }
            None => None,
        };
        let me = self.me;
        let Some(instance) = self.instance_mut(height) else { return };
        let Some(id) = id else { return };
        instance.on_proposal(round, me, id);
        self.send(Message::Propose(height, round));
    }

    /// The own proposal of round 0 is on the wire: from now on it has its place among its rivals.
    pub(super) fn on_proposed(&mut self, height: Height, round: Round) {
        let me = self.me;
        if let Some(instance) = self.instance_mut(height).filter(|_| round == 0)
            && let Some(id) = instance.own_proposal()
        {
            instance.on_proposal(0, me, id);
            self.review_standings();
        }
    }

    /// C2, P4: a quorum has decided. Durable before anything that follows from it.
    #[inline(never)]
    fn decide(&mut self, round: Round, id: ValueId) {
        let current = self.heights.current();
        let Some(hash) = current.value(id).map(|value| value.hash) else { return };
        let mut bytes = TxBytes::new(); // filled in its place: `from_slice` takes a copy
        if current.transaction(id).is_some_and(|tx| bytes.extend_from_slice(tx).is_ok()) {
            self.conclude(hash, &bytes, round, true);
        }
    }

    /// DC-45: what is decided long after it was asked for moves nothing. Who heard of the height at once and hears the
    /// rest of it much later cannot tell from the votes alone.
    fn is_recent(&self) -> bool {
        let limit = LIVE_PHASES * self.phase_us();
        self.heights.current().begun().is_some_and(|begun| self.now.since(begun) <= limit)
            || Flaw::AlwaysLive.is_at_work()
    }

    /// Ends the current height: by a quorum of precommits (`live`), or by f + 1 who decided it (C5). `hash` is the decision
    /// hash.
    pub(super) fn conclude(&mut self, hash: Hash, bytes: &TxBytes, round: Round, live: bool) {
        if self.end_height(hash, bytes, round, live) {
            self.begin_height();
        }
    }

    /// Whether it has ended: not by what breaks the chain's rules.
    #[inline(never)]
    fn end_height(&mut self, hash: Hash, bytes: &TxBytes, round: Round, live: bool) -> bool {
        let height = self.heights.current().height();
        let live = live && self.is_recent();
        let Some(tx) = Transaction::decode(bytes) else { return false };
        self.judge_proposers();
        if let Err(refusal) = self.state.apply_named(hash, &tx, &mut self.registry) {
            // more than f liars: stand still rather than leave the chain's rules
            self.refuse(&tx, refusal);
            return false;
        }
        self.digest.take();
        push_newest(&mut self.history, bytes);
        if tx == Transaction::Skip {
            self.back_off();
        }
        self.persist_decision(height, &hash, bytes);
        if !live && let Some(id) = self.learn_named(self.me, hash, bytes, true) {
            self.heights.current_mut().adopt(id);
        }
        self.decided_at = self.now;
        self.note_workings();
        let is_decided = self.heights.current().decided().is_some();
        self.heights.turn();
        if !is_decided {
            self.heights.forget_previous();
        }
        self.begin_next();
        self.cancel_if_settled(height);
        let latency_us = self.settle_pending(bytes);
        self.decided_durable(&Concluded { height, hash, round, latency_us, live }, bytes);
        self.follow_up(height, &tx);
        if live {
            self.review_time(height, &tx);
        }
        true
    }

    #[inline(never)]
    fn persist_decision(&mut self, height: Height, hash: &Hash, bytes: &TxBytes) {
        let current = self.heights.current();
        let name = current.find(hash).and_then(|id| Named::new(current, id, self.stored));
        self.persist_head(Record::Decided(height, name.unwrap_or_else(|| Named::Content(bytes.clone()))));
    }

    /// Begins the height after the state's, in the place of the present one.
    pub(super) fn begin_next(&mut self) {
        let (height, head, reluctance) = (self.state.height() + 1, *self.state.head(), self.reluctance());
        self.begin(Which::Current, self.state.members(), height, head);
        self.heights.current_mut().set_reluctance(reluctance);
        self.stored = NamedValues::NONE;
    }

    /// L7: empty heights count, too, for the history that waits for the gateway. The longer it is, the longer a height waits
    /// before it ends with nothing; once the chain takes no orders any more, none does.
    fn reluctance(&self) -> Option<u32> {
        let backlog = self.state.backlog();
        (backlog < MAX_BACKLOG).then_some(backlog / RELUCTANT_DECISIONS)
    }

    /// Leaves the current height without a decision of its own, for the one after the state's.
    pub(super) fn leave_height(&mut self) {
        self.note_workings();
        self.heights.forget_previous();
        self.begin_next();
        self.decided_at = self.now;
        self.begin_height();
    }

    fn begin_height(&mut self) {
        self.fetch.clear();
        self.retransmit_due = None;
        self.retransmits = 0;
        self.forget_claims();
        self.review_standings();
        self.review_pending();
        self.release = true;
    }

    /// What this node saw has changed: values may have become valid.
    pub(super) fn review_values(&mut self) {
        for id in 0..self.heights.current().values().len() as ValueId {
            let current = self.heights.current();
            let proposer = current.value(id).map(|value| value.proposer);
            let tx = current.transaction(id).and_then(Transaction::decode);
            if proposer.zip(tx).is_some_and(|(proposer, tx)| self.is_evident(&tx, proposer)) {
                self.heights.current_mut().set_evident(id);
            }
        }
    }

    /// M4: who has not decided says its votes again, ever more slowly.
    pub(super) fn retransmit(&mut self) {
        if self.retransmit_due.is_some_and(|due| due <= self.now) {
            self.retransmits = (self.retransmits + 1).min(5);
            let (height, round) = (self.heights.current().height(), self.heights.current().round());
            if self.heights.current().own_proposal_of(round).is_some() {
                self.send(Message::Propose(height, round));
            }
            self.resend_votes(height);
            self.retransmit_due = None;
            self.arm_retransmit();
        }
    }

    pub(super) fn arm_retransmit(&mut self) {
        let wait = (4 * self.phase_us()) << self.retransmits;
        self.retransmit_due.get_or_insert(self.now.plus(wait));
    }

    /// The latest prevote and precommit, and every READY (M4).
    fn resend_votes(&mut self, height: Height) {
        let Some(instance) = self.instance(height).filter(|_| !self.amnesiac) else { return };
        let mut votes: heapless::Vec<Message, 24> = heapless::Vec::new();
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            if let Some((round, value)) = instance.own_votes(kind).last() {
                let _ = votes.push(Message::Vote(height, kind, round, value));
            }
        }
        for (round, value) in instance.own_votes(VoteKind::Ready) {
            let _ = votes.push(Message::Vote(height, VoteKind::Ready, round, value));
        }
        for vote in votes {
            self.send_durable(vote);
        }
    }
}
