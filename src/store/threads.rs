//! Threads, as the scheduler looks them up: from changed runs to threads, and from threads to their turns.

use async_trait::async_trait;

use crate::model::id::{ProjectId, RunId, TenantId, ThreadId};
use crate::model::time::Timestamp;
use crate::model::window::Seq;
use crate::store::Result;

/// A root that is a turn of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The thread.
    pub thread: ThreadId,
    /// The root. A trace is named by its root: whatever else the root says of its trace, runs that name it so are its.
    pub run_id: RunId,
    /// When the root started.
    pub start_time: Timestamp,
    /// The number of the newest change of the root or of a run of its trace.
    pub newest: Seq,
}

/// Threads.
#[async_trait]
pub trait ThreadStore: Send + Sync {
    /// Those of these runs of a project that are turns of threads, each with its thread.
    async fn threads_of(&self, tenant: TenantId, project: ProjectId, runs: &[RunId]) -> Result<Vec<(RunId, ThreadId)>>;

    /// The turns of these threads within a project, up to `limit` of each: those that started last, in no order.
    async fn turns(&self, tenant: TenantId, project: ProjectId, threads: &[ThreadId], limit: u32) -> Result<Vec<Turn>>;
}
