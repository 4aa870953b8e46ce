//! Reading and removing feedback.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::store::row::{json_text, readable};
use crate::store::runs::FeedbackQuery;
use crate::store::sqlite::row::id_list;
use crate::store::{Result, accept, records};

pub(super) const ON_RUNS: &str = "SELECT body FROM feedback INDEXED BY feedback_by_run \
     WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2)) ORDER BY created_at, feedback_id";

const ONE: &str = "SELECT body FROM feedback WHERE tenant_id = $1 AND feedback_id = $2";

const DELETE: &str = "DELETE FROM feedback WHERE tenant_id = $1 AND feedback_id = $2 RETURNING run_id";

/// Feedback on these runs, oldest first.
pub(super) async fn on(
    readers: &SqlitePool,
    tenant: TenantId,
    runs: impl Iterator<Item = RunId>,
) -> Result<Vec<Feedback>> {
    let ids = id_list(runs.map(|run| run.0));
    if ids == "[]" {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(ON_RUNS).bind(tenant.0).bind(ids).fetch_all(readers).await?;
    readable(&rows, records::feedback)
}

pub(super) async fn one(readers: &SqlitePool, tenant: TenantId, id: FeedbackId) -> Result<Option<Feedback>> {
    let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(readers).await?;
    row.as_ref().map(records::feedback).transpose()
}

pub(super) async fn list(readers: &SqlitePool, tenant: TenantId, query: &FeedbackQuery) -> Result<Vec<Feedback>> {
    readable(&page(tenant, query)?.build().fetch_all(readers).await?, records::feedback)
}

/// The page of a query, newest first. Feedback that came before its run is in the run's project all the same.
pub(super) fn page(tenant: TenantId, query: &FeedbackQuery) -> Result<QueryBuilder<Sqlite>> {
    let mut sql = QueryBuilder::new("SELECT f.body FROM feedback f");
    if !query.runs.is_empty() {
        // Without statistics SQLite reads all of the tenant's rather than sort a few.
        sql.push(" INDEXED BY feedback_by_run");
    }
    sql.push(" WHERE f.tenant_id = ").push_bind(tenant.0);
    if !query.runs.is_empty() {
        let runs = id_list(query.runs.iter().map(|run| run.0));
        sql.push(" AND f.run_id IN (SELECT unhex(value) FROM json_each(").push_bind(runs).push("))");
    }
    for (column, words) in [("f.key", &query.keys), ("f.source", &query.sources)] {
        if !words.is_empty() {
            sql.push(" AND ").push(column).push(" IN (SELECT value FROM json_each(");
            sql.push_bind(json_text(words)?).push("))");
        }
    }
    if !query.projects.is_empty() {
        let projects = id_list(query.projects.iter().map(|project| project.0));
        sql.push(
            " AND coalesce((SELECT b.project_id FROM run_bodies b WHERE b.tenant_id = f.tenant_id AND b.run_id = \
             f.run_id), f.project_id) IN (SELECT unhex(value) FROM json_each(",
        );
        sql.push_bind(projects).push("))");
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
    sql.push(" ORDER BY f.created_at DESC, f.feedback_id DESC LIMIT ").push_bind(query.limit);
    sql.push(" OFFSET ").push_bind(query.offset);
    Ok(sql)
}

/// Removes a record, with a change for its run. Whether it was there.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    id: FeedbackId,
    now: Timestamp,
) -> Result<bool> {
    let deleted: Option<(Option<Uuid>,)> =
        sqlx::query_as(DELETE).bind(tenant.0).bind(id.0).fetch_optional(&mut *connection).await?;
    let Some((run,)) = deleted else { return Ok(false) };
    if let Some(run) = run {
        accept::stir(connection, tenant, RunId(run), now).await?;
    }
    Ok(true)
}

/// Further statements that requests and loops run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 2] = [
    (ONE, "SEARCH feedback USING PRIMARY KEY (tenant_id=? AND feedback_id=?)"),
    (DELETE, "SEARCH feedback USING PRIMARY KEY (tenant_id=? AND feedback_id=?)"),
];
