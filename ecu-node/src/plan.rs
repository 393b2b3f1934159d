//! The identifier plan of a genesis, ready for looking up: whose identifier is this?

use device_chain::genesis::{Genesis, RawIdentifier};
use device_chain::keys::Device;
use device_chain::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use device_chain::types::ValidatorIndex;
use device_chain::validator::Source;
use device_chain::wire::Class;
use heapless::Vec;

const MAX_IDENTIFIERS: usize = 4 * MAX_VALIDATORS + MAX_ENDPOINTS;

/// All identifiers of a mesh, sorted.
pub struct Plan {
    entries: Vec<(RawIdentifier, Source), MAX_IDENTIFIERS>,
}

impl Plan {
    /// The plan of a genesis that was checked ([`Genesis::check`]).
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let mut entries = Vec::new();
        for (validator, at) in genesis.validators.iter().zip(0..) {
            let ids = &validator.identifiers;
            for (class, id) in [
                (Class::Vote, ids.vote),
                (Class::Propose, ids.propose),
                (Class::Control, ids.control),
                (Class::Bulk, ids.bulk),
            ] {
                // the table has room for the limits of a genesis
                let _ = entries.push((id, Source { device: Device::Validator(at), class }));
            }
        }
        for (endpoint, at) in genesis.endpoints.iter().zip(0..) {
            let _ = entries.push((endpoint.identifier, Source { device: Device::Endpoint(at), class: Class::Record }));
        }
        entries.sort_unstable_by_key(|(id, _)| *id);
        Self { entries }
    }

    /// Owner and use of an identifier; `None` if it is not the mesh's.
    #[must_use]
    pub fn source(&self, identifier: RawIdentifier) -> Option<Source> {
        let at = self.entries.binary_search_by_key(&identifier, |(id, _)| *id).ok()?;
        Some(self.entries[at].1)
    }

    /// The identifier on which a validator sends messages of a class.
    #[must_use]
    pub fn identifier(&self, validator: ValidatorIndex, class: Class) -> Option<RawIdentifier> {
        let source = Source { device: Device::Validator(validator), class };
        self.entries.iter().find(|(_, known)| *known == source).map(|(id, _)| *id)
    }
}
