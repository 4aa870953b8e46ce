//! `POST /runs/batch`.

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::problem::Problem;
use crate::api::request::incoming;
use crate::ingest::Receipt;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/runs/batch", post(batch))
}

async fn batch(
    State(api): State<Api>,
    principal: Result<Principal, Problem>,
    request: Request,
) -> Result<Response, Fault> {
    let tenant = principal.map_err(Fault::intake)?.tenant_id;
    let receipt = api.intake().batch(tenant, incoming(request)).await.map_err(Fault::intake)?;
    Ok(accepted(&receipt))
}

/// 202, with what was refused: the clients' wire has no other place for it.
pub(crate) fn accepted(receipt: &Receipt) -> Response {
    let mut body = json!({ "message": "accepted", "runs": receipt.parts, "feedback": receipt.feedback });
    if let Some(body) = body.as_object_mut()
        && !receipt.refused.is_empty()
    {
        body.insert("refused".to_owned(), json!(receipt.refused));
    }
    (StatusCode::ACCEPTED, Json(body)).into_response()
}
