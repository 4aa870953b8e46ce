//! The rows that a revision of rules reads and writes.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::model::id::{EndpointId, ProjectId, RuleId, TenantId};
use crate::model::rule::Rule;
use crate::model::time::Timestamp;
use crate::model::window::{Cursor, GroupKey, Seq};
use crate::store::failure::is_repeat;
use crate::store::placement::{Ground, Moves};
use crate::store::postgres::session::Session;
use crate::store::postgres::{endpoints, ids, outbox, rules, standing};
use crate::store::revision::{EndpointRow, RuleRow, RuleRows};
use crate::store::row::readable;
use crate::store::{Result, StoreError, records};

const ASK_FOR: &str = "UPDATE counters SET value = $1 WHERE name = 'least_version' AND value < $1";

const BUMP_VERSION: &str = "UPDATE counters SET value = value + 1 WHERE name = 'rules_version'";

const DELETE: &str = "DELETE FROM rules WHERE tenant_id = $1 AND rule_id = ANY($2::uuid[])";

const UPSERT: &str = "INSERT INTO rules (tenant_id, rule_id, key, state, rule) \
     SELECT $1, rule_id, key, state, rule FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) \
     AS put (rule_id, key, state, rule) \
     ON CONFLICT (tenant_id, rule_id) DO UPDATE SET key = excluded.key, state = excluded.state, rule = excluded.rule";

const GROUNDS: &str = "SELECT project_id, name, last_seq FROM projects WHERE tenant_id = $1";

/// The last change before an instant. Changes never go back in time within a project, so the newest that is old enough
/// is found from the end.
const BEFORE: &str = "SELECT seq FROM changes WHERE tenant_id = $1 AND project_id = $2 AND changed_at < $3 \
     ORDER BY seq DESC LIMIT 1";

#[async_trait]
impl RuleRows for Session {
    async fn grounds(&mut self, tenant: TenantId) -> Result<Vec<Ground>> {
        sqlx::query(GROUNDS).bind(tenant.0).fetch_all(self).await?.iter().map(records::ground).collect()
    }

    async fn rules(&mut self, tenant: TenantId) -> Result<Vec<Rule>> {
        readable(&sqlx::query(rules::LIST).bind(tenant.0).fetch_all(self).await?, records::rule)
    }

    async fn cursors(&mut self, tenant: TenantId) -> Result<HashMap<GroupKey, Cursor>> {
        standing::cursors(self, tenant).await
    }

    async fn starts(&mut self, tenant: TenantId) -> Result<HashMap<(ProjectId, RuleId), Seq>> {
        standing::starts(self, tenant).await
    }

    async fn last_before(&mut self, tenant: TenantId, project: ProjectId, instant: Timestamp) -> Result<Seq> {
        let query = sqlx::query_scalar(BEFORE).bind(tenant.0).bind(project.0).bind(instant.0);
        Ok(query.fetch_optional(self).await?.unwrap_or(0))
    }

    async fn remove_rules(&mut self, tenant: TenantId, rules: &[RuleId], now: Timestamp) -> Result<()> {
        let rules = ids(rules, |rule| rule.0);
        sqlx::query(DELETE).bind(tenant.0).bind(&rules).execute(&mut *self).await?;
        standing::forget_rules(self, tenant, &rules).await?;
        endpoints::remove_of_rules(self, tenant, &rules).await?;
        outbox::fail_sources(self, tenant, &rules, now, records::RULE_REMOVED).await
    }

    async fn endpoints_there(&mut self, tenant: TenantId, endpoints: &[EndpointId]) -> Result<Vec<EndpointId>> {
        endpoints::there(self, tenant, endpoints).await
    }

    async fn remove_endpoints(&mut self, tenant: TenantId, endpoints: &[EndpointId], now: Timestamp) -> Result<()> {
        endpoints::remove(self, tenant, endpoints).await?;
        outbox::fail_endpoints(self, tenant, endpoints, now, records::ENDPOINT_REMOVED).await
    }

    async fn put_rules(&mut self, tenant: TenantId, rows: &[RuleRow<'_>]) -> Result<()> {
        let put = sqlx::query(UPSERT)
            .bind(tenant.0)
            .bind(rows.iter().map(|row| row.rule.id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.rule.key.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.state.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.text.as_str()).collect::<Vec<_>>())
            .execute(self)
            .await;
        match put {
            Ok(_) => Ok(()),
            Err(error) if is_repeat(&error) => Err(StoreError::Conflict("a rule with one of these keys".to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_endpoints(&mut self, tenant: TenantId, rows: &[EndpointRow<'_>]) -> Result<()> {
        endpoints::put(self, tenant, rows).await
    }

    async fn put_moves(&mut self, tenant: TenantId, moves: &Moves) -> Result<()> {
        standing::store_moves(self, tenant, moves).await
    }

    async fn bump_version(&mut self) -> Result<()> {
        sqlx::query(BUMP_VERSION).execute(self).await?;
        Ok(())
    }

    async fn ask_for(&mut self, version: i64) -> Result<()> {
        sqlx::query(ASK_FOR).bind(version).execute(self).await?;
        Ok(())
    }
}
