//! `vehicle-gateway`: the gateway of a car as a process on Linux, and tools around it.

#[cfg(flaws)]
compile_error!("built with wrong rules (--cfg flaws): these are for tests, not for cars");

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Parser, Subcommand};
use ecu_node::linux::bus::SocketCan;
use ecu_node::linux::failure::{Failure, OrFail};
use ecu_node::linux::node::NodePaths;
use ecu_node::linux::process::shutdown;
use ecu_node::linux::status::{MAX_AGE, Status};
use serde_json::json;
use vehicle_gateway::doctor::{self, Verdict};
use vehicle_gateway::status::GatewayStatus;
use vehicle_gateway::{gateway, play};

const EXIT_STATUS: &str = "Exit status: 0 done, 1 a check failed or the gateway had to stop, 2 wrong usage or bad files, \
                           3 the bus or the process is not there.\n\
                           Logs go to the standard error; RUST_LOG=debug shows more, RUST_LOG=warn less.";

/// The gateway of a car: a validator of its Ringfort mesh that records what happens and tells the cloud.
#[derive(Parser)]
#[command(version, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C
    ///
    /// Votes on the mesh segment as every validator; listens to the car's own segment, never sending there; makes blocks of
    /// what the mesh decides and of the signals in [record]; sends them to [cloud]; uses grants that come from there.
    #[command(after_help = "Example: vehicle-gateway run --config car.toml --state /tmp/car/gateway")]
    Run {
        /// The car
        #[arg(long, value_name = "FILE", default_value = "car.toml")]
        config: PathBuf,
        /// The gateway's folder, as `ecu-node provision` made it
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// The cloud service, instead of the one in the configuration
        #[arg(long, value_name = "URL")]
        cloud: Option<String>,
    },
    /// Show what a running gateway knows: its node, blocks, uplink, grants
    Status {
        /// The gateway's folder
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// As JSON: {"node": …, "gateway": …}
        #[arg(long)]
        json: bool,
    },
    /// Check a configuration against the car it is for, before anything is sent there
    ///
    /// Refuses identifiers that the car's DBC or diagnostics use already (7DF, 7E0 to 7EF, 18DAxxxx, 18DBxxxx), a segment
    /// that is missing or does not take CAN FD, signals that are not in the DBC, and a genesis of another plan.
    #[command(after_help = "Example: vehicle-gateway doctor --config car.toml --dbc dbc/demo-car.dbc")]
    Doctor {
        /// The car
        #[arg(long, value_name = "FILE", default_value = "car.toml")]
        config: PathBuf,
        /// The car's matrix [default: the one of [record]]
        #[arg(long, value_name = "FILE")]
        dbc: Option<PathBuf>,
        /// The signed genesis, if the car is provisioned
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
        /// The maker's public key [default: maker.pub beside the genesis]
        #[arg(long, value_name = "FILE", requires = "genesis")]
        maker_key: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Play a log of `candump -L` onto a virtual bus, at its own pace
    #[command(after_help = "Example: vehicle-gateway play --log dbc/demo-drive.log.gz --interface vcan1")]
    Play {
        /// The log, plain or .gz
        #[arg(long, value_name = "FILE")]
        log: PathBuf,
        /// Where to; anything but a virtual interface is refused
        #[arg(long, value_name = "NAME")]
        interface: String,
        /// How many times as fast as it was recorded
        #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
        speed: f64,
        /// Begin again at the end, until SIGTERM or Ctrl-C
        #[arg(long = "loop")]
        again: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
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
        Command::Run { config, state, cloud } => {
            let options = gateway::Options { config, paths: paths(&state)?, cloud };
            runtime()?.block_on(async { gateway::run(Arc::new(SocketCan), &options, shutdown()?).await })
        }
        Command::Status { state, json } => show_status(&state, json),
        Command::Doctor { config, dbc, genesis, maker_key, json } => {
            let genesis = genesis.map(|genesis| {
                let beside = genesis.with_file_name("maker.pub");
                (genesis, maker_key.unwrap_or(beside))
            });
            examine(&doctor::Options { config, dbc, genesis }, json)
        }
        Command::Play { log, interface, speed, again } => {
            if !(speed.is_finite() && speed > 0.0) {
                return Err(anyhow!("--speed {speed}: a number above 0")).or_usage();
            }
            runtime()?.block_on(play_log(&log, &interface, speed, again))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // on a machine with one processor, too: the gateway's files must not keep its node waiting
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().or_failed()
}

fn paths(state: &Path) -> Result<NodePaths, Failure> {
    let absolute = std::path::absolute(state).or_usage()?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) => Ok(NodePaths::provisioned(folder, &name.to_string_lossy())),
        _ => Err(anyhow!("--state {}: not the folder of a gateway", state.display())).or_usage(),
    }
}

fn show_status(state: &Path, json: bool) -> Result<(), Failure> {
    let node = Status::read(state).or_unreachable()?;
    let gateway = GatewayStatus::read(state).or_unreachable()?;
    print(&if json {
        format!("{:#}\n", json!({ "node": node, "gateway": gateway }))
    } else {
        format!("{gateway}\n{node}")
    });
    if node.age() > MAX_AGE {
        let what =
            format!("{}: this status is {} s old: the gateway does not run", state.display(), node.age().as_secs());
        return Err(anyhow!(what)).or_unreachable();
    }
    Ok(())
}

fn examine(options: &doctor::Options, json: bool) -> Result<(), Failure> {
    let checks = doctor::examine(options).or_usage()?;
    print(&if json {
        format!("{:#}\n", json!(checks))
    } else {
        checks.iter().map(|check| format!("{check}\n")).collect()
    });
    match checks.iter().filter(|check| check.verdict == Verdict::Failed).count() {
        0 => Ok(()),
        failed => Err(anyhow!("{failed} of {} checks failed: do not start this car so", checks.len())).or_failed(),
    }
}

async fn play_log(log: &Path, interface: &str, speed: f64, again: bool) -> Result<(), Failure> {
    play::check(log).or_usage()?;
    let mut bus = play::open_bus(interface).or_usage()?;
    let playing = async {
        loop {
            let played = play::play(log, &mut bus, speed).await.or_unreachable()?;
            print(&format!("{} frames played onto {interface}, {} refused by it\n", played.sent, played.refused));
            if !again {
                return Ok(());
            }
        }
    };
    let shutdown = shutdown()?;
    tokio::select! {
        played = playing => played,
        () = shutdown => Ok(()),
    }
}

fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes()); // the reader of a pipe, such as `head`, may have seen enough
}
