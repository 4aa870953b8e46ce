//! Notices: messages that tell of an endpoint instead of runs. They are stored, signed, sent and retried like any other.
//!
//! The stored body is what Standard Webhooks recommends, `{"type", "timestamp", "data"}`. It speaks for the
//! endpoint ([`Source::Endpoint`]) and belongs to no window.

use serde::Serialize;

use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::id::{MessageId, RuleId, derived};
use crate::model::message::{Body, Message, Source};
use crate::model::time::Timestamp;
use crate::payload::PayloadError;

/// What tells that an endpoint was disabled.
pub const ENDPOINT_DISABLED: &str = "endpoint.disabled";

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

/// What may be told of an endpoint: no secret, no path.
#[derive(Serialize)]
struct Data<'a> {
    endpoint_id: String,
    endpoint: Option<&'a str>,
    rule_id: Option<RuleId>,
    url: &'a str,
    reason: &'a str,
    disabled_at: String,
    failing_since: Option<String>,
}

/// The message that tells that an endpoint was disabled: the same for the same endpoint and instant.
pub fn endpoint_disabled(
    endpoint: &Endpoint,
    disabled: &Disabled,
    failing_since: Option<Timestamp>,
) -> Result<Message, PayloadError> {
    let event = Event {
        r#type: ENDPOINT_DISABLED,
        timestamp: disabled.at.to_string(),
        data: Data {
            endpoint_id: endpoint.id.to_string(),
            endpoint: endpoint.key.as_deref(),
            rule_id: endpoint.rule_id,
            url: &endpoint.shown.url,
            reason: &disabled.reason,
            disabled_at: disabled.at.to_string(),
            failing_since: failing_since.map(|at| at.to_string()),
        },
    };
    let parts = [endpoint.tenant_id.0.as_bytes().as_slice(), endpoint.id.0.as_bytes(), &disabled.at.0.to_be_bytes()];
    Ok(Message {
        tenant_id: endpoint.tenant_id,
        id: MessageId(derived(ENDPOINT_DISABLED, &parts)),
        source: Source::Endpoint(endpoint.id),
        window_id: None,
        part: 1,
        parts: 1,
        runs: 0,
        body: Body { json: serde_json::to_string(&event)?, links: Vec::new() },
        created_at: disabled.at,
        event_type: None,
    })
}
