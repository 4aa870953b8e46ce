//! A probe: one attempt that somebody asked for, of a message that is no rule's.
//!
//! It is made like any other attempt (format, secrets, signatures, guard, client and patience are those of deliveries), and
//! nothing is recorded of it: neither a failure nor an answer of 410 has consequences.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::crypto::Keyring;
use crate::delivery::client::Client;
use crate::delivery::opening::open;
use crate::delivery::policy::patience;
use crate::delivery::request::Request;
use crate::model::delivery::{AttemptResult, Sent};
use crate::model::endpoint::Endpoint;
use crate::model::id::MessageId;
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::payload::{self, sample};

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What was sent; nothing when no request could be made.
    pub sent: Option<Sent>,
    /// What came of it.
    pub result: AttemptResult,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// Sends the sample message, under this id, to an endpoint.
pub async fn probe(client: &Client, keyring: &Keyring, endpoint: &Endpoint, id: MessageId, at: Timestamp) -> Probe {
    match sample::message(endpoint.tenant_id, id, at) {
        Ok(message) => send(client, keyring, endpoint, &message, at).await,
        Err(error) => refused(error.to_string()),
    }
}

/// Sends a message without links to an endpoint.
pub async fn send(client: &Client, keyring: &Keyring, endpoint: &Endpoint, message: &Message, at: Timestamp) -> Probe {
    let request = match prepare(keyring, endpoint, message, at) {
        Ok(request) => request,
        Err(reason) => return refused(reason),
    };
    let sent = request.told();
    let began = Instant::now();
    let result = client.send(request, patience(endpoint.policy).of(&endpoint.overrides)).await;
    Probe { sent: Some(sent), result, duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) }
}

fn refused(reason: String) -> Probe {
    Probe { sent: None, result: AttemptResult::Refused { reason }, duration_ms: 0 }
}

fn prepare(keyring: &Keyring, endpoint: &Endpoint, message: &Message, at: Timestamp) -> Result<Request, String> {
    let ready = open(keyring, endpoint)?;
    let body = payload::render(&message.body, &HashMap::new());
    let body = payload::format::write(&endpoint.format, message, body, ready.secrets());
    let body = body.map_err(|error| error.to_string())?;
    Ok(ready.request(message.id, at, body))
}
