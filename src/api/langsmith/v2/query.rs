//! `POST /v2/runs/query`.

use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::search::example;
use crate::api::langsmith::search::terms::{self, Reading, Terms};
use crate::api::langsmith::v2::fields;
use crate::api::langsmith::wire::{Document, Select, Sheet};
use crate::api::problem::Problem;
use crate::api::request::{self, Whole};
use crate::ingest::{Invalid, value};
use crate::model::id::RunId;
use crate::model::time::Timestamp;
use crate::query::{Position, page};

/// Runs on a page, unless asked otherwise.
const PAGE: u32 = 100;

/// Runs on the largest page.
const LARGEST: u32 = 1000;

/// How far back is looked, unless asked otherwise.
const DAY: Duration = Duration::from_hours(24);

/// Parameters that would change the answer in ways this server does not.
const REFUSED: &str = "is not supported by this server";

/// The keys of a body that are read.
#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    project_ids: Option<&'a RawValue>,
    reference_dataset_id: Option<&'a RawValue>,
    reference_examples: Option<&'a RawValue>,
    ids: Option<&'a RawValue>,
    trace_id: Option<&'a RawValue>,
    filter: Option<&'a RawValue>,
    trace_filter: Option<&'a RawValue>,
    tree_filter: Option<&'a RawValue>,
    has_error: Option<&'a RawValue>,
    is_root: Option<&'a RawValue>,
    run_type: Option<&'a RawValue>,
    min_start_time: Option<&'a RawValue>,
    max_start_time: Option<&'a RawValue>,
    page_size: Option<&'a RawValue>,
    cursor: Option<&'a RawValue>,
    selects: Option<&'a RawValue>,
    sort_order: Option<&'a RawValue>,
    include_subtree_usage: Option<&'a RawValue>,
    ai_search: Option<&'a RawValue>,
    sem_filter: Option<&'a RawValue>,
    min_feedback_modified_at: Option<&'a RawValue>,
    max_feedback_modified_at: Option<&'a RawValue>,
}

struct Asked {
    terms: Terms,
    select: Select,
    after: Option<Position>,
    limit: u32,
}

#[derive(Serialize)]
struct Answer<'a> {
    items: Vec<Document<'a>>,
    has_more: bool,
    next_cursor: Option<String>,
}

/// A page of runs.
pub(super) async fn query(
    State(api): State<Api>,
    principal: Principal,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let tenant = principal.tenant_id;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    let asked = asked(&keys, api.clock.now()).map_err(refused)?;
    if asked.terms.projects.is_empty() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "no-scope", "`project_ids` is missing: name a project"));
    }
    let question = asked.terms.question(&api, tenant).await?;
    let page = page(api.store.as_ref(), tenant, &question, asked.after, asked.limit).await?;
    let next_cursor = page.next.map(|position| position.to_string());
    let sheet = Sheet::of(&api, tenant, page.runs, &asked.select).await?;
    let items = sheet.documents();
    Ok(Json(Answer { items, has_more: next_cursor.is_some(), next_cursor }).into_response())
}

fn asked(keys: &Keys<'_>, now: Timestamp) -> Result<Asked, Vec<Invalid>> {
    let mut reading = Reading::default();
    for (name, raw) in [
        ("reference_dataset_id", keys.reference_dataset_id),
        ("ai_search", keys.ai_search),
        ("sem_filter", keys.sem_filter),
        ("min_feedback_modified_at", keys.min_feedback_modified_at),
        ("max_feedback_modified_at", keys.max_feedback_modified_at),
    ] {
        reading.of(name, raw, |name, _| Err::<(), _>(Invalid::new(name, REFUSED)));
    }
    let since = reading.of("min_start_time", keys.min_start_time, value::time);
    let terms = Terms {
        runs: reading.list("ids", keys.ids, RunId::from_str),
        trace: reading.of("trace_id", keys.trace_id, value::id),
        projects: reading.list("project_ids", keys.project_ids, terms::project),
        examples: reading.list("reference_examples", keys.reference_examples, example),
        run_type: reading.of("run_type", keys.run_type, value::string).map(|word| word.to_lowercase()),
        is_root: reading.of("is_root", keys.is_root, terms::boolean),
        failed: reading.of("has_error", keys.has_error, terms::boolean),
        ended: true,
        started_from: Some(since.unwrap_or_else(|| now.before(DAY))),
        started_until: reading.of("max_start_time", keys.max_start_time, value::time),
        filters: reading.of("filter", keys.filter, terms::filter).into_iter().collect(),
        trace_filter: reading.of("trace_filter", keys.trace_filter, terms::filter),
        tree_filter: reading.of("tree_filter", keys.tree_filter, terms::filter),
        newest_first: reading.of("sort_order", keys.sort_order, order).unwrap_or(true),
        ..Terms::default()
    };
    let own = reading.of("include_subtree_usage", keys.include_subtree_usage, terms::boolean) != Some(true);
    let asked = Asked {
        terms,
        select: reading.of("selects", keys.selects, fields::selects).unwrap_or_else(fields::id_alone).own_usage(own),
        after: reading.of("cursor", keys.cursor, terms::position),
        limit: reading.of("page_size", keys.page_size, size).unwrap_or(PAGE),
    };
    reading.finished(asked)
}

fn size(name: &str, raw: &RawValue) -> Result<u32, Invalid> {
    let size = terms::count(name, raw)?;
    if size <= LARGEST { Ok(size) } else { Err(Invalid::new(name, format!("must be between 1 and {LARGEST}"))) }
}

fn order(name: &str, raw: &RawValue) -> Result<bool, Invalid> {
    match value::string(name, raw)?.to_ascii_uppercase().as_str() {
        "DESC" => Ok(true),
        "ASC" => Ok(false),
        _ => Err(Invalid::new(name, "must be ASC or DESC")),
    }
}

fn refused(wrong: Vec<Invalid>) -> Problem {
    wrong.into_iter().next().map_or_else(|| Problem::invalid("the body is not valid"), Problem::from)
}
