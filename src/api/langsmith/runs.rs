//! `POST /runs`, `PATCH /runs/{id}`, `GET /runs/{id}`.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::Params;
use crate::api::langsmith::wire::{Select, Sheet};
use crate::api::problem::Problem;
use crate::api::request::{self, incoming};
use crate::crypto;
use crate::ingest::Single;
use crate::model::id::{RunId, TenantId};
use crate::model::run::PartKind;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/runs", post(create)).route("/runs/{id}", get(read).patch(update))
}

async fn create(
    State(api): State<Api>,
    principal: Result<Principal, Problem>,
    request: Request,
) -> Result<Response, Fault> {
    take_in(&api, principal, None, PartKind::Post, request).await.map_err(Fault::intake)
}

/// A run nobody has posted yet is no error: its post may be on another connection.
async fn update(
    State(api): State<Api>,
    principal: Result<Principal, Problem>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let named = request::id("id", &id).map_err(Fault::intake)?;
    take_in(&api, principal, Some(named), PartKind::Patch, request).await.map_err(Fault::intake)
}

async fn take_in(
    api: &Api,
    principal: Result<Principal, Problem>,
    named: Option<RunId>,
    kind: PartKind,
    request: Request,
) -> Result<Response, Problem> {
    let tenant: TenantId = principal?.tenant_id;
    let fresh = RunId(uuid::Builder::from_random_bytes(crypto::random()).into_uuid());
    let run_id = api.intake().run(tenant, Single { kind, named, fresh }, incoming(request)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "message": "accepted", "id": run_id }))).into_response())
}

/// The run with its inputs and outputs, wherever they are kept.
async fn read(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Fault> {
    let tenant = principal.tenant_id;
    let stored = api.store.run(tenant, request::id("id", &id)?).await?.ok_or_else(|| Problem::not_found("run"))?;
    let mut select = Select::all().without_blobs(params.flag("exclude_s3_stored_attributes"));
    if params.flag("exclude_serialized") {
        select = select.without("serialized");
    }
    let sheet = Sheet::of(&api, tenant, vec![stored], &select).await?;
    let document = sheet.documents().into_iter().next().ok_or_else(|| Problem::not_found("run"))?;
    Ok(Json(document).into_response())
}
