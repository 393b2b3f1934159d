//! `car.toml`: who is in the car, on which buses, under which rules.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use can_bus::frame::EXTENDED_FLAG;
use device_chain::genesis::{
    Authority, AuthorityEntry, EndpointEntry, Genesis, Identifiers, Identity, Name, Policy, RawIdentifier, Role,
    Thresholds, ValidatorEntry, WIRE_VERSION,
};
use device_chain::hash::{Domain, hash};
use device_chain::limits::{MAX_AUTHORITIES, MAX_ENDPOINTS, MAX_NAME, MAX_VALIDATORS};
use device_chain::mac::Suite;
use device_chain::types::{Hash, PublicKey};
use serde::Deserialize;

use super::{files, status};

/// First of the identifiers that validators and endpoints have by default, to which their place is added.
const VOTE: RawIdentifier = 0x090;
const PROPOSE: RawIdentifier = 0x098;
const CONTROL: RawIdentifier = 0x0A0;
const BULK: RawIdentifier = 0x4E8;
const RECORD: RawIdentifier = 0x5C0;
/// Longest firmware image, bytes.
const MAX_FIRMWARE: u64 = 256 << 20;

/// The configuration of a car.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Car {
    /// Vehicle identification.
    pub vehicle: String,
    /// The protocol's parameters.
    pub mesh: Mesh,
    /// The interfaces.
    pub segments: Segments,
    /// The validators, in the order of the genesis.
    #[serde(rename = "validator")]
    pub validators: Vec<ValidatorConfig>,
    /// The endpoints, in the order of the genesis.
    #[serde(default, rename = "endpoint")]
    pub endpoints: Vec<EndpointConfig>,
    /// Keys outside the car.
    #[serde(default)]
    pub authorities: Authorities,
    /// The cloud service, if there is one.
    pub cloud: Option<Cloud>,
    /// What the gateway records, if anything.
    pub record: Option<Recording>,
}

/// The protocol's parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// MAC.
    #[serde(default)]
    pub suite: SuiteName,
    /// Bound of one phase, microseconds.
    pub phase_us: u32,
    /// Interval of heartbeats, microseconds.
    pub heartbeat_us: u32,
}

/// A MAC by its name.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuiteName {
    /// AES-128-CMAC.
    Cmac,
    /// BLAKE2s-128.
    #[default]
    Blake2s,
}

/// Interfaces by the segments they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segments {
    /// CAN FD: the mesh.
    pub mesh: String,
    /// The car's own bus, classic CAN.
    pub car: Option<String>,
}

/// A validator.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorConfig {
    /// Name, and name of its folder.
    pub name: String,
    /// What it does besides voting.
    pub role: RoleName,
    /// Its identifiers, if they are not the default ones.
    pub identifiers: Option<IdentifierConfig>,
    /// Digest of its firmware, or the file that holds it.
    pub firmware: Option<String>,
}

/// A role by its name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "as in Role")]
pub enum RoleName {
    Gateway,
    Powertrain,
    Chassis,
    Adas,
    Body,
    Telematics,
    Battery,
    Other,
}

/// The identifiers of a validator.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "as in Identifiers")]
pub struct IdentifierConfig {
    pub vote: u32,
    pub propose: u32,
    pub control: u32,
    pub bulk: u32,
}

/// An endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// Name, and name of its folder.
    pub name: String,
    /// Identifier of its records, if it is not the default one.
    pub identifier: Option<u32>,
    /// Digest of its firmware, or the file that holds it.
    pub firmware: Option<String>,
    /// What it is known by.
    #[serde(default)]
    pub class: Class,
}

/// The class of an endpoint (DC-72).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Class {
    /// It has an Ed25519 identity.
    #[default]
    A,
    /// It has symmetric keys only.
    S,
}

/// Keys outside the car: hexadecimal digits, or files that hold them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authorities {
    /// May sign grants.
    pub fleet: Vec<String>,
    /// May sign receipts.
    pub archive: Vec<String>,
    /// Who made the car.
    pub maker: Vec<String>,
    /// Who repairs it.
    pub workshop: Vec<String>,
    /// Whose it is.
    pub owner: Vec<String>,
    /// How many of each have to sign.
    pub thresholds: ThresholdConfig,
}

