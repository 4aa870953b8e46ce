//! What the scheduler reads and how it commits.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use crate::model::id::{ProjectId, RuleId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::model::window::{Change, Seq, Window};
use crate::store::collections::outcomes;
use crate::store::failure::is_repeat;
use crate::store::outbox::Claimant;
use crate::store::row::json_text;
use crate::store::sqlite::either::events;
use crate::store::sqlite::row::{Insert, insert};
use crate::store::sqlite::{SqliteStore, collections, outbox, rules, standing};
use crate::store::windows::{ProjectKey, Standing, Stirred, WindowCommit, WindowStore};
use crate::store::{Result, StoreError, records};

/// The first half holds the partial index's condition word for word.
pub(super) const STIRRED: &str = "SELECT tenant_id, project_id, name, last_seq FROM projects WHERE last_seq > settled_seq \
     UNION SELECT p.tenant_id, p.project_id, p.name, p.last_seq FROM rule_spans s \
     JOIN projects p ON p.tenant_id = s.tenant_id AND p.project_id = s.project_id";

pub(super) const CHANGES: &str = "SELECT seq, run_id, trace_id, changed_at, left_thread_id FROM changes \
     WHERE tenant_id = $1 AND project_id = $2 AND seq > $3 AND changed_at <= $4 ORDER BY seq LIMIT $5 + 0";

/// `CROSS JOIN` keeps the order of the tables: SQLite would read all matches of the tenant for each pair otherwise.
pub(super) const MATCHED: &str = "SELECT m.rule_id, m.run_id FROM json_each($2) pair \
     CROSS JOIN matches m ON m.tenant_id = $1 AND m.rule_id = unhex(pair.value ->> 0) AND m.run_id = unhex(pair.value ->> 1)";

const SETTLE: &str = "UPDATE projects SET settled_seq = $3 \
     WHERE tenant_id = $1 AND project_id = $2 AND last_seq = $3 AND settled_seq < $3 \
     AND (SELECT value FROM counters WHERE name = 'rules_version') = $4";

const INSERT_MATCHES: Insert = Insert {
    head: "INSERT INTO matches (tenant_id, rule_id, run_id, project_id, window_id, applied_at, outcome) VALUES",
    columns: 7,
    tail: "",
};

const INSERT_WINDOWS: Insert = Insert {
    head: "INSERT INTO windows (tenant_id, window_id, project_id, progress, after_seq, through_seq, start_at, end_at) \
           VALUES",
    columns: 8,
    tail: "",
};

const INSERT_FINDS: Insert = Insert {
    head: "INSERT INTO window_finds (tenant_id, rule_id, end_at, window_id, project_id, found) VALUES",
    columns: 6,
    tail: "",
};

const RULE_WINDOWS: &str = "SELECT w.window_id, w.project_id, w.progress, w.after_seq, w.through_seq, w.start_at, \
     w.end_at, f.found FROM window_finds f JOIN windows w ON w.tenant_id = f.tenant_id AND w.window_id = f.window_id \
     WHERE f.tenant_id = $1 AND f.rule_id = $2 ORDER BY f.end_at DESC, f.window_id DESC LIMIT $3";

#[async_trait]
impl WindowStore for SqliteStore {
    async fn stirred_projects(&self) -> Result<Vec<Stirred>> {
        let rows = sqlx::query(STIRRED).fetch_all(&self.readers).await?;
        rows.iter().map(records::stirred).collect()
    }

