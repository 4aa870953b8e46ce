//! Dropping what is past its age. What another replica holds is passed over and found by it, or the next time.
//!
//! Locks are taken in the order in which everyone takes them: the rules' version, then runs by their rows in
//! `run_bodies`. A complete run that a batch is at work on is left alone: it is about to change.

use std::collections::HashSet;

use crate::store::postgres::session::Session;
use async_trait::async_trait;
use uuid::Uuid;

use crate::model::audit::Entry;
use crate::model::id::{MessageId, ProjectId, RunId, TenantId, TraceId};
use crate::model::run::BlobKey;
use crate::model::time::Timestamp;
use crate::model::window::Seq;
use crate::store::accept::Rows as _;
use crate::store::postgres::accept::Held;
use crate::store::postgres::{PgStore, accept, audit, ids, rules};
use crate::store::retention::{
    Aged, Candidate, Dropped, DroppedMessages, DroppedRuns, Ended, Naming, OldRuns, Plan, RetentionStore, by_tenant,
    next_ending, plan, traces_of,
};
use crate::store::{Result, StoreError, records};

const AGED: &str = "SELECT p.tenant_id, p.project_id, p.name, p.last_seq FROM projects p \
     WHERE (SELECT c.changed_at FROM changes c WHERE c.tenant_id = p.tenant_id AND c.project_id = p.project_id \
     ORDER BY c.seq LIMIT 1) < $1";

const CANDIDATES: &str = "SELECT c.seq, c.run_id, r.changed_seq, r.trace_id FROM changes c \
     LEFT JOIN runs r ON r.tenant_id = c.tenant_id AND r.project_id = c.project_id AND r.run_id = c.run_id \
     WHERE c.tenant_id = $1 AND c.project_id = $2 AND c.seq > $3 AND c.seq <= $4 ORDER BY c.seq LIMIT $5";

/// Those of these traces that have changed since.
const LIVING: &str = "SELECT DISTINCT trace_id FROM runs WHERE tenant_id = $1 AND project_id = $2 \
     AND trace_id = ANY($3::uuid[]) AND changed_seq > $4";

/// Those of these runs that no batch is at work on; none will be until the transaction ends.
const HOLD: &str = "SELECT run_id FROM run_bodies WHERE tenant_id = $1 AND run_id = ANY($2::uuid[]) \
     ORDER BY run_id FOR UPDATE SKIP LOCKED";

/// The same when a batch that is at work is waited for.
const WAIT_FOR: &str = "SELECT run_id FROM run_bodies WHERE tenant_id = $1 AND run_id IN (SELECT run_id FROM runs \
     WHERE tenant_id = $1 AND project_id = $2 AND trace_id = ANY($3::uuid[])) ORDER BY run_id FOR UPDATE";

/// A run may have gone over to another trace meanwhile.
const OF_TRACES: &str = "SELECT run_id, changed_seq FROM runs WHERE tenant_id = $1 AND project_id = $2 \
     AND run_id = ANY($3::uuid[]) AND trace_id = ANY($4::uuid[])";

const DROP_RUNS: &str = "DELETE FROM runs WHERE tenant_id = $1 AND project_id = $2 AND run_id = ANY($3::uuid[]) \
     AND changed_seq <= $4 RETURNING run_id";

const DROP_BODIES: &str = "DELETE FROM run_bodies WHERE tenant_id = $1 AND run_id = ANY($2::uuid[])";

const DROP_FEEDBACK: &str = "DELETE FROM feedback WHERE tenant_id = $1 AND run_id = ANY($2::uuid[])";

const STAMP_MATCHES: &str = "UPDATE matches SET run_dropped_at = $3 WHERE tenant_id = $1 AND run_id = ANY($2::uuid[])";

const DROP_CHANGES: &str = "DELETE FROM changes WHERE tenant_id = $1 AND project_id = $2 AND seq = ANY($3::bigint[])";

const ENDED: &str = "SELECT tenant_id, message_id, finished_at, delivery_id FROM deliveries \
     WHERE finished_at < $1 AND (finished_at, delivery_id) > ($2, $3) ORDER BY finished_at, delivery_id LIMIT $4";

/// Messages of which nobody else drops anything until the transaction ends.
const HOLD_MESSAGES: &str = "SELECT message_id FROM messages WHERE tenant_id = $1 AND message_id = ANY($2::uuid[]) \
     ORDER BY message_id FOR UPDATE SKIP LOCKED";

