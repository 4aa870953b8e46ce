//! Endpoints: a URL with its sealed headers, secret query parameters, signing secrets, format and policy.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::model::audit::Object;
use crate::model::health::Health;
use crate::model::id::{AlertId, EndpointId, RuleId, TenantId};
use crate::model::pace::Pace;
use crate::model::sealed::{Place, Sealed};
use crate::model::signing::{ShownSigning, Signing};
use crate::model::time::Timestamp;

/// An endpoint as it is stored: all that is secret is sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: EndpointId,
    /// Its key, when it is named; an endpoint written inside a rule has none.
    pub key: Option<String>,
    /// The rule it is written in, if it is.
    pub rule_id: Option<RuleId>,
    /// The alert it is written in, if it is.
    pub alert_id: Option<AlertId>,
    /// URL, headers and query, as [`Target`] in JSON, sealed.
    pub target: Sealed,
    /// What of the target can be shown.
    pub shown: ShownTarget,
    /// The shape of what it is sent.
    pub format: Format,
    /// How it is tried.
    pub policy: Policy,
    /// What it says beyond its policy.
    pub overrides: Overrides,
    /// The file it came from; none, when it was made through the API.
    pub origin: Option<String>,
    /// When and why it was disabled, if it is. Nothing is sent to it then.
    pub disabled: Option<Disabled>,
    /// What is remembered of its failures.
    pub health: Health,
}

impl Endpoint {
    /// Whether it was made through the API: then no file changes it, and none takes it away.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.key.is_some() && self.origin.is_none()
    }

    /// What the audit log calls it.
    #[must_use]
    pub fn object(&self) -> Object {
        let id = self.id.0;
        self.key.as_ref().map_or_else(|| Object::of_id(id), |key| Object::new(key, id))
    }
}

/// What an endpoint says beyond its policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// How long it may take to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// The waits before its retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Vec<Duration>>,
    /// How fast it may be sent to.
    #[serde(flatten)]
    pub pace: Pace,
}

impl Overrides {
    /// The longest an endpoint may take to answer.
    pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(15);

    /// The longest wait before a retry.
    pub const LONGEST_WAIT: Duration = Duration::from_hours(7 * 24);

    /// Retries at most.
    pub const MOST_RETRIES: usize = 20;

    /// Whether all is as the policy says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// When and why an endpoint was disabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// When.
    pub at: Timestamp,
    /// Why, for people.
    pub reason: String,
}

impl EndpointId {
    /// Where this endpoint's target is sealed.
    #[must_use]
    pub fn target_place(self) -> Place {
        Place { table: "endpoints", column: "target_sealed", row: self.0.as_bytes().to_vec() }
    }
}

/// Where and with what to knock. In memory only; its `Debug` shows nothing.
#[derive(Debug, Clone)]
pub struct Target {
    /// The URL, without the secret query.
    pub url: SecretString,
    /// Query parameters to set, in order.
    pub query: Vec<(String, SecretString)>,
    /// Headers to send.
    pub headers: Vec<(String, SecretString)>,
    /// What goes into the body and is secret, by name.
    pub secrets: Vec<(String, SecretString)>,
    /// What attempts are signed with.
    pub signing: Signing,
}

/// What people may see of a target: never a value, never a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownTarget {
    /// Scheme, host and port, then `/…` when there is a path: `https://hooks.example.com/…`.
    pub url: String,
    /// Names of query parameters, each with a masked value.
    pub query: BTreeMap<String, String>,
    /// Names of headers, each with a masked value.
    pub headers: BTreeMap<String, String>,
    /// Names of what goes into the body and is secret, each with a masked value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// How attempts are signed, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<ShownSigning>,
}

/// What stands where a secret would.
pub const MASK: &str = "********";

/// The shape of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The documented payload of LangSmith's rule webhooks.
    Langsmith,
    /// `{"type", "timestamp", "data"}`, as Standard Webhooks recommends.
    Standard,
    /// An event of Argilla's webhooks.
    Argilla,
    /// What the `WebhooksServer` of `huggingface_hub` reads.
    Huggingface,
    /// Blocks for an incoming webhook of Slack.
    Slack,
    /// An event of PagerDuty's Events API v2.
    Pagerduty,
    /// What is told as it is: the payload of an event, in its sender's own bytes.
    Event,
    /// A body of the endpoint's own making: the template's text.
    Template(String),
    /// What LangSmith's alerts send to webhooks. No rule sends it. The body that was asked for is a secret; whether the
    /// alert's own keys are laid over it is said here.
    Alert(Laying),
}

/// What becomes of the body that an alert's webhook asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Laying {
    /// The alert's keys are laid over it.
    Merged,
    /// It is a template that sees the alert's keys, and all that is sent.
    Alone,
}

impl Format {
    /// Its name, in files and on surfaces.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Langsmith => "langsmith",
            Self::Standard => "standard",
            Self::Argilla => "argilla",
            Self::Huggingface => "huggingface",
            Self::Slack => "slack",
            Self::Pagerduty => "pagerduty",
            Self::Event => "event",
            Self::Template(_) => "template",
            Self::Alert(_) => "alert",
        }
    }

    /// The template's text, if it is one.
    #[must_use]
    pub fn template(&self) -> Option<&str> {
        if let Self::Template(text) = self { Some(text) } else { None }
    }

    /// How deliveries are tried when nobody says: as the service does that the format is from.
    #[must_use]
    pub fn usual_policy(&self) -> Policy {
        if *self == Self::Langsmith { Policy::Langsmith } else { Policy::Standard }
    }
}

/// How a delivery is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// LangSmith's: two more tries to connect, none after 5 s of silence, two more after a 5xx, none after a 4xx.
    Langsmith,
    /// That of the Standard Webhooks specification: 15 s for an answer, about three days of retries, `Retry-After` honoured,
    /// 410 disables the endpoint, other 4xx are final.
    Standard,
}

/// Headers an endpoint cannot set: Runhook's own, and those that frame the request.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-langsmith-signature",
];

/// Whether an endpoint may not set this header. Rule files that try are refused; at sending it would be left out.
#[must_use]
pub fn is_reserved(header: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(header))
}
