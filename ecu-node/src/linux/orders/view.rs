//! Who belongs to the car, for people and programs: `registry.json` in the folder of a node.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use device_chain::entry::{Entry, Standing};
use device_chain::genesis::Genesis;
use device_chain::keys::Device;
use device_chain::registry::{Devices, Registry};
use device_chain::types::{Hash, Height};
use serde::{Deserialize, Serialize};

use super::super::files;

/// Longest file: 208 devices, 8 keys.
const MAX_LENGTH: u64 = 256 * 1024;

/// The registry after a height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryView {
    /// Mesh identity, hexadecimal.
    pub mesh: String,
    /// Height at which it was so.
    pub height: Height,
    /// Root of its tree (DC-48); all zeros: as the genesis says.
    pub root: String,
    /// Changes of the car as a whole.
    pub generation: u16,
    /// The car has been scrapped.
    pub ended: bool,
    /// Validators, then endpoints.
    pub devices: Vec<DeviceView>,
    /// Keys outside the car.
    pub authorities: Vec<AuthorityView>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// `validator` or `endpoint`.
    pub kind: String,
    /// Its place.
    pub place: u8,
    /// The name of its place in the genesis.
    pub name: String,
    /// What it is known by, hexadecimal: an Ed25519 key, or the commitment of a device with symmetric keys only (DC-72).
    pub key: String,
    /// Digest of its firmware, hexadecimal; all zeros: none was named.
    pub firmware: String,
    /// A firmware that it may run beside that one.
    pub update: Option<String>,
    /// `trusted`, `untrusted` or `revoked`.
    pub standing: String,
    /// Changes so far.
    pub generation: u16,
}

/// A key outside the car.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityView {
    /// Its place.
    pub place: u8,
    /// Its role.
    pub role: String,
    /// The key, hexadecimal; all zeros: nobody's.
    pub key: String,
    /// Changes so far.
    pub generation: u16,
}

impl RegistryView {
    /// Of a registry.
    #[must_use]
    pub fn new(genesis: &Genesis, registry: &Registry, height: Height) -> Self {
        let validators = (0..registry.validators() as u8).map(Device::Validator);
        let devices = validators.chain((0..registry.endpoints() as u8).map(Device::Endpoint));
        let view = |device| registry.entry(device).map(|entry| DeviceView::new(genesis, registry, device, entry));
        let authorities = (0..).zip(registry.holders()).map(|(place, holder)| AuthorityView {
            place,
            role: format!("{:?}", holder.authority.authority).to_lowercase(),
            key: files::to_hex(&holder.authority.key.0),
            generation: holder.generation,
        });
        Self {
            mesh: registry.mesh().0.to_string(),
            height,
            root: registry.root().to_string(),
            generation: registry.vehicle().generation,
            ended: registry.vehicle().ended,
            devices: devices.filter_map(view).collect(),
            authorities: authorities.collect(),
        }
    }

    /// Reads the file of a node's folder.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("registry.json");
        let bytes = files::read(&path, MAX_LENGTH).context("has this node ever run?")?;
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
    }

    /// Writes it there.
    ///
    /// # Errors
    /// Of the file system.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("registry.json");
        files::replace(&path, &serde_json::to_vec_pretty(self)?).with_context(|| path.display().to_string())
    }

    /// The device with a name, or `endpoint N` for one that came later.
    ///
    /// # Errors
    /// There is none.
    pub fn device(&self, name: &str) -> Result<(Device, &DeviceView)> {
        let found = self.devices.iter().find(|device| device.name == name);
        let device =
            found.with_context(|| format!("no device {name:?} in the registry: `ecu-node registry` lists them"))?;
        let place = device.place;
        Ok((if device.kind == "validator" { Device::Validator(place) } else { Device::Endpoint(place) }, device))
    }
}

impl DeviceView {
    fn new(genesis: &Genesis, registry: &Registry, device: Device, entry: &Entry) -> Self {
        let (kind, place, name) = match device {
            Device::Validator(at) => ("validator", at, genesis.validators.get(usize::from(at)).map(|of| &of.name)),
            Device::Endpoint(at) => ("endpoint", at, genesis.endpoints.get(usize::from(at)).map(|of| &of.name)),
        };
        let update = registry.updates().iter().find(|update| update.device == device);
        let standing = match entry.standing {
            Standing::Trusted => "trusted",
            Standing::Untrusted => "untrusted",
            Standing::Revoked => "revoked",
        };
        let Hash(firmware) = entry.firmware;
        Self {
            kind: kind.into(),
            place,
            name: name.map_or_else(|| format!("endpoint {place}"), ToString::to_string),
            key: files::to_hex(entry.identity.bytes()),
            firmware: files::to_hex(&firmware),
            update: update.map(|update| update.firmware.to_string()),
            standing: standing.into(),
            generation: entry.generation,
        }
    }
}

impl fmt::Display for RegistryView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mesh        {}\nheight      {}\nroot        {}", self.mesh, self.height, self.root)?;
        if self.ended {
            writeln!(f, "life        ended: nothing is allowed any more")?;
        }
        writeln!(f, "\n{:<22}{:<11}{:<11}{:<18}firmware", "device", "standing", "changes", "key")?;
        let short = |hex: &str| hex.get(..16).unwrap_or(hex).to_owned();
        for device in &self.devices {
            let update =
                device.update.as_deref().map_or(String::new(), |update| format!(", may run {}", short(update)));
            let DeviceView { name, standing, generation, .. } = device;
            let (key, firmware) = (short(&device.key), short(&device.firmware));
            writeln!(f, "{name:<22}{standing:<11}{generation:<11}{key:<18}{firmware}{update}")?;
        }
        writeln!(f, "\n{:<22}{:<11}key", "authority", "changes")?;
        for AuthorityView { place, role, key, generation } in &self.authorities {
            writeln!(f, "{:<22}{generation:<11}{}", format!("{role} ({place})"), short(key))?;
        }
        Ok(())
    }
}