/// Their deliveries are not replayed from here on.
const HOLD_DELIVERIES: &str = "SELECT delivery_id FROM deliveries WHERE tenant_id = $1 \
     AND message_id = ANY($2::uuid[]) ORDER BY delivery_id FOR UPDATE";

const ENDED_WHOLE: &str = "SELECT m.message_id FROM messages m WHERE m.tenant_id = $1 \
     AND m.message_id = ANY($2::uuid[]) \
     AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.tenant_id = m.tenant_id AND d.message_id = m.message_id \
     AND (d.finished_at IS NULL OR d.finished_at >= $3))";

const DROP_ATTEMPTS: &str = "DELETE FROM attempts WHERE tenant_id = $1 AND delivery_id IN \
     (SELECT delivery_id FROM deliveries WHERE tenant_id = $1 AND message_id = ANY($2::uuid[]))";

const DROP_DELIVERIES: &str = "DELETE FROM deliveries WHERE tenant_id = $1 AND message_id = ANY($2::uuid[])";

const DROP_LINKS: &str = "DELETE FROM message_links WHERE tenant_id = $1 AND message_id = ANY($2::uuid[])";

const DROP_EVENTS: &str = "DELETE FROM events WHERE tenant_id = $1 AND message_id = ANY($2::uuid[])";

const DROP_MESSAGES: &str = "DELETE FROM messages WHERE tenant_id = $1 AND message_id = ANY($2::uuid[])";

const DROP_FINDS: &str = "WITH old AS MATERIALIZED (SELECT tenant_id, rule_id, end_at, window_id FROM window_finds \
     WHERE end_at < $1 ORDER BY end_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
     DELETE FROM window_finds f USING old WHERE f.tenant_id = old.tenant_id AND f.rule_id = old.rule_id \
     AND f.end_at = old.end_at AND f.window_id = old.window_id";

const DROP_WINDOWS: &str = "WITH old AS MATERIALIZED (SELECT tenant_id, window_id FROM windows \
     WHERE end_at < $1 ORDER BY end_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
     DELETE FROM windows w USING old WHERE w.tenant_id = old.tenant_id AND w.window_id = old.window_id";

const INCOMPLETE: &str =
    "SELECT tenant_id, run_id FROM incomplete_runs WHERE touched_at < $1 ORDER BY touched_at LIMIT $2";

const STILL_INCOMPLETE: &str = "SELECT run_id FROM incomplete_runs WHERE tenant_id = $1 AND run_id = ANY($2::uuid[]) \
     AND touched_at < $3";

const FORGET_INCOMPLETE: &str = "DELETE FROM incomplete_runs WHERE tenant_id = $1 AND run_id = ANY($2::uuid[])";

/// A run that has come again keeps its matches.
const KEEP_MATCHES: &str = "WITH old AS MATERIALIZED (SELECT tenant_id, rule_id, run_id FROM matches \
     WHERE run_dropped_at < $1 ORDER BY run_dropped_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
     UPDATE matches m SET run_dropped_at = NULL FROM old \
     WHERE m.tenant_id = old.tenant_id AND m.rule_id = old.rule_id AND m.run_id = old.run_id \
     AND EXISTS (SELECT 1 FROM run_bodies b WHERE b.tenant_id = m.tenant_id AND b.run_id = m.run_id)";

const FORGET_MATCHES: &str = "WITH old AS MATERIALIZED (SELECT tenant_id, rule_id, run_id FROM matches \
     WHERE run_dropped_at < $1 ORDER BY run_dropped_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
     DELETE FROM matches m USING old \
     WHERE m.tenant_id = old.tenant_id AND m.rule_id = old.rule_id AND m.run_id = old.run_id \
     AND NOT EXISTS (SELECT 1 FROM run_bodies b WHERE b.tenant_id = m.tenant_id AND b.run_id = m.run_id)";

const NAMING_RUNS: &str = "SELECT b.run_id, b.body, r.modified_at FROM run_bodies b \
     LEFT JOIN runs r ON r.tenant_id = b.tenant_id AND r.project_id = b.project_id AND r.run_id = b.run_id \
     WHERE b.tenant_id = $1 AND b.run_id = ANY($2::uuid[])";

const LINKED: &str = "SELECT blob_key FROM message_links WHERE tenant_id = $1 AND blob_key = ANY($2::text[]) \
     UNION SELECT blob_key FROM example_links WHERE tenant_id = $1 AND blob_key = ANY($2::text[])";

