//! `/healthz`, `/readyz`, `/metrics`: for operators and their machines, without an API key. Every replica answers them,
//! whatever its roles.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::problem::Problem;

/// How long the database may take before the process counts as not ready: less than probes wait.
const PATIENCE: Duration = Duration::from_secs(4);

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

/// The process answers.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// A run sent now would be stored. When the database is lost or slow this is 503, and 200 again when it is back.
async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let checked = tokio::time::timeout(PATIENCE, api.store.check_writable(api.clock.now())).await;
    let problem = match checked {
        Ok(Ok(())) => return Ok(Json(json!({ "status": "ok" }))),
        Ok(Err(error)) => Problem::from(error),
        Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "the database does not answer in time"),
    };
    Err(Problem { status: StatusCode::SERVICE_UNAVAILABLE, ..problem })
}

/// The metrics of the process, for Prometheus.
async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let Some(handle) = &api.metrics else {
        return Err(Problem::not_found("a metrics recorder").hint("`runhook serve` installs one"));
    };
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response())
}
