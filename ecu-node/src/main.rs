//! `ecu-node`: an ECU as a process on Linux.

#[cfg(flaws)]
compile_error!("built with wrong rules (--cfg flaws): these are for tests, not for cars");

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use can_bus::port::Filter;
use clap::{Args, Parser, Subcommand};
use device_chain::genesis::Authority;
use ecu_node::linux::bus::{Buses, SocketCan};
use ecu_node::linux::car::{self, Car};
use ecu_node::linux::door_sensor::{self, Output, Records};
use ecu_node::linux::failure::{Failure, OrFail};
use ecu_node::linux::node::{ClockSource, NodePaths};
use ecu_node::linux::orders::RegistryView;
use ecu_node::linux::orders::cli::{self, OrderCommand};
use ecu_node::linux::phase::{self, PhaseArgs};
use ecu_node::linux::process;
use ecu_node::linux::provision::provision;
use ecu_node::linux::serial;
use ecu_node::linux::status::{MAX_AGE, Status};
use ecu_node::linux::{emulator, files, keyfile};
use serde::Serialize;

const EXIT_STATUS: &str = "Exit status: 0 done, 1 a check failed or the node had to stop, 2 wrong usage or bad files, \
                           3 the bus, the process or a quorum is not there.\n\
                           Logs go to the standard error; RUST_LOG=debug shows more, RUST_LOG=warn less.";

