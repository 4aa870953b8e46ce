//! Threads: which run is a turn of which is asked of every run.

use async_trait::async_trait;
use runhook::model::id::{ProjectId, RunId, TenantId, ThreadId};
use runhook::store::Result;
use runhook::store::threads::{ThreadStore, Turn};

use super::runs::thread_of;
use super::{Reference, Tenant};

#[async_trait]
impl ThreadStore for Reference {
    async fn threads_of(&self, tenant: TenantId, project: ProjectId, ids: &[RunId]) -> Result<Vec<(RunId, ThreadId)>> {
        let all = self.look_at(tenant, Tenant::all_stored).into_iter().map(|stored| stored.run);
        let asked = all.filter(|run| run.project_id == project && ids.contains(&run.id));
        Ok(asked.filter_map(|run| Some((run.id, thread_of(&run)?))).collect())
    }

    async fn turns(&self, tenant: TenantId, project: ProjectId, threads: &[ThreadId], limit: u32) -> Result<Vec<Turn>> {
        let mut all = self.look_at(tenant, Tenant::all_stored);
        all.retain(|stored| stored.run.project_id == project);
        let mut found = Vec::new();
        for thread in threads {
            let mut turns: Vec<_> = all.iter().filter(|stored| thread_of(&stored.run) == Some(*thread)).collect();
            turns.sort_by_key(|stored| std::cmp::Reverse((stored.run.start_time, stored.run.id)));
            turns.truncate(usize::try_from(limit).unwrap());
            found.extend(turns.into_iter().map(|root| {
                let of_trace = all.iter().filter(|stored| stored.run.trace_id == root.run.id.into());
                let newest = of_trace.map(|stored| stored.changed_seq).chain([root.changed_seq]).max().unwrap();
                Turn { thread: *thread, run_id: root.run.id, start_time: root.run.start_time, newest }
            }));
        }
        Ok(found)
    }
}
