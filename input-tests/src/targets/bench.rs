//! An ECU on a bench: whoever holds the dice has the keys of everybody else.

use std::sync::LazyLock;

use device_chain::genesis::Genesis;
use device_chain::hash::Domain;
use device_chain::keys::{Device, KeyHandle, KeyStore, SoftKeys};
use device_chain::mac::{MacKey, Suite, Tag};
use device_chain::types::{Hash, ValidatorIndex};
use device_chain::wire::{HEADER, Header, Kind, tag_input, tag_slot, tags_len};
use ecu_node::Ecu;
use mesh_sim::genesis::Plan;
use mesh_sim::keys::Keyring;

use crate::Dice;

/// The place of the ECU on the bench.
pub const ME: ValidatorIndex = 1;
/// The nonce of its boot.
pub const NONCE: u64 = 0x0BAD_CAFE;

/// A mesh with all its keys.
pub struct Mesh {
    pub genesis: Genesis,
    pub keyring: Keyring,
}

/// Of four and of eight, with either MAC.
static MESHES: LazyLock<[Mesh; 2]> = LazyLock::new(|| {
    [(4, Suite::Cmac), (8, Suite::Blake2s)].map(|(validators, suite)| {
        let plan = Plan { validators, suite, ..Plan::default() };
        let genesis = plan.genesis();
        let keyring = Keyring::new(&plan, &genesis);
        Mesh { genesis, keyring }
    })
});

impl Mesh {
    pub fn pick(dice: &mut Dice<'_>) -> &'static Self {
        &MESHES[dice.below(MESHES.len())]
    }

    /// An ECU that has its place and no memory yet.
    pub fn ecu(&self) -> Box<Ecu<SoftKeys>> {
        let mut ecu = Box::new(Ecu::new(self.keyring.store(ME)));
        ecu.validator_mut().install(&self.genesis, ME).expect("a place of the genesis");
        ecu
    }

    pub fn size(&self) -> usize {
        self.genesis.validators.len()
    }
}

/// What somebody has with whom the ECU shares a key.
pub struct Peer {
    at: ValidatorIndex,
    session: MacKey,
    pub nonce: u64,
    pub counter: u32,
    pub transfer: u8,
}

impl Peer {
    pub fn new(mesh: &Mesh, at: ValidatorIndex) -> Self {
        let mut peer = Self { at, session: MacKey::Cmac([0; 16]), nonce: 0, counter: 0, transfer: 0 };
        peer.begin_session(mesh, at.into());
        peer
    }

    /// As after a boot with this nonce (DC-21).
    pub fn begin_session(&mut self, mesh: &Mesh, nonce: u64) {
        let nonces = if ME < self.at { [NONCE, nonce] } else { [nonce, NONCE] };
        let pair = mesh.keyring.pair(ME, self.at).expect("another validator");
        let suite = mesh.genesis.suite;
        let key = pair.derive(suite, Domain::SessionKey, nonces);
        (self.session, self.nonce, self.counter) = (key.for_tags(suite), nonce, 0);
    }

    /// A message with the tag that is right for the ECU; the tags of others are empty.
    pub fn message(&self, mesh: &Mesh, header: &Header, subject: &Hash, body: &[u8]) -> Vec<u8> {
        let head = header.to_bytes();
        let input = tag_input(&head, subject);
        let tag = match header.kind {
            Kind::Hello => {
                let pair = mesh.keyring.pair(ME, self.at).expect("another validator");
                pair.for_tags(mesh.genesis.suite).tag(&input)
            }
            _ => self.session.tag(&input),
        };
        let slot = if header.kind.is_addressed() { 0 } else { tag_slot(self.at, ME) };
        with_tag(mesh, header.kind, &head, body, slot, &tag)
    }
}

/// A record of the endpoint at this place.
pub fn record(mesh: &Mesh, endpoint: u8, header: &Header, body: &[u8]) -> Vec<u8> {
    let head = header.to_bytes();
    let subject = device_chain::hash::hash(device_chain::hash::Domain::Body, &[body]);
    let keys = mesh.keyring.endpoint_store(endpoint);
    let tag = keys.tag(KeyHandle::Pair(Device::Validator(ME)), &tag_input(&head, &subject)).unwrap_or_default();
    with_tag(mesh, Kind::Record, &head, body, ME.into(), &tag)
}

/// A message with one tag, and empty ones in the other slots.
pub fn with_tag(mesh: &Mesh, kind: Kind, head: &[u8; HEADER], body: &[u8], slot: usize, tag: &Tag) -> Vec<u8> {
    let tag_len = mesh.genesis.tag_len();
    let mut tags = vec![0; tags_len(kind, mesh.size(), tag_len)];
    tags[slot * tag_len..][..tag_len].copy_from_slice(&tag[..tag_len]);
    [&head[..], body, &tags].concat()
}