const DROP_QUEUED: &str = "DELETE FROM queued_runs WHERE tenant_id = $1 AND run_id = ANY($2::uuid[])";

const DROP_TOKENS: &str = "DELETE FROM feedback_tokens WHERE tenant_id = $1 AND run_id = ANY($2::uuid[])";

/// What goes with its run.
pub(super) const DROP_WITH_RUNS: [&str; 4] = [DROP_FEEDBACK, DROP_TOKENS, DROP_QUEUED, DROP_BODIES];

const BEGIN_SWEEP: &str = "UPDATE counters SET value = $1 WHERE name = 'blobs_swept_at' AND value <= $2";

#[async_trait]
impl RetentionStore for PgStore {
    async fn aged_projects(&self, before: Timestamp) -> Result<Vec<Aged>> {
        let rows = sqlx::query(AGED).bind(before.0).fetch_all(&mut *self.reader().await?).await?;
        rows.iter().map(records::aged).collect()
    }

    async fn drop_runs(&self, old: OldRuns) -> Result<DroppedRuns> {
        let plan = look_at_runs(&mut *self.reader().await?, &old).await?;
        if plan.superseded.is_empty() && plan.runs.is_empty() {
            return Ok(plan.outcome(&[], 0));
        }
        let (old, plan) = (&old, &plan);
        self.run("drop_runs", |mut this| {
            Box::pin(async move {
                let dropped = drop_runs(&mut this, old, plan).await?;
                Ok(this.done(dropped))
            })
        })
        .await
    }

