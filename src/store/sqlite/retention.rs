//! Dropping what is past its age. Looking for it is the readers' work; the writer is kept for as long as a batch takes.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use crate::model::audit::Entry;
use crate::model::id::{MessageId, ProjectId, RunId, TenantId, TraceId};
use crate::model::run::BlobKey;
use crate::model::time::Timestamp;
use crate::model::window::Seq;
use crate::store::retention::{
    Aged, Candidate, Dropped, DroppedMessages, DroppedRuns, Ended, Naming, OldRuns, Plan, RetentionStore, by_tenant,
    next_ending, plan, traces_of,
};
use crate::store::row::json_text;
use crate::store::sqlite::row::id_list;
use crate::store::sqlite::{SqliteStore, accept, audit, rules};
use crate::store::{Result, StoreError, records};

const AGED: &str = "SELECT p.tenant_id, p.project_id, p.name, p.last_seq FROM projects p \
     WHERE (SELECT c.changed_at FROM changes c WHERE c.tenant_id = p.tenant_id AND c.project_id = p.project_id \
     ORDER BY c.seq LIMIT 1) < $1";

const CANDIDATES: &str = "SELECT c.seq, c.run_id, r.changed_seq, r.trace_id FROM changes c \
     LEFT JOIN runs r ON r.tenant_id = c.tenant_id AND r.project_id = c.project_id AND r.run_id = c.run_id \
     WHERE c.tenant_id = $1 AND c.project_id = $2 AND c.seq > $3 AND c.seq <= $4 ORDER BY c.seq LIMIT $5";

/// Those of these traces that have changed since.
const LIVING: &str = "SELECT DISTINCT r.trace_id FROM runs r INDEXED BY runs_by_trace \
     WHERE r.tenant_id = $1 AND r.project_id = $2 AND r.trace_id IN (SELECT unhex(value) FROM json_each($3)) \
     AND r.changed_seq > $4";

const OF_TRACES: &str = "SELECT run_id, changed_seq FROM runs INDEXED BY runs_by_trace \
     WHERE tenant_id = $1 AND project_id = $2 AND trace_id IN (SELECT unhex(value) FROM json_each($3))";

const DROP_RUNS: &str = "DELETE FROM runs WHERE tenant_id = $1 AND project_id = $2 \
     AND run_id IN (SELECT unhex(value) FROM json_each($3)) AND changed_seq <= $4 RETURNING run_id";

const DROP_BODIES: &str =
    "DELETE FROM run_bodies WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2))";

const DROP_FEEDBACK: &str = "DELETE FROM feedback INDEXED BY feedback_by_run WHERE tenant_id = $1 \
     AND run_id IN (SELECT unhex(value) FROM json_each($2))";

const STAMP_MATCHES: &str = "UPDATE matches INDEXED BY matches_by_run SET run_dropped_at = $3 WHERE tenant_id = $1 \
     AND run_id IN (SELECT unhex(value) FROM json_each($2))";

const DROP_CHANGES: &str = "DELETE FROM changes WHERE tenant_id = $1 AND project_id = $2 \
     AND seq IN (SELECT value FROM json_each($3))";

const ENDED: &str = "SELECT tenant_id, message_id, finished_at, delivery_id FROM deliveries \
     WHERE finished_at < $1 AND (finished_at, delivery_id) > ($2, $3) ORDER BY finished_at, delivery_id LIMIT $4";

const ENDED_WHOLE: &str = "SELECT m.message_id FROM messages m WHERE m.tenant_id = $1 \
     AND m.message_id IN (SELECT unhex(value) FROM json_each($2)) \
     AND NOT EXISTS (SELECT 1 FROM deliveries d INDEXED BY deliveries_by_message \
     WHERE d.tenant_id = m.tenant_id AND d.message_id = m.message_id AND (d.finished_at IS NULL OR d.finished_at >= $3))";

const DROP_ATTEMPTS: &str = "DELETE FROM attempts WHERE tenant_id = $1 AND delivery_id IN \
     (SELECT delivery_id FROM deliveries INDEXED BY deliveries_by_message WHERE tenant_id = $1 \
     AND message_id IN (SELECT unhex(value) FROM json_each($2)))";

const DROP_DELIVERIES: &str = "DELETE FROM deliveries INDEXED BY deliveries_by_message WHERE tenant_id = $1 \
     AND message_id IN (SELECT unhex(value) FROM json_each($2))";