    async fn lease_projects(&self, claimant: Claimant, projects: &[ProjectKey], limit: u32) -> Result<Vec<ProjectKey>> {
        Ok(self.leases.take(claimant, projects, usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    async fn release_projects(&self, holder: Uuid, projects: &[ProjectKey]) -> Result<()> {
        self.leases.give_back(holder, projects);
        Ok(())
    }

    async fn standing(&self, tenant: TenantId, project: ProjectId) -> Result<Standing> {
        let query = sqlx::query(records::STANDING).bind(tenant.0).bind(project.0);
        records::standing(tenant, project, &query.fetch_all(&self.readers).await?)
    }

    async fn starts(&self, tenant: TenantId, project: ProjectId, beyond: Seq) -> Result<HashMap<RuleId, Seq>> {
        standing::starts_beyond(&mut *self.readers.acquire().await?, tenant, project, beyond).await
    }

    async fn changes(
        &self,
        tenant: TenantId,
        project: ProjectId,
        after: Seq,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Change>> {
        let query = sqlx::query(CHANGES).bind(tenant.0).bind(project.0).bind(after).bind(until.0).bind(limit);
        query.fetch_all(&self.readers).await?.iter().map(records::change).collect()
    }

    async fn matched(&self, tenant: TenantId, pairs: &[(RuleId, RunId)]) -> Result<HashSet<(RuleId, RunId)>> {
        let list: Vec<_> = pairs.iter().map(|(rule, run)| (rule.0.simple(), run.0.simple())).collect();
        let rows = sqlx::query(MATCHED).bind(tenant.0).bind(json_text(&list)?).fetch_all(&self.readers).await?;
        rows.iter().map(records::matched).collect()
    }

    async fn commit_window(&self, commit: WindowCommit) -> Result<()> {
        let bodies = outbox::packed(&commit.messages)?;
        self.queue.write(move |connection| Box::pin(commit_window(connection, commit, bodies))).await
    }

    async fn settle_project(&self, tenant: TenantId, project: ProjectId, seq: Seq, rules_version: i64) -> Result<()> {
        self.queue.write(move |connection| Box::pin(settle(connection, tenant, project, seq, rules_version))).await
    }

    async fn rule_windows(&self, tenant: TenantId, rule: RuleId, limit: u32) -> Result<Vec<(Window, u32)>> {
        let query = sqlx::query(RULE_WINDOWS).bind(tenant.0).bind(rule.0).bind(limit);
        query.fetch_all(&self.readers).await?.iter().map(|row| records::window(tenant, row)).collect()
    }
}

async fn commit_window(connection: &mut SqliteConnection, commit: WindowCommit, bodies: Vec<Vec<u8>>) -> Result<()> {
    if rules::version(connection).await? != commit.rules_version {
        return Err(StoreError::Stale("the rules have changed"));
    }
    let window = &commit.window;
    standing::advance(connection, window).await?;
    if !commit.matches.is_empty() {
        let there = collections::there(connection, window.tenant_id, &commit.actions.collections()).await?;
        store_matches(connection, &commit, &outcomes(&commit, &there)?).await?;
        collections::act(connection, window.tenant_id, &commit.actions.possible(&there), commit.applied_at).await?;
    }
    outbox::store_packed(connection, &commit.messages, &bodies).await?;
    outbox::store_deliveries(connection, &commit.deliveries).await?;
    for (message, event) in &commit.events {
        events::note(connection, window.tenant_id, *message, event, commit.applied_at).await?;
    }
    if let Some(seq) = commit.settles {
        settle(connection, window.tenant_id, window.project_id, seq, commit.rules_version).await?;
    }
    Ok(())
}

async fn settle(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    project: ProjectId,
    seq: Seq,
    rules_version: i64,
) -> Result<()> {
    let query = sqlx::query(SETTLE).bind(tenant.0).bind(project.0).bind(seq).bind(rules_version);
    query.execute(connection).await?;
    Ok(())
}

async fn store_matches(
    connection: &mut SqliteConnection,
    commit: &WindowCommit,
    outcomes: &[Option<String>],
) -> Result<()> {
    let WindowCommit { window, matches, applied_at, .. } = commit;
    let (tenant, project) = (window.tenant_id.0, window.project_id.0);
    let rows: Vec<_> = matches.iter().zip(outcomes).collect();
    let written = insert(connection, &INSERT_MATCHES, &rows, |values, ((rule, run), outcome)| {
        values.push(tenant).push(rule.0).push(run.0).push(project).push(window.id.0).push(applied_at.0);
        values.push(outcome.as_deref());
    })
    .await;
    match written {
        Ok(_) => {}
        Err(error) if is_repeat(&error) => return Err(StoreError::Stale("a match exists already")),
        Err(error) => return Err(error.into()),
    }
    let progress = json_text(&window.progress)?;
    insert(connection, &INSERT_WINDOWS, std::slice::from_ref(window), |values, window| {
        values.push(tenant).push(window.id.0).push(project).push(progress.as_str());
        values.push(window.after).push(window.through).push(window.start_time.0).push(window.end_time.0);
    })
    .await?;
    insert(connection, &INSERT_FINDS, &records::finds(matches), |values, (rule, found)| {
        values.push(tenant).push(rule.0).push(window.end_time.0).push(window.id.0).push(project).push(*found);
    })
    .await?;
    Ok(())
}

/// Further statements that requests and loops run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 3] = [
    (SETTLE, "SEARCH projects USING PRIMARY KEY (tenant_id=? AND project_id=?)"),
    (RULE_WINDOWS, "SEARCH f USING PRIMARY KEY (tenant_id=? AND rule_id=?)"),
    (RULE_WINDOWS, "SEARCH w USING PRIMARY KEY (tenant_id=? AND window_id=?)"),
];
