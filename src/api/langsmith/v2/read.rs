//! `GET /v2/runs/{id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::params::Params;
use crate::api::langsmith::v2::fields;
use crate::api::langsmith::wire::Sheet;
use crate::api::problem::Problem;
use crate::api::request;
use crate::model::id::{ProjectId, RunId};

/// One run, which must be in the project that is named.
pub(super) async fn read(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    let tenant = principal.tenant_id;
    let id: RunId = request::id("id", &id)?;
    let projects: Vec<ProjectId> = params.ids("project_id")?;
    let names: Vec<String> = params.all("selects").chain(params.all("selects[]")).map(str::to_owned).collect();
    let select = if names.is_empty() { fields::id_alone() } else { fields::chosen("selects", names)? };
    let found = api.store.run(tenant, id).await?;
    let found = found.filter(|stored| projects.is_empty() || projects.contains(&stored.run.project_id));
    let stored = found.ok_or_else(|| Problem::not_found("run"))?;
    let sheet = Sheet::of(&api, tenant, vec![stored], &select).await?;
    let document = sheet.documents().into_iter().next().ok_or_else(|| Problem::not_found("run"))?;
    Ok(Json(document).into_response())
}