const DROP_LINKS: &str =
    "DELETE FROM message_links WHERE tenant_id = $1 AND message_id IN (SELECT unhex(value) FROM json_each($2))";

const DROP_EVENTS: &str =
    "DELETE FROM events WHERE tenant_id = $1 AND message_id IN (SELECT unhex(value) FROM json_each($2))";

const DROP_MESSAGES: &str =
    "DELETE FROM messages WHERE tenant_id = $1 AND message_id IN (SELECT unhex(value) FROM json_each($2))";

const DROP_FINDS: &str = "DELETE FROM window_finds WHERE (tenant_id, rule_id, end_at, window_id) IN \
     (SELECT tenant_id, rule_id, end_at, window_id FROM window_finds WHERE end_at < $1 ORDER BY end_at LIMIT $2)";

const DROP_WINDOWS: &str = "DELETE FROM windows WHERE (tenant_id, window_id) IN \
     (SELECT tenant_id, window_id FROM windows WHERE end_at < $1 ORDER BY end_at LIMIT $2)";

const INCOMPLETE: &str =
    "SELECT tenant_id, run_id FROM incomplete_runs WHERE touched_at < $1 ORDER BY touched_at LIMIT $2";

const FORGET_INCOMPLETE: &str =
    "DELETE FROM incomplete_runs WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2))";

/// A run that has come again keeps its matches.
const KEEP_MATCHES: &str = "UPDATE matches SET run_dropped_at = NULL WHERE (tenant_id, rule_id, run_id) IN \
     (SELECT tenant_id, rule_id, run_id FROM matches WHERE run_dropped_at < $1 ORDER BY run_dropped_at LIMIT $2) \
     AND EXISTS (SELECT 1 FROM run_bodies b WHERE b.tenant_id = matches.tenant_id AND b.run_id = matches.run_id)";

const FORGET_MATCHES: &str = "DELETE FROM matches WHERE (tenant_id, rule_id, run_id) IN \
     (SELECT tenant_id, rule_id, run_id FROM matches WHERE run_dropped_at < $1 ORDER BY run_dropped_at LIMIT $2) \
     AND NOT EXISTS (SELECT 1 FROM run_bodies b WHERE b.tenant_id = matches.tenant_id AND b.run_id = matches.run_id)";

const NAMING_RUNS: &str = "SELECT b.run_id, b.body, r.modified_at FROM run_bodies b \
     LEFT JOIN runs r ON r.tenant_id = b.tenant_id AND r.project_id = b.project_id AND r.run_id = b.run_id \
     WHERE b.tenant_id = $1 AND b.run_id IN (SELECT unhex(value) FROM json_each($2))";

const LINKED: &str = "SELECT DISTINCT blob_key FROM message_links INDEXED BY message_links_by_blob \
     WHERE tenant_id = $1 AND blob_key IN (SELECT value FROM json_each($2)) \
     UNION SELECT blob_key FROM example_links INDEXED BY example_links_by_blob \
     WHERE tenant_id = $1 AND blob_key IN (SELECT value FROM json_each($2))";

const DROP_QUEUED: &str = "DELETE FROM queued_runs INDEXED BY queued_runs_by_run WHERE tenant_id = $1 \
     AND run_id IN (SELECT unhex(value) FROM json_each($2))";

const DROP_TOKENS: &str = "DELETE FROM feedback_tokens INDEXED BY feedback_tokens_by_run WHERE tenant_id = $1 \
     AND run_id IN (SELECT unhex(value) FROM json_each($2))";

/// What goes with its run.
pub(super) const DROP_WITH_RUNS: [&str; 4] = [DROP_FEEDBACK, DROP_TOKENS, DROP_QUEUED, DROP_BODIES];

