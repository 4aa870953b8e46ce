//! Event types, applications and subscriptions.

use async_trait::async_trait;

use crate::model::audit::Entry;
use crate::model::event::{Application, EventType, Subscription};
use crate::model::id::{ApplicationId, EndpointId, TenantId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::catalog::{CatalogStore, Handle, Page, Presence, Subscriber};
use crate::store::sqlite::either::{catalog, subscriptions};
use crate::store::sqlite::{SqliteStore, audit};

#[async_trait]
impl CatalogStore for SqliteStore {
    async fn event_type(&self, tenant: TenantId, name: &str) -> Result<Option<EventType>> {
        catalog::event_type(&mut *self.readers.acquire().await?, tenant, name).await
    }

    async fn event_types(&self, tenant: TenantId, archived: bool, page: Page<String>) -> Result<Vec<EventType>> {
        catalog::event_types(&mut *self.readers.acquire().await?, tenant, archived, page).await
    }

    async fn put_event_type(
        &self,
        tenant: TenantId,
        event_type: EventType,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<()> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    catalog::put_event_type(&mut *connection, tenant, &event_type, presence).await?;
                    audit::write(connection, told.as_slice()).await
                })
            })
            .await
    }

    async fn remove_event_type(&self, tenant: TenantId, name: &str, told: Option<Entry>) -> Result<bool> {
        let name = name.to_owned();
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let was_there = catalog::remove_event_type(&mut *connection, tenant, &name).await?;
                    if was_there {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(was_there)
                })
            })
            .await
    }

    async fn application(&self, tenant: TenantId, handle: &Handle<ApplicationId>) -> Result<Option<Application>> {
        catalog::application(&mut *self.readers.acquire().await?, tenant, handle).await
    }

    async fn applications(&self, tenant: TenantId, page: Page<i64>) -> Result<Vec<Application>> {
        catalog::applications(&mut *self.readers.acquire().await?, tenant, page).await
    }

    async fn put_application(
        &self,
        tenant: TenantId,
        put: Application,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<Application> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let done = catalog::put_application(&mut *connection, tenant, &put, presence).await?;
                    audit::write(connection, told.as_slice()).await?;
                    Ok(done)
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
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let was_there = catalog::remove_application(&mut *connection, tenant, id, now).await?;
                    if was_there {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(was_there)
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
        subscriptions::subscriber(&mut *self.readers.acquire().await?, tenant, application, handle).await
    }

    async fn subscribers(
        &self,
        tenant: TenantId,
        application: ApplicationId,
        page: Page<i64>,
    ) -> Result<Vec<Subscriber>> {
        subscriptions::subscribers(&mut *self.readers.acquire().await?, tenant, application, page).await
    }

    async fn subscriptions(&self, tenant: TenantId, endpoints: &[EndpointId]) -> Result<Vec<Subscription>> {
        subscriptions::subscriptions(&mut *self.readers.acquire().await?, tenant, endpoints).await
    }

    async fn subscribe(
        &self,
        tenant: TenantId,
        put: Subscriber,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<Subscription> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let done = subscriptions::subscribe(&mut *connection, tenant, &put, presence).await?;
                    audit::write(connection, told.as_slice()).await?;
                    Ok(done)
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
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let was_there = subscriptions::unsubscribe(&mut *connection, tenant, endpoint, now).await?;
                    if was_there {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(was_there)
                })
            })
            .await
    }
}
