//! `ecu-node order`: making and signing orders where the keys are, and bringing them to the car.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use device_chain::genesis::{Authority, Identity};
use device_chain::order::{Change, Order, Signer};
use device_chain::sign::SigningKey;
use device_chain::types::{Hash, Height, MeshId, PublicKey};
use zeroize::Zeroizing;

use super::super::status::Status;
use super::super::{car, files};
use super::{OrderFile, RegistryView, inbox};

/// What `ecu-node order` does.
#[derive(Subcommand)]
pub enum OrderCommand {
    /// Make a secret key and print its public half
    Key {
        /// Where to; never overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make an order for the car as it is now
    ///
    /// It names the change that it comes after, so it is used once, and the last height at which it is good.
    #[command(
        after_help = "Examples:\n  ecu-node order make --state /tmp/car/gateway --out update.order update --device chassis --firmware v2.bin\n  \
                      ecu-node order make --state /tmp/car/gateway --out sale.order transfer --owner buyer.pub"
    )]
    Make {
        /// Folder of a node of the car, or a copy of its registry.json in a folder
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Heights from the registry's on for which it is good
        #[arg(long, value_name = "HEIGHTS", default_value_t = 1000)]
        valid: Height,
        /// Where to; never overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// What is ordered
        #[command(subcommand)]
        change: ChangeArgs,
    },
    /// Sign an order; each of those who must does so where its key is
    Sign {
        /// The order
        file: PathBuf,
        /// The secret key (64 hexadecimal digits)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Whose key it is
        #[command(flatten)]
        signer: SignerArgs,
    },
    /// Show an order and who has signed it
    Show {
        /// The order
        file: PathBuf,
    },
    /// Bring an order to a running node: it is checked, passed on and, with enough signatures, decided
    Give {
        /// The order
        file: PathBuf,
        /// The node's folder
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
}

/// What is ordered.
#[derive(Subcommand)]
pub enum ChangeArgs {
    /// A device comes to a place where none is, or an endpoint to the next new place
    Provision {
        /// Name of the place, or `endpoint N` for a new one
        #[arg(long)]
        device: String,
        /// Its public key: hexadecimal digits, or a file with them
        #[arg(long, value_name = "HEX|FILE")]
        key: String,
        /// Digest of its firmware, or the image
        #[arg(long, value_name = "HEX|FILE")]
        firmware: String,
        /// Identifier of an endpoint's records, as in 0x5C1
        #[arg(long, value_name = "ID", value_parser = identifier, default_value = "0")]
        identifier: u32,
    },
    /// Another device takes the place of one
    Replace {
        /// Name of the place
        #[arg(long)]
        device: String,
        /// Public key of the new device
        #[arg(long, value_name = "HEX|FILE")]
        key: String,
        /// Digest of its firmware, or the image
        #[arg(long, value_name = "HEX|FILE")]
        firmware: String,
    },
    /// A device may run another firmware
    Update {
        /// Its name
        #[arg(long)]
        device: String,
        /// Digest of the new firmware, or the image
        #[arg(long, value_name = "HEX|FILE")]
        firmware: String,
    },
    /// A device gets another identity key
    Rotate {
        /// Its name
        #[arg(long)]
        device: String,
        /// The new public key
        #[arg(long, value_name = "HEX|FILE")]
        key: String,
    },
    /// A device belongs to the car no more
    Revoke {
        /// Its name
        #[arg(long)]
        device: String,
    },
    /// Another key at a place for keys outside the car
    Authority {
        /// The place, as `ecu-node registry` lists it
        #[arg(long)]
        place: u8,
        /// Its role
        #[arg(long)]
        role: RoleName,
        /// The key; without it there is none any more
        #[arg(long, value_name = "HEX|FILE")]
        key: Option<String>,
    },
    /// The car has another owner
    Transfer {
        /// The new owner's public key
        #[arg(long, value_name = "HEX|FILE")]
        owner: String,
    },
    /// The car forgets fleet and alarms
    Reset,
    /// The car is scrapped
    EndOfLife,
}

/// Roles by their names.
#[derive(Clone, Copy, clap::ValueEnum)]
#[expect(missing_docs, reason = "as in Authority")]
pub enum RoleName {
    Fleet,
    Archive,
    Maker,
    Workshop,
}

/// Whose signature it is.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct SignerArgs {
    /// The place of the key outside the car
    #[arg(long, value_name = "PLACE")]
    authority: Option<u8>,
    /// The key that the order brings into the car, or to power over it
    #[arg(long)]
    newcomer: bool,
    /// The key that the device has until now
    #[arg(long)]
    device: bool,
}