const BEGIN_SWEEP: &str = "UPDATE counters SET value = $1 WHERE name = 'blobs_swept_at' AND value <= $2";

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn aged_projects(&self, before: Timestamp) -> Result<Vec<Aged>> {
        let rows = sqlx::query(AGED).bind(before.0).fetch_all(&self.readers).await?;
        rows.iter().map(records::aged).collect()
    }

    async fn drop_runs(&self, old: OldRuns) -> Result<DroppedRuns> {
        let plan = self.look_at_runs(&old).await?;
        if plan.superseded.is_empty() && plan.runs.is_empty() {
            return Ok(plan.outcome(&[], 0));
        }
        self.queue.write(move |connection| Box::pin(drop_runs(connection, old, plan))).await
    }

    async fn drop_traces(
        &self,
        tenant: TenantId,
        project: ProjectId,
        traces: &[TraceId],
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<u64> {
        let traces = id_list(traces.iter().map(|trace| trace.0));
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as::<_, (Uuid, Seq)>(OF_TRACES).bind(tenant.0).bind(project.0).bind(traces);
                    let (runs, seqs): (Vec<_>, Vec<_>) = query.fetch_all(&mut *connection).await?.into_iter().unzip();
                    if runs.is_empty() {
                        return Ok(0);
                    }
                    let query =
                        sqlx::query(DROP_RUNS).bind(tenant.0).bind(project.0).bind(id_list(runs.iter().copied()));
                    query.bind(Seq::MAX).execute(&mut *connection).await?;
                    drop_with_runs(connection, tenant, &runs, now).await?;
                    let query = sqlx::query(DROP_CHANGES).bind(tenant.0).bind(project.0).bind(json_text(&seqs)?);
                    query.execute(&mut *connection).await?;
                    audit::write(connection, told.as_slice()).await?;
                    Ok(runs.len() as u64)
                })
            })
            .await
    }

    async fn drop_messages(&self, before: Timestamp, after: Option<Ended>, limit: u32) -> Result<DroppedMessages> {
        let (instant, id) = after.map_or((i64::MIN, Uuid::nil()), |(instant, id)| (instant.0, id.0));
        let query = sqlx::query(ENDED).bind(before.0).bind(instant).bind(id).bind(limit);
        let endings = query.fetch_all(&self.readers).await?.iter().map(records::ending).collect::<Result<Vec<_>>>()?;
        let next = next_ending(&endings, limit);
        let ended = by_tenant(endings.into_iter().map(|(tenant, message, _)| (tenant, message)));
        if ended.is_empty() {
            return Ok(DroppedMessages { next, ..DroppedMessages::default() });
        }
        let dropped = self.queue.write(move |connection| Box::pin(drop_messages(connection, ended, before))).await?;
        Ok(DroppedMessages { next, ..dropped })
    }

    async fn drop_windows(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.queue.write(move |connection| Box::pin(drop_windows(connection, before, limit))).await
    }

    async fn drop_incomplete(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.queue.write(move |connection| Box::pin(drop_incomplete(connection, before, limit))).await
    }

    async fn forget_matches(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.queue.write(move |connection| Box::pin(forget_matches(connection, before, limit))).await
    }

    async fn unnamed_blobs(
        &self,
        tenant: TenantId,
        blobs: &[(RunId, BlobKey)],
        quiet_since: Timestamp,
    ) -> Result<Vec<BlobKey>> {
        let runs = id_list(blobs.iter().map(|(run, _)| run.0).collect::<HashSet<_>>());
        let keys = json_text(&blobs.iter().map(|(_, key)| key).collect::<Vec<_>>())?;
        // One snapshot: a part that is applied must not be missed in both places.
        let mut snapshot = self.readers.begin().await?;
        let rows = sqlx::query(NAMING_RUNS).bind(tenant.0).bind(&runs).fetch_all(&mut *snapshot).await?;
        let bodies = rows.iter().map(records::naming).collect::<Result<_>>()?;
        let rows = sqlx::query(accept::WAITING).bind(tenant.0).bind(runs).fetch_all(&mut *snapshot).await?;
        let parts = rows.iter().map(records::waiting).map(|row| row.map(|row| (row.run_id, row.part)));
        let parts = parts.collect::<Result<_>>()?;
        let linked = sqlx::query_scalar(LINKED).bind(tenant.0).bind(keys).fetch_all(&mut *snapshot).await?;
        snapshot.rollback().await?;
        Ok(Naming { bodies, parts, linked: linked.into_iter().collect() }.unnamed(blobs, quiet_since))
    }

    async fn drop_removed(&self, limit: u32) -> Result<Dropped> {
        match self.removed_project().await? {
            Some(project) => Ok(Dropped { more: true, ..self.drop_some(project, limit).await? }),
            None => Ok(Dropped::default()),
        }
    }

    async fn begin_sweep(&self, now: Timestamp, since: Timestamp) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(BEGIN_SWEEP).bind(now.0).bind(since.0).execute(connection).await?;
                    Ok(done.rows_affected() > 0)
                })
            })
            .await
    }
}

