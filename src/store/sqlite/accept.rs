//! The rows that accepting reads and writes. One writer holds the file, so that runs need no locks.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, ProjectId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::model::window::{Change, Seq};
use crate::store::accept::{BodyRow, FeedbackRow, Place, Rows, RunRow, WaitingRow};
use crate::store::failure::{RETRY_AFTER, is_repeat};
use crate::store::row::{Cells, json_text, readable};
use crate::store::sqlite::removal;
use crate::store::sqlite::row::{Insert, Values, id_list, insert};
use crate::store::{Result, StoreError, records};

const BODIES: &str = "SELECT run_id, project_id, body FROM run_bodies \
     WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2))";

/// Rows that are new. `OR FAIL`: a statement of many rows that may be undone halfway copies each page it touches aside,
/// and whoever fails here is undone as a whole.
const INSERT_BODIES: Insert = Insert {
    head: "INSERT OR FAIL INTO run_bodies (tenant_id, run_id, project_id, body) VALUES",
    columns: 4,
    tail: "",
};

const UPSERT_BODIES: Insert = Insert {
    head: "INSERT INTO run_bodies (tenant_id, run_id, project_id, body) VALUES",
    columns: 4,
    tail: "ON CONFLICT (tenant_id, run_id) DO UPDATE SET body = excluded.body",
};

pub(super) const WAITING: &str = "SELECT run_id, digest, part FROM waiting_parts \
     WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2)) ORDER BY position";

pub(super) const DELETE_WAITING: &str = "DELETE FROM waiting_parts \
     WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2))";

const INSERT_WAITING: Insert = Insert {
    head: "INSERT INTO waiting_parts (tenant_id, run_id, digest, part) VALUES",
    columns: 4,
    tail: "ON CONFLICT (tenant_id, run_id, digest) DO NOTHING",
};

const TOUCH_INCOMPLETE: Insert = Insert {
    head: "INSERT INTO incomplete_runs (tenant_id, run_id, touched_at) VALUES",
    columns: 3,
    tail: "ON CONFLICT (tenant_id, run_id) DO UPDATE SET touched_at = max(touched_at, excluded.touched_at)",
};

/// Stored strays under these parents.
const STRAYS: &str = "SELECT r.run_id FROM runs r INDEXED BY runs_stray \
     WHERE r.is_stray AND r.tenant_id = $1 AND r.parent_run_id IN (SELECT unhex(value) FROM json_each($2))";

const FIND_PROJECTS: &str = "SELECT project_id, name FROM projects \
     WHERE tenant_id = $1 AND name IN (SELECT value FROM json_each($2)) \
     UNION ALL SELECT project_id, name FROM projects \
     WHERE tenant_id = $1 AND project_id IN (SELECT unhex(value) FROM json_each($3))";

const CREATE_PROJECT: &str = "INSERT INTO projects (tenant_id, project_id, name, start_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT DO NOTHING";

const FEEDBACK: &str = "SELECT body FROM feedback \
     WHERE tenant_id = $1 AND feedback_id IN (SELECT unhex(value) FROM json_each($2))";

const UPSERT_FEEDBACK: Insert = Insert {
    head: "INSERT INTO feedback (tenant_id, feedback_id, run_id, project_id, key, source, created_at, body) VALUES",
    columns: 8,
    tail: "ON CONFLICT (tenant_id, feedback_id) DO UPDATE SET run_id = excluded.run_id, \
           project_id = excluded.project_id, key = excluded.key, source = excluded.source, \
           created_at = excluded.created_at, body = excluded.body",
};

/// Where runs are that are complete.
pub(super) const PLACES: &str = "SELECT r.run_id, r.project_id, r.trace_id FROM run_bodies b \
     JOIN runs r ON r.tenant_id = b.tenant_id AND r.project_id = b.project_id AND r.run_id = b.run_id \
     WHERE b.tenant_id = $1 AND b.run_id IN (SELECT unhex(value) FROM json_each($2))";

const INSERT_CHANGES: Insert = Insert {
    head: "INSERT OR FAIL INTO changes (tenant_id, project_id, seq, run_id, trace_id, changed_at, left_thread_id) VALUES",
    columns: 7,
    tail: "",
};

