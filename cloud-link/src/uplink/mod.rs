//! The uplink that the vehicle gateway runs: store and forward, grants, status.
//!
//! The gateway puts blocks into the [`Window`], again when seals come. [`Uplink::run`] sends them in order until the
//! archive's receipt lets them go. It keeps nothing that it cannot lose: after a crash it sends what the window still
//! holds, and the archive answers a block that it has with the same receipt.

mod window;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use device_chain::grant::SignedGrant;
use reqwest::{Client, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

pub use window::{Entry, Window, WindowError};

use crate::hex;
use crate::wire::{Claim, ErrorAnswer, GrantAnswer, MAX_WAIT_S, ReceiptAnswer};

/// Bytes of an answer at most: 64 grants with room to spare. A longer one is not read to its end.
const MAX_ANSWER: usize = 1 << 17;

/// Where the service is, and how hard to try.
#[derive(Clone, Debug)]
pub struct UplinkConfig {
    /// `http://HOST:PORT`, of the service or of what ends TLS in front of it.
    pub url: Url,
    /// First pause after a failure; each further one is twice as long.
    pub retry: Duration,
    /// Longest pause.
    pub retry_cap: Duration,
    /// How often to look for new blocks.
    pub look: Duration,
    /// How often to tell the gateway's status.
    pub status: Duration,
}

impl UplinkConfig {
    /// Half a second to a minute, five looks and one status a second.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            retry: Duration::from_millis(500),
            retry_cap: Duration::from_secs(60),
            look: Duration::from_millis(200),
            status: Duration::from_secs(1),
        }
    }
}

/// What there is to know of the uplink, for the gateway's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UplinkReport {
    /// The newest block that left the car.
    pub archived: u32,
    /// Blocks in the window.
    pub waiting: usize,
    /// Blocks whose attested records were given up.
    pub thinned: u64,
    /// Receipts verified.
    pub receipts: u64,
    /// Why the last attempt failed; `None` after a success.
    pub error: Option<String>,
}

