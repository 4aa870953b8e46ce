//! Rules as they are shown: as in a file, with every secret masked.

use serde_json::{Value, json};

use crate::model::amount::duration_text;
use crate::model::endpoint::Endpoint;
use crate::model::rule::{Cadence, Rule};
use crate::model::window::Window;

/// A rule with its endpoints.
pub(super) fn rule(rule: &Rule, endpoints: &[Endpoint]) -> Value {
    let (every, cron, timezone) = match &rule.cadence {
        Cadence::Immediate => (Some("immediate".to_owned()), None, None),
        Cadence::Every(period) => (Some(duration_text(*period)), None, None),
        Cadence::Cron { expression, timezone } => (None, Some(expression), Some(timezone)),
    };
    let find = |id| endpoints.iter().find(|endpoint| endpoint.id == id);
    let webhooks: Vec<Value> = rule.endpoints.iter().filter_map(|id| find(*id)).map(webhook).collect();
    let rest = Some(duration_text(rule.settle));
    let idle = rest.clone().filter(|_| rule.group_by.is_some());
    json!({
        "id": rule.id,
        "key": rule.key,
        "name": rule.name,
        "project": rule.project,
        "filter": rule.filter,
        "trace_filter": rule.trace_filter,
        "tree_filter": rule.tree_filter,
        "sampling_rate": rule.sampling_rate,
        "every": every,
        "cron": cron,
        "timezone": timezone,
        "settle": rest.filter(|_| rule.group_by.is_none()),
        "group_by": rule.group_by,
        "idle": idle,
        "backfill_from": rule.backfill_from.map(|at| at.to_string()),
        "batch": rule.batch,
        "webhooks": webhooks,
        "add_to_dataset_id": rule.actions.add_to_dataset_id,
        "add_to_dataset_prefer_correction": rule.actions.prefer_correction,
        "add_to_annotation_queue_id": rule.actions.add_to_annotation_queue_id,
        "state": rule.state,
        "origin": rule.origin,
    })
}

/// A window in which a rule found runs: which changes of the project it covers, half-open, and how many runs it found.
pub(super) fn window(window: &Window, runs: u32) -> Value {
    json!({
        "id": window.id,
        "project_id": window.project_id,
        "after": window.after,
        "through": window.through,
        "start_time": window.start_time.to_string(),
        "end_time": window.end_time.to_string(),
        "runs": runs,
    })
}

/// An endpoint, as a rule's list of webhooks has it.
pub(in crate::api::native) fn webhook(endpoint: &Endpoint) -> Value {
    json!({
        "endpoint_id": endpoint.id,
        "endpoint": endpoint.key,
        "url": endpoint.shown.url,
        "query": endpoint.shown.query,
        "headers": endpoint.shown.headers,
        "signing": endpoint.shown.signing,
        "secrets": endpoint.shown.secrets,
        "format": endpoint.format.name(),
        "template": endpoint.format.template(),
        "policy": endpoint.policy,
        "timeout": endpoint.overrides.timeout.map(duration_text),
        "retries": endpoint.overrides.retries.as_ref().map(|waits| waits.iter().map(|wait| duration_text(*wait)).collect::<Vec<_>>()),
        "rate": endpoint.overrides.pace.rate,
        "burst": endpoint.overrides.pace.burst,
        "concurrency": endpoint.overrides.pace.concurrency,
        "failing_since": endpoint.health.failing_since.map(|at| at.to_string()),
        "circuit": endpoint.health.circuit.map(|circuit| json!({"state": "open", "next_probe_at": circuit.until.to_string(), "openings": circuit.openings})),
        "disabled": endpoint.disabled.as_ref().map(|disabled| json!({"at": disabled.at.to_string(), "reason": disabled.reason})),
    })
}
