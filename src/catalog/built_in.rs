//! Event types that every tenant has: those of Runhook itself, and Argilla's.

use serde_json::json;

use crate::model::event::EventType;
use crate::model::json::RawJson;
use crate::model::time::Timestamp;

/// Whose an event type is that no tenant made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Runhook tells of these; nobody else can.
    Runhook,
    /// Argilla's: Runhook tells of some, and whoever has a key may send all.
    Argilla,
}

/// A rule matched.
pub const RULE_MATCHED: &str = "rule.matched";
/// A run ended well.
pub const RUN_COMPLETED: &str = "run.completed";
/// A run ended with an error.
pub const RUN_FAILED: &str = "run.failed";
/// Somebody gave feedback.
pub const FEEDBACK_CREATED: &str = "feedback.created";
/// A delivery will not be tried again.
pub const DELIVERY_FAILED: &str = "delivery.failed";
/// What an endpoint that listens as Argilla's do is told when a rule matched.
pub const RECORD_COMPLETED: &str = "record.completed";

/// The schema of what tells of runs.
const RUNS: &str = "runs";
/// The schema of what tells of a delivery.
const DELIVERY: &str = "delivery";
/// The schema of what tells of an endpoint.
const ENDPOINT: &str = "endpoint";
/// The schema of what tells of a rule.
const RULE: &str = "rule";
/// The schema of anything.
const OBJECT: &str = "object";

const RUNHOOK: [(&str, &str, &str); 7] = [
    ("delivery.failed", "A delivery failed and will not be tried again.", DELIVERY),
    ("endpoint.disabled", "An endpoint was disabled: nothing is sent to it any more.", ENDPOINT),
    ("feedback.created", "Somebody gave feedback on a run.", OBJECT),
    ("rule.failing", "What a rule has to say does not arrive at an endpoint any more.", RULE),
    ("rule.matched", "A rule matched runs: the documented notification.", RUNS),
    ("run.completed", "Runs ended well.", RUNS),
    ("run.failed", "Runs ended with an error.", RUNS),
];

/// Argilla's event types.
pub const ARGILLA: [&str; 11] = [
    "dataset.created",
    "dataset.deleted",
    "dataset.published",
    "dataset.updated",
    "record.completed",
    "record.created",
    "record.deleted",
    "record.updated",
    "response.created",
    "response.deleted",
    "response.updated",
];

/// Whose an event type is that no tenant made.
#[must_use]
pub fn is_own(name: &str) -> Option<Origin> {
    if RUNHOOK.iter().any(|(own, _, _)| *own == name) {
        return Some(Origin::Runhook);
    }
    ARGILLA.contains(&name).then_some(Origin::Argilla)
}

/// Whether nobody but Runhook may tell of this.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    is_own(name) == Some(Origin::Runhook)
}

/// The event types that every tenant has, by name.
#[must_use]
pub fn built_in() -> Vec<EventType> {
    let argilla = ARGILLA.map(|name| (name, "An event of Argilla's webhooks.", OBJECT));
    let mut all: Vec<EventType> = RUNHOOK.into_iter().chain(argilla).map(described).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn described((name, description, kind): (&str, &str, &str)) -> EventType {
    let schema = RawJson::of(&schema(kind)).ok();
    EventType {
        name: name.to_owned(),
        description: description.to_owned(),
        schemas: schema.into_iter().map(|schema| ("1".to_owned(), schema)).collect(),
        archived: false,
        deprecated: false,
        group_name: None,
        feature_flags: Vec::new(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

fn schema(kind: &str) -> serde_json::Value {
    let text = json!({ "type": "string" });
    match kind {
        RUNS => json!({
            "type": "object",
            "required": ["rule_id", "start_time", "end_time", "runs"],
            "properties": {
                "rule_id": text, "start_time": text, "end_time": text, "project": text,
                "runs": { "type": "array", "items": { "type": "object", "required": ["id"] } },
            },
        }),
        DELIVERY => json!({
            "type": "object",
            "required": ["delivery_id", "message_id", "endpoint_id", "reason"],
            "properties": { "delivery_id": text, "message_id": text, "endpoint_id": text, "reason": text },
        }),
        ENDPOINT => json!({
            "type": "object",
            "required": ["endpoint_id", "reason"],
            "properties": { "endpoint_id": text, "reason": text },
        }),
        RULE => json!({
            "type": "object",
            "required": ["rule_id", "endpoint_id", "delivery_id", "reason", "failing_since"],
            "properties": {
                "rule_id": text, "endpoint_id": text, "delivery_id": text, "message_id": text, "reason": text,
                "failing_since": text, "failed_at": text,
            },
        }),
        _ => json!({ "type": "object" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Schema;
    use crate::model::event::is_name;

    #[test]
    fn what_every_tenant_has_is_described_and_its_schemas_can_be_used() {
        let all = built_in();
        assert_eq!(all.len(), 18);
        assert!(all.is_sorted_by(|one, other| one.name < other.name));
        for event_type in all {
            assert!(is_name(&event_type.name) && !event_type.description.is_empty());
            let (_, schema) = event_type.newest_schema().unwrap();
            Schema::parse(schema.text()).unwrap();
        }
        assert_eq!((is_own("rule.matched"), is_own("record.created")), (Some(Origin::Runhook), Some(Origin::Argilla)));
        assert!(is_own("mine.made").is_none() && is_reserved("run.failed") && !is_reserved("record.created"));
    }
}
