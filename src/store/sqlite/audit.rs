//! The audit log.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::audit::Entry;
use crate::model::id::TenantId;
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::audit::{AuditQuery, AuditStore, as_id, detail, entry};
use crate::store::retention::Dropped;
use crate::store::row::readable;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::row::{Insert, insert};

const PUT: Insert = Insert {
    head: "INSERT INTO audit_log (tenant_id, entry_id, at, actor, actor_id, actor_name, address, action, object, \
           object_id, request_id, detail) VALUES",
    columns: 12,
    tail: "ON CONFLICT DO NOTHING",
};

const PAGE: &str = "SELECT tenant_id, entry_id, at, actor, actor_id, actor_name, address, action, object, object_id, \
     request_id, detail FROM audit_log";

const DROP_OLD: &str = "DELETE FROM audit_log WHERE (tenant_id, at, entry_id) IN \
     (SELECT tenant_id, at, entry_id FROM audit_log WHERE at < $1 ORDER BY at LIMIT $2)";

#[async_trait]
impl AuditStore for SqliteStore {
    async fn note(&self, entry: Entry) -> Result<()> {
        self.queue
            .write(move |connection| Box::pin(async move { write(connection, std::slice::from_ref(&entry)).await }))
            .await
    }

    async fn audit_log(&self, tenant: TenantId, query: &AuditQuery) -> Result<Vec<Entry>> {
        readable(&page(tenant, query).build().fetch_all(&self.readers).await?, entry)
    }

    async fn drop_audit(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(DROP_OLD).bind(before.0).bind(limit).execute(connection).await?;
                    let rows = done.rows_affected();
                    Ok(Dropped { rows, more: rows >= u64::from(limit) })
                })
            })
            .await
    }
}

/// Writes entries, in the transaction that does what they tell.
pub(super) async fn write(connection: &mut SqliteConnection, entries: &[Entry]) -> Result<()> {
    insert(connection, &PUT, entries, |values, entry| {
        let key = entry.actor.key();
        values.push(entry.tenant_id.0).push(entry.id.0).push(entry.at.0).push(entry.actor.kind());
        values.push(key.map(|(id, _)| id.0)).push(key.map(|(_, name)| name.to_owned()));
        values.push(entry.address.map(|address| address.to_string())).push(entry.action.word());
        values.push(entry.object.key.clone()).push(entry.object.id);
        values.push(entry.request_id.clone()).push(detail(entry));
    })
    .await?;
    Ok(())
}

/// A page of entries, newest first. What is asked for by an id may have it as its key or beside it, and each is read by an
/// index of its own.
pub(super) fn page(tenant: TenantId, query: &AuditQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("");
    let Some(word) = &query.object else {
        part(&mut sql, tenant, query, "", |_| {});
        return sql;
    };
    let by_key = |sql: &mut QueryBuilder<Sqlite>| {
        sql.push(" AND object = ").push_bind(word.clone());
    };
    let key = " INDEXED BY audit_log_by_object";
    let Some(id) = as_id(word) else {
        part(&mut sql, tenant, query, key, by_key);
        return sql;
    };
    sql.push("SELECT * FROM (");
    part(&mut sql, tenant, query, key, by_key);
    sql.push(") AS by_key UNION SELECT * FROM (");
    part(&mut sql, tenant, query, " INDEXED BY audit_log_by_object_id", |sql| {
        sql.push(" AND object_id = ").push_bind(id);
    });
    sql.push(") AS by_id");
    newest(&mut sql, query);
    sql
}

/// The newest entries of which this and all else holds. SQLite has to be told the index: it takes the table's own order for
/// the shorter way, however few entries are about one object.
fn part(
    sql: &mut QueryBuilder<Sqlite>,
    tenant: TenantId,
    query: &AuditQuery,
    index: &'static str,
    narrow: impl FnOnce(&mut QueryBuilder<Sqlite>),
) {
    sql.push(PAGE).push(index).push(" WHERE tenant_id = ").push_bind(tenant.0);
    narrow(sql);
    if let Some(since) = query.since {
        sql.push(" AND at >= ").push_bind(since.0);
    }
    if let Some(until) = query.until {
        sql.push(" AND at < ").push_bind(until.0);
    }
    if let Some(actor) = &query.actor {
        sql.push(" AND (actor = ").push_bind(actor.clone()).push(" OR actor_name = ").push_bind(actor.clone());
        sql.push(" OR actor_id = ").push_bind(as_id(actor)).push(")");
    }
    if !query.actions.is_empty() {
        sql.push(" AND action IN (");
        let mut words = sql.separated(", ");
        for action in &query.actions {
            words.push_bind(action.word());
        }
        sql.push(")");
    }
    if let Some((at, id)) = query.before {
        sql.push(" AND (at, entry_id) < (").push_bind(at.0).push(", ").push_bind(id.0).push(")");
    }
    newest(sql, query);
}

fn newest(sql: &mut QueryBuilder<Sqlite>, query: &AuditQuery) {
    sql.push(" ORDER BY at DESC, entry_id DESC LIMIT ").push_bind(query.limit);
}

/// The statements that loops run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 1] =
    [(DROP_OLD, "SEARCH audit_log USING COVERING INDEX audit_log_by_age (at<?)")];