impl SqliteStore {
    async fn look_at_runs(&self, old: &OldRuns) -> Result<Plan> {
        let query = sqlx::query(CANDIDATES).bind(old.tenant_id.0).bind(old.project_id.0).bind(old.after);
        let rows = query.bind(old.through).bind(old.limit).fetch_all(&self.readers).await?;
        let candidates = rows.iter().map(records::candidate).collect::<Result<Vec<Candidate>>>()?;
        let traces = id_list(traces_of(&candidates).into_iter().map(|trace| trace.0));
        let query = sqlx::query(LIVING).bind(old.tenant_id.0).bind(old.project_id.0).bind(traces).bind(old.through);
        let rows = query.fetch_all(&self.readers).await?;
        let living = rows.iter().map(records::trace).collect::<Result<_>>()?;
        Ok(plan(&candidates, &living, old.limit))
    }
}

/// Between the look and this a run may have changed: then it stays.
async fn drop_runs(connection: &mut SqliteConnection, old: OldRuns, plan: Plan) -> Result<DroppedRuns> {
    if rules::version(connection).await? != old.rules_version {
        return Err(StoreError::Stale("the rules have changed"));
    }
    let (tenant, project) = (old.tenant_id.0, old.project_id.0);
    let runs = id_list(plan.runs.keys().map(|run| run.0));
    let query = sqlx::query_scalar::<_, Uuid>(DROP_RUNS).bind(tenant).bind(project).bind(runs).bind(old.through);
    let dropped: Vec<RunId> = query.fetch_all(&mut *connection).await?.into_iter().map(RunId).collect();
    drop_with_runs(connection, old.tenant_id, &dropped.iter().map(|run| run.0).collect::<Vec<_>>(), old.now).await?;
    let changes = json_text(&plan.changes(&dropped))?;
    let done = sqlx::query(DROP_CHANGES).bind(tenant).bind(project).bind(changes).execute(connection).await?;
    Ok(plan.outcome(&dropped, done.rows_affected()))
}

/// Drops what goes with runs, and notes it with their matches.
async fn drop_with_runs(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    runs: &[Uuid],
    now: Timestamp,
) -> Result<()> {
    let runs = id_list(runs.iter().copied());
    for statement in DROP_WITH_RUNS {
        sqlx::query(statement).bind(tenant.0).bind(&runs).execute(&mut *connection).await?;
    }
    sqlx::query(STAMP_MATCHES).bind(tenant.0).bind(runs).bind(now.0).execute(connection).await?;
    Ok(())
}

async fn drop_messages(
    connection: &mut SqliteConnection,
    ended: Vec<(TenantId, Vec<MessageId>)>,
    before: Timestamp,
) -> Result<DroppedMessages> {
    let mut dropped = DroppedMessages::default();
    for (tenant, messages) in ended {
        let messages = id_list(messages.into_iter().map(|message| message.0));
        let query = sqlx::query_scalar::<_, Uuid>(ENDED_WHOLE).bind(tenant.0).bind(messages).bind(before.0);
        let messages = id_list(query.fetch_all(&mut *connection).await?);
        let mut done = [0; 5];
        let statements = [DROP_ATTEMPTS, DROP_DELIVERIES, DROP_LINKS, DROP_EVENTS, DROP_MESSAGES];
        for (statement, done) in statements.iter().zip(&mut done) {
            let query = sqlx::query(*statement).bind(tenant.0).bind(&messages);
            *done = query.execute(&mut *connection).await?.rows_affected();
        }
        let [_, deliveries, _, _, messages] = done;
        dropped.deliveries = dropped.deliveries.saturating_add(deliveries);
        dropped.messages = dropped.messages.saturating_add(messages);
    }
    Ok(dropped)
}

async fn drop_windows(connection: &mut SqliteConnection, before: Timestamp, limit: u32) -> Result<Dropped> {
    let finds = sqlx::query(DROP_FINDS).bind(before.0).bind(limit).execute(&mut *connection).await?;
    let windows = sqlx::query(DROP_WINDOWS).bind(before.0).bind(limit).execute(connection).await?.rows_affected();
    Ok(Dropped { rows: windows, more: windows.max(finds.rows_affected()) >= u64::from(limit) })
}