/// How many keys of a role have to sign an order.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "as in Thresholds")]
pub struct ThresholdConfig {
    pub maker: u8,
    pub workshop: u8,
    pub owner: u8,
}

impl Default for ThresholdConfig {
    fn default() -> Self {
        Self { maker: 1, workshop: 1, owner: 1 }
    }
}

impl Authorities {
    /// The lists by their roles, with their keys in the file.
    fn lists(&mut self) -> [(Authority, &'static str, &mut Vec<String>); 5] {
        [
            (Authority::Fleet, "authorities.fleet", &mut self.fleet),
            (Authority::Archive, "authorities.archive", &mut self.archive),
            (Authority::Maker, "authorities.maker", &mut self.maker),
            (Authority::Workshop, "authorities.workshop", &mut self.workshop),
            (Authority::Owner, "authorities.owner", &mut self.owner),
        ]
    }

    const fn policy(&self) -> Thresholds {
        let ThresholdConfig { maker, workshop, owner } = self.thresholds;
        Thresholds { maker, workshop, owner }
    }
}

/// The cloud service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// Its address.
    pub url: String,
}

/// What the gateway records of the car's own traffic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The DBC file of the car's bus.
    pub dbc: PathBuf,
    /// Names of signals.
    pub signals: Vec<String>,
}

impl Car {
    /// Reads a configuration and checks everything that can be checked without keys. Paths in it become relative to the
    /// current folder.
    ///
    /// # Errors
    /// File, line or key, and what is wrong.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut car: Self = toml::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let named = || path.display().to_string();
        for (_, key, list) in car.authorities.lists() {
            for text in list {
                let public = public_key(text, folder).with_context(|| format!("{key}: {text}")).with_context(named)?;
                *text = files::to_hex(&public.0);
            }
        }
        let validators = car.validators.iter_mut().map(|config| &mut config.firmware);
        for firmware in validators.chain(car.endpoints.iter_mut().map(|config| &mut config.firmware)).flatten() {
            if files::from_hex(firmware).is_none() {
                *firmware = files::to_hex(&measure(&folder.join(&*firmware)).with_context(named)?.0);
            }
        }
        if let Some(record) = &mut car.record {
            record.dbc = folder.join(&record.dbc);
        }
        car.check_keys().with_context(named)?;
        Ok(car)
    }

    /// What the types cannot say and the rules of a genesis would not explain, with the key in the file.
    fn check_keys(&self) -> Result<()> {
        ensure!(self.validators.len() <= MAX_VALIDATORS, "[[validator]]: at most {MAX_VALIDATORS}");
        ensure!(self.endpoints.len() <= MAX_ENDPOINTS, "[[endpoint]]: at most {MAX_ENDPOINTS}");
        ensure!(
            !self.vehicle.is_empty() && self.vehicle.len() <= MAX_NAME,
            "vehicle: 1 to {MAX_NAME} characters, not {}",
            self.vehicle.len()
        );
        let validators = self.validators.iter().map(|validator| ("validator", &validator.name));
        let endpoints = self.endpoints.iter().map(|endpoint| ("endpoint", &endpoint.name));
        for (key, name) in validators.chain(endpoints) {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            ensure!(
                !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(plain),
                "{key}.name = {name:?}: it names a folder; write 1 to {MAX_NAME} of a-z, 0-9 and -"
            );
        }
        let stand_in = |at: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(at as u64 + 1).to_le_bytes());
            PublicKey(key)
        };
        self.genesis(&stand_in, &[])?.check().map_err(|error| anyhow!("{error}"))
    }

    /// The genesis of this car. `key_of` gives the public key of each device, validators first, and of an endpoint of
    /// class S what is committed to; `authorities` come after those of the file.
    ///
    /// # Errors
    /// Which key of the file has a value that a genesis cannot hold.
    pub fn genesis(
        &self,
        key_of: &dyn Fn(usize) -> PublicKey,
        authorities: &[(Authority, PublicKey)],
    ) -> Result<Genesis> {
        let mut genesis = Genesis {
            version: WIRE_VERSION,
            suite: self.mesh.suite.into(),
            vehicle: name(&self.vehicle)?,
            made_ms: status::unix_ms(),
            validators: heapless::Vec::new(),
            endpoints: heapless::Vec::new(),
            authorities: heapless::Vec::new(),
            policy: Policy {
                phase_us: self.mesh.phase_us,
                heartbeat_us: self.mesh.heartbeat_us,
                thresholds: self.authorities.policy(),
            },
        };
        for (at, config) in self.validators.iter().enumerate() {
            let entry = ValidatorEntry {
                name: name(&config.name)?,
                role: config.role.into(),
                key: key_of(at),
                firmware: firmware(config.firmware.as_deref())?,
                identifiers: config.identifiers(at as u32).with_context(|| format!("validator {}", config.name))?,
            };
            genesis.validators.push(entry).map_err(|_| anyhow!("too many validators"))?;
        }
        for (at, config) in self.endpoints.iter().enumerate() {
            let identifier = raw("identifier", config.identifier.unwrap_or(RECORD + at as u32));
            let entry = EndpointEntry {
                name: name(&config.name)?,
                firmware: firmware(config.firmware.as_deref())?,
                identity: match (config.class, key_of(self.validators.len() + at)) {
                    (Class::A, key) => Identity::A(key),
                    (Class::S, PublicKey(commitment)) => Identity::S(Hash(commitment)),
                },
                identifier: identifier.with_context(|| format!("endpoint {}", config.name))?,
            };
            genesis.endpoints.push(entry).map_err(|_| anyhow!("too many endpoints"))?;
        }
        for (authority, key) in self.authorities()?.into_iter().chain(authorities.iter().copied()) {
            let entry = AuthorityEntry { authority, key };
            let pushed = genesis.authorities.push(entry);
            pushed.map_err(|_| anyhow!("authorities: more than {MAX_AUTHORITIES} keys"))?;
        }
        Ok(genesis)
    }

    fn authorities(&self) -> Result<Vec<(Authority, PublicKey)>> {
        let mut authorities = self.authorities.clone();
        let keys = authorities
            .lists()
            .into_iter()
            .flat_map(|(role, _, list)| list.iter().map(move |text| (role, text.clone())));
        keys.map(|(authority, text)| Ok((authority, public_key(&text, Path::new(""))?))).collect()
    }
}

