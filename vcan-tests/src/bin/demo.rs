//! `ringfort-demo`: a whole car, its attackers and its cloud, in about a minute. Run it by `scripts/demo`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use vcan_tests::car::BusKind;
use vcan_tests::demo::Show;
use vcan_tests::summary::Summary;
use vcan_tests::workspace::Workspace;

/// Shows a whole car: seven validators that trust each other, a ride, attacks, failures and the cloud.
///
/// Run it by scripts/demo, which builds it and makes the buses. Everything it attacks is virtual.
#[derive(Parser)]
#[command(version, after_help = "Exit status: 0 every promise held, 1 one did not, 2 wrong usage or bad files.")]
struct Cli {
    /// Where the car runs
    #[arg(long, value_enum, default_value_t = Bus::Vcan)]
    bus: Bus,
    /// The car
    #[arg(long, value_name = "FILE", default_value = "car.toml")]
    config: PathBuf,
    /// The drive to be played, as `candump -L` writes it, plain or .gz
    #[arg(long, value_name = "FILE", default_value = "dbc/demo-drive.log.gz")]
    log: PathBuf,
    /// What the drive's frames mean, if it is another car's
    #[arg(long, value_name = "FILE", requires = "log")]
    dbc: Option<PathBuf>,
    /// Folder for logs, recordings of the buses and stores; must not exist [default: ./demo-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bus {
    /// The interfaces of the configuration, which must be virtual: scripts/vcan makes them
    Vcan,
    /// A simulated bus within this process, with arbitration and frame times in real time
    Sim,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every promise held.
fn run(cli: &Cli) -> Result<bool> {
    let out = cli.out.clone().unwrap_or_else(default_folder);
    let workspace = Workspace::new(&out).context("--out")?;
    let bus = match cli.bus {
        Bus::Vcan => BusKind::Vcan,
        Bus::Sim => BusKind::Sim,
    };
    let mut summary = Summary::default();
    let show = Show { config: &cli.config, bus, log: &cli.log, dbc: cli.dbc.as_deref(), folder: workspace.folder() };
    let shown = show.run(&mut summary);
    summary.finish();
    workspace.finish()?;
    shown?;
    if cli.json {
        println!("{}", serde_json::to_string_pretty(summary.promises())?);
    } else {
        println!("\n{}", summary.table());
    }
    eprintln!("logs, recordings of the buses and stores are in {}", out.display());
    Ok(summary.all_held())
}

fn default_folder() -> PathBuf {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    PathBuf::from(format!("demo-{seconds}"))
}
