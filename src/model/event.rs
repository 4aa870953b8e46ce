//! Events: kinds of things that happen, who wants to hear of them, and what messages tell of.
//!
//! An event is told by a message like any other, which is sent by the same deliveries to the same endpoints. What makes it
//! one is its type, which the catalogue describes, and that whoever subscribes gets it: an endpoint with a [`Subscription`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::id::{ApplicationId, EndpointId, ErrandId, MessageId, TenantId, derived, derived_at};
use crate::model::json::RawJson;
use crate::model::message::Message;
use crate::model::time::Timestamp;

/// Characters of the longest name of an event type, and of the longest uid.
pub const LONGEST_NAME: usize = 256;

/// Characters of the longest channel.
pub const LONGEST_CHANNEL: usize = 128;

/// Channels of one message, or of one endpoint, at most.
pub const MOST_CHANNELS: usize = 10;

/// Whether a text can be the name of an event type, or the uid of something: letters, digits, `-`, `_` and `.`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    is_word(text, LONGEST_NAME)
}

/// Whether a text can be a channel.
#[must_use]
pub fn is_channel(text: &str) -> bool {
    is_word(&text.replace(':', "_"), LONGEST_CHANNEL)
}

fn is_word(text: &str, longest: usize) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.len() <= longest && text.chars().all(is_plain)
}

/// A kind of event, as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventType {
    /// Its name: `group.event`.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// JSON Schemas of its payloads, by version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<String, RawJson>,
    /// Whether it is put away: it is not listed, and nothing of it is sent.
    #[serde(default)]
    pub archived: bool,
    /// Whether it should not be used any more.
    #[serde(default)]
    pub deprecated: bool,
    /// What its owner groups it under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_name: Option<String>,
    /// What its owner ties it to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feature_flags: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl EventType {
    /// The schema of its newest version: the highest number, or else the last name.
    #[must_use]
    pub fn newest_schema(&self) -> Option<(&str, &RawJson)> {
        let newest = self.schemas.iter().max_by_key(|(version, _)| (version.parse::<u64>().ok(), *version));
        newest.map(|(version, schema)| (version.as_str(), schema))
    }
}

/// A scope of endpoints and events within a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its id.
    pub id: ApplicationId,
    /// What its owner calls it in paths.
    pub uid: Option<String>,
    /// Which one it is, in the order in which they were made. Whoever stores it says so.
    #[serde(skip)]
    pub number: i64,
    /// What its owner calls it.
    pub name: String,
    /// Whatever its owner keeps with it.
    pub metadata: BTreeMap<String, String>,
    /// Messages a second, as its owner wrote it down. Nothing is held back by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What an endpoint hears of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Whose events.
    pub application_id: ApplicationId,
    /// What its owner calls it in paths.
    pub uid: Option<String>,
    /// Which one it is, in the order in which they were made. Whoever stores it says so.
    #[serde(skip)]
    pub number: i64,
    /// Of which types; of all of its application, if none is said.
    pub event_types: Option<Vec<String>>,
    /// On which channels; whatever they are on, if none is said.
    pub channels: Option<Vec<String>>,
    /// What it is, for people.
    pub description: String,
    /// Whatever its owner keeps with it.
    pub metadata: BTreeMap<String, String>,
    /// A version, as its owner wrote it down.
    pub version: u32,
    /// Messages a second, as its owner wrote it down. The pace of the endpoint is what holds them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Subscription {
    /// Whether it hears what is said on these channels.
    #[must_use]
    pub fn hears(&self, channels: &[String]) -> bool {
        self.channels.as_ref().is_none_or(|own| own.iter().any(|channel| channels.contains(channel)))
    }
}

/// What a message tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Whose it is.
    pub application_id: ApplicationId,
    /// Its type.
    pub event_type: String,
    /// The channels it is on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// What its sender calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Whatever its sender marks it with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Before when nothing of it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<Timestamp>,
}

impl Event {
    /// What happens in the tenant as a whole.
    #[must_use]
    pub fn of_tenant(event_type: &str) -> Self {
        Self {
            application_id: ApplicationId::TENANT,
            event_type: event_type.to_owned(),
            channels: Vec::new(),
            event_id: None,
            tags: Vec::new(),
            deliver_at: None,
        }
    }
}

/// What was asked for of many deliveries at once, and is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// Its id.
    pub id: ErrandId,
    /// Which one it is, in the order in which they ended. Whoever stores it says so.
    pub number: i64,
    /// What it was, in Svix's words.
    pub kind: String,
    /// How many deliveries came of it.
    pub deliveries: u64,
    /// When it was done.
    pub ended_at: Timestamp,
}

/// An event with the message that tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The event.
    pub event: Event,
    /// The message.
    pub message: Message,
}

impl MessageId {
    /// The id of an event that was given no key: begun with its instant, and random.
    #[must_use]
    pub fn of_unnamed(at: Timestamp, random: [u8; 16]) -> Self {
        Self(derived_at(at, "event", &[&random]))
    }

    /// The id of the event that its sender calls so.
    #[must_use]
    pub fn of_event(tenant: TenantId, application: ApplicationId, key: &str) -> Self {
        Self(derived("event", &[tenant.0.as_bytes(), application.0.as_bytes(), key.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_channels_are_words() {
        assert!(is_name("origin.create") && is_name("foo") && is_name("a-b_c.9"));
        assert!(!is_name("") && !is_name("a b") && !is_name("a/b") && !is_name("ü") && !is_name(&"a".repeat(257)));
        assert!(is_channel("project:1") && !is_name("project:1") && !is_channel("a b"));
    }

    #[test]
    fn the_newest_version_is_the_highest_number() {
        let schemas = ["1", "10", "9"].map(|version| (version.to_owned(), RawJson::parse(version.to_owned()).unwrap()));
        let event_type = EventType {
            name: "a.b".into(),
            description: String::new(),
            schemas: schemas.into(),
            archived: false,
            deprecated: false,
            group_name: None,
            feature_flags: Vec::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        assert_eq!(event_type.newest_schema().unwrap().0, "10");
        let text = serde_json::to_string(&event_type).unwrap();
        assert_eq!(serde_json::from_str::<EventType>(&text).unwrap(), event_type);
    }
}
