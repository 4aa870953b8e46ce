//! What rules did, match by match.

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};

use crate::model::id::{ProjectId, RuleId, TenantId};
use crate::model::time::Timestamp;
use crate::model::window::Seq;
use crate::store::postgres::PgStore;
use crate::store::revision::RuleRows as _;
use crate::store::rule_log::{LogEntry, LogQuery, RuleLogStore};
use crate::store::{Result, records};

const LOG: &str = "SELECT m.run_id, m.project_id, m.applied_at, m.outcome, r.name, r.run_type, w.progress, w.start_at, \
     w.end_at FROM matches m \
     LEFT JOIN windows w ON w.tenant_id = m.tenant_id AND w.window_id = m.window_id \
     LEFT JOIN runs r ON r.tenant_id = m.tenant_id AND r.project_id = m.project_id AND r.run_id = m.run_id \
     WHERE m.applied_at IS NOT NULL AND m.tenant_id = ";

#[async_trait]
impl RuleLogStore for PgStore {
    async fn rule_log(&self, tenant: TenantId, rule: RuleId, query: &LogQuery) -> Result<Vec<LogEntry>> {
        self.read(async {
            let mut reader = self.reader().await?;
            page(tenant, rule, query).build().fetch_all(&mut *reader).await?.iter().map(records::log_entry).collect()
        })
        .await
    }

    async fn last_change_before(&self, tenant: TenantId, project: ProjectId, instant: Timestamp) -> Result<Seq> {
        self.read(async { self.reader().await?.last_before(tenant, project, instant).await }).await
    }
}

/// A page of a rule's matches.
pub(super) fn page(tenant: TenantId, rule: RuleId, query: &LogQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(LOG);
    sql.push_bind(tenant.0).push(" AND m.rule_id = ").push_bind(rule.0);
    if let Some(project) = query.project_id {
        sql.push(" AND m.project_id = ").push_bind(project.0);
    }
    if let Some(from) = query.from {
        sql.push(" AND m.applied_at >= ").push_bind(from.0);
    }
    if let Some(until) = query.until {
        sql.push(" AND m.applied_at < ").push_bind(until.0);
    }
    if let Some((at, run)) = query.before {
        sql.push(" AND (m.applied_at, m.run_id) < (").push_bind(at.0).push(", ").push_bind(run.0).push(")");
    }
    match query.is_span {
        Some(true) => _ = sql.push(" AND w.progress LIKE '{\"span\"%'"),
        Some(false) => _ = sql.push(" AND (w.progress IS NULL OR w.progress NOT LIKE '{\"span\"%')"),
        None => {}
    }
    sql.push(" ORDER BY m.applied_at DESC, m.run_id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql.push(" OFFSET ").push_bind(i64::from(query.offset));
    sql
}
