//! What rules and endpoints are called.

use async_trait::async_trait;
use runhook::model::endpoint::Endpoint;
use runhook::model::id::{EndpointId, RuleId, TenantId};
use runhook::store::Result;
use runhook::store::names::{EndpointMark, NameStore};

use super::Reference;

#[async_trait]
impl NameStore for Reference {
    async fn rule_keys(&self, tenant: TenantId, ids: &[RuleId]) -> Result<Vec<(RuleId, String)>> {
        Ok(self.look_at(tenant, |tenant| {
            let found = ids.iter().filter_map(|id| tenant.rules.get(id));
            found.map(|rule| (rule.id, rule.key.clone())).collect()
        }))
    }

    async fn endpoints(&self, tenant: TenantId, ids: &[EndpointId]) -> Result<Vec<Endpoint>> {
        Ok(self.look_at(tenant, |tenant| ids.iter().filter_map(|id| tenant.endpoints.get(id)).cloned().collect()))
    }

    async fn endpoint_of_key(&self, tenant: TenantId, key: &str) -> Result<Option<Endpoint>> {
        Ok(self.look_at(tenant, |tenant| {
            tenant.endpoints.values().find(|endpoint| endpoint.key.as_deref() == Some(key)).cloned()
        }))
    }

    async fn endpoint_page(&self, tenant: TenantId, after: Option<&EndpointMark>, limit: u32) -> Result<Vec<Endpoint>> {
        let place = |mark: EndpointMark| match mark {
            EndpointMark::Key(key) => (0, Some(key), None),
            EndpointMark::Id(id) => (1, None, Some(id)),
        };
        let after = after.cloned().map(place);
        let mut found: Vec<Endpoint> = self.look_at(tenant, |tenant| tenant.endpoints.values().cloned().collect());
        found.sort_by_key(|endpoint| place(EndpointMark::of(endpoint)));
        found.retain(|endpoint| after.as_ref().is_none_or(|after| place(EndpointMark::of(endpoint)) > *after));
        found.truncate(limit as usize);
        Ok(found)
    }
}
