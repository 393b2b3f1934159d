//! The HTTP API over the archive. It holds no state of its own: any answer is in the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use device_chain::sign::SigningKey;
use event_chain::block::MAX_BLOCK_BYTES;
use event_chain::codec::encode;
use serde::Deserialize;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{timeout, timeout_at};

use super::archive::{Archive, ArchiveError};
use super::trust::TrustPolicy;
use crate::hex;
use crate::keys::Token;
use crate::wire::{
    Claim, ErrorAnswer, EventPage, GrantAnswer, GrantOrder, MAX_WAIT_S, ReceiptAnswer, StoredBlock, Trust,
};

/// Blocks that are being received or verified at a time: with [`MAX_BLOCK_BYTES`] each, what strangers can make the
/// service hold. A car that is told to wait tries again.
const MAX_UPLOADS: usize = 64;
/// Bytes of a body of JSON.
const MAX_JSON: usize = 4096;
/// How long a request may take, its body included: nobody holds a place by sending slowly.
const REQUEST_TIME: Duration = Duration::from_secs(30);
const _: () = assert!(MAX_WAIT_S < REQUEST_TIME.as_secs());

/// What all requests share.
pub struct Service {
    archive: Mutex<Archive>,
    fleet: SigningKey,
    operator: Token,
    policy: TrustPolicy,
    issued: Notify,
    uploads: Semaphore,
    clock: Clock,
}

/// Unix time that is never set back while the service runs: a block must not grow young.
struct Clock {
    begun: Instant,
    begun_ms: u64,
}

impl Clock {
    fn new() -> Self {
        Self { begun: Instant::now(), begun_ms: wall_ms() }
    }

    /// Milliseconds of Unix time. The wall clock counts if it is ahead: after a suspension of the machine it is.
    fn now_ms(&self) -> u64 {
        wall_ms().max(self.begun_ms.saturating_add(self.begun.elapsed().as_millis() as u64))
    }
}

/// Milliseconds of Unix time; 0 before 1970.
fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// An error as it is answered.
struct Refused(StatusCode, ErrorAnswer);

type Answer<T> = Result<Json<T>, Refused>;
type Shared = State<Arc<Service>>;

