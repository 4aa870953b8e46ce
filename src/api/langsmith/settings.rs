//! `GET /settings`: who the key's holder is, for the helpers of clients that ask.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::model::project::DEFAULT_PROJECT;
use crate::store::projects::ProjectQuery;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/settings", get(settings))
}

/// Nothing is kept of a tenant but its id: it is as old as its default project.
async fn settings(State(api): State<Api>, principal: Principal) -> Result<Json<Value>, Fault> {
    let tenant = principal.tenant_id;
    let query = ProjectQuery { name: Some(DEFAULT_PROJECT.to_owned()), limit: 1, ..ProjectQuery::default() };
    let found = api.store.list_projects(tenant, &query).await?;
    let since = found.first().map_or_else(|| api.clock.now(), |project| project.start_time);
    Ok(Json(json!({
        "id": tenant, "display_name": "Runhook", "created_at": since.with_offset(), "tenant_handle": null
    })))
}