/// Why an attempt failed.
#[derive(Debug)]
pub enum UplinkError {
    /// The service cannot be reached, or failed itself.
    Unreachable(String),
    /// The service refuses: trying again will not help, but costs little.
    Refused(String),
    /// The archive asks for a block that has left the car: it has lost what it gave a receipt for.
    Lost(u32),
    /// The answer is not in the form of this version.
    Answer(&'static str),
    /// The archive's receipt says that the records that were sent did not arrive.
    Incomplete(u32),
    /// The window.
    Window(WindowError),
}

impl fmt::Display for UplinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "the cloud cannot be reached: {why}"),
            Self::Refused(why) => write!(f, "the cloud refuses: {why}"),
            Self::Lost(number) => write!(f, "the archive has lost block {number}, for which it gave a receipt"),
            Self::Answer(what) => write!(f, "the cloud's answer is no {what}"),
            Self::Incomplete(number) => write!(f, "the records of block {number} were stripped on the way"),
            Self::Window(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for UplinkError {}

impl From<WindowError> for UplinkError {
    fn from(error: WindowError) -> Self {
        Self::Window(error)
    }
}

impl From<reqwest::Error> for UplinkError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// The window, shared with the gateway that fills it.
pub type SharedWindow = Arc<Mutex<Window>>;

/// The car's end of the link.
pub struct Uplink {
    config: UplinkConfig,
    client: Client,
    window: SharedWindow,
    vehicle: String,
    one_correct: usize,
    report: watch::Sender<UplinkReport>,
}

impl Uplink {
    /// An uplink for the car of the window's genesis.
    ///
    /// # Errors
    /// [`UplinkError::Unreachable`] if no HTTP client can be made.
    pub fn new(config: UplinkConfig, window: SharedWindow) -> Result<Self, UplinkError> {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(MAX_WAIT_S + 10)).build()?;
        let (vehicle, one_correct) = {
            let window = window.lock().unwrap_or_else(PoisonError::into_inner);
            (window.vehicle(), window.genesis().quorum().one_correct())
        };
        Ok(Self { config, client, window, vehicle, one_correct, report: watch::Sender::default() })
    }

    /// Follows what the uplink does.
    #[must_use]
    pub fn report(&self) -> watch::Receiver<UplinkReport> {
        self.report.subscribe()
    }

    /// Runs until dropped. Grants go to `grants` as they came: the receiver verifies them. `claims` is what the
    /// gateway says of itself.
    pub async fn run(&self, grants: mpsc::Sender<SignedGrant>, claims: watch::Receiver<Claim>) {
        tokio::join!(self.push_blocks(), self.poll_grants(grants), self.tell_status(claims));
    }

    async fn push_blocks(&self) {
        let mut pushed = Pushed::default();
        let mut pause = Backoff::new(&self.config);
        loop {
            match self.push_next(&mut pushed).await {
                Ok(true) => pause = Backoff::new(&self.config),
                Ok(false) => sleep(self.config.look).await,
                Err(error) => {
                    self.report.send_modify(|report| report.error = Some(error.to_string()));
                    tracing::warn!(%error, "block not archived");
                    sleep(pause.next()).await;
                }
            }
        }
    }

    /// Sends the first block that needs it and takes the receipt. False if there is none.
    ///
    /// # Errors
    /// [`UplinkError`]; to be tried again.
    pub async fn push_next(&self, pushed: &mut Pushed) -> Result<bool, UplinkError> {
        let (sent, one_correct) = (pushed.0.clone(), self.one_correct);
        let Some((number, entry)) = self.with_window(move |window| Ok(next(window, &sent, one_correct))).await? else {
            return Ok(false);
        };
        let bytes = self.with_window(move |window| Ok(window.read(number)?.encode())).await?;
        let request = self.client.post(self.url(&["blocks"])).header("content-type", "application/octet-stream");
        let answer = request.body(bytes).send().await?;
        if answer.status() == StatusCode::CONFLICT {
            return self.conflict(answer, pushed).await.map(|()| true);
        }
        let answer: ReceiptAnswer = read(answer, "receipt").await?;
        let receipt = hex::decode(&answer.receipt).ok_or(UplinkError::Answer("receipt"))?;
        let receipt = self.with_window(move |window| window.settle(&receipt)).await?;
        if receipt.number != number {
            return Err(UplinkError::Answer("receipt for the block that was sent"));
        }
        if entry.complete && !receipt.complete {
            return Err(UplinkError::Incomplete(number));
        }
        pushed.0.insert(number, entry.seals);
        self.tell_progress(pushed).await?;
        Ok(true)
    }

    /// The archive wants an earlier block: from the window's first one again, if that is early enough.
    async fn conflict(&self, answer: Response, pushed: &mut Pushed) -> Result<(), UplinkError> {
        let answer: ErrorAnswer = parse(&body(answer).await?, "reason")?;
        let Some(expected) = answer.expected else { return Err(UplinkError::Refused(answer.error)) };
        let is_here = move |window: &mut Window| match window.blocks().any(|(number, _)| number == expected) {
            false if window.damaged().contains(&expected) => Err(WindowError::Damaged(expected)),
            here => Ok(here),
        };
        if !self.with_window(is_here).await? || pushed.0.is_empty() {
            return Err(UplinkError::Lost(expected));
        }
        pushed.0.clear();
        Ok(())
    }

    async fn tell_progress(&self, pushed: &mut Pushed) -> Result<(), UplinkError> {
        let (archived, waiting, thinned) = self
            .with_window(|window| {
                let archived = window.archived().map_or(0, |receipt| receipt.number);
                Ok((archived, window.blocks().count(), window.thinned()))
            })
            .await?;
        pushed.0.retain(|number, _| *number > archived);
        self.report.send_modify(|report| {
            *report = UplinkReport { archived, waiting, thinned, receipts: report.receipts + 1, error: None };
        });
        Ok(())
    }

    async fn poll_grants(&self, grants: mpsc::Sender<SignedGrant>) {
        let mut after = 0;
        let mut pause = Backoff::new(&self.config);
        loop {
            match self.open_grants(after).await {
                Ok(answers) => {
                    pause = Backoff::new(&self.config);
                    for (serial, grant) in answers {
                        after = after.max(serial);
                        if grants.send(grant).await.is_err() {
                            return; // the gateway is going
                        }
                    }
                    sleep(self.config.look).await; // the service waits for a grant; one that does not is not to be flooded
                }
                Err(error) => {
                    tracing::debug!(%error, "no grants");
                    sleep(pause.next()).await;
                }
            }
        }
    }

    /// Grants above a serial; waits for one.
    async fn open_grants(&self, after: u64) -> Result<Vec<(u64, SignedGrant)>, UplinkError> {
        let query = [("after", after), ("wait_s", MAX_WAIT_S)];
        let mut url = self.url(&["grants"]);
        url.query_pairs_mut().extend_pairs(query.map(|(name, value)| (name, value.to_string())));
        let answers: Vec<GrantAnswer> = read(self.client.get(url).send().await?, "list of grants").await?;
        let decode = |answer: GrantAnswer| {
            let grant = hex::decode(&answer.grant).and_then(|bytes| device_chain::codec::decode(&bytes));
            Ok((answer.serial, grant.ok_or(UplinkError::Answer("grant"))?))
        };
        answers.into_iter().map(decode).collect()
    }

    async fn tell_status(&self, claims: watch::Receiver<Claim>) {
        let mut pause = Backoff::new(&self.config);
        loop {
            let claim = claims.borrow().clone();
            match self.put_status(&claim).await {
                Ok(()) => {
                    pause = Backoff::new(&self.config);
                    sleep(self.config.status).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "status not told");
                    sleep(pause.next()).await;
                }
            }
        }
    }

    async fn put_status(&self, claim: &Claim) -> Result<(), UplinkError> {
        let answer = self.client.put(self.url(&["status"])).json(claim).send().await?;
        accept(answer).await.map(|_| ())
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.config.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v1", "vehicles", &self.vehicle]).extend(path);
        }
        url
    }

    /// Works on the window's files away from the threads that serve sockets.
    async fn with_window<T, F>(&self, work: F) -> Result<T, UplinkError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Window) -> Result<T, WindowError> + Send + 'static,
    {
        let window = Arc::clone(&self.window);
        let job = tokio::task::spawn_blocking(move || work(&mut window.lock().unwrap_or_else(PoisonError::into_inner)));
        match job.await {
            Ok(done) => Ok(done?),
            Err(error) => Err(UplinkError::Refused(error.to_string())),
        }
    }
}

