//! One attempt of one claimed delivery: prepare, send, record.
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
use crate::crypto::{Keyring, open_target};

use crate::delivery::client::Client;
use crate::delivery::policy::{self, Course, Patience};
use crate::delivery::request::{self, Request};
use crate::model::delivery::{Attempt, AttemptResult, Outcome};
use crate::model::endpoint::Policy;
use crate::model::message::Body;
use crate::model::run::BlobKey;
use crate::model::time::{Clock, Timestamp};
use crate::payload;
use crate::store::outbox::Claim;
use crate::store::{OutboxStore, StoreError};

/// How long preparing a request may take.
pub(super) const PREPARING: Duration = Duration::from_secs(5);

/// How often recording an outcome is tried while the database is busy or its disk is full.
const RECORDINGS: u32 = 5;

/// The longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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

/// Makes the attempt and records what came of it.
pub(super) async fn make(tools: &Tools, claim: &Claim) {
    let started_at = tools.clock.now();
    let preparing = tokio::time::timeout(PREPARING, prepare(tools, claim, started_at)).await;
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
    let attempt = Attempt { number: claim.lease.attempt, started_at, duration_ms, request: sent, result };
    record(tools, claim, attempt, outcome).await;
}

/// Records that the attempt broke down inside Runhook, so that even then the delivery comes to an end.
pub(super) async fn break_down(tools: &Tools, claim: &Claim) {
    let result = AttemptResult::Broken { reason: "the attempt broke down inside Runhook; its log says how".to_owned() };
    let now = tools.clock.now();
    let earlier = earlier_attempts(tools, claim).await.unwrap_or_default();
    let outcome = policy::next(&course(claim), &earlier, &result, now);
    let attempt = Attempt { number: claim.lease.attempt, started_at: now, duration_ms: 0, request: None, result };
    record(tools, claim, attempt, outcome).await;
}

fn course(claim: &Claim) -> Course<'_> {
    Course::of(&claim.endpoint, claim.delivery.id)
}

async fn prepare(tools: &Tools, claim: &Claim, now: Timestamp) -> Result<Prepared, Unprepared> {
    let delivery = &claim.delivery;
    let earlier = earlier_attempts(tools, claim).await?;
    let target = open_target(&tools.keyring, claim.endpoint.id, &claim.endpoint.target)
        .map_err(|_| Unprepared::Never("the endpoint's secrets do not open with this server's keys".to_owned()))?;
    let message = tools.store.message(delivery.tenant_id, delivery.message_id).await?;
    let message = message.ok_or_else(|| Unprepared::Never("its message is gone".to_owned()))?;
    let body = body(tools, &message.body, now).await?;
    let body = payload::format::write(&claim.endpoint.format, &message, body, &target.secrets)
        .map_err(|error| Unprepared::Never(error.to_string()))?;
    let request = request::build(&target, delivery.message_id, now, body)
        .map_err(|reason| Unprepared::Never(reason.to_owned()))?;
    Ok(Prepared { request, earlier })
}

async fn earlier_attempts(tools: &Tools, claim: &Claim) -> Result<Vec<Attempt>, StoreError> {
    if claim.lease.attempt <= 1 {
        return Ok(Vec::new());
    }
    let found = tools.store.delivery(claim.delivery.tenant_id, claim.delivery.id).await?;
    Ok(found.map(|(_, attempts)| attempts).unwrap_or_default())
}

/// The body with fresh links.
async fn body(tools: &Tools, body: &Body, now: Timestamp) -> Result<Bytes, Unprepared> {
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

fn postpone(claim: &Claim, reason: &str) {
    count("postponed");
    tracing::warn!(
        delivery = %claim.delivery.id,
        reason,
        until = %claim.lease.until,
        "a delivery could not be prepared; it will be tried when its lease expires"
    );
}

async fn record(tools: &Tools, claim: &Claim, attempt: Attempt, outcome: Outcome) {
    match store(tools, claim, &attempt, &outcome).await {
        Ok(()) => report(claim, &attempt, &outcome),
        Err(StoreError::Stale(_)) => lost(claim),
        Err(error) => unrecorded(claim, &error),
    }
}

async fn store(tools: &Tools, claim: &Claim, attempt: &Attempt, outcome: &Outcome) -> Result<(), StoreError> {
    let mut left = RECORDINGS;
    loop {
        left = left.saturating_sub(1);
        let pause = match tools.store.finish_attempt(&claim.lease, attempt.clone(), outcome.clone()).await {
            Err(StoreError::Busy { retry_after }) if left > 0 => retry_after.min(LONGEST_PAUSE),
            Err(StoreError::Full | StoreError::Unavailable(_)) if left > 0 => LONGEST_PAUSE,
            result => return result,
        };
        tokio::time::sleep(pause).await;
    }
}

fn report(claim: &Claim, attempt: &Attempt, outcome: &Outcome) {
    match outcome {
        Outcome::Delivered => count("delivered"),
        Outcome::Retry(_) => count("retried"),
        Outcome::Failed(reason) | Outcome::Gone(reason) => {
            count("failed");
            return failed(claim, attempt, reason);
        }
    }
    let delivery = claim.delivery.id;
    tracing::info!(%delivery, attempt = attempt.number, result = ?attempt.result, ?outcome, "attempt made");
}

fn failed(claim: &Claim, attempt: &Attempt, reason: &str) {
    tracing::warn!(delivery = %claim.delivery.id, attempt = attempt.number, reason, "a delivery failed");
}

fn lost(claim: &Claim) {
    count("lost");
    tracing::info!(delivery = %claim.delivery.id, "the lease was lost; whoever has it records the outcome");
}

fn unrecorded(claim: &Claim, error: &StoreError) {
    count("unrecorded");
    let delivery = claim.delivery.id;
    tracing::error!(%delivery, %error, "an outcome could not be recorded; the message will be sent again");
}

fn count(outcome: &'static str) {
    metrics::counter!("runhook_deliveries_total", "outcome" => outcome).increment(1);
}
