//! Alerts as they are shown: every secret masked, every configuration written as it was given.

use serde_json::{Map, Value, json};

use crate::alert::notice::{kind, number};
use crate::model::alert::{Action, Against, Alert, Kept, Target};
use crate::model::endpoint::{Endpoint, Format, Laying, MASK};
use crate::payload::format::BODY;

/// Where PagerDuty takes events, as it is shown.
const USUAL: &str = "https://events.pagerduty.com/…";

/// An alert, with its endpoints.
pub(in crate::api) fn shown(kept: &Kept, endpoints: &[Endpoint]) -> Value {
    let Kept { alert, standing, evaluated_at, seen, .. } = kept;
    let actions: Vec<Value> = alert.actions.iter().map(|one| action(alert, one, endpoints)).collect();
    json!({
        "id": alert.id,
        "rule": rule(alert),
        "actions": actions,
        "state": {
            "state": standing.state,
            "since": standing.since.map(|at| at.to_string()),
            "value": standing.value.and_then(number),
            "threshold": standing.threshold.and_then(number),
            "evaluated_at": seen.map(|_| evaluated_at.to_string()),
        },
    })
}

fn rule(alert: &Alert) -> Value {
    let (metric, condition) = (&alert.metric, &alert.condition);
    let (threshold, multiplier, minutes) = match condition.against {
        Against::Threshold(threshold) => (number(threshold), None, None),
        Against::Change { multiplier, window_minutes } => (None, number(multiplier), Some(window_minutes)),
    };
    json!({
        "id": alert.id,
        "session_id": alert.project_id,
        "tenant_id": alert.tenant_id,
        "name": alert.name,
        "description": alert.description,
        "type": kind(&condition.against),
        "aggregation": metric.aggregation,
        "attribute": metric.attribute,
        "operator": condition.operator,
        "window_minutes": condition.window_minutes,
        "threshold": threshold,
        "threshold_multiplier": multiplier,
        "threshold_window_minutes": minutes,
        "filter": metric.filter,
        "denominator_filter": metric.denominator_filter,
        "created_at": alert.created_at.to_string(),
        "updated_at": alert.updated_at.to_string(),
    })
}

fn action(alert: &Alert, action: &Action, endpoints: &[Endpoint]) -> Value {
    let endpoint = endpoints.iter().find(|endpoint| endpoint.id == action.endpoint_id);
    let config = endpoint.map(|endpoint| match action.target {
        Target::Webhook => webhook(endpoint, action.spelling.inside),
        Target::Pagerduty => pagerduty(endpoint, action.severity.as_deref()),
    });
    let config = config.map(Value::Object).unwrap_or_default();
    let config = if action.spelling.whole { config.to_string().into() } else { config };
    let disabled = endpoint.and_then(|endpoint| endpoint.disabled.as_ref()).map(|disabled| &disabled.reason);
    json!({
        "id": action.endpoint_id,
        "alert_rule_id": alert.id,
        "target": action.target,
        "config": config,
        "disabled": disabled,
    })
}

fn webhook(endpoint: &Endpoint, as_text: bool) -> Map<String, Value> {
    let headers = json!(endpoint.shown.headers);
    let headers = if as_text { headers.to_string().into() } else { headers };
    let mut config =
        Map::from_iter([("url".to_owned(), endpoint.shown.url.clone().into()), ("headers".to_owned(), headers)]);
    if endpoint.shown.secrets.contains_key(BODY) {
        config.insert("body".to_owned(), MASK.into());
    }
    if endpoint.format == Format::Alert(Laying::Alone) {
        config.insert("merge_alert_fields".to_owned(), false.into());
    }
    config
}

fn pagerduty(endpoint: &Endpoint, severity: Option<&str>) -> Map<String, Value> {
    let mut config = Map::from_iter([("integration_key".to_owned(), MASK.into())]);
    if endpoint.shown.url != USUAL {
        config.insert("url".to_owned(), endpoint.shown.url.clone().into());
    }
    config.extend(severity.map(|severity| ("severity".to_owned(), severity.into())));
    config
}
