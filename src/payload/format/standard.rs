//! `standard`: the shape that Standard Webhooks recommends, `{"type", "timestamp", "data"}`. The data are the documented
//! payload; the timestamp is the message's, the same at every attempt.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::payload::format::{FormatError, Source, json};

/// What every notification is, unless it tells of an event of another type.
pub(super) const TYPE: &str = "runs.matched";

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
    timestamp: String,
    data: &'a RawValue,
}

pub(super) fn write(source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    let data = serde_json::from_slice(source.body).map_err(|_| FormatError("its stored body is no JSON".to_owned()))?;
    let r#type = source.message.event_type.as_deref().unwrap_or(TYPE);
    json(&Event { r#type, timestamp: source.message.created_at.to_string(), data })
}
