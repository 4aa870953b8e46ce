//! Histories do not drop anything by age.

use async_trait::async_trait;
use runhook::model::audit::Entry;
use runhook::model::id::{ProjectId, RunId, TenantId, TraceId};
use runhook::model::run::BlobKey;
use runhook::model::time::Timestamp;
use runhook::store::retention::{Aged, Dropped, DroppedMessages, DroppedRuns, Ended, OldRuns, RetentionStore};
use runhook::store::{Result, StoreError};

use super::Reference;

fn never<T>() -> Result<T> {
    Err(StoreError::Internal("the reference drops nothing by age".into()))
}

#[async_trait]
impl RetentionStore for Reference {
    async fn aged_projects(&self, _: Timestamp) -> Result<Vec<Aged>> {
        never()
    }

    async fn drop_runs(&self, _: OldRuns) -> Result<DroppedRuns> {
        never()
    }

    async fn drop_traces(
        &self,
        _: TenantId,
        _: ProjectId,
        _: &[TraceId],
        _: Timestamp,
        _: Option<Entry>,
    ) -> Result<u64> {
        never()
    }

    async fn drop_messages(&self, _: Timestamp, _: Option<Ended>, _: u32) -> Result<DroppedMessages> {
        never()
    }

    async fn drop_windows(&self, _: Timestamp, _: u32) -> Result<Dropped> {
        never()
    }

    async fn drop_incomplete(&self, _: Timestamp, _: u32) -> Result<Dropped> {
        never()
    }

    async fn forget_matches(&self, _: Timestamp, _: u32) -> Result<Dropped> {
        never()
    }

    async fn unnamed_blobs(&self, _: TenantId, _: &[(RunId, BlobKey)], _: Timestamp) -> Result<Vec<BlobKey>> {
        never()
    }

    async fn drop_removed(&self, _: u32) -> Result<Dropped> {
        never()
    }

    async fn begin_sweep(&self, _: Timestamp, _: Timestamp) -> Result<bool> {
        never()
    }
}
