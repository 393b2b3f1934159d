//! What a gateway does with the uplink, and no more: `uplink WINDOW GENESIS MAKER_KEY URL` archives the blocks in a
//! window, prints grants as they come, and runs until it is killed.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use cloud_link::keys::public_key;
use cloud_link::uplink::{Uplink, UplinkConfig, Window};
use cloud_link::wire::{Claim, Mode};
use device_chain::genesis::SignedGenesis;
use device_chain::grant::SignedGrant;
use tokio::sync::{mpsc, watch};

const WINDOW_BYTES: u64 = 64 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [window, genesis, maker, url] = &arguments[..] else {
        anyhow::bail!("usage: uplink WINDOW GENESIS MAKER_KEY URL");
    };
    let genesis = SignedGenesis::open(&std::fs::read(genesis)?, &public_key(maker)?).context("genesis")?;
    let window = Window::open(Path::new(window), genesis, WINDOW_BYTES)?;
    let uplink = Uplink::new(UplinkConfig::new(url.parse()?), Arc::new(Mutex::new(window)))?;

    let (grants, mut received) = mpsc::channel::<SignedGrant>(8);
    let (_claims, claims) = watch::channel(Claim { mode: Mode::Trusted, height: 0, peers: 0 });
    tokio::spawn(async move {
        while let Some(signed) = received.recv().await {
            println!("grant {} until height {}", signed.grant.serial, signed.grant.not_after);
        }
    });
    uplink.run(grants, claims).await;
    Ok(())
}
