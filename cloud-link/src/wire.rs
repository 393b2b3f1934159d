//! What goes over HTTP as JSON. Blocks go as their canonical bytes.

use serde::{Deserialize, Serialize};

/// Seconds that a request for grants waits for one at most; also what a service asked to stop may take.
pub const MAX_WAIT_S: u64 = 5;

/// A grant's action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Open the doors.
    Unlock,
    /// Close them.
    Lock,
}

impl From<Action> for device_chain::grant::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Unlock => Self::Unlock,
            Action::Lock => Self::Lock,
        }
    }
}

/// How sure a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finality {
    /// Sealed by f + 1 validators.
    Provisional,
    /// Sealed by a quorum, or followed by a block that is.
    Final,
}

impl From<device_chain::block::Finality> for Finality {
    fn from(finality: device_chain::block::Finality) -> Self {
        match finality {
            device_chain::block::Finality::Provisional => Self::Provisional,
            device_chain::block::Finality::Final => Self::Final,
        }
    }
}

/// Answer to a block: the receipt, readable and signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptAnswer {
    /// The block.
    pub number: u32,
    /// Its hash, hexadecimal.
    pub block: String,
    /// How sure it is.
    pub finality: Finality,
    /// Canonical bytes of [`event_chain::receipt::SignedReceipt`], hexadecimal.
    pub receipt: String,
}

/// Answer to a request that is not granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// What is wrong.
    pub error: String,
    /// The number of the block that is to come (409).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u32>,
    /// The hash of the stored block with this number (409).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
    /// The hash of the block sent (409).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
}

/// A stored block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBlock {
    /// Its number.
    pub number: u32,
    /// Its hash, hexadecimal.
    pub block: String,
    /// How sure it is.
    pub finality: Finality,
    /// Canonical bytes, hexadecimal.
    pub bytes: String,
    /// Canonical bytes of the signed receipt, hexadecimal.
    pub receipt: String,
}

/// What an operator orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantOrder {
    /// What it allows.
    pub action: Action,
    /// Commitment to the account of whoever holds it, 64 hexadecimal digits; no personal data.
    pub holder: String,
    /// How many heights it is good for, from the last archived one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_heights: Option<u32>,
    /// Instead: the last height at which it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u32>,
}

/// What became of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrantState {
    /// Not used in any archived block.
    Issued,
    /// Used.
    Used,
    /// Its last height is archived, and it was not used.
    Expired,
}

/// A grant as the service knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantAnswer {
    /// Unique per vehicle, rising.
    pub serial: u64,
    /// First height.
    pub not_before: u32,
    /// Last height.
    pub not_after: u32,
    /// What became of it.
    pub state: GrantState,
    /// The height at which the mesh used it.
    pub used_height: Option<u32>,
    /// Canonical bytes of [`device_chain::grant::SignedGrant`], hexadecimal.
    pub grant: String,
}

/// The mode that a gateway claims. A claim can lower trust, never raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A quorum is there.
    Trusted,
    /// A majority only, on a synchrony bound.
    Degraded,
    /// No quorum: no approvals.
    Isolated,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Trusted, Self::Degraded, Self::Isolated];

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Degraded => "degraded",
            Self::Isolated => "isolated",
        }
    }

    /// The mode of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// The gateway's own view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its mode.
    pub mode: Mode,
    /// Its height.
    pub height: u32,
    /// Validators that it hears, itself included.
    pub peers: u8,
}

/// A line of a car's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The block that holds it.
    pub block: u32,
    /// How sure that block is.
    pub finality: Finality,
    /// `quorum` or `gateway-alone`.
    pub attestation: String,
    /// The height of the decision; absent if the gateway alone attests it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// The gateway's clock, milliseconds of Unix time: of the record, or of the block.
    pub time_ms: u64,
    /// What happened: `use-grant`, `record`, `alarm`, `event-block`, `readmit`, `signal`, …
    pub kind: String,
    /// The particulars.
    pub detail: serde_json::Value,
}

/// A page of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// In order.
    pub events: Vec<Event>,
    /// The block to ask for next.
    pub next: u32,
}

/// The answer to "can this car be trusted now?".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The answer.
    pub trusted: bool,
    /// `trusted`, `degraded` or `isolated`; `unknown` without fresh proof.
    pub mode: String,
    /// How sure the newest block is; absent if there is none.
    pub finality: Option<Finality>,
    /// The last archived height.
    pub height: u32,
    /// The newest archived block.
    pub block: u32,
    /// Age of the newest final block, milliseconds; absent if there is none.
    pub age_ms: Option<u64>,
    /// The reasons, as sentences.
    pub why: Vec<String>,
}
