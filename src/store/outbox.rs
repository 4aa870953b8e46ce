//! Messages, deliveries and attempts.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::audit::Entry;
use crate::model::delivery::{Attempt, Delivery, Lease, Outcome};
use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::health::{Circuit, Turn};
use crate::model::id::{DeliveryId, EndpointId, MessageId, RuleId, TenantId};
use crate::model::message::Message;
use crate::model::pace::Pace;
use crate::model::time::Timestamp;
use crate::store::failed::Statuses;
use crate::store::{Result, StoreError};

/// A delivery taken for sending.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The right to record its outcome.
    pub lease: Lease,
    /// The delivery.
    pub delivery: Delivery,
    /// Where it goes. Claimed together, deliveries to one endpoint share it.
    pub endpoint: Arc<Endpoint>,
    /// What is sent, unless it is so large that it is better read alone. Deliveries of one message share it.
    pub message: Option<Arc<Message>>,
}

/// An endpoint that pending deliveries wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Which.
    pub endpoint_id: EndpointId,
    /// When the first of those that were never tried can be claimed.
    pub first_at: Option<Timestamp>,
    /// When the first of those that were tried can be claimed.
    pub retry_at: Option<Timestamp>,
    /// How fast it may be sent to.
    pub pace: Pace,
    /// Its circuit, if that is open.
    pub circuit: Option<Circuit>,
}

/// How many deliveries to one endpoint a claim takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which.
    pub endpoint_id: EndpointId,
    /// Of those that were never tried.
    pub firsts: u32,
    /// Of those that were tried.
    pub retries: u32,
}

/// An attempt that was made, and what follows.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The right to record it.
    pub lease: Lease,
    /// The attempt.
    pub attempt: Attempt,
    /// What follows.
    pub outcome: Outcome,
    /// What follows for its endpoint.
    pub aftermath: Aftermath,
}

impl Finished {
    /// An attempt from which nothing follows for its endpoint, but what its result and its outcome say.
    #[must_use]
    pub fn new(lease: Lease, attempt: Attempt, outcome: Outcome) -> Self {
        Self { lease, attempt, outcome, aftermath: Aftermath::default() }
    }
}

/// What follows from an attempt for its endpoint.
#[derive(Debug, Clone, Default)]
pub struct Aftermath {
    /// What becomes of its circuit.
    pub turn: Option<Turn>,
    /// That it is given up.
    pub given_up: Option<GivenUp>,
    /// What is told if this attempt is what disables it.
    pub notice: Option<Notice>,
    /// What the audit log says then.
    pub told: Option<Entry>,
    /// What has waited for it for too long.
    pub overdue: Option<Overdue>,
}

/// Deliveries that have waited too long for an endpoint that does not answer: they fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// Those that could have been claimed since then or before.
    pub ready_until: Timestamp,
    /// When it is noticed.
    pub at: Timestamp,
    /// Why they fail.
    pub reason: String,
}

/// An endpoint that has failed for too long: it is disabled if it still fails since then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Since when.
    pub failing_since: Timestamp,
    /// What becomes of it.
    pub disabled: Disabled,
}

/// What is told of an endpoint: a message like any other, stored with what it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The key of the endpoint that it is for, of the same tenant. Without such a one nothing is told.
    pub to: String,
    /// The message.
    pub message: Message,
}

/// Who claims deliveries, or takes projects, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Claimant {
    /// One value for each claim of deliveries; a scheduler's own for projects.
    pub holder: Uuid,
    /// The present.
    pub now: Timestamp,
    /// When the leases expire.
    pub until: Timestamp,
}

/// Which deliveries a page lists or a replay takes, newest first.
#[derive(Debug, Clone, Default)]
pub struct DeliveryQuery {
    /// In this state: `pending`, `delivered` or `failed`.
    pub state: Option<String>,
    /// Of this rule.
    pub rule_id: Option<RuleId>,
    /// To this endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Made at or after this instant.
    pub since: Option<Timestamp>,
    /// Made before this instant.
    pub until: Option<Timestamp>,
    /// Whose last attempt was answered with one of these.
    pub statuses: Option<Statuses>,
    /// Made before this delivery was (keyset: creation, then id).
    pub before: Option<(Timestamp, DeliveryId)>,
    /// At most this many.
    pub limit: u32,
}

/// Records attempts by `record`, which records all or none. Where one cannot be stored, or its lease is lost, they are recorded
/// one by one, so that it fails alone.
pub(super) async fn record_apart<'a, F>(
    finished: &'a [Finished],
    record: impl Fn(&'a [Finished]) -> F,
) -> Result<Vec<Result<()>>>
where
    F: Future<Output = Result<Vec<Result<()>>>>,
{
    match record(finished).await {
        Err(StoreError::Internal(_) | StoreError::Stale(_)) if finished.len() > 1 => {
            let mut answers = Vec::with_capacity(finished.len());
            for one in finished.chunks(1) {
                answers.push(record(one).await.and_then(|answers| answers.into_iter().collect()));
            }
            Ok(answers)
        }
        Err(error @ (StoreError::Internal(_) | StoreError::Stale(_))) => Ok(vec![Err(error)]),
        answered => answered,
    }
}

/// Messages, deliveries and attempts.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// The endpoints that pending deliveries wait for, by their ids, `limit` of those after `after`.
    async fn waiting(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<Waiting>>;

    /// Leases pending deliveries that are due and not leased, no more to each endpoint than its share, those first that
    /// can be claimed longest. No endpoint has two shares. What an alert says waits for what it said to the same endpoint
    /// before, until that is not pending any more: until then it is due to nobody.
    async fn claim_deliveries(&self, claimant: Claimant, shares: &[Share]) -> Result<Vec<Claim>>;

    /// Records attempts and what follows, for deliveries and endpoints, all in one transaction: since when an endpoint fails
    /// (the first failure after the last success), its circuit, that it is disabled, the message that tells it and its entry in
    /// the audit log, and the end of what has waited for it for too long. A message is stored once however many attempts disable an endpoint, and not if its receiver is that endpoint, is
    /// disabled or is not there. The answers are in the order of the attempts: `Stale`
    /// where the lease is lost, another error where that one could not be stored; then nothing was recorded of it. An
    /// error for all means that nothing was recorded of any, or that nobody knows.
    async fn finish_attempts(&self, finished: &[Finished]) -> Result<Vec<Result<()>>>;

    /// Gives leases up: their deliveries can be claimed again at once, as if they had not been. Of a lease that is lost nothing
    /// is left to give up.
    async fn put_back(&self, leases: &[Lease]) -> Result<()>;

    /// When the next pending delivery is due or its lease expires.
    async fn next_due(&self) -> Result<Option<Timestamp>>;

    /// A message.
    async fn message(&self, tenant: TenantId, id: MessageId) -> Result<Option<Message>>;

    /// A delivery with its attempts, first first.
    async fn delivery(&self, tenant: TenantId, id: DeliveryId) -> Result<Option<(Delivery, Vec<Attempt>)>>;

    /// A page of deliveries.
    async fn list_deliveries(&self, tenant: TenantId, query: &DeliveryQuery) -> Result<Vec<Delivery>>;

    /// Makes finished deliveries pending again, due now; attempts go on counting. How many there were.
    async fn replay(&self, tenant: TenantId, ids: &[DeliveryId], now: Timestamp, told: Option<Entry>) -> Result<u64>;
}