    async fn drop_traces(
        &self,
        tenant: TenantId,
        project: ProjectId,
        traces: &[TraceId],
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<u64> {
        let traces = ids(traces, |trace| trace.0);
        let (traces, told) = (&traces, told.as_slice());
        self.run("drop_traces", |mut this| {
            Box::pin(async move {
                let query = sqlx::query_scalar::<_, Uuid>(WAIT_FOR).bind(tenant.0).bind(project.0).bind(traces);
                let held = query.fetch_all(&mut *this).await?;
                let query = sqlx::query_as::<_, (Uuid, Seq)>(OF_TRACES).bind(tenant.0).bind(project.0).bind(held);
                let (runs, seqs): (Vec<_>, Vec<_>) =
                    query.bind(traces).fetch_all(&mut *this).await?.into_iter().unzip();
                if runs.is_empty() {
                    return Ok(this.done(0));
                }
                let query = sqlx::query(DROP_RUNS).bind(tenant.0).bind(project.0).bind(&runs).bind(Seq::MAX);
                query.execute(&mut *this).await?;
                drop_with_runs(&mut this, tenant, &runs, now).await?;
                let query = sqlx::query(DROP_CHANGES).bind(tenant.0).bind(project.0).bind(seqs);
                query.execute(&mut *this).await?;
                audit::write(&mut this, told).await?;
                Ok(this.done(runs.len() as u64))
            })
        })
        .await
    }

    async fn drop_messages(&self, before: Timestamp, after: Option<Ended>, limit: u32) -> Result<DroppedMessages> {
        let (instant, id) = after.map_or((i64::MIN, Uuid::nil()), |(instant, id)| (instant.0, id.0));
        let query = sqlx::query(ENDED).bind(before.0).bind(instant).bind(id).bind(i64::from(limit));
        let rows = query.fetch_all(&mut *self.reader().await?).await?;
        let endings = rows.iter().map(records::ending).collect::<Result<Vec<_>>>()?;
        let next = next_ending(&endings, limit);
        let ended = by_tenant(endings.into_iter().map(|(tenant, message, _)| (tenant, message)));
        let mut dropped = DroppedMessages { next, ..DroppedMessages::default() };
        for (tenant, messages) in &ended {
            let (messages, deliveries) = self
                .run("drop_messages", |mut this| {
                    Box::pin(async move {
                        let done = drop_messages(&mut this, *tenant, messages, before).await?;
                        Ok(this.done(done))
                    })
                })
                .await?;
            dropped.messages = dropped.messages.saturating_add(messages);
            dropped.deliveries = dropped.deliveries.saturating_add(deliveries);
        }
        Ok(dropped)
    }

    async fn drop_windows(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.run("drop_windows", |mut this| {
            Box::pin(async move {
                let finds = bounded(&mut this, DROP_FINDS, before, limit).await?;
                let rows = bounded(&mut this, DROP_WINDOWS, before, limit).await?;
                Ok(this.done(Dropped { rows, more: rows.max(finds) >= u64::from(limit) }))
            })
        })
        .await
    }

    async fn drop_incomplete(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        let query = sqlx::query(INCOMPLETE).bind(before.0).bind(i64::from(limit));
        let rows = query.fetch_all(&mut *self.reader().await?).await?;
        let unheard = rows.iter().map(records::tenant_and_run).collect::<Result<Vec<_>>>()?;
        let mut dropped = Dropped { rows: 0, more: unheard.len() as u64 >= u64::from(limit) };
        for (tenant, runs) in &by_tenant(unheard) {
            let gone = self
                .run("drop_incomplete", |mut this| {
                    Box::pin(async move {
                        let gone = drop_incomplete(&mut this, *tenant, runs, before).await?;
                        Ok(this.done(gone))
                    })
                })
                .await?;
            dropped.rows = dropped.rows.saturating_add(gone);
        }
        Ok(dropped)
    }

    async fn forget_matches(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.run("forget_matches", |mut this| {
            Box::pin(async move {
                let kept = bounded(&mut this, KEEP_MATCHES, before, limit).await?;
                let rows = bounded(&mut this, FORGET_MATCHES, before, limit).await?;
                Ok(this.done(Dropped { rows, more: kept.saturating_add(rows) >= u64::from(limit) }))
            })
        })
        .await
    }

    async fn unnamed_blobs(
        &self,
        tenant: TenantId,
        blobs: &[(RunId, BlobKey)],
        quiet_since: Timestamp,
    ) -> Result<Vec<BlobKey>> {
        let runs: Vec<Uuid> = blobs.iter().map(|(run, _)| run.0).collect::<HashSet<_>>().into_iter().collect();
        let keys: Vec<&str> = blobs.iter().map(|(_, key)| key.0.as_str()).collect();
        // One snapshot: a part that is applied must not be missed in both places.
        let mut snapshot = self.snapshot().await?;
        let rows = sqlx::query(NAMING_RUNS).bind(tenant.0).bind(&runs).fetch_all(&mut *snapshot).await?;
        let bodies = rows.iter().map(records::naming).collect::<Result<_>>()?;
        let rows = sqlx::query(accept::WAITING).bind(tenant.0).bind(runs).fetch_all(&mut *snapshot).await?;
        let parts = rows.iter().map(records::waiting).map(|row| row.map(|row| (row.run_id, row.part)));
        let parts = parts.collect::<Result<_>>()?;
        let query = sqlx::query_scalar::<_, String>(LINKED).bind(tenant.0).bind(keys);
        let linked = query.fetch_all(&mut *snapshot).await?.into_iter().collect();
        snapshot.end().await?;
        Ok(Naming { bodies, parts, linked }.unnamed(blobs, quiet_since))
    }

    async fn drop_removed(&self, limit: u32) -> Result<Dropped> {
        match self.removed_project().await? {
            Some(project) => Ok(Dropped { more: true, ..self.drop_some(project, limit).await? }),
            None => Ok(Dropped::default()),
        }
    }

    async fn begin_sweep(&self, now: Timestamp, since: Timestamp) -> Result<bool> {
        self.run("begin_sweep", |mut this| {
            Box::pin(async move {
                let done = sqlx::query(BEGIN_SWEEP).bind(now.0).bind(since.0).execute(&mut *this).await?;
                let begun = done.rows_affected() > 0 || this.in_doubt;
                Ok(this.done(begun))
            })
        })
        .await
    }
}

async fn look_at_runs(connection: &mut Session, old: &OldRuns) -> Result<Plan> {
    let query = sqlx::query(CANDIDATES).bind(old.tenant_id.0).bind(old.project_id.0).bind(old.after);
    let rows = query.bind(old.through).bind(i64::from(old.limit)).fetch_all(&mut *connection).await?;
    let candidates = rows.iter().map(records::candidate).collect::<Result<Vec<Candidate>>>()?;
    let traces = ids(&traces_of(&candidates), |trace| trace.0);
    let query = sqlx::query(LIVING).bind(old.tenant_id.0).bind(old.project_id.0).bind(traces).bind(old.through);
    let rows = query.fetch_all(connection).await?;
    let living = rows.iter().map(records::trace).collect::<Result<_>>()?;
    Ok(plan(&candidates, &living, old.limit))
}

/// Between the look and this a run may have changed: then it stays.
async fn drop_runs(connection: &mut Session, old: &OldRuns, plan: &Plan) -> Result<DroppedRuns> {
    if rules::shared_version(connection).await? != old.rules_version {
        return Err(StoreError::Stale("the rules have changed"));
    }
    let (tenant, project) = (old.tenant_id.0, old.project_id.0);
    let runs: Vec<Uuid> = plan.runs.keys().map(|run| run.0).collect();
    let query = sqlx::query_scalar::<_, Uuid>(HOLD).bind(tenant).bind(runs);
    let held = query.fetch_all(&mut *connection).await?;
    let query = sqlx::query_scalar::<_, Uuid>(DROP_RUNS).bind(tenant).bind(project).bind(held).bind(old.through);
    let runs = query.fetch_all(&mut *connection).await?;
    drop_with_runs(connection, old.tenant_id, &runs, old.now).await?;
    let dropped: Vec<RunId> = runs.into_iter().map(RunId).collect();
    let query = sqlx::query(DROP_CHANGES).bind(tenant).bind(project).bind(plan.changes(&dropped));
    Ok(plan.outcome(&dropped, query.execute(connection).await?.rows_affected()))
}

/// Drops what goes with runs, and notes it with their matches.
async fn drop_with_runs(connection: &mut Session, tenant: TenantId, runs: &[Uuid], now: Timestamp) -> Result<()> {
    for statement in DROP_WITH_RUNS {
        sqlx::query(statement).bind(tenant.0).bind(runs).execute(&mut *connection).await?;
    }
    sqlx::query(STAMP_MATCHES).bind(tenant.0).bind(runs).bind(now.0).execute(connection).await?;
    Ok(())
}

/// How many messages, and how many deliveries.
async fn drop_messages(
    connection: &mut Session,
    tenant: TenantId,
    messages: &[MessageId],
    before: Timestamp,
) -> Result<(u64, u64)> {
    let messages = ids(messages, |message| message.0);
    let query = sqlx::query_scalar::<_, Uuid>(HOLD_MESSAGES).bind(tenant.0).bind(messages);
    let held = query.fetch_all(&mut *connection).await?;
    sqlx::query(HOLD_DELIVERIES).bind(tenant.0).bind(&held).execute(&mut *connection).await?;
    let query = sqlx::query_scalar::<_, Uuid>(ENDED_WHOLE).bind(tenant.0).bind(held).bind(before.0);
    let ended = query.fetch_all(&mut *connection).await?;
    let mut done = [0; 5];
    let statements = [DROP_ATTEMPTS, DROP_DELIVERIES, DROP_LINKS, DROP_EVENTS, DROP_MESSAGES];
    for (statement, done) in statements.iter().zip(&mut done) {
        *done = sqlx::query(*statement).bind(tenant.0).bind(&ended).execute(&mut *connection).await?.rows_affected();
    }
    let [_, deliveries, _, _, messages] = done;
    Ok((messages, deliveries))
}

/// Runs a statement about what is older than an instant, at most so many rows.
async fn bounded(connection: &mut Session, statement: &'static str, before: Timestamp, limit: u32) -> Result<u64> {
    let query = sqlx::query(statement).bind(before.0).bind(i64::from(limit));
    Ok(query.execute(connection).await?.rows_affected())
}

/// How many runs there were to look at, and how many of them are gone. The runs are locked as batches lock them, before
/// anything is read of them: what has come to one meanwhile is seen, and what comes later waits.
async fn drop_incomplete(connection: &mut Session, tenant: TenantId, runs: &[RunId], before: Timestamp) -> Result<u64> {
    let mut held = Held::by(connection);
    held.lock_runs(tenant, runs, &[]).await?;
    let places = held.places(tenant, runs).await?;
    let complete: HashSet<Uuid> = places.into_iter().map(|(run, _, _)| run.0).collect();
    let query = sqlx::query_scalar::<_, Uuid>(STILL_INCOMPLETE).bind(tenant.0).bind(ids(runs, |run| run.0));
    let unheard = query.bind(before.0).fetch_all(held.connection()).await?;
    let gone: Vec<Uuid> = unheard.iter().filter(|run| !complete.contains(*run)).copied().collect();
    for statement in [accept::DELETE_WAITING].into_iter().chain(DROP_WITH_RUNS) {
        sqlx::query(statement).bind(tenant.0).bind(&gone).execute(held.connection()).await?;
    }
    sqlx::query(FORGET_INCOMPLETE).bind(tenant.0).bind(unheard).execute(held.connection()).await?;
    held.let_go(tenant).await?;
    Ok(gone.len() as u64)
}
