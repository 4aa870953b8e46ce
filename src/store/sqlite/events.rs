//! Events, and what became of them.

use async_trait::async_trait;

use crate::model::event::{Event, Told};
use crate::model::id::{EndpointId, MessageId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::events::{AttemptQuery, EventQuery, EventStore, Made, Reach, Sending, Tally};
use crate::store::retention::Dropped;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::either::events;

#[async_trait]
impl EventStore for SqliteStore {
    async fn send_event(&self, message: Message, event: Event, reach: Reach) -> Result<Sending> {
        self.queue
            .write(move |connection| Box::pin(async move { events::send(connection, &message, &event, reach).await }))
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

    async fn drop_unheard_events(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.queue
            .write(move |connection| Box::pin(async move { events::drop_unheard(connection, before, limit).await }))
            .await
    }
}
