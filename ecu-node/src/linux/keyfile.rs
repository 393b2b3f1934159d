//! The key file of a device as a file, [sealed](super::sealed); its form is in [`crate::keyfile`].

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use device_chain::genesis::Genesis;
use device_chain::keys::Device;
use device_chain::mac::Key;
use device_chain::sign::SigningKey;
use device_chain::types::{MeshId, PublicKey, ValidatorIndex};
use zeroize::Zeroizing;

use super::node::NodePaths;
use super::{files, sealed};
use crate::keyfile::{CRC, DeviceKeys, HEAD, MAGIC, MAX_LENGTH, device_of, label, parse, peers, without_seed};

/// Whose key file it is.
#[derive(Clone, Copy)]
pub enum Own<'a> {
    /// The device with the identity made from this seed.
    Seed(&'a [u8; 32]),
    /// The endpoint of class S at this place.
    Symmetric(u8),
}

/// The key that an endpoint of class S shares with a validator.
pub type SharedKey<'a> = &'a dyn Fn(u8, ValidatorIndex) -> Option<Key>;

/// Writes the key file of a device, with the keys it shares with those it talks to, sealed by a new key of its own, which is written, too.
///
/// # Errors
/// The device is not in the genesis, a peer's key is weak, or a file exists or cannot be written.
pub fn create(paths: &NodePaths, genesis: &Genesis, own: Own<'_>, shared: SharedKey<'_>) -> Result<()> {
    let file = make(genesis, own, shared)?;
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).context("the system has no randomness")?;
    let key = sealed::SealKey::create(&paths.kek)?;
    files::create(&place(paths), &sealed::seal(&file, &genesis.mesh(), &key, nonce), files::SECRET)
}

fn place(paths: &NodePaths) -> PathBuf {
    paths.state.join("keys.bin")
}

/// The key file, plain.
fn make(genesis: &Genesis, own: Own<'_>, shared: SharedKey<'_>) -> Result<Zeroizing<Vec<u8>>> {
    let mesh = genesis.mesh();
    let (identity, seed) = match own {
        Own::Seed(seed) => (Some(SigningKey::from_seed(*seed)), seed),
        Own::Symmetric(at) => (None, &without_seed(at)),
    };
    let own = match (&identity, own) {
        (None, Own::Symmetric(at)) => Device::Endpoint(at),
        (Some(identity), _) => device_of(genesis, identity)?,
        (None, Own::Seed(_)) => bail!("a seed is an identity"),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LENGTH));
    for part in [&MAGIC[..], &mesh.0.0, seed, &[0; 2]] {
        bytes.extend_from_slice(part);
    }
    let mut count = 0u16;
    for peer in peers(genesis, own) {
        let key = match (own, peer) {
            (Device::Endpoint(endpoint), Device::Validator(validator))
            | (Device::Validator(validator), Device::Endpoint(endpoint))
                if public_key(genesis, Device::Endpoint(endpoint)).is_none() =>
            {
                shared(endpoint, validator).with_context(|| format!("no key for endpoint {endpoint}"))?
            }
            _ => {
                let public = public_key(genesis, peer).context("a device of the genesis")?;
                let key = identity.as_ref().and_then(|identity| identity.pair_key(public, &mesh.0));
                key.with_context(|| format!("the public key of {peer:?} is weak"))?
            }
        };
        bytes.extend_from_slice(&label(peer));
        key.export_to(|key| bytes.extend_from_slice(key));
        count += 1;
    }
    bytes[HEAD - 2..HEAD].copy_from_slice(&count.to_le_bytes());
    let checksum = CRC.checksum(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// The public key of a device, if it has one.
fn public_key(genesis: &Genesis, device: Device) -> Option<&PublicKey> {
    match device {
        Device::Validator(at) => genesis.validators.get(usize::from(at)).map(|entry| &entry.key),
        Device::Endpoint(at) => genesis.endpoints.get(usize::from(at))?.identity.key(),
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
            let bytes = make(&genesis, Own::Seed(&[at + 1; 32]), &|_, _| None).unwrap();
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
        assert!(make(&genesis, Own::Seed(&[99; 32]), &|_, _| None).is_err(), "nobody");
    }
}
