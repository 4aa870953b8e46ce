//! `/v1/audit`: a page of the audit log, newest first.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::native::deliveries::instant;
use crate::api::problem::Problem;
use crate::filter::nearest;
use crate::model::audit::{Action, Entry};
use crate::model::id::AuditId;
use crate::model::time::Timestamp;
use crate::store::audit::AuditQuery;

/// Entries on a page, unless asked otherwise.
const PAGE: u32 = 50;

/// Entries on the largest page.
const LARGEST: u32 = 1000;

/// The routes.
pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v1/audit", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    since: Option<String>,
    until: Option<String>,
    actor: Option<String>,
    action: Option<String>,
    object: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list(
    State(api): State<Api>,
    principal: Principal,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(asked) = asked.map_err(|error| {
        let known = "known here: since, until, actor, action, object, limit, cursor";
        Problem::malformed(error.body_text()).hint(known)
    })?;
    let now = api.clock.now();
    let at = |text: Option<String>| text.map(|text| instant(&text, now)).transpose();
    let limit = asked.limit.unwrap_or(PAGE).clamp(1, LARGEST);
    let query = AuditQuery {
        since: at(asked.since)?,
        until: at(asked.until)?,
        actor: asked.actor,
        actions: asked.action.as_deref().map(actions).transpose()?.unwrap_or_default(),
        object: asked.object,
        before: asked.cursor.as_deref().map(read_cursor).transpose()?,
        limit: limit.saturating_add(1),
    };
    let mut entries = api.store.audit_log(principal.tenant_id, &query).await?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > size;
    entries.truncate(size);
    let next = entries.last().filter(|_| more).map(|last| format!("{}.{}", last.at.0, last.id));
    Ok(Json(json!({"entries": entries.iter().map(shown).collect::<Vec<_>>(), "next": next})))
}

fn shown(entry: &Entry) -> Value {
    let key = entry.actor.key();
    json!({
        "id": entry.id,
        "at": entry.at.to_string(),
        "actor": {"kind": entry.actor.kind(), "id": key.map(|(id, _)| id), "name": key.map(|(_, name)| name)},
        "address": entry.address,
        "request_id": entry.request_id,
        "action": entry.action.word(),
        "object": {"key": entry.object.key, "id": entry.object.id},
        "detail": entry.detail,
    })
}

/// The actions that a word means.
fn actions(word: &str) -> Result<Vec<Action>, Problem> {
    let found = Action::meant_by(word);
    if !found.is_empty() {
        return Ok(found);
    }
    let shown: String = word.chars().take(64).collect();
    let like = nearest(word, Action::ALL.iter().map(|action| action.word()));
    Err(Problem::malformed(format!("`{shown}` is not an action")).hint(match like {
        Some(like) => format!("did you mean `{like}`?"),
        None => "an action such as rule.update, or what it is about, such as endpoint".to_owned(),
    }))
}

/// Reads what a page gave as `next`.
fn read_cursor(text: &str) -> Result<(Timestamp, AuditId), Problem> {
    let read = || {
        let (at, id) = text.split_once('.')?;
        Some((Timestamp(at.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| Problem::malformed("`cursor` is not a page's `next`"))
}
