//! Events, and what became of them.

use async_trait::async_trait;

use crate::model::event::{Event, Told};
use crate::model::id::{EndpointId, MessageId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::events::{AttemptQuery, EventQuery, EventStore, Made, Reach, Sending, Tally};
use crate::store::postgres::either::events;
use crate::store::postgres::{PgStore, Topic};
use crate::store::retention::Dropped;

#[async_trait]
impl EventStore for PgStore {
    async fn send_event(&self, message: Message, event: Event, reach: Reach) -> Result<Sending> {
        let (message, event) = (&message, &event);
        let sending = self
            .run("send_event", |mut this| {
                Box::pin(async move {
                    let sending = events::send(&mut this, message, event, reach).await?;
                    Ok(this.done(sending))
                })
            })
            .await?;
        self.poke(Topic::Deliveries);
        Ok(sending)
    }

    async fn hearers(&self, tenant: TenantId, event: &Event, reach: Reach) -> Result<Vec<EndpointId>> {
        self.read(async { events::hearers(&mut *self.reader().await?, tenant, event, reach).await }).await
    }

    async fn event(&self, tenant: TenantId, id: MessageId) -> Result<Option<Told>> {
        self.read(async { events::one(&mut *self.reader().await?, tenant, id).await }).await
    }

    async fn events(&self, tenant: TenantId, query: &EventQuery) -> Result<Vec<Told>> {
        self.read(async { events::page(&mut *self.reader().await?, tenant, query).await }).await
    }

    async fn attempts(&self, tenant: TenantId, query: &AttemptQuery) -> Result<Vec<Made>> {
        self.read(async { events::attempts(&mut *self.reader().await?, tenant, query).await }).await
    }

    async fn tally(&self, tenant: TenantId, endpoint: EndpointId, since: Timestamp, until: Timestamp) -> Result<Tally> {
        self.read(async { events::tally(&mut *self.reader().await?, tenant, endpoint, (since, until)).await }).await
    }

    async fn drop_unheard_events(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.run("drop_unheard_events", |mut this| {
            Box::pin(async move {
                let dropped = events::drop_unheard(&mut this, before, limit).await?;
                Ok(this.done(dropped))
            })
        })
        .await
    }
}
