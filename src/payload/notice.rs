//! Notices: messages that tell of an endpoint instead of runs. They are stored, signed, sent and retried like any other.
//!
//! The stored body is what Standard Webhooks recommends, `{"type", "timestamp", "data"}`. It belongs to no rule and no
//! window: [`Message::is_notice`] knows it by that.

use serde::Serialize;
use uuid::Uuid;

use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::id::{MessageId, RuleId, WindowId, derived};
use crate::model::message::{Body, Message};
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
        rule_id: RuleId(Uuid::nil()),
        window_id: WindowId(Uuid::nil()),
        part: 1,
        parts: 1,
        runs: 0,
        body: Body { json: serde_json::to_string(&event)?, links: Vec::new() },
        created_at: disabled.at,
    })
}
