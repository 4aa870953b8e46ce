//! The catalogue: event types, applications, and what endpoints subscribe to.

use async_trait::async_trait;

use crate::model::audit::Entry;
use crate::model::endpoint::Endpoint;
use crate::model::event::{Application, EventType, Subscription};
use crate::model::id::{ApplicationId, EndpointId, TenantId};
use crate::model::time::Timestamp;
use crate::store::Result;

/// What must hold of a thing that is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is not there before.
    New,
    /// It is there before.
    There,
}

/// A thing as paths name it: by its id, or as its owner calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handle<I> {
    /// Its id.
    Id(I),
    /// Its uid.
    Uid(String),
}

/// Where a page begins and which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<T> {
    /// Behind which one.
    pub after: Option<T>,
    /// Whether the newest comes first; by name, whether the last does.
    pub descending: bool,
    /// At most this many.
    pub limit: u32,
}

/// An endpoint with what it subscribes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscriber {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What it subscribes to.
    pub subscription: Subscription,
}

/// Event types, applications and subscriptions.
#[async_trait]
pub trait CatalogStore: Send + Sync {
    /// An event type, archived or not.
    async fn event_type(&self, tenant: TenantId, name: &str) -> Result<Option<EventType>>;

    /// A page of event types in the order of their names, with the archived ones or without.
    async fn event_types(&self, tenant: TenantId, archived: bool, page: Page<String>) -> Result<Vec<EventType>>;

    /// Puts an event type. One that is archived counts as not there for [`Presence::New`]. `Conflict` where it is there and
    /// must not be, `NotFound` where it is the other way round.
    async fn put_event_type(
        &self,
        tenant: TenantId,
        event_type: EventType,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<()>;

    /// Takes an event type out of the catalogue for good. Whether it was there.
    async fn remove_event_type(&self, tenant: TenantId, name: &str, told: Option<Entry>) -> Result<bool>;

    /// An application.
    async fn application(&self, tenant: TenantId, handle: &Handle<ApplicationId>) -> Result<Option<Application>>;

    /// A page of applications in the order in which they were made.
    async fn applications(&self, tenant: TenantId, page: Page<i64>) -> Result<Vec<Application>>;

    /// Puts an application, and returns it with its number. `Conflict` where its uid is another's.
    async fn put_application(
        &self,
        tenant: TenantId,
        put: Application,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<Application>;

    /// Removes an application with its endpoints; what waits for them fails as `endpoint removed`. What was sent stays.
    /// Whether it was there.
    async fn remove_application(
        &self,
        tenant: TenantId,
        id: ApplicationId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool>;

    /// A subscriber of an application.
    async fn subscriber(
        &self,
        tenant: TenantId,
        application: ApplicationId,
        handle: &Handle<EndpointId>,
    ) -> Result<Option<Subscriber>>;

    /// A page of an application's subscribers in the order in which they were made.
    async fn subscribers(
        &self,
        tenant: TenantId,
        application: ApplicationId,
        page: Page<i64>,
    ) -> Result<Vec<Subscriber>>;

    /// What these endpoints subscribe to, in no order; nothing of those that do not.
    async fn subscriptions(&self, tenant: TenantId, endpoints: &[EndpointId]) -> Result<Vec<Subscription>>;

    /// Puts an endpoint with what it subscribes to, and returns that with its number. Whether it is disabled stays as it is.
    /// `Conflict` where its uid is another's, `NotFound` where it must be there and is not.
    async fn subscribe(
        &self,
        tenant: TenantId,
        put: Subscriber,
        presence: Presence,
        told: Option<Entry>,
    ) -> Result<Subscription>;

    /// Removes a subscriber; what waits for it fails as `endpoint removed`. Whether it was there.
    async fn unsubscribe(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool>;
}
