//! Commands that ask a running service.

use std::time::Duration;

use anyhow::{Context, anyhow};
use cloud_link::keys::read_line;
use cloud_link::wire::{ErrorAnswer, GrantAnswer, GrantOrder, Trust};
use reqwest::{Client, RequestBuilder, Url};
use serde::de::DeserializeOwned;

use super::{BAD_INPUT, CHECK_FAILED, Failure, UNREACHABLE, print_json};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

pub fn grant(args: &super::GrantArgs) -> Result<(), Failure> {
    let token = read_line(&args.token)?;
    let order = GrantOrder {
        action: args.action,
        holder: args.holder.clone(),
        valid_heights: args.not_after.is_none().then_some(args.valid_heights),
        not_after: args.not_after,
    };
    let url = endpoint(&args.service.url, &args.vehicle, "grants")?;
    let grant: GrantAnswer = ask(client()?.post(url).bearer_auth(token).json(&order))?;
    if args.service.json {
        return print_json(&grant);
    }
    println!("serial {}, good from height {} to {}", grant.serial, grant.not_before, grant.not_after);
    Ok(())
}

pub fn trust(args: &super::TrustArgs) -> Result<(), Failure> {
    let trust: Trust = ask(client()?.get(endpoint(&args.service.url, &args.vehicle, "trust")?))?;
    if args.service.json {
        print_json(&trust)?;
    } else {
        print_trust(&trust);
    }
    if trust.trusted {
        return Ok(());
    }
    Err(Failure { code: CHECK_FAILED, error: anyhow!("{} is not to be trusted now", args.vehicle) })
}

fn print_trust(trust: &Trust) {
    println!("trusted   {}", if trust.trusted { "yes" } else { "no" });
    println!("mode      {}", trust.mode);
    println!("block     {} at height {}", trust.block, trust.height);
    println!(
        "finality  {}",
        trust.finality.map_or("none".to_owned(), |finality| format!("{finality:?}").to_lowercase())
    );
    println!("age       {}", trust.age_ms.map_or("none".to_owned(), |age| format!("{age} ms")));
    for reason in &trust.why {
        println!("why       {reason}");
    }
}

fn endpoint(service: &str, vehicle: &str, what: &str) -> Result<Url, Failure> {
    let mut url = Url::parse(service).with_context(|| format!("--url {service}"))?;
    let mut path = url.path_segments_mut().map_err(|()| anyhow!("--url {service}: http://HOST:PORT expected"))?;
    path.pop_if_empty().extend(["v1", "vehicles", vehicle, what]);
    drop(path);
    Ok(url)
}

/// A client that goes where it is told, and not for ever.
fn client() -> Result<Client, Failure> {
    Ok(Client::builder().no_proxy().timeout(TIMEOUT).build().context("no HTTP client")?)
}

/// Sends a request and reads the answer.
fn ask<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Failure> {
    let unreachable = |error: reqwest::Error| {
        let error = anyhow::Error::from(error).context("the service cannot be reached; is `cloud-link serve` running?");
        Failure { code: UNREACHABLE, error }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(serde_json::from_slice(&body).context("the service answers in an unknown form")?);
        }
        let reason = serde_json::from_slice::<ErrorAnswer>(&body)
            .map_or_else(|_| String::from_utf8_lossy(&body).into_owned(), |answer| answer.error);
        let code = if status.is_server_error() { UNREACHABLE } else { BAD_INPUT };
        Err(Failure { code, error: anyhow!("{status}: {reason}") })
    })
}
