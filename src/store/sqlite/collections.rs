//! Datasets with their examples, and annotation queues with their runs.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use crate::model::audit::Entry;
use crate::model::collection::{Collection, CollectionKind, Example, Queued};
use crate::model::id::{ExampleId, QueueId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::store::body::pack_json;
use crate::store::collections::{ActionsTaken, CollectionQuery, CollectionStore, ExampleQuery, Shelved, shelved};
use crate::store::failure::is_repeat;
use crate::store::row::json_text;
use crate::store::sqlite::either::datasets;
use crate::store::sqlite::row::{Insert, id_list, insert};
use crate::store::sqlite::{SqliteStore, audit};
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
     AND collection_id IN (SELECT unhex(value) FROM json_each($2))";

const PUT_EXAMPLES: Insert = Insert {
    head: "INSERT INTO examples (tenant_id, example_id, dataset_id, created_at, body, source_run_id) VALUES",
    columns: 6,
    tail: "ON CONFLICT (tenant_id, example_id) DO UPDATE SET dataset_id = excluded.dataset_id, body = excluded.body, \
           source_run_id = excluded.source_run_id",
};

const ADD_EXAMPLES: Insert = Insert { tail: "ON CONFLICT (tenant_id, example_id) DO NOTHING", ..PUT_EXAMPLES };

const PUT_LINKS: Insert = Insert {
    head: "INSERT INTO example_links (tenant_id, example_id, blob_key) VALUES",
    columns: 3,
    tail: "ON CONFLICT DO NOTHING",
};

const EXAMPLES: &str = "SELECT body FROM examples WHERE tenant_id = ";

const DELETE_EXAMPLE: &str = "DELETE FROM examples WHERE tenant_id = $1 AND example_id = $2";

const DELETE_LINKS: &str = "DELETE FROM example_links WHERE tenant_id = $1 AND example_id = $2";

const ENQUEUE: Insert = Insert {
    head: "INSERT INTO queued_runs (tenant_id, queue_id, run_id, added_at, position) VALUES",
    columns: 5,
    tail: "ON CONFLICT (tenant_id, queue_id, run_id) DO NOTHING",
};

const QUEUED: &str = "SELECT q.run_id, q.added_at FROM queued_runs q WHERE q.tenant_id = $1 AND q.queue_id = $2 \
     AND EXISTS (SELECT 1 FROM run_bodies b WHERE b.tenant_id = q.tenant_id AND b.run_id = q.run_id) \
     ORDER BY q.added_at, q.position, q.run_id LIMIT $3 OFFSET $4";

const IN_DATASETS: &str = "SELECT DISTINCT source_run_id FROM examples WHERE source_run_id IS NOT NULL \
     AND tenant_id = $1 AND source_run_id IN (SELECT unhex(value) FROM json_each($2))";

const IN_QUEUES: &str = "SELECT run_id, max(added_at) FROM queued_runs \
     WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2)) GROUP BY run_id";

const DEQUEUE: &str = "DELETE FROM queued_runs WHERE tenant_id = $1 AND queue_id = $2 AND run_id = $3";

#[async_trait]
impl CollectionStore for SqliteStore {
    async fn create_collection(&self, collection: Collection) -> Result<()> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    write(&mut *connection, CREATE, &collection).await?;
                    datasets::changed(connection, datasets::CREATED, &collection, collection.created_at).await
                })
            })
            .await
    }

    async fn update_collection(&self, collection: Collection) -> Result<()> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    if write(&mut *connection, UPDATE, &collection).await? == 0 {
                        return Err(StoreError::NotFound("the collection"));
                    }
                    datasets::changed(connection, datasets::UPDATED, &collection, collection.modified_at).await
                })
            })
            .await
    }

    async fn delete_collection(
        &self,
        tenant: TenantId,
        kind: CollectionKind,
        id: Uuid,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let Some(removed) = delete(&mut *connection, tenant, kind, id).await? else { return Ok(false) };
                    let at = told.as_ref().map_or(removed.modified_at, |told| told.at);
                    datasets::changed(&mut *connection, datasets::DELETED, &removed, at).await?;
                    audit::write(connection, told.as_slice()).await?;
                    Ok(true)
                })
            })
            .await
    }

    async fn list_collections(
        &self,
        tenant: TenantId,
        kind: CollectionKind,
        query: &CollectionQuery,
    ) -> Result<Vec<(Collection, u64)>> {
        page(tenant, kind, query).build().fetch_all(&self.readers).await?.iter().map(records::collection).collect()
    }

    async fn put_examples(&self, tenant: TenantId, examples: Vec<Example>) -> Result<()> {
        self.queue.write(move |connection| Box::pin(put_examples(connection, tenant, examples))).await
    }

    async fn list_examples(&self, tenant: TenantId, query: &ExampleQuery) -> Result<Vec<Example>> {
        examples_page(tenant, query).build().fetch_all(&self.readers).await?.iter().map(records::example).collect()
    }

    async fn delete_example(&self, tenant: TenantId, id: ExampleId, told: Option<Entry>) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let known = datasets::example(&mut *connection, tenant, id).await?;
                    sqlx::query(DELETE_LINKS).bind(tenant.0).bind(id.0).execute(&mut *connection).await?;
                    let query = sqlx::query(DELETE_EXAMPLE).bind(tenant.0).bind(id.0);
                    if query.execute(&mut *connection).await?.rows_affected() == 0 {
                        return Ok(false);
                    }
                    if let Some(removed) = &known {
                        let at = told.as_ref().map_or(removed.modified_at, |told| told.at);
                        datasets::removed(&mut *connection, removed, at).await?;
                    }
                    audit::write(connection, told.as_slice()).await?;
                    Ok(true)
                })
            })
            .await
    }

    async fn enqueue(&self, tenant: TenantId, queue: QueueId, runs: &[RunId], now: Timestamp) -> Result<bool> {
        let queued: Vec<Queued> = runs.iter().map(|run| Queued { queue_id: queue, run_id: *run }).collect();
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let is_there = !there(connection, tenant, &[queue.0]).await?.is_empty();
                    if is_there {
                        put_queued(connection, tenant, &queued, now).await?;
                    }
                    Ok(is_there)
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
        let query = sqlx::query(QUEUED).bind(tenant.0).bind(queue.0).bind(limit).bind(offset);
        query.fetch_all(&self.readers).await?.iter().map(records::queued_run).collect()
    }

    async fn shelved(&self, tenant: TenantId, runs: &[RunId]) -> Result<HashMap<RunId, Shelved>> {
        let runs = id_list(runs.iter().map(|run| run.0));
        let examples = sqlx::query(IN_DATASETS).bind(tenant.0).bind(&runs).fetch_all(&self.readers).await?;
        let queued = sqlx::query(IN_QUEUES).bind(tenant.0).bind(&runs).fetch_all(&self.readers).await?;
        let examples = examples.iter().map(records::source_run).collect::<Result<Vec<_>>>()?;
        Ok(shelved(examples, queued.iter().map(records::queued_run).collect::<Result<Vec<_>>>()?))
    }

    async fn dequeue(&self, tenant: TenantId, queue: QueueId, run: RunId, told: Option<Entry>) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(DEQUEUE).bind(tenant.0).bind(queue.0).bind(run.0);
                    let there = query.execute(&mut *connection).await?.rows_affected() > 0;
                    if there {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(there)
                })
            })
            .await
    }
}

