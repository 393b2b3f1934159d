//! The identifier plan of a genesis, ready for looking up: whose identifier is this?

use crate::genesis::{Genesis, Identifiers, RawIdentifier};
use crate::keys::Device;
use crate::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use crate::types::ValidatorIndex;
use crate::validator::Source;
use crate::wire::Class;
use heapless::Vec;

const MAX_IDENTIFIERS: usize = 4 * MAX_VALIDATORS + MAX_ENDPOINTS;

/// All identifiers of a mesh, sorted.
#[derive(Clone)]
pub struct Plan {
    entries: Vec<(RawIdentifier, Source), MAX_IDENTIFIERS>,
}

impl Plan {
    /// Of no mesh.
    pub(crate) const NONE: Self = Self { entries: Vec::new() };

    /// The plan of a genesis that was checked ([`Genesis::check`]).
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let mut plan = Self::NONE;
        let validators = genesis.validators.iter().map(|validator| validator.identifiers);
        plan.fill(validators, genesis.endpoints.iter().map(|endpoint| endpoint.identifier));
        plan
    }

    /// Becomes the plan of these validators and endpoints, in the order of their places.
    pub(crate) fn fill(
        &mut self,
        validators: impl Iterator<Item = Identifiers>,
        endpoints: impl Iterator<Item = RawIdentifier>,
    ) {
        let entries = &mut self.entries;
        entries.clear();
        // the table has room for the limits of a genesis; to sort while it is made takes less code than to sort it
        let mut enter = |id, device, class| {
            let at = entries.partition_point(|(known, _)| *known < id);
            let _ = entries.insert(at, (id, Source { device, class }));
        };
        for (ids, at) in validators.zip(0..) {
            enter(ids.vote, Device::Validator(at), Class::Vote);
            enter(ids.propose, Device::Validator(at), Class::Propose);
            enter(ids.control, Device::Validator(at), Class::Control);
            enter(ids.bulk, Device::Validator(at), Class::Bulk);
        }
        for (id, at) in endpoints.zip(0..) {
            enter(id, Device::Endpoint(at), Class::Record);
        }
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
