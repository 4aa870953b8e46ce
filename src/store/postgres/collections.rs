//! Datasets with their examples, and annotation queues with their runs.
//!
//! Who adds something to a collection locks its row shared, so that it is not removed under the addition.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::model::audit::Entry;
use crate::model::collection::{Collection, CollectionKind, Example, Queued};
use crate::model::id::{ExampleId, QueueId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::store::body::pack_json;
use crate::store::collections::{ActionsTaken, CollectionQuery, CollectionStore, ExampleQuery, Shelved, shelved};
use crate::store::failure::is_repeat;
use crate::store::postgres::either::datasets;
use crate::store::postgres::runner::Try;
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, Topic, audit, ids, text};
use crate::store::row::json_text;
use crate::store::{Result, StoreError, records};

const CREATE: &str = "INSERT INTO collections (tenant_id, kind, collection_id, name, created_at, body) \
     VALUES ($1, $2, $3, $4, $5, $6)";

const UPDATE: &str = "UPDATE collections SET name = $4, created_at = $5, body = $6 \
     WHERE tenant_id = $1 AND kind = $2 AND collection_id = $3";

const DELETE: &str = "DELETE FROM collections WHERE tenant_id = $1 AND kind = $2 AND collection_id = $3";

const DELETE_CONTENTS: [&str; 3] = [
    "DELETE FROM example_links WHERE tenant_id = $1 AND example_id IN \
     (SELECT example_id FROM examples WHERE tenant_id = $1 AND dataset_id = $2)",
    "DELETE FROM examples WHERE tenant_id = $1 AND dataset_id = $2",
    "DELETE FROM queued_runs WHERE tenant_id = $1 AND queue_id = $2",
];

const COLLECTIONS: &str = "SELECT c.body, CASE c.kind WHEN 'dataset' THEN \
     (SELECT count(*) FROM examples e WHERE e.tenant_id = c.tenant_id AND e.dataset_id = c.collection_id) ELSE \
     (SELECT count(*) FROM queued_runs q WHERE q.tenant_id = c.tenant_id AND q.queue_id = c.collection_id) END \
     FROM collections c WHERE c.tenant_id = ";

const THERE: &str = "SELECT collection_id FROM collections WHERE tenant_id = $1 AND kind IN ('dataset', 'queue') \
     AND collection_id = ANY($2::uuid[]) ORDER BY kind, collection_id FOR SHARE";

const PUT_EXAMPLES: &str = "INSERT INTO examples (tenant_id, example_id, dataset_id, created_at, body, source_run_id) \
     SELECT $1, example_id, dataset_id, created_at, body, source_run_id \
     FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bytea[], $6::uuid[]) \
     AS put (example_id, dataset_id, created_at, body, source_run_id) \
     ORDER BY example_id \
     ON CONFLICT (tenant_id, example_id) DO UPDATE SET dataset_id = excluded.dataset_id, body = excluded.body, \
     source_run_id = excluded.source_run_id";

const ADD_EXAMPLES: &str = "INSERT INTO examples (tenant_id, example_id, dataset_id, created_at, body, source_run_id) \
     SELECT $1, example_id, dataset_id, created_at, body, source_run_id \
     FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bytea[], $6::uuid[]) \
     AS put (example_id, dataset_id, created_at, body, source_run_id) \
     ORDER BY example_id ON CONFLICT (tenant_id, example_id) DO NOTHING";

const PUT_LINKS: &str = "INSERT INTO example_links (tenant_id, example_id, blob_key) \
     SELECT $1, example_id, blob_key FROM unnest($2::uuid[], $3::text[]) AS put (example_id, blob_key) \
     ORDER BY example_id, blob_key ON CONFLICT DO NOTHING";

const EXAMPLES: &str = "SELECT body FROM examples WHERE tenant_id = ";

const DELETE_EXAMPLE: &str = "DELETE FROM examples WHERE tenant_id = $1 AND example_id = $2";

const DELETE_LINKS: &str = "DELETE FROM example_links WHERE tenant_id = $1 AND example_id = ANY($2::uuid[])";

const ENQUEUE: &str = "INSERT INTO queued_runs (tenant_id, queue_id, run_id, added_at, position) \
     SELECT $1, queue_id, run_id, $4, position - 1 \
     FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS put (queue_id, run_id, position) \
     ORDER BY queue_id, run_id ON CONFLICT (tenant_id, queue_id, run_id) DO NOTHING";

const QUEUED: &str = "SELECT q.run_id, q.added_at FROM queued_runs q WHERE q.tenant_id = $1 AND q.queue_id = $2 \
     AND EXISTS (SELECT 1 FROM run_bodies b WHERE b.tenant_id = q.tenant_id AND b.run_id = q.run_id) \
     ORDER BY q.added_at, q.position, q.run_id LIMIT $3 OFFSET $4";

