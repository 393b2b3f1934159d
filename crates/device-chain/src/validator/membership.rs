//! Who votes: silent members are suspended, and resumed when they are back. `docs/protocol.md` R1 to R4, DC-35.

use super::Validator;
use super::heights::Which;
use super::ignition::SILENCE_HEARTBEATS;
use crate::keys::KeyStore;
use crate::members::Members;
use crate::tx::Transaction;
use crate::types::{Hash, Height, ValidatorIndex};

/// Heartbeats without a word after which a member may be suspended: longer than a reboot or a bus-off takes.
pub(super) const SUSPEND_HEARTBEATS: u64 = 64;
const _: () = assert!(SUSPEND_HEARTBEATS > SILENCE_HEARTBEATS);

impl<K: KeyStore> Validator<K> {
    /// Begins the agreement on a height for which `members` are not suspended.
    pub(super) fn begin(&mut self, which: Which, members: Members, height: Height, parent: Hash) {
        let (timeouts, voters) = (self.timeouts(), members.voters(&self.registry));
        let instance = self.heights.place(which);
        instance.begin(height, parent, self.me, self.full, timeouts);
        instance.set_members(voters, voters.quorum(&self.registry));
        instance.set_may_vote(!self.amnesiac && voters.contains(self.me));
    }

    /// Whose votes count at the present height.
    pub(super) fn voters(&self) -> Members {
        self.state.members().voters(&self.registry)
    }

    /// The place of this node among those who vote, counted from `first` on: who does first what one has to do. `None` if
    /// it has no vote.
    pub(super) fn turn(&self, first: ValidatorIndex) -> Option<usize> {
        let n = self.full.n as ValidatorIndex;
        let places = (0..n).map(|step| (first + step) % n);
        let voters = self.voters();
        places.filter(|peer| voters.contains(*peer)).position(|member| member == self.me)
    }

    /// DC-35: whether this node has not heard a word of the peer for a long time.
    pub(super) fn is_silent(&self, peer: ValidatorIndex) -> bool {
        let limit = SUSPEND_HEARTBEATS * self.heartbeat_us();
        let heard = self.session(peer).and_then(|session| session.heard);
        peer != self.me && self.now.since(heard.unwrap_or_default().max(self.started)) > limit
    }

    /// Whether the peer said a short while ago that it is at the height at which this node is.
    pub(super) fn is_present(&self, peer: ValidatorIndex) -> bool {
        let limit = SILENCE_HEARTBEATS * self.heartbeat_us();
        let present = self.session(peer).and_then(|session| session.present);
        present.is_some_and(|last| self.now.since(last) <= limit)
    }

    /// DC-35: whether the peer is back: heard again, at the present, with its memory.
    pub(super) fn is_back(&self, peer: ValidatorIndex) -> bool {
        self.session(peer).is_some_and(|session| {
            // who is at the present knows that it was readmitted, also if its own word of that was lost
            let readmitted = || self.state.readmission(peer).is_some_and(|last| session.nonce == Some(last.nonce));
            self.is_present(peer) && (!session.amnesiac || readmitted())
        })
    }

    /// Asks the mesh for what it has to change. Where no quorum is there nobody does: the vote would only bind it.
    pub(super) fn review_members(&mut self) {
        if !self.hears_quorum() || !self.may_vote() {
            return;
        }
        for peer in self.others() {
            let is_member = self.state.members().contains(peer);
            let change = if is_member && self.is_silent(peer) {
                Transaction::Suspend { validator: peer }
            } else if !is_member && self.is_back(peer) {
                Transaction::Resume { validator: peer }
            } else {
                continue;
            };
            let place = self.turn(peer).unwrap_or_default() as u64;
            self.want(change, place * 4 * self.phase_us());
        }
    }
}
