//! Accepting batches: the transaction behind every 202.
//!
//! Several batches of one tenant may be accepted as one; the result is that of accepting them in order, except that a
//! run they all touch gets one change. Everything is read with one statement for each kind of row, decided in memory, and
//! written with as few statements as there are kinds of rows: the work is in the merging, not in talking to SQLite.
//!
//! A run's project is the first one that is named for it, for ever. A part of a run whose project is not known and that
//! names none waits; the part that names it takes the waiting ones along, those that came first applied first.

mod drafts;
mod feedback;
mod paths;
mod projects;

use std::collections::{HashMap, HashSet};

use sqlx::sqlite::SqliteConnection;

use crate::model::id::{ProjectId, RunId, TenantId, TraceId};
use crate::model::project::{DEFAULT_PROJECT, ProjectRef};
use crate::model::run::{Part, PartKind, Run};
use crate::model::time::Timestamp;
use crate::model::window::{Change, Seq};
use crate::store::Result;
use crate::store::runs::{Accepted, Batch, Refusal};
use crate::store::sqlite::row::{Insert, id_list, insert};

use drafts::Drafts;
use projects::Projects;

pub(super) use feedback::PLACES;
pub(super) use projects::ensure_default;

/// Accepts batches of one tenant, each with the instant it arrived.
pub(super) async fn accept(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    batches: &[(&Batch, Timestamp)],
) -> Result<Vec<Accepted>> {
    let now = batches.iter().map(|(_, now)| *now).max().unwrap_or_default();
    let mut accepted = vec![Accepted::default(); batches.len()];
    let mut drafts = Drafts::load(connection, tenant, batches).await?;
    let refused = locate(connection, tenant, batches, &mut drafts, &mut accepted).await?;
    drafts.fetch_waiting(connection, tenant).await?;
    for (request, ((batch, _), accepted)) in batches.iter().zip(&mut accepted).enumerate() {
        for (index, part) in batch.parts.iter().enumerate() {
            accepted.changed |= !refused.contains(&(request, index)) && drafts.apply(part)?;
        }
    }
    drafts.store_waiting(connection, tenant).await?;
    paths::infer(connection, tenant, &mut drafts).await?;
    let mut stirred = Stirred::default();
    for run in drafts.store_bodies(connection, tenant, now).await? {
        stirred.run(run);
    }
    feedback::store(connection, tenant, batches, &mut stirred, &mut accepted).await?;
    stirred.store(connection, tenant, now).await?;
    Ok(accepted)
}

/// Finds the project of every run that has none yet, creating those that are named for the first time. Returns which
/// parts of which batches are refused.
async fn locate(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    batches: &[(&Batch, Timestamp)],
    drafts: &mut Drafts,
    accepted: &mut [Accepted],
) -> Result<HashSet<(usize, usize)>> {
    let mut refused = HashSet::new();
    let wanted = batches.iter().flat_map(|(batch, _)| &batch.parts).filter(|part| drafts.lacks_project(part.run_id));
    let mut projects = Projects::load(connection, tenant, wanted.filter_map(named_project)).await?;
    for (request, ((batch, now), accepted)) in batches.iter().zip(accepted).enumerate() {
        for (index, part) in batch.parts.iter().enumerate() {
            if !drafts.lacks_project(part.run_id) {
                continue;
            }
            match named_project(part) {
                None => {}
                Some(ProjectRef::Name(name)) => {
                    let project = projects.named(connection, &name, *now).await?;
                    drafts.locate(part.run_id, project);
                }
                Some(ProjectRef::Id(id)) if projects.has(id) => drafts.locate(part.run_id, id),
                Some(ProjectRef::Id(id)) => {
                    refused.insert((request, index));
                    let reason = format!("there is no project {id}: create it first, or name one with `session_name`");
                    accepted.refused.push(Refusal { run_id: part.run_id, reason });
                }
            }
        }
    }
    Ok(refused)
}

/// The project a part names. A post that names none means the default one.
fn named_project(part: &Part) -> Option<ProjectRef> {
    match (&part.project, part.kind) {
        (Some(project), _) => Some(project.clone()),
        (None, PartKind::Post) => Some(ProjectRef::Name(DEFAULT_PROJECT.to_owned())),
        (None, PartKind::Patch) => None,
    }
}

/// What gets a change: runs that were written, and runs whose feedback was.
#[derive(Default)]
pub(super) struct Stirred {
    order: Vec<(ProjectId, RunId, TraceId)>,
    rows: HashMap<RunId, Run>,
    known: HashMap<RunId, usize>,
}

const INSERT_CHANGES: Insert = Insert {
    head: "INSERT INTO changes (tenant_id, project_id, seq, run_id, trace_id, changed_at) VALUES",
    columns: 6,
    tail: "",
};

const UPSERT_RUNS: Insert = Insert {
    head: "INSERT INTO runs (tenant_id, project_id, run_id, trace_id, parent_run_id, name, run_type, status, is_root, is_stray, \
           start_at, end_at, changed_seq, modified_at) VALUES",
    columns: 14,
    tail: "ON CONFLICT (tenant_id, project_id, run_id) DO UPDATE SET trace_id = excluded.trace_id, \
           parent_run_id = excluded.parent_run_id, name = excluded.name, run_type = excluded.run_type, \
           status = excluded.status, is_root = excluded.is_root, is_stray = excluded.is_stray, start_at = excluded.start_at, \
           end_at = excluded.end_at, changed_seq = excluded.changed_seq, modified_at = excluded.modified_at",
};