const INSERT_RUNS: Insert = Insert {
    head: "INSERT OR FAIL INTO runs (tenant_id, project_id, run_id, trace_id, parent_run_id, name, run_type, status, is_root, \
           is_stray, start_at, end_at, changed_seq, modified_at, thread_id) VALUES",
    columns: 15,
    tail: "",
};

const UPSERT_RUNS: Insert = Insert {
    head: "INSERT INTO runs (tenant_id, project_id, run_id, trace_id, parent_run_id, name, run_type, status, is_root, is_stray, \
           start_at, end_at, changed_seq, modified_at, thread_id) VALUES",
    columns: 15,
    tail: "ON CONFLICT (tenant_id, project_id, run_id) DO UPDATE SET trace_id = excluded.trace_id, \
           parent_run_id = excluded.parent_run_id, name = excluded.name, run_type = excluded.run_type, \
           status = excluded.status, is_root = excluded.is_root, is_stray = excluded.is_stray, start_at = excluded.start_at, \
           end_at = excluded.end_at, changed_seq = excluded.changed_seq, modified_at = excluded.modified_at, \
           thread_id = excluded.thread_id",
};

/// The numbers of the changes after `$4`, onto the runs they are about.
const NUMBER_RUNS: &str = "UPDATE runs SET changed_seq = c.seq FROM changes c \
     WHERE runs.tenant_id = $1 AND runs.project_id = $2 AND runs.run_id IN (SELECT unhex(value) FROM json_each($3)) \
     AND c.tenant_id = $1 AND c.project_id = $2 AND c.seq > $4 AND c.run_id = runs.run_id";

/// The parameter is an object: how many, by project.
const TAKE_NUMBERS: &str = "UPDATE projects SET last_seq = last_seq + ($2 ->> lower(hex(project_id))), \
     last_change_at = max(last_change_at, $3), start_at = CASE WHEN start_at = 0 THEN $3 ELSE start_at END \
     WHERE tenant_id = $1 AND project_id IN (SELECT unhex(key) FROM json_each($2)) \
     RETURNING project_id, last_seq, last_change_at";

const COUNT_PROJECTS: &str = "SELECT count(*) FROM projects \
     WHERE tenant_id = $1 AND project_id IN (SELECT unhex(value) FROM json_each($2))";

/// The project of a run is gone, and the run is about to follow it.
fn being_removed() -> StoreError {
    StoreError::Busy { retry_after: RETRY_AFTER }
}

fn ids(runs: &[RunId]) -> String {
    id_list(runs.iter().map(|run| run.0))
}

/// Inserts rows that should be new. If one is there all the same, they are upserted.
async fn insert_new<T>(
    connection: &mut SqliteConnection,
    new: &Insert,
    known: &Insert,
    rows: &[T],
    bind: impl Fn(&mut Values, &T),
) -> sqlx::Result<()> {
    match insert(connection, new, rows, &bind).await {
        Err(error) if is_repeat(&error) => insert(connection, known, rows, &bind).await.map(drop),
        other => other.map(drop),
    }
}

#[async_trait]
impl Rows for SqliteConnection {
    async fn lock_runs(&mut self, tenant: TenantId, _runs: &[RunId], read: &[RunId]) -> Result<Vec<BodyRow>> {
        if read.is_empty() {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(BODIES).bind(tenant.0).bind(ids(read)).fetch_all(self).await?;
        rows.iter().map(records::body).collect()
    }

    async fn put_bodies(&mut self, tenant: TenantId, rows: &[BodyRow]) -> Result<()> {
        let (new, known): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.is_new);
        let bind = |values: &mut Values, row: &&BodyRow| {
            values.push(tenant.0).push(row.run_id.0).push(row.project_id.0).push(&*row.body);
        };
        insert_new(self, &INSERT_BODIES, &UPSERT_BODIES, &new, bind).await?;
        insert(self, &UPSERT_BODIES, &known, bind).await?;
        Ok(())
    }

    async fn waiting(&mut self, tenant: TenantId, runs: &[RunId]) -> Result<Vec<WaitingRow>> {
        let rows = sqlx::query(WAITING).bind(tenant.0).bind(ids(runs)).fetch_all(self).await?;
        rows.iter().map(records::waiting).collect()
    }

