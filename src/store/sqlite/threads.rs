//! Threads.

use async_trait::async_trait;

use crate::model::id::{ProjectId, RunId, TenantId, ThreadId};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::row::id_list;
use crate::store::threads::{ThreadStore, Turn};
use crate::store::{Result, records};

const OF_RUNS: &str = "SELECT run_id, thread_id FROM runs \
     WHERE tenant_id = $1 AND project_id = $2 AND run_id IN (SELECT unhex(value) FROM json_each($3))";

/// `CROSS JOIN` keeps the order: from each thread to its turns. A thread's turns are found in the index alone.
const TURNS: &str = "SELECT r.thread_id, r.run_id, r.start_at, max(r.changed_seq, coalesce((SELECT max(t.changed_seq) \
     FROM runs t INDEXED BY runs_by_trace WHERE t.tenant_id = r.tenant_id AND t.project_id = r.project_id \
     AND t.trace_id = r.run_id), 0)) FROM json_each($3) thread CROSS JOIN runs r \
     WHERE r.tenant_id = $1 AND r.project_id = $2 AND r.run_id IN (SELECT n.run_id FROM runs n \
     INDEXED BY runs_by_thread WHERE n.thread_id IS NOT NULL AND n.tenant_id = $1 AND n.project_id = $2 \
     AND n.thread_id = unhex(thread.value) ORDER BY n.start_at DESC, n.run_id DESC LIMIT $4)";

#[async_trait]
impl ThreadStore for SqliteStore {
    async fn threads_of(&self, tenant: TenantId, project: ProjectId, runs: &[RunId]) -> Result<Vec<(RunId, ThreadId)>> {
        let query = sqlx::query(OF_RUNS).bind(tenant.0).bind(project.0).bind(id_list(runs.iter().map(|run| run.0)));
        query.fetch_all(&self.readers).await?.iter().filter_map(|row| records::thread_of(row).transpose()).collect()
    }

    async fn turns(&self, tenant: TenantId, project: ProjectId, threads: &[ThreadId], limit: u32) -> Result<Vec<Turn>> {
        let threads = id_list(threads.iter().map(|thread| thread.0));
        let query = sqlx::query(TURNS).bind(tenant.0).bind(project.0).bind(threads).bind(limit);
        query.fetch_all(&self.readers).await?.iter().map(records::turn).collect()
    }
}

/// The statements, each with the steps its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 4] = [
    (OF_RUNS, "SEARCH runs USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
    (TURNS, "SEARCH r USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
    (TURNS, "SEARCH n USING COVERING INDEX runs_by_thread (tenant_id=? AND project_id=? AND thread_id=?)"),
    (TURNS, "SEARCH t USING INDEX runs_by_trace (tenant_id=? AND project_id=? AND trace_id=?)"),
];
