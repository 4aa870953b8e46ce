//! Removing projects: one goes at once, what it held in bounded steps. Looking for that is the readers' work; the writer
//! is kept for as long as a step takes.

use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use crate::model::id::{ProjectId, TenantId};
use crate::store::retention::Dropped;
use crate::store::revision::RuleRows as _;
use crate::store::sqlite::row::id_list;
use crate::store::sqlite::{SqliteStore, retention};
use crate::store::windows::ProjectKey;
use crate::store::{Result, records};

const REMOVE: &str = "DELETE FROM projects WHERE tenant_id = $1 AND project_id = $2";

const NOTE: &str = "INSERT INTO removed_projects (tenant_id, project_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// What says how far rules have come in it, and its alerts with their endpoints: without this nothing is evaluated. What
/// waits for such an endpoint fails when it is claimed.
const DROP_PROGRESS: [&str; 5] = [
    "DELETE FROM group_cursors WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM rule_starts WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM rule_spans WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM endpoints WHERE tenant_id = $1 AND alert_id IN \
     (SELECT alert_id FROM alerts WHERE tenant_id = $1 AND project_id = $2)",
    "DELETE FROM alerts WHERE tenant_id = $1 AND project_id = $2",
];

const IS_REMOVED: &str = "SELECT EXISTS (SELECT 1 FROM removed_projects WHERE tenant_id = $1 AND project_id = $2)";

/// One of which there is something left. A project of this id that is there again was made by a version that knows
/// nothing of this: what is in it now cannot be told apart.
const NEXT: &str = "SELECT d.tenant_id, d.project_id FROM removed_projects d WHERE NOT EXISTS \
     (SELECT 1 FROM projects p WHERE p.tenant_id = d.tenant_id AND p.project_id = d.project_id) LIMIT 1";

const FORGET: &str = "DELETE FROM removed_projects WHERE tenant_id = $1 AND project_id = $2";

const COMPLETE: &str = "SELECT run_id FROM runs WHERE tenant_id = $1 AND project_id = $2 ORDER BY run_id LIMIT $3";

const INCOMPLETE: &str = "SELECT b.run_id FROM incomplete_runs i \
     CROSS JOIN run_bodies b ON b.tenant_id = i.tenant_id AND b.run_id = i.run_id \
     WHERE i.tenant_id = $1 AND b.project_id = $2 LIMIT $3";

/// Those of these runs that are still there, and nowhere else: one may have gone and come again meanwhile.
const STILL_THERE: &str = "SELECT run_id FROM run_bodies WHERE tenant_id = $1 AND project_id = $2 \
     AND run_id IN (SELECT unhex(value) FROM json_each($3))";

const DROP_RUNS: &str =
    "DELETE FROM runs WHERE tenant_id = $1 AND project_id = $2 AND run_id IN (SELECT unhex(value) FROM json_each($3))";

const DROP_MATCHES: &str = "DELETE FROM matches INDEXED BY matches_by_run WHERE tenant_id = $1 \
     AND run_id IN (SELECT unhex(value) FROM json_each($3)) AND project_id = $2";

/// Of which kinds of what is left when all runs are gone there is something. Feedback whose run is known is where its run
/// is, whatever its sender said.
const REST: &str = "SELECT \
     EXISTS (SELECT 1 FROM changes WHERE tenant_id = $1 AND project_id = $2), \
     EXISTS (SELECT 1 FROM feedback f WHERE tenant_id = $1 AND project_id = $2 AND NOT EXISTS \
     (SELECT 1 FROM run_bodies b WHERE b.tenant_id = f.tenant_id AND b.run_id = f.run_id)), \
     EXISTS (SELECT 1 FROM matches WHERE tenant_id = $1 AND project_id = $2), \
     EXISTS (SELECT 1 FROM windows WHERE tenant_id = $1 AND project_id = $2), \
     EXISTS (SELECT 1 FROM window_finds WHERE tenant_id = $1 AND project_id = $2)";

const DROP_REST: [&str; 5] = [
    "DELETE FROM changes WHERE tenant_id = $1 AND project_id = $2 AND seq IN \
     (SELECT seq FROM changes WHERE tenant_id = $1 AND project_id = $2 ORDER BY seq LIMIT $3)",
    "DELETE FROM feedback WHERE tenant_id = $1 AND feedback_id IN \
     (SELECT feedback_id FROM feedback f WHERE tenant_id = $1 AND project_id = $2 AND NOT EXISTS \
     (SELECT 1 FROM run_bodies b WHERE b.tenant_id = f.tenant_id AND b.run_id = f.run_id) LIMIT $3)",
    "DELETE FROM matches WHERE (tenant_id, rule_id, run_id) IN (SELECT tenant_id, rule_id, run_id FROM matches \
     WHERE tenant_id = $1 AND project_id = $2 LIMIT $3)",
    "DELETE FROM windows WHERE (tenant_id, window_id) IN (SELECT tenant_id, window_id FROM windows \
     WHERE tenant_id = $1 AND project_id = $2 LIMIT $3)",
    "DELETE FROM window_finds WHERE (tenant_id, rule_id, end_at, window_id) IN \
     (SELECT tenant_id, rule_id, end_at, window_id FROM window_finds WHERE tenant_id = $1 AND project_id = $2 LIMIT $3)",
];

