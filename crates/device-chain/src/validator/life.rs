//! Who belongs to the car, at a node: orders and their signatures, what devices say of their firmware, and what follows.
//! `docs/protocol.md` DC-46 to DC-48.

use heapless::Deque;

use super::ignition::SILENCE_HEARTBEATS;
use super::outbox::Message;
use super::{Validator, orders::drop_first};
use crate::codec;
use crate::keys::{Device, KeyStore};
use crate::limits::{MAX_ENDORSEMENTS, MAX_ORDERS, MAX_VALIDATORS};
use crate::order::{Change, Endorsement, Order, OrderRefusal, Signers};
use crate::session::Session;
use crate::state::Refusal;
use crate::tx::Transaction;
use crate::types::{Hash, PublicKey, Signature, ValidatorIndex};
use crate::wire::Parts;

/// Heartbeats after which a node says again which firmware it runs: who missed it, or has rebooted, hears it then.
const FIRMWARE_HEARTBEATS: u64 = 64;
const _: () = assert!(FIRMWARE_HEARTBEATS > SILENCE_HEARTBEATS);

/// First bytes of a signature: enough to tell those that are held.
pub(super) type SignatureName = [u8; 8];

/// An order, and who has signed it as far as this node has checked.
struct HeldOrder {
    order: Order,
    signers: Signers,
    /// Who brought it, if not this node's own application.
    from: Option<ValidatorIndex>,
}

/// A signature that is to be checked, or to be passed on.
struct HeldEndorsement {
    endorsement: Endorsement,
    /// Pass it on once it is checked.
    relay: bool,
}

/// What a node holds of it.
pub(super) struct Life {
    orders: Deque<HeldOrder, MAX_ORDERS>,
    endorsements: Deque<HeldEndorsement, MAX_ENDORSEMENTS>,
    /// What each validator has said that it runs, this node among them.
    firmware: [Option<Hash>; MAX_VALIDATORS],
    /// Heartbeats since this node said it last.
    unsaid: u64,
}

impl Life {
    pub(super) const NONE: Self =
        Self { orders: Deque::new(), endorsements: Deque::new(), firmware: [None; MAX_VALIDATORS], unsaid: 0 };
}

impl<K: KeyStore> Validator<K> {
    /// A signature under an order, from outside or from a peer: off the approval path it is checked once (DC-46).
    pub(super) fn on_endorsement(&mut self, endorsement: Endorsement, from: Option<ValidatorIndex>) {
        let Endorsement { order, signer, .. } = endorsement;
        if let Err(Refusal::Order(refusal)) = self.state.check(&Transaction::Change(order), &self.registry) {
            return self.report_order(&order, Some(refusal));
        }
        if endorsement.key(&self.registry).is_none() {
            return self.report_order(&order, Some(OrderRefusal::Signature));
        }
        let relay = from.is_none();
        let known = self.life.orders.iter().find(|held| held.order == order);
        let is_checked = known.is_some_and(|held| held.signers.contains(signer));
        let name = signature_name(&endorsement.signature);
        if is_checked && !relay || self.endorsement_named(name).is_some() {
            return; // said again
        }
        if known.is_none() {
            let unproven = |held: &HeldOrder| held.signers == Signers::default();
            if !relay && self.life.orders.iter().any(|held| held.from == from && unproven(held)) {
                self.counters.dropped += 1;
                return; // one of each sender at a time, until somebody has signed it
            }
            if self.life.orders.is_full() {
                drop_first(&mut self.life.orders, unproven);
            }
            if self.life.orders.is_full() {
                self.life.orders.pop_front();
            }
            let _ = self.life.orders.push_back(HeldOrder { order, signers: Signers::default(), from });
        }
        if self.life.endorsements.push_back(HeldEndorsement { endorsement, relay }).is_err() {
            self.counters.dropped += 1;
        } else if is_checked {
            self.send(Message::Order(name)); // once more for whoever missed it
        } else {
            self.ask_endorsement_check(name);
        }
    }

    #[inline(never)]
    pub(super) fn take_endorsement(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        match codec::decode(parts.body) {
            Some(endorsement) => self.on_endorsement(endorsement, Some(peer)),
            None => self.counters.malformed += 1,
        }
    }

    pub(super) fn endorsement_named(&self, name: SignatureName) -> Option<&Endorsement> {
        let mut held = self.life.endorsements.iter().map(|held| &held.endorsement);
        held.find(|endorsement| signature_name(&endorsement.signature) == name)
    }

    /// The endorsement and the key that has to have made it; it is dropped if the order has become void meanwhile.
    pub(super) fn endorsement_to_check(&self, name: SignatureName) -> Option<(Endorsement, PublicKey)> {
        let endorsement = *self.endorsement_named(name)?;
        Some((endorsement, endorsement.key(&self.registry)?))
    }

    /// The endorsement that leaves now.
    pub(super) fn take_endorsement_named(&mut self, name: SignatureName) -> Option<Endorsement> {
        let endorsement = *self.endorsement_named(name)?;
        self.life.endorsements.retain(|held| held.endorsement != endorsement);
        Some(endorsement)
    }

