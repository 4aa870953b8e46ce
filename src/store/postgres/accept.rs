//! The rows that accepting reads and writes, and how two transactions keep off each other's runs.
//!
//! A run is locked by its row in `run_bodies`. A run that has none gets one that says nothing, in no project: whoever
//! else wants to insert that row waits until this transaction ends, and then finds what it wrote. Rows that were only
//! held are removed before the end, so nobody ever sees one. That is a lock on something that does not exist yet, made of
//! nothing but INSERT: it needs no advisory locks, of which a large batch would need thousands, and works wherever a
//! primary key does. So of two first parts of one run the second merges into what the first stored; a patch that has to
//! wait is in `waiting_parts` before the post that takes it along can look, or comes after it and finds its run.
//!
//! Rows are locked in the order of their ids, projects after runs. Relatives (a parent's path, strays) are locked later
//! and out of order; if that makes a deadlock, one of the two runs again.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, ProjectId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::model::window::{Change, Seq};
use crate::store::accept::{BodyRow, FeedbackRow, Place, Rows, RunRow, WaitingRow, ensure_default};
use crate::store::postgres::runner::gone;
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, ids, removal, text};
use crate::store::row::{Cells, readable};
use crate::store::{Result, StoreError, records};

const HOLD: &str = "INSERT INTO run_bodies (tenant_id, run_id, project_id, body) \
     SELECT $1, run_id, '00000000-0000-0000-0000-000000000000', '' FROM unnest($2::uuid[]) AS held (run_id) \
     ORDER BY run_id ON CONFLICT DO NOTHING RETURNING run_id";

/// Locks rows, and reads some of them as they are once locked.
const LOCK: &str = "SELECT run_id, project_id, CASE WHEN run_id = ANY($3::uuid[]) THEN body END FROM run_bodies \
     WHERE tenant_id = $1 AND run_id = ANY($2::uuid[]) ORDER BY run_id FOR UPDATE";

const LET_GO: &str = "DELETE FROM run_bodies WHERE tenant_id = $1 AND run_id = ANY($2::uuid[])";

/// Keeps projects from being removed until the transaction ends.
const HOLD_PROJECTS: &str = "SELECT count(*) FROM (SELECT project_id FROM projects WHERE tenant_id = $1 \
     AND project_id = ANY($2::uuid[]) ORDER BY project_id FOR KEY SHARE) AS held";

const UPSERT_BODIES: &str = "INSERT INTO run_bodies (tenant_id, run_id, project_id, body) \
     SELECT $1, run_id, project_id, body FROM unnest($2::uuid[], $3::uuid[], $4::bytea[]) \
     AS put (run_id, project_id, body) \
     ON CONFLICT (tenant_id, run_id) DO UPDATE SET project_id = excluded.project_id, body = excluded.body";

pub(super) const WAITING: &str = "SELECT run_id, digest, part FROM waiting_parts \
     WHERE tenant_id = $1 AND run_id = ANY($2::uuid[]) ORDER BY position";

const INSERT_WAITING: &str = "INSERT INTO waiting_parts (tenant_id, run_id, digest, part) \
     SELECT $1, run_id, digest, part FROM unnest($2::uuid[], $3::bigint[], $4::bytea[]) \
     WITH ORDINALITY AS put (run_id, digest, part, position) ORDER BY position \
     ON CONFLICT (tenant_id, run_id, digest) DO NOTHING";

pub(super) const DELETE_WAITING: &str = "DELETE FROM waiting_parts WHERE tenant_id = $1 AND run_id = ANY($2::uuid[])";

const TOUCH_INCOMPLETE: &str = "INSERT INTO incomplete_runs AS known (tenant_id, run_id, touched_at) \
     SELECT $1, run_id, $3 FROM unnest($2::uuid[]) AS put (run_id) ORDER BY run_id \
     ON CONFLICT (tenant_id, run_id) DO UPDATE SET touched_at = greatest(known.touched_at, excluded.touched_at)";

