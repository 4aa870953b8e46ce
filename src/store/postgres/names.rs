//! What rules and endpoints are called.

use async_trait::async_trait;

use crate::model::endpoint::Endpoint;
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::store::Result;
use crate::store::names::{EndpointMark, NameStore};
use crate::store::postgres::{PgStore, ids, text};
use crate::store::records::{endpoint, rule_key};
use crate::store::row::readable;

const RULES: &str = "SELECT rule_id, key FROM rules WHERE tenant_id = $1 AND rule_id = ANY($2::uuid[])";

const ENDPOINTS: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1 AND endpoint_id = ANY($2::uuid[])";

const OF_KEY: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1 AND key = $2";

const NAMED: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1 AND key COLLATE \"C\" > $2 ORDER BY key COLLATE \"C\" LIMIT $3";

const UNNAMED: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1 AND key IS NULL AND endpoint_id > $2 ORDER BY endpoint_id LIMIT $3";

#[async_trait]
impl NameStore for PgStore {
    async fn rule_keys(&self, tenant: TenantId, rules: &[RuleId]) -> Result<Vec<(RuleId, String)>> {
        self.read(async {
            let query = sqlx::query(RULES).bind(tenant.0).bind(ids(rules, |rule| rule.0));
            query.fetch_all(&mut *self.reader().await?).await?.iter().map(rule_key).collect()
        })
        .await
    }

    async fn endpoints(&self, tenant: TenantId, endpoints: &[EndpointId]) -> Result<Vec<Endpoint>> {
        self.read(async {
            let query = sqlx::query(ENDPOINTS).bind(tenant.0).bind(ids(endpoints, |endpoint| endpoint.0));
            readable(&query.fetch_all(&mut *self.reader().await?).await?, endpoint)
        })
        .await
    }

    async fn endpoint_of_key(&self, tenant: TenantId, key: &str) -> Result<Option<Endpoint>> {
        self.read(async {
            let query = sqlx::query(OF_KEY).bind(tenant.0).bind(text(key));
            query.fetch_optional(&mut *self.reader().await?).await?.as_ref().map(endpoint).transpose()
        })
        .await
    }

    async fn endpoint_page(&self, tenant: TenantId, after: Option<&EndpointMark>, limit: u32) -> Result<Vec<Endpoint>> {
        self.read(async {
            let mut reader = self.reader().await?;
            let mut rows = Vec::new();
            if let Some(key) = EndpointMark::key_before(after) {
                let query = sqlx::query(NAMED).bind(tenant.0).bind(text(key)).bind(i64::from(limit));
                rows = query.fetch_all(&mut *reader).await?;
            }
            let left = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
            if left > 0 {
                let query = sqlx::query(UNNAMED).bind(tenant.0).bind(EndpointMark::id_before(after).0);
                rows.extend(query.bind(i64::from(left)).fetch_all(&mut *reader).await?);
            }
            readable(&rows, endpoint)
        })
        .await
    }
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[
    (RULES, &["rules_pkey"]),
    (ENDPOINTS, &["endpoints_pkey"]),
    (OF_KEY, &["endpoints_by_key"]),
    (UNNAMED, &["endpoints_pkey"]),
];