/// Those of these collections that are there.
pub(super) async fn there(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    collections: &[Uuid],
) -> Result<HashSet<Uuid>> {
    if collections.is_empty() {
        return Ok(HashSet::new());
    }
    let ids = id_list(collections.iter().copied());
    Ok(sqlx::query_scalar(THERE).bind(tenant.0).bind(ids).fetch_all(connection).await?.into_iter().collect())
}

/// Does what the matches of a window ask for. What was done before stays as it is.
pub(super) async fn act(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    actions: &ActionsTaken,
    now: Timestamp,
) -> Result<()> {
    let examples: Vec<&Example> = actions.examples.iter().map(|(_, example)| example).collect();
    let known = datasets::there(&mut *connection, tenant, &examples).await?;
    write_examples(connection, &ADD_EXAMPLES, &examples).await?;
    if let Some(known) = known {
        let new = examples.into_iter().filter(|example| !known.contains(&example.id));
        datasets::put(&mut *connection, tenant, new, &known).await?;
    }
    let queued: Vec<Queued> = actions.queued.iter().map(|(_, queued)| *queued).collect();
    put_queued(connection, tenant, &queued, now).await
}

async fn put_examples(connection: &mut SqliteConnection, tenant: TenantId, examples: Vec<Example>) -> Result<()> {
    let mut datasets: Vec<Uuid> = examples.iter().map(|example| example.dataset_id.0).collect();
    datasets.sort_unstable();
    datasets.dedup();
    let there = there(connection, tenant, &datasets).await?;
    if there.len() < datasets.len() {
        return Err(StoreError::NotFound("the dataset"));
    }
    for example in &examples {
        sqlx::query(DELETE_LINKS).bind(tenant.0).bind(example.id.0).execute(&mut *connection).await?;
    }
    let examples: Vec<&Example> = examples.iter().collect();
    let known = datasets::there(&mut *connection, tenant, &examples).await?;
    write_examples(connection, &PUT_EXAMPLES, &examples).await?;
    match known {
        Some(known) => datasets::put(connection, tenant, examples.into_iter(), &known).await,
        None => Ok(()),
    }
}

