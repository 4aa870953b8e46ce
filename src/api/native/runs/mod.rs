//! `/v1/runs`: pages of runs, one run, and importing runs from files.

mod import;
mod shown;

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::model::id::{ProjectId, RunId, TenantId};
use crate::model::run::{Run, StoredRun};
use crate::model::time::Timestamp;
use crate::model::usage::Usage;
use crate::query;
use crate::store::projects::ProjectQuery;
use crate::store::runs::RunQuery;

/// Runs on a page, unless asked otherwise.
const PAGE: u32 = 50;

/// Runs on the largest page.
const LARGEST: u32 = 1000;

/// The routes.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/runs", get(list))
        .route("/v1/runs/import", post(import::import))
        .route("/v1/runs/{id}", get(show))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    project: Option<String>,
    trace: Option<String>,
    roots: Option<bool>,
    limit: Option<u32>,
    before: Option<String>,
}

#[derive(Serialize)]
struct Page<'a> {
    runs: Vec<shown::Line<'a>>,
    /// What to ask for as `before` to get the next page.
    next: Option<String>,
}

async fn list(
    State(api): State<Api>,
    principal: Principal,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = asked.map_err(|error| {
        Problem::malformed(error.body_text()).hint("known here: project, trace, roots, limit, before")
    })?;
    let project_id = match &asked.project {
        None => None,
        Some(project) => Some(find_project(&api, principal.tenant_id, project).await?),
    };
    let limit = asked.limit.unwrap_or(PAGE).clamp(1, LARGEST);
    let query = RunQuery {
        project_id,
        trace_id: asked.trace.map(|id| id.parse().map_err(unreadable)).transpose()?,
        roots_only: asked.roots.unwrap_or(false),
        before: asked.before.map(|cursor| read_cursor(&cursor)).transpose()?,
        limit: limit.saturating_add(1),
    };
    let runs = api.store.list_runs(principal.tenant_id, &query).await?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = runs.len() > size;
    let page: Vec<_> = runs.iter().take(size).collect();
    let next = page.last().filter(|_| more).map(|last| format!("{}.{}", last.run.start_time.0, last.run.id));
    let families = families_of(&api, principal.tenant_id, &page).await?;
    let line = |stored| shown::Line::of(stored, usage(&families, stored));
    Ok(Json(Page { runs: page.into_iter().map(line).collect(), next }).into_response())
}

async fn show(State(api): State<Api>, principal: Principal, Path(id): Path<String>) -> Result<Response, Problem> {
    let id: RunId = id.parse().map_err(unreadable)?;
    let found = api.store.run(principal.tenant_id, id).await?.ok_or_else(|| Problem::not_found("run"))?;
    let families = families_of(&api, principal.tenant_id, &[&found]).await?;
    Ok(Json(shown::Full::of(&api, &found, usage(&families, &found)).await?).into_response())
}

async fn families_of(
    api: &Api,
    tenant: TenantId,
    runs: &[&StoredRun],
) -> Result<HashMap<RunId, query::Family>, Problem> {
    let runs: Vec<&Run> = runs.iter().map(|stored| &stored.run).collect();
    Ok(query::families(api.store.as_ref(), tenant, &runs).await?)
}

/// What the run's subtree used.
fn usage<'a>(families: &'a HashMap<RunId, query::Family>, stored: &'a StoredRun) -> &'a Usage {
    families.get(&stored.run.id).map_or(&stored.run.usage, |family| &family.usage)
}

fn unreadable(error: impl std::fmt::Display) -> Problem {
    Problem::malformed(error.to_string())
}

fn read_cursor(text: &str) -> Result<(Timestamp, RunId), Problem> {
    let read = || {
        let (start, id) = text.split_once('.')?;
        Some((Timestamp(start.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| Problem::malformed("`before` is not a page's `next`"))
}

/// Finds a project by its name, or else by its id.
pub(super) async fn find_project(api: &Api, tenant: TenantId, project: &str) -> Result<ProjectId, Problem> {
    let query = ProjectQuery { name: Some(project.to_owned()), limit: 1, ..ProjectQuery::default() };
    if let Some(found) = api.store.list_projects(tenant, &query).await?.first() {
        return Ok(found.id);
    }
    match project.parse() {
        Ok(id) => Ok(id),
        Err(_) => Err(Problem::not_found(&format!("project `{}`", project.chars().take(64).collect::<String>()))),
    }
}
