//! `POST /runs/multipart`. It never answers 404: a client that sees one gives multipart up for its process's life.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::batch::accepted;
use crate::api::langsmith::fault::Fault;
use crate::api::problem::Problem;
use crate::api::request::incoming;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/runs/multipart", post(multipart))
}

async fn multipart(
    State(api): State<Api>,
    principal: Result<Principal, Problem>,
    request: Request,
) -> Result<Response, Fault> {
    let tenant = principal.map_err(Fault::intake)?.tenant_id;
    let receipt = api.intake().multipart(tenant, incoming(request)).await.map_err(Fault::intake)?;
    Ok(accepted(&receipt))
}
