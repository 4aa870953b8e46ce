//! Reading runs.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::audit::Entry;
use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, ProjectId, RunId, TenantId, TraceId};
use crate::model::run::StoredRun;
use crate::model::time::Timestamp;
use crate::store::row::readable;
use crate::store::runs::{Accepted, Batch, FeedbackQuery, Kin, RunQuery, RunStore};
use crate::store::search::{Found, Search};
use crate::store::sqlite::row::id_list;
use crate::store::sqlite::{SqliteStore, audit, feedback, search};
use crate::store::{Result, records};

pub(super) const RUNS: &str = "SELECT r.run_id, r.project_id, r.changed_seq, r.modified_at, b.body FROM run_bodies b \
     JOIN runs r ON r.tenant_id = b.tenant_id AND r.project_id = b.project_id AND r.run_id = b.run_id \
     WHERE b.tenant_id = $1 AND b.run_id IN (SELECT unhex(value) FROM json_each($2))";

/// The newest changes of these runs.
pub(super) const NEWEST: &str = "SELECT run_id, changed_seq, modified_at FROM runs \
     WHERE tenant_id = $1 AND project_id = $2 AND run_id IN (SELECT unhex(value) FROM json_each($3))";

pub(super) const TRACES: &str = "SELECT r.run_id, r.project_id, r.changed_seq, r.modified_at, b.body FROM runs r \
     INDEXED BY runs_by_trace JOIN run_bodies b ON b.tenant_id = r.tenant_id AND b.run_id = r.run_id \
     WHERE r.tenant_id = $1 AND r.project_id = $2 AND r.trace_id IN (SELECT unhex(value) FROM json_each($3))";

pub(super) const KIN: &str = "SELECT run_id, trace_id, parent_run_id FROM runs INDEXED BY runs_by_trace \
     WHERE tenant_id = $1 AND project_id = $2 AND trace_id IN (SELECT unhex(value) FROM json_each($3))";

const LIST: &str = "SELECT r.run_id, r.project_id, r.changed_seq, r.modified_at, b.body FROM runs r";

const LIST_REST: &str = " JOIN run_bodies b ON b.tenant_id = r.tenant_id AND b.run_id = r.run_id WHERE r.tenant_id = ";

/// A trace is looked up project by project, because the index by trace begins with the project.
const ANY_PROJECT: &str = " AND r.project_id IN (SELECT project_id FROM projects WHERE tenant_id = ";

#[async_trait]
impl RunStore for SqliteStore {
    async fn accept(&self, tenant: TenantId, batch: Batch, now: Timestamp) -> Result<Accepted> {
        self.queue.accept(tenant, batch, now).await
    }

    async fn run(&self, tenant: TenantId, id: RunId) -> Result<Option<StoredRun>> {
        let query = sqlx::query(RUNS).bind(tenant.0).bind(id_list([id.0]));
        let Some(row) = query.fetch_optional(&self.readers).await? else { return Ok(None) };
        let mut runs: Vec<StoredRun> = records::run(tenant, &row)?.into_iter().collect();
        records::attach(&mut runs, feedback::on(&self.readers, tenant, [id].into_iter()).await?);
        Ok(runs.pop())
    }

    async fn runs(&self, tenant: TenantId, ids: &[RunId]) -> Result<Vec<StoredRun>> {
        let mut runs = self.fresh(tenant, ids).await?;
        let known: HashSet<RunId> = runs.iter().map(|stored| stored.run.id).collect();
        let rest: Vec<RunId> = ids.iter().copied().filter(|id| !known.contains(id)).collect();
        if !rest.is_empty() {
            let rest = id_list(rest.into_iter().map(|id| id.0));
            let rows = sqlx::query(RUNS).bind(tenant.0).bind(rest).fetch_all(&self.readers).await?;
            runs.extend(records::runs(tenant, &rows)?);
        }
        self.attach_feedback(tenant, runs).await
    }

    async fn traces(&self, tenant: TenantId, project: ProjectId, ids: &[TraceId]) -> Result<Vec<StoredRun>> {
        let ids = id_list(ids.iter().map(|id| id.0));
        let query = sqlx::query(TRACES).bind(tenant.0).bind(project.0).bind(ids);
        let rows = query.fetch_all(&self.readers).await?;
        self.with_feedback(tenant, &rows).await
    }

