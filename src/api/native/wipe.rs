//! `/v1/wipe`: removes everything but API keys. Asked for in so many words.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Operator;
use crate::api::native::premises::Home;
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::model::audit::{Action, Object};
use crate::task;

/// The routes.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/v1/wipe", post(wipe))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    yes: bool,
}

async fn wipe(
    State(api): State<Api>,
    _operator: Operator,
    by: By,
    Home(home): Home,
    Whole(body): Whole,
) -> Result<impl IntoResponse, Problem> {
    let sure = serde_json::from_slice::<Request>(&body).is_ok_and(|request| request.yes);
    if !sure {
        return Err(Problem::invalid("this removes all runs, rules, endpoints, messages and deliveries")
            .hint("say {\"yes\": true} to mean it"));
    }
    let told = by.entry(&api, Act::new(Action::Wipe, Object::new("everything", None)));
    api.store.wipe(Some(told)).await?;
    let cleared = task::blocking(move || home.clear_blobs()).await;
    let blobs_removed = cleared.map_err(|error| Problem::internal(&error))??;
    tracing::warn!("all data was removed on request");
    Ok(Json(json!({"wiped": true, "blobs_removed": blobs_removed})))
}
