//! The cloud service as a process, asked over HTTP as a ride-hailing backend would ask it; and one that hands out
//! grants of our own.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::routing::get;
use axum::{Json, Router};
use cloud_link::keys::{Keys, read_line};
use cloud_link::wire::{
    Action, ErrorAnswer, Event, EventPage, GrantAnswer, GrantOrder, GrantState, StoredBlock, Trust,
};
use device_chain::genesis::Genesis;
use device_chain::grant::SignedGrant;
use device_chain::tx::decision_hash;
use device_chain::types::Hash;
use event_chain::block::Block;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::args;
use crate::process::{Process, output, program, run};
use crate::wait::wait_for;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Seconds after which the cloud no longer trusts a car that it does not hear, and forgives an alarm: short, so that both
/// can be watched.
const MAX_AGE_S: u32 = 8;
const ALARM_S: u32 = 20;
/// How long the service may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the cloud keeps what.
#[derive(Clone, Debug)]
pub struct CloudPaths {
    /// Folder of its keys.
    pub keys: PathBuf,
    /// The archive.
    pub store: PathBuf,
    /// Folder of its checkpoints.
    pub checkpoints: PathBuf,
    /// The genesis of the car, from the maker.
    pub genesis: PathBuf,
    /// The maker's public key.
    pub maker_key: PathBuf,
    /// Its log.
    pub log: PathBuf,
}

/// The service and its client.
pub struct Cloud {
    paths: CloudPaths,
    vehicle: String,
    address: SocketAddr,
    process: Option<Process>,
    client: Client,
    runtime: Handle,
}

/// What is archived of a car, taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Number of the newest block.
    pub blocks: u32,
    /// Hashes of all decisions, from height 1.
    pub decisions: Vec<Hash>,
}

impl Cloud {
    /// Tells a new archive of the car and starts the service on a free port of loopback.
    ///
    /// # Errors
    /// The car cannot be registered, or the service does not come up.
    pub fn start(paths: CloudPaths, vehicle: &str, runtime: Handle) -> Result<Self> {
        let register = args![
            "register",
            "--store",
            paths.store.display(),
            "--genesis",
            paths.genesis.display(),
            "--maker-key",
            paths.maker_key.display()
        ];
        run(&program("cloud-link")?, register)?;
        // somebody else could take it before the service does; then the service says so and ends
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let client = Client::builder().timeout(ANSWER_TIMEOUT).build()?;
        let vehicle = vehicle.to_owned();
        let mut cloud = Self { paths, vehicle, address, process: None, client, runtime };
        cloud.restart()?;
        Ok(cloud)
    }

    /// Starts the service if it does not run, and waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn restart(&mut self) -> Result<()> {
        let CloudPaths { keys, store, checkpoints, .. } = &self.paths;
        let serve = args![
            "serve",
            "--listen",
            self.address,
            "--store",
            store.display(),
            "--keys",
            keys.display(),
            "--checkpoints",
            checkpoints.display(),
            "--max-age-s",
            MAX_AGE_S,
            "--alarm-s",
            ALARM_S
        ];
        let mut process = Process::start("cloud-link", &program("cloud-link")?, serve, &self.paths.log)?;
        let url = format!("http://{}/readyz", self.address);
        wait_for("an answer of the cloud", START_TIMEOUT, || {
            process.check()?;
            let answer = self.runtime.block_on(async { self.client.get(&url).send().await })?;
            ensure!(answer.status().is_success(), "{}", answer.status());
            Ok(())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the cloud does not run")?.kill()
    }

    /// That it runs.
    ///
    /// # Errors
    /// It has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it keeps what.
    #[must_use]
    pub const fn paths(&self) -> &CloudPaths {
        &self.paths
    }

    /// Its keys.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn keys(&self) -> Result<Keys> {
        Keys::load(&self.paths.keys)
    }

    /// Whether the car can be trusted now.
    ///
    /// # Errors
    /// No answer.
    pub fn trust(&self) -> Result<Trust> {
        self.ask(self.client.get(self.url("trust")))
    }

    /// Issues a grant as the operator.
    ///
    /// # Errors
    /// It is refused.
    pub fn issue(&self, action: Action) -> Result<GrantAnswer> {
        let token = read_line(&self.paths.keys.join("operator.token"))?;
        let holder = cloud_link::hex::encode(&[0x5a; 32]);
        let order = GrantOrder { action, holder, valid_heights: Some(1000), not_after: None };
        self.ask(self.client.post(self.url("grants")).bearer_auth(token).json(&order))
    }

