//! Endpoints: a URL with its sealed headers, secret query parameters, format and policy.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::model::sealed::{Place, Sealed};

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
    /// URL, headers and query, as [`Target`] in JSON, sealed.
    pub target: Sealed,
    /// What of the target can be shown.
    pub shown: ShownTarget,
    /// The shape of what it is sent.
    pub format: Format,
    /// How it is tried.
    pub policy: Policy,
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
}

/// What stands where a secret would.
pub const MASK: &str = "********";

/// The shape of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The documented payload of LangSmith's rule webhooks.
    Langsmith,
}

/// How a delivery is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// LangSmith's: two more tries to connect, none after 5 s of silence, two more after a 5xx, none after a 4xx.
    Langsmith,
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
];

/// Whether an endpoint may not set this header. Rule files that try are refused; at sending it would be left out.
#[must_use]
pub fn is_reserved(header: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(header))
}