/// The numbers of the changes after `$4`, onto the runs they are about.
const NUMBER_RUNS: &str = "UPDATE runs SET changed_seq = c.seq FROM changes c \
     WHERE runs.tenant_id = $1 AND runs.project_id = $2 AND runs.run_id IN (SELECT unhex(value) FROM json_each($3)) \
     AND c.tenant_id = $1 AND c.project_id = $2 AND c.seq > $4 AND c.run_id = runs.run_id";

/// Takes numbers from the project's row. The clock may step back; a project's changes never do. A project that was made
/// before anyone knew the time begins with its first change.
const TAKE_NUMBERS: &str = "UPDATE projects SET last_seq = last_seq + $3, \
     last_change_at = max(last_change_at, $4), start_at = CASE WHEN start_at = 0 THEN $4 ELSE start_at END \
     WHERE tenant_id = $1 AND project_id = $2 RETURNING last_seq, last_change_at";

impl Stirred {
    /// Notes a run that was written.
    fn run(&mut self, run: Run) {
        self.feedback_on(run.project_id, run.id, run.trace_id);
        self.rows.insert(run.id, run);
    }

    /// Notes a run whose feedback was.
    pub(super) fn feedback_on(&mut self, project: ProjectId, run: RunId, trace: TraceId) {
        self.known.entry(run).or_insert_with(|| {
            self.order.push((project, run, trace));
            self.order.len().saturating_sub(1)
        });
    }

    /// Where a run is, when it is written in this transaction.
    fn place_of(&self, run: RunId) -> Option<(ProjectId, TraceId)> {
        self.order.get(*self.known.get(&run)?).map(|(project, _, trace)| (*project, *trace))
    }

    /// Numbers the changes, project by project, and writes them with the runs' hot rows.
    pub(super) async fn store(
        mut self,
        connection: &mut SqliteConnection,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<()> {
        let mut by_project: Vec<(ProjectId, Vec<(RunId, TraceId)>)> = Vec::new();
        for (project, run, trace) in &self.order {
            match by_project.iter_mut().find(|(known, _)| known == project) {
                Some((_, runs)) => runs.push((*run, *trace)),
                None => by_project.push((*project, vec![(*run, *trace)])),
            }
        }
        for (project, stirred) in by_project {
            let count = i64::try_from(stirred.len()).unwrap_or(i64::MAX);
            let (last, at): (Seq, i64) = sqlx::query_as(TAKE_NUMBERS)
                .bind(tenant.0)
                .bind(project.0)
                .bind(count)
                .bind(now.0)
                .fetch_one(&mut *connection)
                .await?;
            let before = last.saturating_sub(count);
            let changes: Vec<Change> = (before.saturating_add(1)..)
                .zip(stirred)
                .map(|(seq, (run_id, trace_id))| Change { seq, run_id, trace_id, at: Timestamp(at) })
                .collect();
            self.store_project(connection, (tenant, project), before, &changes).await?;
        }
        Ok(())
    }

    async fn store_project(
        &mut self,
        connection: &mut SqliteConnection,
        (tenant, project): (TenantId, ProjectId),
        before: Seq,
        changes: &[Change],
    ) -> Result<()> {
        insert(connection, &INSERT_CHANGES, changes, |values, change| {
            values.push(tenant.0).push(project.0).push(change.seq);
            values.push(change.run_id.0).push(change.trace_id.0).push(change.at.0);
        })
        .await?;
        let (mut written, mut only_feedback) = (Vec::new(), Vec::new());
        for change in changes {
            match self.rows.remove(&change.run_id) {
                Some(run) => written.push((change.seq, change.at, run)),
                None => only_feedback.push(change.run_id.0),
            }
        }
        insert(connection, &UPSERT_RUNS, &written, |values, (seq, at, run)| {
            values.push(tenant.0).push(project.0).push(run.id.0).push(run.trace_id.0);
            values.push(run.parent_run_id.map(|parent| parent.0));
            values.push(run.name.as_str()).push(run.run_type.as_str()).push(run.status.as_str());
            values.push(run.is_root()).push(is_stray(run)).push(run.start_time.0).push(run.end_time.map(|end| end.0));
            values.push(*seq).push(at.0);
        })
        .await?;
        if !only_feedback.is_empty() {
            sqlx::query(NUMBER_RUNS)
                .bind(tenant.0)
                .bind(project.0)
                .bind(id_list(only_feedback))
                .bind(before)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}

/// Whether the run is a child whose path is not known. A path has a dot for each ancestor.
fn is_stray(run: &Run) -> bool {
    !run.is_root() && !run.dotted_order.contains('.')
}

/// The statements that are about many rows, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 10] = [
    (paths::STRAYS, "SEARCH r USING INDEX runs_stray (tenant_id=? AND parent_run_id=?)"),
    (drafts::LOAD, "SEARCH run_bodies USING INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
    (drafts::LOAD_WAITING, "SEARCH waiting_parts USING INDEX waiting_parts_by_run (tenant_id=? AND run_id=?)"),
    (
        drafts::DELETE_WAITING,
        "SEARCH waiting_parts USING COVERING INDEX waiting_parts_by_run (tenant_id=? AND run_id=?)",
    ),
    (projects::FIND, "SEARCH projects USING COVERING INDEX projects_by_name (tenant_id=? AND name=?)"),
    (projects::FIND, "SEARCH projects USING PRIMARY KEY (tenant_id=? AND project_id=?)"),
    (feedback::LOAD, "SEARCH feedback USING PRIMARY KEY (tenant_id=? AND feedback_id=?)"),
    (NUMBER_RUNS, "SEARCH runs USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
    (NUMBER_RUNS, "SEARCH c USING PRIMARY KEY (tenant_id=? AND project_id=? AND seq>?)"),
    (TAKE_NUMBERS, "SEARCH projects USING PRIMARY KEY (tenant_id=? AND project_id=?)"),
];
