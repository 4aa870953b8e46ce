//! `POST /runs/rules/{id}/trigger`, `POST /runs/rules/trigger`: rules look at once at what there is, whatever their
//! cadence. No run is matched twice by it.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::{Json, response::IntoResponse as _};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::api::audit::By;
use crate::api::langsmith::fault::Fault;
use crate::api::native::rules::single;
use crate::api::problem::Problem;
use crate::api::request;
use crate::ingest::Invalid;
use crate::model::id::RuleId;
use crate::model::rule::Rule;

use super::{find, shown};

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    rule_ids: Option<&'a RawValue>,
    dataset_id: Option<&'a RawValue>,
}

pub(super) async fn trigger(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<Response, Fault> {
    let rule = find(&api, by.tenant_id, &id).await?;
    single::hasten(&api, &by, std::slice::from_ref(&rule)).await?;
    shown::answer(&api, by.tenant_id, rule).await
}

pub(super) async fn trigger_all(State(api): State<Api>, by: By, request: Request) -> Result<Response, Fault> {
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    if keys.dataset_id.is_some_and(|raw| raw.get() != "null") {
        return Err(Invalid::new("dataset_id", "is not supported by this server: give `rule_ids`").into());
    }
    let raw = keys.rule_ids.ok_or_else(|| Invalid::new("rule_ids", "is missing"))?;
    let ids: Vec<RuleId> =
        serde_json::from_str(raw.get()).map_err(|_| Invalid::new("rule_ids", "must be a list of ids of rules"))?;
    let mut rules: Vec<Rule> = api.store.list_rules(by.tenant_id).await?;
    rules.retain(|rule| ids.contains(&rule.id));
    if let Some(missing) = ids.iter().find(|id| !rules.iter().any(|rule| rule.id == **id)) {
        return Err(Problem::not_found(&format!("rule {missing}")).into());
    }
    single::hasten(&api, &by, &rules).await?;
    Ok(Json(json!({ "message": "triggered", "rule_ids": ids })).into_response())
}
