//! Events, and what became of them.

use async_trait::async_trait;

use crate::model::audit::Entry;
use crate::model::event::{Errand, Event, Told};
use crate::model::id::{EndpointId, ErrandId, MessageId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::catalog::Page;
use crate::store::events::{AttemptQuery, EventQuery, EventStore, Made, Reach, Sending, Tally, Tries};
use crate::store::retention::Dropped;
use crate::store::sqlite::either::{errands, events};
use crate::store::sqlite::{SqliteStore, audit};

#[async_trait]
impl EventStore for SqliteStore {
    async fn send_event(&self, message: Message, event: Event, reach: Reach) -> Result<Sending> {
        self.queue
            .write(move |connection| Box::pin(async move { events::send(connection, &message, &event, reach).await }))
            .await
    }

    async fn send_missing(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        events: &[MessageId],
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<u64> {
        let missing = events.to_vec();
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let sent = events::send_missing(&mut *connection, tenant, endpoint, &missing, now).await?;
                    if sent > 0 {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(sent)
                })
            })
            .await
    }

    async fn hearers(&self, tenant: TenantId, event: &Event, reach: Reach) -> Result<Vec<EndpointId>> {
        events::hearers(&mut *self.readers.acquire().await?, tenant, event, reach).await
    }

    async fn event(&self, tenant: TenantId, id: MessageId) -> Result<Option<Told>> {
        events::one(&mut *self.readers.acquire().await?, tenant, id).await
    }

    async fn events(&self, tenant: TenantId, query: &EventQuery) -> Result<Vec<Told>> {
        events::page(&mut *self.readers.acquire().await?, tenant, query).await
    }

    async fn attempts(&self, tenant: TenantId, query: &AttemptQuery) -> Result<Vec<Made>> {
        events::attempts(&mut *self.readers.acquire().await?, tenant, query).await
    }

    async fn tally(&self, tenant: TenantId, endpoint: EndpointId, since: Timestamp, until: Timestamp) -> Result<Tally> {
        events::tally(&mut *self.readers.acquire().await?, tenant, endpoint, (since, until)).await
    }

    async fn tries(&self, tenant: TenantId, endpoint: EndpointId, since: Timestamp, until: Timestamp) -> Result<Tries> {
        events::tries(&mut *self.readers.acquire().await?, tenant, endpoint, (since, until)).await
    }

    async fn note_errand(&self, tenant: TenantId, errand: Errand, forget: Timestamp) -> Result<()> {
        self.queue
            .write(move |connection| Box::pin(async move { errands::note(connection, tenant, &errand, forget).await }))
            .await
    }

    async fn errand(&self, tenant: TenantId, id: ErrandId) -> Result<Option<Errand>> {
        errands::one(&mut *self.readers.acquire().await?, tenant, id).await
    }

    async fn errands(&self, tenant: TenantId, kind: Option<&str>, page: Page<i64>) -> Result<Vec<Errand>> {
        errands::page(&mut *self.readers.acquire().await?, tenant, kind, page).await
    }

    async fn drop_unheard_events(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.queue
            .write(move |connection| Box::pin(async move { events::drop_unheard(connection, before, limit).await }))
            .await
    }
}
