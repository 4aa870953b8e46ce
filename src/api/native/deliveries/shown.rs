//! Deliveries as callers see them. Of a target they see what may be shown: never a value, never a path.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::model::delivery::{Attempt, AttemptResult, Delivery, DeliveryState, Sent};
use crate::model::endpoint::{Endpoint, Policy, ShownTarget};
use crate::model::id::{AlertId, DeliveryId, EndpointId, MessageId, RuleId, TenantId, WindowId};
use crate::model::message::{Message, Source};

/// What rules and endpoints are called.
pub(super) struct Names {
    rules: HashMap<RuleId, String>,
    alerts: HashMap<AlertId, String>,
    endpoints: HashMap<EndpointId, Endpoint>,
}

/// A delivery on a page.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    id: DeliveryId,
    state: &'static str,
    /// Why it failed.
    reason: Option<String>,
    /// The rule it speaks for, unless it speaks for an alert.
    rule: Option<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Alert>,
    endpoint: Where,
    message_id: MessageId,
    attempt_count: u32,
    /// When the next attempt is due.
    due_at: Option<String>,
    created_at: String,
    finished_at: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Rule {
    id: RuleId,
    /// Absent when the rule was removed.
    key: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Alert {
    id: AlertId,
    /// Absent when the alert was removed.
    name: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Where {
    id: EndpointId,
    key: Option<String>,
    /// Absent when the endpoint was removed.
    url: Option<String>,
}

/// A delivery with all that is known of it.
#[derive(Debug, Serialize)]
pub(super) struct Full {
    #[serde(flatten)]
    line: Line,
    target: Option<Target>,
    message: Option<Told>,
    attempts: Vec<Tried>,
}

#[derive(Debug, Serialize)]
struct Target {
    #[serde(flatten)]
    shown: ShownTarget,
    format: &'static str,
    policy: Policy,
}

#[derive(Debug, Serialize)]
struct Told {
    id: MessageId,
    window_id: Option<WindowId>,
    part: u32,
    parts: u32,
    runs: u32,
    /// Of the body, without its links.
    bytes: usize,
    created_at: String,
}

#[derive(Debug, Serialize)]
struct Tried {
    number: u32,
    started_at: String,
    duration_ms: u64,
    /// What was sent; absent when no request was made, or it was made before this was remembered.
    request: Option<Sent>,
    result: AttemptResult,
    /// The result in words.
    said: String,
}

impl Names {
    /// Those of these deliveries.
    pub(super) async fn of(api: &Api, tenant: TenantId, deliveries: &[Delivery]) -> Result<Self, Problem> {
        let sources = deliveries.iter().map(|delivery| delivery.source).collect();
        Self::named(api, tenant, sources, deliveries.iter().map(|delivery| delivery.endpoint_id).collect()).await
    }

    /// Those of these rules and endpoints.
    pub(super) async fn named(
        api: &Api,
        tenant: TenantId,
        sources: BTreeSet<Source>,
        endpoints: BTreeSet<EndpointId>,
    ) -> Result<Self, Problem> {
        let rules: Vec<RuleId> = sources.iter().filter_map(|source| source.rule()).collect();
        let has_alerts = rules.len() < sources.len();
        let endpoints = Vec::from_iter(endpoints);
        let rules = api.store.rule_keys(tenant, &rules).await?.into_iter().collect();
        let endpoints = api.store.endpoints(tenant, &endpoints).await?;
        let alerts = if has_alerts { api.store.list_alerts(tenant).await? } else { Vec::new() };
        let alerts = alerts.into_iter().map(|kept| (kept.alert.id, kept.alert.name)).collect();
        Ok(Self { rules, alerts, endpoints: endpoints.into_iter().map(|endpoint| (endpoint.id, endpoint)).collect() })
    }

    /// A rule as lines name it.
    pub(super) fn rule(&self, source: Source) -> Option<Rule> {
        source.rule().map(|id| Rule { id, key: self.rules.get(&id).cloned() })
    }

    /// An alert as lines name it.
    pub(super) fn alert(&self, source: Source) -> Option<Alert> {
        let Source::Alert(id) = source else { return None };
        Some(Alert { id, name: self.alerts.get(&id).cloned() })
    }

    /// An endpoint as lines name it.
    pub(super) fn place(&self, id: EndpointId) -> Where {
        let endpoint = self.endpoints.get(&id);
        Where {
            id,
            key: endpoint.and_then(|endpoint| endpoint.key.clone()),
            url: endpoint.map(|endpoint| endpoint.shown.url.clone()),
        }
    }

    /// Whether there is still somewhere to send it.
    pub(super) fn has_endpoint(&self, id: EndpointId) -> bool {
        self.endpoints.contains_key(&id)
    }

    /// Whether nothing is sent there.
    pub(super) fn is_disabled(&self, id: EndpointId) -> bool {
        self.endpoints.get(&id).is_some_and(|endpoint| endpoint.disabled.is_some())
    }

    /// A delivery on a page.
    pub(super) fn line(&self, delivery: &Delivery) -> Line {
        let reason = match &delivery.state {
            DeliveryState::Failed(reason) => Some(reason.clone()),
            DeliveryState::Pending | DeliveryState::Delivered => None,
        };
        Line {
            id: delivery.id,
            state: delivery.state.as_str(),
            reason,
            rule: self.rule(delivery.source),
            alert: self.alert(delivery.source),
            endpoint: self.place(delivery.endpoint_id),
            message_id: delivery.message_id,
            attempt_count: delivery.attempts,
            due_at: (delivery.state == DeliveryState::Pending).then(|| delivery.due_at.to_string()),
            created_at: delivery.created_at.to_string(),
            finished_at: delivery.finished_at.map(|at| at.to_string()),
        }
    }

    /// A delivery with all that is known of it.
    pub(super) fn full(&self, delivery: &Delivery, attempts: &[Attempt], message: Option<&Message>) -> Full {
        let target = self.endpoints.get(&delivery.endpoint_id).map(|endpoint| Target {
            shown: endpoint.shown.clone(),
            format: endpoint.format.name(),
            policy: endpoint.policy,
        });
        let message = message.map(|message| Told {
            id: message.id,
            window_id: message.window_id,
            part: message.part,
            parts: message.parts,
            runs: message.runs,
            bytes: message.body.json.len(),
            created_at: message.created_at.to_string(),
        });
        Full { line: self.line(delivery), target, message, attempts: attempts.iter().map(Tried::from).collect() }
    }
}

impl From<&Attempt> for Tried {
    fn from(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at.to_string(),
            duration_ms: attempt.duration_ms,
            request: attempt.request.clone(),
            result: attempt.result.clone(),
            said: said(&attempt.result),
        }
    }
}

/// What came of an attempt, in words.
pub(in crate::api) fn said(result: &AttemptResult) -> String {
    match result {
        AttemptResult::Answered { status, .. } => format!("answered {status}"),
        AttemptResult::NotConnected { reason } => format!("not connected: {reason}"),
        AttemptResult::TimedOut => "connected, but no answer in time".to_owned(),
        AttemptResult::Broken { reason } => format!("connection broke: {reason}"),
        AttemptResult::Refused { reason } => format!("not sent: {reason}"),
    }
}
