//! Deliveries that failed. A partial index serves only statements that hold its condition word for word: `state = 2`.

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};

use crate::model::delivery::Delivery;
use crate::model::id::TenantId;
use crate::store::Result;
use crate::store::failed::{FailedCount, FailedQuery, FailedStore, Statuses};
use crate::store::postgres::PgStore;
use crate::store::records::{delivery, failed_count};

const PAGE: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, source, state, reason, attempts, due_at, \
     created_at, finished_at FROM deliveries WHERE state = 2 AND tenant_id = ";

const COUNTED: &str = "SELECT g.endpoint_id, g.rule_id, g.source, g.found, g.last_at, (SELECT d.reason FROM deliveries d \
     WHERE d.state = 2 AND d.tenant_id = g.tenant_id AND d.endpoint_id = g.endpoint_id AND d.finished_at = g.last_at \
     AND d.rule_id = g.rule_id LIMIT 1) FROM (SELECT tenant_id, endpoint_id, rule_id, source, count(*) AS found, \
     max(finished_at) AS last_at FROM (SELECT tenant_id, endpoint_id, rule_id, source, finished_at FROM deliveries \
     WHERE state = 2 AND tenant_id = ";

const GROUPED: &str =
    ") f GROUP BY tenant_id, endpoint_id, rule_id, source) g ORDER BY g.found DESC, g.last_at DESC, g.rule_id";

#[async_trait]
impl FailedStore for PgStore {
    async fn failed_deliveries(&self, tenant: TenantId, query: &FailedQuery) -> Result<Vec<Delivery>> {
        self.read(async {
            let rows = page(tenant, query).build().fetch_all(&mut *self.reader().await?).await?;
            rows.iter().map(delivery).collect()
        })
        .await
    }

    async fn count_failed(&self, tenant: TenantId, query: &FailedQuery) -> Result<Vec<FailedCount>> {
        self.read(async {
            let rows = count(tenant, query).build().fetch_all(&mut *self.reader().await?).await?;
            rows.iter().map(failed_count).collect()
        })
        .await
    }
}

pub(super) fn page(tenant: TenantId, query: &FailedQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(PAGE);
    sql.push_bind(tenant.0);
    narrow(&mut sql, query);
    sql
}

pub(super) fn count(tenant: TenantId, query: &FailedQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(COUNTED);
    sql.push_bind(tenant.0);
    narrow(&mut sql, query);
    sql.push(GROUPED);
    sql
}

fn narrow(sql: &mut QueryBuilder<Postgres>, query: &FailedQuery) {
    if let Some(rule) = query.rule_id {
        sql.push(" AND rule_id = ").push_bind(rule.0);
    }
    if let Some(endpoint) = query.endpoint_id {
        sql.push(" AND endpoint_id = ").push_bind(endpoint.0);
    }
    if let Some(since) = query.since {
        sql.push(" AND finished_at >= ").push_bind(since.0);
    }
    if let Some(until) = query.until {
        sql.push(" AND finished_at < ").push_bind(until.0);
    }
    if let Some((ended, id)) = query.before {
        sql.push(" AND (finished_at, delivery_id) < (").push_bind(ended.0).push(", ").push_bind(id.0).push(")");
    }
    if let Some(statuses) = query.statuses {
        answered(sql, statuses);
    }
    sql.push(" ORDER BY finished_at DESC, delivery_id DESC LIMIT ").push_bind(i64::from(query.limit));
}

/// That the last attempt was answered like this.
pub(super) fn answered(sql: &mut QueryBuilder<Postgres>, (from, to): Statuses) {
    sql.push(
        " AND EXISTS (SELECT 1 FROM attempts a WHERE a.tenant_id = deliveries.tenant_id \
         AND a.delivery_id = deliveries.delivery_id AND a.number = deliveries.attempts \
         AND (a.result::json ->> 'status')::bigint BETWEEN ",
    );
    sql.push_bind(i64::from(from)).push(" AND ").push_bind(i64::from(to)).push(")");
}
