//! Events: messages that are sent to whoever subscribes to their type.

use async_trait::async_trait;

use crate::model::audit::Entry;
use crate::model::delivery::{Attempt, DeliveryState};
use crate::model::event::{Errand, Event, Told};
use crate::model::id::{ApplicationId, DeliveryId, EndpointId, ErrandId, MessageId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::catalog::Page;
use crate::store::retention::Dropped;

/// Whose endpoints hear of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This one, whatever it asks for.
    One(EndpointId),
    /// Those of its application that ask for its type or for all, and those of the tenant as a whole that ask for its type.
    Application,
    /// All that ask for its type, whosever they are.
    Tenant,
}

/// What became of an event that was to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// It is on its way to so many endpoints.
    Sent(usize),
    /// An event of this id was there before, and this is it.
    There(Box<Told>),
}

/// Which events a page lists, newest first.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Whose.
    pub application_id: Option<ApplicationId>,
    /// Of this type.
    pub event_type: Option<String>,
    /// Told after this instant.
    pub after: Option<Timestamp>,
    /// Told before this instant.
    pub before: Option<Timestamp>,
    /// Told before this one was.
    pub behind: Option<(Timestamp, MessageId)>,
    /// Told after that one was instead, oldest first.
    pub newer: bool,
    /// At most this many.
    pub limit: u32,
}

/// Whose attempts are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptsOf {
    /// Those that were made at an endpoint.
    Endpoint(EndpointId),
    /// Those that were made of a message.
    Message(MessageId),
}

/// Where an attempt stands in a list.
pub type AttemptMark = (Timestamp, DeliveryId, u32);

/// Which attempts a page lists, newest first.
#[derive(Debug, Clone)]
pub struct AttemptQuery {
    /// Whose.
    pub of: AttemptsOf,
    /// Made after this instant.
    pub after: Option<Timestamp>,
    /// Made before this instant.
    pub before: Option<Timestamp>,
    /// Made before this one was.
    pub behind: Option<AttemptMark>,
    /// Made after that one was instead, oldest first.
    pub newer: bool,
    /// At most this many.
    pub limit: u32,
}

/// An attempt, and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Its message.
    pub message_id: MessageId,
    /// Where it was made.
    pub endpoint_id: EndpointId,
    /// How the delivery stands now.
    pub state: DeliveryState,
    /// The attempt.
    pub attempt: Attempt,
}

impl Made {
    /// Where it stands in a list.
    #[must_use]
    pub fn mark(&self) -> AttemptMark {
        (self.attempt.started_at, self.delivery_id, self.attempt.number)
    }
}

/// How deliveries to an endpoint stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that were delivered.
    pub delivered: u64,
    /// Those that will be tried, or are being tried.
    pub pending: u64,
    /// Those that will not be tried again.
    pub failed: u64,
}

/// How attempts at an endpoint ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tries {
    /// Those that it took what it was sent by.
    pub taken: u64,
    /// All others.
    pub failed: u64,
}

/// Events, and what became of them.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Stores an event with a delivery for every endpoint that subscribes to it now, all in one transaction; nothing, if an
    /// event with the message's id is there.
    async fn send_event(&self, message: Message, event: Event, reach: Reach) -> Result<Sending>;

    /// Deliveries of events to an endpoint, due now, of those that it was never sent. How many there are.
    async fn send_missing(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        events: &[MessageId],
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<u64>;

    /// Which endpoints hear of an event now.
    async fn hearers(&self, tenant: TenantId, event: &Event, reach: Reach) -> Result<Vec<EndpointId>>;

    /// An event with its message.
    async fn event(&self, tenant: TenantId, id: MessageId) -> Result<Option<Told>>;

    /// A page of events.
    async fn events(&self, tenant: TenantId, query: &EventQuery) -> Result<Vec<Told>>;

    /// A page of attempts. Those at an endpoint are known from when it subscribed.
    async fn attempts(&self, tenant: TenantId, query: &AttemptQuery) -> Result<Vec<Made>>;

    /// How deliveries to an endpoint stand that were made from an instant on and before another.
    async fn tally(&self, tenant: TenantId, endpoint: EndpointId, since: Timestamp, until: Timestamp) -> Result<Tally>;

    /// How attempts at an endpoint ended that began from an instant on and before another. They are known from when it
    /// subscribed.
    async fn tries(&self, tenant: TenantId, endpoint: EndpointId, since: Timestamp, until: Timestamp) -> Result<Tries>;

    /// Notes an errand that is done, and forgets those of its tenant that ended before an instant.
    async fn note_errand(&self, tenant: TenantId, errand: Errand, forget: Timestamp) -> Result<()>;

    /// An errand.
    async fn errand(&self, tenant: TenantId, id: ErrandId) -> Result<Option<Errand>>;

    /// A page of errands, all or those of a kind, in the order in which they ended.
    async fn errands(&self, tenant: TenantId, kind: Option<&str>, page: Page<i64>) -> Result<Vec<Errand>>;

    /// Drops up to `limit` events told before an instant that nobody was sent.
    async fn drop_unheard_events(&self, before: Timestamp, limit: u32) -> Result<Dropped>;
}
