//! The key file of a device: its identity and its pairwise keys, as the end of the line has put them there.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `RINGKEY` and the version, 1 |
//! | 32 | mesh identity |
//! | 32 | seed of the Ed25519 identity; of an endpoint of class S, which has none, 30 zeros, 1, and its place in the genesis |
//! | 2 | number of pairwise keys, little-endian |
//! | 34 each | 0 for a validator or 1 for an endpoint, its place in the genesis, the key; in ascending order |
//! | 4 | CRC-32C of everything before, little-endian: damage is noticed, forgery is for file permissions to prevent |

use core::fmt;

use crc::{CRC_32_ISCSI, Crc};
use device_chain::genesis::{Genesis, Identity};
use device_chain::keys::{Device, SoftKeys, commitment};
use device_chain::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use device_chain::mac::Key;
use device_chain::registry::Devices;
use device_chain::sign::SigningKey;
use device_chain::types::{Hash, MeshId, PublicKey, ValidatorIndex};

pub(crate) const MAGIC: &[u8; 8] = b"RINGKEY\x01";
pub(crate) const HEAD: usize = 8 + 32 + 32 + 2;
const ENTRY: usize = 2 + 32;
const CHECKSUM: usize = 4;
/// Longest key file.
pub const MAX_LENGTH: usize = HEAD + (MAX_VALIDATORS + MAX_ENDPOINTS) * ENTRY + CHECKSUM;
pub(crate) static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What a device holds. No `Debug`; wiped on drop.
pub struct DeviceKeys {
    /// Its place in the genesis.
    pub device: Device,
    /// Its identity; none, if it is an endpoint of class S.
    pub identity: Option<SigningKey>,
    /// Its pairwise keys.
    pub keys: SoftKeys,
}

/// What is wrong with a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileError {
    /// Too short, or no key file of this version.
    Form,
    /// The checksum is wrong.
    Damaged,
    /// The keys are of another car's genesis.
    OtherMesh,
    /// The genesis does not name the identity.
    Unknown,
    /// The keys are not those of the devices that this one talks to.
    Keys,
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "no key file of version 1",
            Self::Damaged => "the checksum is wrong: the file is damaged",
            Self::OtherMesh => "the keys are of another car's genesis",
            Self::Unknown => "the genesis does not name this device's identity",
            Self::Keys => "the keys are not those of the genesis",
        })
    }
}

impl core::error::Error for KeyFileError {}

/// All devices of a genesis that have public keys, with them.
fn devices(genesis: &Genesis) -> impl Iterator<Item = (Device, &PublicKey)> {
    let validators = (0..).map(Device::Validator).zip(genesis.validators.iter().map(|entry| &entry.key));
    let endpoints = (0..).map(Device::Endpoint).zip(&genesis.endpoints);
    validators.chain(endpoints.filter_map(|(device, entry)| Some((device, entry.identity.key()?))))
}

/// Those a device talks to, in the order of the key file: a validator to everybody, an endpoint to the validators.
pub(crate) fn peers<G: Devices>(genesis: &G, own: Device) -> impl Iterator<Item = Device> + use<G> {
    let validators = (0..genesis.validators() as ValidatorIndex).map(Device::Validator);
    let endpoints = if matches!(own, Device::Validator(_)) { genesis.endpoints() as u8 } else { 0 };
    validators.chain((0..endpoints).map(Device::Endpoint)).filter(move |peer| *peer != own)
}

/// How a device is written before its key.
pub(crate) const fn label(device: Device) -> [u8; 2] {
    match device {
        Device::Validator(at) => [0, at],
        Device::Endpoint(at) => [1, at],
    }
}

/// What stands in the place of the seed of an endpoint of class S.
pub(crate) const fn without_seed(endpoint: u8) -> [u8; 32] {
    let mut place = [0; 32];
    [place[30], place[31]] = label(Device::Endpoint(endpoint));
    place
}

/// The device with this identity.
///
/// # Errors
/// [`KeyFileError::Unknown`].
pub fn device_of(genesis: &Genesis, identity: &SigningKey) -> Result<Device, KeyFileError> {
    let found = devices(genesis).find(|(_, key)| **key == identity.public());
    found.map(|(device, _)| device).ok_or(KeyFileError::Unknown)
}

/// Reads the key file of a device of this genesis.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8], genesis: &Genesis) -> Result<DeviceKeys, KeyFileError> {
    let mut keys = SoftKeys::new(genesis.suite);
    let (device, identity) = load(bytes, genesis, |identity| device_of(genesis, identity).ok(), &mut keys)?;
    if let (Device::Endpoint(at), None) = (device, &identity) {
        let known = genesis.endpoints.get(usize::from(at)).ok_or(KeyFileError::Unknown)?.identity;
        let Identity::S(committed) = known else { return Err(KeyFileError::Unknown) };
        if commitment(&keys, genesis.validators.len()) != Some(committed) {
            return Err(KeyFileError::Keys);
        }
    }
    Ok(DeviceKeys { device, identity, keys })
}

/// Reads the key file of a device into a store that lies where it stays, on a chip whose stack is small. `find` tells the
/// device with an identity. Returns that of the file, if it has one: what a file without one says is believed (DC-72).
///
/// # Errors
/// What is wrong with it. Some of the keys may be loaded then.
pub fn load(
    bytes: &[u8],
    genesis: &impl Devices,
    find: impl FnOnce(&SigningKey) -> Option<Device>,
    keys: &mut SoftKeys,
) -> Result<(Device, Option<SigningKey>), KeyFileError> {
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(KeyFileError::Form)?;
    let rest = body.strip_prefix(MAGIC).ok_or(KeyFileError::Form)?;
    if CRC.checksum(body).to_le_bytes() != *checksum {
        return Err(KeyFileError::Damaged);
    }
    let (mesh, rest) = rest.split_first_chunk::<32>().ok_or(KeyFileError::Form)?;
    let (seed, rest) = rest.split_first_chunk::<32>().ok_or(KeyFileError::Form)?;
    let (count, entries) = rest.split_first_chunk::<2>().ok_or(KeyFileError::Form)?;
    if MeshId(Hash(*mesh)) != genesis.mesh() {
        return Err(KeyFileError::OtherMesh);
    }
    if usize::from(u16::from_le_bytes(*count)) * ENTRY != entries.len() {
        return Err(KeyFileError::Form);
    }
    if *seed == [0; 32] {
        return Err(KeyFileError::Unknown); // nobody's
    }
    let (device, identity) = if *seed == without_seed(seed[31]) {
        (Device::Endpoint(seed[31]), None)
    } else {
        let identity = SigningKey::from_seed(*seed);
        (find(&identity).ok_or(KeyFileError::Unknown)?, Some(identity))
    };
    if matches!(device, Device::Endpoint(at) if usize::from(at) >= genesis.endpoints()) {
        return Err(KeyFileError::Unknown);
    }
    let mut entries = entries.chunks_exact(ENTRY);
    for peer in peers(genesis, device) {
        let entry = entries.next().ok_or(KeyFileError::Keys)?;
        let (place, key) = entry.split_first_chunk::<2>().ok_or(KeyFileError::Form)?;
        let key = Key::new(key.try_into().map_err(|_| KeyFileError::Form)?);
        if *place != label(peer) || !keys.load(peer, key) {
            return Err(KeyFileError::Keys);
        }
    }
    if entries.next().is_some() { Err(KeyFileError::Keys) } else { Ok((device, identity)) }
}