    async fn kin(&self, tenant: TenantId, project: ProjectId, ids: &[TraceId]) -> Result<Vec<Kin>> {
        let ids = id_list(ids.iter().map(|id| id.0));
        let query = sqlx::query(KIN).bind(tenant.0).bind(project.0).bind(ids);
        readable(&query.fetch_all(&self.readers).await?, records::kin)
    }

    async fn list_runs(&self, tenant: TenantId, query: &RunQuery) -> Result<Vec<StoredRun>> {
        let rows = page(tenant, query).build().fetch_all(&self.readers).await?;
        self.with_feedback(tenant, &rows).await
    }

    async fn search_runs(&self, tenant: TenantId, search: &Search) -> Result<Vec<Found>> {
        search::search(&self.readers, tenant, search).await
    }

    async fn feedback(&self, tenant: TenantId, id: FeedbackId) -> Result<Option<Feedback>> {
        feedback::one(&self.readers, tenant, id).await
    }

    async fn list_feedback(&self, tenant: TenantId, query: &FeedbackQuery) -> Result<Vec<Feedback>> {
        feedback::list(&self.readers, tenant, query).await
    }

    async fn delete_feedback(
        &self,
        tenant: TenantId,
        id: FeedbackId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let deleted = feedback::delete(connection, tenant, id, now).await?;
                    if deleted {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(deleted)
                })
            })
            .await
    }
}

/// The page of a query, newest start first.
pub(super) fn page(tenant: TenantId, query: &RunQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(LIST);
    if query.trace_id.is_some() {
        // Without statistics SQLite expects more of the order of another index.
        sql.push(" INDEXED BY runs_by_trace");
    }
    sql.push(LIST_REST).push_bind(tenant.0);
    if let Some(project) = query.project_id {
        sql.push(" AND r.project_id = ").push_bind(project.0);
    } else if query.trace_id.is_some() {
        sql.push(ANY_PROJECT).push_bind(tenant.0).push(")");
    }
    if let Some(trace) = query.trace_id {
        sql.push(" AND r.trace_id = ").push_bind(trace.0);
    }
    if query.roots_only {
        sql.push(" AND r.is_root");
    }
    if let Some((start, run)) = query.before {
        sql.push(" AND (r.start_at, r.run_id) < (").push_bind(start.0).push(", ").push_bind(run.0).push(")");
    }
    sql.push(" ORDER BY r.start_at DESC, r.run_id DESC LIMIT ").push_bind(query.limit);
    sql
}

impl SqliteStore {
    /// The rows' runs, each with its feedback.
    async fn with_feedback(&self, tenant: TenantId, rows: &[SqliteRow]) -> Result<Vec<StoredRun>> {
        self.attach_feedback(tenant, records::runs(tenant, rows)?).await
    }

    async fn attach_feedback(&self, tenant: TenantId, mut runs: Vec<StoredRun>) -> Result<Vec<StoredRun>> {
        let records = feedback::on(&self.readers, tenant, runs.iter().map(|stored| stored.run.id)).await?;
        records::attach(&mut runs, records);
        Ok(runs)
    }

    /// Those of these runs that have just been written, and have not changed since.
    async fn fresh(&self, tenant: TenantId, ids: &[RunId]) -> Result<Vec<StoredRun>> {
        let mut runs = Vec::new();
        for (project, kept) in self.fresh.take(tenant, ids) {
            let ids = id_list(kept.iter().map(|kept| kept.made.run.0));
            let query = sqlx::query(NEWEST).bind(tenant.0).bind(project.0).bind(ids);
            let rows = query.fetch_all(&self.readers).await?;
            let newest = rows.iter().map(records::newest).collect::<Result<_>>()?;
            let unchanged = kept.into_iter().filter(|kept| kept.is_newest(&newest));
            runs.extend(unchanged.filter_map(|kept| kept.resolve(tenant)));
        }
        Ok(runs)
    }
}
