//! `POST /v1/platform/alerts/{session_id}/test`: tells everyone that a body names, for real, and answers what came of it.
//! Nothing of it is recorded but that it was asked for. `rule.id` may name an alert whose masked values are meant.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::alert::judge::Turn;
use crate::alert::notice::{self, Place};
use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::langsmith::fault::Fault;
use crate::api::native::said;
use crate::api::problem::Problem;
use crate::api::request;
use crate::crypto;
use crate::delivery::{Probe, send};
use crate::ingest::{Invalid, value};
use crate::model::alert::{Action, Against, Alert};
use crate::model::audit;
use crate::model::delivery::AttemptResult;
use crate::model::endpoint::Endpoint;
use crate::model::id::{AlertId, MessageId, TenantId};
use crate::model::message::Message;

use super::wish::Keys;
use super::{Asker, actions, put, session};

pub(super) async fn test(
    State(api): State<Api>,
    by: Asker,
    Path(session): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let by = by.map_err(Fault::intake)?;
    tested(&api, &by, &session, request).await.map_err(Fault::intake)
}

async fn tested(api: &Api, by: &By, path: &str, request: Request) -> Result<Response, Problem> {
    let tenant = by.tenant_id;
    let project = session(api, tenant, path).await?;
    let bytes = request::body(api, request).await?;
    let body = put::body(api, &bytes)?;
    let keys = body.rule()?.ok_or_else(|| Invalid::new("rule", "is missing"))?;
    let mut alert = put::wished(api, &project, &keys)?;
    let known = known(api, tenant, &alert, &keys).await?;
    let stored = match &known {
        Some(known) => actions::stored(api, known).await?,
        None => Vec::new(),
    };
    let object = audit::Object::new(&alert.name, known.as_ref().map(|known| known.id.0));
    alert.id = known.map_or(alert.id, |known| known.id);
    let raw = body.actions.ok_or_else(|| Invalid::new("actions", "is missing: it says who is told"))?;
    let wanted = actions::read(raw, &stored)?;
    let (actions, endpoints) = actions::sealed(api, &alert, &project.name, wanted).await?;
    let message = message(api, &alert, &project.name);
    api.store.note(by.entry(api, Act::new(audit::Action::TestAlert, object))).await?;
    let mut results = Vec::new();
    for (action, endpoint) in actions.iter().zip(&endpoints) {
        results.push(told(api, action, endpoint, &message).await?);
    }
    Ok(answer(&results))
}

/// The stored alert that a body is about, if it names one.
async fn known(api: &Api, tenant: TenantId, alert: &Alert, keys: &Keys<'_>) -> Result<Option<Alert>, Problem> {
    let Some(raw) = keys.get("id").filter(|raw| raw.get() != "null") else { return Ok(None) };
    let id: AlertId = value::id("rule.id", raw)?;
    let found = api.store.alert(tenant, id).await?.filter(|kept| kept.alert.project_id == alert.project_id);
    found.map(|kept| Some(kept.alert)).ok_or_else(|| Problem::not_found("alert rule"))
}

/// What the alert would say if it fired now, at its threshold.
fn message(api: &Api, alert: &Alert, project: &str) -> Message {
    let number = match alert.condition.against {
        Against::Threshold(threshold) => threshold,
        Against::Change { multiplier, .. } => multiplier,
    };
    let turn = Turn { value: number, threshold: number, ..actions::turn(api) };
    let message = notice::message(alert, &Place { public_url: &api.public_url, project }, &turn, api.clock.now());
    Message { id: MessageId(Uuid::from_bytes(crypto::random())), ..message }
}

async fn told(api: &Api, action: &Action, endpoint: &Endpoint, message: &Message) -> Result<Value, Problem> {
    let client = (api.client)().map_err(|error| Problem::internal(&error))?;
    let Probe { sent, result, duration_ms } = send(&client, &api.keyring, endpoint, message, api.clock.now()).await;
    let is_taken = matches!(result, AttemptResult::Answered { status: 200..=299, .. });
    Ok(json!({
        "target": action.target,
        "ok": is_taken,
        "message_id": message.id,
        "duration_ms": duration_ms,
        "request": sent,
        "result": result,
        "said": said(&result),
    }))
}

/// 200 when everyone took it, 502 when somebody did not.
fn answer(results: &[Value]) -> Response {
    let failed: Vec<String> = results
        .iter()
        .filter(|result| result["ok"] != true)
        .map(|result| format!("{} {}", word(&result["target"]), word(&result["said"])))
        .collect();
    if failed.is_empty() {
        return Json(json!({ "ok": true, "results": results })).into_response();
    }
    let error = format!("{} of {} actions were not delivered: {}", failed.len(), results.len(), failed.join("; "));
    (StatusCode::BAD_GATEWAY, Json(json!({ "ok": false, "error": error, "results": results }))).into_response()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
