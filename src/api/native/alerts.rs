//! `/v1/alerts`: all alerts of all projects, and how they stand.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::alerts::shown;
use crate::api::problem::Problem;

/// The routes.
pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v1/alerts", get(list))
}

async fn list(State(api): State<Api>, principal: Principal) -> Result<Json<Value>, Problem> {
    let tenant = principal.tenant_id;
    let kept = api.store.list_alerts(tenant).await?;
    let ids: Vec<_> = kept.iter().flat_map(|kept| kept.alert.actions.iter().map(|action| action.endpoint_id)).collect();
    let endpoints = api.store.endpoints(tenant, &ids).await?;
    let alerts: Vec<Value> = kept
        .iter()
        .map(|kept| {
            let mut shown = shown(kept, &endpoints);
            if let Some(members) = shown.as_object_mut() {
                members.insert("project".to_owned(), kept.project.clone().into());
            }
            shown
        })
        .collect();
    Ok(Json(json!({ "alerts": alerts })))
}
