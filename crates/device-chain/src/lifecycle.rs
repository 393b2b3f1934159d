//! What orders and devices change of the registry: when they may, and what is then so (DC-46, DC-47).

use crate::entry::{Entry, Generation, Holder, Standing, Update};
use crate::genesis::{Authority, AuthorityEntry, Identity, arbitration, is_identifier};
use crate::keys::Device;
use crate::limits::{MAX_AUTHORITIES, MAX_ENDPOINTS};
use crate::order::{Change, Order, OrderRefusal};
use crate::registry::Registry;
use crate::types::{Hash, PublicKey};

impl Registry {
    /// Whether the order may be decided as far as the registry tells; that enough of those who may have signed it is for each
    /// validator to check (V2), and the height for the state.
    pub(crate) fn check_order(&self, order: &Order) -> Result<(), OrderRefusal> {
        use OrderRefusal as No;
        let ensure = |holds: bool, refusal: No| if holds { Ok(()) } else { Err(refusal) };
        ensure(!self.vehicle().ended, No::Ended)?;
        let entry = order.change.device().and_then(|device| self.entry(device));
        let known = match &order.change {
            Change::Authority { at, .. } => {
                self.entries.authorities.get(usize::from(*at)).map_or(0, |known| known.generation)
            }
            change if change.device().is_some() => entry.map_or(0, |entry| entry.generation),
            _ => self.vehicle().generation,
        };
        // an entry that was changed so often that its number stands still takes no more orders
        ensure(order.generation == known && known < Generation::MAX, No::Superseded)?;
        let active = entry.filter(|entry| entry.is_active());
        match &order.change {
            Change::Provision { device, identity, identifier, .. } => {
                ensure(active.is_none(), No::Place)?;
                self.check_newcomer(*device, identity)?;
                match device {
                    Device::Validator(_) => {
                        ensure(entry.is_some(), No::Place).and(ensure(*identifier == 0, No::Identifier))
                    }
                    Device::Endpoint(at) => {
                        let at = usize::from(*at);
                        ensure(at <= self.entries.endpoints.len() && at < MAX_ENDPOINTS, No::Place)?;
                        ensure(self.may_send(*device, *identifier), No::Identifier)
                    }
                }
            }
            Change::Replace { device, identity, .. } => {
                ensure(active.is_some(), No::Place).and(self.check_newcomer(*device, identity))
            }
            Change::Rotate { device, key } => {
                ensure(active.is_some(), No::Place)?;
                ensure(active.is_some_and(|entry| entry.key().is_some()), No::Key)?;
                self.check_newcomer(*device, &Identity::A(*key))
            }
            Change::Revoke { .. } => ensure(active.is_some(), No::Place),
            Change::Update { device, firmware } => {
                let entry = active.ok_or(No::Place)?;
                ensure(*firmware != entry.firmware && *firmware != Hash::NIL, No::Firmware)?;
                let has_one = self.entries.updates.iter().any(|update| update.device == *device);
                ensure(has_one || !self.entries.updates.is_full(), No::Full)
            }
            Change::Authority { at, role, key } => {
                let at = usize::from(*at);
                ensure(at <= self.entries.authorities.len() && at < MAX_AUTHORITIES, No::Place)?;
                // the owner's keys change with the owner
                let before = self.entries.authorities.get(at).map(|holder| holder.authority);
                ensure(*role != Authority::Owner, No::Role)?;
                ensure(
                    before.is_none_or(|before| before.key == PublicKey::NONE || before.authority == *role),
                    No::Role,
                )?;
                if *key == PublicKey::NONE {
                    let others = self.entries.authorities.iter().enumerate().filter(|(other, _)| *other != at);
                    let mut of_role = others.filter(|(_, holder)| holder.is(Authority::Maker));
                    ensure(*role != Authority::Maker || of_role.next().is_some(), No::Role)
                } else {
                    self.check_holder(key)
                }
            }
            Change::Transfer { owner } => {
                ensure(self.entries.authorities.iter().any(|holder| holder.is(Authority::Owner)), No::Role)?;
                self.check_holder(owner)
            }
            Change::Reset | Change::EndOfLife => Ok(()),
        }
    }

    /// What a device is known by is in no other place, and was not retired: who was expelled does not come back.
    fn check_newcomer(&self, device: Device, identity: &Identity) -> Result<(), OrderRefusal> {
        let retired = identity.bytes().first_chunk().is_some_and(|name| self.entries.retired.contains(name));
        let mut known = self.entries.validators.iter().chain(&self.entries.endpoints);
        let used = known.any(|entry| entry.identity.bytes() == identity.bytes());
        let fits = matches!((device, identity), (_, Identity::A(_)) | (Device::Endpoint(_), Identity::S(_)));
        if retired || used || !fits || *identity.bytes() == [0; 32] { Err(OrderRefusal::Key) } else { Ok(()) }
    }

    /// An authority's key has one role.
    fn check_holder(&self, key: &PublicKey) -> Result<(), OrderRefusal> {
        let used = self.entries.authorities.iter().any(|holder| holder.authority.key == *key);
        if used || *key == PublicKey::NONE { Err(OrderRefusal::Key) } else { Ok(()) }
    }

    /// DC-1 for an endpoint that comes later: its identifier is its own, and less urgent than votes.
    fn may_send(&self, device: Device, identifier: u32) -> bool {
        let votes = (0..).map_while(|at| self.identifiers(at)).map(|of| arbitration(of.vote));
        let owner = self.plan().source(identifier).map(|source| source.device);
        is_identifier(identifier)
            && owner.is_none_or(|owner| owner == device)
            && votes.max() < Some(arbitration(identifier))
    }