const IN_DATASETS: &str = "SELECT DISTINCT source_run_id FROM examples WHERE source_run_id IS NOT NULL \
     AND tenant_id = $1 AND source_run_id = ANY($2::uuid[])";

const IN_QUEUES: &str = "SELECT run_id, max(added_at) FROM queued_runs \
     WHERE tenant_id = $1 AND run_id = ANY($2::uuid[]) GROUP BY run_id";

const DEQUEUE: &str = "DELETE FROM queued_runs WHERE tenant_id = $1 AND queue_id = $2 AND run_id = $3";

#[async_trait]
impl CollectionStore for PgStore {
    async fn create_collection(&self, collection: Collection) -> Result<()> {
        let collection = &collection;
        self.run("create_collection", |mut this| {
            Box::pin(async move {
                // An earlier try that was committed has left just this row.
                if this.in_doubt && write(&mut this, UPDATE, collection).await? > 0 {
                    return Ok(this.done(()));
                }
                write(&mut this, CREATE, collection).await?;
                datasets::changed(&mut this, datasets::CREATED, collection, collection.created_at).await?;
                Ok(this.done(()))
            })
        })
        .await?;
        self.poke(Topic::Deliveries);
        Ok(())
    }

    async fn update_collection(&self, collection: Collection) -> Result<()> {
        let collection = &collection;
        self.run("update_collection", |mut this| {
            Box::pin(async move {
                if write(&mut this, UPDATE, collection).await? == 0 {
                    return Err(StoreError::NotFound("the collection"));
                }
                datasets::changed(&mut this, datasets::UPDATED, collection, collection.modified_at).await?;
                Ok(this.done(()))
            })
        })
        .await?;
        self.poke(Topic::Deliveries);
        Ok(())
    }

    async fn delete_collection(
        &self,
        tenant: TenantId,
        kind: CollectionKind,
        id: Uuid,
        told: Option<Entry>,
    ) -> Result<bool> {
        let told = told.as_slice();
        let there = self
            .run_long("delete_collection", |mut this| {
                Box::pin(async move {
                    let removed = delete(&mut this, tenant, kind, id).await?;
                    if let Some(removed) = &removed {
                        let at = told.first().map_or(removed.modified_at, |told| told.at);
                        datasets::changed(&mut this, datasets::DELETED, removed, at).await?;
                    }
                    noted(this, removed.is_some(), told).await
                })
            })
            .await?;
        self.poke(Topic::Deliveries);
        Ok(there)
    }

    async fn list_collections(
        &self,
        tenant: TenantId,
        kind: CollectionKind,
        query: &CollectionQuery,
    ) -> Result<Vec<(Collection, u64)>> {
        self.read(async {
            let mut reader = self.reader().await?;
            let rows = page(tenant, kind, query).build().fetch_all(&mut *reader).await?;
            rows.iter().map(records::collection).collect()
        })
        .await
    }

    async fn put_examples(&self, tenant: TenantId, examples: Vec<Example>) -> Result<()> {
        let examples = &examples;
        self.run("put_examples", |mut this| {
            Box::pin(async move {
                put_examples(&mut this, tenant, examples).await?;
                Ok(this.done(()))
            })
        })
        .await?;
        self.poke(Topic::Deliveries);
        Ok(())
    }

    async fn list_examples(&self, tenant: TenantId, query: &ExampleQuery) -> Result<Vec<Example>> {
        self.read(async {
            let mut reader = self.reader().await?;
            let rows = examples_page(tenant, query).build().fetch_all(&mut *reader).await?;
            rows.iter().map(records::example).collect()
        })
        .await
    }

    async fn delete_example(&self, tenant: TenantId, id: ExampleId, told: Option<Entry>) -> Result<bool> {
        let told = told.as_slice();
        let there = self
            .run("delete_example", |mut this| {
                Box::pin(async move {
                    let known = datasets::example(&mut this, tenant, id).await?;
                    sqlx::query(DELETE_LINKS).bind(tenant.0).bind(vec![id.0]).execute(&mut *this).await?;
                    let done = sqlx::query(DELETE_EXAMPLE).bind(tenant.0).bind(id.0).execute(&mut *this).await?;
                    let is_gone = done.rows_affected() > 0;
                    if let Some(removed) = known.as_ref().filter(|_| is_gone) {
                        let at = told.first().map_or(removed.modified_at, |told| told.at);
                        datasets::removed(&mut this, removed, at).await?;
                    }
                    noted(this, is_gone, told).await
                })
            })
            .await?;
        self.poke(Topic::Deliveries);
        Ok(there)
    }

