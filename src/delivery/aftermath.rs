//! What follows from an attempt for its endpoint: its circuit, and that it is given up.
//!
//! An endpoint that only fails is disabled after a while (`endpoints.disable_after`). Since when it fails is a column of its
//! row and not a count of anything, so it holds over restarts, and for an endpoint that is sent a message a month. So that
//! one bad moment does not disable such a one, the attempt that does it must be the last of its delivery, or the probe of
//! an open circuit. What is disabled, this way or by 410, is told to the endpoint that the operator named, and to the audit
//! log.
//!
//! What waits for an endpoint whose circuit opens again and again makes no attempts, so no policy ends it. It ends when it
//! has waited as long as its policy would have gone on trying.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::delivery::breaker::{Breakers, Noted};
use crate::delivery::policy::Course;
use crate::model::amount::duration_text;
use crate::model::audit::{Action, Actor, Entry};
use crate::model::delivery::{Attempt, Outcome};
use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::health::{Circuit, Turn};
use crate::model::id::{AuditId, derived};
use crate::model::time::{Clock, Timestamp};
use crate::payload::notice;
use crate::store::outbox::{Aftermath, Claim, GivenUp, Notice, Overdue};

/// Why an endpoint is disabled, in a word: its receiver says that it is gone...
const GONE: &str = "gone";
/// ...or it has failed for too long.
const FAILING: &str = "failing";

/// When endpoints are given up, and who hears of it.
#[derive(Debug, Clone, Default)]
pub struct Conduct {
    /// An endpoint that has taken nothing for so long is disabled; none: never.
    pub disable_after: Option<Duration>,
    /// The key of the endpoint that is told.
    pub notices: Option<String>,
}

/// Finds out what follows.
pub(super) struct Consequences {
    pub(super) conduct: Conduct,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) breakers: Breakers,
}

impl Consequences {
    /// What follows from an attempt for its endpoint.
    pub(super) fn follow(&mut self, claim: &Claim, attempt: &Attempt, outcome: &Outcome) -> Aftermath {
        let endpoint = claim.endpoint.as_ref();
        let circuit = endpoint.health.circuit;
        let noted = Noted { endpoint: endpoint.id, circuit, started_at: attempt.started_at, result: &attempt.result };
        let turn = self.breakers.note(noted, self.clock.now());
        let at = attempt.started_at.after(Duration::from_millis(attempt.duration_ms));
        let given_up = self.given_up(endpoint, attempt, outcome, at);
        let disabled = match (outcome, &given_up) {
            (Outcome::Gone(reason), _) => Some(Disabled { at, reason: reason.clone() }),
            (_, Some(given_up)) => Some(given_up.disabled.clone()),
            _ => None,
        };
        let notice = disabled.as_ref().and_then(|disabled| self.notice(endpoint, disabled));
        let told = disabled.map(|disabled| told(endpoint, &disabled, given_up.is_some()));
        let overdue = matches!(turn, Some(Turn::Open(_))).then(|| self.overdue(claim));
        Aftermath { turn, given_up, notice, told, overdue }
    }

    /// What waits for an open circuit makes no attempts, so it has no last one. It ends when the circuit opens once more.
    fn overdue(&self, claim: &Claim) -> Overdue {
        let (at, lasts) = (self.clock.now(), Course::of(&claim.endpoint, claim.delivery.id).lasts());
        let reason = format!("waited {} for an endpoint that does not answer", duration_text(lasts));
        Overdue { ready_until: at.before(lasts), at, reason }
    }

    fn given_up(&self, endpoint: &Endpoint, attempt: &Attempt, outcome: &Outcome, at: Timestamp) -> Option<GivenUp> {
        let (after, failing_since) = (self.conduct.disable_after?, endpoint.health.failing_since?);
        let decides = matches!(outcome, Outcome::Failed(_)) || endpoint.health.circuit.is_some();
        let is_over = attempt.result.has_failed() && decides && failing_since.after(after) <= at;
        is_over.then(|| {
            let reason = format!("every attempt has failed for {}, since {failing_since}", duration_text(after));
            GivenUp { failing_since, disabled: Disabled { at, reason } }
        })
    }

    fn notice(&self, endpoint: &Endpoint, disabled: &Disabled) -> Option<Notice> {
        let to = self.conduct.notices.clone()?;
        match notice::endpoint_disabled(endpoint, disabled, endpoint.health.failing_since) {
            Ok(message) => Some(Notice { to, message }),
            Err(error) => {
                tracing::error!(endpoint = %endpoint.id, %error, "what happened to an endpoint cannot be told");
                None
            }
        }
    }
}

/// What the audit log says of an endpoint that is disabled.
fn told(endpoint: &Endpoint, disabled: &Disabled, is_given_up: bool) -> Entry {
    let parts = [endpoint.tenant_id.0.as_bytes().as_slice(), endpoint.id.0.as_bytes(), &disabled.at.0.to_be_bytes()];
    Entry {
        tenant_id: endpoint.tenant_id,
        id: AuditId(derived("audit endpoint.disable", &parts)),
        at: disabled.at,
        actor: Actor::Server,
        address: None,
        request_id: None,
        action: Action::DisableEndpoint,
        object: endpoint.object(),
        detail: Some(json!({"why": if is_given_up { FAILING } else { GONE }})),
    }
}

/// Says what became of an endpoint.
pub(super) fn report(endpoint: &Endpoint, outcome: &Outcome, aftermath: &Aftermath) {
    if let Some(turn) = aftermath.turn {
        report_turn(endpoint, turn);
    }
    let (why, reason) = match (outcome, &aftermath.given_up) {
        (Outcome::Gone(reason), _) => (GONE, reason.as_str()),
        (_, Some(given_up)) => (FAILING, given_up.disabled.reason.as_str()),
        _ => return,
    };
    metrics::counter!("runhook_endpoints_disabled_total", "why" => why).increment(1);
    let (id, key, url) = (endpoint.id, endpoint.key.as_deref().unwrap_or_default(), &endpoint.shown.url);
    tracing::warn!(endpoint = %id, key, url, reason, "an endpoint is disabled: what waits for it fails");
}

fn report_turn(endpoint: &Endpoint, turn: Turn) {
    let to = if let Turn::Open(circuit) = turn { report_open(endpoint, circuit) } else { report_closed(endpoint) };
    metrics::counter!("runhook_circuit_turns_total", "to" => to).increment(1);
}

fn report_open(endpoint: &Endpoint, Circuit { until, openings }: Circuit) -> &'static str {
    let (id, key, url) = (endpoint.id, endpoint.key.as_deref().unwrap_or_default(), &endpoint.shown.url);
    tracing::warn!(endpoint = %id, key, url, %until, openings, "an endpoint fails: its deliveries wait for a probe");
    "open"
}

fn report_closed(endpoint: &Endpoint) -> &'static str {
    let (id, key, url) = (endpoint.id, endpoint.key.as_deref().unwrap_or_default(), &endpoint.shown.url);
    tracing::info!(endpoint = %id, key, url, "an endpoint answers again: its deliveries go on");
    "closed"
}