    pub(super) fn on_endorsement_checked(&mut self, signature: &Signature, genuine: bool) {
        let name = signature_name(signature);
        let Some(held) = self.life.endorsements.iter().find(|held| held.endorsement.signature == *signature) else {
            return;
        };
        let (Endorsement { order, signer, .. }, relay) = (held.endorsement, held.relay);
        if !genuine || !relay {
            self.life.endorsements.retain(|held| held.endorsement.signature != *signature);
        }
        if !genuine {
            self.life.orders.retain(|held| held.order != order || held.signers != Signers::default());
            return self.report_order(&order, Some(OrderRefusal::Signature));
        }
        let Some(held) = self.life.orders.iter_mut().find(|held| held.order == order) else { return };
        held.signers.insert(signer);
        held.from = if relay { None } else { held.from };
        let (complete, own) = (held.signers.may(&order.change, &self.registry), held.from.is_none());
        if relay {
            self.send(Message::Order(name));
        }
        if complete {
            self.report_order(&order, None);
            self.review_values();
            let change = Transaction::Change(order);
            if own {
                self.submit(change);
            } else if let Some(place) = self.turn(self.gateway) {
                // whoever brought it may not want it any more
                self.want(change, (1 + place as u64) * 8 * self.phase_us());
            }
        }
    }

    /// V2: whether this node has checked the signatures that an order needs.
    pub(super) fn is_ordered(&self, order: &Order) -> bool {
        let held = self.life.orders.iter().find(|held| held.order == *order);
        held.is_some_and(|held| held.signers.may(&order.change, &self.registry))
    }

    /// What this node runs, as its secure boot has measured it.
    pub(super) fn on_measured(&mut self, firmware: Hash) {
        self.life.firmware[usize::from(self.me)] = Some(firmware);
        self.say_firmware();
    }

    /// What a validator has said that it runs.
    #[must_use]
    pub fn firmware_of(&self, validator: ValidatorIndex) -> Option<&Hash> {
        self.life.firmware.get(usize::from(validator))?.as_ref()
    }

    /// To whoever has just come, too.
    pub(super) fn say_firmware(&mut self) {
        if self.firmware_of(self.me).is_some() {
            self.life.unsaid = 0;
            self.send_durable(Message::Firmware);
        }
    }

    pub(super) fn on_firmware(&mut self, peer: ValidatorIndex, parts: &Parts<'_>) {
        match <[u8; 32]>::try_from(parts.body) {
            Ok(firmware) => {
                self.life.firmware[usize::from(peer)] = Some(Hash(firmware));
                self.review_values();
            }
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// DC-47: whether the device has told this node itself that it runs that.
    pub(super) fn runs(&self, device: Device, firmware: &Hash) -> bool {
        match device {
            Device::Validator(at) => self.firmware_of(at) == Some(firmware),
            Device::Endpoint(at) => {
                let update = self.registry.updates().iter().any(|of| of.device == device && of.firmware == *firmware);
                update && self.runs_update(at)
            }
        }
    }

    /// Each heartbeat: what the chain does not know yet of what devices run is asked for.
    pub(super) fn review_firmware(&mut self) {
        self.life.unsaid += 1;
        if self.life.unsaid >= FIRMWARE_HEARTBEATS {
            self.say_firmware();
        }
        if !self.hears_quorum() || !self.may_vote() {
            return;
        }
        if let Some(update) = self.registry.updates().iter().find(|of| self.runs(of.device, &of.firmware)).copied() {
            let place = self.turn(self.gateway).unwrap_or_default() as u64;
            self.want(
                Transaction::Firmware { device: update.device, firmware: update.firmware },
                place * 4 * self.phase_us(),
            );
        }
        for at in 0..self.full.n as ValidatorIndex {
            let device = Device::Validator(at);
            if let Some(firmware) = self.firmware_of(at).copied()
                && self.registry.check_firmware(device, &firmware).is_ok()
            {
                let place = self.turn(at).unwrap_or_default() as u64;
                self.want(Transaction::Firmware { device, firmware }, place * 4 * self.phase_us());
            }
        }
    }

    /// What a decided order ends at this node.
    pub(super) fn follow_order(&mut self, change: &Change) {
        match *change {
            Change::Revoke { device } | Change::Replace { device, .. } | Change::Provision { device, .. } => {
                if let Device::Validator(at) = device {
                    // it has to say HELLO with keys of its own
                    self.sessions[usize::from(at)] = Session::NONE;
                    self.held[usize::from(at)].clear();
                    self.life.firmware[usize::from(at)] = None;
                    self.keeping.now(self.now); // or the next boot brings its keys back
                } else if let Device::Endpoint(at) = device {
                    self.records.retain(|held| held.endpoint != at);
                    self.forget_presence(at);
                }
                self.keys.forget(device);
            }
            // grants of keys that may be gone: who still holds one brings it again
            Change::Authority { .. } | Change::Transfer { .. } | Change::Reset | Change::EndOfLife => {
                self.grants.clear()
            }
            Change::Rotate { .. } | Change::Update { .. } => {}
        }
        let (state, registry) = (&self.state, &self.registry);
        self.life.orders.retain(|held| state.check(&Transaction::Change(held.order), registry).is_ok());
        let orders = &self.life.orders;
        self.life.endorsements.retain(|held| orders.iter().any(|order| order.order == held.endorsement.order));
    }

    fn report_order(&mut self, order: &Order, refused: Option<OrderRefusal>) {
        let digest = order.digest(&self.mesh);
        self.tell_order(&digest, refused);
    }
}

pub(super) fn signature_name(signature: &Signature) -> SignatureName {
    signature.0.first_chunk().copied().unwrap_or_default()
}
