//! Event types, applications and subscriptions.

use async_trait::async_trait;

use crate::model::audit::Entry;
use crate::model::event::{Application, EventType, Subscription};
use crate::model::id::{ApplicationId, EndpointId, TenantId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::catalog::{CatalogStore, Handle, Page, Presence, Subscriber};
use crate::store::postgres::either::{catalog, subscriptions};
use crate::store::postgres::{PgStore, audit};

#[async_trait]
impl CatalogStore for PgStore {
    async fn event_type(&self, tenant: TenantId, name: &str) -> Result<Option<EventType>> {
        self.read(async { catalog::event_type(&mut *self.reader().await?, tenant, name).await }).await
    }

    async fn event_types(&self, tenant: TenantId, archived: bool, page: Page<String>) -> Result<Vec<EventType>> {
        self.read(async { catalog::event_types(&mut *self.reader().await?, tenant, archived, page).await }).await
    }

    async fn put_event_type(
        &self,
        tenant: TenantId,
        event_type: EventType,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<()> {
        let event_type = &event_type;
        let told = told.as_slice();
        self.run("put_event_type", |mut this| {
            Box::pin(async move {
                // What an earlier try has put is there.
                let there =
                    if this.in_doubt { catalog::event_type(&mut this, tenant, &event_type.name).await? } else { None };
                if there.as_ref() != Some(event_type) {
                    catalog::put_event_type(&mut this, tenant, event_type, presence).await?;
                }
                audit::write(&mut this, told).await?;
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn remove_event_type(&self, tenant: TenantId, name: &str, told: Option<Entry>) -> Result<bool> {
        let told = told.as_slice();
        self.run("remove_event_type", |mut this| {
            Box::pin(async move {
                let done = catalog::remove_event_type(&mut this, tenant, name).await? || this.in_doubt;
                if done {
                    audit::write(&mut this, told).await?;
                }
                Ok(this.done(done))
            })
        })
        .await
    }

    async fn application(&self, tenant: TenantId, handle: &Handle<ApplicationId>) -> Result<Option<Application>> {
        self.read(async { catalog::application(&mut *self.reader().await?, tenant, handle).await }).await
    }

    async fn applications(&self, tenant: TenantId, page: Page<i64>) -> Result<Vec<Application>> {
        self.read(async { catalog::applications(&mut *self.reader().await?, tenant, page).await }).await
    }

    async fn put_application(
        &self,
        tenant: TenantId,
        put: Application,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<Application> {
        let put = &put;
        let told = told.as_slice();
        self.run("put_application", |mut this| {
            Box::pin(async move {
                let id = Handle::Id(put.id);
                let there = if this.in_doubt { catalog::application(&mut this, tenant, &id).await? } else { None };
                let presence = if there.is_some() { Presence::There } else { presence };
                let done = catalog::put_application(&mut this, tenant, put, presence).await?;
                audit::write(&mut this, told).await?;
                Ok(this.done(done))
            })
        })
        .await
    }

    async fn remove_application(
        &self,
        tenant: TenantId,
        id: ApplicationId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        let told = told.as_slice();
        self.run("remove_application", |mut this| {
            Box::pin(async move {
                let done = catalog::remove_application(&mut this, tenant, id, now).await? || this.in_doubt;
                if done {
                    audit::write(&mut this, told).await?;
                }
                Ok(this.done(done))
            })
        })
        .await
    }

    async fn subscriber(
        &self,
        tenant: TenantId,
        application: ApplicationId,
        handle: &Handle<EndpointId>,
    ) -> Result<Option<Subscriber>> {
        self.read(async { subscriptions::subscriber(&mut *self.reader().await?, tenant, application, handle).await })
            .await
    }

    async fn subscribers(
        &self,
        tenant: TenantId,
        application: ApplicationId,
        page: Page<i64>,
    ) -> Result<Vec<Subscriber>> {
        self.read(async { subscriptions::subscribers(&mut *self.reader().await?, tenant, application, page).await })
            .await
    }

    async fn subscriptions(&self, tenant: TenantId, endpoints: &[EndpointId]) -> Result<Vec<Subscription>> {
        self.read(async { subscriptions::subscriptions(&mut *self.reader().await?, tenant, endpoints).await }).await
    }

    async fn subscribe(
        &self,
        tenant: TenantId,
        put: Subscriber,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<Subscription> {
        let put = &put;
        let told = told.as_slice();
        self.run("subscribe", |mut this| {
            Box::pin(async move {
                let ids = [put.endpoint.id];
                let is_there =
                    this.in_doubt && !subscriptions::subscriptions(&mut this, tenant, &ids).await?.is_empty();
                let presence = if is_there { Presence::There } else { presence };
                let done = subscriptions::subscribe(&mut this, tenant, put, presence).await?;
                audit::write(&mut this, told).await?;
                Ok(this.done(done))
            })
        })
        .await
    }

    async fn unsubscribe(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        let told = told.as_slice();
        self.run("unsubscribe", |mut this| {
            Box::pin(async move {
                let done = subscriptions::unsubscribe(&mut this, tenant, endpoint, now).await? || this.in_doubt;
                if done {
                    audit::write(&mut this, told).await?;
                }
                Ok(this.done(done))
            })
        })
        .await
    }
}
