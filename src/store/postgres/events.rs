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
use crate::store::postgres::either::{errands, events};
use crate::store::postgres::{PgStore, Topic, audit};
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

    async fn send_missing(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        events: &[MessageId],
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<u64> {
        let (missing, told) = (events, told.as_slice());
        let sent = self
            .run("send_missing", |mut this| {
                Box::pin(async move {
                    let sent = events::send_missing(&mut this, tenant, endpoint, missing, now).await?;
                    if sent > 0 {
                        audit::write(&mut this, told).await?;
                    }
                    Ok(this.done(sent))
                })
            })
            .await?;
        self.poke(Topic::Deliveries);
        Ok(sent)
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

    async fn tries(&self, tenant: TenantId, endpoint: EndpointId, since: Timestamp, until: Timestamp) -> Result<Tries> {
        self.read(async { events::tries(&mut *self.reader().await?, tenant, endpoint, (since, until)).await }).await
    }

    async fn note_errand(&self, tenant: TenantId, errand: Errand, forget: Timestamp) -> Result<()> {
        let errand = &errand;
        self.run("note_errand", |mut this| {
            Box::pin(async move {
                // An id that is there is this very errand, of a try that may have been committed.
                if !this.in_doubt || errands::one(&mut this, tenant, errand.id).await?.is_none() {
                    errands::note(&mut this, tenant, errand, forget).await?;
                }
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn errand(&self, tenant: TenantId, id: ErrandId) -> Result<Option<Errand>> {
        self.read(async { errands::one(&mut *self.reader().await?, tenant, id).await }).await
    }

    async fn errands(&self, tenant: TenantId, kind: Option<&str>, page: Page<i64>) -> Result<Vec<Errand>> {
        self.read(async { errands::page(&mut *self.reader().await?, tenant, kind, page).await }).await
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
