//! Deliveries that failed: what waits for somebody to look at it, and to send it again once the reason is gone.

use async_trait::async_trait;

use crate::model::delivery::Delivery;
use crate::model::id::{DeliveryId, EndpointId, RuleId, TenantId};
use crate::model::message::Source;
use crate::model::time::Timestamp;
use crate::store::Result;

/// HTTP statuses, both ends included.
pub type Statuses = (u16, u16);

/// Which failed deliveries are meant.
#[derive(Debug, Clone, Default)]
pub struct FailedQuery {
    /// Of this rule.
    pub rule_id: Option<RuleId>,
    /// To this endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Whose last attempt was answered with one of these.
    pub statuses: Option<Statuses>,
    /// Failed at or after this instant.
    pub since: Option<Timestamp>,
    /// Failed before this instant.
    pub until: Option<Timestamp>,
    /// Failed before this delivery did (keyset: end, then id).
    pub before: Option<(Timestamp, DeliveryId)>,
    /// At most this many.
    pub limit: u32,
}

/// What failed of one rule at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCount {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// The rule or the alert.
    pub source: Source,
    /// How many deliveries.
    pub count: u64,
    /// When the last of them failed.
    pub last_at: Timestamp,
    /// Why that one did.
    pub last_reason: String,
}

/// Failed deliveries.
#[async_trait]
pub trait FailedStore: Send + Sync {
    /// A page of failed deliveries, the last that failed first.
    async fn failed_deliveries(&self, tenant: TenantId, query: &FailedQuery) -> Result<Vec<Delivery>>;

    /// The failed deliveries of each endpoint and rule, the most first, among the `limit` that failed last; those whose
    /// end is `before` are not asked about.
    async fn count_failed(&self, tenant: TenantId, query: &FailedQuery) -> Result<Vec<FailedCount>>;
}
