//! Accepting batches, and reading runs.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder};

use crate::model::audit::Entry;
use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, ProjectId, RunId, TenantId, TraceId};
use crate::model::run::StoredRun;
use crate::model::time::Timestamp;
use crate::store::postgres::runner::Reader;
use crate::store::postgres::{PgStore, Topic, audit, feedback, ids, search};
use crate::store::row::readable;
use crate::store::runs::{Accepted, Batch, FeedbackQuery, Kin, RunQuery, RunStore};
use crate::store::search::{Found, Search};
use crate::store::{Result, records};

const RUNS: &str = "SELECT r.run_id, r.project_id, r.changed_seq, r.modified_at, b.body FROM run_bodies b \
     JOIN runs r ON r.tenant_id = b.tenant_id AND r.project_id = b.project_id AND r.run_id = b.run_id \
     WHERE b.tenant_id = $1 AND b.run_id = ANY($2::uuid[])";

const TRACES: &str = "SELECT r.run_id, r.project_id, r.changed_seq, r.modified_at, b.body FROM runs r \
     JOIN run_bodies b ON b.tenant_id = r.tenant_id AND b.run_id = r.run_id \
     WHERE r.tenant_id = $1 AND r.project_id = $2 AND r.trace_id = ANY($3::uuid[])";

const KIN: &str = "SELECT run_id, trace_id, parent_run_id FROM runs \
     WHERE tenant_id = $1 AND project_id = $2 AND trace_id = ANY($3::uuid[])";

const PAGE: &str = "SELECT r.run_id, r.project_id, r.changed_seq, r.modified_at, b.body FROM runs r \
     JOIN run_bodies b ON b.tenant_id = r.tenant_id AND b.run_id = r.run_id WHERE r.tenant_id = ";

/// A trace is looked up project by project, because the index by trace begins with the project.
const ANY_PROJECT: &str = " AND r.project_id IN (SELECT project_id FROM projects WHERE tenant_id = ";

#[async_trait]
impl RunStore for PgStore {
    async fn accept(&self, tenant: TenantId, batch: Batch, now: Timestamp) -> Result<Accepted> {
        self.accept_in_a_group(tenant, batch, now).await
    }

    async fn run(&self, tenant: TenantId, id: RunId) -> Result<Option<StoredRun>> {
        let mut reader = self.reader().await?;
        let query = sqlx::query(RUNS).bind(tenant.0).bind([id.0]);
        let Some(row) = query.fetch_optional(&mut *reader).await? else { return Ok(None) };
        let mut runs: Vec<StoredRun> = records::run(tenant, &row)?.into_iter().collect();
        records::attach(&mut runs, feedback::on(&mut reader, tenant, [id].into_iter()).await?);
        Ok(runs.pop())
    }

    async fn runs(&self, tenant: TenantId, runs: &[RunId]) -> Result<Vec<StoredRun>> {
        self.read(async {
            let mut reader = self.reader().await?;
            let query = sqlx::query(RUNS).bind(tenant.0).bind(ids(runs, |run| run.0));
            let rows = query.fetch_all(&mut *reader).await?;
            with_feedback(&mut reader, tenant, &rows).await
        })
        .await
    }

    async fn traces(&self, tenant: TenantId, project: ProjectId, traces: &[TraceId]) -> Result<Vec<StoredRun>> {
        self.read(async {
            let mut reader = self.reader().await?;
            let query = sqlx::query(TRACES).bind(tenant.0).bind(project.0).bind(ids(traces, |trace| trace.0));
            let rows = query.fetch_all(&mut *reader).await?;
            with_feedback(&mut reader, tenant, &rows).await
        })
        .await
    }

    async fn kin(&self, tenant: TenantId, project: ProjectId, traces: &[TraceId]) -> Result<Vec<Kin>> {
        self.read(async {
            let query = sqlx::query(KIN).bind(tenant.0).bind(project.0).bind(ids(traces, |trace| trace.0));
            readable(&query.fetch_all(&mut *self.reader().await?).await?, records::kin)
        })
        .await
    }

    async fn list_runs(&self, tenant: TenantId, query: &RunQuery) -> Result<Vec<StoredRun>> {
        self.read(async {
            let mut reader = self.reader().await?;
            let rows = page(tenant, query).build().fetch_all(&mut *reader).await?;
            with_feedback(&mut reader, tenant, &rows).await
        })
        .await
    }

    async fn search_runs(&self, tenant: TenantId, search: &Search) -> Result<Vec<Found>> {
        self.read(async { search::search(&mut *self.reader().await?, tenant, search).await }).await
    }

    async fn feedback(&self, tenant: TenantId, id: FeedbackId) -> Result<Option<Feedback>> {
        self.read(async { feedback::one(&mut *self.reader().await?, tenant, id).await }).await
    }

    async fn list_feedback(&self, tenant: TenantId, query: &FeedbackQuery) -> Result<Vec<Feedback>> {
        self.read(async { feedback::list(&mut *self.reader().await?, tenant, query).await }).await
    }

    async fn delete_feedback(
        &self,
        tenant: TenantId,
        id: FeedbackId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        let told = told.as_slice();
        let deleted = self
            .run("delete_feedback", |mut this| {
                Box::pin(async move {
                    let deleted = feedback::delete(&mut this, tenant, id, now).await?;
                    if deleted {
                        audit::write(&mut this, told).await?;
                    }
                    let deleted = deleted || this.in_doubt;
                    Ok(this.done(deleted))
                })
            })
            .await?;
        self.poke(Topic::Changes);
        Ok(deleted)
    }
}

/// The page of a query, newest start first.
pub(super) fn page(tenant: TenantId, query: &RunQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(PAGE);
    sql.push_bind(tenant.0);
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
    sql.push(" ORDER BY r.start_at DESC, r.run_id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql
}

/// The rows' runs, each with its feedback.
async fn with_feedback(reader: &mut Reader, tenant: TenantId, rows: &[PgRow]) -> Result<Vec<StoredRun>> {
    let mut runs = records::runs(tenant, rows)?;
    let feedback = feedback::on(reader, tenant, runs.iter().map(|stored| stored.run.id)).await?;
    records::attach(&mut runs, feedback);
    Ok(runs)
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[
    (RUNS, &["run_bodies_pkey", "runs_pkey"]),
    (TRACES, &["runs_by_trace", "run_bodies_pkey"]),
    (KIN, &["runs_by_trace"]),
];
