//! What no fault is about, and alerts.

use std::sync::Arc;

use std::collections::HashMap;

use async_trait::async_trait;
use runhook::model::alert::Kept;
use runhook::model::audit::Entry;
use runhook::model::collection::{Collection, CollectionKind, Example};
use runhook::model::feedback::FeedbackToken;
use runhook::model::id::{AlertId, ExampleId, FeedbackTokenId, ProjectId, QueueId, RunId, TenantId};
use runhook::model::time::Timestamp;
use runhook::store::alerts::{AlertCommit, AlertPut, Put};
use runhook::store::audit::AuditQuery;
use runhook::store::collections::{CollectionQuery, ExampleQuery, Shelved};
use runhook::store::retention::Dropped;
use runhook::store::{AlertStore, AuditStore, CollectionStore, FeedbackTokenStore, Result};
use uuid::Uuid;

use super::{Fault, FaultyStore, died};

#[async_trait]
impl FeedbackTokenStore for FaultyStore {
    async fn create_feedback_tokens(&self, tenant: TenantId, tokens: Vec<FeedbackToken>) -> Result<()> {
        self.real.create_feedback_tokens(tenant, tokens).await
    }

    async fn feedback_token(&self, id: FeedbackTokenId) -> Result<Option<FeedbackToken>> {
        self.real.feedback_token(id).await
    }

    async fn list_feedback_tokens(
        &self,
        tenant: TenantId,
        run: RunId,
        now: Timestamp,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<FeedbackToken>> {
        self.real.list_feedback_tokens(tenant, run, now, limit, offset).await
    }

    async fn drop_feedback_tokens(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.real.drop_feedback_tokens(before, limit).await
    }
}

#[async_trait]
impl AuditStore for FaultyStore {
    async fn note(&self, entry: Entry) -> Result<()> {
        self.real.note(entry).await
    }

    async fn audit_log(&self, tenant: TenantId, query: &AuditQuery) -> Result<Vec<Entry>> {
        self.real.audit_log(tenant, query).await
    }

    async fn drop_audit(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.real.drop_audit(before, limit).await
    }
}

#[async_trait]
impl CollectionStore for FaultyStore {
    async fn create_collection(&self, collection: Collection) -> Result<()> {
        self.real.create_collection(collection).await
    }

    async fn update_collection(&self, collection: Collection) -> Result<()> {
        self.real.update_collection(collection).await
    }

    async fn delete_collection(
        &self,
        tenant: TenantId,
        kind: CollectionKind,
        id: Uuid,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.real.delete_collection(tenant, kind, id, told).await
    }

    async fn list_collections(
        &self,
        tenant: TenantId,
        kind: CollectionKind,
        query: &CollectionQuery,
    ) -> Result<Vec<(Collection, u64)>> {
        self.real.list_collections(tenant, kind, query).await
    }

    async fn put_examples(&self, tenant: TenantId, examples: Vec<Example>) -> Result<()> {
        self.real.put_examples(tenant, examples).await
    }

    async fn list_examples(&self, tenant: TenantId, query: &ExampleQuery) -> Result<Vec<Example>> {
        self.real.list_examples(tenant, query).await
    }

    async fn delete_example(&self, tenant: TenantId, id: ExampleId, told: Option<Entry>) -> Result<bool> {
        self.real.delete_example(tenant, id, told).await
    }

    async fn enqueue(&self, tenant: TenantId, queue: QueueId, runs: &[RunId], now: Timestamp) -> Result<bool> {
        self.real.enqueue(tenant, queue, runs, now).await
    }

    async fn queued_runs(
        &self,
        tenant: TenantId,
        queue: QueueId,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<(RunId, Timestamp)>> {
        self.real.queued_runs(tenant, queue, limit, offset).await
    }

    async fn shelved(&self, tenant: TenantId, runs: &[RunId]) -> Result<HashMap<RunId, Shelved>> {
        self.real.shelved(tenant, runs).await
    }

    async fn dequeue(&self, tenant: TenantId, queue: QueueId, run: RunId, told: Option<Entry>) -> Result<bool> {
        self.real.dequeue(tenant, queue, run, told).await
    }
}

#[async_trait]
impl AlertStore for FaultyStore {
    async fn put_alert(&self, put: AlertPut) -> Result<Put> {
        self.real.put_alert(put).await
    }

    async fn remove_alert(
        &self,
        tenant: TenantId,
        project: ProjectId,
        id: AlertId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.real.remove_alert(tenant, project, id, now, told).await
    }

    async fn alert(&self, tenant: TenantId, id: AlertId) -> Result<Option<Kept>> {
        self.real.alert(tenant, id).await
    }

    async fn list_alerts(&self, tenant: TenantId) -> Result<Vec<Kept>> {
        self.real.list_alerts(tenant).await
    }

    async fn due_alerts(&self, minute: Timestamp, after: Option<(TenantId, AlertId)>, limit: u32) -> Result<Vec<Kept>> {
        self.real.due_alerts(minute, after, limit).await
    }

    async fn commit_alert(&self, commit: AlertCommit) -> Result<()> {
        match self.faults.next() {
            None => self.real.commit_alert(commit).await,
            Some(Fault::Before) => Err(died()),
            Some(Fault::After) => {
                self.real.commit_alert(commit).await?;
                Err(died())
            }
            Some(Fault::Meanwhile(other)) => {
                other(Arc::clone(&self.real)).await;
                self.real.commit_alert(commit).await
            }
        }
    }
}
