//! `GET|POST /sessions`, `GET|PATCH|DELETE /sessions/{id}`: projects under LangSmith's name for them.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::{Params, wrong};
use crate::api::langsmith::search::stats;
use crate::api::langsmith::wire;
use crate::api::problem::Problem;
use crate::api::request;
use crate::ingest::{Invalid, value};
use crate::model::audit::{Action, Object};
use crate::model::id::{DatasetId, ProjectId, RunId, TenantId};
use crate::model::json::RawJson;
use crate::model::project::{DEFAULT_PROJECT, Project};
use crate::model::time::Timestamp;
use crate::query;
use crate::store::StoreError;
use crate::store::projects::{ProjectOrder, ProjectQuery};

/// A page when the client does not say how long.
const PAGE: u32 = 100;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/sessions", get(list).post(create))
        .route("/sessions/{id}", get(read).patch(update).delete(delete))
}

/// The keys of a body that are read.
#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    description: Option<&'a RawValue>,
    extra: Option<&'a RawValue>,
    reference_dataset_id: Option<&'a RawValue>,
    start_time: Option<&'a RawValue>,
    end_time: Option<&'a RawValue>,
}

/// A project as it is shown.
#[derive(Serialize)]
struct Session<'a> {
    id: ProjectId,
    tenant_id: TenantId,
    name: &'a str,
    description: Option<&'a str>,
    start_time: String,
    end_time: Option<String>,
    extra: Option<&'a RawJson>,
    reference_dataset_id: Option<Uuid>,
    default_dataset_id: Option<Uuid>,
    trace_tier: Option<&'a str>,
    /// Only when asked for: they are counted anew each time.
    #[serde(flatten)]
    stats: Option<SessionStats>,
}

/// What the runs of a project have in common, and what was said of the project itself.
#[derive(Serialize)]
struct SessionStats {
    #[serde(flatten)]
    runs: stats::Shown,
    session_feedback_stats: BTreeMap<String, wire::Stats>,
}

impl<'a> From<&'a Project> for Session<'a> {
    fn from(project: &'a Project) -> Self {
        Self {
            id: project.id,
            tenant_id: project.tenant_id,
            name: &project.name,
            description: project.description.as_deref(),
            start_time: project.start_time.with_offset(),
            end_time: project.end_time.map(Timestamp::with_offset),
            extra: project.extra.as_ref(),
            reference_dataset_id: project.reference_dataset_id,
            default_dataset_id: None,
            trace_tier: None,
            stats: None,
        }
    }
}

fn shown(project: &Project) -> Response {
    Json(Session::from(project)).into_response()
}

/// Projects, with statistics where the client asks for them.
async fn all_shown(api: &Api, projects: &[Project], params: &Params) -> Result<Response, Problem> {
    let (wanted, from) = (params.flag("include_stats"), params.time("stats_start_time")?);
    let mut sessions = Vec::with_capacity(projects.len());
    for project in projects {
        let stats = if wanted { Some(counted(api, project, from).await?) } else { None };
        sessions.push(Session { stats, ..Session::from(project) });
    }
    Ok(Json(sessions).into_response())
}

async fn counted(api: &Api, project: &Project, from: Option<Timestamp>) -> Result<SessionStats, Problem> {
    let (store, tenant) = (api.store.as_ref(), project.tenant_id);
    let runs = query::of_project(store, tenant, project.id, from).await?;
    let said = query::feedback::on_project(store, tenant, project.id).await?;
    Ok(SessionStats { runs: stats::Shown::of(&runs), session_feedback_stats: wire::shown_stats(&said) })
}

/// What `metadata` must hold, if it is asked for.
fn metadata(params: &Params) -> Result<Option<Map<String, Value>>, Problem> {
    let read = |text: &str| serde_json::from_str(text).map_err(|_| wrong("metadata", "must be a JSON object"));
    params.one("metadata").map(read).transpose()
}

/// `sort_by` and `sort_by_desc`. What is counted of a session is not what it is found by.
fn order(params: &Params) -> Result<ProjectOrder, Problem> {
    let backwards = params.flag_or_none("sort_by_desc")?.unwrap_or(true);
    match (params.one("sort_by"), backwards) {
        (None | Some("start_time"), true) => Ok(ProjectOrder::NewestFirst),
        (None | Some("start_time"), false) => Ok(ProjectOrder::OldestFirst),
        (Some("name"), false) => Ok(ProjectOrder::Name),
        (Some("name"), true) => Ok(ProjectOrder::NameBackwards),
        (Some(_), _) => Err(wrong("sort_by", "must be name or start_time: this server sorts by nothing else")),
    }
}

