//! Removing projects: one goes at once, what it held in bounded steps. Runs are locked as batches lock them.

use uuid::Uuid;

use crate::model::id::{ProjectId, TenantId};
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, retention};
use crate::store::retention::Dropped;
use crate::store::revision::RuleRows as _;
use crate::store::windows::ProjectKey;
use crate::store::{Result, records};

const IS_THERE: &str = "SELECT EXISTS (SELECT 1 FROM projects WHERE tenant_id = $1 AND project_id = $2)";

const REMOVE: &str = "DELETE FROM projects WHERE tenant_id = $1 AND project_id = $2";

const NOTE: &str = "INSERT INTO removed_projects (tenant_id, project_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// What says how far rules have come in it, and its alerts with their endpoints: without this nothing is evaluated. What
/// waits for such an endpoint fails when it is claimed.
const DROP_PROGRESS: [&str; 6] = [
    "DELETE FROM group_cursors WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM rule_starts WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM rule_spans WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM project_leases WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM endpoints WHERE tenant_id = $1 AND alert_id IN \
     (SELECT alert_id FROM alerts WHERE tenant_id = $1 AND project_id = $2)",
    "DELETE FROM alerts WHERE tenant_id = $1 AND project_id = $2",
];

const ARE_REMOVED: &str =
    "SELECT EXISTS (SELECT 1 FROM removed_projects WHERE tenant_id = $1 AND project_id = ANY($2::uuid[]))";

/// One of which there is something left. A project of this id that is there again was made by a version that knows
/// nothing of this: what is in it now cannot be told apart.
const NEXT: &str = "SELECT d.tenant_id, d.project_id FROM removed_projects d WHERE NOT EXISTS \
     (SELECT 1 FROM projects p WHERE p.tenant_id = d.tenant_id AND p.project_id = d.project_id) LIMIT 1";

const FORGET: &str = "DELETE FROM removed_projects WHERE tenant_id = $1 AND project_id = $2";

const COMPLETE: &str = "SELECT run_id FROM runs WHERE tenant_id = $1 AND project_id = $2 ORDER BY run_id LIMIT $3";

const INCOMPLETE: &str = "SELECT b.run_id FROM incomplete_runs i \
     JOIN run_bodies b ON b.tenant_id = i.tenant_id AND b.run_id = i.run_id \
     WHERE i.tenant_id = $1 AND b.project_id = $2 LIMIT $3";

/// Those of these runs that are still there, and nowhere else: one may have gone and come again meanwhile.
const HOLD: &str = "SELECT run_id FROM run_bodies WHERE tenant_id = $1 AND project_id = $2 \
     AND run_id = ANY($3::uuid[]) ORDER BY run_id FOR UPDATE";

const DROP_RUNS: &str = "DELETE FROM runs WHERE tenant_id = $1 AND project_id = $2 AND run_id = ANY($3::uuid[])";

const DROP_MATCHES: &str = "DELETE FROM matches WHERE tenant_id = $1 AND run_id = ANY($3::uuid[]) AND project_id = $2";

/// What is left when all runs are gone. Feedback whose run is known is where its run is, whatever its sender said.
const DROP_REST: [&str; 5] = [
    "DELETE FROM changes WHERE tenant_id = $1 AND project_id = $2 AND seq IN \
     (SELECT seq FROM changes WHERE tenant_id = $1 AND project_id = $2 ORDER BY seq LIMIT $3)",
    "DELETE FROM feedback WHERE tenant_id = $1 AND feedback_id IN \
     (SELECT feedback_id FROM feedback f WHERE tenant_id = $1 AND project_id = $2 AND NOT EXISTS \
     (SELECT 1 FROM run_bodies b WHERE b.tenant_id = f.tenant_id AND b.run_id = f.run_id) LIMIT $3)",
    "DELETE FROM matches WHERE tenant_id = $1 AND (rule_id, run_id) IN \
     (SELECT rule_id, run_id FROM matches WHERE tenant_id = $1 AND project_id = $2 LIMIT $3)",
    "DELETE FROM windows WHERE tenant_id = $1 AND window_id IN \
     (SELECT window_id FROM windows WHERE tenant_id = $1 AND project_id = $2 LIMIT $3)",
    "DELETE FROM window_finds WHERE tenant_id = $1 AND (rule_id, end_at, window_id) IN \
     (SELECT rule_id, end_at, window_id FROM window_finds WHERE tenant_id = $1 AND project_id = $2 LIMIT $3)",
];

