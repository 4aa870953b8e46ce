//! Entries of the audit log: who did what the scope `manage` is for, when, from where, and to what.
//!
//! An entry names things and tells which of their fields changed; it never holds what a field says, so there is no secret
//! to be kept out of it. It is one act on one object: applying ten rules makes ten entries of one instant and one request.

use std::net::IpAddr;

use serde_json::Value;
use uuid::Uuid;

use crate::model::id::{ApiKeyId, AuditId, TenantId};
use crate::model::time::Timestamp;

/// An entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Whose things were changed. What concerns the whole server is the default tenant's.
    pub tenant_id: TenantId,
    /// Its id. Those of one request rise in the order of their acts.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// The other end of the connection, where there was one.
    pub address: Option<IpAddr>,
    /// The request, as the log knows it.
    pub request_id: Option<String>,
    /// What was done.
    pub action: Action,
    /// To what.
    pub object: Object,
    /// More about it: which fields changed, which file it came from, how many there were.
    pub detail: Option<Value>,
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Whoever holds this key.
    ApiKey {
        /// The key's id.
        id: ApiKeyId,
        /// What its owner calls it.
        name: String,
    },
    /// Whoever runs commands on the database itself.
    CommandLine,
    /// Somebody: there is no API key, so nobody was asked for one.
    Anyone,
    /// The server, as its configuration asks.
    Server,
}

impl Actor {
    /// What kind of actor it is, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ApiKey { .. } => "api-key",
            Self::CommandLine => "command-line",
            Self::Anyone => "anyone",
            Self::Server => "server",
        }
    }

    /// The key, where one was presented: its id and its name.
    #[must_use]
    pub fn key(&self) -> Option<(ApiKeyId, &str)> {
        match self {
            Self::ApiKey { id, name } => Some((*id, name)),
            Self::CommandLine | Self::Anyone | Self::Server => None,
        }
    }

    /// The actor that these words stand for.
    #[must_use]
    pub fn of(kind: &str, key: Option<(ApiKeyId, String)>) -> Option<Self> {
        match (kind, key) {
            ("api-key", Some((id, name))) => Some(Self::ApiKey { id, name }),
            ("command-line", None) => Some(Self::CommandLine),
            ("anyone", None) => Some(Self::Anyone),
            ("server", None) => Some(Self::Server),
            _ => None,
        }
    }
}

/// What an act is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key or its name; its id where it has neither.
    pub key: String,
    /// Its id, where it has one.
    pub id: Option<Uuid>,
}

/// Characters of the longest name that is kept. Some names come from clients, at any length.
const LONGEST: usize = 200;

impl Object {
    /// What is called so.
    #[must_use]
    pub fn new(key: &str, id: impl Into<Option<Uuid>>) -> Self {
        Self { key: key.chars().take(LONGEST).collect(), id: id.into() }
    }

    /// What is known by its id alone.
    #[must_use]
    pub fn of_id(id: Uuid) -> Self {
        Self { key: id.to_string(), id: Some(id) }
    }
}

macro_rules! actions {
    ($($name:ident $word:literal $doc:literal,)+) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = $doc] $name,)+
        }

        impl Action {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its word: what it is about, a dot, and what was done.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

actions! {
    CreateRule "rule.create" "A rule was made.",
    UpdateRule "rule.update" "A rule was changed.",
    DeleteRule "rule.delete" "A rule was removed.",
    PauseRule "rule.pause" "A rule was paused.",
    ResumeRule "rule.resume" "A rule was resumed.",
    TriggerRule "rule.trigger" "A rule was made to look at once.",
    CreateEndpoint "endpoint.create" "An endpoint was made.",
    UpdateEndpoint "endpoint.update" "An endpoint was changed.",
    DeleteEndpoint "endpoint.delete" "An endpoint was removed.",
    EnableEndpoint "endpoint.enable" "An endpoint was enabled.",
    DisableEndpoint "endpoint.disable" "An endpoint was disabled.",
    RotateEndpoint "endpoint.rotate-secret" "An endpoint got a new signing secret.",
    TestEndpoint "endpoint.test" "A sample was sent to an endpoint.",
    CreateAlert "alert.create" "An alert was made.",
    UpdateAlert "alert.update" "An alert was changed.",
    DeleteAlert "alert.delete" "An alert was removed.",
    TestAlert "alert.test" "A sample was sent to whom an alert would tell.",
    ReplayDeliveries "delivery.replay" "Deliveries were made to be sent again.",
    CreateApiKey "api-key.create" "An API key was made.",
    RevokeApiKey "api-key.revoke" "An API key was revoked.",
    AddKey "sealing-key.add" "A new sealing key was asked for.",
    Reseal "sealing-key.reseal" "It was asked to seal everything anew.",
    DropKeys "sealing-key.drop" "It was asked to drop the sealing keys that seal nothing.",
    DeleteProject "project.delete" "A project was removed.",
    DeleteTraces "trace.delete" "Traces of a project were removed.",
    DeleteFeedback "feedback.delete" "Feedback was removed.",
    DeleteDataset "dataset.delete" "A dataset was removed.",
    DeleteExample "example.delete" "An example was removed.",
    DeleteQueue "annotation-queue.delete" "An annotation queue was removed.",
    DequeueRun "annotation-queue.take-out" "A run was taken out of an annotation queue.",
    CreateEventType "event-type.create" "An event type was made.",
    UpdateEventType "event-type.update" "An event type was changed, or put away.",
    DeleteEventType "event-type.delete" "An event type was removed.",
    CreateApplication "application.create" "An application was made.",
    UpdateApplication "application.update" "An application was changed.",
    DeleteApplication "application.delete" "An application was removed with its endpoints.",
    Wipe "data.wipe" "All data were removed.",
}

impl Action {
    /// Those that a word means: one action, or all on one kind of object.
    #[must_use]
    pub fn meant_by(word: &str) -> Vec<Self> {
        let is_meant = |action: &&Self| {
            let own = action.word();
            own == word || own.strip_prefix(word).is_some_and(|rest| rest.starts_with('.'))
        };
        Self::ALL.iter().filter(is_meant).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_means_one_action_or_those_on_a_kind_of_object() {
        assert_eq!(Action::meant_by("endpoint.rotate-secret"), [Action::RotateEndpoint]);
        assert_eq!(Action::meant_by("api-key"), [Action::CreateApiKey, Action::RevokeApiKey]);
        for word in ["", "rul", "rule.", "rule.cre", "key"] {
            assert!(Action::meant_by(word).is_empty(), "{word}");
        }
        for action in Action::ALL {
            assert_eq!(Action::meant_by(action.word()), [*action]);
        }
    }

    #[test]
    fn an_actor_comes_back_from_its_words() {
        let key = Actor::ApiKey { id: ApiKeyId(Uuid::from_u128(1)), name: "ci".to_owned() };
        for actor in [key, Actor::CommandLine, Actor::Anyone, Actor::Server] {
            let key = actor.key().map(|(id, name)| (id, name.to_owned()));
            assert_eq!(Actor::of(actor.kind(), key), Some(actor));
        }
        assert_eq!(Actor::of("api-key", None), None);
    }
}
