//! `DELETE /v1/endpoints/{key}`: an endpoint that was made through the API goes, unless a rule sends to it. What waits for
//! it fails as `endpoint removed`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::native::rules::TURN;
use crate::api::problem::Problem;
use crate::model::audit::Action;
use crate::store::rules::{Demand, RuleChanges};

use super::find_own;

/// Rules that are named; the rest are counted.
const NAMED: usize = 20;

pub(super) async fn delete(State(api): State<Api>, by: By, Path(key): Path<String>) -> Result<Json<Value>, Problem> {
    let tenant = by.tenant_id;
    let _turn = TURN.lock().await;
    let endpoint = find_own(&api, tenant, &key).await?;
    let rules = api.store.list_rules(tenant).await?;
    let using: Vec<String> =
        rules.into_iter().filter(|rule| rule.endpoints.contains(&endpoint.id)).map(|rule| rule.key).collect();
    if !using.is_empty() {
        return Err(used(&endpoint.key.unwrap_or_default(), using));
    }
    let demands = vec![(endpoint.id, Demand::Unused)];
    let told = vec![by.entry(&api, Act::new(Action::DeleteEndpoint, endpoint.object()))];
    let changes = RuleChanges { remove_endpoints: vec![endpoint.id], demands, told, ..RuleChanges::default() };
    api.store.apply_rules(tenant, changes, api.clock.now()).await?;
    Ok(Json(json!({"endpoint": endpoint.key, "endpoint_id": endpoint.id, "deleted": true})))
}

fn used(key: &str, mut rules: Vec<String>) -> Problem {
    let count = rules.len();
    rules.truncate(NAMED);
    let more =
        if count > rules.len() { format!(" and {} more", count.saturating_sub(rules.len())) } else { String::new() };
    let (rule, send) = if count == 1 { ("the rule", "sends") } else { ("the rules", "send") };
    let detail = format!("{rule} {}{more} {send} to the endpoint `{key}`; it was not deleted", rules.join(", "));
    Problem::new(StatusCode::CONFLICT, "endpoint-in-use", detail)
        .hint("take it out of their `webhooks`, or disable it meanwhile")
        .with("rules", rules.into())
}
