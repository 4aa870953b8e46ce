//! Messages, deliveries and attempts.

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::delivery::{Attempt, Delivery, Lease, Outcome};
use crate::model::endpoint::Endpoint;
use crate::model::id::{DeliveryId, EndpointId, MessageId, RuleId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::failed::Statuses;

/// A delivery taken for sending.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The right to record its outcome.
    pub lease: Lease,
    /// The delivery.
    pub delivery: Delivery,
    /// Where it goes.
    pub endpoint: Endpoint,
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

/// Messages, deliveries and attempts.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Leases up to `limit` pending deliveries that are due and not leased, oldest due first; none to the endpoints in
    /// `crowded`, which have enough under way.
    async fn claim_deliveries(&self, claimant: Claimant, limit: u32, crowded: &[EndpointId]) -> Result<Vec<Claim>>;

    /// Records an attempt and what follows. `Stale` if the lease is lost: then nothing was recorded.
    async fn finish_attempt(&self, lease: &Lease, attempt: Attempt, outcome: Outcome) -> Result<()>;

    /// When the next pending delivery to an endpoint that is not in `crowded` is due or its lease expires.
    async fn next_due(&self, crowded: &[EndpointId]) -> Result<Option<Timestamp>>;

    /// A message.
    async fn message(&self, tenant: TenantId, id: MessageId) -> Result<Option<Message>>;

    /// A delivery with its attempts, first first.
    async fn delivery(&self, tenant: TenantId, id: DeliveryId) -> Result<Option<(Delivery, Vec<Attempt>)>>;

    /// A page of deliveries.
    async fn list_deliveries(&self, tenant: TenantId, query: &DeliveryQuery) -> Result<Vec<Delivery>>;

    /// Makes finished deliveries pending again, due now; attempts go on counting. How many there were.
    async fn replay(&self, tenant: TenantId, ids: &[DeliveryId], now: Timestamp) -> Result<u64>;
}
