//! The HTTP API over the archive. It holds no state of its own: any answer is in the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use device_chain::sign::SigningKey;
use event_chain::block::MAX_BLOCK_BYTES;
use event_chain::codec::encode;
use serde::Deserialize;
use tokio::sync::Notify;

use super::archive::{Archive, ArchiveError};
use super::trust::TrustPolicy;
use crate::hex;
use crate::keys::Token;
use crate::wire::{
    Claim, ErrorAnswer, EventPage, GrantAnswer, GrantOrder, MAX_WAIT_S, ReceiptAnswer, StoredBlock, Trust,
};

/// What all requests share.
pub struct Service {
    archive: Mutex<Archive>,
    fleet: SigningKey,
    operator: Token,
    policy: TrustPolicy,
    issued: Notify,
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
            ArchiveError::Damaged(_) | ArchiveError::Store(_) | ArchiveError::Checkpoint(_) => {
                tracing::error!(%error, "the archive failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self(status, answer)
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
        Arc::new(Self { archive: Mutex::new(archive), fleet, operator, policy, issued: Notify::new() })
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
                let answer = ErrorAnswer { error: "internal error".to_owned(), ..ErrorAnswer::default() };
                Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, answer))
            }
        }
    }
}

/// All routes.
pub fn router(service: Arc<Service>) -> Router {
    let vehicle = Router::new()
        .route("/blocks", post(push_block).get(blocks).layer(DefaultBodyLimit::max(MAX_BLOCK_BYTES)))
        .route("/grants", get(open_grants).post(issue))
        .route("/grants/{serial}", get(grant))
        .route("/status", put(claim))
        .route("/events", get(events))
        .route("/trust", get(trust));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .nest("/v1/vehicles/{id}", vehicle)
        .with_state(service)
}

/// Milliseconds of Unix time; 0 before 1970.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

async fn ready(State(service): Shared) -> Result<&'static str, Refused> {
    service.with(|archive, _| archive.ping()).await?;
    Ok("ok\n")
}

async fn push_block(State(service): Shared, Path(id): Path<String>, body: Bytes) -> Answer<ReceiptAnswer> {
    let signed = service.with(move |archive, _| archive.ingest(&id, &body, now_ms())).await?;
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
    Ok(Json(service.with(move |archive, service| archive.trust(&id, &service.policy, now_ms())).await?))
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
        let grants = service.with(move |archive, _| archive.open_grants(&id, after, now_ms())).await?;
        if !grants.is_empty() || tokio::time::timeout_at(end, issued).await.is_err() {
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
        let error = "the operator's bearer token is needed".to_owned();
        return Err(Refused(StatusCode::UNAUTHORIZED, ErrorAnswer { error, ..ErrorAnswer::default() }));
    }
    let work = move |archive: &mut Archive, service: &Service| archive.issue(&id, &order, &service.fleet, now_ms());
    let grant = service.with(work).await?;
    service.issued.notify_waiters();
    Ok((StatusCode::CREATED, Json(grant)))
}

async fn grant(State(service): Shared, Path((id, serial)): Path<(String, u64)>) -> Answer<GrantAnswer> {
    Ok(Json(service.with(move |archive, _| archive.grant(&id, serial)).await?))
}
