//! Threads.

use async_trait::async_trait;

use crate::model::id::{ProjectId, RunId, TenantId, ThreadId};
use crate::store::postgres::{PgStore, ids};
use crate::store::threads::{ThreadStore, Turn};
use crate::store::{Result, records};

const OF_RUNS: &str = "SELECT run_id, thread_id FROM runs \
     WHERE tenant_id = $1 AND project_id = $2 AND run_id = ANY($3::uuid[])";

const TURNS: &str = "SELECT r.thread_id, r.run_id, r.start_at, greatest(r.changed_seq, (SELECT max(t.changed_seq) FROM runs t \
     WHERE t.tenant_id = $1 AND t.project_id = $2 AND t.trace_id = r.run_id)) \
     FROM unnest($3::uuid[]) AS thread (id) CROSS JOIN LATERAL (SELECT n.thread_id, n.run_id, n.start_at, n.changed_seq \
     FROM runs n \
     WHERE n.thread_id IS NOT NULL AND n.tenant_id = $1 AND n.project_id = $2 AND n.thread_id = thread.id \
     ORDER BY n.start_at DESC, n.run_id DESC LIMIT $4) AS r";

#[async_trait]
impl ThreadStore for PgStore {
    async fn threads_of(&self, tenant: TenantId, project: ProjectId, runs: &[RunId]) -> Result<Vec<(RunId, ThreadId)>> {
        self.read(async {
            let query = sqlx::query(OF_RUNS).bind(tenant.0).bind(project.0).bind(ids(runs, |run| run.0));
            let rows = query.fetch_all(&mut *self.reader().await?).await?;
            rows.iter().filter_map(|row| records::thread_of(row).transpose()).collect()
        })
        .await
    }

    async fn turns(&self, tenant: TenantId, project: ProjectId, threads: &[ThreadId], limit: u32) -> Result<Vec<Turn>> {
        self.read(async {
            let threads = ids(threads, |thread| thread.0);
            let query = sqlx::query(TURNS).bind(tenant.0).bind(project.0).bind(threads).bind(i64::from(limit));
            query.fetch_all(&mut *self.reader().await?).await?.iter().map(records::turn).collect()
        })
        .await
    }
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] =
    &[(OF_RUNS, &["runs_pkey"]), (TURNS, &["runs_by_thread", "runs_by_trace"])];
