//! What can be seen of a validator.

use super::{Counters, Mode, Validator, Workings, ignition};
use crate::keys::KeyStore;
use crate::registry::Registry;
use crate::session::Session;
use crate::state::State;
use crate::types::{Hash, MeshId, Micros, Round, ValidatorIndex};

/// What a status display shows.
impl<K: KeyStore> Validator<K> {
    /// What it knows of the genesis.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The place of this node.
    #[must_use]
    pub const fn index(&self) -> ValidatorIndex {
        self.me
    }

    /// The mesh identity.
    #[must_use]
    pub const fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    /// Whether nobody has said a word yet of the height after the state's.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.current.begun().is_none()
    }

    /// Whether a height was decided within the last phase and nobody has said a word of the next: no better moment for what
    /// keeps this node from voting.
    #[must_use]
    pub fn is_between_heights(&self, now: Micros) -> bool {
        self.is_idle() && now.since(self.decided_at) < self.phase_us()
    }

    /// What the mesh can do now, as this node sees it.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// State after the last decision.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Number of this boot.
    #[must_use]
    pub const fn boot(&self) -> u32 {
        self.boot
    }

    /// Whether this node's vote counts at the next height: it is no amnesiac, and if it is suspended, counted all the same
    /// (R1).
    #[must_use]
    pub fn may_vote(&self) -> bool {
        !self.amnesiac && self.voters().contains(self.me)
    }

    /// Whether this node listens only, until a quorum readmits it.
    #[must_use]
    pub const fn is_amnesiac(&self) -> bool {
        self.amnesiac
    }

    /// The round of the height being agreed on.
    #[must_use]
    pub const fn round(&self) -> Round {
        self.current.round()
    }

    /// The value that this node is locked on at the height being agreed on, and the round of the lock.
    #[must_use]
    pub fn lock(&self) -> Option<(Round, Hash)> {
        self.current.lock().map(|(round, value)| (round, value.hash))
    }

    /// What is known of a peer.
    #[must_use]
    pub fn session(&self, peer: ValidatorIndex) -> Option<&Session> {
        self.sessions.get(usize::from(peer))
    }

    /// Whether a verified message of the peer came in within three heartbeats.
    #[must_use]
    pub fn is_heard(&self, peer: ValidatorIndex) -> bool {
        let limit = ignition::SILENCE_HEARTBEATS * u64::from(self.registry.policy().heartbeat_us);
        self.session(peer).and_then(|session| session.heard).is_some_and(|heard| self.now.since(heard) <= limit)
    }

    /// Peers heard.
    #[must_use]
    pub fn peers_heard(&self) -> usize {
        self.others().filter(|peer| self.is_heard(*peer)).count()
    }

    /// Rules at work that nobody outside can see.
    #[must_use]
    pub const fn workings(&self) -> &Workings {
        &self.workings
    }

    /// Messages by what became of them.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}
