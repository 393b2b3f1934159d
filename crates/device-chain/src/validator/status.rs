//! What can be seen of a validator.

use super::{Counters, Mode, Validator, Workings, ignition};
use crate::agreement::VoteKind;
use crate::keys::KeyStore;
use crate::registry::Registry;
use crate::session::Session;
use crate::state::State;
use crate::types::{Hash, Height, MeshId, Micros, Round, ValidatorIndex};

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
        self.heights.current().begun().is_none()
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
    /// (R1), and it knows who belongs to the car.
    #[must_use]
    pub fn may_vote(&self) -> bool {
        !self.amnesiac && self.knows_registry() && self.voters().contains(self.me)
    }

    /// Whether this node listens only, until a quorum readmits it.
    #[must_use]
    pub const fn is_amnesiac(&self) -> bool {
        self.amnesiac
    }

    /// The round of the height being agreed on.
    #[must_use]
    pub const fn round(&self) -> Round {
        self.heights.current().round()
    }

    /// The value that this node is locked on at the height being agreed on, and the round of the lock.
    #[must_use]
    pub fn lock(&self) -> Option<(Round, Hash)> {
        self.heights.current().lock().map(|(round, value)| (round, value.hash))
    }

    /// Own votes at a height that is being agreed on, or was decided last: the kind, the round and the value's hash,
    /// [`Hash::NIL`] for nil.
    pub fn own_votes(&self, height: Height) -> impl Iterator<Item = (VoteKind, Round, Hash)> {
        self.heights.at(height).into_iter().flat_map(|instance| {
            let kinds = [VoteKind::Prevote, VoteKind::Ready, VoteKind::Precommit];
            let votes = move |kind| instance.own_votes(kind).map(move |(round, value)| (kind, round, value));
            let hash = |value: Option<_>| value.and_then(|id| instance.value(id)).map_or(Hash::NIL, |value| value.hash);
            kinds.into_iter().flat_map(votes).map(move |(kind, round, value)| (kind, round, hash(value)))
        })
    }

    /// The last decisions, up to the state's height, oldest first: each with its height.
    pub fn history(&self) -> impl Iterator<Item = (Height, &[u8])> {
        let first = (self.state.height() + 1).saturating_sub(self.history.len() as Height);
        (first..).zip(self.history.iter())
    }

    /// What is known of a peer.
    #[must_use]
    pub fn session(&self, peer: ValidatorIndex) -> Option<&Session> {
        self.sessions.get(usize::from(peer))
    }

    /// Whether a verified message of the peer came in within three heartbeats.
    #[must_use]
    pub fn is_heard(&self, peer: ValidatorIndex) -> bool {
        let limit = ignition::SILENCE_HEARTBEATS * self.heartbeat_us();
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
