//! The key file of a device: its identity and its pairwise keys, as the end of the line has put them there.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `RINGKEY` and the version, 1 |
//! | 32 | mesh identity |
//! | 32 | seed of the Ed25519 identity |
//! | 2 | number of pairwise keys, little-endian |
//! | 34 each | 0 for a validator or 1 for an endpoint, its place in the genesis, the key; in ascending order |
//! | 4 | CRC-32C of everything before, little-endian: damage is noticed, forgery is for file permissions to prevent |

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use crc::{CRC_32_ISCSI, Crc};
use device_chain::genesis::Genesis;
use device_chain::keys::{Device, SoftKeys};
use device_chain::limits::{MAX_ENDPOINTS, MAX_VALIDATORS};
use device_chain::mac::Key;
use device_chain::sign::SigningKey;
use device_chain::types::{MeshId, PublicKey};
use zeroize::Zeroizing;

use super::files;

const MAGIC: &[u8; 8] = b"RINGKEY\x01";
const HEAD: usize = 8 + 32 + 32 + 2;
const ENTRY: usize = 2 + 32;
const CHECKSUM: usize = 4;
const MAX_LENGTH: usize = HEAD + (MAX_VALIDATORS + MAX_ENDPOINTS) * ENTRY + CHECKSUM;
static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What a device holds. No `Debug`; wiped on drop.
pub struct DeviceKeys {
    /// Its place in the genesis.
    pub device: Device,
    /// Its identity.
    pub identity: SigningKey,
    /// Its pairwise keys.
    pub keys: SoftKeys,
}

/// All devices of a genesis with their public keys, in the order of the key file.
fn devices(genesis: &Genesis) -> impl Iterator<Item = (Device, &PublicKey)> {
    let validators = (0..).map(Device::Validator).zip(genesis.validators.iter().map(|entry| &entry.key));
    validators.chain((0..).map(Device::Endpoint).zip(genesis.endpoints.iter().map(|entry| &entry.key)))
}

/// Those a device talks to: a validator to everybody, an endpoint to the validators.
fn peers(genesis: &Genesis, own: Device) -> impl Iterator<Item = (Device, &PublicKey)> {
    let both_endpoints = move |peer| matches!((own, peer), (Device::Endpoint(_), Device::Endpoint(_)));
    devices(genesis).filter(move |(peer, _)| *peer != own && !both_endpoints(*peer))
}

/// Writes the key file of the device with the identity made from `seed`, with the keys it shares with those it talks to.
///
/// # Errors
/// The device is not in the genesis, a peer's key is weak, or the file exists or cannot be written.
pub fn create(path: &Path, genesis: &Genesis, seed: &[u8; 32]) -> Result<()> {
    let mesh = genesis.mesh();
    let identity = SigningKey::from_seed(*seed);
    let own = device_of(genesis, &identity)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LENGTH));
    for part in [&MAGIC[..], &mesh.0.0, seed, &[0; 2]] {
        bytes.extend_from_slice(part);
    }
    let mut count = 0u16;
    for (peer, public) in peers(genesis, own) {
        let key = identity.pair_key(public, &mesh.0).with_context(|| format!("the public key of {peer:?} is weak"))?;
        bytes.extend_from_slice(&match peer {
            Device::Validator(at) => [0, at],
            Device::Endpoint(at) => [1, at],
        });
        key.export_to(|key| bytes.extend_from_slice(key));
        count += 1;
    }
    bytes[HEAD - 2..HEAD].copy_from_slice(&count.to_le_bytes());
    let checksum = CRC.checksum(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    files::create(path, &bytes, files::SECRET)
}

/// Opens the key file of a device of this genesis.
///
/// # Errors
/// The file cannot be read, is damaged, of another version or car, or of a device that the genesis does not name.
pub fn open(path: &Path, genesis: &Genesis) -> Result<DeviceKeys> {
    let bytes = read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes, genesis).with_context(|| format!("{}: provision this device again", path.display()))
}

/// In one piece, so that no copy is left behind by a growing buffer.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    ensure!(length <= MAX_LENGTH as u64, "{length} bytes are no key file");
    let mut bytes = Zeroizing::new(vec![0; length as usize]);
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8], genesis: &Genesis) -> Result<DeviceKeys> {
    let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else { bail!("too short for a key file") };
    let Some(rest) = body.strip_prefix(MAGIC) else { bail!("no key file of version {}", MAGIC[7]) };
    ensure!(CRC.checksum(body).to_le_bytes() == *checksum, "the checksum is wrong: the file is damaged");
    let (Some((mesh, rest)), true) = (rest.split_first_chunk::<32>(), body.len() >= HEAD) else { bail!("too short") };
    ensure!(MeshId(device_chain::types::Hash(*mesh)) == genesis.mesh(), "the keys are of another car's genesis");
    let (seed, rest) = rest.split_first_chunk::<32>().context("too short")?;
    let identity = SigningKey::from_seed(*seed);
    let device = device_of(genesis, &identity)?;

    let (count, entries) = rest.split_first_chunk::<2>().context("too short")?;
    ensure!(usize::from(u16::from_le_bytes(*count)) * ENTRY == entries.len(), "the number of keys is wrong");
    let mut keys = SoftKeys::new(genesis.suite);
    let mut loaded = Vec::new();
    for entry in entries.chunks_exact(ENTRY) {
        let peer = match entry[0] {
            0 => Device::Validator(entry[1]),
            1 => Device::Endpoint(entry[1]),
            other => bail!("a key for a device of the unknown kind {other}"),
        };
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&entry[2..]);
        ensure!(loaded.last().is_none_or(|last| *last < peer), "the keys are not in order");
        ensure!(keys.load(peer, Key::new(*key)), "a key for {peer:?}, which the genesis does not name");
        loaded.push(peer);
    }
    ensure!(peers(genesis, device).map(|(peer, _)| peer).eq(loaded), "the keys are not those of the genesis");
    Ok(DeviceKeys { device, identity, keys })
}

fn device_of(genesis: &Genesis, identity: &SigningKey) -> Result<Device> {
    let found = devices(genesis).find(|(_, key)| **key == identity.public());
    found.map(|(device, _)| device).context("the genesis does not name this device's identity")
}

#[cfg(test)]
mod tests {
    use super::super::car::Car;
    use super::*;

    #[test]
    fn a_damaged_or_cut_file_is_refused_wherever_the_damage_is() {
        let car = Car::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml"))).unwrap();
        let public = |at: usize| SigningKey::from_seed([at as u8 + 1; 32]).public();
        let genesis = car.genesis(&public, &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (at, device, keys) in [(3, Device::Validator(3), 7), (7, Device::Endpoint(0), 7)] {
            let path = folder.path().join(at.to_string());
            create(&path, &genesis, &[at + 1; 32]).unwrap();
            let bytes = read(&path).unwrap();
            assert_eq!(bytes.len(), HEAD + keys * ENTRY + CHECKSUM);
            assert!(parse(&bytes, &genesis).unwrap().device == device);
            for place in 0..bytes.len() {
                assert!(parse(&bytes[..place], &genesis).is_err(), "cut at {place}");
                let mut flipped = bytes.clone();
                flipped[place] ^= 0x10;
                assert!(parse(&flipped, &genesis).is_err(), "flipped at {place}");
            }
        }
        assert!(create(&folder.path().join("nobody"), &genesis, &[99; 32]).is_err());
    }
}
