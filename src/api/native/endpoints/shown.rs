//! Endpoints as they are shown: what a rule's list of webhooks has of them, and whose they are.

use serde_json::{Value, json};

use crate::api::native::rules;
use crate::model::endpoint::Endpoint;

/// An endpoint, with every secret masked. `origin` is the file it came from; none when it was made through the API.
pub(super) fn shown(endpoint: &Endpoint) -> Value {
    let mut shown = rules::webhook(endpoint);
    if let Some(members) = shown.as_object_mut() {
        members.insert("rule_id".to_owned(), json!(endpoint.rule_id));
        members.insert("alert_id".to_owned(), json!(endpoint.alert_id));
        members.insert("origin".to_owned(), json!(endpoint.origin));
    }
    shown
}
