//! `/v1/filter/match`: a filter tried on stored runs, newest first, or on runs that come with the request. It answers as
//! a rule with these filters would, sampling aside, and stores nothing.

mod given;
mod look;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::native::runs::find_project;
use crate::api::problem::Problem;
use crate::api::request;
use crate::filter::{self, Mode};
use crate::model::id::{ProjectId, RunId, TenantId};
use crate::model::problem::Severity;
use crate::model::run::Run;
use crate::store::runs::RunQuery;
use look::{Filters, Judged};

/// Matches that are answered, unless asked otherwise.
const MATCHES: u32 = 20;

/// Matches that are answered at most.
const MOST_MATCHES: u32 = 1000;

/// Stored runs that are looked at, at most.
const MOST_SCANNED: usize = 10_000;

/// Stored runs that are looked at in one go; with their traces when those matter.
const PAGE: u32 = 200;

/// How long stored runs are looked at.
const LONGEST: Duration = Duration::from_secs(20);

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v1/filter/match", post(try_out))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    filter: Option<String>,
    trace_filter: Option<String>,
    tree_filter: Option<String>,
    project: Option<String>,
    #[serde(borrow)]
    runs: Option<Vec<&'a RawValue>>,
    limit: Option<u32>,
}

/// What was found.
#[derive(Serialize)]
struct Found {
    /// Runs that were looked at.
    scanned: usize,
    /// Whether all there are were looked at.
    complete: bool,
    matched: Vec<Line>,
    /// Given runs that could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<given::Refused>,
    /// What is worth a word about the filters.
    warnings: Vec<Told>,
}

#[derive(Serialize)]
struct Line {
    id: RunId,
    name: String,
    run_type: String,
    status: String,
    start_time: String,
    project_id: ProjectId,
}

impl From<&Run> for Line {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id,
            name: run.name.clone(),
            run_type: run.run_type.clone(),
            status: run.status.as_str().to_owned(),
            start_time: run.start_time.to_string(),
            project_id: run.project_id,
        }
    }
}

/// A problem of one of the filters.
#[derive(Serialize)]
struct Told {
    /// `filter`, `trace_filter` or `tree_filter`.
    of: &'static str,
    #[serde(flatten)]
    problem: crate::model::problem::Problem,
}

async fn try_out(State(api): State<Api>, principal: Principal, request: Request) -> Result<Json<Found>, Problem> {
    let body = request::body(&api, request).await?;
    let asked: Asked<'_> = request::keys(&api, &body)?;
    let (filters, mut warnings) = parsed(&asked)?;
    let most = asked.limit.unwrap_or(MATCHES).clamp(1, MOST_MATCHES) as usize;
    let mut found = match &asked.runs {
        Some(runs) => {
            if filters.needs().feedback {
                warnings.push(no_feedback());
            }
            in_given(&api, principal.tenant_id, &filters, runs, most)?
        }
        None => in_stored(&api, principal.tenant_id, &filters, asked.project.as_deref(), most).await?,
    };
    found.warnings = warnings;
    Ok(Json(found))
}

fn no_feedback() -> Told {
    let message = "given runs bring no feedback, so a test of feedback sees none";
    Told { of: "filter", problem: crate::model::problem::Problem::warning("no-feedback", 0..0, message) }
}

fn parsed(asked: &Asked<'_>) -> Result<(Filters, Vec<Told>), Problem> {
    let mut told = Vec::new();
    let mut read = |of: &'static str, text: Option<&String>| {
        let text = text.filter(|text| !text.trim().is_empty())?;
        let (filter, problems) = match filter::Filter::parse(text, Mode::Lenient) {
            Ok((filter, warnings)) => (Some(filter), warnings),
            Err(problems) => (None, problems),
        };
        told.extend(problems.into_iter().map(|problem| Told { of, problem }));
        filter
    };
    let filters = Filters {
        filter: read("filter", asked.filter.as_ref()).unwrap_or_default(),
        trace_filter: read("trace_filter", asked.trace_filter.as_ref()),
        tree_filter: read("tree_filter", asked.tree_filter.as_ref()),
    };
    let Some(first) = told.iter().find(|told| told.problem.severity == Severity::Error) else {
        return Ok((filters, told));
    };
    let detail = format!("the {} does not parse: {}", first.of, first.problem.message);
    let problem = Problem::invalid(detail).with("problems", json!(told));
    Err(
        match told
            .iter()
            .find_map(|told| told.problem.hint.as_deref().filter(|_| told.problem.severity == Severity::Error))
        {
            Some(hint) => problem.hint(hint),
            None => problem,
        },
    )
}

fn in_given(api: &Api, tenant: TenantId, filters: &Filters, runs: &[&RawValue], most: usize) -> Result<Found, Problem> {
    let allowed = api.limits.runs_per_request as usize;
    if runs.len() > allowed {
        return Err(Problem::invalid(format!("{} runs are given, and at most {allowed} are allowed", runs.len())));
    }
    let (runs, refused) = given::read(runs, tenant, api);
    let scanned = runs.len();
    let mut judged = Judged::default();
    judged.traces(filters, look::by_trace(runs));
    let matched = judged.newest(most);
    Ok(Found { scanned, complete: true, matched, refused, warnings: Vec::new() })
}

async fn in_stored(
    api: &Api,
    tenant: TenantId,
    filters: &Filters,
    project: Option<&str>,
    most: usize,
) -> Result<Found, Problem> {
    let project_id = match project {
        Some(project) => Some(find_project(api, tenant, project).await?),
        None => None,
    };
    let until = api.clock.now().after(LONGEST);
    let mut query = RunQuery { project_id, limit: PAGE, ..RunQuery::default() };
    let (mut scanned, mut judged) = (0_usize, Judged::default());
    let complete = loop {
        let page = api.store.list_runs(tenant, &query).await?;
        let last_page = page.len() < PAGE as usize;
        query.before = page.last().map(|last| (last.run.start_time, last.run.id));
        scanned = scanned.saturating_add(page.len());
        if filters.look_at_trace() {
            let ids = page.iter().map(|stored| stored.run.id).collect();
            for (project, traces) in look::traces_of(&page) {
                let runs = api.store.traces(tenant, project, &traces).await?;
                judged.traces_among(filters, look::by_trace(runs), &ids);
            }
        } else {
            judged.runs(filters, &page);
        }
        if last_page {
            break true;
        }
        if judged.len() >= most || scanned >= MOST_SCANNED || api.clock.now() >= until {
            break false;
        }
    };
    Ok(Found { scanned, complete, matched: judged.newest(most), refused: Vec::new(), warnings: Vec::new() })
}
