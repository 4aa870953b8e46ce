//! Events, which no fault is about.

use async_trait::async_trait;
use runhook::model::audit::Entry;
use runhook::model::event::{Application, Errand, Event, EventType, Subscription, Told};
use runhook::model::id::{ApplicationId, EndpointId, ErrandId, MessageId, TenantId};
use runhook::model::message::Message;
use runhook::model::time::Timestamp;
use runhook::store::catalog::{Handle, Page, Presence, Subscriber};
use runhook::store::events::{AttemptQuery, EventQuery, Made, Reach, Sending, Tally, Tries};
use runhook::store::retention::Dropped;
use runhook::store::{CatalogStore, EventStore, Result};

use super::FaultyStore;

#[async_trait]
impl CatalogStore for FaultyStore {
    async fn event_type(&self, tenant: TenantId, name: &str) -> Result<Option<EventType>> {
        self.real.event_type(tenant, name).await
    }

    async fn event_types(&self, tenant: TenantId, archived: bool, page: Page<String>) -> Result<Vec<EventType>> {
        self.real.event_types(tenant, archived, page).await
    }

    async fn put_event_type(
        &self,
        tenant: TenantId,
        event_type: EventType,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<()> {
        self.real.put_event_type(tenant, event_type, presence, told).await
    }

    async fn remove_event_type(&self, tenant: TenantId, name: &str, told: Option<Entry>) -> Result<bool> {
        self.real.remove_event_type(tenant, name, told).await
    }

    async fn application(&self, tenant: TenantId, handle: &Handle<ApplicationId>) -> Result<Option<Application>> {
        self.real.application(tenant, handle).await
    }

    async fn applications(&self, tenant: TenantId, page: Page<i64>) -> Result<Vec<Application>> {
        self.real.applications(tenant, page).await
    }

    async fn put_application(
        &self,
        tenant: TenantId,
        put: Application,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<Application> {
        self.real.put_application(tenant, put, presence, told).await
    }

    async fn remove_application(
        &self,
        tenant: TenantId,
        id: ApplicationId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.real.remove_application(tenant, id, now, told).await
    }

    async fn subscriber(
        &self,
        tenant: TenantId,
        application: ApplicationId,
        handle: &Handle<EndpointId>,
    ) -> Result<Option<Subscriber>> {
        self.real.subscriber(tenant, application, handle).await
    }

    async fn subscribers(
        &self,
        tenant: TenantId,
        application: ApplicationId,
        page: Page<i64>,
    ) -> Result<Vec<Subscriber>> {
        self.real.subscribers(tenant, application, page).await
    }

    async fn subscriptions(&self, tenant: TenantId, endpoints: &[EndpointId]) -> Result<Vec<Subscription>> {
        self.real.subscriptions(tenant, endpoints).await
    }

    async fn subscribe(
        &self,
        tenant: TenantId,
        put: Subscriber,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<Subscription> {
        self.real.subscribe(tenant, put, presence, told).await
    }

    async fn unsubscribe(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.real.unsubscribe(tenant, endpoint, now, told).await
    }
}

#[async_trait]
impl EventStore for FaultyStore {
    async fn send_event(&self, message: Message, event: Event, reach: Reach) -> Result<Sending> {
        self.real.send_event(message, event, reach).await
    }

    async fn send_missing(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        events: &[MessageId],
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<u64> {
        self.real.send_missing(tenant, endpoint, events, now, told).await
    }

    async fn hearers(&self, tenant: TenantId, event: &Event, reach: Reach) -> Result<Vec<EndpointId>> {
        self.real.hearers(tenant, event, reach).await
    }

    async fn event(&self, tenant: TenantId, id: MessageId) -> Result<Option<Told>> {
        self.real.event(tenant, id).await
    }

    async fn events(&self, tenant: TenantId, query: &EventQuery) -> Result<Vec<Told>> {
        self.real.events(tenant, query).await
    }

    async fn attempts(&self, tenant: TenantId, query: &AttemptQuery) -> Result<Vec<Made>> {
        self.real.attempts(tenant, query).await
    }

    async fn tally(&self, tenant: TenantId, endpoint: EndpointId, since: Timestamp, until: Timestamp) -> Result<Tally> {
        self.real.tally(tenant, endpoint, since, until).await
    }

    async fn tries(&self, tenant: TenantId, endpoint: EndpointId, since: Timestamp, until: Timestamp) -> Result<Tries> {
        self.real.tries(tenant, endpoint, since, until).await
    }

    async fn note_errand(&self, tenant: TenantId, errand: Errand, forget: Timestamp) -> Result<()> {
        self.real.note_errand(tenant, errand, forget).await
    }

    async fn errand(&self, tenant: TenantId, id: ErrandId) -> Result<Option<Errand>> {
        self.real.errand(tenant, id).await
    }

    async fn errands(&self, tenant: TenantId, kind: Option<&str>, page: Page<i64>) -> Result<Vec<Errand>> {
        self.real.errands(tenant, kind, page).await
    }

    async fn drop_unheard_events(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.real.drop_unheard_events(before, limit).await
    }
}
