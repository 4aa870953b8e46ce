//! Reading and removing feedback.

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::store::postgres::accept::Held;
use crate::store::postgres::ids;
use crate::store::postgres::session::Session;
use crate::store::row::readable;
use crate::store::runs::FeedbackQuery;
use crate::store::{Result, accept, records};

const ON_RUNS: &str = "SELECT body FROM feedback WHERE tenant_id = $1 AND run_id = ANY($2::uuid[]) \
     ORDER BY created_at, feedback_id";

const ONE: &str = "SELECT body FROM feedback WHERE tenant_id = $1 AND feedback_id = $2";

const PAGE: &str = "SELECT f.body FROM feedback f WHERE f.tenant_id = ";

/// Feedback that came before its run is in the run's project all the same.
const IN_PROJECTS: &str = " AND coalesce((SELECT b.project_id FROM run_bodies b WHERE b.tenant_id = f.tenant_id \
     AND b.run_id = f.run_id), f.project_id) = ANY(";

const DELETE: &str = "DELETE FROM feedback WHERE tenant_id = $1 AND feedback_id = $2 RETURNING run_id";

/// Feedback on these runs, oldest first.
pub(super) async fn on(
    connection: &mut Session,
    tenant: TenantId,
    runs: impl Iterator<Item = RunId>,
) -> Result<Vec<Feedback>> {
    let runs: Vec<Uuid> = runs.map(|run| run.0).collect();
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(ON_RUNS).bind(tenant.0).bind(runs).fetch_all(connection).await?;
    readable(&rows, records::feedback)
}

pub(super) async fn one(connection: &mut Session, tenant: TenantId, id: FeedbackId) -> Result<Option<Feedback>> {
    let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(records::feedback).transpose()
}

pub(super) async fn list(connection: &mut Session, tenant: TenantId, query: &FeedbackQuery) -> Result<Vec<Feedback>> {
    readable(&page(tenant, query).build().fetch_all(connection).await?, records::feedback)
}

/// The page of a query, newest first.
pub(super) fn page(tenant: TenantId, query: &FeedbackQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(PAGE);
    sql.push_bind(tenant.0);
    if !query.runs.is_empty() {
        sql.push(" AND f.run_id = ANY(").push_bind(ids(&query.runs, |run| run.0)).push(")");
    }
    for (column, words) in [(" AND f.key = ANY(", &query.keys), (" AND f.source = ANY(", &query.sources)] {
        if !words.is_empty() {
            sql.push(column).push_bind(words.clone()).push(")");
        }
    }
    if !query.projects.is_empty() {
        sql.push(IN_PROJECTS).push_bind(ids(&query.projects, |project| project.0)).push(")");
    }
    if let Some(on_runs) = query.on_runs {
        sql.push(if on_runs { " AND f.run_id IS NOT NULL" } else { " AND f.run_id IS NULL" });
    }
    if let Some(from) = query.created_from {
        sql.push(" AND f.created_at >= ").push_bind(from.0);
    }
    if let Some(until) = query.created_until {
        sql.push(" AND f.created_at <= ").push_bind(until.0);
    }
    if let Some((made, id)) = query.before {
        sql.push(" AND (f.created_at, f.feedback_id) < (").push_bind(made.0).push(", ").push_bind(id.0).push(")");
    }
    sql.push(" ORDER BY f.created_at DESC, f.feedback_id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql.push(" OFFSET ").push_bind(i64::from(query.offset));
    sql
}

/// Removes a record, with a change for its run. Whether it was there.
pub(super) async fn delete(connection: &mut Session, tenant: TenantId, id: FeedbackId, now: Timestamp) -> Result<bool> {
    let deleted: Option<(Option<Uuid>,)> =
        sqlx::query_as(DELETE).bind(tenant.0).bind(id.0).fetch_optional(&mut *connection).await?;
    let Some((run,)) = deleted else { return Ok(false) };
    if let Some(run) = run {
        let mut held = Held::by(connection);
        accept::stir(&mut held, tenant, RunId(run), now).await?;
        held.let_go(tenant).await?;
    }
    Ok(true)
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] =
    &[(ON_RUNS, &["feedback_by_run"]), (ONE, &["feedback_pkey"]), (DELETE, &["feedback_pkey"])];
