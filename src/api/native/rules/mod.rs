//! `/v1/rules`: rules as files have them. They are written in files, planned and applied; here they are also looked at,
//! paused and resumed. No answer shows a value that a rule file keeps in a variable.

mod apply;
mod names;
mod shown;
pub(crate) mod single;
mod told;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::model::audit::{Action, Object};
use crate::model::id::{RuleId, TenantId};
use crate::model::rule::{Rule, RuleState};
use crate::rule_file;

pub(super) use apply::sealed;
pub use apply::{Outcome, Purpose, Request, apply};
pub(in crate::api) use apply::{TURN, check_endpoints};
pub(super) use shown::webhook;
pub(super) use told::acts;

/// How many windows of a rule are shown, unless told otherwise.
const WINDOWS: u32 = 10;

/// How many are shown at most.
const MOST_WINDOWS: u32 = 1000;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/rules", get(list))
        .route("/v1/rules/apply", post(apply::handle))
        .route("/v1/rules/export", get(export))
        .route("/v1/rules/{key}", get(show))
        .route("/v1/rules/{key}/pause", post(pause))
        .route("/v1/rules/{key}/resume", post(resume))
}

async fn list(State(api): State<Api>, principal: Principal) -> Result<Json<Value>, Problem> {
    let rules = api.store.list_rules(principal.tenant_id).await?;
    let endpoints = api.store.list_endpoints(principal.tenant_id).await?;
    let rules: Vec<Value> = rules.iter().map(|rule| shown::rule(rule, &endpoints)).collect();
    Ok(Json(json!({ "rules": rules })))
}

/// What is asked of a rule beside itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// How many of its newest windows.
    windows: Option<u32>,
}

async fn show(
    State(api): State<Api>,
    principal: Principal,
    Path(key): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let asked = asked.map_err(|error| Problem::malformed(error.body_text()).hint("known here: windows"))?;
    let rule = find(&api, principal.tenant_id, &key).await?;
    let endpoints = api.store.list_endpoints(principal.tenant_id).await?;
    let limit = asked.windows.unwrap_or(WINDOWS).min(MOST_WINDOWS);
    let windows = api.store.rule_windows(principal.tenant_id, rule.id, limit).await?;
    let mut shown = shown::rule(&rule, &endpoints);
    if let Some(shown) = shown.as_object_mut() {
        let windows = windows.iter().map(|(window, runs)| shown::window(window, *runs));
        shown.insert("windows".to_owned(), windows.collect());
    }
    Ok(Json(shown))
}

/// YAML for those who accept it, and YAML inside JSON for all others.
async fn export(State(api): State<Api>, principal: Principal, headers: HeaderMap) -> Result<Response, Problem> {
    let mut rules = api.store.list_rules(principal.tenant_id).await?;
    rules.retain(|rule| rule.event.is_none());
    let mut endpoints = api.store.list_endpoints(principal.tenant_id).await?;
    endpoints.sort_by(|a, b| a.key.cmp(&b.key));
    let yaml = rule_file::export(&rules, &endpoints);
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("yaml") {
        return Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/yaml"))], yaml).into_response());
    }
    Ok(Json(json!({ "yaml": yaml })).into_response())
}

async fn pause(state: State<Api>, by: By, key: Path<String>) -> Result<Json<Value>, Problem> {
    set_state(state, by, key, RuleState::Paused).await
}

async fn resume(state: State<Api>, by: By, key: Path<String>) -> Result<Json<Value>, Problem> {
    set_state(state, by, key, RuleState::Active).await
}

async fn set_state(
    State(api): State<Api>,
    by: By,
    Path(key): Path<String>,
    state: RuleState,
) -> Result<Json<Value>, Problem> {
    let rule = find(&api, by.tenant_id, &key).await?;
    // A rule that is active already keeps its place; resuming it again must not move it to the newest change.
    if rule.state != state {
        let action = if state == RuleState::Paused { Action::PauseRule } else { Action::ResumeRule };
        let told = by.entry(&api, Act::new(action, Object::new(&rule.key, rule.id.0)));
        let there = api.store.set_rule_state(by.tenant_id, rule.id, state, api.clock.now(), Some(told)).await?;
        if !there {
            return Err(Problem::not_found("rule"));
        }
        api.scheduler.poke();
    }
    Ok(Json(json!({"key": rule.key, "id": rule.id, "state": state, "changed": rule.state != state})))
}

async fn find(api: &Api, tenant: TenantId, key: &str) -> Result<Rule, Problem> {
    let id = key.parse::<RuleId>().ok();
    let rules = api.store.list_rules(tenant).await?;
    let found = rules.into_iter().find(|rule| rule.key == key || Some(rule.id) == id);
    found.ok_or_else(|| Problem::not_found("rule").hint("`runhook rules list` shows the keys there are"))
}