    /// Makes it so. [Checked](Self::check_order) before.
    pub(crate) fn apply_order(&mut self, order: &Order) {
        match order.change {
            Change::Provision { device, identity, firmware, identifier } => {
                if let Device::Endpoint(at) = device {
                    self.plan.enter_endpoint(at, identifier);
                    if usize::from(at) == self.entries.endpoints.len() {
                        let _ = self.entries.endpoints.push(Entry::NONE);
                    }
                }
                self.put(device, identity, firmware);
            }
            Change::Replace { device, identity, firmware } => self.put(device, identity, firmware),
            Change::Rotate { device, key } => {
                let firmware = self.entry(device).map_or(Hash::NIL, |entry| entry.firmware);
                let standing = self.entry(device).map(|entry| entry.standing).unwrap_or_default();
                self.put(device, Identity::A(key), firmware);
                self.change(device, |entry| entry.standing = standing);
            }
            Change::Update { device, firmware } => {
                self.entries.updates.retain(|update| update.device != device);
                let _ = self.entries.updates.push(Update { device, firmware });
                self.change(device, |entry| entry.generation = entry.generation.saturating_add(1));
            }
            Change::Revoke { device } => {
                self.retire(device);
                self.change(device, |entry| {
                    entry.standing = Standing::Revoked;
                    entry.generation = entry.generation.saturating_add(1);
                });
            }
            Change::Authority { at, role, key } => {
                self.set_holder(usize::from(at), AuthorityEntry { authority: role, key })
            }
            Change::Transfer { owner } => {
                let mut owner = Some(owner);
                for at in 0..self.entries.authorities.len() {
                    match self.entries.authorities[at].authority.authority {
                        role @ Authority::Owner => {
                            let key = owner.take().unwrap_or(PublicKey::NONE);
                            self.set_holder(at, AuthorityEntry { authority: role, key });
                        }
                        Authority::Fleet => self.dismiss(at),
                        _ => {}
                    }
                }
                self.turn_vehicle(false);
            }
            Change::Reset => {
                let fleet = |registry: &Self, at: usize| {
                    registry.entries.authorities[at].authority.authority == Authority::Fleet
                };
                (0..self.entries.authorities.len()).for_each(|at| {
                    if fleet(self, at) {
                        self.dismiss(at)
                    }
                });
                self.turn_vehicle(false);
            }
            Change::EndOfLife => self.turn_vehicle(true),
        }
        self.seal();
    }

    /// DC-47: whether it says something new of a device that it has told which firmware it runs.
    pub(crate) fn check_firmware(&self, device: Device, firmware: &Hash) -> Result<(), OrderRefusal> {
        let entry = self.entry(device).filter(|entry| entry.is_active()).ok_or(OrderRefusal::Place)?;
        let news = if entry.firmware == *firmware {
            entry.standing == Standing::Untrusted
        } else {
            entry.standing == Standing::Trusted || self.is_update(device, firmware)
        };
        if news { Ok(()) } else { Err(OrderRefusal::Firmware) }
    }

    /// Makes it so: an update is confirmed, and the firmware before is not valid any more; or the device is not trusted; or again.
    pub(crate) fn apply_firmware(&mut self, device: Device, firmware: &Hash) {
        let confirmed = self.is_update(device, firmware);
        if confirmed {
            self.entries.updates.retain(|update| update.device != device);
        }
        self.change(device, |entry| {
            if confirmed {
                entry.firmware = *firmware;
                entry.generation = entry.generation.saturating_add(1);
            }
            let right = entry.firmware == *firmware;
            entry.standing = if right { Standing::Trusted } else { Standing::Untrusted };
        });
        self.seal();
    }

    fn is_update(&self, device: Device, firmware: &Hash) -> bool {
        self.entries.updates.contains(&Update { device, firmware: *firmware })
    }

    /// Another device, or another key, at a place.
    fn put(&mut self, device: Device, identity: Identity, firmware: Hash) {
        self.retire(device);
        self.change(device, |entry| {
            let generation = entry.generation.saturating_add(1);
            *entry = Entry { generation, ..Entry::new(identity, firmware) };
        });
    }

    /// The key of a place may not come back, and no update for it.
    fn retire(&mut self, device: Device) {
        self.entries.updates.retain(|update| update.device != device);
        let name = self.entry(device).and_then(|entry| entry.identity.bytes().first_chunk::<8>().copied());
        if let Some(name) = name.filter(|name| *name != [0; 8] && !self.entries.retired.contains(name)) {
            if self.entries.retired.is_full() {
                self.entries.retired.remove(0);
            }
            let _ = self.entries.retired.push(name);
        }
    }

    fn change(&mut self, device: Device, change: impl FnOnce(&mut Entry)) {
        self.entries.pages[0] = None; // updates and retired keys are there
        if let Some(entry) = self.entries.get_mut(device) {
            change(entry);
        }
    }

    /// A fleet's key goes.
    fn dismiss(&mut self, at: usize) {
        self.set_holder(at, AuthorityEntry { authority: Authority::Fleet, key: PublicKey::NONE });
    }

    fn set_holder(&mut self, at: usize, authority: AuthorityEntry) {
        self.entries.pages[0] = None;
        if at == self.entries.authorities.len() {
            let _ = self.entries.authorities.push(Holder { authority, generation: 0 });
        }
        if let Some(holder) = self.entries.authorities.get_mut(at) {
            *holder = Holder { authority, generation: holder.generation.saturating_add(1) };
        }
    }

    fn turn_vehicle(&mut self, ended: bool) {
        self.entries.pages[0] = None;
        let vehicle = &mut self.entries.vehicle;
        vehicle.generation = vehicle.generation.saturating_add(1);
        vehicle.ended |= ended;
    }
}
