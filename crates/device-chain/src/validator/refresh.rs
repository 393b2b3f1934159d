//! Pairwise keys that move on: one-way steps, and refreshes by a curve off the approval path. `docs/protocol.md` DC-23 to DC-25.
//!
//! Everything here is done once a heartbeat, a little at a time: nothing waits for it.

use super::outbox::Message;
use super::{Mode, Validator};
use crate::keys::KeyStore;
use crate::limits::{KEEP_HEARTBEATS, MAX_KEEP_BACKOFF, RATCHET_BOOTS, REFRESH_BOOTS};
use crate::pairing::{Agreed, Agreement, Ephemeral};
use crate::state::Refreshed;
use crate::tx::Transaction;
use crate::types::{Micros, ValidatorIndex};

/// What is known of the key store's durable copy, and of what is asked for outside.
pub(super) struct Keeping {
    /// Something has changed that is not on its way there.
    pub(super) changed: bool,
    /// Something is on its way.
    pub(super) under_way: bool,
    /// It may be written again then, and after that when twice as much time has passed.
    free: Micros,
    back_off: u32,
    /// A secret is being worked out.
    pub(super) agreeing: bool,
    /// This boot has asked for a key pair.
    drawn: bool,
}

impl Keeping {
    pub(super) const NONE: Self =
        Self { changed: false, under_way: false, free: Micros(0), back_off: 0, agreeing: false, drawn: false };

    /// What was forgotten is to be written at the next heartbeat: no peer brings that about, only who signs orders.
    pub(super) const fn now(&mut self, now: Micros) {
        (self.changed, self.free) = (true, now);
    }

    const fn is_durable(&self) -> bool {
        !self.changed && !self.under_way
    }
}

impl<K: KeyStore> Validator<K> {
    /// What CONFIRM says: the keys of this node move on, and are durable as they are now (DC-23).
    pub(super) fn keys_are_kept(&self) -> bool {
        self.keys.keeps() && self.keeping.is_durable()
    }

    /// Once a heartbeat.
    #[inline(never)]
    pub(super) fn tend_keys(&mut self) {
        if !self.keys.keeps() {
            return;
        }
        self.step_keys();
        self.want_refresh();
        if !self.keeping.agreeing && self.next_agreement().is_some() {
            self.ask_agreement();
        }
        self.offer_keys();
        if self.keeping.changed && !self.keeping.under_way && self.keeping.free <= self.now {
            self.keeping.free = self.now.plus((KEEP_HEARTBEATS * self.heartbeat_us()) << self.keeping.back_off);
            self.keeping.back_off = (self.keeping.back_off + 1).min(MAX_KEEP_BACKOFF);
            self.ask_to_keep();
        }
    }

    /// DC-23: the pairs whose turn it is take a step.
    fn step_keys(&mut self) {
        if !self.keeping.is_durable() {
            return;
        }
        for peer in self.others() {
            let session = &mut self.sessions[usize::from(peer)];
            let is_turn = self.boot.is_multiple_of(RATCHET_BOOTS) || session.boot.is_multiple_of(RATCHET_BOOTS);
            if is_turn && session.is_settled() && session.kept && !session.stepped {
                session.stepped = true;
                self.keeping.changed |= self.keys.step(peer);
            }
        }
    }

    /// DC-24: this node's refresh is to be decided, once its key pair is durable; or it is time to ask for one.
    fn want_refresh(&mut self) {
        match self.keys.ephemeral() {
            Some(own) if self.is_decided(&own) => {
                let missing = self.others().any(|peer| {
                    let is_newest = self.newest_refresh(peer).is_some_and(|newest| newest.key == own.public);
                    is_newest && self.keys.wants(peer, self.state.refreshed(self.me).unwrap_or_default().height)
                });
                if !missing {
                    self.keys.set_ephemeral(None);
                    self.keeping.changed = true;
                }
            }
            Some(own) if self.keeping.is_durable() => {
                self.want(Transaction::Refresh { validator: self.me, key: own.public }, 0);
            }
            Some(_) => {}
            None => {
                let turn = REFRESH_BOOTS - 1 - u32::from(self.me);
                let is_turn = self.boot % REFRESH_BOOTS == turn && self.mode == Mode::Trusted;
                if is_turn && !core::mem::replace(&mut self.keeping.drawn, true) {
                    self.ask_for_randomness();
                }
            }
        }
    }

    fn is_decided(&self, own: &Ephemeral) -> bool {
        self.state.refreshed(self.me).is_some_and(|newest| newest.key == own.public)
    }

    /// The newest refresh of this node or of the peer: the one that counts for their pair.
    fn newest_refresh(&self, peer: ValidatorIndex) -> Option<Refreshed> {
        let both = [self.state.refreshed(self.me)?, self.state.refreshed(peer)?];
        both.into_iter().max_by_key(|refreshed| refreshed.height)
    }

    /// The next secret that is missing here and can be had.
    pub(super) fn next_agreement(&self) -> Option<Agreement> {
        let own = self.keys.ephemeral();
        self.others().find_map(|peer| {
            let Refreshed { key: public, height } = self.newest_refresh(peer)?;
            let is_own = self.state.refreshed(self.me)?.height == height;
            let secret = own.as_ref().filter(|own| own.public == public).map(|own| own.secret.clone());
            let can = self.keys.wants(peer, height) && is_own == secret.is_some();
            can.then_some(Agreement { peer, height, public, own: secret })
        })
    }

    pub(super) fn on_agreed(&mut self, agreed: Agreed) {
        self.keeping.agreeing = false;
        if let Some(secret) = agreed.secret {
            self.keeping.changed |= self.keys.take(agreed.peer, agreed.height, secret);
        }
    }

    pub(super) fn on_kept(&mut self) {
        self.keeping.under_way = false;
        if self.keeping.is_durable() {
            self.confirm_soon(); // who has heard that they were not hears that they are
        }
    }

    /// A key pair for a refresh of this node. One that is under way is not given up for it.
    pub(super) fn on_refresh(&mut self, ephemeral: Ephemeral) {
        if self.keys.keeps() && self.keys.ephemeral().is_none() {
            self.keys.set_ephemeral(Some(ephemeral));
            self.keeping.changed = true;
        }
    }

    /// DC-24: whose peer may have the same secret offers what it made of it, when that is durable.
    fn offer_keys(&mut self) {
        let (me, nonce, durable) = (self.me, self.nonce, self.keeping.is_durable());
        for peer in self.others() {
            let present = self.is_present(peer); // only then both mean the same refresh
            let session = &mut self.sessions[usize::from(peer)];
            let (true, Some(its_nonce)) = (present && session.is_settled() && session.kept, session.nonce) else {
                continue;
            };
            match self.keys.offered(peer) {
                Some(false) => {
                    self.keys.offer(peer);
                    self.keeping.changed = true;
                }
                Some(true) if durable && session.offers > 0 => {
                    session.offers -= 1;
                    session.offering = true;
                    self.keys.renew(peer, if me < peer { [nonce, its_nonce] } else { [its_nonce, nonce] });
                    self.confirm_soon();
                }
                _ => {}
            }
        }
    }

    /// A peer has proved that it has the key with the secret of a refresh in it: session and pair go on with it.
    pub(super) fn renewed(&mut self, peer: ValidatorIndex) {
        let session = &mut self.sessions[usize::from(peer)];
        (session.stepped, session.offering) = (true, false);
        self.keeping.changed = true;
        // at once: until the peer hears it, what it says by the old key is lost
        self.send(Message::Confirm);
    }
}
