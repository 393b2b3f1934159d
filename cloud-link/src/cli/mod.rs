//! The command line.

mod client;
mod local;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use cloud_link::wire::Action;

/// Exit status: a check failed.
const CHECK_FAILED: u8 = 1;
/// Exit status: wrong usage or unreadable input.
const BAD_INPUT: u8 = 2;
/// Exit status: the service cannot be reached.
const UNREACHABLE: u8 = 3;

/// The fleet service of Ringfort: it verifies what cars send from their genesis, archives it, issues grants, and
/// answers whether a car can be trusted now.
///
/// Begin with:
///
///   cloud-link keygen --out keys                 put the printed public keys into the genesis
///   cloud-link register --store fleet.db --genesis car.genesis --maker-key maker.pub
///   cloud-link serve --store fleet.db --keys keys --checkpoints checkpoints
///   cloud-link trust VEHICLE
///
/// Exit status: 0 done or holds, 1 a check failed, 2 usage or unreadable input, 3 service unreachable.
/// RUST_LOG=debug tells more.
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the fleet key, the archive key and the operator's token.
    ///
    /// Files are readable by their owner only; existing ones are never overwritten. The public keys are printed: the
    /// maker puts them into the genesis as authorities, `fleet` for grants and `archive` for receipts.
    Keygen(Keygen),
    /// Tell the archive of a vehicle, out of band.
    ///
    /// The genesis comes from the maker, never from the car. May be done while the service runs. Doing it again
    /// changes nothing.
    Register(Register),
    /// Run the service.
    ///
    /// Speaks plain HTTP. Outside a test bench let a reverse proxy end TLS, know vehicles by client certificates, and
    /// guard what is personal; the service itself asks only for the operator's token where grants are issued. Without such
    /// a proxy a stranger can read, and can say in a car's name that it is isolated or that it is not: never more trust
    /// than its sealed blocks prove.
    /// Ctrl-C or SIGTERM lets requests finish. A kill at any moment loses nothing and stores nothing twice.
    Serve(Serve),
    /// Verify a vehicle's whole archive from its genesis, and name what is wrong.
    ///
    /// Needs neither service nor keys. Give the checkpoint that the service keeps outside the store: without it nobody
    /// can see that the end was dropped or yesterday's store restored.
    Verify(Verify),
    /// Issue a grant to a vehicle.
    Grant(GrantArgs),
    /// Ask whether a vehicle can be trusted now. Exit status 1 if not.
    Trust(TrustArgs),
}

#[derive(Args)]
struct Keygen {
    /// Folder to make the files in.
    #[arg(long)]
    out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct GenesisArgs {
    /// SQLite file of the archive.
    #[arg(long)]
    store: PathBuf,
    /// The maker's signed genesis of the vehicle.
    #[arg(long)]
    genesis: PathBuf,
    /// The maker's public key: 64 hexadecimal digits, or a file with them.
    #[arg(long)]
    maker_key: String,
}

#[derive(Args)]
struct Register {
    #[command(flatten)]
    input: GenesisArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Serve {
    /// Address to listen on; port 0 takes a free one, and the log says which.
    #[arg(long, default_value = "127.0.0.1:8377")]
    listen: SocketAddr,
    /// SQLite file of the archive; made if it does not exist. Must be on a local file system.
    #[arg(long)]
    store: PathBuf,
    /// Folder made by `keygen`.
    #[arg(long)]
    keys: PathBuf,
    /// Folder for the checkpoints: best on another disk than the store.
    #[arg(long)]
    checkpoints: PathBuf,
    /// Seconds that the newest final block may be old for the car to be trusted.
    #[arg(long, default_value_t = 60)]
    max_age_s: u32,
    /// Seconds for which an alarm speaks against the car.
    #[arg(long, default_value_t = 600)]
    alarm_s: u32,
}

#[derive(Args)]
struct Verify {
    #[command(flatten)]
    input: GenesisArgs,
    /// The checkpoint of the vehicle, named by its mesh identity.
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Service {
    /// Where the service is.
    #[arg(long, env = "CLOUD_LINK_URL", default_value = "http://127.0.0.1:8377")]
    url: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct GrantArgs {
    #[command(flatten)]
    service: Service,
    /// Name or mesh identity.
    vehicle: String,
    /// What the grant allows.
    action: Action,
    /// File with the operator's token.
    #[arg(long)]
    token: PathBuf,
    /// Commitment to the account of whoever holds it: 64 hexadecimal digits, e.g. a hash of account and a random
    /// number. No personal data.
    #[arg(long)]
    holder: String,
    /// Heights for which it is good, from the last archived one.
    #[arg(long, default_value_t = 1000, conflicts_with = "not_after")]
    valid_heights: u32,
    /// Instead: the last height at which it is good.
    #[arg(long)]
    not_after: Option<u32>,
}

#[derive(Args)]
struct TrustArgs {
    #[command(flatten)]
    service: Service,
    /// Name or mesh identity.
    vehicle: String,
}

/// Why the program ends.
pub struct Failure {
    /// Exit status.
    pub code: u8,
    /// What to tell.
    pub error: anyhow::Error,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: BAD_INPUT, error }
    }
}

/// Runs the command.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Keygen(args) => local::keygen(&args),
        Command::Register(args) => local::register(&args),
        Command::Serve(args) => local::serve(&args),
        Command::Verify(args) => local::verify(&args),
        Command::Grant(args) => client::grant(&args),
        Command::Trust(args) => client::trust(&args),
    }
}

/// Prints a value as JSON.
fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?);
    Ok(())
}
