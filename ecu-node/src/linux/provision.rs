//! The end of the line: identities, genesis and files of all devices of a car.
//!
//! All keys are made here and written to the devices' folders; in a real plant each device makes its own and hands out
//! the public half. Below the folder `OUT`:
//!
//! | file | what |
//! |---|---|
//! | `genesis.bin`, `maker.pub` | the signed genesis and the maker's public key: for every ECU, and for the cloud |
//! | `maker.key` | the maker's key, if it was made here: keep it out of the car |
//! | `NAME/keys.bin` | identity and pairwise keys of a device, [sealed](super::sealed) |
//! | `NAME/pairs.bin` | made by a validator that runs: its pairwise keys as they are now, sealed, too |
//! | `NAME/journal.bin` | the formatted journal of a validator |
//! | `NAME.counter` | the device's monotonic counter, outside its folder as a TPM is outside its flash |
//! | `NAME.kek` | what opens `NAME/keys.bin` and `pairs.bin`, outside its folder for the same reason |

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use device_chain::codec;
use device_chain::genesis::{Authority, SignedGenesis};
use device_chain::keys::{SoftKeys, commitment};
use device_chain::mac::{Key, Suite};
use device_chain::sign::SigningKey;
use device_chain::types::{Hash, PublicKey};
use journal::{FileCounter, FileFlash};
use serde::Serialize;
use zeroize::Zeroizing;

use super::car::{Car, Class};
use super::keyfile::Own;
use super::node::{GEOMETRY, NodePaths};
use super::{files, keyfile};
use crate::store;

type Seed = Zeroizing<[u8; 32]>;

/// What was made.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Vehicle identification.
    pub vehicle: String,
    /// Mesh identity, hexadecimal.
    pub mesh: String,
    /// The signed genesis.
    pub genesis: PathBuf,
    /// The maker's public key.
    pub maker_key: PathBuf,
    /// The devices.
    pub devices: Vec<DeviceSummary>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vehicle     {}\nmesh        {}", self.vehicle, self.mesh)?;
        writeln!(f, "genesis     {}\nmaker key   {}", self.genesis.display(), self.maker_key.display())?;
        for device in &self.devices {
            writeln!(f, "{:<12}{:<18}{}", device.kind, device.name, device.state.display())?;
        }
        Ok(())
    }
}

/// A device that was provisioned.
#[derive(Debug, Serialize)]
pub struct DeviceSummary {
    /// Name.
    pub name: String,
    /// `validator` or `endpoint`.
    pub kind: &'static str,
    /// Ed25519 identity, or the commitment of an endpoint of class S, hexadecimal.
    pub key: String,
    /// Its folder.
    pub state: PathBuf,
    /// Its monotonic counter.
    pub counter: PathBuf,
    /// What opens its key file.
    pub kek: PathBuf,
}

/// Provisions a car into the folder `out`, signed with the key in `maker_key`, or with one made here.
///
/// # Errors
/// The folder holds something already, a key file is malformed, the car breaks a rule, or the file system says no.
pub fn provision(
    car: &Car,
    out: &Path,
    maker_key: Option<&Path>,
    authorities: &[(Authority, PublicKey)],
) -> Result<Summary> {
    if out.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: a provisioned car is never overwritten; choose another folder", out.display());
    }
    let given = maker_key.map(files::read_seed).transpose()?;
    let count = car.validators.len() + car.endpoints.len();
    let seeds = (0..count).map(|_| random_seed()).collect::<Result<Vec<Seed>>>()?;
    let validators = car.validators.len();
    let symmetric = car.endpoints.iter().map(|endpoint| match endpoint.class {
        Class::A => Ok(Vec::new()),
        Class::S => (0..validators).map(|_| Ok(Key::new(*random_seed()?))).collect::<Result<Vec<_>>>(),
    });
    let symmetric = symmetric.collect::<Result<Vec<_>>>()?;
    let shared =
        |endpoint: u8, validator: u8| symmetric.get(usize::from(endpoint))?.get(usize::from(validator)).cloned();
    let public = |at: usize| match symmetric.get(at.wrapping_sub(validators)) {
        Some(keys) if !keys.is_empty() => PublicKey(committed(car.mesh.suite.into(), keys).0),
        _ => SigningKey::from_seed(*seeds[at]).public(),
    };
    let genesis = car.genesis(&public, authorities)?;
    genesis.check().map_err(|error| anyhow!("{error}"))?;

    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let seed = match &given {
        Some(seed) => seed,
        None => {
            let seed = random_seed()?;
            let text = Zeroizing::new(files::to_hex(&seed) + "\n");
            files::create(&out.join("maker.key"), text.as_bytes(), files::SECRET)?;
            &seed.clone()
        }
    };
    let maker = SigningKey::from_seed(**seed);
    let paths = NodePaths::provisioned(out, "");
    let mut buffer = vec![0; 64 * 1024];
    let signed = codec::encode(&SignedGenesis::sign(genesis.clone(), &maker), &mut buffer).context("too large")?;
    files::create(&paths.genesis, signed, files::PUBLIC)?;
    files::create(&paths.maker_key, format!("{}\n", files::to_hex(&maker.public().0)).as_bytes(), files::PUBLIC)?;

    let named = car.validators.iter().map(|config| ("validator", &config.name));
    let endpoints = car.endpoints.iter().map(|config| ("endpoint", &config.name));
    let mut devices = Vec::new();
    for (at, (kind, name)) in named.chain(endpoints).enumerate() {
        let paths = NodePaths::provisioned(out, name);
        let NodePaths { state, counter, .. } = &paths;
        fs::create_dir(state).with_context(|| format!("cannot make the folder {}", state.display()))?;
        let own = match at.checked_sub(validators).filter(|endpoint| car.endpoints[*endpoint].class == Class::S) {
            Some(endpoint) => Own::Symmetric(endpoint as u8),
            None => Own::Seed(&seeds[at]),
        };
        keyfile::create(&paths, &genesis, own, &shared)?;
        FileCounter::create(counter)?;
        if kind == "validator" {
            let mut flash = FileFlash::create(&state.join("journal.bin"), GEOMETRY)?;
            store::format::<_, FileCounter>(&mut flash, &genesis)?;
        }
        files::sync_folder(state)?;
        let key = files::to_hex(&public(at).0);
        let NodePaths { state, counter, kek, .. } = paths;
        devices.push(DeviceSummary { name: name.clone(), kind, key, state, counter, kek });
    }
    files::sync_folder(out)?;
    Ok(Summary {
        vehicle: car.vehicle.clone(),
        mesh: genesis.mesh().0.to_string(),
        genesis: paths.genesis,
        maker_key: paths.maker_key,
        devices,
    })
}