/// Carries a command out.
///
/// # Errors
/// What is wrong with which file or option.
pub fn run(command: &OrderCommand) -> Result<String> {
    match command {
        OrderCommand::Key { out } => {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *seed).context("the system has no randomness")?;
            files::create(out, Zeroizing::new(files::to_hex(&seed) + "\n").as_bytes(), files::SECRET)?;
            Ok(files::to_hex(&SigningKey::from_seed(*seed).public().0) + "\n")
        }
        OrderCommand::Make { state, valid, out, change } => {
            let registry = RegistryView::read(state)?;
            let (change, generation) = make(change, &registry)?;
            let mesh = files::from_hex(&registry.mesh).map(Hash).context("registry.json: no mesh identity")?;
            // the registry is written when it changes, the status all the time
            let height = Status::read(state).map_or(registry.height, |status| status.height);
            let order = Order { change, generation, not_after: height.saturating_add(*valid) };
            let file = OrderFile { mesh: MeshId(mesh), order, signatures: Vec::new() };
            files::create(out, &file.encode(), files::PUBLIC)?;
            Ok(describe(&file))
        }
        OrderCommand::Sign { file: path, key, signer } => {
            let mut file = OrderFile::read(path)?;
            let signer = match signer {
                SignerArgs { authority: Some(at), .. } => Signer::Authority(*at),
                SignerArgs { newcomer: true, .. } => Signer::Newcomer,
                SignerArgs { .. } => Signer::Device,
            };
            let key = SigningKey::from_seed(*files::read_seed(key)?);
            if signer == Signer::Newcomer {
                let newcomer = file.order.change.newcomer();
                ensure!(newcomer == Some(key.public()), "this is not the key that the order brings");
            }
            file.sign(signer, &key)?;
            files::replace(path, &file.encode()).with_context(|| path.display().to_string())?;
            Ok(describe(&file))
        }
        OrderCommand::Show { file } => Ok(describe(&OrderFile::read(file)?)),
        OrderCommand::Give { file: path, state } => {
            let (file, registry) = (OrderFile::read(path)?, RegistryView::read(state)?);
            ensure!(file.mesh.0.to_string() == registry.mesh, "the order is for the car {}", file.mesh.0);
            let folder = inbox::folder(state);
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            let name = format!("{}.order", file.order.digest(&file.mesh));
            // in one step, or the node might read half of it
            files::replace(&folder.join(name), &file.encode()).with_context(|| folder.display().to_string())?;
            Ok(describe(&file))
        }
    }
}

fn make(args: &ChangeArgs, registry: &RegistryView) -> Result<(Change, u16)> {
    let here = Path::new("");
    let public = |text: &String| car::public_key(text, here).with_context(|| text.clone());
    let of = |name: &String| registry.device(name).map(|(device, view)| (device, view.generation));
    Ok(match args {
        ChangeArgs::Provision { device: name, key, firmware, identifier } => {
            let new = name.strip_prefix("endpoint ").and_then(|place| place.parse().ok());
            let (device, generation) = match (of(name), new) {
                (Ok(known), _) => known,
                (Err(_), Some(place)) => (device_chain::keys::Device::Endpoint(place), 0),
                (Err(error), None) => return Err(error),
            };
            let (identity, firmware) = (Identity::A(public(key)?), digest(firmware)?);
            (Change::Provision { device, identity, firmware, identifier: *identifier }, generation)
        }
        ChangeArgs::Replace { device, key, firmware } => {
            let (device, generation) = of(device)?;
            let (identity, firmware) = (Identity::A(public(key)?), digest(firmware)?);
            (Change::Replace { device, identity, firmware }, generation)
        }
        ChangeArgs::Update { device, firmware } => {
            let (device, generation) = of(device)?;
            (Change::Update { device, firmware: digest(firmware)? }, generation)
        }
        ChangeArgs::Rotate { device, key } => {
            let (device, generation) = of(device)?;
            (Change::Rotate { device, key: public(key)? }, generation)
        }
        ChangeArgs::Revoke { device } => {
            let (device, generation) = of(device)?;
            (Change::Revoke { device }, generation)
        }
        ChangeArgs::Authority { place, role, key } => {
            let known = registry.authorities.iter().find(|authority| authority.place == *place);
            let key = key.as_ref().map(public).transpose()?.unwrap_or(PublicKey::NONE);
            let role = match role {
                RoleName::Fleet => Authority::Fleet,
                RoleName::Archive => Authority::Archive,
                RoleName::Maker => Authority::Maker,
                RoleName::Workshop => Authority::Workshop,
            };
            (Change::Authority { at: *place, role, key }, known.map_or(0, |known| known.generation))
        }
        ChangeArgs::Transfer { owner } => (Change::Transfer { owner: public(owner)? }, registry.generation),
        ChangeArgs::Reset => (Change::Reset, registry.generation),
        ChangeArgs::EndOfLife => (Change::EndOfLife, registry.generation),
    })
}

/// A digest by its hexadecimal digits, or that of an image.
fn digest(text: &str) -> Result<Hash> {
    files::from_hex(text).map_or_else(|| car::measure(Path::new(text)), |digest| Ok(Hash(digest)))
}

fn identifier(text: &str) -> Result<u32> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    let Ok(identifier) = parsed else { bail!("a CAN identifier, as in 0x5C1") };
    car::raw("identifier", identifier)
}

fn describe(file: &OrderFile) -> String {
    let OrderFile { mesh, order, signatures } = file;
    let mut text = format!(
        "car         {}\norder       {}\ndigest      {}\nchange      {:?}\nafter       {} changes\nuntil       height {}\n",
        mesh.0,
        order.change.name(),
        order.digest(mesh),
        order.change,
        order.generation,
        order.not_after
    );
    for (signer, _) in signatures {
        text += &format!("signed by   {signer:?}\n");
    }
    text
}