const STRAYS: &str = "SELECT run_id FROM runs \
     WHERE is_stray AND tenant_id = $1 AND parent_run_id = ANY($2::uuid[])";

const FIND_PROJECTS: &str = "SELECT project_id, name FROM projects WHERE tenant_id = $1 AND name = ANY($2::text[]) \
     UNION ALL SELECT project_id, name FROM projects WHERE tenant_id = $1 AND project_id = ANY($3::uuid[])";

const CREATE_PROJECT: &str = "INSERT INTO projects (tenant_id, project_id, name, start_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT DO NOTHING";

const UNCREATE_PROJECT: &str = "DELETE FROM projects WHERE tenant_id = $1 AND project_id = $2";

const FEEDBACK: &str = "SELECT body FROM feedback WHERE tenant_id = $1 AND feedback_id = ANY($2::uuid[])";

const UPSERT_FEEDBACK: &str = "INSERT INTO feedback (tenant_id, feedback_id, run_id, project_id, key, source, \
     created_at, body) SELECT $1, feedback_id, run_id, project_id, key, source, created_at, body \
     FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::text[]) \
     AS put (feedback_id, run_id, project_id, key, source, created_at, body) ORDER BY feedback_id \
     ON CONFLICT (tenant_id, feedback_id) DO UPDATE SET run_id = excluded.run_id, \
     project_id = excluded.project_id, key = excluded.key, source = excluded.source, \
     created_at = excluded.created_at, body = excluded.body";

/// Where runs are that are complete.
const PLACES: &str = "SELECT r.run_id, r.project_id, r.trace_id FROM run_bodies b \
     JOIN runs r ON r.tenant_id = b.tenant_id AND r.project_id = b.project_id AND r.run_id = b.run_id \
     WHERE b.tenant_id = $1 AND b.run_id = ANY($2::uuid[])";

/// The rows are locked in the order of their ids; an UPDATE alone would lock them as it meets them. What it adds to is
/// the row as it was last committed.
const TAKE_NUMBERS: &str = "WITH held AS (SELECT project_id FROM projects WHERE tenant_id = $1 \
     AND project_id = ANY($2::uuid[]) ORDER BY project_id FOR NO KEY UPDATE) \
     UPDATE projects p SET last_seq = p.last_seq + put.count, last_change_at = greatest(p.last_change_at, $4), \
     start_at = CASE WHEN p.start_at = 0 THEN $4 ELSE p.start_at END \
     FROM held JOIN unnest($2::uuid[], $3::bigint[]) AS put (project_id, count) ON put.project_id = held.project_id \
     WHERE p.tenant_id = $1 AND p.project_id = held.project_id RETURNING p.project_id, p.last_seq, p.last_change_at";

const INSERT_CHANGES: &str = "INSERT INTO changes (tenant_id, project_id, seq, run_id, trace_id, changed_at, left_thread_id) \
     SELECT $1, project_id, seq, run_id, trace_id, changed_at, left_thread_id \
     FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::bigint[], $7::uuid[]) \
     AS put (project_id, seq, run_id, trace_id, changed_at, left_thread_id)";

const UPSERT_RUNS: &str = "INSERT INTO runs (tenant_id, project_id, run_id, trace_id, parent_run_id, name, run_type, \
     status, is_root, is_stray, start_at, end_at, changed_seq, modified_at, thread_id) \
     SELECT $1, project_id, run_id, trace_id, parent_run_id, name, run_type, status, is_root, is_stray, start_at, end_at, \
     changed_seq, modified_at, thread_id \
     FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::bool[], \
     $10::bool[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::uuid[]) \
     AS put (project_id, run_id, trace_id, parent_run_id, name, run_type, status, is_root, is_stray, start_at, end_at, \
     changed_seq, modified_at, thread_id) \
     ON CONFLICT (tenant_id, project_id, run_id) DO UPDATE SET trace_id = excluded.trace_id, \
     parent_run_id = excluded.parent_run_id, name = excluded.name, run_type = excluded.run_type, \
     status = excluded.status, is_root = excluded.is_root, is_stray = excluded.is_stray, \
     start_at = excluded.start_at, end_at = excluded.end_at, changed_seq = excluded.changed_seq, \
     modified_at = excluded.modified_at, thread_id = excluded.thread_id";

