//! The demo: every scenario, in six parts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::car::{BusKind, Car, Play};
use crate::scenario::{cloud, failure, guests, ignition, ride, rogue};
use crate::summary::Summary;
use crate::tamper::Tampering;
use crate::workspace::is_user_mode_linux;

/// Approvals whose latency is measured.
const APPROVALS: usize = 10;
/// How often the door sensor says something.
const SENSOR: Duration = Duration::from_secs(2);

/// A car to be shown.
pub struct Show<'a> {
    /// `car.toml`.
    pub config: &'a Path,
    /// Where it runs.
    pub bus: BusKind,
    /// The drive.
    pub log: &'a Path,
    /// The DBC of the drive, instead of the configuration's.
    pub dbc: Option<&'a Path>,
    /// Folder to work in.
    pub folder: &'a Path,
}

impl Show<'_> {
    /// Shows everything; what was promised and seen is in `summary`.
    ///
    /// # Errors
    /// The car cannot be prepared: bad files, or no bus.
    pub fn run(&self, summary: &mut Summary) -> Result<()> {
        summary.part("1  Buses");
        let config = self.configure()?;
        let mut car = Car::prepare(&config, self.bus, self.folder)?;
        let car = &mut car;
        summary.note(self.describe_bus(car));
        summary.promise("nothing else uses the car's identifiers", || guests::doctor(car));

        summary.part("2  Seven validators and a door sensor");
        summary.promise("they authenticate each other at ignition", || ignition::trust(car));
        summary.promise("a record of the door sensor is agreed on", || {
            car.start_sensor(SENSOR)?;
            ignition::endpoint_record(car)
        });

        summary.part("3  Traffic");
        summary.promise("the drive is decoded and recorded", || {
            car.start_drive(Play { log: self.log.to_owned(), speed: 1.0, repeat: false })?;
            ignition::drive_recorded(car)
        });

        summary.part("4  A ride");
        summary.promise("a grant of the cloud opens the door", || ride::door_opens(car));
        summary.promise("many approvals are made, and measured", || ride::latency(car, APPROVALS));
        summary.promise("a lying gateway opens nothing", || ride::lying_gateway(car));
        summary.promise("a replayed grant opens nothing", || ride::replayed_grant(car));
        summary.promise("an expired grant opens nothing", || ride::expired_grant(car));
        summary.promise("a foreign grant opens nothing", || ride::foreign_grant(car));
        summary.promise("the cloud trusts the car", || cloud::trusted(car));

        summary.part("5  Attacks and failures");
        summary.promise("forged sessions are refused and counted", || rogue::forged_sessions(car));
        summary.promise("forged votes and grants are refused and counted", || rogue::forged_agreement(car));
        summary.promise("recorded votes are refused and counted", || rogue::replayed_votes(car));
        summary.promise("an abused identifier is agreed on and recorded", || rogue::impersonated(car));
        summary.promise("the cloud knows of the alarm", || cloud::alarmed(car));
        summary.promise("two ECUs are killed: approvals go on", || failure::two_killed(car));
        summary.promise("one comes back with its store", || failure::back_with_store(car));
        summary.promise("one comes back wiped", || failure::back_wiped(car));

        summary.part("6  The cloud");
        summary.promise("blocks are archived against receipts", || cloud::archived(car));
        summary.promise("the drive is in the car's history", || cloud::signals(car));
        let old = cloud::keep_old_store(car);
        summary.promise("the link is cut: blocks wait, trust ends", || cloud::link_cut(car));
        summary.promise("gateway and cloud are killed in mid-batch", || cloud::killed_in_mid_batch(car));
        summary.promise("the car's chain and the cloud's are the same", || cloud::nothing_lost(car));
        summary.promise("the cloud trusts the car again", || cloud::trusted(car));
        summary.promise("the archive verifies", || cloud::sound(car));
        let old = old?;
        for tampering in Tampering::ALL {
            summary.promise(&format!("{} is named", tampering.name()), || cloud::tampered(car, tampering, &old));
        }
        Ok(())
    }

    /// The configuration, with another drive's DBC if one is given.
    fn configure(&self) -> Result<PathBuf> {
        match self.dbc {
            None => Ok(self.config.to_owned()),
            Some(dbc) => crate::car::record_other(self.config, dbc, self.log, self.folder),
        }
    }

    fn describe_bus(&self, car: &Car) -> String {
        let names = car.config().interfaces().join(" (CAN FD, the mesh) and ");
        match self.bus {
            BusKind::Sim => format!("simulated {names} (classic, the car), as --bus sim asks: 500k/2M in real time"),
            BusKind::Vcan => format!("{names} (classic, the car): {}", kernel()),
        }
    }
}

/// Which kernel has the buses.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    if is_user_mode_linux() {
        format!("vcan of user-mode Linux {release}, for the machine's own kernel has none")
    } else {
        format!("vcan of this machine's own kernel, Linux {release}")
    }
}