/// An ECU of a Ringfort mesh: it agrees with the others over CAN FD on what may happen in the car.
#[derive(Parser)]
#[command(version, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make keys, genesis and folders for all devices of a car, as the end of the line does
    ///
    /// Writes genesis.bin, maker.pub and, for each device NAME, the folder NAME and the files NAME.counter and NAME.kek. Nothing is
    /// ever overwritten.
    #[command(after_help = "Example: ecu-node provision --config car.toml --out /tmp/car --fleet-key fleet.pub")]
    Provision {
        /// The car
        #[arg(long, value_name = "FILE", default_value = "car.toml")]
        config: PathBuf,
        /// Where to; an empty folder, or one that does not exist yet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The maker's secret key (64 hexadecimal digits); without it one is made and written to maker.key
        #[arg(long, value_name = "FILE")]
        maker_key: Option<PathBuf>,
        /// Public key that may sign grants, besides those of the configuration: hexadecimal digits, or a file with them
        #[arg(long, value_name = "HEX|FILE")]
        fleet_key: Vec<String>,
        /// Public key that may sign receipts, besides those of the configuration
        #[arg(long, value_name = "HEX|FILE")]
        archive_key: Vec<String>,
        /// Public key of the maker, for orders
        #[arg(long, value_name = "HEX|FILE")]
        maker_authority: Vec<String>,
        /// Public key of a workshop
        #[arg(long, value_name = "HEX|FILE")]
        workshop_key: Vec<String>,
        /// Public key of the owner
        #[arg(long, value_name = "HEX|FILE")]
        owner_key: Vec<String>,
        /// Say what was made as JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a validator until SIGTERM or Ctrl-C
    #[command(after_help = "Example: ecu-node run --state /tmp/car/chassis --interface vcan0")]
    Run {
        #[command(flatten)]
        device: DeviceArgs,
        /// The clock that it tells the others of
        #[arg(long, value_enum, default_value_t)]
        clock: ClockSource,
    },
    /// Run a validator as Cortex-M4 firmware in QEMU, its UART joined to a bus
    ///
    /// The firmware has the files of the device for its flash, counter and keys, in the same form: it may be killed at any time, and the
    /// same device may run as a process afterwards. It has no actuator, and writes no status; what it does goes to the standard error.
    #[command(
        after_help = "Example: ecu-node emulate --image target/thumbv7em-none-eabihf/firmware/validator --state /tmp/car/chassis\n\
                            Build the image: cargo build -p ecu-firmware --bin validator --profile firmware \
                            --target thumbv7em-none-eabihf"
    )]
    Emulate {
        /// The firmware
        #[arg(long, value_name = "FILE")]
        image: PathBuf,
        /// The device's folder, with the car's files beside it as `ecu-node provision` puts them
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// CAN FD interface of the mesh
        #[arg(long, value_name = "NAME", default_value = "vcan0")]
        interface: String,
    },
    /// Join a serial line to a bus, as a CANable adapter does, until SIGTERM or Ctrl-C
    ///
    /// Whoever is at the other end speaks slcan with the FD commands: a validator on an emulated chip, or any program for such adapters.
    #[command(after_help = "Example: ecu-node bridge --line /dev/ttyUSB0 --interface vcan0")]
    Bridge {
        /// The serial line
        #[arg(long, value_name = "FILE")]
        line: PathBuf,
        /// CAN interface
        #[arg(long, value_name = "NAME", default_value = "vcan0")]
        interface: String,
    },
    /// Run a door sensor: an endpoint, which has no vote and submits records
    ///
    /// Reads records from the standard input, one a line of at most 24 bytes, and prints each when a quorum has decided it.
    #[command(after_help = "Example: ecu-node endpoint --state /tmp/car/door-sensor --interface vcan0 --once open")]
    Endpoint {
        #[command(flatten)]
        device: DeviceArgs,
        /// Submit "closed" and "open" in turn, and what the standard input says
        #[arg(long, value_name = "SECONDS", conflicts_with = "once")]
        every: Option<f64>,
        /// Submit this record and end when it is decided
        #[arg(long, value_name = "DATA")]
        once: Option<String>,
        /// Give up when a record is not decided for so long (not with --every)
        #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
        timeout: f64,
        /// Print records as JSON, an object a line
        #[arg(long)]
        json: bool,
    },
    /// Write the key file of a device unsealed, as a chip is given it
    ///
    /// Who has that file is the device. Delete it when it is on the chip.
    Unseal {
        /// The device's folder, with its NAME.kek beside it
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Where to; a file that does not exist yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show what a running node knows: mode, height, peers, counters, latencies
    Status {
        /// The node's folder
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show who belongs to the car, as a node knows it: devices, what they run, keys outside the car
    Registry {
        /// The node's folder
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change who belongs to the car: make, sign and bring orders
    #[command(subcommand)]
    Order(OrderCommand),
    /// Look at a car's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check a configuration: file, line or key, what is wrong, what to do
    Check {
        /// The car
        file: PathBuf,
    },
    /// Work out what phase_us has to be for a bus: worst response time of the votes of a phase, and their processing
    Phase {
        #[command(flatten)]
        bus: PhaseArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where a device finds its files. Only --state is needed where `ecu-node provision` has put them.
#[derive(Args)]
struct DeviceArgs {
    /// The device's folder
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The signed genesis [default: genesis.bin beside the folder]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The maker's public key [default: maker.pub beside the folder]
    #[arg(long, value_name = "FILE")]
    maker_key: Option<PathBuf>,
    /// The monotonic counter [default: the folder's name with .counter, beside it]
    #[arg(long, value_name = "FILE")]
    counter: Option<PathBuf>,
    /// The key that opens keys.bin [default: the folder's name with .kek, beside it]
    #[arg(long, value_name = "FILE")]
    kek: Option<PathBuf>,
    /// CAN FD interface of the mesh
    #[arg(long, value_name = "NAME", default_value = "vcan0")]
    interface: String,
}

impl DeviceArgs {
    fn paths(&self) -> Result<NodePaths, Failure> {
        let default = provisioned(&self.state)?;
        Ok(NodePaths {
            genesis: self.genesis.clone().unwrap_or(default.genesis),
            maker_key: self.maker_key.clone().unwrap_or(default.maker_key),
            counter: self.counter.clone().unwrap_or(default.counter),
            kek: self.kek.clone().unwrap_or(default.kek),
            state: default.state,
        })
    }
}

/// The files of the device with this folder, where `ecu-node provision` has put them.
fn provisioned(state: &Path) -> Result<NodePaths, Failure> {
    let state = std::path::absolute(state).or_usage()?;
    let (Some(folder), Some(name)) = (state.parent(), state.file_name()) else {
        return Err(anyhow!("--state {}: not the folder of a device", state.display())).or_usage();
    };
    Ok(NodePaths::provisioned(folder, &name.to_string_lossy()))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    match carry_out(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.code()
        }
    }
}

fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Provision {
            config,
            out,
            maker_key,
            fleet_key,
            archive_key,
            maker_authority,
            workshop_key,
            owner_key,
            json,
        } => {
            let car = Car::load(&config).or_usage()?;
            let here = Path::new("");
            let fleet = fleet_key.iter().map(|text| (Authority::Fleet, "--fleet-key", text));
            let archive = archive_key.iter().map(|text| (Authority::Archive, "--archive-key", text));
            let maker = maker_authority.iter().map(|text| (Authority::Maker, "--maker-authority", text));
            let workshop = workshop_key.iter().map(|text| (Authority::Workshop, "--workshop-key", text));
            let owner = owner_key.iter().map(|text| (Authority::Owner, "--owner-key", text));
            let keys = fleet.chain(archive).chain(maker).chain(workshop).chain(owner);
            let keys = keys.map(|(authority, option, text)| {
                let key = car::public_key(text, here).map_err(|error| error.context(format!("{option} {text}")));
                Ok((authority, key.or_usage()?))
            });
            let keys = keys.collect::<Result<Vec<_>, Failure>>()?;
            print(&provision(&car, &out, maker_key.as_deref(), &keys).or_usage()?, json)
        }
        Command::Run { device, clock } => {
            let paths = device.paths()?;
            start(async { process::run(&SocketCan, &paths, &device.interface, clock, process::shutdown()?).await })
        }
        Command::Emulate { image, state, interface } => {
            let paths = provisioned(&state)?;
            start(async {
                let mut bus = SocketCan.open(&interface, 0, Instant::now(), &[Filter::ALL]).or_unreachable()?;
                emulator::run(&image, &paths, Stdio::inherit(), &mut bus, process::shutdown()?).await
            })
        }
        Command::Unseal { state, out } => {
            let keys = keyfile::unseal(&provisioned(&state)?, None).or_usage()?;
            files::create(&out, &keys, files::SECRET).or_usage()
        }
        Command::Bridge { line, interface } => start(async {
            let mut bus = SocketCan.open(&interface, 0, Instant::now(), &[Filter::ALL]).or_unreachable()?;
            if let Some(traffic) = serial::run(&line, &mut bus, process::shutdown()?).await? {
                tracing::info!(?traffic, "the line has ended");
            }
            Ok(())
        }),
        Command::Endpoint { device, every, once, timeout, json } => {
            let records = match (once, every) {
                (Some(data), _) => Records::Once(data),
                (None, Some(every)) => Records::Every(seconds("--every", every)?),
                (None, None) => Records::Lines,
            };
            let output = if json { Output::Json } else { Output::Text };
            let timeout = seconds("--timeout", timeout)?;
            let paths = device.paths()?;
            start(async {
                let (interface, shutdown) = (&device.interface, process::shutdown()?);
                door_sensor::run(&SocketCan, &paths, interface, records, timeout, output, shutdown).await
            })
        }
        Command::Status { state, json } => show_status(&state, json),
        Command::Registry { state, json } => print(&RegistryView::read(&state).or_unreachable()?, json),
        Command::Order(command) => print(&cli::run(&command).or_usage()?, false),
        Command::Config(ConfigCommand::Check { file }) => {
            let car = Car::load(&file).or_usage()?;
            let (validators, endpoints) = (car.validators.len(), car.endpoints.len());
            println!("{}: ok: {}, {validators} validators, {endpoints} endpoints", file.display(), car.vehicle);
            Ok(())
        }
        Command::Config(ConfigCommand::Phase { bus, json }) => print(&phase::bound(&bus).or_usage()?, json),
    }
}

/// One thread for the node's loop, one for whoever observes it.
fn start(task: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.or_failed()?.block_on(task)
}

/// At least a millisecond, at most a day.
fn seconds(option: &str, value: f64) -> Result<Duration, Failure> {
    let limits = 0.001..=86_400.0;
    if limits.contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(anyhow!("{option} {value}: {} to {} seconds", limits.start(), limits.end())).or_usage()
}

fn show_status(state: &Path, json: bool) -> Result<(), Failure> {
    let status = Status::read(state).or_unreachable()?;
    print(&status, json)?;
    let age = status.age();
    if age > MAX_AGE {
        let error = anyhow!("{} s old: process {} does not run any more", age.as_secs(), status.pid);
        return Err(error).or_unreachable();
    }
    Ok(())
}

/// Whoever reads may stop reading, as `head` does.
fn print<T: Serialize + Display>(what: &T, json: bool) -> Result<(), Failure> {
    let text = if json { serde_json::to_string_pretty(what).or_failed()? + "\n" } else { what.to_string() };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.or_failed(),
    }
}