    /// The car's whole history.
    ///
    /// # Errors
    /// No answer.
    pub fn events(&self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut from = 0;
        loop {
            let page: EventPage = self.ask(self.client.get(self.url(&format!("events?from={from}"))))?;
            if page.events.is_empty() {
                return Ok(events);
            }
            from = page.next;
            events.extend(page.events);
        }
    }

    /// All archived blocks, as an offline reader of the API takes them apart.
    ///
    /// # Errors
    /// No answer, or blocks that are not numbered without gaps.
    pub fn archived(&self, genesis: &Genesis) -> Result<Archived> {
        let mut archived = Archived::default();
        let mut parent = genesis.mesh().0;
        loop {
            let next = archived.blocks + 1;
            let blocks: Vec<StoredBlock> = self.ask(self.client.get(self.url(&format!("blocks?from={next}"))))?;
            if blocks.is_empty() {
                return Ok(archived);
            }
            for stored in blocks {
                ensure!(stored.number == archived.blocks + 1, "block {} after {}", stored.number, archived.blocks);
                archived.blocks = stored.number;
                let bytes = cloud_link::hex::decode(&stored.bytes).context("a block in hexadecimal digits")?;
                for tx in Block::decode(&bytes)?.decisions.iter() {
                    let height = archived.decisions.len() as u32 + 1;
                    parent = decision_hash(&genesis.mesh(), height, &parent, tx);
                    archived.decisions.push(parent);
                }
            }
        }
    }

    /// `cloud-link verify` of a store, which may be a copy.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn verify(&self, store: &Path, checkpoint: &Path) -> Result<Output> {
        let CloudPaths { genesis, maker_key, .. } = &self.paths;
        let verify = args![
            "verify",
            "--store",
            store.display(),
            "--genesis",
            genesis.display(),
            "--maker-key",
            maker_key.display(),
            "--checkpoint",
            checkpoint.display()
        ];
        output(&program("cloud-link")?, verify)
    }

    fn url(&self, what: &str) -> String {
        format!("http://{}/v1/vehicles/{}/{what}", self.address, self.vehicle)
    }

    fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        self.runtime.block_on(async {
            let answer = request.send().await.context("the cloud does not answer")?;
            let status = answer.status();
            let body = answer.bytes().await?;
            if status.is_success() {
                return Ok(serde_json::from_slice(&body)?);
            }
            let error: ErrorAnswer = serde_json::from_slice(&body).unwrap_or_default();
            bail!("the cloud answers {status}: {}", error.error)
        })
    }
}

/// Decodes the grant in an answer.
///
/// # Errors
/// It is none.
pub fn signed_grant(answer: &GrantAnswer) -> Result<SignedGrant> {
    let bytes = cloud_link::hex::decode(&answer.grant).context("a grant in hexadecimal digits")?;
    device_chain::codec::decode(&bytes).context("a grant")
}

/// Somebody on the link who hands out grants of its choice instead of the cloud's: all that a car can rely on is what
/// is signed.
pub struct GrantInjector {
    address: SocketAddr,
    waiting: Arc<Mutex<VecDeque<SignedGrant>>>,
    task: JoinHandle<()>,
}

impl GrantInjector {
    /// Listens on a free port of loopback, with grants to hand out, each once.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn start(runtime: &Handle, grants: impl IntoIterator<Item = SignedGrant>) -> Result<Self> {
        let waiting = Arc::new(Mutex::new(grants.into_iter().collect::<VecDeque<_>>()));
        let queue = Arc::clone(&waiting);
        let hand_out = async move || {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(signed) => Json(vec![answer(&signed)]),
                None => {
                    tokio::time::sleep(ANSWER_TIMEOUT).await;
                    Json(vec![])
                }
            }
        };
        let router = Router::new().route("/v1/vehicles/{id}/grants", get(hand_out));
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let task = runtime.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, waiting, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// That all grants were fetched.
    ///
    /// # Errors
    /// Not yet.
    pub fn all_fetched(&self) -> Result<()> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len();
        ensure!(waiting == 0, "{waiting} grants were not fetched");
        Ok(())
    }
}

impl Drop for GrantInjector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(signed: &SignedGrant) -> GrantAnswer {
    let grant = &signed.grant;
    GrantAnswer {
        // the car's own bookmark is not to be moved
        serial: 0,
        not_before: grant.not_before,
        not_after: grant.not_after,
        state: GrantState::Issued,
        used_height: None,
        grant: cloud_link::hex::encode(&event_chain::codec::encode(signed)),
    }
}
