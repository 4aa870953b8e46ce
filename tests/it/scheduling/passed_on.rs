//! What a store with faults passes on as it is, and no scheduler asks for.

use async_trait::async_trait;
use runhook::model::delivery::Delivery;
use runhook::model::endpoint::Endpoint;
use runhook::model::id::{EndpointId, RuleId, TenantId};
use runhook::store::Result;
use runhook::store::failed::{FailedCount, FailedQuery, FailedStore};
use runhook::store::names::{EndpointMark, NameStore};

use super::faults::FaultyStore;

#[async_trait]
impl NameStore for FaultyStore {
    async fn rule_keys(&self, tenant: TenantId, ids: &[RuleId]) -> Result<Vec<(RuleId, String)>> {
        self.real.rule_keys(tenant, ids).await
    }

    async fn endpoints(&self, tenant: TenantId, ids: &[EndpointId]) -> Result<Vec<Endpoint>> {
        self.real.endpoints(tenant, ids).await
    }

    async fn endpoint_of_key(&self, tenant: TenantId, key: &str) -> Result<Option<Endpoint>> {
        self.real.endpoint_of_key(tenant, key).await
    }

    async fn endpoint_page(&self, of: TenantId, after: Option<&EndpointMark>, limit: u32) -> Result<Vec<Endpoint>> {
        self.real.endpoint_page(of, after, limit).await
    }
}

#[async_trait]
impl FailedStore for FaultyStore {
    async fn failed_deliveries(&self, tenant: TenantId, query: &FailedQuery) -> Result<Vec<Delivery>> {
        self.real.failed_deliveries(tenant, query).await
    }

    async fn count_failed(&self, tenant: TenantId, query: &FailedQuery) -> Result<Vec<FailedCount>> {
        self.real.count_failed(tenant, query).await
    }
}
