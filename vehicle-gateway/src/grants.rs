//! What becomes of grants from the cloud: recorded, handed to the node, used once everybody has had time to check them.

use std::collections::VecDeque;

use device_chain::grant::{GrantRefusal, SignedGrant};
use device_chain::types::{Hash, Height, Micros};
use serde::{Deserialize, Serialize};

/// Grants remembered; the oldest gives way.
const MAX_GRANTS: usize = 64;

/// What became of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantState {
    /// Its signature is being checked.
    Received,
    /// This node has checked it; the others do so now.
    Ready,
    /// The mesh was asked to use it.
    Asked,
    /// The mesh used it.
    Used {
        /// At this height.
        height: Height,
        /// From asking to the decision, microseconds.
        latency_us: Option<u64>,
    },
    /// It opens nothing.
    Refused {
        /// Why.
        reason: String,
    },
}

/// A grant and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantStatus {
    /// The issuer's number.
    pub serial: u64,
    /// What is signed, hexadecimal.
    pub digest: String,
    /// What became of it.
    pub state: GrantState,
}

struct Entry {
    digest: Hash,
    serial: u64,
    state: GrantState,
    /// When to ask the mesh to use it.
    use_at: Option<Micros>,
}

/// The grants of this boot.
pub struct Grants {
    settle_us: u64,
    entries: VecDeque<Entry>,
}

impl Grants {
    /// `settle_us` is what the other validators need to check a signature, off the approval path.
    #[must_use]
    pub const fn new(settle_us: u64) -> Self {
        Self { settle_us, entries: VecDeque::new() }
    }

    /// A grant came from the cloud. True if it is new: to be recorded and given to the node, which checks it.
    pub fn receive(&mut self, signed: &SignedGrant) -> bool {
        let digest = signed.grant.digest();
        if self.entries.iter().any(|entry| entry.digest == digest) {
            return false;
        }
        if self.entries.len() == MAX_GRANTS {
            self.entries.pop_front();
        }
        let (serial, state) = (signed.grant.serial, GrantState::Received);
        self.entries.push_back(Entry { digest, serial, state, use_at: None });
        true
    }

    /// The node has checked a grant.
    pub fn ready(&mut self, now: Micros, digest: &Hash) {
        let settle_us = self.settle_us;
        if let Some(entry) = self.find(digest).filter(|entry| entry.state == GrantState::Received) {
            entry.state = GrantState::Ready;
            entry.use_at = Some(now.plus(settle_us));
        }
    }

    /// The next grant to ask the mesh for; `None` if none is due.
    pub fn next_use(&mut self, now: Micros) -> Option<Hash> {
        let entry = self.entries.iter_mut().find(|entry| entry.use_at.is_some_and(|at| at <= now))?;
        entry.use_at = None;
        entry.state = GrantState::Asked;
        Some(entry.digest)
    }

    /// When [`Self::next_use`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        self.entries.iter().filter_map(|entry| entry.use_at).min()
    }

    /// The mesh used a grant.
    pub fn used(&mut self, digest: &Hash, height: Height, latency_us: Option<u64>) {
        if let Some(entry) = self.find(digest) {
            entry.state = GrantState::Used { height, latency_us };
            entry.use_at = None;
        }
    }

    /// A grant was refused. Its serial, if that is news.
    pub fn refused(&mut self, digest: &Hash, reason: GrantRefusal) -> Option<u64> {
        let open = |entry: &&mut Entry| !matches!(entry.state, GrantState::Used { .. } | GrantState::Refused { .. });
        let entry = self.find(digest).filter(open)?;
        entry.state = GrantState::Refused { reason: describe(reason).to_owned() };
        entry.use_at = None;
        Some(entry.serial)
    }

    fn find(&mut self, digest: &Hash) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.digest == *digest)
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn status(&self) -> Vec<GrantStatus> {
        let status = |entry: &Entry| GrantStatus {
            serial: entry.serial,
            digest: entry.digest.to_string(),
            state: entry.state.clone(),
        };
        self.entries.iter().map(status).collect()
    }
}

/// A refusal in words.
#[must_use]
pub const fn describe(reason: GrantRefusal) -> &'static str {
    match reason {
        GrantRefusal::Foreign => "for another vehicle",
        GrantRefusal::Signature => "no fleet authority signed it",
        GrantRefusal::Expired => "expired",
        GrantRefusal::Early => "not valid yet",
        GrantRefusal::Used => "used before, or too old to know",
        GrantRefusal::Issuer => "its issuer is no fleet authority of this car",
    }
}

#[cfg(test)]
mod tests {
    use device_chain::grant::{Action, Grant};
    use device_chain::types::{MeshId, Signature};

    use super::*;

    fn grant(serial: u64) -> SignedGrant {
        let (mesh, holder) = (MeshId(Hash::NIL), Hash::NIL);
        let grant = Grant { mesh, issuer: 0, serial, action: Action::Unlock, holder, not_before: 1, not_after: 9 };
        SignedGrant { grant, signature: Signature([0; 32], [0; 32]) }
    }

    #[test]
    fn a_grant_is_used_once_when_the_others_have_checked_it() {
        let (mut grants, signed) = (Grants::new(200), grant(7));
        let digest = signed.grant.digest();
        assert!(grants.receive(&signed));
        assert!(!grants.receive(&signed), "known");
        assert_eq!((grants.deadline(), grants.next_use(Micros(9999))), (None, None), "not checked yet");
        grants.ready(Micros(1000), &digest);
        assert_eq!((grants.deadline(), grants.next_use(Micros(1199))), (Some(Micros(1200)), None));
        assert_eq!(grants.next_use(Micros(1200)), Some(digest));
        grants.ready(Micros(1300), &digest);
        assert_eq!(grants.next_use(Micros(9999)), None, "asked once");
        grants.used(&digest, 12, Some(850));
        assert_eq!(grants.status()[0].state, GrantState::Used { height: 12, latency_us: Some(850) });
        assert_eq!(grants.refused(&digest, GrantRefusal::Used), None, "its own use is no refusal");
    }

    #[test]
    fn a_refusal_is_news_once() {
        let (mut grants, signed) = (Grants::new(200), grant(7));
        grants.receive(&signed);
        let digest = signed.grant.digest();
        assert_eq!(grants.refused(&digest, GrantRefusal::Expired), Some(7));
        assert_eq!(grants.refused(&digest, GrantRefusal::Expired), None);
        assert_eq!(grants.refused(&grant(8).grant.digest(), GrantRefusal::Expired), None, "never heard of");
    }

    #[test]
    fn memory_is_bounded() {
        let mut grants = Grants::new(200);
        for serial in 0..1000 {
            assert!(grants.receive(&grant(serial)));
        }
        assert_eq!(grants.status().len(), MAX_GRANTS);
    }
}
