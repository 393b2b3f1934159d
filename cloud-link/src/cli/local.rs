//! Commands that work on files: keys, store, service.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use cloud_link::audit::{Report, audit};
use cloud_link::checkpoint;
use cloud_link::keys::{Keys, public_key};
use cloud_link::service::api::{Service, router};
use cloud_link::service::archive::{self, Archive, ArchiveError};
use cloud_link::service::trust::TrustPolicy;
use device_chain::genesis::{Genesis, SignedGenesis};

use super::{CHECK_FAILED, Failure, print_json};

pub fn keygen(args: &super::Keygen) -> Result<(), Failure> {
    let public = Keys::generate(&args.out)?;
    if args.json {
        return print_json(&public);
    }
    println!("fleet    {}\narchive  {}", public.fleet, public.archive);
    Ok(())
}

pub fn register(args: &super::Register) -> Result<(), Failure> {
    let input = &args.input;
    let genesis = fs::read(&input.genesis).with_context(|| format!("cannot read {}", input.genesis.display()))?;
    let maker = public_key(&input.maker_key).context("--maker-key")?;
    let genesis = archive::register(&input.store, &genesis, &maker).map_err(|error| {
        let file = if matches!(error, ArchiveError::Genesis(_)) { &input.genesis } else { &input.store };
        anyhow::Error::from(error).context(file.display().to_string())
    })?;
    let (vehicle, mesh) = (genesis.vehicle.as_str(), genesis.mesh().0.to_string());
    if args.json {
        return print_json(&serde_json::json!({ "vehicle": vehicle, "mesh": mesh }));
    }
    println!("{vehicle}  {mesh}");
    Ok(())
}

fn open_genesis(file: &Path, maker_key: &str) -> anyhow::Result<Genesis> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let maker = public_key(maker_key).context("--maker-key")?;
    SignedGenesis::open(&bytes, &maker).with_context(|| file.display().to_string())
}

pub fn verify(args: &super::Verify) -> Result<(), Failure> {
    let input = &args.input;
    let genesis = open_genesis(&input.genesis, &input.maker_key)?;
    let checkpoint = match &args.checkpoint {
        Some(path) => {
            let read = checkpoint::read(path, &genesis).with_context(|| path.display().to_string())?;
            Some(read.with_context(|| format!("{} does not exist", path.display()))?)
        }
        None => None,
    };
    let unreadable = || format!("cannot read the store {}", input.store.display());
    let store = archive::open_to_read(&input.store).with_context(unreadable)?;
    let report = audit(&store, genesis, checkpoint.as_ref()).with_context(unreadable)?;
    if args.json {
        print_json(&report)?
    } else {
        print_report(&report)
    }
    match report.faults.len() {
        0 => Ok(()),
        _ => Err(Failure { code: CHECK_FAILED, error: anyhow!("the archive of {} does not verify", report.vehicle) }),
    }
}

fn print_report(report: &Report) {
    println!("vehicle     {}", report.vehicle);
    println!("blocks      {} verified, up to height {}", report.blocks, report.height);
    println!("final       up to block {}", report.newest_final);
    println!("withheld    records of {} blocks", report.withheld);
    match report.checkpoint {
        Some(number) => println!("checkpoint  block {number}"),
        None => println!("checkpoint  none given: whether the end was dropped cannot be seen"),
    }
    for fault in &report.faults {
        println!("WRONG       {fault}");
    }
}

pub fn serve(args: &super::Serve) -> Result<(), Failure> {
    let Keys { fleet, archive: receipts, operator } = Keys::load(&args.keys)?;
    let archive = Archive::open(&args.store, receipts, &args.checkpoints).map_err(|error| {
        let code = if matches!(error, ArchiveError::Damaged(_)) { CHECK_FAILED } else { super::BAD_INPUT };
        Failure { code, error: anyhow::Error::from(error).context(args.store.display().to_string()) }
    })?;
    let policy = TrustPolicy { max_age_ms: u64::from(args.max_age_s) * 1000, alarm_ms: u64::from(args.alarm_s) * 1000 };
    let service = Service::new(archive, fleet, operator, policy);
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    Ok(runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen on {}", args.listen))?;
        let address = listener.local_addr().context("no address")?;
        tracing::info!(%address, "serving");
        axum::serve(listener, router(service)).with_graceful_shutdown(asked_to_stop()).await.context("serving failed")
    })?)
}

/// Ctrl-C or SIGTERM.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        tracing::warn!("SIGTERM cannot be caught");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
}
