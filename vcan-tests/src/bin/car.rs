//! `ringfort-car`: a car that runs until Ctrl-C. Run it by `scripts/car`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use device_chain::genesis::Role;
use tokio::signal::unix::{SignalKind, signal};
use vcan_tests::car::{BusKind, Car, Play};
use vcan_tests::process::program;
use vcan_tests::scenario::ignition;

/// How often the door sensor says something.
const SENSOR: Duration = Duration::from_secs(5);
/// How often it is looked whether everything still runs.
const WATCH: Duration = Duration::from_millis(500);

/// A car with its cloud, to look at and to play with.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a car and leave it running until Ctrl-C
    ///
    /// Makes keys, genesis and stores in --state if they are not there, and keeps them. The interfaces of the configuration
    /// must be virtual: run it under scripts/vcan.
    #[command(after_help = "Example: scripts/vcan bash -c 'scripts/car up & sleep 5; cangen vcan0 -n 1000'\n\
                            Exit status: 0 stopped by Ctrl-C or SIGTERM, 1 something has ended by itself, 2 wrong usage or bad files.")]
    Up(Up),
}

#[derive(Args)]
struct Up {
    /// The car
    #[arg(long, value_name = "FILE", default_value = "car.toml")]
    config: PathBuf,
    /// Folder for keys, stores and logs
    #[arg(long, value_name = "DIR", default_value = "state")]
    state: PathBuf,
    /// A drive to be played over and over, as `candump -L` writes it, plain or .gz
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Command::Up(up) = Cli::parse().command;
    let mut car = match prepare(&up) {
        Ok(car) => car,
        Err(error) => return fail(&error, 2),
    };
    match run(&mut car, &up) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(code)
}

fn prepare(up: &Up) -> Result<Car> {
    Car::prepare(&up.config, BusKind::Vcan, &up.state)
}

fn run(car: &mut Car, up: &Up) -> Result<()> {
    let stop = {
        let _guard = car.runtime().enter();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        car.runtime().spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    };
    eprintln!("{}", ignition::trust(car)?);
    car.start_sensor(SENSOR)?;
    if let Some(log) = &up.log {
        car.start_drive(Play { log: std::path::absolute(log)?, speed: 1.0, repeat: true })?;
    }
    tell(car)?;
    while !stop.is_finished() {
        std::thread::sleep(WATCH);
        car.check()?;
    }
    eprintln!("stopping");
    car.stop_all()
}

/// Where to look.
fn tell(car: &Car) -> Result<()> {
    let (ecu_node, gateway, cloud_link) = (program("ecu-node")?, program("vehicle-gateway")?, program("cloud-link")?);
    let (ecu_node, gateway, cloud_link) = (ecu_node.display(), gateway.display(), cloud_link.display());
    let (url, vehicle) = (format!("http://{}", car.cloud().address()), &car.genesis().vehicle);
    let token = car.cloud().paths().keys.join("operator.token");
    println!("running until Ctrl-C; logs are in {}", car.folder().join("logs").display());
    for name in car.validators() {
        println!("  {ecu_node} status --state {}", car.paths(&name).state.display());
    }
    let (_, name) = car.with_role(Role::Gateway)?;
    println!("  {gateway} status --state {}", car.paths(&name).state.display());
    println!("  {cloud_link} trust --url {url} {vehicle}");
    let holder = format!("--token {} --holder {:064}", token.display(), 0);
    println!("  {cloud_link} grant --url {url} {holder} {vehicle} unlock");
    println!("  curl {url}/v1/vehicles/{vehicle}/events");
    Ok(())
}