/// What is left of a removed project, as far as a step goes.
enum Left {
    Runs(Vec<Uuid>),
    /// Kinds, as in [`DROP_REST`].
    Rest(Vec<&'static str>),
    Nothing,
}

impl SqliteStore {
    /// A removed project of which there is something left.
    pub(super) async fn removed_project(&self) -> Result<Option<ProjectKey>> {
        let row = sqlx::query(NEXT).fetch_optional(&self.readers).await?;
        row.as_ref().map(records::project_key).transpose()
    }

    /// Drops some of what a removed project held.
    pub(super) async fn drop_some(&self, project: ProjectKey, limit: u32) -> Result<Dropped> {
        let left = self.look_at_removed(project, limit).await?;
        self.queue.write(move |connection| Box::pin(drop_left(connection, project, left, limit))).await
    }

    async fn look_at_removed(&self, (tenant, project): ProjectKey, limit: u32) -> Result<Left> {
        for statement in [COMPLETE, INCOMPLETE] {
            let query = sqlx::query_scalar::<_, Uuid>(statement).bind(tenant.0).bind(project.0).bind(limit);
            let runs = query.fetch_all(&self.readers).await?;
            if !runs.is_empty() {
                return Ok(Left::Runs(runs));
            }
        }
        let query = sqlx::query_as::<_, (bool, bool, bool, bool, bool)>(REST).bind(tenant.0).bind(project.0);
        let (changes, feedback, matches, windows, finds) = query.fetch_one(&self.readers).await?;
        let there = [changes, feedback, matches, windows, finds].into_iter().zip(DROP_REST);
        let rest: Vec<_> = there.filter_map(|(is_there, statement)| is_there.then_some(statement)).collect();
        Ok(if rest.is_empty() { Left::Nothing } else { Left::Rest(rest) })
    }
}

/// Windows being evaluated over the project must not be committed over its next life: that is what the version is for.
pub(super) async fn remove(connection: &mut SqliteConnection, tenant: TenantId, id: ProjectId) -> Result<bool> {
    let there = sqlx::query(REMOVE).bind(tenant.0).bind(id.0).execute(&mut *connection).await?.rows_affected() > 0;
    if there {
        for statement in DROP_PROGRESS.into_iter().chain([NOTE]) {
            sqlx::query(statement).bind(tenant.0).bind(id.0).execute(&mut *connection).await?;
        }
        connection.bump_version().await?;
    }
    Ok(there)
}

/// Whether something may be left of a removed project with this id.
pub(super) async fn is_removed(connection: &mut SqliteConnection, tenant: TenantId, id: ProjectId) -> Result<bool> {
    Ok(sqlx::query_scalar(IS_REMOVED).bind(tenant.0).bind(id.0).fetch_one(connection).await?)
}

async fn drop_left(
    connection: &mut SqliteConnection,
    (tenant, project): ProjectKey,
    left: Left,
    limit: u32,
) -> Result<Dropped> {
    let (tenant, project) = (tenant.0, project.0);
    let mut rows = 0_u64;
    match left {
        Left::Runs(runs) => {
            let runs = id_list(runs);
            let query = sqlx::query_scalar::<_, Uuid>(STILL_THERE).bind(tenant).bind(project).bind(&runs);
            let still_there = id_list(query.fetch_all(&mut *connection).await?);
            for statement in retention::DROP_WITH_RUNS {
                let query = sqlx::query(statement).bind(tenant).bind(&still_there);
                rows = rows.saturating_add(query.execute(&mut *connection).await?.rows_affected());
            }
            for statement in [DROP_MATCHES, DROP_RUNS] {
                let query = sqlx::query(statement).bind(tenant).bind(project).bind(&runs);
                rows = rows.saturating_add(query.execute(&mut *connection).await?.rows_affected());
            }
        }
        Left::Rest(statements) => {
            for statement in statements {
                let query = sqlx::query(statement).bind(tenant).bind(project).bind(limit);
                rows = rows.saturating_add(query.execute(&mut *connection).await?.rows_affected());
            }
        }
        Left::Nothing => {
            sqlx::query(FORGET).bind(tenant).bind(project).execute(connection).await?;
            return Ok(Dropped::default());
        }
    }
    Ok(Dropped { rows, more: true })
}

/// The statements that are about many rows, each with a step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 6] = [
    (COMPLETE, "SEARCH runs USING PRIMARY KEY (tenant_id=? AND project_id=?)"),
    (INCOMPLETE, "SEARCH b USING INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
    (STILL_THERE, "INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
    (DROP_MATCHES, "INDEX matches_by_run (tenant_id=? AND run_id=?)"),
    (DROP_RUNS, "SEARCH runs USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
    (DROP_REST[0], "SEARCH changes USING PRIMARY KEY (tenant_id=? AND project_id=?"),
];
