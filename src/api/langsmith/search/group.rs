//! `POST /runs/group`, `POST /runs/group/stats`: the threads of a project.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::search::stats::{Shown, seconds};
use crate::api::langsmith::search::terms::{self, Reading, Terms};
use crate::api::langsmith::search::{LARGEST, refused};
use crate::api::langsmith::wire::{self, Bodies, Room, Select, shown_stats};
use crate::api::problem::Problem;
use crate::api::request;
use crate::filter::Filter;
use crate::ingest::{Invalid, value};
use crate::model::id::TenantId;
use crate::model::json::RawJson;
use crate::model::run::Run;
use crate::query::{self, Question, Thread, threads};

/// Threads on a page, unless asked otherwise.
const PAGE: u32 = 10;

/// How long what was first said and last answered is shown, in characters.
const PREVIEW: usize = 1000;

/// The keys of a body that are read.
#[derive(serde::Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    session_id: Option<&'a RawValue>,
    group_by: Option<&'a RawValue>,
    filter: Option<&'a RawValue>,
    start_time: Option<&'a RawValue>,
    end_time: Option<&'a RawValue>,
    offset: Option<&'a RawValue>,
    limit: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Group {
    #[serde(rename = "group_key")]
    key: String,
    filter: String,
    count: u64,
    total_tokens: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    total_cost: Option<Decimal>,
    prompt_cost: Option<Decimal>,
    completion_cost: Option<Decimal>,
    min_start_time: String,
    max_start_time: String,
    latency_p50: Option<f64>,
    latency_p99: Option<f64>,
    feedback_stats: BTreeMap<String, wire::Stats>,
    first_inputs: Option<String>,
    last_outputs: Option<String>,
    last_error: Option<String>,
}

struct Asked {
    terms: Terms,
    offset: u32,
    limit: u32,
}

/// A page of threads, the one that was last active first.
pub(super) async fn group(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let tenant = principal.tenant_id;
    let (question, page) = read(&api, tenant, request).await?;
    let found = threads(api.store.as_ref(), tenant, &question, page).await?;
    let (mut groups, mut room) = (Vec::new(), Room::default());
    for thread in found.threads {
        groups.push(Group::of(&api, thread, &mut room).await?);
    }
    Ok(Json(json!({ "groups": groups, "total": found.total })).into_response())
}

/// What all threads have in common.
pub(super) async fn totals(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let tenant = principal.tenant_id;
    let (question, _) = read(&api, tenant, request).await?;
    let store = api.store.as_ref();
    let stats = query::stats(store, tenant, &question).await?;
    let total = threads(store, tenant, &question, (0, 0)).await?.total;
    let mut shown = serde_json::to_value(Shown::of(&stats)).map_err(|error| Problem::internal(&error))?;
    if let Value::Object(shown) = &mut shown {
        shown.insert("group_count".to_owned(), total.into());
    }
    Ok(Json(shown).into_response())
}

async fn read(api: &Api, tenant: TenantId, request: Request) -> Result<(Question, (u32, u32)), Problem> {
    let body = request::body(api, request).await?;
    let asked = asked(&request::keys(api, &body)?).map_err(refused)?;
    Ok((asked.terms.question(api, tenant).await?, (asked.offset, asked.limit)))
}

fn asked(keys: &Keys<'_>) -> Result<Asked, Vec<Invalid>> {
    let mut reading = Reading::default();
    reading.of("group_by", keys.group_by, conversation);
    let mut filters: Vec<Filter> = reading.of("filter", keys.filter, terms::filter).into_iter().collect();
    filters.push(Filter::in_a_thread());
    let terms = Terms {
        projects: reading.list("session_id", keys.session_id, terms::project),
        is_root: Some(true),
        started_from: reading.of("start_time", keys.start_time, value::time),
        started_until: reading.of("end_time", keys.end_time, value::time),
        filters,
        newest_first: true,
        ..Terms::default()
    };
    let offset = reading.of("offset", keys.offset, terms::offset).unwrap_or(0);
    let limit = reading.of("limit", keys.limit, terms::count).unwrap_or(PAGE).min(LARGEST);
    reading.finished(Asked { terms, offset, limit })
}

fn conversation(name: &str, raw: &RawValue) -> Result<(), Invalid> {
    match value::string(name, raw)?.as_str() {
        "conversation" | "thread_id" => Ok(()),
        _ => Err(Invalid::new(name, "must be conversation: runs are grouped by their thread and by nothing else")),
    }
}

impl Group {
    async fn of(api: &Api, thread: Thread, room: &mut Room) -> Result<Self, Problem> {
        let first = bodies(api, &thread.first.run, "inputs", room).await?;
        let last = bodies(api, &thread.last.run, "outputs", room).await?;
        let preview = |json: &RawJson| json.text().chars().take(PREVIEW).collect();
        Ok(Self {
            filter: format!("eq(thread_id, {})", Value::String(thread.id.clone())),
            key: thread.id,
            count: thread.runs,
            total_tokens: thread.usage.total_tokens,
            prompt_tokens: thread.usage.prompt_tokens,
            completion_tokens: thread.usage.completion_tokens,
            total_cost: thread.usage.total_cost,
            prompt_cost: thread.usage.prompt_cost,
            completion_cost: thread.usage.completion_cost,
            min_start_time: thread.first.run.start_time.with_offset(),
            max_start_time: thread.last.run.start_time.with_offset(),
            latency_p50: thread.latency.map(|spread| seconds(spread.p50)),
            latency_p99: thread.latency.map(|spread| seconds(spread.p99)),
            feedback_stats: shown_stats(&thread.feedback),
            first_inputs: first.inputs.json().map(preview),
            last_outputs: last.outputs.json().map(preview),
            last_error: thread.last_error,
        })
    }
}

async fn bodies(api: &Api, run: &Run, key: &str, room: &mut Room) -> Result<Bodies, Problem> {
    let select = Select::of(vec![key.to_owned()]).unwrap_or_else(|_| Select::all());
    Bodies::load(api, run, &select, room).await
}
