//! `/v1/endpoints`: where notifications go. They are written in rule files, or made here; those of files show where they
//! are written, and what a file says of them is changed in the file alone. No answer shows a secret, save the one to the
//! request that made it.

mod delete;
mod list;
mod preview;
mod probe;
mod rotate;
mod shown;
mod state;
mod write;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::api::{Api, subscribing};
use crate::model::endpoint::Endpoint;
use crate::model::id::{EndpointId, TenantId};

/// The routes.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/endpoints", get(list::list).post(write::create))
        .route("/v1/endpoints/{key}", get(show).patch(write::patch).delete(delete::delete))
        .route("/v1/endpoints/{key}/disable", post(state::disable))
        .route("/v1/endpoints/{key}/enable", post(state::enable))
        .route("/v1/endpoints/{key}/rotate-secret", post(rotate::rotate_secret))
        .route("/v1/endpoints/{key}/test", post(probe::test))
        .route("/v1/endpoints/{key}/preview", post(preview::preview))
}

async fn show(State(api): State<Api>, principal: Principal, Path(key): Path<String>) -> Result<Json<Value>, Problem> {
    let endpoint = find(&api, principal.tenant_id, &key).await?;
    let shown = shown::with_subscriptions(&api, principal.tenant_id, &[&endpoint]).await?;
    Ok(Json(shown.into_iter().next().unwrap_or_default()))
}

/// Reads a body, or the nothing that stands for an empty one.
fn read<'b, T: Default + Deserialize<'b>>(body: &'b [u8], shape: &str) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let read = serde_json::from_slice::<Option<T>>(body).map(Option::unwrap_or_default);
    read.map_err(|error| Problem::malformed(format!("the body is not {shape}: {error}")))
}

/// The endpoint with this key or id.
async fn find(api: &Api, tenant: TenantId, key: &str) -> Result<Endpoint, Problem> {
    if let Some(endpoint) = api.store.endpoint_of_key(tenant, key).await? {
        return Ok(endpoint);
    }
    let found = match key.parse::<EndpointId>() {
        Ok(id) => api.store.endpoints(tenant, &[id]).await?.pop(),
        Err(_) => None,
    };
    found
        .ok_or_else(|| Problem::not_found("endpoint").hint("`runhook endpoints list` shows the keys and ids there are"))
}

/// An endpoint that this API may change: one that was made through it.
async fn find_own(api: &Api, tenant: TenantId, key: &str) -> Result<Endpoint, Problem> {
    let endpoint = find(api, tenant, key).await?;
    if endpoint.is_own() {
        return Ok(endpoint);
    }
    let (place, what) = match (&endpoint.key, &endpoint.origin) {
        (Some(key), Some(origin)) => (format!("the endpoint `{key}` is written in {origin}"), "the file"),
        (None, Some(origin)) if origin == subscribing::ORIGIN => {
            ("the endpoint subscribes to events".to_owned(), "the API it was made through (docs/events.md)")
        }
        _ if endpoint.alert_id.is_some() => ("the endpoint is written inside an alert".to_owned(), "the alert"),
        _ => ("the endpoint is written inside a rule".to_owned(), "the rule"),
    };
    let detail = format!("{place}, and changes with {what} alone");
    Err(Problem::new(StatusCode::CONFLICT, "endpoint-of-a-file", detail)
        .hint("change it there; disable, enable, rotate-secret, test and preview work here too")
        .with("origin", endpoint.origin.into()))
}
