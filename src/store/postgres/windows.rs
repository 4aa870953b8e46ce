//! What the scheduler reads and how it commits.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::id::{ProjectId, RuleId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::model::window::{Change, Seq, Window};
use crate::store::collections::outcomes;
use crate::store::failure::is_repeat;
use crate::store::outbox::Claimant;
use crate::store::postgres::either::events;
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, Topic, collections, outbox, rules, standing};
use crate::store::row::json_text;
use crate::store::windows::{ProjectKey, Standing, Stirred, WindowCommit, WindowStore};
use crate::store::{Result, StoreError, records};

const STIRRED: &str = "SELECT tenant_id, project_id, name, last_seq FROM projects WHERE last_seq > settled_seq \
     UNION SELECT p.tenant_id, p.project_id, p.name, p.last_seq FROM rule_spans s \
     JOIN projects p ON p.tenant_id = s.tenant_id AND p.project_id = s.project_id";

/// Those that others hold are left out beforehand, so that nobody waits for them and the limit counts what can be had;
/// whether that is still so is decided again on each row.
const LEASE: &str = "WITH free AS (SELECT w.tenant_id, w.project_id \
     FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS w (tenant_id, project_id, position) \
     WHERE NOT EXISTS (SELECT 1 FROM project_leases l WHERE l.tenant_id = w.tenant_id \
     AND l.project_id = w.project_id AND l.holder <> $3 AND l.until_at > $4) ORDER BY w.position LIMIT $6) \
     INSERT INTO project_leases AS held (tenant_id, project_id, holder, until_at) \
     SELECT tenant_id, project_id, $3, $5 FROM free ORDER BY tenant_id, project_id \
     ON CONFLICT (tenant_id, project_id) DO UPDATE SET holder = excluded.holder, until_at = excluded.until_at \
     WHERE held.holder = excluded.holder OR held.until_at <= $4 RETURNING tenant_id, project_id";

const RELEASE: &str = "DELETE FROM project_leases l USING unnest($2::uuid[], $3::uuid[]) AS w (tenant_id, project_id) \
     WHERE l.tenant_id = w.tenant_id AND l.project_id = w.project_id AND l.holder = $1";

const CHANGES: &str = "SELECT seq, run_id, trace_id, changed_at, left_thread_id FROM changes \
     WHERE tenant_id = $1 AND project_id = $2 AND seq > $3 AND changed_at <= $4 ORDER BY seq LIMIT $5";

const MATCHED: &str = "SELECT m.rule_id, m.run_id FROM unnest($2::uuid[], $3::uuid[]) AS pair (rule_id, run_id) \
     JOIN matches m ON m.tenant_id = $1 AND m.rule_id = pair.rule_id AND m.run_id = pair.run_id";

const SETTLE: &str = "UPDATE projects SET settled_seq = $3 \
     WHERE tenant_id = $1 AND project_id = $2 AND last_seq = $3 AND settled_seq < $3";

/// Waits for nobody: whoever has the row writes changes, as a rule, and then there is nothing to settle.
const SETTLE_IF_FREE: &str = "UPDATE projects SET settled_seq = $3 WHERE tenant_id = $1 AND project_id = \
     (SELECT project_id FROM projects WHERE tenant_id = $1 AND project_id = $2 AND last_seq = $3 \
     AND settled_seq < $3 FOR UPDATE SKIP LOCKED)";

const INSERT_MATCHES: &str = "INSERT INTO matches (tenant_id, rule_id, run_id, project_id, window_id, applied_at, \
     outcome) SELECT $1, rule_id, run_id, $2, $5, $6, outcome \
     FROM unnest($3::uuid[], $4::uuid[], $7::text[]) AS put (rule_id, run_id, outcome) \
     ORDER BY rule_id, run_id";

const INSERT_WINDOW: &str = "INSERT INTO windows (tenant_id, window_id, project_id, progress, after_seq, through_seq, \
     start_at, end_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const INSERT_FINDS: &str = "INSERT INTO window_finds (tenant_id, rule_id, end_at, window_id, project_id, found) \
     SELECT $1, rule_id, $2, $3, $4, found FROM unnest($5::uuid[], $6::bigint[]) AS put (rule_id, found)";

const COMMITTED: &str = "SELECT 1 FROM windows WHERE tenant_id = $1 AND window_id = $2";

