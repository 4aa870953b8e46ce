//! The part of Argilla's API that its listeners use to register themselves: `/me` and `/webhooks`. A webhook there is an
//! endpoint that subscribes to events of the tenant as a whole, in Argilla's own format.

mod fault;
mod webhooks;

use axum::extract::State;
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::model::time::Timestamp;

use fault::Fault;

/// All routes of this surface.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/me", get(me))
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/{id}", patch(webhooks::update).delete(webhooks::delete))
        .route("/webhooks/{id}/ping", post(webhooks::ping))
}

/// Whoever holds the key, as a user of Argilla.
async fn me(State(_): State<Api>, principal: Principal) -> Json<Value> {
    let since = Timestamp(0).naive();
    Json(json!({
        "id": principal.tenant_id, "username": "runhook", "first_name": "Runhook", "last_name": null, "role": "owner",
        "inserted_at": since, "updated_at": since,
    }))
}
