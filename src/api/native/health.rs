//! `/healthz`, `/readyz`, `/metrics`: for operators and their machines, without an API key.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::problem::Problem;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

/// The process answers.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// A run sent now would be stored.
async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    api.store.check_writable(api.clock.now()).await?;
    Ok(Json(json!({ "status": "ok" })))
}

/// The metrics of the process, for Prometheus.
async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let Some(handle) = &api.metrics else {
        return Err(Problem::not_found("a metrics recorder").hint("`runhook serve` installs one"));
    };
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response())
}
