//! `/v1/platform/alerts`: alerts of sessions, in the words of LangSmith's API and of its Terraform provider, which writes
//! configurations as text that holds JSON.
//!
//! Errors are `{"error": …}`. What is secret in a configuration (URL, headers, body, keys) is shown masked, and a masked
//! value that comes back means "as it is". What this server would not do is refused, never stored and forgotten.

mod actions;
mod change;
mod put;
mod shown;
mod trial;
mod wish;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::problem::Problem;
use crate::api::request;
use crate::model::alert::{Alert, Kept};
use crate::model::audit::{Action, Object};
use crate::model::id::{AlertId, ProjectId, TenantId};
use crate::model::project::Project;

pub(in crate::api) use shown::shown;

/// The routes. Clients whose base URL ends in `/api/v1` ask for the second of each pair.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/platform/alerts/{session_id}", post(put::create))
        .route("/platform/alerts/{session_id}", post(put::create))
        .route("/v1/platform/alerts/{session_id}/test", post(trial::test))
        .route("/platform/alerts/{session_id}/test", post(trial::test))
        .route("/v1/platform/alerts/{session_id}/{alert_id}", get(read).patch(change::update).delete(delete))
        .route("/platform/alerts/{session_id}/{alert_id}", get(read).patch(change::update).delete(delete))
}

/// Who acts, where errors are this surface's.
type Asker = Result<By, Problem>;

async fn read(
    State(api): State<Api>,
    principal: Result<Principal, Problem>,
    Path((session, alert)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let tenant = principal.map_err(Fault::intake)?.tenant_id;
    let kept = find(&api, tenant, &session, &alert).await.map_err(Fault::intake)?;
    answer(&api, StatusCode::OK, &kept).await.map_err(Fault::intake)
}

async fn delete(
    State(api): State<Api>,
    by: Asker,
    Path((session, alert)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let by = by.map_err(Fault::intake)?;
    remove(&api, &by, &session, &alert).await.map_err(Fault::intake)
}

async fn remove(api: &Api, by: &By, session: &str, alert: &str) -> Result<Response, Problem> {
    let tenant = by.tenant_id;
    let kept = find(api, tenant, session, alert).await?;
    let (project, id) = (kept.alert.project_id, kept.alert.id);
    let told = by.entry(api, Act::new(Action::DeleteAlert, object(&kept.alert)));
    if !api.store.remove_alert(tenant, project, id, api.clock.now(), Some(told)).await? {
        return Err(Problem::not_found("alert rule"));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The alert, for the audit log.
fn object(alert: &Alert) -> Object {
    Object::new(&alert.name, alert.id.0)
}

/// The session that a path names.
async fn session(api: &Api, tenant: TenantId, id: &str) -> Result<Project, Problem> {
    let id: ProjectId = request::id("session_id", id)?;
    api.store.project(tenant, id).await?.ok_or_else(|| Problem::not_found("session"))
}

/// The alert that a path names.
async fn find(api: &Api, tenant: TenantId, session: &str, alert: &str) -> Result<Kept, Problem> {
    let project: ProjectId = request::id("session_id", session)?;
    let id: AlertId = request::id("alert_rule_id", alert)?;
    let found = api.store.alert(tenant, id).await?;
    found.filter(|kept| kept.alert.project_id == project).ok_or_else(|| Problem::not_found("alert rule"))
}

/// An alert, as it is answered.
async fn answer(api: &Api, status: StatusCode, kept: &Kept) -> Result<Response, Problem> {
    let ids: Vec<_> = kept.alert.actions.iter().map(|action| action.endpoint_id).collect();
    let endpoints = api.store.endpoints(kept.alert.tenant_id, &ids).await?;
    Ok((status, axum::Json(shown(kept, &endpoints))).into_response())
}