async fn drop_incomplete(connection: &mut SqliteConnection, before: Timestamp, limit: u32) -> Result<Dropped> {
    let rows = sqlx::query(INCOMPLETE).bind(before.0).bind(limit).fetch_all(&mut *connection).await?;
    let more = rows.len() as u64 >= u64::from(limit);
    let unheard = rows.iter().map(records::tenant_and_run).collect::<Result<Vec<_>>>()?;
    let mut dropped = 0_u64;
    for (tenant, runs) in by_tenant(unheard) {
        let all = id_list(runs.iter().map(|run| run.0));
        let rows = sqlx::query(accept::PLACES).bind(tenant.0).bind(&all).fetch_all(&mut *connection).await?;
        let places = rows.iter().map(records::place).collect::<Result<Vec<_>>>()?;
        let complete: HashSet<RunId> = places.into_iter().map(|(run, _, _)| run).collect();
        let gone: Vec<Uuid> = runs.iter().filter(|run| !complete.contains(*run)).map(|run| run.0).collect();
        dropped = dropped.saturating_add(gone.len() as u64);
        let gone = id_list(gone);
        for statement in [accept::DELETE_WAITING].into_iter().chain(DROP_WITH_RUNS) {
            sqlx::query(statement).bind(tenant.0).bind(&gone).execute(&mut *connection).await?;
        }
        sqlx::query(FORGET_INCOMPLETE).bind(tenant.0).bind(all).execute(&mut *connection).await?;
    }
    Ok(Dropped { rows: dropped, more })
}

async fn forget_matches(connection: &mut SqliteConnection, before: Timestamp, limit: u32) -> Result<Dropped> {
    let kept = sqlx::query(KEEP_MATCHES).bind(before.0).bind(limit).execute(&mut *connection).await?.rows_affected();
    let rows = sqlx::query(FORGET_MATCHES).bind(before.0).bind(limit).execute(connection).await?.rows_affected();
    Ok(Dropped { rows, more: kept.saturating_add(rows) >= u64::from(limit) })
}

/// The statements that look for what is old, or drop it, each with a step its plan must have. Whether an index covers
/// what a DELETE looks at is left to SQLite.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 22] = [
    (AGED, "SEARCH c USING PRIMARY KEY (tenant_id=? AND project_id=?)"),
    (CANDIDATES, "SEARCH c USING PRIMARY KEY (tenant_id=? AND project_id=? AND seq>? AND seq<?)"),
    (CANDIDATES, "SEARCH r USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
    (LIVING, "INDEX runs_by_trace (tenant_id=? AND project_id=? AND trace_id=?)"),
    (DROP_RUNS, "SEARCH runs USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
    (DROP_BODIES, "INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
    (DROP_FEEDBACK, "INDEX feedback_by_run (tenant_id=? AND run_id=?)"),
    (STAMP_MATCHES, "INDEX matches_by_run (tenant_id=? AND run_id=?)"),
    (DROP_CHANGES, "SEARCH changes USING PRIMARY KEY (tenant_id=? AND project_id=? AND seq=?)"),
    (ENDED, "INDEX deliveries_by_end"),
    (ENDED_WHOLE, "INDEX deliveries_by_message (tenant_id=? AND message_id=?)"),
    (DROP_ATTEMPTS, "SEARCH attempts USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
    (DROP_ATTEMPTS, "INDEX deliveries_by_message (tenant_id=? AND message_id=?)"),
    (DROP_DELIVERIES, "INDEX deliveries_by_message (tenant_id=? AND message_id=?)"),
    (DROP_LINKS, "SEARCH message_links USING PRIMARY KEY (tenant_id=? AND message_id=?)"),
    (DROP_FINDS, "INDEX window_finds_by_end (end_at<?)"),
    (DROP_WINDOWS, "INDEX windows_by_end (end_at<?)"),
    (INCOMPLETE, "INDEX incomplete_runs_by_age (touched_at<?)"),
    (KEEP_MATCHES, "INDEX matches_by_drop (run_dropped_at<?)"),
    (FORGET_MATCHES, "INDEX matches_by_drop (run_dropped_at<?)"),
    (NAMING_RUNS, "INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
    (LINKED, "INDEX message_links_by_blob (tenant_id=? AND blob_key=?)"),
];
