//! Messages: notification bodies, immutable, with a stable id.

use serde::Serialize;
use uuid::Uuid;

use crate::model::id::{AlertId, ApplicationId, EndpointId, MessageId, RuleId, TenantId, WindowId};
use crate::model::run::BlobKey;
use crate::model::time::Timestamp;

/// One notification body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its id: the `webhook-id` of every attempt.
    pub id: MessageId,
    /// What it speaks for.
    pub source: Source,
    /// The window it was found in, if it was found in one.
    pub window_id: Option<WindowId>,
    /// Which part of the window's matches it is, from 1.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// How many runs it holds.
    pub runs: u32,
    /// The body, without its links.
    pub body: Body,
    /// When it was made.
    pub created_at: Timestamp,
    /// The type of the event it tells; none, when it tells what a rule matched.
    pub event_type: Option<String>,
}

/// What a message speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A rule that has matched.
    Rule(RuleId),
    /// An alert whose state has changed.
    Alert(AlertId),
    /// An endpoint that something has happened to.
    Endpoint(EndpointId),
    /// An application, or the tenant as a whole, in which an event has happened.
    Application(ApplicationId),
}

impl Source {
    /// The word of alerts.
    pub const ALERT: &'static str = "alert";

    /// The word of endpoints.
    pub const ENDPOINT: &'static str = "endpoint";

    /// The word of applications.
    pub const APPLICATION: &'static str = "application";

    /// The id of what it is.
    #[must_use]
    pub fn id(self) -> Uuid {
        match self {
            Self::Rule(rule) => rule.0,
            Self::Alert(alert) => alert.0,
            Self::Endpoint(endpoint) => endpoint.0,
            Self::Application(application) => application.0,
        }
    }

    /// Its word, where one is needed: what has none is a rule.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Rule(_) => None,
            Self::Alert(_) => Some(Self::ALERT),
            Self::Endpoint(_) => Some(Self::ENDPOINT),
            Self::Application(_) => Some(Self::APPLICATION),
        }
    }

    /// The rule, if it is one.
    #[must_use]
    pub fn rule(self) -> Option<RuleId> {
        if let Self::Rule(rule) = self { Some(rule) } else { None }
    }
}

/// JSON with places where links go: links are made when sending, so a late retry carries a fresh one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The JSON with `""` where each link goes.
    pub json: String,
    /// Where, in rising order.
    pub links: Vec<Link>,
}

/// A place for a link.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Link {
    /// The byte between the two quotes.
    pub at: usize,
    /// The blob it opens.
    pub key: BlobKey,
}
