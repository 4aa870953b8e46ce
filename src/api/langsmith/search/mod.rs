//! Finding runs, under the names that LangSmith's clients call it by.

mod group;
mod query;
pub(super) mod stats;
pub(super) mod terms;
mod validate;

use std::str::FromStr;

use axum::Router;
use axum::routing::post;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::api::Api;
use crate::api::langsmith::search::terms::{Reading, Terms};
use crate::api::langsmith::wire::Select;
use crate::api::problem::Problem;
use crate::ingest::{Invalid, value};
use crate::model::id::RunId;
use crate::query::Position;

/// The largest page. Clients that ask for more go on with the cursor.
const LARGEST: u32 = 100;

/// The routes of this folder.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/runs/query", post(query::query))
        .route("/runs/query/validate", post(validate::validate))
        .route("/runs/stats", post(stats::stats))
        .route("/runs/group", post(group::group))
        .route("/runs/group/stats", post(group::totals))
}

/// The keys of a body that are read. Those that say how LangSmith is to look, and not what for, are not.
#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    trace: Option<&'a RawValue>,
    parent_run: Option<&'a RawValue>,
    run_type: Option<&'a RawValue>,
    session: Option<&'a RawValue>,
    reference_example: Option<&'a RawValue>,
    execution_order: Option<&'a RawValue>,
    start_time: Option<&'a RawValue>,
    end_time: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    query: Option<&'a RawValue>,
    filter: Option<&'a RawValue>,
    trace_filter: Option<&'a RawValue>,
    tree_filter: Option<&'a RawValue>,
    search_filter: Option<&'a RawValue>,
    is_root: Option<&'a RawValue>,
    cursor: Option<&'a RawValue>,
    limit: Option<&'a RawValue>,
    select: Option<&'a RawValue>,
    order: Option<&'a RawValue>,
}

/// What a body asks for.
struct Asked {
    terms: Terms,
    select: Select,
    after: Option<Position>,
    limit: u32,
}

/// Reads a body. Everything that is wrong with it is told, not only the first.
fn asked(keys: &Keys<'_>) -> Result<Asked, Vec<Invalid>> {
    let mut reading = Reading::default();
    let mut terms = Terms {
        runs: reading.list("id", keys.id, RunId::from_str),
        ids_alone: true,
        trace: reading.of("trace", keys.trace, value::id),
        parent: reading.of("parent_run", keys.parent_run, value::id),
        projects: reading.list("session", keys.session, FromStr::from_str),
        examples: reading.list("reference_example", keys.reference_example, example),
        run_type: reading.of("run_type", keys.run_type, value::string),
        is_root: reading.of("is_root", keys.is_root, terms::boolean),
        failed: reading.of("error", keys.error, terms::boolean),
        started_from: reading.of("start_time", keys.start_time, value::time),
        started_until: reading.of("end_time", keys.end_time, value::time),
        text: reading.of("query", keys.query, value::string),
        ..Terms::default()
    };
    terms.filters = [("filter", keys.filter), ("search_filter", keys.search_filter)]
        .into_iter()
        .filter_map(|(name, raw)| reading.of(name, raw, terms::filter))
        .collect();
    terms.trace_filter = reading.of("trace_filter", keys.trace_filter, terms::filter);
    terms.tree_filter = reading.of("tree_filter", keys.tree_filter, terms::filter);
    terms.newest_first = reading.of("order", keys.order, order).unwrap_or(true);
    if reading.of("execution_order", keys.execution_order, first).is_some() {
        terms.is_root = Some(true);
    }
    let asked = Asked {
        terms,
        select: reading.of("select", keys.select, select).unwrap_or_else(Select::all),
        after: reading.of("cursor", keys.cursor, terms::position),
        limit: reading.of("limit", keys.limit, terms::count).unwrap_or(LARGEST).min(LARGEST),
    };
    reading.finished(asked)
}

pub(super) fn example(text: &str) -> Result<Uuid, crate::model::id::InvalidId> {
    text.parse::<RunId>().map(|id| id.0)
}

fn order(name: &str, raw: &RawValue) -> Result<bool, Invalid> {
    match value::string(name, raw)?.as_str() {
        "desc" => Ok(true),
        "asc" => Ok(false),
        _ => Err(Invalid::new(name, "must be asc or desc")),
    }
}

fn first(name: &str, raw: &RawValue) -> Result<(), Invalid> {
    match raw.get() {
        "1" => Ok(()),
        _ => Err(Invalid::new(name, "must be 1, which means roots; use is_root instead")),
    }
}

fn select(name: &str, raw: &RawValue) -> Result<Select, Invalid> {
    Select::of(value::strings(name, raw)?)
        .map_err(|unknown| Invalid::new(name, format!("has no key `{}`", unknown.chars().take(64).collect::<String>())))
}

/// The first thing that is wrong, as a problem.
fn refused(wrong: Vec<Invalid>) -> Problem {
    wrong.into_iter().next().map_or_else(|| Problem::invalid("the body is not valid"), Problem::from)
}
