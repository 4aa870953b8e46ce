//! Deliveries: one message for one endpoint, and each HTTP request made of it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::id::{DeliveryId, EndpointId, MessageId, TenantId, derived_beside};
use crate::model::message::Source;
use crate::model::time::Timestamp;

/// One message for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: DeliveryId,
    /// What is sent.
    pub message_id: MessageId,
    /// Where to.
    pub endpoint_id: EndpointId,
    /// What it speaks for.
    pub source: Source,
    /// How far it has come.
    pub state: DeliveryState,
    /// Attempts made.
    pub attempts: u32,
    /// When the next attempt is due, while it is pending.
    pub due_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it reached its end.
    pub finished_at: Option<Timestamp>,
}

impl DeliveryId {
    /// The id of this message's delivery to this endpoint. It begins as the message's does.
    #[must_use]
    pub fn of(message: MessageId, endpoint: EndpointId) -> Self {
        Self(derived_beside(message.0, "delivery", &[message.0.as_bytes(), endpoint.0.as_bytes()]))
    }
}

/// How far a delivery has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "reason", rename_all = "lowercase")]
pub enum DeliveryState {
    /// It will be tried, or is being tried.
    Pending,
    /// The endpoint answered 2xx.
    Delivered,
    /// It will not be tried again, and why.
    Failed(String),
}

impl DeliveryState {
    /// The word of the state.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed(_) => "failed",
        }
    }
}

/// One HTTP request of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Which one, from 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What was sent, if a request was made.
    pub request: Option<Sent>,
    /// What came of it.
    pub result: AttemptResult,
}

/// What was sent in an attempt, without a value that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// Scheme, host and port; `/…` when there is a path; the names of query parameters with their values masked.
    pub url: String,
    /// The names of headers, in the order they were sent in.
    pub headers: Vec<String>,
    /// Bytes of the body.
    pub bytes: u64,
}

/// What came of an attempt. Policies decide on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AttemptResult {
    /// The endpoint answered with this status.
    Answered {
        /// The HTTP status.
        status: u16,
        /// In how many seconds it wants to be asked again, if it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
        /// The beginning of its body, without the secrets it was sent.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        excerpt: String,
        /// Why its body was not read to the end, if it was not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cut: Option<Cut>,
    },
    /// No connection: name, route, TLS. Nothing was sent.
    NotConnected {
        /// Why, without the URL.
        reason: String,
    },
    /// Connected, but no answer in time.
    TimedOut,
    /// The connection broke before an answer.
    Broken {
        /// Why, without the URL.
        reason: String,
    },
    /// Nothing was sent, and trying again would not help: the address is not allowed, or no request can be made.
    Refused {
        /// Why, for the operator.
        reason: String,
    },
}

impl AttemptResult {
    /// An answer with this status and nothing else.
    #[must_use]
    pub fn answered(status: u16) -> Self {
        Self::Answered { status, retry_after: None, excerpt: String::new(), cut: None }
    }
}

/// Why the body of an answer was not read to the end. The status counts all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// It has more bytes than are read of one.
    TooLong,
    /// It went on for longer than is waited for it.
    TooSlow,
    /// The connection broke in it, or it was shorter than it had said.
    Broken,
}

/// A delivery taken for sending. Only its holder may record the outcome, and only before it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The delivery's owner.
    pub tenant_id: TenantId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// Who holds it: one value for each claim.
    pub holder: Uuid,
    /// Until when.
    pub until: Timestamp,
    /// Which attempt it is, from 1.
    pub attempt: u32,
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The end: delivered.
    Delivered,
    /// Try again then.
    Retry(Timestamp),
    /// The end: failed, and why.
    Failed(String),
    /// The same, and the endpoint is disabled: nothing will ever be taken there.
    Gone(String),
}
