//! Identifiers: one type for each word, so that a run can never be looked up by a rule's id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::time::Timestamp;

/// The text given was not a UUID in any of its usual spellings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a UUID (32 hexadecimal digits, with or without dashes)")]
pub struct InvalidId(pub String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text.trim()).map(Self).map_err(|_| InvalidId(text.chars().take(64).collect()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// The owner of everything below it.
    TenantId
);
id!(
    /// A stream of runs.
    ProjectId
);
id!(
    /// One span of work.
    RunId
);
id!(
    /// The tree under one root run.
    TraceId
);
id!(
    /// A conversation: traces whose roots name it.
    ThreadId
);
id!(
    /// A score, value or comment about a run.
    FeedbackId
);
id!(
    /// What lets its holder give feedback.
    FeedbackTokenId
);
id!(
    /// A rule.
    RuleId
);
id!(
    /// An alert.
    AlertId
);
id!(
    /// One evaluation of a group.
    WindowId
);
id!(
    /// A notification body.
    MessageId
);
id!(
    /// A URL with its secrets and policy.
    EndpointId
);
id!(
    /// One message for one endpoint.
    DeliveryId
);
id!(
    /// An API key's record (never the key).
    ApiKeyId
);
id!(
    /// A collection of examples.
    DatasetId
);
id!(
    /// Inputs with the outputs one would like to see.
    ExampleId
);
id!(
    /// Runs that wait for people to look at them.
    QueueId
);
id!(
    /// An entry of the audit log.
    AuditId
);

id!(
    /// A scope of endpoints and events.
    ApplicationId
);
id!(
    /// What was asked for of many deliveries at once.
    ErrandId
);

impl ApplicationId {
    /// The tenant as a whole: what is subscribed and what happens outside of any application.
    pub const TENANT: Self = Self(Uuid::nil());
}

impl TenantId {
    /// The tenant of a server that was given no other.
    pub const DEFAULT: Self = Self(Uuid::from_u128(0x7a3c_91d2_0b6e_5f44_9a10_6e75_6e68_6f6b));
}

/// The namespace of every name-based id Runhook makes.
const NAMESPACE: Uuid = Uuid::from_u128(0x4e1b_6a0c_52d7_4c1f_8b5e_7275_6e68_6f6b);

/// An id that is a function of its parts, so that the same thing has the same id on every machine.
#[must_use]
pub fn derived(kind: &str, parts: &[&[u8]]) -> Uuid {
    let mut name = Vec::with_capacity(64);
    for part in std::iter::once(kind.as_bytes()).chain(parts.iter().copied()) {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

/// The same for what is made at an instant: the id begins with it, to the millisecond, as a version 7 does. Rows of what is made
/// together, and is then sent together, stand together, so that a transaction writes a few pages and not one for each row.
#[must_use]
pub fn derived_at(at: Timestamp, kind: &str, parts: &[&[u8]]) -> Uuid {
    begun(u64::try_from(at.0.div_euclid(1_000)).unwrap_or(0), derived(kind, parts))
}

/// An id that begins as this one does: with its instant, if it has one.
#[must_use]
pub fn derived_beside(of: Uuid, kind: &str, parts: &[&[u8]]) -> Uuid {
    let id = derived(kind, parts);
    if of.get_version_num() == 7 { begun((of.as_u64_pair().0) >> 16, id) } else { id }
}

fn begun(millis: u64, id: Uuid) -> Uuid {
    let rest = id.as_bytes().last_chunk().copied().unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid()
}

impl RuleId {
    /// The id of the rule with this key: the same file gives the same id everywhere.
    #[must_use]
    pub fn of_key(tenant: TenantId, key: &str) -> Self {
        Self(derived("rule", &[tenant.0.as_bytes(), key.as_bytes()]))
    }
}

impl ProjectId {
    /// The id of the project with this name: two writers that meet a new name agree on it.
    #[must_use]
    pub fn of_name(tenant: TenantId, name: &str) -> Self {
        Self(derived("project", &[tenant.0.as_bytes(), name.as_bytes()]))
    }
}

impl From<TraceId> for RunId {
    /// A trace is named by its root run.
    fn from(trace: TraceId) -> Self {
        Self(trace.0)
    }
}

impl From<RunId> for TraceId {
    fn from(root: RunId) -> Self {
        Self(root.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_begins_with_an_instant_is_ordered_by_it_and_what_is_beside_it_too() {
        let (early, late) = (Timestamp(1_700_000_000_123_456), Timestamp(1_700_000_000_124_000));
        let of = |at, part: &[u8]| derived_at(at, "message", &[part]);
        assert_eq!(of(early, b"a"), of(early, b"a"));
        assert_ne!(of(early, b"a"), of(early, b"b"));
        for (one, other) in [(b"a", b"b"), (b"b", b"a")] {
            let (one, other) = (of(early, one), of(late, other));
            assert!(one < other, "{one} {other}");
            let beside = |of: Uuid| derived_beside(of, "delivery", &[of.as_bytes()]);
            assert!(beside(one) < beside(other));
            assert_eq!(beside(one).as_bytes()[..6], one.as_bytes()[..6]);
        }
        let (seconds, nanos) = of(early, b"a").get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos), (1_700_000_000, 123_000_000));
    }

    #[test]
    fn beside_an_id_without_an_instant_there_is_none() {
        let plain = derived("event", &[b"key"]);
        assert_eq!(derived_beside(plain, "delivery", &[b"x"]), derived("delivery", &[b"x"]));
    }
}