async fn list(State(api): State<Api>, principal: Principal, params: Params) -> Result<Response, Fault> {
    params.refuse(&["filter"])?;
    let query = ProjectQuery {
        ids: params.ids("id")?,
        name: params.one("name").map(str::to_owned),
        name_contains: params.one("name_contains").map(str::to_owned),
        reference_datasets: params.ids::<DatasetId>("reference_dataset")?.into_iter().map(|id| id.0).collect(),
        is_experiment: params.flag_or_none("reference_free")?.map(|is_free| !is_free),
        order: order(&params)?,
        limit: params.limit(PAGE)?,
        offset: params.offset()?,
    };
    let (tenant, metadata) = (principal.tenant_id, metadata(&params)?);
    if let Some(metadata) = metadata {
        let projects = query::projects::page(api.store.as_ref(), tenant, &query, &metadata).await?;
        return Ok(all_shown(&api, &projects, &params).await?);
    }
    let mut projects = api.store.list_projects(tenant, &query).await?;
    let asked = ProjectQuery { name: None, limit: 0, order: ProjectOrder::default(), ..query.clone() };
    let asks_for_any = asked == ProjectQuery::default();
    if projects.is_empty() && asks_for_any && query.name.as_deref().is_none_or(|name| name == DEFAULT_PROJECT) {
        // Clients learn their tenant from the first project there is: there always is one.
        make_default(&api, tenant).await?;
        projects = api.store.list_projects(tenant, &query).await?;
    }
    Ok(all_shown(&api, &projects, &params).await?)
}

async fn make_default(api: &Api, tenant: TenantId) -> Result<(), Problem> {
    let project = Project {
        tenant_id: tenant,
        id: ProjectId::of_name(tenant, DEFAULT_PROJECT),
        name: DEFAULT_PROJECT.to_owned(),
        description: None,
        extra: None,
        reference_dataset_id: None,
        start_time: api.clock.now(),
        end_time: None,
    };
    match api.store.create_project(project).await {
        Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn create(
    State(api): State<Api>,
    principal: Principal,
    params: Params,
    request: Request,
) -> Result<Response, Fault> {
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    let tenant = principal.tenant_id;
    let name = value::string("name", keys.name.ok_or_else(|| Invalid::new("name", "is missing"))?)?;
    if name.is_empty() {
        return Err(Invalid::new("name", "must not be empty").into());
    }
    let id = keys.id.map(|raw| value::id("id", raw)).transpose()?;
    let start_time = keys.start_time.map(|raw| value::time("start_time", raw)).transpose()?;
    let mut project = Project {
        tenant_id: tenant,
        id: id.unwrap_or_else(|| ProjectId::of_name(tenant, &name)),
        name,
        description: None,
        extra: None,
        reference_dataset_id: None,
        start_time: start_time.unwrap_or_else(|| api.clock.now()),
        end_time: None,
    };
    say(&mut project, &keys)?;
    if params.flag("upsert")
        && let Some(mut known) = named(&api, tenant, &project.name).await?
    {
        say(&mut known, &keys)?;
        api.store.update_project(known.clone()).await?;
        return Ok(shown(&known));
    }
    Ok(shown(&api.store.create_project(project).await?))
}

async fn named(api: &Api, tenant: TenantId, name: &str) -> Result<Option<Project>, Problem> {
    let query = ProjectQuery { name: Some(name.to_owned()), limit: 1, ..ProjectQuery::default() };
    Ok(api.store.list_projects(tenant, &query).await?.into_iter().next())
}

/// Applies what a body says of a project; `null` and absent say nothing.
fn say(project: &mut Project, keys: &Keys<'_>) -> Result<(), Invalid> {
    if let Some(raw) = keys.name {
        project.name = value::string("name", raw)?;
    }
    if let Some(raw) = keys.description {
        project.description = Some(value::string("description", raw)?);
    }
    if let Some(raw) = keys.extra {
        project.extra = Some(value::object("extra", raw)?);
    }
    if let Some(raw) = keys.reference_dataset_id {
        project.reference_dataset_id = Some(value::id::<RunId>("reference_dataset_id", raw)?.0);
    }
    if let Some(raw) = keys.end_time {
        project.end_time = Some(value::time("end_time", raw)?);
    }
    Ok(())
}

async fn find(api: &Api, principal: Principal, id: &str) -> Result<Project, Problem> {
    let id = request::id("session_id", id)?;
    api.store.project(principal.tenant_id, id).await?.ok_or_else(|| Problem::not_found("session"))
}

async fn read(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Fault> {
    let project = find(&api, principal, &id).await?;
    let from = params.time("stats_start_time")?;
    let stats = if params.flag("include_stats") { Some(counted(&api, &project, from).await?) } else { None };
    Ok(Json(Session { stats, ..Session::from(&project) }).into_response())
}

async fn update(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let mut project = find(&api, principal, &id).await?;
    let body = request::body(&api, request).await?;
    say(&mut project, &request::keys(&api, &body)?)?;
    if project.name.is_empty() {
        return Err(Invalid::new("name", "must not be empty").into());
    }
    api.store.update_project(project.clone()).await?;
    Ok(shown(&project))
}

async fn delete(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<Response, Fault> {
    let id: ProjectId = request::id("session_id", &id)?;
    let name = api.store.project(by.tenant_id, id).await?.map(|project| project.name);
    let object = name.map_or_else(|| Object::of_id(id.0), |name| Object::new(&name, id.0));
    let told = by.entry(&api, Act::new(Action::DeleteProject, object));
    if !api.store.delete_project(by.tenant_id, id, Some(told)).await? {
        return Err(Problem::not_found("session").into());
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "message": "deleted" }))).into_response())
}
