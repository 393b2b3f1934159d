//! The identifier plan of a genesis, ready for looking up: whose identifier is this?

use crate::genesis::{Genesis, Identifiers, RawIdentifier};
use crate::keys::Device;
use crate::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use crate::types::ValidatorIndex;
use crate::validator::Source;
use crate::wire::Class;
use heapless::Vec;

const MAX_IDENTIFIERS: usize = OF_VALIDATORS + MAX_ENDPOINTS;

/// All identifiers of a mesh, sorted, and whose each is.
#[derive(Clone)]
pub struct Plan {
    identifiers: Vec<RawIdentifier, MAX_IDENTIFIERS>,
    owners: Vec<Owner, MAX_IDENTIFIERS>,
}

/// A source in one byte, for there are many: four of each validator, then one of each endpoint.
#[derive(Clone, Copy)]
struct Owner(u8);

/// What a validator sends on its identifiers.
const CLASSES: [Class; 4] = [Class::Vote, Class::Propose, Class::Control, Class::Bulk];
const OF_VALIDATORS: usize = CLASSES.len() * MAX_VALIDATORS;
const _: () = assert!(MAX_IDENTIFIERS <= u8::MAX as usize + 1);

impl Owner {
    fn source(self) -> Source {
        let at = usize::from(self.0);
        let device = match at.checked_sub(OF_VALIDATORS) {
            Some(endpoint) => Device::Endpoint(endpoint as u8),
            None => Device::Validator((at / CLASSES.len()) as ValidatorIndex),
        };
        let class = if at < OF_VALIDATORS { CLASSES[at % CLASSES.len()] } else { Class::Record };
        Source { device, class }
    }
}

impl Plan {
    /// Of no mesh.
    pub(crate) const NONE: Self = Self { identifiers: Vec::new(), owners: Vec::new() };

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
        self.identifiers.clear();
        self.owners.clear();
        validators.flat_map(|of| of.all()).zip(0..).for_each(|(id, at)| self.enter(id, at));
        endpoints.zip(OF_VALIDATORS..).for_each(|(id, at)| self.enter(id, at));
    }

    /// The table has room for the limits of a genesis; to sort while it is made takes less code than to sort it.
    fn enter(&mut self, id: RawIdentifier, owner: usize) {
        let at = self.identifiers.partition_point(|known| *known < id);
        let _ = self.identifiers.insert(at, id);
        let _ = self.owners.insert(at, Owner(owner as u8));
    }

    /// The identifier of an endpoint that comes or has another one now.
    pub(crate) fn enter_endpoint(&mut self, endpoint: u8, identifier: RawIdentifier) {
        let owner = OF_VALIDATORS + usize::from(endpoint);
        if let Some(at) = self.owners.iter().position(|known| usize::from(known.0) == owner) {
            self.identifiers.remove(at);
            self.owners.remove(at);
        }
        self.enter(identifier, owner);
    }

    /// The identifier of an endpoint's records.
    #[must_use]
    pub fn of_endpoint(&self, endpoint: u8) -> Option<RawIdentifier> {
        let at = self.owners.iter().position(|known| usize::from(known.0) == OF_VALIDATORS + usize::from(endpoint))?;
        self.identifiers.get(at).copied()
    }

    /// Owner and use of an identifier; `None` if it is not the mesh's.
    #[must_use]
    pub fn source(&self, identifier: RawIdentifier) -> Option<Source> {
        let at = self.identifiers.binary_search(&identifier).ok()?;
        self.owners.get(at).map(|owner| owner.source())
    }
}