const RULE_WINDOWS: &str = "SELECT w.window_id, w.project_id, w.progress, w.after_seq, w.through_seq, w.start_at, \
     w.end_at, f.found FROM window_finds f JOIN windows w ON w.tenant_id = f.tenant_id AND w.window_id = f.window_id \
     WHERE f.tenant_id = $1 AND f.rule_id = $2 ORDER BY f.end_at DESC, f.window_id DESC LIMIT $3";

#[async_trait]
impl WindowStore for PgStore {
    async fn stirred_projects(&self) -> Result<Vec<Stirred>> {
        self.read(async {
            let rows = sqlx::query(STIRRED).fetch_all(&mut *self.reader().await?).await?;
            rows.iter().map(records::stirred).collect()
        })
        .await
    }

    async fn lease_projects(&self, claimant: Claimant, projects: &[ProjectKey], limit: u32) -> Result<Vec<ProjectKey>> {
        let Claimant { holder, now, until } = claimant;
        let (tenants, ids) = key_columns(projects);
        let mut connection = self.reader().await?;
        let query = sqlx::query(LEASE).bind(tenants).bind(ids).bind(holder).bind(now.0).bind(until.0);
        let rows = query.bind(i64::from(limit)).fetch_all(&mut *connection).await?;
        connection.end().await?;
        rows.iter().map(records::project_key).collect()
    }

    async fn release_projects(&self, holder: Uuid, projects: &[ProjectKey]) -> Result<()> {
        let (tenants, ids) = key_columns(projects);
        let mut connection = self.reader().await?;
        sqlx::query(RELEASE).bind(holder).bind(tenants).bind(ids).execute(&mut *connection).await?;
        connection.end().await
    }

    async fn standing(&self, tenant: TenantId, project: ProjectId) -> Result<Standing> {
        self.read(async {
            let query = sqlx::query(records::STANDING).bind(tenant.0).bind(project.0);
            records::standing(tenant, project, &query.fetch_all(&mut *self.reader().await?).await?)
        })
        .await
    }

    async fn starts(&self, tenant: TenantId, project: ProjectId, beyond: Seq) -> Result<HashMap<RuleId, Seq>> {
        self.read(async { standing::starts_beyond(&mut *self.reader().await?, tenant, project, beyond).await }).await
    }