impl From<ArchiveError> for Refused {
    fn from(error: ArchiveError) -> Self {
        let mut answer = ErrorAnswer { error: error.to_string(), ..ErrorAnswer::default() };
        let status = match &error {
            ArchiveError::UnknownVehicle(_) | ArchiveError::UnknownGrant(_) => StatusCode::NOT_FOUND,
            ArchiveError::Gap { expected } => {
                answer.expected = Some(*expected);
                StatusCode::CONFLICT
            }
            ArchiveError::Conflict { stored, sent, .. } => {
                (answer.stored, answer.sent) = (Some(stored.to_string()), Some(sent.to_string()));
                StatusCode::CONFLICT
            }
            ArchiveError::Invalid(_) | ArchiveError::Order(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ArchiveError::NameTaken(_) | ArchiveError::Genesis(_) => StatusCode::BAD_REQUEST,
            ArchiveError::Damaged(_) | ArchiveError::Store(_) | ArchiveError::Checkpoint(..) => {
                tracing::error!(%error, "the archive failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self(status, answer)
    }
}

impl Refused {
    fn new(status: StatusCode, error: &str) -> Self {
        Self(status, ErrorAnswer { error: error.to_owned(), ..ErrorAnswer::default() })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl Service {
    /// The service over an archive. `fleet` signs grants; `operator` is what those who order them must show.
    #[must_use]
    pub fn new(archive: Archive, fleet: SigningKey, operator: Token, policy: TrustPolicy) -> Arc<Self> {
        let (archive, issued, uploads) = (Mutex::new(archive), Notify::new(), Semaphore::new(MAX_UPLOADS));
        Arc::new(Self { archive, fleet, operator, policy, issued, uploads, clock: Clock::new() })
    }

    /// Runs `work` on the archive, away from the threads that serve sockets.
    async fn with<T, F>(self: &Arc<Self>, work: F) -> Result<T, Refused>
    where
        T: Send + 'static,
        F: FnOnce(&mut Archive, &Service) -> Result<T, ArchiveError> + Send + 'static,
    {
        let service = Arc::clone(self);
        let job = tokio::task::spawn_blocking(move || {
            // A panic in between left no half transaction: SQLite rolled it back.
            let mut archive = service.archive.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut archive, &service)
        });
        match job.await {
            Ok(done) => Ok(done?),
            Err(error) => {
                tracing::error!(%error, "a request failed");
                Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error"))
            }
        }
    }
}

/// All routes.
pub fn router(service: Arc<Service>) -> Router {
    let upload = post(push_block)
        .layer(DefaultBodyLimit::max(MAX_BLOCK_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), one_of_few));
    let vehicle = Router::new()
        .route("/blocks", upload.get(blocks))
        .route("/grants", get(open_grants).post(issue))
        .route("/grants/{serial}", get(grant))
        .route("/status", put(claim))
        .route("/events", get(events))
        .route("/trust", get(trust));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .nest("/v1/vehicles/{id}", vehicle)
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .layer(middleware::from_fn(in_time))
        .with_state(service)
}

/// Ends a request that takes too long.
async fn in_time(request: Request, next: Next) -> Result<Response, Refused> {
    let late = |_| Refused::new(StatusCode::REQUEST_TIMEOUT, "the request took too long");
    timeout(REQUEST_TIME, next.run(request)).await.map_err(late)
}

/// Lets a limited number of blocks in at a time, before any byte of them is read.
async fn one_of_few(State(service): Shared, request: Request, next: Next) -> Result<Response, Refused> {
    let busy = |_| Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many blocks are being sent: try again");
    let _place = service.uploads.try_acquire().map_err(busy)?;
    Ok(next.run(request).await)
}

async fn ready(State(service): Shared) -> Result<&'static str, Refused> {
    service.with(|archive, _| archive.ping()).await?;
    Ok("ok\n")
}

async fn push_block(State(service): Shared, Path(id): Path<String>, body: Bytes) -> Answer<ReceiptAnswer> {
    let signed = service.with(move |archive, service| archive.ingest(&id, &body, service.clock.now_ms())).await?;
    Ok(Json(ReceiptAnswer {
        number: signed.receipt.number,
        block: signed.receipt.block.to_string(),
        finality: signed.receipt.finality.into(),
        receipt: hex::encode(&encode(&signed)),
    }))
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    from: u32,
}

async fn blocks(
    State(service): Shared,
    Path(id): Path<String>,
    Query(start): Query<Start>,
) -> Answer<Vec<StoredBlock>> {
    Ok(Json(service.with(move |archive, _| archive.blocks(&id, start.from)).await?))
}

async fn events(State(service): Shared, Path(id): Path<String>, Query(start): Query<Start>) -> Answer<EventPage> {
    Ok(Json(service.with(move |archive, _| archive.events(&id, start.from)).await?))
}

async fn trust(State(service): Shared, Path(id): Path<String>) -> Answer<Trust> {
    Ok(Json(service.with(move |archive, service| archive.trust(&id, &service.policy, service.clock.now_ms())).await?))
}

async fn claim(
    State(service): Shared,
    Path(id): Path<String>,
    Json(claim): Json<Claim>,
) -> Result<StatusCode, Refused> {
    service.with(move |archive, _| archive.claim(&id, &claim)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_s: u64,
}

/// Answers at once if there are grants, else when one is issued or after `wait_s`.
async fn open_grants(
    State(service): Shared,
    Path(id): Path<String>,
    Query(After { after, wait_s }): Query<After>,
) -> Answer<Vec<GrantAnswer>> {
    let end = tokio::time::Instant::now() + Duration::from_secs(wait_s.min(MAX_WAIT_S));
    loop {
        let mut issued = std::pin::pin!(service.issued.notified());
        issued.as_mut().enable(); // before looking, so that none is missed
        let id = id.clone();
        let grants =
            service.with(move |archive, service| archive.open_grants(&id, after, service.clock.now_ms())).await?;
        if !grants.is_empty() || timeout_at(end, issued).await.is_err() {
            return Ok(Json(grants));
        }
    }
}

async fn issue(
    State(service): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(order): Json<GrantOrder>,
) -> Result<(StatusCode, Json<GrantAnswer>), Refused> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if !shown.is_some_and(|token| service.operator.is(token)) {
        return Err(Refused::new(StatusCode::UNAUTHORIZED, "the operator's bearer token is needed"));
    }
    let work = move |archive: &mut Archive, service: &Service| {
        archive.issue(&id, &order, &service.fleet, service.clock.now_ms())
    };
    let grant = service.with(work).await?;
    service.issued.notify_waiters();
    Ok((StatusCode::CREATED, Json(grant)))
}

async fn grant(State(service): Shared, Path((id, serial)): Path<(String, u64)>) -> Answer<GrantAnswer> {
    Ok(Json(service.with(move |archive, _| archive.grant(&id, serial)).await?))
}