/// The digest of a firmware by its hexadecimal digits. None: nobody has named one.
fn firmware(text: Option<&str>) -> Result<Hash> {
    let Some(text) = text else { return Ok(Hash::NIL) };
    files::from_hex(text).map(Hash).with_context(|| format!("firmware: {text}: 64 hexadecimal digits expected"))
}

/// What a secure boot would measure of a firmware image: SHA-256 in its domain (DC-3).
///
/// # Errors
/// The file cannot be read.
pub fn measure(path: &Path) -> Result<Hash> {
    let image = files::read(path, MAX_FIRMWARE).with_context(|| format!("firmware: cannot read {}", path.display()))?;
    Ok(hash(Domain::Firmware, &[&image]))
}

impl ValidatorConfig {
    fn identifiers(&self, at: u32) -> Result<Identifiers> {
        let default =
            IdentifierConfig { vote: VOTE + at, propose: PROPOSE + at, control: CONTROL + at, bulk: BULK + at };
        let IdentifierConfig { vote, propose, control, bulk } = self.identifiers.unwrap_or(default);
        Ok(Identifiers {
            vote: raw("vote", vote)?,
            propose: raw("propose", propose)?,
            control: raw("control", control)?,
            bulk: raw("bulk", bulk)?,
        })
    }
}

