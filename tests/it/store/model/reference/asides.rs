//! What no history asks for: alerts, the log of matches, what runs are set aside in, and what failed. All have tests of their own.

use std::collections::HashMap;

use async_trait::async_trait;
use runhook::model::alert::Kept;
use runhook::model::audit::Entry;
use runhook::model::collection::{Collection, CollectionKind, Example};
use runhook::model::delivery::Delivery;
use runhook::model::feedback::FeedbackToken;
use runhook::model::id::{AlertId, ExampleId, FeedbackTokenId, ProjectId, QueueId, RuleId, RunId, TenantId};
use runhook::model::time::Timestamp;
use runhook::model::window::Seq;
use runhook::store::alerts::{AlertCommit, AlertPut, AlertStore, Put};
use runhook::store::audit::{AuditQuery, AuditStore};
use runhook::store::collections::{CollectionQuery, CollectionStore, ExampleQuery, Shelved};
use runhook::store::failed::{FailedCount, FailedQuery, FailedStore};
use runhook::store::feedback_tokens::FeedbackTokenStore;
use runhook::store::retention::Dropped;
use runhook::store::rule_log::{LogEntry, LogQuery, RuleLogStore};
use runhook::store::{Result, StoreError};

use uuid::Uuid;

use super::Reference;

pub(super) fn not_asked<T>() -> Result<T> {
    Err(StoreError::Unusable("no history asks for this".to_owned()))
}

#[async_trait]
impl RuleLogStore for Reference {
    async fn rule_log(&self, _: TenantId, _: RuleId, _: &LogQuery) -> Result<Vec<LogEntry>> {
        not_asked()
    }

    async fn last_change_before(&self, _: TenantId, _: ProjectId, _: Timestamp) -> Result<Seq> {
        not_asked()
    }
}

#[async_trait]
impl AuditStore for Reference {
    async fn note(&self, _: Entry) -> Result<()> {
        not_asked()
    }

    async fn audit_log(&self, _: TenantId, _: &AuditQuery) -> Result<Vec<Entry>> {
        not_asked()
    }

    async fn drop_audit(&self, _: Timestamp, _: u32) -> Result<Dropped> {
        not_asked()
    }
}

#[async_trait]
impl AlertStore for Reference {
    async fn put_alert(&self, _: AlertPut) -> Result<Put> {
        not_asked()
    }

    async fn remove_alert(
        &self,
        _: TenantId,
        _: ProjectId,
        _: AlertId,
        _: Timestamp,
        _: Option<Entry>,
    ) -> Result<bool> {
        not_asked()
    }

    async fn alert(&self, _: TenantId, _: AlertId) -> Result<Option<Kept>> {
        not_asked()
    }

    async fn list_alerts(&self, _: TenantId) -> Result<Vec<Kept>> {
        not_asked()
    }

    async fn due_alerts(&self, _: Timestamp, _: Option<(TenantId, AlertId)>, _: u32) -> Result<Vec<Kept>> {
        not_asked()
    }

    async fn commit_alert(&self, _: AlertCommit) -> Result<()> {
        not_asked()
    }
}

#[async_trait]
impl FeedbackTokenStore for Reference {
    async fn create_feedback_tokens(&self, _: TenantId, _: Vec<FeedbackToken>) -> Result<()> {
        not_asked()
    }

    async fn feedback_token(&self, _: FeedbackTokenId) -> Result<Option<FeedbackToken>> {
        not_asked()
    }

    async fn list_feedback_tokens(
        &self,
        _: TenantId,
        _: RunId,
        _: Timestamp,
        _: u32,
        _: u32,
    ) -> Result<Vec<FeedbackToken>> {
        not_asked()
    }

    async fn drop_feedback_tokens(&self, _: Timestamp, _: u32) -> Result<Dropped> {
        not_asked()
    }
}

#[async_trait]
impl FailedStore for Reference {
    async fn failed_deliveries(&self, _: TenantId, _: &FailedQuery) -> Result<Vec<Delivery>> {
        not_asked()
    }

    async fn count_failed(&self, _: TenantId, _: &FailedQuery) -> Result<Vec<FailedCount>> {
        not_asked()
    }
}

#[async_trait]
impl CollectionStore for Reference {
    async fn create_collection(&self, _: Collection) -> Result<()> {
        not_asked()
    }

    async fn update_collection(&self, _: Collection) -> Result<()> {
        not_asked()
    }

    async fn delete_collection(&self, _: TenantId, _: CollectionKind, _: Uuid, _: Option<Entry>) -> Result<bool> {
        not_asked()
    }

    async fn list_collections(
        &self,
        _: TenantId,
        _: CollectionKind,
        _: &CollectionQuery,
    ) -> Result<Vec<(Collection, u64)>> {
        not_asked()
    }

    async fn put_examples(&self, _: TenantId, _: Vec<Example>) -> Result<()> {
        not_asked()
    }

    async fn list_examples(&self, _: TenantId, _: &ExampleQuery) -> Result<Vec<Example>> {
        not_asked()
    }

    async fn delete_example(&self, _: TenantId, _: ExampleId, _: Option<Entry>) -> Result<bool> {
        not_asked()
    }

    async fn enqueue(&self, _: TenantId, _: QueueId, _: &[RunId], _: Timestamp) -> Result<bool> {
        not_asked()
    }

    async fn queued_runs(&self, _: TenantId, _: QueueId, _: u32, _: u32) -> Result<Vec<(RunId, Timestamp)>> {
        not_asked()
    }

    async fn shelved(&self, _: TenantId, _: &[RunId]) -> Result<HashMap<RunId, Shelved>> {
        not_asked()
    }

    async fn dequeue(&self, _: TenantId, _: QueueId, _: RunId, _: Option<Entry>) -> Result<bool> {
        not_asked()
    }
}