/// The numbers of the changes after `$4`, onto the runs they are about.
const NUMBER_RUNS: &str = "UPDATE runs SET changed_seq = c.seq FROM changes c \
     WHERE runs.tenant_id = $1 AND runs.project_id = $2 AND runs.run_id = ANY($3::uuid[]) \
     AND c.tenant_id = $1 AND c.project_id = $2 AND c.seq > $4 AND c.run_id = runs.run_id";

/// The rows of one transaction, and which runs it holds.
pub(super) struct Held<'c> {
    connection: &'c mut Session,
    locked: HashSet<Uuid>,
    empty: HashSet<Uuid>,
}

impl<'c> Held<'c> {
    /// Holds nothing yet.
    pub(super) fn by(connection: &'c mut Session) -> Self {
        Self { connection, locked: HashSet::new(), empty: HashSet::new() }
    }

    /// The connection of the transaction.
    pub(super) fn connection(&mut self) -> &mut Session {
        self.connection
    }

    /// Why one of these projects, whose runs are there, is not. Runs that are about to follow it are looked at again when
    /// they have; of a group, that is for those who sent them alone.
    async fn missing(&mut self, tenant: TenantId, projects: &[Uuid]) -> Result<StoreError> {
        let is_removed = removal::are_removed(self.connection, tenant, projects).await?;
        Ok(if is_removed { StoreError::Stale("a project that is being removed") } else { gone("a project") })
    }

    /// Removes the rows that were only held.
    pub(super) async fn let_go(self, tenant: TenantId) -> Result<()> {
        if !self.empty.is_empty() {
            let empty: Vec<Uuid> = self.empty.into_iter().collect();
            sqlx::query(LET_GO).bind(tenant.0).bind(empty).execute(self.connection).await?;
        }
        Ok(())
    }
}

impl PgStore {
    /// Makes sure that a tenant has its default project.
    pub(super) async fn ensure_default(&self, tenant: TenantId) -> Result<()> {
        self.run("ensure_default", |mut this| {
            Box::pin(async move {
                ensure_default(&mut Held::by(&mut this), tenant).await?;
                Ok(this.done(()))
            })
        })
        .await
    }
}

fn run_ids(runs: &[RunId]) -> Vec<Uuid> {
    ids(runs, |run| run.0)
}