    async fn changes(
        &self,
        tenant: TenantId,
        project: ProjectId,
        after: Seq,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Change>> {
        self.read(async {
            let query = sqlx::query(CHANGES).bind(tenant.0).bind(project.0).bind(after).bind(until.0);
            let rows = query.bind(i64::from(limit)).fetch_all(&mut *self.reader().await?).await?;
            rows.iter().map(records::change).collect()
        })
        .await
    }

    async fn matched(&self, tenant: TenantId, pairs: &[(RuleId, RunId)]) -> Result<HashSet<(RuleId, RunId)>> {
        self.read(async {
            let (rules, runs) = columns(pairs);
            let query = sqlx::query(MATCHED).bind(tenant.0).bind(rules).bind(runs);
            query.fetch_all(&mut *self.reader().await?).await?.iter().map(records::matched).collect()
        })
        .await
    }

    async fn commit_window(&self, commit: WindowCommit) -> Result<()> {
        let has_deliveries = !commit.deliveries.is_empty();
        let commit = &commit;
        self.run("commit_window", |mut this| {
            Box::pin(async move {
                if !(this.in_doubt && was_committed(&mut this, commit).await?) {
                    commit_window(&mut this, commit).await?;
                }
                Ok(this.done(()))
            })
        })
        .await?;
        if has_deliveries {
            self.poke(Topic::Deliveries);
        }
        Ok(())
    }

    async fn settle_project(&self, tenant: TenantId, project: ProjectId, seq: Seq, rules_version: i64) -> Result<()> {
        self.run("settle_project", |mut this| {
            Box::pin(async move {
                // Held to the end, so that no revision comes in between.
                if rules::shared_version(&mut this).await? == rules_version {
                    sqlx::query(SETTLE).bind(tenant.0).bind(project.0).bind(seq).execute(&mut *this).await?;
                }
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn rule_windows(&self, tenant: TenantId, rule: RuleId, limit: u32) -> Result<Vec<(Window, u32)>> {
        self.read(async {
            let query = sqlx::query(RULE_WINDOWS).bind(tenant.0).bind(rule.0).bind(i64::from(limit));
            let rows = query.fetch_all(&mut *self.reader().await?).await?;
            rows.iter().map(|row| records::window(tenant, row)).collect()
        })
        .await
    }
}

/// Whether an earlier try has committed this window. One that found nothing leaves only its cursor behind; if that has
/// moved on since, or it was a span's, the answer is `Stale`, which is safe: the evaluation looks at what is there.
async fn was_committed(connection: &mut Session, commit: &WindowCommit) -> Result<bool> {
    let window = &commit.window;
    let found = sqlx::query(COMMITTED).bind(window.tenant_id.0).bind(window.id.0).fetch_optional(&mut *connection);
    Ok(found.await?.is_some() || commit.matches.is_empty() && standing::reached(connection, window).await?)
}

/// The lock on the rules' version comes first and holds to the end, so that no revision comes in between; the cursor's
/// second, so that of two commits of one group the later sees what the earlier did.
async fn commit_window(connection: &mut Session, commit: &WindowCommit) -> Result<()> {
    if rules::shared_version(connection).await? != commit.rules_version {
        return Err(StoreError::Stale("the rules have changed"));
    }
    standing::advance(connection, &commit.window).await?;
    if !commit.matches.is_empty() {
        let tenant = commit.window.tenant_id;
        let there = collections::there(connection, tenant, &commit.actions.collections()).await?;
        store_matches(connection, commit, outcomes(commit, &there)?).await?;
        collections::act(connection, tenant, &commit.actions.possible(&there), commit.applied_at).await?;
    }
    outbox::store_messages(connection, commit.window.tenant_id, &commit.messages).await?;
    outbox::store_deliveries(connection, commit.window.tenant_id, &commit.deliveries).await?;
    for (message, event) in &commit.events {
        events::note(connection, commit.window.tenant_id, *message, event, commit.applied_at).await?;
    }
    if let Some(seq) = commit.settles {
        let (tenant, project) = (commit.window.tenant_id.0, commit.window.project_id.0);
        sqlx::query(SETTLE_IF_FREE).bind(tenant).bind(project).bind(seq).execute(connection).await?;
    }
    Ok(())
}

async fn store_matches(connection: &mut Session, commit: &WindowCommit, outcomes: Vec<Option<String>>) -> Result<()> {
    let WindowCommit { window, matches, applied_at, .. } = commit;
    let (tenant, project) = (window.tenant_id.0, window.project_id.0);
    let (rules, runs) = columns(matches);
    let query = sqlx::query(INSERT_MATCHES).bind(tenant).bind(project).bind(rules).bind(runs);
    let query = query.bind(window.id.0).bind(applied_at.0).bind(outcomes);
    match query.execute(&mut *connection).await {
        Ok(_) => {}
        Err(error) if is_repeat(&error) => return Err(StoreError::Stale("a match exists already")),
        Err(error) => return Err(error.into()),
    }
    sqlx::query(INSERT_WINDOW)
        .bind(tenant)
        .bind(window.id.0)
        .bind(project)
        .bind(json_text(&window.progress)?)
        .bind(window.after)
        .bind(window.through)
        .bind(window.start_time.0)
        .bind(window.end_time.0)
        .execute(&mut *connection)
        .await?;
    let (rules, found): (Vec<Uuid>, Vec<i64>) =
        records::finds(matches).into_iter().map(|(rule, found)| (rule.0, found)).unzip();
    let query = sqlx::query(INSERT_FINDS).bind(tenant).bind(window.end_time.0).bind(window.id.0).bind(project);
    query.bind(rules).bind(found).execute(connection).await?;
    Ok(())
}

fn key_columns(projects: &[ProjectKey]) -> (Vec<Uuid>, Vec<Uuid>) {
    projects.iter().map(|(tenant, project)| (tenant.0, project.0)).unzip()
}

fn columns(pairs: &[(RuleId, RunId)]) -> (Vec<Uuid>, Vec<Uuid>) {
    pairs.iter().map(|(rule, run)| (rule.0, run.0)).unzip()
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[
    (STIRRED, &["projects_stirred", "projects_pkey"]),
    (CHANGES, &["changes_pkey"]),
    (MATCHED, &["matches_by_run"]),
    (SETTLE, &["projects_pkey"]),
    (SETTLE_IF_FREE, &["projects_pkey"]),
    (RULE_WINDOWS, &["window_finds_pkey", "windows_pkey"]),
];

/// Those that are read in the order of an index.
#[cfg(test)]
pub(super) const ORDERED: &[(&str, &str)] = &[(CHANGES, "changes_pkey"), (RULE_WINDOWS, "window_finds_pkey")];