    async fn enqueue(&self, tenant: TenantId, queue: QueueId, runs: &[RunId], now: Timestamp) -> Result<bool> {
        let queued: Vec<Queued> = runs.iter().map(|run| Queued { queue_id: queue, run_id: *run }).collect();
        let queued = &queued;
        self.run("enqueue", |mut this| {
            Box::pin(async move {
                let is_there = !there(&mut this, tenant, &[queue.0]).await?.is_empty();
                if is_there {
                    put_queued(&mut this, tenant, queued, now).await?;
                }
                Ok(this.done(is_there))
            })
        })
        .await
    }

    async fn queued_runs(
        &self,
        tenant: TenantId,
        queue: QueueId,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<(RunId, Timestamp)>> {
        self.read(async {
            let query = sqlx::query(QUEUED).bind(tenant.0).bind(queue.0).bind(i64::from(limit)).bind(i64::from(offset));
            query.fetch_all(&mut *self.reader().await?).await?.iter().map(records::queued_run).collect()
        })
        .await
    }

    async fn shelved(&self, tenant: TenantId, runs: &[RunId]) -> Result<HashMap<RunId, Shelved>> {
        self.read(async {
            let (mut reader, runs) = (self.reader().await?, ids(runs, |run| run.0));
            let examples = sqlx::query(IN_DATASETS).bind(tenant.0).bind(&runs).fetch_all(&mut *reader).await?;
            let queued = sqlx::query(IN_QUEUES).bind(tenant.0).bind(&runs).fetch_all(&mut *reader).await?;
            let examples = examples.iter().map(records::source_run).collect::<Result<Vec<_>>>()?;
            Ok(shelved(examples, queued.iter().map(records::queued_run).collect::<Result<Vec<_>>>()?))
        })
        .await
    }

    async fn dequeue(&self, tenant: TenantId, queue: QueueId, run: RunId, told: Option<Entry>) -> Result<bool> {
        let told = told.as_slice();
        self.run("dequeue", |mut this| {
            Box::pin(async move {
                let query = sqlx::query(DEQUEUE).bind(tenant.0).bind(queue.0).bind(run.0);
                let there = query.execute(&mut *this).await?.rows_affected() > 0;
                noted(this, there, told).await
            })
        })
        .await
    }
}

/// Tells the audit log what was removed, if it was. Whether it was there: an earlier try may have removed and told it.
async fn noted(mut this: Try, removed: bool, told: &[Entry]) -> Result<(Try, bool)> {
    if removed {
        audit::write(&mut this, told).await?;
    }
    let there = removed || this.in_doubt;
    Ok(this.done(there))
}

/// Those of these collections that are there. They stay until the transaction ends.
pub(super) async fn there(connection: &mut Session, tenant: TenantId, collections: &[Uuid]) -> Result<HashSet<Uuid>> {
    if collections.is_empty() {
        return Ok(HashSet::new());
    }
    let found: Vec<Uuid> = sqlx::query_scalar(THERE).bind(tenant.0).bind(collections).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// Does what the matches of a window ask for. What was done before stays as it is.
pub(super) async fn act(
    connection: &mut Session,
    tenant: TenantId,
    actions: &ActionsTaken,
    now: Timestamp,
) -> Result<()> {
    if !actions.examples.is_empty() {
        let examples: Vec<&Example> = actions.examples.iter().map(|(_, example)| example).collect();
        let known = datasets::there(&mut *connection, tenant, &examples).await?;
        write_examples(connection, ADD_EXAMPLES, tenant, &examples).await?;
        if let Some(known) = known {
            let new = examples.into_iter().filter(|example| !known.contains(&example.id));
            datasets::put(&mut *connection, tenant, new, &known).await?;
        }
    }
    let queued: Vec<Queued> = actions.queued.iter().map(|(_, queued)| *queued).collect();
    put_queued(connection, tenant, &queued, now).await
}

async fn put_examples(connection: &mut Session, tenant: TenantId, examples: &[Example]) -> Result<()> {
    let mut datasets: Vec<Uuid> = examples.iter().map(|example| example.dataset_id.0).collect();
    datasets.sort_unstable();
    datasets.dedup();
    let there = there(connection, tenant, &datasets).await?;
    if there.len() < datasets.len() {
        return Err(StoreError::NotFound("the dataset"));
    }
    let all: Vec<Uuid> = examples.iter().map(|example| example.id.0).collect();
    sqlx::query(DELETE_LINKS).bind(tenant.0).bind(all).execute(&mut *connection).await?;
    let examples: Vec<&Example> = examples.iter().collect();
    let known = datasets::there(&mut *connection, tenant, &examples).await?;
    write_examples(connection, PUT_EXAMPLES, tenant, &examples).await?;
    match known {
        Some(known) => datasets::put(connection, tenant, examples.into_iter(), &known).await,
        None => Ok(()),
    }
}

async fn write_examples(
    connection: &mut Session,
    statement: &'static str,
    tenant: TenantId,
    examples: &[&Example],
) -> Result<()> {
    let bodies = examples.iter().map(pack_json).collect::<Result<Vec<_>>>()?;
    sqlx::query(statement)
        .bind(tenant.0)
        .bind(examples.iter().map(|example| example.id.0).collect::<Vec<_>>())
        .bind(examples.iter().map(|example| example.dataset_id.0).collect::<Vec<_>>())
        .bind(examples.iter().map(|example| example.created_at.0).collect::<Vec<_>>())
        .bind(bodies)
        .bind(examples.iter().map(|example| example.source_run_id.map(|run| run.0)).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    let (owners, keys): (Vec<Uuid>, Vec<String>) = examples
        .iter()
        .flat_map(|example| example.blobs().map(|key| (example.id.0, text(&key.0).into_owned())))
        .unzip();
    if !keys.is_empty() {
        sqlx::query(PUT_LINKS).bind(tenant.0).bind(owners).bind(keys).execute(connection).await?;
    }
    Ok(())
}

async fn put_queued(connection: &mut Session, tenant: TenantId, queued: &[Queued], now: Timestamp) -> Result<()> {
    if queued.is_empty() {
        return Ok(());
    }
    let (owners, runs): (Vec<Uuid>, Vec<Uuid>) =
        queued.iter().map(|queued| (queued.queue_id.0, queued.run_id.0)).unzip();
    sqlx::query(ENQUEUE).bind(tenant.0).bind(owners).bind(runs).bind(now.0).execute(connection).await?;
    Ok(())
}

async fn write(connection: &mut Session, statement: &'static str, collection: &Collection) -> Result<u64> {
    let done = sqlx::query(statement)
        .bind(collection.tenant_id.0)
        .bind(collection.kind.as_str())
        .bind(collection.id)
        .bind(&*text(&collection.name))
        .bind(collection.created_at.0)
        .bind(json_text(collection)?)
        .execute(connection)
        .await;
    match done {
        Ok(done) => Ok(done.rows_affected()),
        Err(error) if is_repeat(&error) => {
            Err(StoreError::Conflict(format!("the {} `{}`", collection.kind.as_str(), collection.name)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a collection with all it holds. What it was, if it was there.
async fn delete(
    connection: &mut Session,
    tenant: TenantId,
    kind: CollectionKind,
    id: Uuid,
) -> Result<Option<Collection>> {
    let known = datasets::collection(&mut *connection, tenant, kind, id).await?;
    let query = sqlx::query(DELETE).bind(tenant.0).bind(kind.as_str()).bind(id);
    if query.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(None);
    }
    for statement in DELETE_CONTENTS {
        sqlx::query(statement).bind(tenant.0).bind(id).execute(&mut *connection).await?;
    }
    Ok(known)
}

fn page(tenant: TenantId, kind: CollectionKind, query: &CollectionQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(COLLECTIONS);
    sql.push_bind(tenant.0).push(" AND c.kind = ").push_bind(kind.as_str());
    if !query.ids.is_empty() {
        sql.push(" AND c.collection_id = ANY(").push_bind(query.ids.clone()).push(")");
    }
    if let Some(name) = &query.name {
        sql.push(" AND c.name = ").push_bind(text(name).into_owned());
    }
    if let Some(part) = &query.name_contains {
        let part = text(part).to_ascii_lowercase();
        sql.push(" AND strpos(lower(c.name COLLATE \"C\"), ").push_bind(part).push(") > 0");
    }
    sql.push(" ORDER BY c.created_at DESC, c.collection_id LIMIT ").push_bind(i64::from(query.limit));
    sql.push(" OFFSET ").push_bind(i64::from(query.offset));
    sql
}

pub(super) fn examples_page(tenant: TenantId, query: &ExampleQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(EXAMPLES);
    sql.push_bind(tenant.0);
    if let Some(dataset) = query.dataset_id {
        sql.push(" AND dataset_id = ").push_bind(dataset.0);
    }
    if !query.ids.is_empty() {
        sql.push(" AND example_id = ANY(").push_bind(ids(&query.ids, |id| id.0)).push(")");
    }
    sql.push(" ORDER BY created_at DESC, example_id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql.push(" OFFSET ").push_bind(i64::from(query.offset));
    sql
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] =
    &[(IN_DATASETS, &["examples_by_run"]), (IN_QUEUES, &["queued_runs_by_run"])];
