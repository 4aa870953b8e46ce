//! Endpoints as they are shown: what a rule's list of webhooks has of them, whose they are, and what they subscribe to.

use serde_json::{Value, json};

use crate::api::Api;
use crate::api::native::rules;
use crate::api::problem::Problem;
use crate::model::endpoint::Endpoint;
use crate::model::event::Subscription;
use crate::model::id::{EndpointId, TenantId};

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

/// Endpoints with what they subscribe to, where they do.
pub(super) async fn with_subscriptions(
    api: &Api,
    tenant: TenantId,
    endpoints: &[&Endpoint],
) -> Result<Vec<Value>, Problem> {
    // Nothing else is without a key and a rule.
    let may: Vec<EndpointId> =
        endpoints.iter().filter(|one| one.key.is_none() && one.rule_id.is_none()).map(|one| one.id).collect();
    let found = if may.is_empty() { Vec::new() } else { api.store.subscriptions(tenant, &may).await? };
    let of = |endpoint: &Endpoint| found.iter().find(|one| one.endpoint_id == endpoint.id);
    let one = |endpoint: &&Endpoint| {
        let mut shown = shown(endpoint);
        if let (Some(members), Some(subscription)) = (shown.as_object_mut(), of(endpoint)) {
            members.insert("subscription".to_owned(), told(subscription));
        }
        shown
    };
    Ok(endpoints.iter().map(one).collect())
}

fn told(subscription: &Subscription) -> Value {
    json!({
        "application_id": subscription.application_id,
        "uid": subscription.uid,
        "event_types": subscription.event_types,
        "channels": subscription.channels,
        "number": subscription.number,
        "description": subscription.description,
        "metadata": subscription.metadata,
    })
}
