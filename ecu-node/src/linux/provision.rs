//! The end of the line: identities, genesis and files of all devices of a car.
//!
//! All keys are made here and written to the devices' folders; in a real plant each device makes its own and hands out
//! the public half. Below the folder `OUT`:
//!
//! | file | what |
//! |---|---|
//! | `genesis.bin`, `maker.pub` | the signed genesis and the maker's public key: for every ECU, and for the cloud |
//! | `maker.key` | the maker's key, if it was made here: keep it out of the car |
//! | `NAME/keys.bin` | identity and pairwise keys of a device |
//! | `NAME/pairs.bin` | made by a validator that runs: its pairwise keys as they are now |
//! | `NAME/journal.bin` | the formatted journal of a validator |
//! | `NAME.counter` | the device's monotonic counter, outside its folder as a TPM is outside its flash |

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use device_chain::codec;
use device_chain::genesis::{Authority, SignedGenesis};
use device_chain::sign::SigningKey;
use device_chain::types::PublicKey;
use journal::{FileCounter, FileFlash};
use serde::Serialize;
use zeroize::Zeroizing;

use super::car::Car;
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
    /// Ed25519 identity, hexadecimal.
    pub key: String,
    /// Its folder.
    pub state: PathBuf,
    /// Its monotonic counter.
    pub counter: PathBuf,
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
    let given = maker_key.map(read_seed).transpose()?;
    let count = car.validators.len() + car.endpoints.len();
    let seeds = (0..count).map(|_| random_seed()).collect::<Result<Vec<Seed>>>()?;
    let public = |at: usize| SigningKey::from_seed(*seeds[at]).public();
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

    let validators = car.validators.iter().map(|config| ("validator", &config.name));
    let endpoints = car.endpoints.iter().map(|config| ("endpoint", &config.name));
    let mut devices = Vec::new();
    for ((kind, name), seed) in validators.chain(endpoints).zip(&seeds) {
        let NodePaths { state, counter, .. } = NodePaths::provisioned(out, name);
        fs::create_dir(&state).with_context(|| format!("cannot make the folder {}", state.display()))?;
        keyfile::create(&state.join("keys.bin"), &genesis, seed)?;
        FileCounter::create(&counter)?;
        if kind == "validator" {
            let mut flash = FileFlash::create(&state.join("journal.bin"), GEOMETRY)?;
            store::format::<_, FileCounter>(&mut flash, &genesis)?;
        }
        files::sync_folder(&state)?;
        let key = files::to_hex(&SigningKey::from_seed(**seed).public().0);
        devices.push(DeviceSummary { name: name.clone(), kind, key, state, counter });
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

fn random_seed() -> Result<Seed> {
    let mut seed = Seed::default();
    getrandom::fill(&mut *seed).context("the system has no randomness")?;
    Ok(seed)
}

fn read_seed(path: &Path) -> Result<Seed> {
    let text = Zeroizing::new(files::read(path, 1024)?);
    let text = std::str::from_utf8(&text).ok().and_then(files::from_hex);
    let seed = text.filter(|seed| *seed != [0; 32]).map(Zeroizing::new);
    seed.with_context(|| format!("{}: 64 hexadecimal digits expected, not all zero", path.display()))
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
            let mode = fs::metadata(paths.state.join("keys.bin")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, files::SECRET);
        }
        let genesis = open_genesis(&summary.genesis, &summary.maker_key).unwrap();
        assert!(keyfile::open(&out.path().join("door-sensor/keys.bin"), &genesis).is_ok());
        assert!(provision(&car(), out.path(), None, &[]).is_err(), "nothing is overwritten");
    }

    #[test]
    fn two_devices_share_a_key_that_nobody_else_has() {
        use device_chain::keys::{Device::Validator, KeyHandle::Pair, KeyStore};
        let out = tempfile::tempdir().unwrap();
        let summary = provision(&car(), out.path(), None, &[]).unwrap();
        let genesis = open_genesis(&summary.genesis, &summary.maker_key).unwrap();
        let keys = |name: &str| keyfile::open(&out.path().join(name).join("keys.bin"), &genesis).unwrap().keys;
        let (gateway, powertrain, chassis) = (keys("gateway"), keys("powertrain"), keys("chassis"));
        let tag = gateway.tag(Pair(Validator(1)), &[7; 48]).unwrap();
        assert!(powertrain.verify(Pair(Validator(0)), &[7; 48], &tag));
        assert!(!chassis.verify(Pair(Validator(0)), &[7; 48], &tag));
        assert!(gateway.tag(Pair(Validator(0)), &[7; 48]).is_none(), "nobody shares a key with itself");
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
        let cases = [
            (NodePaths { genesis: foreign.genesis.clone(), ..paths.clone() }, "genesis.bin"),
            (NodePaths { genesis: foreign.genesis, maker_key: foreign.maker_key, ..paths.clone() }, "keys.bin"),
            (NodePaths { counter: out.path().join("nowhere"), ..paths.clone() }, "nowhere"),
            (damaged, "checksum"),
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
