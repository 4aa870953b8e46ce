//! One attempt of one claimed delivery: prepare, send, and what follows.
//!
//! Preparing can fail for reasons of our own. What will not get better (a message that is gone, a secret that does not
//! open, a blob that was deleted) ends the delivery with that reason. What may (a busy database, a blob storage that
//! does not answer) is not held against the endpoint: the claim is dropped, and its lease brings it back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

use crate::blob::{BlobError, BlobStore};
use crate::config::Limits;
use crate::crypto::Keyring;
use crate::delivery::client::Client;
use crate::delivery::opening::Opening;
use crate::delivery::policy::{self, Course, Patience};
use crate::delivery::recorder::count;
use crate::delivery::request::Request;
use crate::model::delivery::{Attempt, AttemptResult, Outcome};
use crate::model::endpoint::Policy;
use crate::model::message::Message;
use crate::model::run::BlobKey;
use crate::model::time::{Clock, Timestamp};
use crate::payload;
use crate::store::outbox::Claim;
use crate::store::{OutboxStore, StoreError};

/// How long preparing a request may take.
pub(super) const PREPARING: Duration = Duration::from_secs(5);

/// What attempts work with.
pub(super) struct Tools {
    pub(super) store: Arc<dyn OutboxStore>,
    pub(super) blobs: Arc<dyn BlobStore>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Arc<Limits>,
    pub(super) client: Client,
    pub(super) patience: fn(Policy) -> Patience,
}

/// A request, and what was tried before it.
struct Prepared {
    request: Request,
    earlier: Vec<Attempt>,
}

/// Why there is no request.
enum Unprepared {
    /// There never will be.
    Never(String),
    /// Perhaps next time.
    NotNow(String),
}

/// Makes the attempt. Says what came of it and what follows, or nothing when it could not be made for reasons of our own.
pub(super) async fn make(tools: &Tools, claim: &Claim, opening: &Opening) -> Option<(Attempt, Outcome)> {
    let started_at = tools.clock.now();
    let preparing = tokio::time::timeout(PREPARING, prepare(tools, claim, opening, started_at)).await;
    let began = Instant::now();
    let (sent, result, earlier) = match preparing {
        Ok(Ok(Prepared { request, earlier })) => {
            let sent = request.told();
            let patience = (tools.patience)(claim.endpoint.policy).of(&claim.endpoint.overrides);
            let result = tools.client.send(request, patience).await;
            (Some(sent), result, earlier)
        }
        Ok(Err(Unprepared::Never(reason))) => (None, AttemptResult::Refused { reason }, Vec::new()),
        Ok(Err(Unprepared::NotNow(reason))) => return postpone(claim, &reason),
        Err(_) => return postpone(claim, "preparing the request took too long"),
    };
    let took = began.elapsed();
    metrics::histogram!("runhook_delivery_attempt_seconds").record(took.as_secs_f64());
    let outcome = policy::next(&course(claim), &earlier, &result, tools.clock.now());
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Some((Attempt { number: claim.lease.attempt, started_at, duration_ms, request: sent, result }, outcome))
}

/// What follows an attempt that broke down inside Runhook, so that even then the delivery comes to an end.
pub(super) async fn break_down(tools: &Tools, claim: &Claim) -> (Attempt, Outcome) {
    let result = AttemptResult::Broken { reason: "the attempt broke down inside Runhook; its log says how".to_owned() };
    let now = tools.clock.now();
    let earlier = earlier_attempts(tools, claim).await.unwrap_or_default();
    let outcome = policy::next(&course(claim), &earlier, &result, now);
    (Attempt { number: claim.lease.attempt, started_at: now, duration_ms: 0, request: None, result }, outcome)
}

fn course(claim: &Claim) -> Course<'_> {
    Course::of(&claim.endpoint, claim.delivery.id)
}

async fn prepare(tools: &Tools, claim: &Claim, opening: &Opening, now: Timestamp) -> Result<Prepared, Unprepared> {
    let delivery = &claim.delivery;
    let earlier = earlier_attempts(tools, claim).await?;
    let ready =
        opening.ready(&tools.keyring, &claim.endpoint).map_err(|reason| Unprepared::Never(reason.to_owned()))?;
    let message = message(tools, claim).await?;
    let body = body(tools, Arc::clone(&message), now).await?;
    let body = payload::format::write(&claim.endpoint.format, &message, body, ready.secrets())
        .map_err(|error| Unprepared::Never(error.to_string()))?;
    Ok(Prepared { request: ready.request(delivery.message_id, now, body), earlier })
}

async fn earlier_attempts(tools: &Tools, claim: &Claim) -> Result<Vec<Attempt>, StoreError> {
    if claim.lease.attempt <= 1 {
        return Ok(Vec::new());
    }
    let found = tools.store.delivery(claim.delivery.tenant_id, claim.delivery.id).await?;
    Ok(found.map(|(_, attempts)| attempts).unwrap_or_default())
}

/// The message, as it came with the claim or by itself.
async fn message(tools: &Tools, claim: &Claim) -> Result<Arc<Message>, Unprepared> {
    if let Some(message) = &claim.message {
        return Ok(Arc::clone(message));
    }
    let message = tools.store.message(claim.delivery.tenant_id, claim.delivery.message_id).await?;
    message.map(Arc::new).ok_or_else(|| Unprepared::Never("its message is gone".to_owned()))
}

/// A message's body, where it is.
struct Whole(Arc<Message>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        self.0.body.json.as_bytes()
    }
}

/// The body with fresh links. One without links is not copied.
async fn body(tools: &Tools, message: Arc<Message>, now: Timestamp) -> Result<Bytes, Unprepared> {
    let body = &message.body;
    if body.links.is_empty() {
        return Ok(Bytes::from_owner(Whole(message)));
    }
    let mut links: HashMap<BlobKey, Url> = HashMap::new();
    for link in &body.links {
        if !links.contains_key(&link.key) {
            let url = tools.blobs.link(&link.key, now, tools.limits.link_lasts).await?;
            links.insert(link.key.clone(), url);
        }
    }
    Ok(payload::render(body, &links))
}

impl From<BlobError> for Unprepared {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Unavailable(_) => Self::NotNow(error.to_string()),
            BlobError::Refused(reason) => Self::Never(format!("a blob it links to cannot be read: {reason}")),
        }
    }
}

impl From<StoreError> for Unprepared {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } => Self::Never("its stored message does not decode".to_owned()),
            other => Self::NotNow(other.to_string()),
        }
    }
}

fn postpone<T>(claim: &Claim, reason: &str) -> Option<T> {
    count("postponed");
    tracing::warn!(
        delivery = %claim.delivery.id,
        reason,
        until = %claim.lease.until,
        "a delivery could not be prepared; it will be tried when its lease expires"
    );
    None
}