impl PgStore {
    /// A removed project of which there is something left.
    pub(super) async fn removed_project(&self) -> Result<Option<ProjectKey>> {
        let row = sqlx::query(NEXT).fetch_optional(&mut *self.reader().await?).await?;
        row.as_ref().map(records::project_key).transpose()
    }

    /// Drops some of what a removed project held.
    pub(super) async fn drop_some(&self, project: ProjectKey, limit: u32) -> Result<Dropped> {
        self.run("drop_removed", |mut this| {
            Box::pin(async move {
                let dropped = drop_some(&mut this, project, limit).await?;
                Ok(this.done(dropped))
            })
        })
        .await
    }
}

/// Windows being evaluated over the project must not be committed over its next life: that is what the version is for.
/// It is locked first, as by every commit of a window; the project's row second, which no batch gets past.
pub(super) async fn remove(connection: &mut Session, tenant: TenantId, id: ProjectId) -> Result<bool> {
    if !sqlx::query_scalar(IS_THERE).bind(tenant.0).bind(id.0).fetch_one(&mut *connection).await? {
        return Ok(false);
    }
    connection.bump_version().await?;
    let there = sqlx::query(REMOVE).bind(tenant.0).bind(id.0).execute(&mut *connection).await?.rows_affected() > 0;
    if there {
        for statement in DROP_PROGRESS.into_iter().chain([NOTE]) {
            sqlx::query(statement).bind(tenant.0).bind(id.0).execute(&mut *connection).await?;
        }
    }
    Ok(there)
}

/// Whether something may be left of a removed project with one of these ids.
pub(super) async fn are_removed(connection: &mut Session, tenant: TenantId, ids: &[Uuid]) -> Result<bool> {
    Ok(sqlx::query_scalar(ARE_REMOVED).bind(tenant.0).bind(ids).fetch_one(connection).await?)
}

async fn drop_some(connection: &mut Session, (tenant, project): ProjectKey, limit: u32) -> Result<Dropped> {
    let (tenant, project, limit) = (tenant.0, project.0, i64::from(limit));
    for statement in [COMPLETE, INCOMPLETE] {
        let query = sqlx::query_scalar::<_, Uuid>(statement).bind(tenant).bind(project).bind(limit);
        let runs = query.fetch_all(&mut *connection).await?;
        if !runs.is_empty() {
            return Ok(Dropped { rows: drop_runs(connection, tenant, project, &runs).await?, more: true });
        }
    }
    let mut rows = 0_u64;
    for statement in DROP_REST {
        let query = sqlx::query(statement).bind(tenant).bind(project).bind(limit);
        rows = rows.saturating_add(query.execute(&mut *connection).await?.rows_affected());
    }
    if rows == 0 {
        sqlx::query(FORGET).bind(tenant).bind(project).execute(connection).await?;
    }
    Ok(Dropped { rows, more: rows > 0 })
}

async fn drop_runs(connection: &mut Session, tenant: Uuid, project: Uuid, runs: &[Uuid]) -> Result<u64> {
    let query = sqlx::query_scalar::<_, Uuid>(HOLD).bind(tenant).bind(project).bind(runs);
    let held = query.fetch_all(&mut *connection).await?;
    let mut rows = 0_u64;
    for statement in retention::DROP_WITH_RUNS {
        let query = sqlx::query(statement).bind(tenant).bind(&held);
        rows = rows.saturating_add(query.execute(&mut *connection).await?.rows_affected());
    }
    for statement in [DROP_MATCHES, DROP_RUNS] {
        let query = sqlx::query(statement).bind(tenant).bind(project).bind(runs);
        rows = rows.saturating_add(query.execute(&mut *connection).await?.rows_affected());
    }
    Ok(rows)
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[
    (COMPLETE, &["runs_pkey"]),
    (INCOMPLETE, &["run_bodies_pkey"]),
    (HOLD, &["run_bodies_pkey"]),
    (DROP_MATCHES, &["matches_by_run"]),
    (DROP_RUNS, &["runs_pkey"]),
    (DROP_REST[0], &["changes_pkey"]),
];