    async fn put_waiting(&mut self, tenant: TenantId, rows: &[WaitingRow]) -> Result<()> {
        insert(self, &INSERT_WAITING, rows, |values, row| {
            values.push(tenant.0).push(row.run_id.0).push(row.digest.cast_signed()).push(row.part.as_slice());
        })
        .await?;
        Ok(())
    }

    async fn drop_waiting(&mut self, tenant: TenantId, runs: &[RunId]) -> Result<()> {
        sqlx::query(DELETE_WAITING).bind(tenant.0).bind(ids(runs)).execute(self).await?;
        Ok(())
    }

    async fn touch_incomplete(&mut self, tenant: TenantId, runs: &[RunId], now: Timestamp) -> Result<()> {
        insert(self, &TOUCH_INCOMPLETE, runs, |values, run| {
            values.push(tenant.0).push(run.0).push(now.0);
        })
        .await?;
        Ok(())
    }

    async fn strays(&mut self, tenant: TenantId, parents: &[RunId]) -> Result<Vec<RunId>> {
        let rows = sqlx::query(STRAYS).bind(tenant.0).bind(ids(parents)).fetch_all(self).await?;
        rows.iter().map(|row| Cells::of("runs", row).take().map(RunId)).collect()
    }

    async fn projects(
        &mut self,
        tenant: TenantId,
        names: &[String],
        ids: &[ProjectId],
    ) -> Result<Vec<(ProjectId, String)>> {
        let ids = id_list(ids.iter().map(|id| id.0));
        let query = sqlx::query(FIND_PROJECTS).bind(tenant.0).bind(json_text(names)?).bind(ids);
        query.fetch_all(self).await?.iter().map(records::project_name).collect()
    }

    async fn create_project(&mut self, tenant: TenantId, id: ProjectId, name: &str, now: Timestamp) -> Result<bool> {
        if removal::is_removed(self, tenant, id).await? {
            return Ok(false);
        }
        let query = sqlx::query(CREATE_PROJECT).bind(tenant.0).bind(id.0).bind(name).bind(now.0);
        Ok(query.execute(self).await?.rows_affected() == 1)
    }

    async fn feedback(&mut self, tenant: TenantId, ids: &[FeedbackId]) -> Result<Vec<Feedback>> {
        let ids = id_list(ids.iter().map(|id| id.0));
        // One that does not decode counts as none, and is replaced.
        readable(&sqlx::query(FEEDBACK).bind(tenant.0).bind(ids).fetch_all(self).await?, records::feedback)
    }

    async fn put_feedback(&mut self, tenant: TenantId, rows: &[FeedbackRow<'_>]) -> Result<()> {
        insert(self, &UPSERT_FEEDBACK, rows, |values, row| {
            let feedback = row.feedback;
            values.push(tenant.0).push(feedback.id.0);
            values.push(feedback.run_id.map(|run| run.0)).push(row.project_id.map(|project| project.0));
            values.push(feedback.key.as_str()).push(row.source.as_deref());
            values.push(feedback.created_at.0).push(row.body.as_str());
        })
        .await?;
        Ok(())
    }

    async fn places(&mut self, tenant: TenantId, runs: &[RunId]) -> Result<Vec<Place>> {
        let rows = sqlx::query(PLACES).bind(tenant.0).bind(ids(runs)).fetch_all(self).await?;
        rows.iter().map(records::place).collect()
    }

    async fn hold_projects(&mut self, tenant: TenantId, projects: &[ProjectId]) -> Result<()> {
        let ids = id_list(projects.iter().map(|project| project.0));
        let there: i64 = sqlx::query_scalar(COUNT_PROJECTS).bind(tenant.0).bind(ids).fetch_one(self).await?;
        if usize::try_from(there) == Ok(projects.len()) { Ok(()) } else { Err(being_removed()) }
    }

    async fn take_numbers(
        &mut self,
        tenant: TenantId,
        counts: &[(ProjectId, i64)],
        now: Timestamp,
    ) -> Result<HashMap<ProjectId, (Seq, Timestamp)>> {
        let wanted: HashMap<_, _> = counts.iter().map(|(project, count)| (project.0.simple(), count)).collect();
        let query = sqlx::query(TAKE_NUMBERS).bind(tenant.0).bind(json_text(&wanted)?).bind(now.0);
        let taken: HashMap<_, _> = query.fetch_all(self).await?.iter().map(records::numbers).collect::<Result<_>>()?;
        if taken.len() < wanted.len() { Err(being_removed()) } else { Ok(taken) }
    }

    async fn put_changes(&mut self, tenant: TenantId, changes: &[(ProjectId, Change)]) -> Result<()> {
        insert(self, &INSERT_CHANGES, changes, |values, (project, change)| {
            values.push(tenant.0).push(project.0).push(change.seq);
            values.push(change.run_id.0).push(change.trace_id.0).push(change.at.0);
            values.push(change.left.map(|thread| thread.0));
        })
        .await?;
        Ok(())
    }

    async fn put_runs(&mut self, tenant: TenantId, rows: &[RunRow]) -> Result<()> {
        let (new, known): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.is_new);
        let bind = |values: &mut Values, row: &&RunRow| {
            let run = &row.outline;
            values.push(tenant.0).push(row.project_id.0).push(row.run_id.0).push(run.trace_id.0);
            values.push(run.parent_run_id.map(|parent| parent.0));
            values.push(run.name.as_str()).push(run.run_type.as_str()).push(run.status.as_str());
            values.push(run.is_root()).push(run.is_stray());
            values.push(run.start_time.0).push(run.end_time.map(|end| end.0)).push(row.seq).push(row.at.0);
            values.push(run.thread.map(|thread| thread.0));
        };
        insert_new(self, &INSERT_RUNS, &UPSERT_RUNS, &new, bind).await?;
        insert(self, &UPSERT_RUNS, &known, bind).await?;
        Ok(())
    }

