//! Whether a car's configuration fits the car, before anything is sent on its buses.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use can_bus::linux::interface;
use dbc::{Database, PlannedIdentifier, collisions};
use device_chain::genesis::Genesis;
use device_chain::types::PublicKey;
use ecu_node::linux::car::Car;
use ecu_node::linux::node::open_genesis;
use reqwest::Url;
use serde::Serialize;

use crate::signals::Recorder;

/// How long the cloud may take to answer.
const CLOUD_TIMEOUT: Duration = Duration::from_secs(2);

/// What to look at.
#[derive(Clone, Debug)]
pub struct Options {
    /// `car.toml`.
    pub config: PathBuf,
    /// The car's matrix, if not the one of the configuration.
    pub dbc: Option<PathBuf>,
    /// The signed genesis and the maker's public key, if the car is provisioned.
    pub genesis: Option<(PathBuf, PathBuf)>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// Worth knowing.
    Warning,
    /// The car must not be started so.
    Failed,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found, and what to do.
    pub detail: String,
}

impl Check {
    fn new(what: &str, verdict: Verdict, detail: impl ToString) -> Self {
        Self { what: what.to_owned(), verdict, detail: detail.to_string() }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        };
        write!(f, "{verdict:<9}{:<22}{}", self.what, self.detail)
    }
}

/// Looks at everything.
///
/// # Errors
/// A file that cannot be read or is malformed: which one, where, and what to do.
pub fn examine(options: &Options) -> Result<Vec<Check>> {
    let car = Car::load(&options.config)?;
    let genesis = match &options.genesis {
        Some((genesis, maker)) => open_genesis(genesis, maker)?,
        None => planned(&car)?,
    };
    let of_config = car.record.as_ref().map(|record| &record.dbc);
    let database = match options.dbc.as_ref().or(of_config) {
        Some(path) => Some(Database::load(path)?),
        None => None,
    };
    let mut checks = identifiers(&genesis, database.as_ref());
    if options.genesis.is_some() {
        checks.push(same_plan(&genesis, &planned(&car)?));
    }
    checks.push(mesh_interface(&car.segments.mesh));
    checks.extend(car.segments.car.as_deref().map(car_interface));
    if let (Some(record), Some(database)) = (&car.record, database) {
        checks.push(match Recorder::new(database, &record.signals) {
            Ok(_) => Check::new("signals", Verdict::Ok, format!("{} to record", record.signals.len())),
            Err(error) => Check::new("signals", Verdict::Failed, error),
        });
    }
    if let Some(cloud) = &car.cloud {
        checks.push(reach(&cloud.url)?);
    }
    Ok(checks)
}

/// The genesis that this configuration would make, with stand-ins for keys.
fn planned(car: &Car) -> Result<Genesis> {
    car.genesis(&|at| PublicKey([at as u8; 32]), &[])
}

fn identifiers(genesis: &Genesis, database: Option<&Database>) -> Vec<Check> {
    let uses = ["votes", "proposals", "control", "bulk"];
    let validators = genesis.validators.iter().flat_map(|entry| {
        let of = move |(identifier, what)| PlannedIdentifier {
            raw_id: identifier,
            what: format!("{what} of {}", entry.name),
        };
        entry.identifiers.all().into_iter().zip(uses).map(of)
    });
    let endpoints = genesis
        .endpoints
        .iter()
        .map(|entry| PlannedIdentifier { raw_id: entry.identifier, what: format!("records of {}", entry.name) });
    let plan: Vec<_> = validators.chain(endpoints).collect();
    let nothing = Database::parse("", "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_:\n");
    let found = match (database, &nothing) {
        (Some(database), _) | (None, Ok(database)) => collisions(&plan, database),
        (None, Err(_)) => Vec::new(), // an empty database can be read (tested)
    };
    let against = database.map_or("diagnostics; no DBC given: say --dbc FILE".into(), |database| {
        format!("{} and diagnostics", database.name)
    });
    let missing = if database.is_none() { Verdict::Warning } else { Verdict::Ok };
    match found.len() {
        0 => vec![Check::new("identifiers", missing, format!("{} free in {against}", plan.len()))],
        _ => found.iter().map(|collision| Check::new("identifiers", Verdict::Failed, collision)).collect(),
    }
}

/// Provisioned long ago, configured anew?
fn same_plan(genesis: &Genesis, planned: &Genesis) -> Check {
    if genesis.identifiers().eq(planned.identifiers()) && genesis.vehicle == planned.vehicle {
        Check::new("genesis", Verdict::Ok, format!("of {}, as configured", genesis.vehicle))
    } else {
        let what = "names other devices or identifiers than the configuration: provision the car anew, or correct it";
        Check::new("genesis", Verdict::Failed, what)
    }
}

fn mesh_interface(name: &str) -> Check {
    let what = format!("mesh segment {name}");
    match interface::is_fd(name) {
        Ok(true) => Check::new(&what, Verdict::Ok, "takes CAN FD"),
        Ok(false) => {
            Check::new(&what, Verdict::Failed, format!("does not take CAN FD: ip link set {name} mtu 72, if it can"))
        }
        Err(error) => missing(&what, name, &error),
    }
}

fn car_interface(name: &str) -> Check {
    let what = format!("car segment {name}");
    match interface::is_virtual(name) {
        Ok(true) => Check::new(&what, Verdict::Ok, "virtual"),
        Ok(false) => Check::new(&what, Verdict::Ok, "a real bus; the gateway only listens to it"),
        Err(error) => missing(&what, name, &error),
    }
}

fn missing(what: &str, name: &str, error: &io::Error) -> Check {
    let todo = format!("{error}: run under scripts/vcan, or create it (ip link add dev {name} type vcan)");
    Check::new(what, Verdict::Failed, todo)
}

/// A cloud that is not there is no reason not to drive.
fn reach(url: &str) -> Result<Check> {
    let parsed: Url = url.parse().with_context(|| format!("cloud.url = {url:?}: write it as http://HOST:PORT"))?;
    let connect = || -> io::Result<()> {
        let address = parsed.socket_addrs(|| None)?.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
        TcpStream::connect_timeout(&address, CLOUD_TIMEOUT).map(|_| ())
    };
    Ok(match connect() {
        Ok(()) => Check::new("cloud", Verdict::Ok, format!("{url} answers")),
        Err(error) => Check::new("cloud", Verdict::Warning, format!("{url}: {error}; blocks will wait in the car")),
    })
}
