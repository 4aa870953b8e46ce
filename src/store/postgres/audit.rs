//! The audit log.

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};

use crate::model::audit::Entry;
use crate::model::id::TenantId;
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::audit::{AuditQuery, AuditStore, as_id, detail, entry};
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, text};
use crate::store::retention::Dropped;
use crate::store::row::readable;

/// An earlier try that was committed has left just these rows.
const PUT: &str = "INSERT INTO audit_log (tenant_id, entry_id, at, actor, actor_id, actor_name, address, action, object, \
     object_id, request_id, detail) \
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::text[], $7::text[], \
     $8::text[], $9::text[], $10::uuid[], $11::text[], $12::text[]) \
     ON CONFLICT (tenant_id, at, entry_id) DO NOTHING";

const PAGE: &str = "SELECT tenant_id, entry_id, at, actor, actor_id, actor_name, address, action, object, object_id, \
     request_id, detail FROM audit_log WHERE tenant_id = ";

const DROP_OLD: &str = "WITH old AS MATERIALIZED (SELECT tenant_id, at, entry_id FROM audit_log \
     WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED) \
     DELETE FROM audit_log l USING old WHERE l.tenant_id = old.tenant_id AND l.at = old.at AND l.entry_id = old.entry_id";

#[async_trait]
impl AuditStore for PgStore {
    async fn note(&self, entry: Entry) -> Result<()> {
        let entry = &entry;
        self.run("note", |mut this| {
            Box::pin(async move {
                write(&mut this, std::slice::from_ref(entry)).await?;
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn audit_log(&self, tenant: TenantId, query: &AuditQuery) -> Result<Vec<Entry>> {
        self.read(async {
            let mut reader = self.reader().await?;
            readable(&page(tenant, query).build().fetch_all(&mut *reader).await?, entry)
        })
        .await
    }

    async fn drop_audit(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.run("drop_audit", |mut this| {
            Box::pin(async move {
                let query = sqlx::query(DROP_OLD).bind(before.0).bind(i64::from(limit));
                let rows = query.execute(&mut *this).await?.rows_affected();
                Ok(this.done(Dropped { rows, more: rows >= u64::from(limit) }))
            })
        })
        .await
    }
}

/// Writes entries, in the transaction that does what they tell.
pub(super) async fn write(connection: &mut Session, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let texts = |of: &dyn Fn(&Entry) -> Option<String>| -> Vec<Option<String>> {
        entries.iter().map(|entry| of(entry).map(|word| text(&word).into_owned())).collect()
    };
    sqlx::query(PUT)
        .bind(entries.iter().map(|entry| entry.tenant_id.0).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.id.0).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.at.0).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.actor.kind()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.actor.key().map(|(id, _)| id.0)).collect::<Vec<_>>())
        .bind(texts(&|entry| entry.actor.key().map(|(_, name)| name.to_owned())))
        .bind(texts(&|entry| entry.address.map(|address| address.to_string())))
        .bind(entries.iter().map(|entry| entry.action.word()).collect::<Vec<_>>())
        .bind(texts(&|entry| Some(entry.object.key.clone())))
        .bind(entries.iter().map(|entry| entry.object.id).collect::<Vec<_>>())
        .bind(texts(&|entry| entry.request_id.clone()))
        .bind(texts(&detail))
        .execute(connection)
        .await?;
    Ok(())
}

/// A page of entries, newest first. What is asked for by an id may have it as its key or beside it, and each is read by an
/// index of its own.
pub(super) fn page(tenant: TenantId, query: &AuditQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("");
    let Some(word) = &query.object else {
        part(&mut sql, tenant, query, |_| {});
        return sql;
    };
    let by_key = |sql: &mut QueryBuilder<Postgres>| {
        sql.push(" AND object = ").push_bind(text(word).into_owned());
    };
    let Some(id) = as_id(word) else {
        part(&mut sql, tenant, query, by_key);
        return sql;
    };
    sql.push("SELECT * FROM (");
    part(&mut sql, tenant, query, by_key);
    sql.push(") AS by_key UNION SELECT * FROM (");
    part(&mut sql, tenant, query, |sql| {
        sql.push(" AND object_id = ").push_bind(id);
    });
    sql.push(") AS by_id");
    newest(&mut sql, query);
    sql
}

/// The newest entries of which this and all else holds.
fn part(
    sql: &mut QueryBuilder<Postgres>,
    tenant: TenantId,
    query: &AuditQuery,
    narrow: impl FnOnce(&mut QueryBuilder<Postgres>),
) {
    sql.push(PAGE).push_bind(tenant.0);
    narrow(sql);
    if let Some(since) = query.since {
        sql.push(" AND at >= ").push_bind(since.0);
    }
    if let Some(until) = query.until {
        sql.push(" AND at < ").push_bind(until.0);
    }
    if let Some(actor) = &query.actor {
        let word = text(actor).into_owned();
        sql.push(" AND (actor = ").push_bind(word.clone()).push(" OR actor_name = ").push_bind(word);
        sql.push(" OR actor_id = ").push_bind(as_id(actor)).push(")");
    }
    if !query.actions.is_empty() {
        let words: Vec<&str> = query.actions.iter().map(|action| action.word()).collect();
        sql.push(" AND action = ANY(").push_bind(words).push(")");
    }
    if let Some((at, id)) = query.before {
        sql.push(" AND (at, entry_id) < (").push_bind(at.0).push(", ").push_bind(id.0).push(")");
    }
    newest(sql, query);
}

fn newest(sql: &mut QueryBuilder<Postgres>, query: &AuditQuery) {
    sql.push(" ORDER BY at DESC, entry_id DESC LIMIT ").push_bind(i64::from(query.limit));
}