    async fn number_runs(&mut self, tenant: TenantId, project: ProjectId, runs: &[RunId], before: Seq) -> Result<()> {
        sqlx::query(NUMBER_RUNS).bind(tenant.0).bind(project.0).bind(ids(runs)).bind(before).execute(self).await?;
        Ok(())
    }
}

/// The statements that are about many rows, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 10] = [
    (STRAYS, "SEARCH r USING INDEX runs_stray (tenant_id=? AND parent_run_id=?)"),
    (BODIES, "SEARCH run_bodies USING INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
    (WAITING, "SEARCH waiting_parts USING INDEX waiting_parts_by_run (tenant_id=? AND run_id=?)"),
    (DELETE_WAITING, "SEARCH waiting_parts USING COVERING INDEX waiting_parts_by_run (tenant_id=? AND run_id=?)"),
    (FIND_PROJECTS, "SEARCH projects USING COVERING INDEX projects_by_name (tenant_id=? AND name=?)"),
    (FIND_PROJECTS, "SEARCH projects USING PRIMARY KEY (tenant_id=? AND project_id=?)"),
    (FEEDBACK, "SEARCH feedback USING PRIMARY KEY (tenant_id=? AND feedback_id=?)"),
    (NUMBER_RUNS, "SEARCH runs USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
    (NUMBER_RUNS, "SEARCH c USING PRIMARY KEY (tenant_id=? AND project_id=? AND seq>?)"),
    (TAKE_NUMBERS, "SEARCH projects USING PRIMARY KEY (tenant_id=? AND project_id=?)"),
];

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::sqlite::{Options, connect, schema};

    #[tokio::test]
    async fn a_row_that_should_be_new_and_is_not_is_replaced_and_the_others_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runhook.db");
        let mut connection = connect(&file, &Options::default()).await.unwrap();
        schema::migrate(&mut connection, &file).await.unwrap();
        let row = |run: u128, body: &'static [u8]| BodyRow {
            run_id: RunId(Uuid::from_u128(run)),
            project_id: ProjectId(Uuid::nil()),
            body: body.into(),
            is_new: true,
        };
        connection.put_bodies(TenantId::DEFAULT, &[row(2, b"old")]).await.unwrap();
        connection.put_bodies(TenantId::DEFAULT, &[row(1, b"a"), row(2, b"b"), row(3, b"c")]).await.unwrap();
        let runs = [1, 2, 3].map(|run| RunId(Uuid::from_u128(run)));
        let stored = connection.lock_runs(TenantId::DEFAULT, &[], &runs).await.unwrap();
        let mut bodies: Vec<&[u8]> = stored.iter().map(|row| &*row.body).collect();
        bodies.sort_unstable();
        assert_eq!(bodies, [b"a", b"b", b"c"]);
    }
}
