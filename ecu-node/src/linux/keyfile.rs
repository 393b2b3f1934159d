//! The key file of a device as a file, [sealed](super::sealed); its form is in [`crate::keyfile`].

use std::path::PathBuf;

use anyhow::{Context, Result};
use device_chain::genesis::Genesis;
use device_chain::keys::Device;
use device_chain::sign::SigningKey;
use device_chain::types::{MeshId, PublicKey};
use zeroize::Zeroizing;

use super::node::NodePaths;
use super::{files, sealed};
use crate::keyfile::{CRC, DeviceKeys, HEAD, MAGIC, MAX_LENGTH, device_of, label, parse, peers};

/// Writes the key file of the device with the identity made from `seed`, with the keys it shares with those it talks to, sealed by a new key
/// of its own, which is written, too.
///
/// # Errors
/// The device is not in the genesis, a peer's key is weak, or a file exists or cannot be written.
pub fn create(paths: &NodePaths, genesis: &Genesis, seed: &[u8; 32]) -> Result<()> {
    let file = make(genesis, seed)?;
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).context("the system has no randomness")?;
    let key = sealed::SealKey::create(&paths.kek)?;
    files::create(&place(paths), &sealed::seal(&file, &genesis.mesh(), &key, nonce), files::SECRET)
}

fn place(paths: &NodePaths) -> PathBuf {
    paths.state.join("keys.bin")
}

/// The key file, plain.
fn make(genesis: &Genesis, seed: &[u8; 32]) -> Result<Zeroizing<Vec<u8>>> {
    let mesh = genesis.mesh();
    let identity = SigningKey::from_seed(*seed);
    let own = device_of(genesis, &identity)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LENGTH));
    for part in [&MAGIC[..], &mesh.0.0, seed, &[0; 2]] {
        bytes.extend_from_slice(part);
    }
    let mut count = 0u16;
    for peer in peers(genesis, own) {
        let public = public_key(genesis, peer).context("a device of the genesis")?;
        let key = identity.pair_key(public, &mesh.0).with_context(|| format!("the public key of {peer:?} is weak"))?;
        bytes.extend_from_slice(&label(peer));
        key.export_to(|key| bytes.extend_from_slice(key));
        count += 1;
    }
    bytes[HEAD - 2..HEAD].copy_from_slice(&count.to_le_bytes());
    let checksum = CRC.checksum(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// The public key of a device.
fn public_key(genesis: &Genesis, device: Device) -> Option<&PublicKey> {
    match device {
        Device::Validator(at) => genesis.validators.get(usize::from(at)).map(|entry| &entry.key),
        Device::Endpoint(at) => genesis.endpoints.get(usize::from(at)).map(|entry| &entry.key),
    }
}

/// Opens the key file of a device of this genesis.
///
/// # Errors
/// A file cannot be read, is damaged, of another version, device or car, or of a device that the genesis does not name.
pub fn open(paths: &NodePaths, genesis: &Genesis) -> Result<DeviceKeys> {
    let file = unseal(paths, Some(&genesis.mesh()))?;
    parse(&file, genesis).with_context(|| format!("{}: provision this device again", place(paths).display()))
}

/// The key file as a chip is given it, whose flash nobody else can read; of this car, if one is named.
///
/// # Errors
/// A file cannot be read, is damaged, of another version, device or car.
pub fn unseal(paths: &NodePaths, mesh: Option<&MeshId>) -> Result<Zeroizing<Vec<u8>>> {
    let path = place(paths);
    let bytes = files::read(&path, sealed::MAX_LENGTH as u64)?;
    let key = sealed::SealKey::read(&paths.kek)?;
    sealed::unseal(&bytes, mesh, &key).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use device_chain::keys::Device;

    use super::super::car::Car;
    use super::*;
    use crate::keyfile::KeyFileError;

    #[test]
    fn a_damaged_or_cut_file_is_refused_wherever_the_damage_is() {
        let car = Car::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml"))).unwrap();
        let public = |at: usize| SigningKey::from_seed([at as u8 + 1; 32]).public();
        let genesis = car.genesis(&public, &[]).unwrap();
        for (at, device, keys) in [(3, Device::Validator(3), 7), (7, Device::Endpoint(0), 7)] {
            let bytes = make(&genesis, &[at + 1; 32]).unwrap();
            assert_eq!(bytes.len(), HEAD + keys * (2 + 32) + 4);
            assert!(parse(&bytes, &genesis).unwrap().device == device);
            for place in 0..bytes.len() {
                assert!(parse(&bytes[..place], &genesis).is_err(), "cut at {place}");
                let mut flipped = bytes.clone();
                flipped[place] ^= 0x10;
                assert!(parse(&flipped, &genesis).is_err(), "flipped at {place}");
            }
            let mut without_identity = bytes.clone();
            without_identity[HEAD - 2 - 32..HEAD - 2].fill(0);
            let body = bytes.len() - 4;
            let checksum = CRC.checksum(&without_identity[..body]);
            without_identity[body..].copy_from_slice(&checksum.to_le_bytes());
            assert_eq!(parse(&without_identity, &genesis).err(), Some(KeyFileError::Unknown));
        }
        assert!(make(&genesis, &[99; 32]).is_err(), "nobody");
    }
}