/// What an endpoint with these keys, one for each validator, is known by.
fn committed(suite: Suite, keys: &[Key]) -> Hash {
    let mut store = SoftKeys::new(suite);
    for (validator, key) in (0..).zip(keys) {
        store.load_validator(validator, key.clone());
    }
    commitment(&store, keys.len()).unwrap_or(Hash::NIL)
}

fn random_seed() -> Result<Seed> {
    let mut seed = Seed::default();
    getrandom::fill(&mut *seed).context("the system has no randomness")?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::node::{Node, open_genesis};
    use super::*;
    use crate::store::Diagnosis;

    fn car() -> Car {
        Car::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml"))).unwrap()
    }

    #[test]
    fn every_device_finds_itself_in_the_genesis() {
        let out = tempfile::tempdir().unwrap();
        let summary = provision(&car(), out.path(), None, &[]).unwrap();
        assert_eq!(summary.devices.len(), 8);
        for device in summary.devices.iter().filter(|device| device.kind == "validator") {
            let paths = NodePaths::provisioned(out.path(), &device.name);
            let node = Node::open(&paths).unwrap();
            assert_eq!((node.entry().name.as_str(), node.diagnosis()), (device.name.as_str(), Diagnosis::Intact));
            for secret in [paths.state.join("keys.bin"), paths.kek] {
                assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, files::SECRET);
            }
        }
        let genesis = open_genesis(&summary.genesis, &summary.maker_key).unwrap();
        assert!(keyfile::open(&NodePaths::provisioned(out.path(), "door-sensor"), &genesis).is_ok());
        assert!(provision(&car(), out.path(), None, &[]).is_err(), "nothing is overwritten");
    }

    #[test]
    fn two_devices_share_a_key_that_nobody_else_has() {
        use device_chain::keys::{Device::Validator, KeyHandle::Pair, KeyStore};
        let out = tempfile::tempdir().unwrap();
        let summary = provision(&car(), out.path(), None, &[]).unwrap();
        let genesis = open_genesis(&summary.genesis, &summary.maker_key).unwrap();
        let keys = |name: &str| keyfile::open(&NodePaths::provisioned(out.path(), name), &genesis).unwrap().keys;
        let (gateway, powertrain, chassis) = (keys("gateway"), keys("powertrain"), keys("chassis"));
        let tag = gateway.tag(Pair(Validator(1)), &[7; 48]).unwrap();
        assert!(powertrain.verify(Pair(Validator(0)), &[7; 48], &tag));
        assert!(!chassis.verify(Pair(Validator(0)), &[7; 48], &tag));
        assert!(gateway.tag(Pair(Validator(0)), &[7; 48]).is_none(), "nobody shares a key with itself");
    }

    /// DC-72: the smallest chips have no identity but the keys that they were given.
    #[test]
    fn an_endpoint_of_class_s_shares_a_key_with_each_validator_and_has_no_seed() {
        use device_chain::keys::{Device, KeyHandle::Pair, KeyStore};
        let (out, mut car) = (tempfile::tempdir().unwrap(), car());
        car.endpoints[0].class = Class::S;
        let summary = provision(&car, out.path(), None, &[]).unwrap();
        let genesis = open_genesis(&summary.genesis, &summary.maker_key).unwrap();
        let path = |name: &str| NodePaths::provisioned(out.path(), name);
        let open = |name: &str| keyfile::open(&path(name), &genesis).unwrap();
        let sensor = open("door-sensor");
        assert!(sensor.identity.is_none() && sensor.device == Device::Endpoint(0));
        assert_eq!(summary.devices[7].key, genesis_commitment(&genesis));
        for (at, name) in [(0, "gateway"), (3, "adas"), (6, "battery")] {
            let tag = open(name).keys.tag(Pair(Device::Endpoint(0)), &[7; 48]).unwrap();
            assert!(sensor.keys.verify(Pair(Device::Validator(at)), &[7; 48], &tag), "{name}");
            assert!(!sensor.keys.verify(Pair(Device::Validator(1)), &[7; 48], &tag), "{name}");
        }
        // with another key it is not what the genesis is committed to; and where the genesis names an identity, nobody comes without
        let mut bytes = keyfile::unseal(&path("door-sensor"), Some(&genesis.mesh())).unwrap();
        bytes[80] ^= 1;
        let body = bytes.len() - 4;
        let checksum = crate::keyfile::CRC.checksum(&bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&checksum);
        assert_eq!(crate::keyfile::parse(&bytes, &genesis).err(), Some(crate::keyfile::KeyFileError::Keys));
        let others = tempfile::tempdir().unwrap();
        car.endpoints[0].class = Class::A;
        let summary = provision(&car, others.path(), None, &[]).unwrap();
        let genesis = open_genesis(&summary.genesis, &summary.maker_key).unwrap();
        bytes[8..40].copy_from_slice(&genesis.mesh().0.0);
        let checksum = crate::keyfile::CRC.checksum(&bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&checksum);
        assert_eq!(crate::keyfile::parse(&bytes, &genesis).err(), Some(crate::keyfile::KeyFileError::Unknown));
    }

    fn genesis_commitment(genesis: &device_chain::genesis::Genesis) -> String {
        match genesis.endpoints[0].identity {
            device_chain::genesis::Identity::S(commitment) => files::to_hex(&commitment.0),
            device_chain::genesis::Identity::A(_) => String::new(),
        }
    }

    #[test]
    fn a_device_with_bad_files_says_which_and_does_not_start() {
        let out = tempfile::tempdir().unwrap();
        provision(&car(), out.path(), None, &[]).unwrap();
        let other = tempfile::tempdir().unwrap();
        provision(&car(), other.path(), None, &[]).unwrap();
        let paths = NodePaths::provisioned(out.path(), "chassis");
        let foreign = NodePaths::provisioned(other.path(), "chassis");
        let flip = |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        let damaged = NodePaths::provisioned(out.path(), "adas");
        flip(&damaged.state.join("keys.bin"));
        let neighbour = NodePaths::provisioned(out.path(), "battery");
        let (moved, cut) = (NodePaths::provisioned(out.path(), "telematics"), out.path().join("cut.kek"));
        fs::copy(neighbour.state.join("keys.bin"), moved.state.join("keys.bin")).unwrap();
        fs::write(&cut, [7; 31]).unwrap();
        let cases = [
            (NodePaths { kek: neighbour.kek, ..paths.clone() }, "sealed by another key"),
            (NodePaths { kek: foreign.kek, ..paths.clone() }, "sealed by another key"),
            (moved, "sealed by another key"),
            (NodePaths { kek: out.path().join("no.kek"), ..paths.clone() }, "no.kek"),
            (NodePaths { kek: cut, ..paths.clone() }, "not 32 bytes"),
            (NodePaths { genesis: foreign.genesis.clone(), ..paths.clone() }, "genesis.bin"),
            (NodePaths { genesis: foreign.genesis, maker_key: foreign.maker_key, ..paths.clone() }, "another car"),
            (NodePaths { counter: out.path().join("nowhere"), ..paths.clone() }, "nowhere"),
            (damaged, "damaged"),
            (NodePaths::provisioned(out.path(), "door-sensor"), "endpoint"),
        ];
        for (paths, told) in cases {
            let error = format!("{:#}", Node::open(&paths).err().expect(told));
            assert!(error.contains(told), "{told}: {error}");
        }
    }

    #[test]
    fn a_lost_or_damaged_journal_makes_an_amnesiac_never_a_boot_loop() {
        let out = tempfile::tempdir().unwrap();
        provision(&car(), out.path(), None, &[]).unwrap();
        for (name, damage) in [("body", None), ("adas", Some(&b"short"[..])), ("chassis", Some(&[0; 512 * 1024]))] {
            let paths = NodePaths::provisioned(out.path(), name);
            let journal = paths.state.join("journal.bin");
            match damage {
                None => fs::remove_file(&journal).unwrap(),
                Some(bytes) => fs::write(&journal, bytes).unwrap(),
            }
            let node = Node::open(&paths).unwrap();
            assert_eq!(node.diagnosis(), Diagnosis::Wiped, "{name}");
            drop(node);
            assert!(Node::open(&paths).unwrap().status().borrow().amnesiac, "{name} has not forgotten that it forgot");
        }
    }
}