/// Blocks in the window that have a provisional receipt, with the seals that they had then.
#[derive(Debug, Default)]
pub struct Pushed(BTreeMap<u32, usize>);

/// The first block that has seals which the archive has not seen. One with too few seals holds up those behind it.
fn next(window: &Window, pushed: &BTreeMap<u32, usize>, one_correct: usize) -> Option<(u32, Entry)> {
    let unseen = |(number, entry): &(u32, &Entry)| pushed.get(number).is_none_or(|seals| *seals < entry.seals);
    let (number, entry) = window.blocks().find(unseen)?;
    (entry.seals >= one_correct).then_some((number, *entry))
}

/// A successful answer as it is.
async fn accept(answer: Response) -> Result<Response, UplinkError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = body(answer).await?;
    let reason = parse::<ErrorAnswer>(&body, "reason")
        .map_or_else(|_| String::from_utf8_lossy(&body).into_owned(), |answer| answer.error);
    let reason = format!("{status}: {reason}");
    Err(if status.is_server_error() { UplinkError::Unreachable(reason) } else { UplinkError::Refused(reason) })
}

/// A successful answer's body.
async fn read<T: DeserializeOwned>(answer: Response, what: &'static str) -> Result<T, UplinkError> {
    parse(&body(accept(answer).await?).await?, what)
}

fn parse<T: DeserializeOwned>(body: &[u8], what: &'static str) -> Result<T, UplinkError> {
    serde_json::from_slice(body).map_err(|_| UplinkError::Answer(what))
}

/// The body, as far as it is not longer than any answer of the service.
async fn body(mut answer: Response) -> Result<Vec<u8>, UplinkError> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if body.len() + part.len() > MAX_ANSWER {
            return Err(UplinkError::Answer("answer of a sensible length"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// Pauses that double.
struct Backoff {
    next: Duration,
    cap: Duration,
}

impl Backoff {
    fn new(config: &UplinkConfig) -> Self {
        Self { next: config.retry, cap: config.retry_cap }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next.min(self.cap);
        self.next = pause.saturating_mul(2);
        pause
    }
}