#[async_trait]
impl Rows for Held<'_> {
    async fn lock_runs(&mut self, tenant: TenantId, runs: &[RunId], read: &[RunId]) -> Result<Vec<BodyRow>> {
        let fresh: Vec<Uuid> = run_ids(runs).into_iter().filter(|run| self.locked.insert(*run)).collect();
        if !fresh.is_empty() {
            let query = sqlx::query_scalar::<_, Uuid>(HOLD).bind(tenant.0).bind(&fresh);
            self.empty.extend(query.fetch_all(&mut *self.connection).await?);
        }
        let fresh: HashSet<Uuid> = fresh.into_iter().collect();
        let read: HashSet<Uuid> = run_ids(read).into_iter().collect();
        let wanted: Vec<Uuid> = fresh.union(&read).filter(|run| !self.empty.contains(run)).copied().collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let query = sqlx::query(LOCK).bind(tenant.0).bind(&wanted).bind(read.into_iter().collect::<Vec<_>>());
        let rows = query.fetch_all(&mut *self.connection).await?;
        if rows.len() != wanted.len() {
            return Err(gone("a run"));
        }
        rows.iter().filter_map(|row| records::body_or_none(row).transpose()).collect()
    }

    async fn put_bodies(&mut self, tenant: TenantId, rows: &[BodyRow]) -> Result<()> {
        sqlx::query(UPSERT_BODIES)
            .bind(tenant.0)
            .bind(rows.iter().map(|row| row.run_id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.project_id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| &*row.body).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        for row in rows {
            self.empty.remove(&row.run_id.0);
        }
        Ok(())
    }

    async fn waiting(&mut self, tenant: TenantId, runs: &[RunId]) -> Result<Vec<WaitingRow>> {
        let query = sqlx::query(WAITING).bind(tenant.0).bind(run_ids(runs));
        query.fetch_all(&mut *self.connection).await?.iter().map(records::waiting).collect()
    }

    async fn put_waiting(&mut self, tenant: TenantId, rows: &[WaitingRow]) -> Result<()> {
        sqlx::query(INSERT_WAITING)
            .bind(tenant.0)
            .bind(rows.iter().map(|row| row.run_id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.digest.cast_signed()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.part.as_slice()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn drop_waiting(&mut self, tenant: TenantId, runs: &[RunId]) -> Result<()> {
        sqlx::query(DELETE_WAITING).bind(tenant.0).bind(run_ids(runs)).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn touch_incomplete(&mut self, tenant: TenantId, runs: &[RunId], now: Timestamp) -> Result<()> {
        let query = sqlx::query(TOUCH_INCOMPLETE).bind(tenant.0).bind(run_ids(runs)).bind(now.0);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn strays(&mut self, tenant: TenantId, parents: &[RunId]) -> Result<Vec<RunId>> {
        let query = sqlx::query(STRAYS).bind(tenant.0).bind(run_ids(parents));
        let rows = query.fetch_all(&mut *self.connection).await?;
        rows.iter().map(|row| Cells::of("runs", row).take().map(RunId)).collect()
    }

    async fn projects(
        &mut self,
        tenant: TenantId,
        names: &[String],
        projects: &[ProjectId],
    ) -> Result<Vec<(ProjectId, String)>> {
        let names: Vec<_> = names.iter().map(|name| text(name).into_owned()).collect();
        let query = sqlx::query(FIND_PROJECTS).bind(tenant.0).bind(names).bind(ids(projects, |project| project.0));
        query.fetch_all(&mut *self.connection).await?.iter().map(records::project_name).collect()
    }

    async fn create_project(&mut self, tenant: TenantId, id: ProjectId, name: &str, now: Timestamp) -> Result<bool> {
        let query = sqlx::query(CREATE_PROJECT).bind(tenant.0).bind(id.0).bind(text(name)).bind(now.0);
        if query.execute(&mut *self.connection).await?.rows_affected() == 0 {
            return Ok(false);
        }
        // Asked after that has waited for whoever is removing it.
        let is_removed = removal::are_removed(self.connection, tenant, &[id.0]).await?;
        if is_removed {
            sqlx::query(UNCREATE_PROJECT).bind(tenant.0).bind(id.0).execute(&mut *self.connection).await?;
        }
        Ok(!is_removed)
    }

    async fn feedback(&mut self, tenant: TenantId, feedback: &[FeedbackId]) -> Result<Vec<Feedback>> {
        let query = sqlx::query(FEEDBACK).bind(tenant.0).bind(ids(feedback, |feedback| feedback.0));
        // One that does not decode counts as none, and is replaced.
        readable(&query.fetch_all(&mut *self.connection).await?, records::feedback)
    }

    async fn put_feedback(&mut self, tenant: TenantId, rows: &[FeedbackRow<'_>]) -> Result<()> {
        sqlx::query(UPSERT_FEEDBACK)
            .bind(tenant.0)
            .bind(rows.iter().map(|row| row.feedback.id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.feedback.run_id.map(|run| run.0)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.project_id.map(|project| project.0)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| text(&row.feedback.key).into_owned()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.source.as_deref().map(|word| text(word).into_owned())).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.feedback.created_at.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.body.as_str()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn places(&mut self, tenant: TenantId, runs: &[RunId]) -> Result<Vec<Place>> {
        let query = sqlx::query(PLACES).bind(tenant.0).bind(run_ids(runs));
        query.fetch_all(&mut *self.connection).await?.iter().map(records::place).collect()
    }

    async fn hold_projects(&mut self, tenant: TenantId, projects: &[ProjectId]) -> Result<()> {
        let projects = ids(projects, |project| project.0);
        let query = sqlx::query_scalar(HOLD_PROJECTS).bind(tenant.0).bind(&projects);
        let held: i64 = query.fetch_one(&mut *self.connection).await?;
        if usize::try_from(held) == Ok(projects.len()) { Ok(()) } else { Err(self.missing(tenant, &projects).await?) }
    }

    async fn take_numbers(
        &mut self,
        tenant: TenantId,
        counts: &[(ProjectId, i64)],
        now: Timestamp,
    ) -> Result<HashMap<ProjectId, (Seq, Timestamp)>> {
        let (projects, numbers): (Vec<Uuid>, Vec<i64>) =
            counts.iter().map(|(project, count)| (project.0, *count)).unzip();
        let query = sqlx::query(TAKE_NUMBERS).bind(tenant.0).bind(&projects).bind(numbers).bind(now.0);
        let rows = query.fetch_all(&mut *self.connection).await?;
        if rows.len() != counts.len() {
            return Err(self.missing(tenant, &projects).await?);
        }
        rows.iter().map(records::numbers).collect()
    }

    async fn put_changes(&mut self, tenant: TenantId, changes: &[(ProjectId, Change)]) -> Result<()> {
        sqlx::query(INSERT_CHANGES)
            .bind(tenant.0)
            .bind(changes.iter().map(|(project, _)| project.0).collect::<Vec<_>>())
            .bind(changes.iter().map(|(_, change)| change.seq).collect::<Vec<_>>())
            .bind(changes.iter().map(|(_, change)| change.run_id.0).collect::<Vec<_>>())
            .bind(changes.iter().map(|(_, change)| change.trace_id.0).collect::<Vec<_>>())
            .bind(changes.iter().map(|(_, change)| change.at.0).collect::<Vec<_>>())
            .bind(changes.iter().map(|(_, change)| change.left.map(|thread| thread.0)).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn put_runs(&mut self, tenant: TenantId, rows: &[RunRow]) -> Result<()> {
        let word = |of: fn(&RunRow) -> &str| rows.iter().map(|row| text(of(row)).into_owned()).collect::<Vec<_>>();
        sqlx::query(UPSERT_RUNS)
            .bind(tenant.0)
            .bind(rows.iter().map(|row| row.project_id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.run_id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.outline.trace_id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.outline.parent_run_id.map(|parent| parent.0)).collect::<Vec<_>>())
            .bind(word(|row| &row.outline.name))
            .bind(word(|row| &row.outline.run_type))
            .bind(word(|row| row.outline.status.as_str()))
            .bind(rows.iter().map(|row| row.outline.is_root()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.outline.is_stray()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.outline.start_time.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.outline.end_time.map(|end| end.0)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.seq).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.at.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.outline.thread.map(|thread| thread.0)).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn number_runs(&mut self, tenant: TenantId, project: ProjectId, runs: &[RunId], before: Seq) -> Result<()> {
        let query = sqlx::query(NUMBER_RUNS).bind(tenant.0).bind(project.0).bind(run_ids(runs)).bind(before);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[
    (LOCK, &["run_bodies_pkey"]),
    (HOLD_PROJECTS, &["projects_pkey"]),
    (WAITING, &["waiting_parts_by_run"]),
    (DELETE_WAITING, &["waiting_parts_by_run"]),
    (STRAYS, &["runs_stray"]),
    (FIND_PROJECTS, &["projects_by_name", "projects_pkey"]),
    (FEEDBACK, &["feedback_pkey"]),
    (PLACES, &["run_bodies_pkey", "runs_pkey"]),
    (TAKE_NUMBERS, &["projects_pkey"]),
    (NUMBER_RUNS, &["changes_pkey", "runs_pkey"]),
];
