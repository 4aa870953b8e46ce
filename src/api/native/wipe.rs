//! `/v1/wipe`: removes everything but API keys, of one tenant or of all. Asked for in so many words.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Operator;
use crate::api::native::premises::{Home, Premises};
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::model::audit::{Action, Object};
use crate::model::id::TenantId;
use crate::task;

/// The routes.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/v1/wipe", post(wipe))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    yes: bool,
    /// Whose data; everyone's when absent.
    tenant: Option<TenantId>,
}

async fn wipe(
    State(api): State<Api>,
    by: By,
    operator: Result<Operator, Problem>,
    home: Result<Home, Problem>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let request = serde_json::from_slice::<Request>(&body).ok().filter(|request| request.yes);
    let Some(request) = request else {
        return Err(Problem::invalid("this removes all runs, rules, endpoints, events, messages and deliveries")
            .hint("say {\"yes\": true} to mean it; with \"tenant\", of one tenant alone"));
    };
    if request.tenant != Some(by.tenant_id) {
        operator?;
    }
    match request.tenant {
        Some(tenant) => wipe_one(&api, &by, tenant).await,
        None => wipe_all(&api, &by, home?.0).await,
    }
}

/// Blobs that nothing names any more go with the next round of retention.
async fn wipe_one(api: &Api, by: &By, tenant: TenantId) -> Result<Json<Value>, Problem> {
    let told = by.entry(api, Act::new(Action::Wipe, Object::of_id(tenant.0)));
    api.store.wipe_tenant(tenant, Some(told)).await?;
    tracing::warn!(%tenant, "all data of a tenant was removed on request");
    Ok(Json(json!({"wiped": true, "tenant": tenant})))
}

async fn wipe_all(api: &Api, by: &By, home: Arc<dyn Premises>) -> Result<Json<Value>, Problem> {
    let told = by.entry(api, Act::new(Action::Wipe, Object::new("everything", None)));
    api.store.wipe(Some(told)).await?;
    let cleared = task::blocking(move || home.clear_blobs()).await;
    let blobs_removed = cleared.map_err(|error| Problem::internal(&error))??;
    tracing::warn!("all data was removed on request");
    Ok(Json(json!({"wiped": true, "blobs_removed": blobs_removed})))
}
