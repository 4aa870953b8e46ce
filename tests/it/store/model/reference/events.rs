//! Events, which the model knows nothing of.

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

use super::Reference;
use super::asides::not_asked;

#[async_trait]
impl CatalogStore for Reference {
    async fn event_type(&self, _: TenantId, _: &str) -> Result<Option<EventType>> {
        not_asked()
    }

    async fn event_types(&self, _: TenantId, _: bool, _: Page<String>) -> Result<Vec<EventType>> {
        not_asked()
    }

    async fn put_event_type(&self, _: TenantId, _: EventType, _: Presence, _: Option<Entry>) -> Result<()> {
        not_asked()
    }

    async fn remove_event_type(&self, _: TenantId, _: &str, _: Option<Entry>) -> Result<bool> {
        not_asked()
    }

    async fn application(&self, _: TenantId, _: &Handle<ApplicationId>) -> Result<Option<Application>> {
        not_asked()
    }

    async fn applications(&self, _: TenantId, _: Page<i64>) -> Result<Vec<Application>> {
        not_asked()
    }

    async fn put_application(&self, _: TenantId, _: Application, _: Presence, _: Option<Entry>) -> Result<Application> {
        not_asked()
    }

    async fn remove_application(&self, _: TenantId, _: ApplicationId, _: Timestamp, _: Option<Entry>) -> Result<bool> {
        not_asked()
    }

    async fn subscriber(&self, _: TenantId, _: ApplicationId, _: &Handle<EndpointId>) -> Result<Option<Subscriber>> {
        not_asked()
    }

    async fn subscribers(&self, _: TenantId, _: ApplicationId, _: Page<i64>) -> Result<Vec<Subscriber>> {
        not_asked()
    }

    async fn subscriptions(&self, _: TenantId, _: &[EndpointId]) -> Result<Vec<Subscription>> {
        not_asked()
    }

    async fn subscribe(&self, _: TenantId, _: Subscriber, _: Presence, _: Option<Entry>) -> Result<Subscription> {
        not_asked()
    }

    async fn unsubscribe(&self, _: TenantId, _: EndpointId, _: Timestamp, _: Option<Entry>) -> Result<bool> {
        not_asked()
    }
}

#[async_trait]
impl EventStore for Reference {
    async fn send_event(&self, _: Message, _: Event, _: Reach) -> Result<Sending> {
        not_asked()
    }

    async fn send_missing(
        &self,
        _: TenantId,
        _: EndpointId,
        _: &[MessageId],
        _: Timestamp,
        _: Option<Entry>,
    ) -> Result<u64> {
        not_asked()
    }

    async fn hearers(&self, _: TenantId, _: &Event, _: Reach) -> Result<Vec<EndpointId>> {
        not_asked()
    }

    async fn event(&self, _: TenantId, _: MessageId) -> Result<Option<Told>> {
        not_asked()
    }

    async fn events(&self, _: TenantId, _: &EventQuery) -> Result<Vec<Told>> {
        not_asked()
    }

    async fn attempts(&self, _: TenantId, _: &AttemptQuery) -> Result<Vec<Made>> {
        not_asked()
    }

    async fn tally(&self, _: TenantId, _: EndpointId, _: Timestamp, _: Timestamp) -> Result<Tally> {
        not_asked()
    }

    async fn tries(&self, _: TenantId, _: EndpointId, _: Timestamp, _: Timestamp) -> Result<Tries> {
        not_asked()
    }

    async fn note_errand(&self, _: TenantId, _: Errand, _: Timestamp) -> Result<()> {
        not_asked()
    }

    async fn errand(&self, _: TenantId, _: ErrandId) -> Result<Option<Errand>> {
        not_asked()
    }

    async fn errands(&self, _: TenantId, _: Option<&str>, _: Page<i64>) -> Result<Vec<Errand>> {
        not_asked()
    }

    async fn drop_unheard_events(&self, _: Timestamp, _: u32) -> Result<Dropped> {
        not_asked()
    }
}
