//! What an alert says: the twelve keys of LangSmith's alert webhooks in their order, and the state.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::Serialize;
use serde_json::Number;
use url::Url;

use crate::alert::judge::Turn;
use crate::model::alert::{Against, Alert, Attribute, State, beginning_of};
use crate::model::delivery::{Delivery, DeliveryState};
use crate::model::id::{DeliveryId, MessageId, TenantId};
use crate::model::message::{Body, Message, Source};
use crate::model::time::Timestamp;

#[derive(Serialize)]
struct Told<'a> {
    project_name: &'a str,
    workspace_name: String,
    alert_rule_id: String,
    alert_rule_name: &'a str,
    alert_rule_description: &'a str,
    alert_rule_type: &'static str,
    alert_rule_attribute: Attribute,
    alert_rule_url: String,
    runs_url: String,
    triggered_metric_value: Option<Number>,
    triggered_threshold: Option<Number>,
    timestamp: String,
    alert_rule_state: State,
}

/// Where people look further.
pub struct Place<'a> {
    /// How this server is reached.
    pub public_url: &'a Url,
    /// The project's name.
    pub project: &'a str,
}

/// The body of what an alert says.
#[must_use]
pub fn body(alert: &Alert, place: &Place<'_>, turn: &Turn) -> String {
    let link = |path: &str| {
        let mut url = place.public_url.clone();
        url.set_path(&format!("{}{path}", place.public_url.path().trim_end_matches('/')));
        url
    };
    let mut runs_url = link("/v1/runs");
    runs_url.query_pairs_mut().append_pair("project", place.project);
    let told = Told {
        project_name: place.project,
        workspace_name: workspace(alert.tenant_id),
        alert_rule_id: alert.id.to_string(),
        alert_rule_name: &alert.name,
        alert_rule_description: &alert.description,
        alert_rule_type: kind(&alert.condition.against),
        alert_rule_attribute: alert.metric.attribute,
        alert_rule_url: link(&format!("/v1/platform/alerts/{}/{}", alert.project_id, alert.id)).into(),
        runs_url: runs_url.into(),
        triggered_metric_value: number(turn.value),
        triggered_threshold: number(turn.threshold),
        timestamp: beginning_of(turn.minute).with_offset(),
        alert_rule_state: turn.state,
    };
    serde_json::to_string(&told).unwrap_or_default()
}

/// The word of what a number is compared with.
#[must_use]
pub fn kind(against: &Against) -> &'static str {
    match against {
        Against::Threshold(_) => "threshold",
        Against::Change { .. } => "change",
    }
}

/// A number as JSON has it.
#[must_use]
pub fn number(number: Decimal) -> Option<Number> {
    number.to_f64().and_then(Number::from_f64)
}

fn workspace(tenant: TenantId) -> String {
    if tenant == TenantId::DEFAULT { "default".to_owned() } else { tenant.to_string() }
}

/// The message about a change of state.
#[must_use]
pub fn message(alert: &Alert, place: &Place<'_>, turn: &Turn, now: Timestamp) -> Message {
    Message {
        tenant_id: alert.tenant_id,
        id: MessageId::of_alert(alert.id, turn.minute, turn.state),
        source: Source::Alert(alert.id),
        window_id: None,
        part: 1,
        parts: 1,
        runs: 0,
        body: Body { json: body(alert, place, turn), links: Vec::new() },
        created_at: now,
        event_type: None,
    }
}

/// Its deliveries.
pub(super) fn deliveries<'a>(alert: &'a Alert, message: &'a Message) -> impl Iterator<Item = Delivery> + 'a {
    alert.actions.iter().map(|action| Delivery {
        tenant_id: alert.tenant_id,
        id: DeliveryId::of(message.id, action.endpoint_id),
        message_id: message.id,
        endpoint_id: action.endpoint_id,
        source: message.source,
        state: DeliveryState::Pending,
        attempts: 0,
        due_at: message.created_at,
        created_at: message.created_at,
        finished_at: None,
    })
}