async fn write_examples(connection: &mut SqliteConnection, statement: &Insert, examples: &[&Example]) -> Result<()> {
    let rows = examples.iter().map(|example| Ok((*example, pack_json(example)?))).collect::<Result<Vec<_>>>()?;
    insert(connection, statement, &rows, |values, (example, body)| {
        values.push(example.tenant_id.0).push(example.id.0).push(example.dataset_id.0);
        values.push(example.created_at.0).push(body.as_slice()).push(example.source_run_id.map(|run| run.0));
    })
    .await?;
    let links: Vec<_> =
        examples.iter().flat_map(|example| example.blobs().map(move |key| (*example, key.0.as_str()))).collect();
    insert(connection, &PUT_LINKS, &links, |values, (example, key)| {
        values.push(example.tenant_id.0).push(example.id.0).push(*key);
    })
    .await?;
    Ok(())
}

async fn put_queued(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    queued: &[Queued],
    now: Timestamp,
) -> Result<()> {
    let rows: Vec<_> = (0_i64..).zip(queued).collect();
    insert(connection, &ENQUEUE, &rows, |values, (position, queued)| {
        values.push(tenant.0).push(queued.queue_id.0).push(queued.run_id.0).push(now.0).push(*position);
    })
    .await?;
    Ok(())
}

async fn write(connection: &mut SqliteConnection, statement: &'static str, collection: &Collection) -> Result<u64> {
    let done = sqlx::query(statement)
        .bind(collection.tenant_id.0)
        .bind(collection.kind.as_str())
        .bind(collection.id)
        .bind(&collection.name)
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
    connection: &mut SqliteConnection,
    tenant: TenantId,
    kind: CollectionKind,
    id: Uuid,
) -> Result<Option<Collection>> {
    let removed = datasets::collection(&mut *connection, tenant, kind, id).await?;
    if removed.is_some() {
        sqlx::query(DELETE).bind(tenant.0).bind(kind.as_str()).bind(id).execute(&mut *connection).await?;
        for statement in DELETE_CONTENTS {
            sqlx::query(statement).bind(tenant.0).bind(id).execute(&mut *connection).await?;
        }
    }
    Ok(removed)
}

fn page(tenant: TenantId, kind: CollectionKind, query: &CollectionQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLLECTIONS);
    sql.push_bind(tenant.0).push(" AND c.kind = ").push_bind(kind.as_str());
    if !query.ids.is_empty() {
        let ids = id_list(query.ids.iter().copied());
        sql.push(" AND c.collection_id IN (SELECT unhex(value) FROM json_each(").push_bind(ids).push("))");
    }
    if let Some(name) = &query.name {
        sql.push(" AND c.name = ").push_bind(name.clone());
    }
    if let Some(part) = &query.name_contains {
        sql.push(" AND instr(lower(c.name), ").push_bind(part.to_ascii_lowercase()).push(") > 0");
    }
    sql.push(" ORDER BY c.created_at DESC, c.collection_id LIMIT ").push_bind(query.limit);
    sql.push(" OFFSET ").push_bind(query.offset);
    sql
}

pub(super) fn examples_page(tenant: TenantId, query: &ExampleQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(EXAMPLES);
    sql.push_bind(tenant.0);
    if let Some(dataset) = query.dataset_id {
        sql.push(" AND dataset_id = ").push_bind(dataset.0);
    }
    if !query.ids.is_empty() {
        let ids = id_list(query.ids.iter().map(|id| id.0));
        sql.push(" AND example_id IN (SELECT unhex(value) FROM json_each(").push_bind(ids).push("))");
    }
    sql.push(" ORDER BY created_at DESC, example_id DESC LIMIT ").push_bind(query.limit);
    sql.push(" OFFSET ").push_bind(query.offset);
    sql
}

/// Statements that requests and loops run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 6] = [
    (IN_DATASETS, "SEARCH examples USING COVERING INDEX examples_by_run (tenant_id=? AND source_run_id=?)"),
    (IN_QUEUES, "SEARCH queued_runs USING INDEX queued_runs_by_run (tenant_id=? AND run_id=?)"),
    (THERE, "SEARCH collections USING PRIMARY KEY (tenant_id=? AND kind=? AND collection_id=?)"),
    (QUEUED, "SEARCH q USING COVERING INDEX queued_runs_in_order (tenant_id=? AND queue_id=?)"),
    (DELETE_EXAMPLE, "SEARCH examples USING INDEX sqlite_autoindex_examples_1 (tenant_id=? AND example_id=?)"),
    (DEQUEUE, "SEARCH queued_runs USING PRIMARY KEY (tenant_id=? AND queue_id=? AND run_id=?)"),
];