impl From<SuiteName> for Suite {
    fn from(name: SuiteName) -> Self {
        match name {
            SuiteName::Cmac => Self::Cmac,
            SuiteName::Blake2s => Self::Blake2s,
        }
    }
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Gateway => Self::Gateway,
            RoleName::Powertrain => Self::Powertrain,
            RoleName::Chassis => Self::Chassis,
            RoleName::Adas => Self::Adas,
            RoleName::Body => Self::Body,
            RoleName::Telematics => Self::Telematics,
            RoleName::Battery => Self::Battery,
            RoleName::Other => Self::Other,
        }
    }
}

/// A public key from its hexadecimal digits, or from a file (relative to `folder`) that holds them.
///
/// # Errors
/// If it is neither.
pub fn public_key(text: &str, folder: &Path) -> Result<PublicKey> {
    match files::from_hex(text) {
        Some(key) => Ok(PublicKey(key)),
        None => {
            files::read_public_key(&folder.join(text)).context("neither 64 hexadecimal digits nor a file with them")
        }
    }
}

fn name(text: &str) -> Result<Name> {
    Name::try_from(text).map_err(|_| anyhow!("{text:?}: longer than {MAX_NAME} bytes"))
}

/// As SocketCAN writes it: bit 31 marks 29 bits.
pub(super) fn raw(key: &str, identifier: u32) -> Result<RawIdentifier> {
    match identifier {
        0..=0x7FF => Ok(identifier),
        0x800..=0x1FFF_FFFF => Ok(identifier | EXTENDED_FLAG),
        _ => bail!("{key} = {identifier:#X}: a CAN identifier has at most 29 bits (0x1FFFFFFF)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../car.toml");

    fn load(text: &str) -> Result<Car> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("car.toml");
        fs::write(&path, text).unwrap();
        Car::load(&path)
    }

    #[test]
    fn the_example_is_a_car_of_seven() {
        let car = load(EXAMPLE).unwrap();
        let genesis = car.genesis(&|at| PublicKey([at as u8; 32]), &[]).unwrap();
        let names: Vec<_> = genesis.validators.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["gateway", "powertrain", "chassis", "adas", "body", "telematics", "battery"]);
        assert_eq!(genesis.validators[3].identifiers.all(), [0x093, 0x09B, 0x0A3, 0x4EB]);
        assert_eq!(genesis.endpoints[0].identifier, 0x5C0);
        assert_eq!(genesis.with_role(Role::Body), Some(4));
    }

    #[test]
    fn every_mistake_is_named() {
        for (from, to, told) in [
            ("suite = \"blake2s\"", "suite = \"md5\"", "line 8"),
            ("phase_us = 20000 ", "phase_us = 0 ", "phase_us"),
            ("role = \"chassis\"", "role = \"gateway\"", "Gateway"),
            ("role = \"chassis\"", "role = \"brakes\"", "brakes"),
            ("name = \"adas\"", "name = \"body\"", "body"),
            ("name = \"adas\"", "name = \"../adas\"", "../adas"),
            ("name = \"door-sensor\"", "name = \"door-sensor\"\nidentifier = 0x093", "door-sensor"),
            ("name = \"door-sensor\"", "name = \"door-sensor\"\nidentifier = 0x20000000", "29 bits"),
            ("name = \"door-sensor\"", "name = \"door-sensor\"\nidentifier = 0x010", "lower"),
            ("name = \"door-sensor\"", "name = \"door-sensor\"\nclass = \"B\"", "line"),
            ("fleet = []", "fleet = [\"nobody.pub\"]", "authorities.fleet: nobody.pub"),
            ("vehicle = \"RINGFORT-DEMO-0001\"", "vehicle = \"RINGFORT-DEMO-0001-AND-MORE\"", "vehicle"),
            ("[cloud]", "[clowd]", "clowd"),
        ] {
            let text = EXAMPLE.replacen(from, to, 1);
            assert_ne!(text, EXAMPLE, "{from}");
            let error = format!("{:#}", load(&text).expect_err(to));
            assert!(error.contains(told) && error.contains("car.toml"), "{to}: {error}");
        }
    }

    #[test]
    fn identifiers_above_11_bits_are_extended() {
        assert_eq!(raw("vote", 0x7FF).unwrap(), 0x7FF);
        assert_eq!(raw("vote", 0x800).unwrap(), 0x8000_0800);
    }
}
