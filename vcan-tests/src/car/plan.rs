//! The configuration of a run, and what the end of the line makes of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use dbc::Database;
use toml::{Table, Value};
use vehicle_gateway::play;

use crate::args;
use crate::process::{program, run};

/// Frames of a drive in which messages to record are looked for.
const SEARCHED: usize = 2000;
/// Signals recorded of a drive.
const RECORDED: usize = 8;

/// Which buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusKind {
    /// Virtual interfaces of this kernel.
    Vcan,
    /// The simulated bus of this process.
    Sim,
}

/// The configuration of a run: `car.toml` with absolute paths and its own link to the cloud.
#[derive(Clone, Debug)]
pub struct Config {
    path: PathBuf,
    mesh: String,
    car: Option<String>,
}

impl Config {
    /// Writes the configuration of a run into its folder.
    ///
    /// # Errors
    /// `source` is not a configuration that `ecu-node config check` accepts.
    pub fn write(source: &Path, folder: &Path, link: SocketAddr) -> Result<Self> {
        let mut table = read(source)?;
        table.insert("cloud".into(), Table::from_iter([("url".into(), format!("http://{link}").into())]).into());
        let path = folder.join("car.toml");
        fs::write(&path, toml::to_string(&table)?).with_context(|| path.display().to_string())?;
        run(&program("ecu-node")?, args!["config", "check", path.display()])?;
        let segment = |name| table.get("segments")?.get(name)?.as_str().map(str::to_owned);
        Ok(Self { path, mesh: segment("mesh").context("segments.mesh is missing")?, car: segment("car") })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The interface of the mesh.
    #[must_use]
    pub fn mesh(&self) -> &str {
        &self.mesh
    }

    /// The interface of the car's own bus.
    #[must_use]
    pub fn car(&self) -> Option<&str> {
        self.car.as_deref()
    }

    /// All interfaces.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        [Some(&self.mesh), self.car.as_ref()].into_iter().flatten().cloned().collect()
    }
}

/// A configuration that records another car's drive: of each of the first messages in it, the first signal.
///
/// # Errors
/// A file cannot be read, or the DBC knows nothing of the drive.
pub fn record_other(source: &Path, dbc: &Path, log: &Path, folder: &Path) -> Result<PathBuf> {
    let database = Database::load(dbc)?;
    let mut signals: Vec<Value> = Vec::new();
    for line in play::open(log)?.take(SEARCHED) {
        let frame = line.with_context(|| log.display().to_string())?.frame;
        let Some(message) = database.message(frame.raw_id()) else { continue };
        let Some(signal) = message.signals.first() else { continue };
        let name = Value::from(format!("{}.{}", message.name, signal.name));
        if signals.len() < RECORDED && !signals.contains(&name) {
            signals.push(name);
        }
    }
    ensure!(!signals.is_empty(), "{}: it knows none of the messages in {}", dbc.display(), log.display());
    let mut table = read(source)?;
    let dbc = std::path::absolute(dbc)?.display().to_string();
    let record = [("dbc".into(), dbc.into()), ("signals".into(), signals.into())];
    table.insert("record".into(), Table::from_iter(record).into());
    let path = folder.join("drive.toml");
    fs::write(&path, toml::to_string(&table)?).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// A configuration with other times: the bound of a phase if it is given, and the interval of heartbeats.
///
/// # Errors
/// `source` cannot be read, or has no `mesh`.
pub fn with_times(source: &Path, phase: Option<Duration>, heartbeat: Duration, folder: &Path) -> Result<PathBuf> {
    let mut table = read(source)?;
    let mesh = table.get_mut("mesh").and_then(Value::as_table_mut).context("no [mesh]")?;
    for (key, time) in [("phase_us", phase), ("heartbeat_us", Some(heartbeat))] {
        if let Some(time) = time {
            mesh.insert(key.into(), i64::try_from(time.as_micros())?.into());
        }
    }
    let path = folder.join("times.toml");
    fs::write(&path, toml::to_string(&table)?).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// A configuration whose genesis names more keys outside the car: a role of `[authorities]` and a public key each.
///
/// # Errors
/// `source` cannot be read, or has no `authorities`.
pub fn with_authorities(source: &Path, keys: &[(&str, &str)], folder: &Path) -> Result<PathBuf> {
    let mut table = read(source)?;
    let authorities = table.get_mut("authorities").and_then(Value::as_table_mut).context("no [authorities]")?;
    for (role, key) in keys {
        authorities.insert((*role).into(), vec![Value::from(*key)].into());
    }
    let path = folder.join("authorities.toml");
    fs::write(&path, toml::to_string(&table)?).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// What a configuration says, with the path to its DBC absolute, so that it may lie elsewhere.
fn read(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut table: Table = toml::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    if let Some(Value::Table(record)) = table.get_mut("record")
        && let Some(dbc) = record.get("dbc").and_then(Value::as_str)
    {
        let base = std::path::absolute(path)?;
        let dbc = base.parent().unwrap_or(Path::new("")).join(dbc);
        record.insert("dbc".into(), dbc.display().to_string().into());
    }
    Ok(table)
}

/// Makes the cloud's keys, then the car's with the genesis that names them, unless they are there.
pub fn provision(config: &Config, folder: &Path) -> Result<()> {
    let (keys, car) = (folder.join("cloud").join("keys"), folder.join("car"));
    if car.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder.join("cloud").join("checkpoints"))?;
    let public = run(&program("cloud-link")?, args!["keygen", "--out", keys.display(), "--json"])?;
    let public: serde_json::Value = serde_json::from_str(&public)?;
    let key = |name| public.get(name).and_then(serde_json::Value::as_str).with_context(|| format!("no {name} key"));
    let provision = args![
        "provision",
        "--config",
        config.path().display(),
        "--out",
        car.display(),
        "--fleet-key",
        key("fleet")?,
        "--archive-key",
        key("archive")?
    ];
    run(&program("ecu-node")?, provision)?;
    Ok(())
}
