//! What rules and endpoints are called.

use async_trait::async_trait;

use crate::model::endpoint::Endpoint;
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::store::Result;
use crate::store::names::{EndpointMark, NameStore};
use crate::store::records::{endpoint, rule_key};
use crate::store::row::readable;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::row::id_list;

const RULES: &str =
    "SELECT rule_id, key FROM rules WHERE tenant_id = $1 AND rule_id IN (SELECT unhex(value) FROM json_each($2))";

const ENDPOINTS: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1 AND endpoint_id IN (SELECT unhex(value) FROM json_each($2))";

const OF_KEY: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1 AND key = $2";

const NAMED: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1 AND key > $2 ORDER BY key LIMIT $3";

const UNNAMED: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1 AND key IS NULL AND endpoint_id > $2 ORDER BY endpoint_id LIMIT $3";

#[async_trait]
impl NameStore for SqliteStore {
    async fn rule_keys(&self, tenant: TenantId, ids: &[RuleId]) -> Result<Vec<(RuleId, String)>> {
        let ids = id_list(ids.iter().map(|id| id.0));
        sqlx::query(RULES).bind(tenant.0).bind(ids).fetch_all(&self.readers).await?.iter().map(rule_key).collect()
    }

    async fn endpoints(&self, tenant: TenantId, ids: &[EndpointId]) -> Result<Vec<Endpoint>> {
        let ids = id_list(ids.iter().map(|id| id.0));
        readable(&sqlx::query(ENDPOINTS).bind(tenant.0).bind(ids).fetch_all(&self.readers).await?, endpoint)
    }

    async fn endpoint_of_key(&self, tenant: TenantId, key: &str) -> Result<Option<Endpoint>> {
        let row = sqlx::query(OF_KEY).bind(tenant.0).bind(key).fetch_optional(&self.readers).await?;
        row.as_ref().map(endpoint).transpose()
    }

    async fn endpoint_page(&self, tenant: TenantId, after: Option<&EndpointMark>, limit: u32) -> Result<Vec<Endpoint>> {
        let mut rows = Vec::new();
        if let Some(key) = EndpointMark::key_before(after) {
            let query = sqlx::query(NAMED).bind(tenant.0).bind(key).bind(limit);
            rows = query.fetch_all(&self.readers).await?;
        }
        let left = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        if left > 0 {
            let query = sqlx::query(UNNAMED).bind(tenant.0).bind(EndpointMark::id_before(after).0).bind(left);
            rows.extend(query.fetch_all(&self.readers).await?);
        }
        readable(&rows, endpoint)
    }
}

/// Statements that requests run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 5] = [
    (RULES, "SEARCH rules USING PRIMARY KEY (tenant_id=? AND rule_id=?)"),
    (ENDPOINTS, "SEARCH endpoints USING PRIMARY KEY (tenant_id=? AND endpoint_id=?)"),
    (OF_KEY, "SEARCH endpoints USING INDEX endpoints_by_key (tenant_id=? AND key=?)"),
    (NAMED, "SEARCH endpoints USING INDEX endpoints_by_key (tenant_id=? AND key>?)"),
    (UNNAMED, "SEARCH endpoints USING PRIMARY KEY (tenant_id=? AND endpoint_id>?)"),
];
